"""BPR matrix factorisation of RecBole (requirements-recbole.txt)."""

import argparse
import csv
import json
import pathlib

import numpy as np
import pandas as pd
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer
from recbole.utils import init_seed

parser = argparse.ArgumentParser()
parser.add_argument("--train", required=True)
parser.add_argument("--users", required=True)
parser.add_argument("--out", required=True)
parser.add_argument("--params", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--depth", type=int, required=True)
parser.add_argument("--threads", type=int, default=1)
arguments = parser.parse_args()
settings = {"dim": 64, "epochs": 100, "learning_rate": 0.001, "batch": 2048, "liked": 4.0}
with open(arguments.params) as file:
    settings |= json.load(file)
torch.set_num_threads(arguments.threads)

train = pd.read_csv(arguments.train, dtype={"user": str, "item": str})
users = pd.read_csv(arguments.users, dtype=str)["user"]
liked = train[train["rating"] >= settings["liked"]]

# RecBole reads atomic files, and splits them itself: all of the training part goes into its training part.
here = pathlib.Path("data/fold")
here.mkdir(parents=True)
names = {"user": "user_id:token", "item": "item_id:token"}
liked[["user", "item"]].rename(columns=names).to_csv(here / "fold.inter", sep="\t", index=False)
config = Config(
    model="BPR",
    dataset="fold",
    config_dict={
        "data_path": "data",
        "load_col": {"inter": ["user_id", "item_id"]},
        "eval_args": {"split": {"RS": [1, 0, 0]}, "order": "RO", "group_by": None, "mode": "full"},
        "embedding_size": settings["dim"],
        "epochs": settings["epochs"],
        "learning_rate": settings["learning_rate"],
        "train_batch_size": settings["batch"],
        "use_gpu": False,
        "seed": arguments.seed,
        "reproducibility": True,
        "show_progress": False,
    },
)
init_seed(config["seed"], config["reproducibility"])
dataset = create_dataset(config)
batches, _, _ = data_preparation(config, dataset)
model = BPR(config, batches.dataset).to(config["device"])
Trainer(config, model).fit(batches, saved=False, show_progress=False, verbose=False)

# Their indices start with a padding token.
of_users = model.user_embedding.weight.detach().cpu().numpy()
of_items = model.item_embedding.weight.detach().cpu().numpy()
user_at = dataset.field2token_id["user_id"]
item_names = dataset.id2token("item_id", np.arange(dataset.item_num))
item_at = dataset.field2token_id["item_id"]
seen = train.groupby("user")["item"].agg(list)
with open(arguments.out, "w", newline="") as out:
    writer = csv.writer(out)
    writer.writerow(["user", "item", "score"])
    for user in users:
        if user not in user_at:
            continue
        scores = of_items @ of_users[user_at[user]]
        scores[0] = -np.inf
        scores[[item_at[item] for item in seen[user] if item in item_at]] = -np.inf
        best = np.argsort(-scores, kind="stable")[: arguments.depth]
        writer.writerows([user, item_names[item], scores[item]] for item in best[np.isfinite(scores[best])])
