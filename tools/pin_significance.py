#!/usr/bin/env python3
"""Writes tests/golden/significance.json: p-values of SciPy, statsmodels and baycomp, with which src/analysis/significance.rs
and friedman.rs are compared.

    python3 tools/pin_significance.py

installs the libraries into an environment of their own.
"""

import itertools
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv-significance"
INSTALLED = ["numpy==2.2.6", "scipy==1.15.3", "statsmodels==0.14.4", "baycomp==1.0.3"]


def enter():
    if pathlib.Path(sys.prefix).resolve() == HOME.resolve():
        return
    if not (HOME / "done").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        pip = [HOME / "bin/python", "-m", "pip", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *INSTALLED], check=True)
        (HOME / "done").write_text("")
    sys.exit(subprocess.run([HOME / "bin/python", *sys.argv]).returncode)


def cases(random):
    yield "few", random.normal(0.1, 1, 8)
    yield "forty", random.normal(0.2, 1, 40)
    yield "many", random.normal(0.01, 0.2, 400)
    # As differences of recall are: many zeros, many ties.
    yield "tied", random.choice([-0.5, -0.25, 0, 0, 0, 0.25, 0.5], 120)
    yield "strong", random.normal(1.0, 0.5, 60)


def sign_flips(values):
    """Exact, by trying all."""
    sums = [abs(sum(s * v for s, v in zip(signs, values))) for signs in itertools.product([1, -1], repeat=len(values))]
    return sum(s >= abs(sum(values)) - 1e-12 for s in sums) / len(sums)


def over_data_sets(random, found):
    """Friedman, Iman-Davenport and Nemenyi; higher values are better and have the lower ranks."""
    infinite = stats.studentized_range

    def case(name, values):
        n, k = values.shape
        chi_square, p = stats.friedmanchisquare(*values.T)
        ranks = np.mean([stats.rankdata(-block) for block in values], axis=0)
        f = (n - 1) * chi_square / (n * (k - 1) - chi_square)
        error = np.sqrt(k * (k + 1) / (6 * n))
        differences = np.abs(ranks[:, None] - ranks[None, :])
        found["friedman"].append({
            "name": name, "values": values.tolist(), "ranks": ranks.tolist(), "chi_square": float(chi_square),
            "p": float(p), "f": float(f), "p_f": float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
            "cd": float(infinite.ppf(0.95, k, np.inf) / np.sqrt(2) * error),
            "nemenyi": infinite.sf(differences / error * np.sqrt(2), k, np.inf).tolist(),
        })

    case("three of four", random.normal(0, 1, (4, 3)))
    case("five of twelve", random.normal([0, 0.2, 0.4, 1, 1], 0.7, (12, 5)))
    case("ten of thirty", random.normal(np.linspace(0, 1, 10), 1, (30, 10)))
    case("tied", random.integers(0, 3, (8, 4)).astype(float))
    for k in [2, 3, 4, 6, 10, 20]:
        for q, alpha in [(1.0, 0.1), (3.5, 0.05), (5.0, 0.01)]:
            sf, quantile = infinite.sf(q, k, np.inf), infinite.ppf(1 - alpha, k, np.inf)
            found["ranges"].append({"k": k, "q": q, "sf": float(sf), "alpha": alpha, "quantile": float(quantile)})


def main():
    random = np.random.default_rng(7)
    found = {"units": [], "corrections": [], "folds": [], "friedman": [], "ranges": [], "seeds": []}
    for name, values in cases(random):
        case = {"name": name, "values": values.tolist()}
        case["t"] = float(stats.ttest_1samp(values, 0).pvalue)
        case["signed_rank"] = float(stats.wilcoxon(values, correction=False).pvalue)
        case["margin"] = 0.1
        case["equivalence"] = float(weightstats.DescrStatsW(values).ttost_mean(-0.1, 0.1)[0])
        error = values.std(ddof=1) / np.sqrt(len(values))
        df = len(values) - 1
        case["detectable"] = float((stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)) * error)
        if len(values) <= 14:
            case["sign_flip"] = sign_flips(values)
        found["units"].append(case)
    # A generator of its own: the cases above and below keep their values.
    own = np.random.default_rng(11)
    for first, second in [(own.normal(0.4, 0.03, 5), own.normal(0.45, 0.1, 5)), (own.normal(0, 1, 3), own.normal(1, 1, 8))]:
        p = float(stats.ttest_ind(first, second, equal_var=False).pvalue)
        found["seeds"].append({"first": first.tolist(), "second": second.tolist(), "p": p})
    first = own.normal(0.4, 0.03, 5)
    p = float(stats.ttest_1samp(first, 0.42).pvalue)
    found["seeds"].append({"first": first.tolist(), "second": [0.42], "p": p})
    for p in [[0.01, 0.04, 0.03, 0.5, 0.04], [0.2], [0.001, 0.001, 0.9], sorted(random.uniform(0, 0.2, 30))]:
        p = [float(value) for value in p]
        corrected = {name: multipletests(p, method=method)[1].tolist() for name, method in [("holm", "holm"), ("bh", "fdr_bh")]}
        found["corrections"].append({"p": p, **corrected})
    for folds, rope in [(5, 0.01), (10, 0.005)]:
        differences = random.normal(0.008, 0.01, folds)
        test_per_train = 1 / (folds - 1)
        error = differences.std(ddof=1) * np.sqrt(1 / folds + test_per_train)
        p = 2 * stats.t.sf(abs(differences.mean() / error), folds - 1)
        posterior = baycomp.two_on_single(np.zeros(folds), differences, rope=rope)
        # Probabilities that the first is better, that both are equal, and that the second is.
        found["folds"].append({
            "differences": differences.tolist(), "test_per_train": test_per_train, "rope": rope, "p": float(p),
            "posterior": [float(value) for value in posterior],
        })
    # Of their own seed: what stands above keeps its numbers.
    over_data_sets(np.random.default_rng(11), found)
    path = ROOT / "tests/golden/significance.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print("wrote", path)


enter()
import baycomp  # noqa: E402
import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402
from statsmodels.stats import weightstats  # noqa: E402
from statsmodels.stats.multitest import multipletests  # noqa: E402

if __name__ == "__main__":
    main()
