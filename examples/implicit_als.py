"""Implicit-feedback ALS of the package `implicit` (requirements-implicit.txt)."""

import argparse
import json

import implicit.als
import numpy as np
import pandas as pd
import scipy.sparse

parser = argparse.ArgumentParser()
parser.add_argument("--train", required=True)
parser.add_argument("--users", required=True)
parser.add_argument("--items", required=True)
parser.add_argument("--out", required=True)
parser.add_argument("--params", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--depth", type=int, required=True)
parser.add_argument("--threads", type=int, default=0)
arguments = parser.parse_args()
settings = {"factors": 64, "iterations": 30, "regularization": 10.0, "alpha": 1.0, "liked": 4.0}
with open(arguments.params) as file:
    settings |= json.load(file)

ids = {"user": str, "item": str}
train = pd.read_csv(arguments.train, dtype=ids)
users = pd.read_csv(arguments.users, dtype=ids)["user"]
items = pd.read_csv(arguments.items, dtype=ids)["item"]
user_at = pd.Index(users)
item_at = pd.Index(items)


def matrix(rows):
    places = (user_at.get_indexer(rows["user"]), item_at.get_indexer(rows["item"]))
    ones = np.ones(len(rows), dtype=np.float32)
    return scipy.sparse.csr_matrix((ones, places), shape=(len(users), len(items)))


model = implicit.als.AlternatingLeastSquares(
    factors=settings["factors"],
    iterations=settings["iterations"],
    regularization=settings["regularization"],
    alpha=settings["alpha"],
    random_state=arguments.seed,
    num_threads=arguments.threads,
)
model.fit(matrix(train[train["rating"] >= settings["liked"]]), show_progress=False)
seen = matrix(train)
# Users without a training rating have no factors of their own: no list.
known = np.flatnonzero(np.diff(seen.indptr))
depth = min(arguments.depth, len(items))
found, scores = model.recommend(known, seen[known], N=depth, filter_already_liked_items=True)
rankings = pd.DataFrame(
    {
        "user": np.repeat(users.to_numpy()[known], depth),
        "item": items.to_numpy()[found.ravel()],
        "score": scores.ravel(),
    }
)
# Where fewer items are left than the depth, `implicit` fills the list with items that were seen, at the lowest score.
rankings = rankings[rankings["score"] > np.finfo(np.float32).min / 2]
rankings.to_csv(arguments.out, index=False)
