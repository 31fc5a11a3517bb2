#!/usr/bin/env python3
"""Computes models in plain NumPy (dense matrices, 64-bit floats) on two folds of MovieLens-100K, and compares
what assay makes of the same settings: every score of every user and item, the lists, and nDCG@10.

    cargo build --release
    python3 tools/pin_baselines.py DIR

prints the largest differences, and the values that tests/assay/real_data.rs pins. NumPy and PyArrow are
installed into an environment of their own.
"""

import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv-baselines"
INSTALLED = ["numpy==2.2.6", "pyarrow==20.0.0"]
FOLDS = ["u1", "u2"]
USERS, ITEMS, K, LIKED = 943, 1682, 10, 4


def enter():
    python = HOME / "bin/python"
    if pathlib.Path(sys.prefix).resolve() == HOME.resolve():
        return
    if not (HOME / "done").is_file():
        print("installing", *INSTALLED, "into", HOME, file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        pip = [python, "-m", "pip", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *INSTALLED], check=True)
        (HOME / "done").write_text("")
    sys.exit(subprocess.run([python, *sys.argv]).returncode)


def nearest(weights, neighbours):
    """Each row with its `neighbours` highest weights; ties of the 32-bit weights go to the lower index."""
    weights = weights.astype(np.float32)
    kept = np.zeros_like(weights)
    for row, out in zip(weights, kept):
        order = np.lexsort((np.arange(len(row)), -row))[:neighbours]
        out[order] = row[order]
    return kept.astype(np.float64)


def cosines(liked, shrinkage):
    """Of each two rows."""
    common = liked @ liked.T
    np.fill_diagonal(common, 0)
    length = np.sqrt(liked.sum(1))
    norm = np.outer(length, length) + shrinkage
    return np.divide(common, norm, out=np.zeros_like(common), where=common > 0)


def item_knn(liked, neighbours=100, shrinkage=0.0):
    return liked @ nearest(cosines(liked.T, shrinkage), neighbours)


def user_knn(liked, neighbours=100, shrinkage=0.0):
    return nearest(cosines(liked, shrinkage), neighbours) @ liked


def rp3beta(liked, neighbours=100, alpha=1.0, beta=0.6):
    def steps(rows):
        return np.divide(rows, rows.sum(1, keepdims=True), out=np.zeros_like(rows), where=rows > 0) ** alpha * (rows > 0)

    weights = steps(liked.T) @ steps(liked)
    np.fill_diagonal(weights, 0)
    popularity = np.maximum(liked.sum(0), 1)
    return liked @ nearest(weights / popularity**beta, neighbours)


def p3alpha(liked, neighbours=100, alpha=1.0):
    return rp3beta(liked, neighbours, alpha, 0.0)


def pure_svd(liked, factors=100):
    right = np.linalg.svd(liked, full_matrices=False)[2][:factors]
    return liked @ right.T @ right


# Name in the experiment: model, settings.
SYSTEMS = {
    "item-knn": (item_knn, {"neighbours": 80, "shrinkage": 10.0}),
    "user-knn": (user_knn, {"neighbours": 60, "shrinkage": 5.0}),
    "p3alpha": (p3alpha, {"neighbours": 150, "alpha": 1.3}),
    "rp3beta": (rp3beta, {"neighbours": 150, "alpha": 0.8, "beta": 0.4}),
    "pure-svd": (pure_svd, {"factors": 40}),
}


def read(path):
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    ratings = np.zeros((USERS, ITEMS))
    for user, item, rating, _ in rows:
        ratings[int(user) - 1, int(item) - 1] = float(rating)
    return ratings


def top(scores, train):
    """The best items of each user that are not in training; ties go to the lower item."""
    masked = np.where(train > 0, -np.inf, scores)
    return np.array([np.lexsort((np.arange(ITEMS), -row))[:K] for row in masked])


def ndcg(lists, test):
    """Mean over the users who like something in the test part, and how many these are."""
    discounts = 1 / np.log2(np.arange(2, K + 2))
    values = []
    for items, row in zip(lists, test >= LIKED):
        if row.any():
            values.append((row[items] * discounts).sum() / discounts[: min(K, row.sum())].sum())
    return np.mean(values), len(values)


def weighted(scores):
    """The sum of all scores, each with a weight that depends on user and item."""
    user, item = np.arange(1, USERS + 1)[:, None], np.arange(1, ITEMS + 1)[None, :]
    return (scores * ((user * 7919 + item * 104729) % 1000 / 1000)).sum()


