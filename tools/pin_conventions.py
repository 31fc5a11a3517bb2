#!/usr/bin/env python3
"""Scores random lists with other people's libraries and writes what they say to
tests/golden/conventions.json, which the tests hold our conventions against.

    python3 tools/pin_conventions.py

Libraries, from PyPI, in an environment of their own: ir-measures (trec), LibRecommender (libreco),
LensKit (lenskit), RecBole and Cornac (standard). Of LibRecommender, RecBole and Cornac the wheel is
unpacked and only the file of metrics is loaded: the rest would drag in a deep learning framework.
Elliot is not on PyPI: its values come from the formulas of its source (v0.3.1: accuracy/map,
accuracy/ndcg, relevance), written out here, and are marked so.
"""

import importlib.util
import json
import math
import pathlib
import random
import subprocess
import sys
import types
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv-conventions"
INSTALLED = ["ir-measures==0.4.3", "lenskit==2025.8.1", "scikit-learn", "tqdm", "powerlaw"]
UNPACKED = {"librecommender": "LibRecommender==1.5.2", "recbole": "recbole==1.2.1", "cornac": "cornac==3.0.1"}
CUTOFFS = [1, 3, 5, 10]
THRESHOLD = 4.0


def enter():
    python = HOME / "bin/python"
    if pathlib.Path(sys.prefix).resolve() == HOME.resolve():
        return
    if not (HOME / "done").is_file():
        print("installing", *INSTALLED, *UNPACKED.values(), "into", HOME, file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        pip = [python, "-m", "pip", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *INSTALLED], check=True)
        for name, requirement in UNPACKED.items():
            subprocess.run([*pip, "download", "--no-deps", "--only-binary=:all:", "-d", HOME / "wheels", requirement], check=True)
            (wheel,) = (HOME / "wheels").glob(f"{name}-*.whl")
            zipfile.ZipFile(wheel).extractall(HOME / "wheels" / name)
        (HOME / "done").write_text("")
    sys.exit(subprocess.run([python, *sys.argv]).returncode)


def cases():
    """Users with a list (may be short, may be empty) and rated test items (some not relevant)."""
    rng = random.Random(7)
    users = []
    for user in range(60):
        n_test = rng.randint(1, 25)
        test = {item: float(rng.randint(1, 5)) for item in rng.sample(range(60), n_test)}
        if not any(rating >= THRESHOLD for rating in test.values()):
            test[next(iter(test))] = 5.0
        length = rng.choice([0, 1, 2, 4, 7, 10, 10, 10, 15, 15])
        items = rng.sample(range(60), 60)
        # Lists that find something: test items are drawn forward.
        items.sort(key=lambda item: rng.random() - (0.5 if item in test else 0.0))
        users.append({"test": test, "list": items[:length] if length else None})
    # The worked case of the documentation.
    users.append({"test": {item: 5.0 for item in range(20)}, "list": [0, 30, 1, *range(31, 38)]})
    return users


def relevant(user):
    return [item for item, rating in user["test"].items() if rating >= THRESHOLD]


