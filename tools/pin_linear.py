#!/usr/bin/env python3
"""Writes tests/golden/linear.json: weights of SLIM by scikit-learn's ElasticNet, of EASE and EDLAE by their closed forms in
NumPy, and three iterations of iALS in NumPy, all in float64, on a small matrix.

    python3 tools/pin_linear.py

Where scikit-learn cannot be imported, it is installed into an environment of its own. `--lenskit` compares SLIM with LensKit
instead (its `SLIMScorer`, which that environment must have), and prints how the penalties of the two are related.
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv-linear"
INSTALLED = ["numpy==1.26.4", "scipy==1.11.4", "scikit-learn==1.4.2"]
USERS, ITEMS = 60, 13


def enter():
    try:
        import sklearn.linear_model  # noqa: F401

        return
    except ImportError:
        pass
    python = HOME / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", HOME], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *INSTALLED], check=True)
    os.execv(python, [python, *sys.argv])


def matrix():
    """Users × items: three groups of items, some noise, and at the end one user for each item alone."""
    import numpy as np

    random = np.random.RandomState(20)
    groups = np.arange(ITEMS) % 3
    likes = np.where(groups[None, :] == random.randint(0, 3, USERS)[:, None], 0.6, 0.15) * (1.3 - np.arange(ITEMS) / ITEMS)
    return np.vstack([(random.rand(USERS, ITEMS) < likes).astype(float), np.eye(ITEMS)])


def slim(x, l1, l2, positive):
    import numpy as np
    from sklearn.linear_model import ElasticNet

    # scikit-learn minimises ‖y − X w‖² / 2n + αρ ‖w‖₁ + α(1 − ρ) ‖w‖² / 2.
    n, columns = len(x), []
    alpha = (l1 + l2) / n
    for item in range(x.shape[1]):
        others = x.copy()
        others[:, item] = 0
        net = ElasticNet(alpha=alpha, l1_ratio=l1 / (l1 + l2), positive=positive, fit_intercept=False, precompute=others.T @ others,
                         tol=1e-14, max_iter=1_000_000)
        net.fit(others, x[:, item])
        columns.append((net.coef_ * (np.arange(x.shape[1]) != item)).tolist())
    return columns


def closed_form(x, penalty):
    import numpy as np

    inverse = np.linalg.inv(x.T @ x + np.diag(penalty))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights.tolist()


def ials(x, dim, iterations, regularization, nu, alpha0):
    """Rendle et al. 2022, eq. 2 and 11 by alternating exact solutions, users first."""
    import numpy as np

    random = np.random.RandomState(5)
    users, items = (random.randn(n, dim) * 0.1 / np.sqrt(dim) for n in x.shape)
    start = [users.tolist(), items.tolist()]

    def half(rows, fixed):
        solved = np.zeros((len(rows), dim))
        for at, row in enumerate(rows):
            own = fixed[row > 0]
            if len(own) == 0:
                continue
            penalty = regularization * (len(own) + alpha0 * len(fixed)) ** nu
            left = own.T @ own + alpha0 * fixed.T @ fixed + penalty * np.eye(dim)
            solved[at] = np.linalg.solve(left, own.sum(0))
        return solved

    for _ in range(iterations):
        users = half(x, items)
        items = half(x.T, users)
    return {"start": start, "users": users.tolist(), "items": items.tolist()}


def lenskit(x):
    """Which l1 and l2 of ours give the weights of LensKit's."""
    import numpy as np
    import pandas as pd
    from lenskit.data import from_interactions_df
    from lenskit.knn.slim import SLIMScorer
    from lenskit.training import TrainingOptions

    rows = pd.DataFrame(np.argwhere(x > 0), columns=["user_id", "item_id"])
    for l1, l2 in [(1.0, 1.0), (2.0, 1.0), (1.0, 4.0)]:
        model = SLIMScorer(l1_reg=l1, l2_reg=l2, max_iters=10_000)
        model.train(from_interactions_df(rows), TrainingOptions())
        theirs = model.weights.toarray()
        gram = x.T @ x
        worst = []
        for ours1, ours2, name in [(l1, l2, "l1, l2"), (l1, 2 * l2, "l1, 2 l2"), (l1 / 2, l2 / 2, "l1/2, l2/2"), (l1 / 2, l2, "l1/2, l2"),
                                   (len(x) * l1, len(x) * l2, "n l1, n l2")]:
            w = np.zeros_like(gram)
            for j in range(len(gram)):
                for _ in range(5000):
                    for i in range(len(gram)):
                        if i != j:
                            pull = gram[i, j] - gram[i] @ w[:, j] + gram[i, i] * w[i, j]
                            w[i, j] = max(pull - ours1, 0) / (gram[i, i] + ours2)
            worst.append(f"{name}: {min(np.abs(w - theirs).max(), np.abs(w - theirs.T).max()):.1e}")
        print(f"LensKit l1_reg {l1}, l2_reg {l2}, {np.count_nonzero(theirs)} weights; off by", "; ".join(worst))


def main():
    x = matrix()
    if "--lenskit" in sys.argv:
        return lenskit(x)
    gram = (x.T @ x).diagonal()
    golden = {"items": x.shape[1], "liked": [row.nonzero()[0].tolist() for row in x], "slim": [], "edlae": []}
    for l1, l2, positive in [(0.5, 1.0, True), (2.0, 5.0, True), (0.5, 1.0, False), (1.5, 0.25, False)]:
        golden["slim"].append({"l1": l1, "l2": l2, "positive": positive, "columns": slim(x, l1, l2, positive)})
    golden["ease"] = {"regularization": 7.5, "weights": closed_form(x, 0 * gram + 7.5)}
    for dropout, regularization in [(0.33, 2.0), (0.75, 0.1)]:
        settings = {"dropout": dropout, "regularization": regularization}
        penalty = dropout / (1 - dropout) * gram + regularization
        golden["edlae"].append({"settings": settings, "weights": closed_form(x, penalty)})
    settings = {"regularization": 0.03, "nu": 0.7, "alpha0": 0.2}
    golden["ials"] = settings | ials(x, 5, 3, *settings.values())
    path = ROOT / "tests/golden/linear.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    if "--lenskit" not in sys.argv:
        enter()
    main()
