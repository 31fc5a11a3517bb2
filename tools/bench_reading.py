#!/usr/bin/env python3
"""Measures how long files take to be read: rankings beside ranx, and 20 million ratings.

    cargo build --release
    python3 tools/bench_reading.py rankings [TURNS]    1.2 million ranked items as CSV and as a TREC run
    python3 tools/bench_reading.py ratings [ROWS]      20,000,000 ratings of strings as CSV, read and split

`rankings`: 6,040 users × 200 items are read and scored with six metrics at five cutoffs, by `assay score` and by ranx, whose
CSV is read by pandas. Each run is a process of its own, and its start counts. Turns alternate, after one turn that is not
counted (ranx compiles its functions then). All 30 numbers of both must agree to 1e-9, otherwise the program ends with an error.
`ratings`: `assay plan` of a holdout, which reads and splits, and `assay split`, which also writes the folds.

Printed are medians: the time that passed, which means little on a busy machine, the CPU time of the process and its
children, and the most memory. `ASSAY` is another program, `PEERS_PYTHON` an interpreter that has ranx.
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

import peers

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = pathlib.Path(os.environ.get("ASSAY", ROOT / "target/release/assay")).resolve()
CUTOFFS = (1, 5, 10, 15, 20)
# ranx's name: ours
METRICS = {"precision": "precision", "recall": "recall", "ndcg": "ndcg", "map": "map", "mrr": "mrr", "hit_rate": "hit-rate"}


def ranx(kind, folder):
    """What someone who has these files writes to get the numbers from ranx."""
    import ranx

    folder = pathlib.Path(folder)
    qrels = ranx.Qrels.from_file(str(folder / "big.qrels"), kind="trec")
    if kind == "csv":
        import pandas as pd

        rows = pd.read_csv(folder / "big.csv", dtype={"user": object, "item": object, "score": float})
        run = ranx.Run.from_df(rows, q_id_col="user", doc_id_col="item", score_col="score")
    else:
        run = ranx.Run.from_file(str(folder / "big.run"), kind="trec")
    names = [f"{name}@{k}" for name in METRICS for k in CUTOFFS]
    print(json.dumps({name: float(value) for name, value in ranx.evaluate(qrels, run, names).items()}))


def once(command, folder):
    """Output, seconds, CPU seconds and MB."""
    with tempfile.TemporaryFile() as out:
        start = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        if status != 0:
            sys.exit(f"{' '.join(map(str, command))} ended with {os.waitstatus_to_exitcode(status)}")
        out.seek(0)
        return out.read().decode(), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def of_assay(text):
    """Means by (metric, cutoff) from `assay score --csv`."""
    header, *rows = [line.split(",") for line in text.splitlines()]
    metric, k, value = (header.index(name) for name in ("metric", "k", "value"))
    return {(row[metric], int(row[k])): float(row[value]) for row in rows}


def compare(ours, theirs):
    for name, value in theirs.items():
        metric, k = name.split("@")
        mine = ours[METRICS[metric], int(k)]
        if abs(mine - value) > 1e-9:
            sys.exit(f"{name}: assay {mine}, ranx {value}")
    if len(theirs) != len(METRICS) * len(CUTOFFS):
        sys.exit(f"ranx gave {len(theirs)} numbers")


def rankings(folder, turns):
    peers.ranking_files(folder)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors, nothing else should run", flush=True)
    python = os.environ.get("PEERS_PYTHON", sys.executable)
    runs = {}
    for turn in range(turns + 1):
        for kind in ("csv", "run"):
            assay = once([ASSAY, "score", "--qrels", "big.qrels", "-k", ",".join(map(str, CUTOFFS)), "--convention", "trec",
                          "--csv", f"big.{kind}"], folder)
            peer = once([python, pathlib.Path(__file__).resolve(), "ranx", kind, folder], folder)
            compare(of_assay(assay[0]), json.loads(peer[0].splitlines()[-1]))
            if turn > 0:
                runs.setdefault(("assay", kind), []).append(assay[1:])
                runs.setdefault(("ranx", kind), []).append(peer[1:])
    print(f"30 numbers agree to 1e-9 in each of {2 * turns} pairs")
    median = {key: [statistics.median(column) for column in zip(*rows)] for key, rows in runs.items()}
    print(f"{'medians of ' + str(turns):<18} {'seconds':>9} {'CPU s':>9} {'MB':>7}")
    for kind in ("csv", "run"):
        for who in ("assay", "ranx"):
            seconds, cpu, memory = median[who, kind]
            print(f"{kind + ', ' + who:<18} {seconds:9.3f} {cpu:9.3f} {memory:7.0f}")
        times, cpu = (median["ranx", kind][at] / median["assay", kind][at] for at in (0, 1))
        print(f"{kind}: {times:.1f} times as fast, {cpu:.1f} times by CPU time", flush=True)


def ratings(folder, rows):
    """Users, items and times as strings, as a newcomer's files have them."""
    draws = random.Random(7)
    users, items = rows // 100, rows // 500
    with open(folder / "ratings.csv", "w") as file:
        file.write("user,item,rating,timestamp\n")
        done = 0
        while done < rows:
            lines = []
            for _ in range(min(rows - done, 100_000)):
                # Items of low numbers are popular.
                item = int(items * draws.random() ** 3)
                at = 1_100_000_000 + draws.randrange(400_000_000)
                lines.append(f"A{draws.randrange(users):08X}Q,B00{item:07d},{draws.randrange(1, 6)}.0,{at}\n")
            file.writelines(lines)
            done += len(lines)
    size = (folder / "ratings.csv").stat().st_size / 1e6
    columns = {"user": "user", "item": "item", "rating": "rating", "timestamp": "timestamp"}
    experiment = {
        "experiment": "many",
        "data": {"reader": "table", "folder": ".", "ratings": "ratings.csv", "columns": columns, "relevant": ">= 4",
                 "duplicates": "keep-last"},
        "split": {"scheme": "holdout", "test": 0.2, "seed": 1},
        "systems": {"popularity": {"model": "popularity"}},
        "evaluate": {"k": [10], "metrics": ["ndcg", "recall"]},
    }
    # JSON is YAML.
    (folder / "many.yaml").write_text(json.dumps(experiment))
    print(f"{rows:,} ratings, {size:.0f} MB, {users:,} users, {items:,} items; load of the machine: {os.getloadavg()[0]:.1f}")
    for command in (["plan", "many.yaml"],
                    ["split", "many.yaml", "--out", "folds", "--with-test"],
                    ["split", "many.yaml", "--out", "folds-parquet", "--format", "parquet"]):
        _, seconds, cpu, memory = once([ASSAY, *command], folder)
        print(f"assay {' '.join(command):<55} {seconds:7.2f} s {cpu:7.2f} CPU s {memory:7.0f} MB", flush=True)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:] or ["rankings"]
    if verb == "ranx":
        ranx(*rest)
    elif verb in ("rankings", "ratings"):
        if verb == "rankings" and "PEERS_PYTHON" not in os.environ:
            peers.enter()
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place)
            if verb == "rankings":
                rankings(folder, int(rest[0]) if rest else 5)
            else:
                ratings(folder, int(rest[0].replace(",", "")) if rest else 20_000_000)
    else:
        sys.exit(__doc__)
