"""Recommends to every user the items with the most training interactions. Plain Python, no packages.

    python3 popularity.py --train train.csv --users users.csv --out rankings.csv
"""

import argparse
import collections
import csv

parser = argparse.ArgumentParser()
parser.add_argument("--train", required=True)
parser.add_argument("--users", required=True)
parser.add_argument("--out", required=True)
parser.add_argument("--depth", type=int, default=100)
parser.add_argument("--liked", type=float, default=4, help="count ratings from this one up")
arguments = parser.parse_args()

# Ids are texts: `007` and `7` are two items.
seen = collections.defaultdict(set)
count = collections.Counter()
with open(arguments.train, newline="") as file:
    for row in csv.DictReader(file):
        seen[row["user"]].add(row["item"])
        if float(row["rating"]) >= arguments.liked:
            count[row["item"]] += 1

with open(arguments.users, newline="") as file, open(arguments.out, "w", newline="") as out:
    writer = csv.writer(out)
    writer.writerow(["user", "item", "score"])
    for row in csv.DictReader(file):
        user = row["user"]
        unseen = ((item, n) for item, n in count.most_common() if item not in seen[user])
        for (item, n), _ in zip(unseen, range(arguments.depth)):
            writer.writerow([user, item, n])
