#!/usr/bin/env python3
"""Seconds and memory of EASE, item-kNN, SLIM and MultVAE on MovieLens-1M beside their peers, in turns, in one session.

    cargo build --release --benches && python3 tools/bench_linear.py [turns] [model …]

All 1,000,209 ratings are positives. EASE (λ = 250), item-kNN (100 neighbours) and SLIM (λ and β of both: 10 and 100, and LensKit's
defaults 1 and 1) are fitted by assay and by LensKit 2025.8; an epoch of MultVAE (600 and 200 units, 500 users a step) is trained by
assay and by RecBole 1.2.1's model (its data loader left out). All use all processors; the times are those of the fit alone. Memory is
the peak of a process that reads the ratings and does nothing else. LensKit computes EASE in 32 bits, assay in 64.

Other environments: `LENSKIT_PYTHON` and `RECBOLE_PYTHON` name interpreters that have LensKit and RecBole.
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("ASSAY_DATA", "datasets")) / "ml-1m"
CORES = len(os.sched_getaffinity(0))
ENVIRONMENTS = {
    "LensKit": (".venv-lenskit", "LENSKIT_PYTHON", ["lenskit==2025.8.0"]),
    "RecBole": (".venv-sequential", "RECBOLE_PYTHON",
                ["recbole==1.2.1", "torch==2.11.0", "numpy==1.26.4", "scipy==1.11.4", "pandas==2.2.3", "ray==2.6.3", "setuptools==65.5.0"]),
}
CASES = {
    "ease": ("ease", "{regularization: 250}", "LensKit"),
    "item-knn": ("item-knn", "{neighbours: 100}", "LensKit"),
    "slim": ("slim", "{l1: 10, l2: 100}", "LensKit"),
    "slim-1-1": ("slim", "{l1: 1, l2: 1}", "LensKit"),
    "mult-vae": ("mult-vae", "{training: {epochs: 4, device: cpu}}", "RecBole"),
}


def interpreter(peer):
    folder, variable, packages = ENVIRONMENTS[peer]
    if variable in os.environ:
        return os.environ[variable]
    python = ROOT / folder / "bin/python"
    if not python.exists():
        print("installing", *packages, "into", folder, file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", ROOT / folder], check=True)
        subprocess.run([python, "-m", "pip", "-q", "install", *packages], check=True)
    return python


def ratings():
    import numpy as np

    rows = np.array([line.split("::")[:2] for line in (DATA / "ratings.dat").read_text().splitlines()], dtype=np.int64)
    return np.unique(rows[:, 0], return_inverse=True)[1], np.unique(rows[:, 1], return_inverse=True)[1]


def lenskit(case):
    import pandas as pd
    from lenskit.data import from_interactions_df
    from lenskit.knn import ItemKNNScorer
    from lenskit.knn.ease import EASEScorer
    from lenskit.knn.slim import SLIMScorer
    from lenskit.training import TrainingOptions

    users, items = ratings()
    data = from_interactions_df(pd.DataFrame({"user_id": users, "item_id": items}))
    model = {
        "ease": lambda: EASEScorer(regularization=250),
        "item-knn": lambda: ItemKNNScorer(max_nbrs=20, save_nbrs=100, feedback="implicit"),
        "slim": lambda: SLIMScorer(l1_reg=10, l2_reg=100),
        "slim-1-1": lambda: SLIMScorer(l1_reg=1, l2_reg=1),
    }[case]()
    started = time.perf_counter()
    model.train(data, TrainingOptions())
    return time.perf_counter() - started


def recbole(_):
    import numpy as np
    import torch
    from recbole.model.general_recommender import MultiVAE

    torch.set_num_threads(CORES)
    users, items = ratings()
    counts = np.bincount(users)
    # As RecBole's data set: padded with item 0, so items are counted from 1.
    ids = np.zeros((len(counts), counts.max()), dtype=np.int64)
    values = np.zeros(ids.shape, dtype=np.float32)
    order = np.argsort(users, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    for user, (first, last) in enumerate(zip(starts, starts[1:])):
        ids[user, : last - first], values[user, : last - first] = items[order[first:last]] + 1, 1

    class Data:
        def num(self, field):
            return {"user": len(counts), "item": items.max() + 2}[field]

        def history_item_matrix(self):
            return torch.from_numpy(ids), torch.from_numpy(values), torch.from_numpy(counts)

    config = {"USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "NEG_PREFIX": "neg_", "device": "cpu", "mlp_hidden_size": [600],
              "latent_dimension": 400, "dropout_prob": 0.5, "anneal_cap": 0.2, "total_anneal_steps": 200000}
    model = MultiVAE(config, Data())
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch():
        for batch in torch.randperm(len(counts)).split(500):
            adam.zero_grad()
            model.calculate_loss({"user": batch}).backward()
            adam.step()

    epoch()
    started = time.perf_counter()
    for _ in range(3):
        epoch()
    return (time.perf_counter() - started) / 3


def main():
    if sys.argv[1:2] == ["--peer"]:
        seconds = {"LensKit": lenskit, "RecBole": recbole}[sys.argv[2]](sys.argv[3])
        print(json.dumps({"seconds": seconds, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
        return
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    cases = sys.argv[2:] or list(CASES)
    deps = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/deps"
    found = [path for path in deps.glob("linear-*") if not path.suffix and os.access(path, os.X_OK)]
    ours = max(found, key=lambda path: path.stat().st_mtime)
    environment = {**os.environ, "LK_NUM_THREADS": str(CORES), "OMP_NUM_THREADS": str(CORES), "MKL_NUM_THREADS": str(CORES)}
    times = {}
    for turn in range(turns):
        for case in cases:
            model, settings, peer = CASES[case]
            commands = {"assay": [ours, "--seconds", model, settings, DATA], peer: [interpreter(peer), __file__, "--peer", peer, case]}
            for name, command in commands.items():
                print(f"turn {turn + 1} of {turns}: {case} {name}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
                out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
                times.setdefault((case, name), []).append(json.loads(out.splitlines()[-1]))
    median = lambda key, what: statistics.median(one[what] for one in times[key])
    for case, name in times:
        seconds, memory, own = median((case, name), "seconds"), median((case, name), "memory"), (case, "assay")
        print(f"{case:<9} {name:<8} {seconds:8.3f} s, {memory / 2**20:6.0f} MiB: {seconds / median(own, 'seconds'):5.1f} × the time, "
              f"{memory / median(own, 'memory'):4.1f} × the memory of assay")


if __name__ == "__main__":
    main()