def module(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def trec(users):
    import ir_measures as im

    run = {str(at): {str(i): float(100 - n) for n, i in enumerate(user["list"])} for at, user in enumerate(users) if user["list"]}
    qrels = {str(at): {str(i): int(r >= THRESHOLD) for i, r in user["test"].items()} for at, user in enumerate(users)}
    names = {"precision": "P", "recall": "R", "ndcg": "nDCG", "map": "AP", "mrr": "RR", "hit-rate": "Success"}
    found = im.calc_aggregate([im.parse_measure(f"{theirs}@{k}") for theirs in names.values() for k in CUTOFFS], qrels, run)
    return {f"{ours}@{k}": found[im.parse_measure(f"{theirs}@{k}")] for ours, theirs in names.items() for k in CUTOFFS}


def libreco(users):
    metrics = module(HOME / "wheels/librecommender/libreco/evaluation/metrics.py", "libreco_metrics")
    functions = {"precision": metrics.precision_at_k, "recall": metrics.recall_at_k,
                 "map": metrics.average_precision_at_k, "ndcg": metrics.ndcg_at_k}
    truth = {at: relevant(user) for at, user in enumerate(users)}
    found = {}
    for name, function in functions.items():
        for k in CUTOFFS:
            lists = {at: (user["list"] or [])[:k] for at, user in enumerate(users)}
            found[f"{name}@{k}"] = float(metrics.listwise_scores(function, truth, lists, list(truth), k))
    return found


def lenskit(users):
    from lenskit.data import ItemList, ItemListCollection
    from lenskit.metrics import NDCG, Hit, Precision, Recall, RecipRank, RunAnalysis
    from lenskit.metrics.ranking import AveragePrecision

    lists = ItemListCollection.empty(["user_id"])
    truth = ItemListCollection.empty(["user_id"])
    for at, user in enumerate(users):
        truth.add(ItemList(item_ids=relevant(user)), user_id=at)
        if user["list"]:
            lists.add(ItemList(item_ids=user["list"], ordered=True), user_id=at)
    kinds = {"precision": Precision, "recall": Recall, "ndcg": NDCG, "map": AveragePrecision, "mrr": RecipRank, "hit-rate": Hit}
    analysis = RunAnalysis()
    for name, kind in kinds.items():
        for k in CUTOFFS:
            analysis.add_metric(kind(n=k), label=f"{name}@{k}")
    found = analysis.measure(lists, truth).list_metrics()
    return {f"{name}@{k}": float(found[f"{name}@{k}"].mean()) for name in kinds for k in CUTOFFS}


def recbole(users):
    """RecBole's matrices hold whole lists, so only users with a list of the longest cutoff count."""
    import numpy as np

    for name in ("float", "int", "bool"):
        if name not in np.__dict__:
            setattr(np, name, getattr(__builtins__, name))
    base = types.ModuleType("recbole.evaluator.base_metric")
    base.AbstractMetric = base.LossMetric = object
    base.TopkMetric = type("TopkMetric", (), {"__init__": lambda self, config: None})
    utils = types.ModuleType("recbole.evaluator.utils")
    utils._binary_clf_curve = None
    top = types.ModuleType("recbole.utils")
    top.EvaluatorType = types.SimpleNamespace(RANKING=1, VALUE=2)
    for name, stub in {"recbole": types.ModuleType("recbole"), "recbole.evaluator": types.ModuleType("recbole.evaluator"),
                       "recbole.evaluator.base_metric": base, "recbole.evaluator.utils": utils, "recbole.utils": top}.items():
        sys.modules[name] = stub
    metrics = module(HOME / "wheels/recbole/recbole/evaluator/metrics.py", "recbole_metrics")
    last = max(CUTOFFS)
    full = [user for user in users if user["list"] and len(user["list"]) >= last]
    hits = np.array([[item in relevant(user) for item in user["list"][:last]] for user in full])
    n_relevant = np.array([len(relevant(user)) for user in full])
    kinds = {"precision": metrics.Precision, "recall": metrics.Recall, "ndcg": metrics.NDCG, "map": metrics.MAP,
             "mrr": metrics.MRR, "hit-rate": metrics.Hit}
    found = {}
    for name, kind in kinds.items():
        metric = kind({})
        values = metric.metric_info(hits, n_relevant) if name in ("recall", "ndcg", "map") else metric.metric_info(hits)
        found.update({f"{name}@{k}": float(values[:, k - 1].mean()) for k in CUTOFFS})
    return found


def cornac(users):
    import numpy as np

    metrics = module(HOME / "wheels/cornac/cornac/metrics/ranking.py", "cornac_metrics")
    kinds = {"precision": metrics.Precision, "recall": metrics.Recall, "ndcg": metrics.NDCG, "hit-rate": metrics.HitRatio}
    last = max(CUTOFFS)
    full = [user for user in users if user["list"] and len(user["list"]) >= last]
    found = {}
    for name, kind in kinds.items():
        for k in CUTOFFS:
            metric = kind(k=k)
            values = [metric.compute(gt_pos=np.array(relevant(u)), pd_rank=np.array(u["list"])) for u in full]
            found[f"{name}@{k}"] = float(np.mean(values))
    return found


def elliot(users):
    counted = [user for user in users if user["list"]]

    def gain(user, item):
        rating = user["test"].get(item, -math.inf)
        return 2 ** (rating - THRESHOLD + 1) - 1 if rating >= THRESHOLD else 0.0

    def discounted(gains):
        return sum(value * math.log(2) / math.log(place + 2) for place, value in enumerate(gains))

    def precision(user, n):
        return sum(item in relevant(user) for item in user["list"][:n]) / n

    found = {}
    for k in CUTOFFS:
        found[f"precision@{k}"] = mean(precision(user, k) for user in counted)
        found[f"recall@{k}"] = mean(precision(user, k) * k / len(relevant(user)) for user in counted)
        # The list is cut at k before, so the precision at n ≤ k looks at n places.
        found[f"map@{k}"] = mean(mean(precision(user, n) for n in range(1, k + 1)) for user in counted)
        found[f"ndcg@{k}"] = mean(
            discounted(gain(user, item) for item in user["list"][:k])
            / discounted(sorted((gain(user, item) for item in relevant(user)), reverse=True)[:k])
            for user in counted)
        found[f"mrr@{k}"] = mean(
            next((1 / (n + 1) for n, item in enumerate(user["list"][:k]) if item in relevant(user)), 0.0) for user in counted)
        found[f"hit-rate@{k}"] = mean(float(precision(user, k) > 0) for user in counted)
    return found


def main():
    users = cases()
    found = {
        "trec": {"by": "ir-measures 0.4.3 (pytrec_eval)", "run": True, "users": "all", "values": trec(users)},
        "libreco": {"by": "LibRecommender 1.5.2", "run": True, "users": "all", "values": libreco(users)},
        "lenskit": {"by": "lenskit 2025.8.1", "run": True, "users": "all", "values": lenskit(users)},
        "recbole": {"convention": "standard", "by": "recbole 1.2.1", "run": True, "users": "full lists", "values": recbole(users)},
        "cornac": {"convention": "standard", "by": "cornac 3.0.1", "run": True, "users": "full lists", "values": cornac(users)},
        "elliot": {"by": "formulas read in Elliot 0.3.1, not run: it is not on PyPI", "run": False, "users": "all", "values": elliot(users)},
    }
    for name, of in found.items():
        of.setdefault("convention", name)
    path = ROOT / "tests/golden/conventions.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"relevant": f">= {THRESHOLD:g}", "n_items": 60, "cutoffs": CUTOFFS, "users": users, "libraries": found}) + "\n")
    print(f"{sum(len(of['values']) for of in found.values())} values of {len(found)} libraries in {path}")


if __name__ == "__main__":
    enter()
    main()
