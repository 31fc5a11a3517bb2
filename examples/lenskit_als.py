"""Implicit-feedback ALS of LensKit (requirements-lenskit.txt)."""

import argparse
import csv
import json

import pandas as pd
from lenskit import Pipeline, topn_pipeline
from lenskit.als import ImplicitMFScorer
from lenskit.batch import recommend
from lenskit.data import from_interactions_df
from lenskit.random import set_global_rng

parser = argparse.ArgumentParser()
parser.add_argument("--train", required=True)
parser.add_argument("--users", required=True)
parser.add_argument("--out", required=True)
parser.add_argument("--params", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--depth", type=int, required=True)
arguments = parser.parse_args()
settings = {"factors": 64, "iterations": 30, "regularization": 0.1, "weight": 40.0, "liked": 4.0}
with open(arguments.params) as file:
    settings |= json.load(file)

set_global_rng(arguments.seed)
train = pd.read_csv(arguments.train, dtype={"user": str, "item": str})
users = pd.read_csv(arguments.users, dtype=str)["user"]
# LensKit learns from the liked ratings, and leaves out of a list what is in its data set. Rated items that are not
# liked are dropped from the lists below, so lists are asked for that much longer.
liked = train[train["rating"] >= settings["liked"]]
data = from_interactions_df(liked, user_col="user", item_col="item", rating_col="rating", timestamp_col="timestamp")
scorer = ImplicitMFScorer(
    embedding_size=settings["factors"],
    epochs=settings["iterations"],
    regularization=settings["regularization"],
    weight=settings["weight"],
)
pipeline: Pipeline = topn_pipeline(scorer)
pipeline.train(data)
seen = train.groupby("user")["item"].agg(set)
most = int(train.groupby("user").size().max())
known = [user for user in users if user in data.users]
lists = recommend(pipeline, known, n=arguments.depth + most, n_jobs=1)
with open(arguments.out, "w", newline="") as out:
    csv.writer(out).writerow(["user", "item", "score"])
    for key, found in lists:
        table = found.to_df()
        table = table[~table["item_id"].isin(seen[key.user_id])].head(arguments.depth)
        table.insert(0, "user", key.user_id)
        table[["user", "item_id", "score"]].to_csv(out, header=False, index=False)
