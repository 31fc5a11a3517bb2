#!/usr/bin/env python3
"""Compares assay's metrics with ranx and ir-measures on the rankings of an experiment.

  python3 tools/check_metrics.py                                   experiments/quickstart.yaml
  ASSAY_DATA=... python3 tools/check_metrics.py experiments/ml-100k-baselines.yaml

Runs the experiment where it was not run, then takes every system's stored ranking (protocol full) and
the relevant items of the fold's test part, has both libraries compute precision, recall, nDCG, MAP
(÷ relevant items), reciprocal rank and success for every user, and compares user by user and mean by
mean. Exit code 1 where anything differs by more than 1e-9.
"""

import json
import os
import pathlib
import subprocess
import sys

import peers

peers.enter()

import ir_measures  # noqa: E402
import polars as pl  # noqa: E402
import ranx  # noqa: E402

TOLERANCE = 1e-9
ASSAY = peers.ROOT / "target/release/assay"
# our name, ranx's, ir-measures'
METRICS = [
    ("precision", "precision@{k}", "P@{k}"),
    ("recall", "recall@{k}", "R@{k}"),
    ("ndcg", "ndcg@{k}", "nDCG@{k}"),
    ("map-rel", "map@{k}", "AP@{k}"),
    ("mrr", "mrr@{k}", "RR@{k}"),
    ("hit-rate", "hit_rate@{k}", "Success@{k}"),
]


def threshold(text):
    if text == "any":
        return pl.lit(True)
    operator, bound = text.split()
    column = pl.col("rating")
    return {">=": column >= float(bound), ">": column > float(bound), "<=": column <= float(bound), "<": column < float(bound)}[operator]


def main():
    file = sys.argv[1] if len(sys.argv) > 1 else "experiments/quickstart.yaml"
    subprocess.run([ASSAY, "run", file, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    plan = json.loads(subprocess.run([ASSAY, "plan", file, "--json"], check=True, capture_output=True).stdout)
    workspace = pathlib.Path(os.environ.get("ASSAY_WORKSPACE", ".assay"))
    steps = {step["key"]: step for step in plan["steps"]}
    worst, compared, systems = {}, 0, 0
    for step in plan["steps"]:
        if step["kind"] != "score":
            continue
        systems += 1
        scored = workspace / "steps/score" / step["key"]
        split = workspace / "steps/split" / step["material"]["split"]
        users = pl.read_parquet(split / "users.parquet")["user"].to_list()
        items = pl.read_parquet(split / "items.parquet")["item"].to_list()
        test = pl.read_parquet(split / "test.parquet").filter(threshold(step["material"]["relevant"]))
        qrels = {}
        for user, item in test.select("user", "item").iter_rows():
            qrels.setdefault(users[user], {})[items[item]] = 1
        run = {}
        for user, item, rank in pl.read_parquet(scored / "rankings.parquet").select("user", "item", "rank").iter_rows():
            if user in qrels:
                # Scores that fall with the rank: ties are assay's business, not the libraries'.
                run.setdefault(user, {})[item] = 1.0 / rank
        ours = pl.read_parquet(scored / "users.parquet").filter(
            (pl.col("protocol") == "full") & (pl.col("convention") == "standard"))
        means = {(m["metric"], m["k"]): m["value"] for m in json.loads((scored / "summary.json").read_text())
                 if (m["protocol"], m["convention"], m["slice"]) == ("full", "standard", "all")}
        cutoffs = sorted(ours["k"].unique())
        metrics = [metric for metric in METRICS if metric[0] in ours.columns]
        names = [(name, k, theirs.format(k=k), measure.format(k=k)) for name, theirs, measure in metrics for k in cutoffs]
        ranx_run, ranx_qrels = ranx.Run(run), ranx.Qrels(qrels)
        ranx_means = ranx.evaluate(ranx_qrels, ranx_run, [theirs for _, _, theirs, _ in names])
        measures = {ir_measures.parse_measure(measure): (name, k) for name, k, _, measure in names}
        by_user = {}
        for found in ir_measures.iter_calc(list(measures), qrels, run):
            by_user[(*measures[found.measure], found.query_id)] = found.value
        for name, k, theirs, _ in names:
            rows = ours.filter(pl.col("k") == k).select("user", name).drop_nulls()
            for user, value in rows.iter_rows():
                for library, other in (("ranx", ranx_run.scores[theirs].get(user, 0.0)),
                                       ("ir-measures", by_user.get((name, k, user), 0.0))):
                    worst[(library, name)] = max(worst.get((library, name), 0.0), abs(value - other))
                    compared += 1
            mean = means[(name, k)]
            theirs_mean = ranx_means[theirs] if len(names) > 1 else ranx_means
            worst[("ranx, mean", name)] = max(worst.get(("ranx, mean", name), 0.0), abs(mean - theirs_mean))
    print(f"{file}: {systems} rankings, {compared} values compared")
    for (library, name), deviation in sorted(worst.items()):
        print(f"  {library:<12} {name:<10} largest deviation {deviation:.1e}")
    if not worst or max(worst.values()) > TOLERANCE:
        sys.exit(f"differs by more than {TOLERANCE}")
    print(f"all agree to {TOLERANCE}")


if __name__ == "__main__":
    main()
