"""Paired differences between systems of an experiment that was run, with intervals over users.

  python3 tools/paired_differences.py WORKSPACE EXPERIMENT 'SYSTEM A' 'SYSTEM B' ['SYSTEM C' 'SYSTEM D' …]

Reads the values of every user from the workspace. For each pair: the mean difference A − B of a metric (mean over seeds
within a fold, then over folds), its 95 % interval from 10,000 resamples of the users (a user is drawn once for all folds
and seeds), the difference in every fold, and over how many users A is better, equal and worse.
"""

import argparse
import json
import pathlib

import peers

peers.enter()

import numpy  # noqa: E402
import polars  # noqa: E402

RESAMPLES, SEED = 10_000, 42


def scores_of(workspace, experiment):
    """(system, fold) → directories of the scores of every seed, in the plan of the experiment's last run."""
    plan = json.loads((workspace / "experiments" / experiment / "plan.json").read_text())
    wanted = {json.dumps(material): name for name, material in plan.items() if name.startswith("score ")}
    found = {}
    for path in sorted((workspace / "steps/score").iterdir()):
        record = json.loads((path / "record.json").read_text())
        name = wanted.get(json.dumps(record["material"]))
        if name is None:
            continue
        label = name.removeprefix("score ").split(" seed ")[0]
        system, fold = label.rsplit(" ", 1)
        found.setdefault((system, fold), []).append(path)
    return found


def values(paths, metric, k, slice_):
    """user → mean over seeds."""
    frames = []
    for path in paths:
        frame = polars.read_parquet(path / "users.parquet")
        frame = frame.filter(
            (polars.col("protocol") == "full") & (polars.col("convention") == "standard") & (polars.col("k") == k)
        )
        if slice_ != "all":
            frame = frame.filter(polars.col(slice_))
        frames.append(frame.select("user", metric).drop_nulls().filter(polars.col(metric).is_not_nan()))
    table = polars.concat(frames).group_by("user").agg(polars.col(metric).mean(), polars.len().alias("seeds"))
    assert table["seeds"].n_unique() == 1, "not every seed has every user"
    return dict(zip(table["user"].to_list(), table[metric].to_list()))


def compare(scores, a, b, options):
    folds = sorted(fold for system, fold in scores if system == a)
    if not folds or folds != sorted(fold for system, fold in scores if system == b):
        raise SystemExit(f"`{a}` and `{b}` are not both there on the same folds; there are {sorted({s for s, _ in scores})}")
    of_folds = []
    for fold in folds:
        one, other = (values(scores[system, fold], options.metric, options.k, options.slice) for system in (a, b))
        assert one.keys() == other.keys(), f"different users in {fold}"
        of_folds.append({user: one[user] - other[user] for user in one})
    users = sorted(set().union(*of_folds))
    at = {user: place for place, user in enumerate(users)}
    differences, present = numpy.zeros((len(folds), len(users))), numpy.zeros((len(folds), len(users)))
    for fold, values_ in enumerate(of_folds):
        for user, value in values_.items():
            differences[fold, at[user]], present[fold, at[user]] = value, 1
    per_fold = differences.sum(1) / present.sum(1)
    random = numpy.random.default_rng(SEED)
    means = []
    for _ in range(RESAMPLES):
        times = numpy.bincount(random.integers(0, len(users), len(users)), minlength=len(users))
        means.append(((differences @ times) / (present @ times)).mean())
    low, high = numpy.quantile(means, [0.025, 0.975])
    of_users = differences.sum(0) / present.sum(0)
    better, equal = int((of_users > 0).sum()), int((of_users == 0).sum())
    print(
        f"{a} − {b}: {options.metric}@{options.k} {per_fold.mean():+.4f} [{low:+.4f}, {high:+.4f}], "
        f"{len(users)} users ({int(present.sum())} user-fold pairs); better/equal/worse {better}/{equal}/"
        f"{len(users) - better - equal}; by fold "
        + ", ".join(f"{fold} {value:+.4f}" for fold, value in zip(folds, per_fold))
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=pathlib.Path)
    parser.add_argument("experiment")
    parser.add_argument("systems", nargs="+", help="pairs of systems, as tables name them")
    parser.add_argument("--metric", default="ndcg")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--slice", default="all")
    options = parser.parse_args()
    if len(options.systems) % 2:
        parser.error("systems come in pairs")
    scores = scores_of(options.workspace, options.experiment)
    for a, b in zip(options.systems[::2], options.systems[1::2]):
        compare(scores, a, b, options)


if __name__ == "__main__":
    main()
