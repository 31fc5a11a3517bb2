#!/usr/bin/env python3
"""Measures planning, reporting and memory at sizes that no data set at hand has.

    cargo build --release
    ASSAY_DATA=DIR python3 tools/bench_scale.py [plan] [report] [users] [compare]

`plan`: 10,000 trials of ALS, and 9,600 trials of an encoder that reranks. `report`: 40 systems × 5 folds × 3 seeds ×
10 metrics × 5 cutoffs on MovieLens-100K: results, table, report, a run that has nothing to do, and an audit of one seed. `users`: 50,000 and
100,000 users of popularity on 1,000 items, whose memory is to grow with the lists that are kept. `compare`: two systems over
1,000,000 users. Times are medians of five; nothing else should run on the machine (CPU times bear more).
"""

import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = os.environ.get("ASSAY", str(ROOT / "target/release/assay"))
ML100K = {"set": "ml-100k", "relevant": ">= 4"}
FOLDS = {"scheme": "kfold", "folds": 5, "seed": 1}


def write(folder, name, experiment):
    # JSON is YAML.
    (folder / f"{name}.yaml").write_text(json.dumps({"experiment": name, **experiment}))


def once(folder, *arguments):
    """Seconds, the most memory in MB, and seconds of CPU time."""
    start = time.monotonic()
    process = subprocess.Popen([ASSAY, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        print(process.stderr.read().decode())
        sys.exit(f"assay {' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - start, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def measure(what, folder, *arguments, times=5):
    runs = [once(folder, *arguments) for _ in range(times)]
    seconds = statistics.median(run[0] for run in runs)
    cpu = statistics.median(run[2] for run in runs)
    print(f"{what:<60} {seconds:7.2f} s {cpu:7.2f} CPU s {max(run[1] for run in runs):7.0f} MB", flush=True)


def plan(folder):
    numbers = {"sweep": list(range(1, 11))}
    als = {"model": "als", "factors": {"sweep": list(range(8, 88, 8))}, "regularization": numbers, "alpha": numbers}
    shared = {"data": ML100K, "split": FOLDS, "seeds": [1, 2], "evaluate": {"k": [5], "metrics": ["ndcg"]}}
    write(folder, "als", {**shared, "systems": {"als": als}})
    rerank = {
        "model": "rerank", "of": "als", "judge": "encoder", "text": {"profiles": "template"},
        "pool": {"sweep": list(range(5, 21))},
        "fuse": {"judge": {"sweep": [at / 20 for at in range(1, 21)]}},
        "strategy": {"sweep": ["relevancy", "bst", "prompt"]},
    }
    systems = {"als": {"model": "als"}, "rerank": rerank}
    write(folder, "rerank", {**shared, "profiles": {"template": {"from": "template"}}, "systems": systems})
    measure("plan 10,000 trials of als", folder, "plan", "als.yaml")
    measure("plan 9,600 trials of an encoder that reranks", folder, "plan", "rerank.yaml")


def report(folder):
    systems = {
        f"s{at:02}": {"model": "als", "factors": at // 4 + 2, "iterations": 2, "regularization": at % 4 + 1}
        for at in range(40)
    }
    metrics = "precision recall ndcg map map-rel mrr hit-rate item-coverage novelty gini".split()
    evaluate = {"k": [1, 5, 10, 20, 50], "metrics": metrics}
    write(folder, "many", {"data": ML100K, "split": FOLDS, "seeds": [1, 2, 3], "systems": systems, "evaluate": evaluate})
    once(folder, "run", "many.yaml", "--quiet")
    for verb in ["results", "table", "report"]:
        measure(f"{verb} of 40 systems x 5 folds x 3 seeds x 10 x 5", folder, verb, "many.yaml")
    measure("run with nothing to do, report included", folder, "run", "many.yaml", "--quiet")
    write(folder, "forty", {"data": ML100K, "split": FOLDS, "seeds": [1], "systems": systems, "evaluate": evaluate})
    once(folder, "run", "forty.yaml", "--quiet")
    before = os.times()
    measure("audit of 40 systems x 5 folds", folder, "audit", "forty.yaml", times=3)
    after = os.times()
    print(f"CPU time of each: {(after[2] + after[3] - before[2] - before[3]) / 3:.2f} s")


def users(folder):
    draws = random.Random(1)
    for n in [50_000, 100_000]:
        with open(folder / f"u{n}.csv", "w") as file:
            file.write("user,item,rating\n")
            for user in range(n):
                for item in draws.sample(range(1000), 10):
                    file.write(f"{user},{item},5\n")
        data = {"reader": "table", "folder": ".", "ratings": f"u{n}.csv", "columns": {"user": "user", "item": "item", "rating": "rating"}, "relevant": ">= 4"}
        write(folder, f"users{n}", {
            "data": data, "split": {"scheme": "holdout", "test": 0.2, "seed": 1},
            "systems": {"popularity": {"model": "popularity"}}, "evaluate": {"k": [10], "metrics": ["ndcg"]},
        })
        measure(f"run popularity for {n:,} users and 1,000 items", folder, "run", f"users{n}.yaml", "--quiet", times=1)
        measure("its results", folder, "results", f"users{n}.yaml", times=1)


def compare(folder):
    draws = random.Random(1)
    with open(folder / "u.csv", "w") as file:
        file.write("user,item,rating\n")
        for user in range(1_000_000):
            file.writelines(f"{user},{item},5\n" for item in draws.sample(range(40), 4))
    data = {"reader": "table", "folder": ".", "ratings": "u.csv", "columns": {"user": "user", "item": "item", "rating": "rating"}, "relevant": ">= 4"}
    write(folder, "million", {
        "data": data, "split": {"scheme": "holdout", "test": 0.4, "seed": 1},
        "systems": {"popularity": {"model": "popularity"}, "random": {"model": "random"}},
        "evaluate": {"k": [5], "metrics": ["ndcg"]},
    })
    once(folder, "run", "million.yaml", "--quiet")
    measure("compare two systems over 1,000,000 users", folder, "compare", "million.yaml", times=3)


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["plan", "report", "users", "compare"]
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            {"plan": plan, "report": report, "users": users, "compare": compare}[name](pathlib.Path(folder))
