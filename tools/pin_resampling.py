#!/usr/bin/env python3
"""Writes tests/golden/resampling.json: intervals of a mean and of a mean over its standard deviation, resampled by clusters
and by blocks in time, computed with NumPy alone. src/analysis/statistic.rs is compared with them.

    .venv-significance/bin/python tools/pin_resampling.py      (any Python with NumPy)
"""

import json
import math
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESAMPLES = 200_000


def series():
    values, last = [], 0.0
    for at in range(120):
        last = 0.6 * last + math.sin(at * 12.9898) + 0.3
        values.append(last)
    return np.array(values)


def main():
    values, random = series(), np.random.default_rng(5)
    n = len(values)

    def mean(drawn):
        return drawn.mean(axis=1)

    def mean_over_sd(drawn):
        return drawn.mean(axis=1) / drawn.std(axis=1, ddof=1)

    def by_clusters(size):
        groups = np.arange(n).reshape(-1, size)
        return groups[random.integers(0, len(groups), (RESAMPLES, len(groups)))].reshape(RESAMPLES, n)

    def by_blocks():
        length = math.ceil(round(n ** (1 / 3), 9))
        starts = random.integers(0, n, (RESAMPLES, math.ceil(n / length)))
        rows = (starts[:, :, None] + np.arange(length)) % n
        return rows.reshape(RESAMPLES, -1)[:, :n]

    cases = [(mean_over_sd, by_clusters(1)), (mean_over_sd, by_clusters(3)), (mean_over_sd, by_blocks())]
    cases += [(mean, by_blocks()), (mean, by_clusters(1))]
    ends = [np.quantile(statistic(values[rows]), [0.025, 0.975]) for statistic, rows in cases]
    path = ROOT / "tests/golden/resampling.json"
    path.write_text(json.dumps([[round(float(end), 6) for end in of] for of in ends]) + "\n")
    print("wrote", path)


if __name__ == "__main__":
    main()
