#!/usr/bin/env python3
"""Runs the benchmarks beside their peers, in turns, in one session, and prints ratios of medians.

ALS against `implicit` at equal factors, iterations, solver and threads; scoring against ranx and
ir-measures, which are given the rankings ready-made while assay also selects them from a matrix of
scores; and a file of 1.2 million ranked items (6,040 users × 200) read and scored at five cutoffs by
`assay score`, start of the program included, against ranx with its start left out.
`make bench` builds the programs first. Turns: the first argument (default 5).
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as implicit asks for
os.environ["MKL_NUM_THREADS"] = "1"

import peers  # noqa: E402

peers.enter()

import implicit.als  # noqa: E402
import ir_measures  # noqa: E402
import numpy as np  # noqa: E402
import ranx  # noqa: E402
import scipy.sparse as sparse  # noqa: E402

DATA = pathlib.Path(os.environ.get("ASSAY_DATA", "datasets"))


def program(name):
    found = [path for path in (peers.ROOT / "target/release/deps").glob(f"{name}-*") if not path.suffix and os.access(path, os.X_OK)]
    return max(found, key=lambda path: path.stat().st_mtime)


def matrix(file, rated):
    rows = np.loadtxt(DATA / file, dtype=np.int64)
    if rated:
        rows = rows[rows[:, 2] >= 4]
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows[:, 0] - 1, rows[:, 1] - 1)))


def ours(name, times):
    out = subprocess.run([program(name), "--seconds"], check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        if line.startswith("{"):
            found = json.loads(line)
            times.setdefault(("assay", found["case"]), []).append(found["seconds"])


def timed(times, who, case, work):
    started = time.perf_counter()
    work()
    times.setdefault((who, case), []).append(time.perf_counter() - started)


def als(times, matrices):
    ours("als", times)
    for name, values in matrices.items():
        for solver in ("cg", "cholesky"):
            for threads in (1, 2):
                model = implicit.als.AlternatingLeastSquares(
                    factors=64, regularization=10.0, alpha=20.0, iterations=5, use_cg=solver == "cg",
                    num_threads=threads, use_gpu=False, random_state=1)
                timed(times, "implicit", f"als/{name}/{solver}/{threads}", lambda: model.fit(values, show_progress=False))


def scoring(times, run, qrels, measures, names):
    ours("scoring", times)
    timed(times, "ir-measures", "scoring", lambda: ir_measures.calc_aggregate(measures, qrels, run))
    timed(times, "ranx", "scoring", lambda: ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), names))
    ranx_run, ranx_qrels = ranx.Run(run), ranx.Qrels(qrels)
    timed(times, "ranx, its own form ready", "scoring", lambda: ranx.evaluate(ranx_qrels, ranx_run, names))


def rankings(times, folder, names):
    program = peers.ROOT / "target/release/assay"
    means = {}
    for kind in ("csv", "run"):
        command = [program, "score", "--qrels", folder / "big.qrels", "-k", "1,5,10,15,20", "--convention", "trec",
                   "--csv", folder / f"big.{kind}"]
        started = time.perf_counter()
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        times.setdefault(("assay", f"file/{kind}"), []).append(time.perf_counter() - started)
        for line in out.splitlines()[1:]:
            fields = line.split(",")
            means[fields[7], int(fields[8])] = float(fields[9])
    started = time.perf_counter()
    qrels = ranx.Qrels.from_file(str(folder / "big.qrels"), kind="trec")
    run = ranx.Run.from_file(str(folder / "big.run"), kind="trec")
    theirs = ranx.evaluate(qrels, run, names)
    times.setdefault(("ranx", "file/run"), []).append(time.perf_counter() - started)
    ours = {"precision": "precision", "recall": "recall", "ndcg": "ndcg", "map": "map", "mrr": "mrr", "hit_rate": "hit-rate"}
    for name, value in theirs.items():
        metric, k = name.split("@")
        assert abs(means[ours[metric], int(k)] - value) < 1e-9, (name, value, means[ours[metric], int(k)])


def main():
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    files = {"100k": ("ml-100k/u1.base", True), "1m": ("ml-1m-partial/ml-1m.seq.tsv", False)}
    matrices = {}
    for name, (file, rated) in files.items():
        if (DATA / file).exists():
            matrices[name] = matrix(file, rated)
        else:
            print(f"not run: als/{name} (no {DATA / file})")
    kept = tempfile.TemporaryDirectory()
    folder = pathlib.Path(kept.name)
    peers.ranking_files(folder)
    subprocess.run([program("scoring"), "--write", folder], check=True)
    run, qrels = {}, {}
    for line in (folder / "run.txt").read_text().splitlines():
        user, _, item, _, score, _ = line.split()
        run.setdefault(user, {})[item] = float(score)
    for line in (folder / "qrels.txt").read_text().splitlines():
        user, _, item, _ = line.split()
        qrels.setdefault(user, {})[item] = 1
    means = {tuple(line.split()[:2]): float(line.split()[2]) for line in (folder / "means.txt").read_text().splitlines()}
    cutoffs = (1, 5, 10, 15, 20)
    measures = [ir_measures.parse_measure(f"{name}@{k}") for name in ("P", "R", "nDCG", "AP", "RR", "Success") for k in cutoffs]
    names = [f"{name}@{k}" for name in ("precision", "recall", "ndcg", "map", "mrr", "hit_rate") for k in cutoffs]
    # Speed counts for nothing where the figures differ.
    theirs = ir_measures.calc_aggregate(measures, qrels, run)
    for measure, ours_name in zip(("P", "R", "nDCG", "AP", "RR", "Success"), ("precision", "recall", "ndcg", "map-rel", "mrr", "hit-rate")):
        for k in cutoffs:
            deviation = abs(theirs[ir_measures.parse_measure(f"{measure}@{k}")] - means[(ours_name, str(k))])
            assert deviation < 1e-9, (measure, k, deviation)
    print("all 30 figures agree with ir-measures to 1e-9")
    times = {}
    for turn in range(turns):
        print(f"turn {turn + 1} of {turns}", file=sys.stderr, flush=True)
        als(times, matrices)
        scoring(times, run, qrels, measures, names)
        rankings(times, folder, names)
    kept.cleanup()
    median = {key: statistics.median(values) for key, values in times.items()}
    print(f"{'case':<26} {'assay s':>9} {'peer s':>9}  ratio (medians of {turns})")
    for (who, case), seconds in sorted(median.items()):
        if who != "assay":
            continue
        for (peer, peer_case), other in sorted(median.items()):
            if peer != "assay" and (peer_case == case or case.split("/")[0] == "scoring" == peer_case or (case, peer_case) == ("file/csv", "file/run")):
                print(f"{case:<26} {seconds:9.4f} {other:9.4f}  {other / seconds:6.1f} × {peer}")


if __name__ == "__main__":
    main()