def saved(path):
    """The arrays of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    kinds = {"F32": np.float32, "U32": np.uint32}
    arrays = {}
    for name, about in json.loads(data[8 : 8 + length]).items():
        first, last = (8 + length + at for at in about["data_offsets"])
        arrays[name] = np.frombuffer(data[first:last], kinds[about["dtype"]]).reshape(about["shape"])
    return arrays


def scores_of(model, liked):
    """All scores of a model that assay saved."""
    if "users" in model:
        return model["users"].astype(np.float64) @ model["items"].astype(np.float64).T
    starts = np.cumsum(np.concatenate([[0], model["lengths"]]).astype(np.int64))
    weights = np.zeros((len(starts) - 1,) * 2)
    for row, (first, last) in enumerate(zip(starts, starts[1:])):
        weights[row, model["neighbours"][first:last]] = model["similarities"][first:last]
    return weights @ liked if len(weights) == USERS else liked @ weights


def assay(data, folder):
    """Runs every system in assay: saved models with their users and items, and lists, by system and fold."""
    systems = {}
    for name, (model, settings) in SYSTEMS.items():
        systems[name] = {"model": model.__name__.replace("_", "-"), **settings}
    experiment = {
        "experiment": "baselines",
        "data": {"set": "ml-100k", "relevant": f">= {LIKED}"},
        "split": {"scheme": "official", "only": FOLDS},
        "systems": systems,
        "evaluate": {"k": [K], "metrics": ["ndcg"], "depth": ITEMS},
    }
    # JSON is YAML.
    (folder / "baselines.yaml").write_text(json.dumps(experiment))

    def run(*arguments):
        command = [ROOT / "target/release/assay", *arguments]
        environment = {**os.environ, "ASSAY_DATA": str(data)}
        return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout

    run("run", "baselines.yaml", "--quiet")
    values = {}
    for row in json.loads(run("results", "baselines.yaml", "--json")):
        values[row["system"], row["fold"]] = row["value"]
    run("export", "baselines.yaml", "--format", "elliot", "--out", "lists")
    found = {}
    for path in folder.glob(".assay/steps/fit/*/record.json"):
        record = json.loads(path.read_text())
        system, fold = record["label"].split()
        found["fit", system, fold] = path.parent / "model.safetensors"
        found["lists", system, fold] = folder / f"lists/{system}--{fold}--seed1.tsv"
        split = folder / ".assay/steps/split" / record.get("key_inputs", record.get("material"))["split"]
        for part in ["users", "items"]:
            names = parquet.read_table(split / f"{part}.parquet").column(0).to_pylist()
            found[part, fold] = np.array([int(name) - 1 for name in names])
    return values, found


def main():
    data = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        values, found = assay(data, pathlib.Path(folder))
        pinned = {name: [] for name in SYSTEMS}
        for fold in FOLDS:
            train, test = read(data / f"ml-100k/{fold}.base"), read(data / f"ml-100k/{fold}.test")
            liked = (train >= LIKED).astype(np.float64)
            users, items = found["users", fold], found["items", fold]
            for name, (model, settings) in SYSTEMS.items():
                scores = model(liked, **settings)
                # Rows and columns as in assay, where items that nobody rated may be left out.
                ours = scores_of(saved(found["fit", name, fold]), liked[np.ix_(users, items)])
                theirs = scores[np.ix_(users, items)]
                off = np.abs(ours - theirs).max()
                lists = top(scores, train)
                value, n = ndcg(lists, test)
                listed, worst, n_listed = {}, 0.0, 0
                for line in found["lists", name, fold].read_text().splitlines():
                    user, item, score = line.split()
                    user, item, score = int(user) - 1, int(item) - 1, float(score)
                    listed.setdefault(user, []).append(item)
                    worst = max(worst, abs(score - scores[user, item]))
                    n_listed += 1
                same = sum(listed[user][:K] == list(lists[user]) for user in listed)
                print(
                    f"{fold} {name}: matrix {ours.shape} off by {off:.1e} absolute, {off / np.abs(theirs).max():.1e} of "
                    f"the largest score; {n_listed} listed scores off by {worst:.1e}; the first {K} the same "
                    f"for {same} of {len(listed)} users; nDCG@{K} {value:.9f} of {n} here, {values[name, fold]:.9f} in assay"
                )
                pinned[name].append((round(float(value), 9), round(float(weighted(scores)), 3)))
    print(*(f"{name}: {pairs}" for name, pairs in pinned.items()), sep="\n")


enter()
import numpy as np  # noqa: E402
import pyarrow.parquet as parquet  # noqa: E402

main()
