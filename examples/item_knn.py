"""Item-kNN: the cosine of items over the users who like them. Plain Python, no packages.

    python3 item_knn.py --train train.csv --items items.csv --users users.csv --out rankings.csv --params params.json

`params.json` may hold `neighbours` (of each item, by default 100) and `liked` (the lowest rating of a liked item, by
default 4).
"""

import argparse
import collections
import csv
import heapq
import json
import math

parser = argparse.ArgumentParser()
parser.add_argument("--train", required=True)
parser.add_argument("--items", required=True)
parser.add_argument("--users", required=True)
parser.add_argument("--out", required=True)
parser.add_argument("--params")
parser.add_argument("--depth", type=int, default=100)
arguments = parser.parse_args()
settings = {"neighbours": 100, "liked": 4}
if arguments.params:
    with open(arguments.params) as file:
        given = json.load(file)
    unknown = set(given) - set(settings)
    if unknown:
        raise SystemExit(f"unknown settings: {', '.join(sorted(unknown))}")
    settings |= given

# Of equal cosines and scores, the item that comes first in the catalogue counts more: so does it in assay.
with open(arguments.items, newline="") as file:
    place = {row["item"]: at for at, row in enumerate(csv.DictReader(file))}

# Dictionaries keep the order of the file, so the sums are the same each time.
seen = collections.defaultdict(dict)
liked = collections.defaultdict(dict)
with open(arguments.train, newline="") as file:
    for row in csv.DictReader(file):
        seen[row["user"]][row["item"]] = True
        if float(row["rating"]) >= settings["liked"]:
            liked[row["user"]][row["item"]] = True

count = collections.Counter(item for items in liked.values() for item in items)
common = collections.defaultdict(collections.Counter)
for items in liked.values():
    for a in items:
        for b in items:
            if a != b:
                common[a][b] += 1
near = {}
for item, others in common.items():
    cosines = [(n / math.sqrt(count[item] * count[other]), other) for other, n in others.items()]
    near[item] = heapq.nlargest(settings["neighbours"], cosines, key=lambda pair: (pair[0], -place[pair[1]]))

with open(arguments.users, newline="") as file, open(arguments.out, "w", newline="") as out:
    writer = csv.writer(out)
    writer.writerow(["user", "item", "score"])
    for row in csv.DictReader(file):
        user = row["user"]
        scores = collections.defaultdict(float)
        for item in liked[user]:
            for cosine, other in near.get(item, ()):
                if other not in seen[user]:
                    scores[other] += cosine
        best = heapq.nlargest(arguments.depth, scores.items(), key=lambda pair: (pair[1], -place[pair[0]]))
        writer.writerows([user, item, score] for item, score in best)
