#!/usr/bin/env python3
"""Seconds an epoch of LightGCN, SGL and GATv2 beside their peers, in turns, in one session.

    cargo build --release --benches && python3 tools/bench_networks.py [turns [model …]]

LightGCN on MovieLens-100K u1 (64 dimensions, 2 layers, batches of 2048): assay, plain PyTorch with a
sparse CSR matrix, and RecBole 1.2.1's model (its data loader left out). GATv2 with 64 features, 64
channels, heads 4, 4, 1 on liked and disliked ratings, one step on all positives: assay and PyTorch
Geometric. One thread each. SGL with two threads each: 64 dimensions, 3 layers, edges dropped, batches of 2048, every
node against all others, assay and RecBole 1.2.1's model with its own settings. An epoch includes drawing its two graphs;
data loader and negatives are left out of RecBole's. Peak memory is that of a process that does nothing else.
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

# What is not in here has one thread.
THREADS = {"sgl": 2}
ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv-networks"
INSTALLED = ["torch==2.11.0", "torch_geometric==2.7.0", "numpy==1.26.4", "scipy==1.11.4", "pandas==2.2.3",
             "scikit-learn==1.4.2", "colorlog", "colorama", "pyyaml", "tqdm", "tensorboard", "thop", "tabulate", "plotly", "texttable"]
DATA = pathlib.Path(os.environ.get("ASSAY_DATA", "datasets"))


def enter():
    if pathlib.Path(sys.prefix).resolve() == HOME.resolve():
        return
    python = HOME / "bin/python"
    if not (HOME / "done").is_file():
        print("installing", *INSTALLED, "recbole==1.2.1 into", HOME, file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        pip = [python, "-m", "pip", "-q", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, *INSTALLED], check=True)
        subprocess.run([*pip, "--no-deps", "recbole==1.2.1"], check=True)
        (HOME / "done").write_text("")
    sys.exit(subprocess.run([python, *sys.argv]).returncode)


def ratings():
    import numpy as np

    rows = np.loadtxt(DATA / "ml-100k/u1.base", dtype=np.int64)
    return rows[:, 0] - 1, rows[:, 1] - 1, rows[:, 2]


def batches(users, items, generator, size):
    import torch

    order = torch.randperm(len(users), generator=generator)
    negatives = torch.randint(0, 1682, (len(users),), generator=generator)
    for start in range(0, len(users), size):
        chosen = order[start:start + size]
        yield users[chosen], items[chosen], negatives[chosen]


def lightgcn_torch():
    import torch
    import torch.nn.functional as F

    users, items, stars = ratings()
    liked = stars >= 4
    users, items = torch.from_numpy(users[liked]), torch.from_numpy(items[liked])
    n = 943 + 1682
    index = torch.cat([torch.stack([users, items + 943]), torch.stack([items + 943, users])], 1)
    degree = torch.bincount(index[0], minlength=n).clamp(min=1).float()
    values = (degree[index[0]] * degree[index[1]]).rsqrt()
    adjacency = torch.sparse_coo_tensor(index, values, (n, n)).to_sparse_csr()
    nodes = torch.nn.Parameter(torch.randn(n, 64) * 0.1)
    adam = torch.optim.Adam([nodes], lr=5e-3)
    generator = torch.Generator().manual_seed(1)

    def epoch():
        for u, p, q in batches(users, items, generator, 2048):
            layers = [nodes]
            for _ in range(2):
                layers.append(adjacency @ layers[-1])
            final = torch.stack(layers).mean(0)
            loss = -F.logsigmoid((final[u] * (final[p + 943] - final[q + 943])).sum(1)).mean()
            rows = nodes[u].pow(2).sum() + nodes[p + 943].pow(2).sum() + nodes[q + 943].pow(2).sum()
            loss = loss + 1e-4 * 0.5 * rows / len(u)
            adam.zero_grad()
            loss.backward()
            adam.step()

    return epoch


def recbole():
    """RecBole 1.2.1 was written for older versions of numpy and scipy."""
    import numpy as np
    import scipy.sparse as sparse

    for name, kind in {"float": float, "int": int, "bool": bool, "object": object, "long": int, "unicode_": str, "complex_": complex,
                       "float_": float, "string_": bytes}.items():
        if name not in np.__dict__:
            setattr(np, name, kind)
    # Gone from SciPy 1.13, as the aliases above from numpy.
    if not hasattr(sparse.dok_matrix, "_update"):
        sparse.dok_matrix._update = lambda self, entries: self._dict.update(entries)


def recbole_epochs(model_of, settings, learning_rate, start_epoch):
    import numpy as np
    import scipy.sparse as sparse
    import torch

    users, items, stars = ratings()
    liked = stars >= 4
    users, items = users[liked], items[liked]
    settings = {"USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "NEG_PREFIX": "neg_", "device": torch.device("cpu"),
                "embedding_size": 64, "LABEL_FIELD": "label", **settings}

    class Config(dict):
        pass

    class Data:
        uid_field, iid_field = "user", "item"
        inter_feat = {"user": users, "item": items}

        def num(self, field):
            return {"user": 943, "item": 1682}[field]

        def inter_matrix(self, form):
            return sparse.coo_matrix((np.ones(len(users)), (users, items)), (943, 1682))

    model = model_of()(Config(settings), Data())
    adam = torch.optim.Adam(model.parameters(), lr=learning_rate)
    generator = torch.Generator().manual_seed(1)
    users, items = torch.from_numpy(users), torch.from_numpy(items)

    def epoch():
        start_epoch(model)
        for u, p, q in batches(users, items, generator, 2048):
            adam.zero_grad()
            loss = model.calculate_loss({"user": u, "item": p, "neg_item": q})
            loss.backward()
            adam.step()

    return epoch


def lightgcn_recbole():
    recbole()

    def model():
        from recbole.model.general_recommender.lightgcn import LightGCN

        return LightGCN

    return recbole_epochs(model, {"n_layers": 2, "reg_weight": 1e-4, "require_pow": True}, 5e-3, lambda model: None)


def sgl_recbole():
    recbole()

    def model():
        from recbole.model.general_recommender.sgl import SGL

        return SGL

    settings = {"n_layers": 3, "type": "ED", "drop_ratio": 0.1, "ssl_tau": 0.5, "ssl_weight": 0.05, "reg_weight": 1e-5}
    # `train` draws the graphs of an epoch.
    return recbole_epochs(model, settings, 1e-3, lambda model: model.train())


def gat_pyg():
    import torch
    import torch.nn.functional as F
    from torch_geometric.nn import GATv2Conv

    users, items, stars = (torch.from_numpy(column) for column in ratings())
    kept = (stars >= 4) | (stars <= 2)
    u, i, r = users[kept], items[kept] + 943, stars[kept].float().unsqueeze(1)
    index, attributes = torch.cat([torch.stack([u, i]), torch.stack([i, u])], 1), torch.cat([r, r])
    n = 943 + 1682
    nodes = torch.nn.Parameter(torch.randn(n, 64) * 0.1)
    convs, norms, residuals, width = torch.nn.ModuleList(), torch.nn.ModuleList(), torch.nn.ModuleList(), 64
    for heads in (4, 4, 1):
        convs.append(GATv2Conv(width, 64, heads=heads, edge_dim=1))
        norms.append(torch.nn.LayerNorm(heads * 64))
        residuals.append(torch.nn.Identity() if width == heads * 64 else torch.nn.Linear(width, heads * 64))
        width = heads * 64
    parameters = [nodes, *convs.parameters(), *norms.parameters(), *residuals.parameters()]
    adam = torch.optim.AdamW(parameters, lr=5e-3)
    liked = stars >= 4
    positive_users, positive_items = users[liked], items[liked]
    generator = torch.Generator().manual_seed(1)

    def epoch():
        for u, p, q in batches(positive_users, positive_items, generator, len(positive_users)):
            x = nodes
            for conv, norm, residual in zip(convs, norms, residuals):
                kept = F.dropout(x, 0.1)
                x = F.leaky_relu(norm(conv(kept, index, attributes))) + residual(kept)
            a, b, c = x[u], x[p + 943], x[q + 943]
            loss = -5 * F.logsigmoid((a * (b - c)).sum(1)).mean() + 2 * (1 - F.cosine_similarity(a, b).mean())
            adam.zero_grad()
            loss.backward()
            adam.step()

    return epoch


def main():
    peers = {"lightgcn": {"PyTorch CSR": lightgcn_torch, "RecBole": lightgcn_recbole}, "sgl": {"RecBole": sgl_recbole},
             "gat": {"PyTorch Geometric": gat_pyg}}
    if sys.argv[1:2] == ["--peer"]:
        import torch

        torch.set_num_threads(THREADS.get(sys.argv[2], 1))
        epoch = peers[sys.argv[2]][sys.argv[3]]()
        epoch()
        started, n = time.perf_counter(), 5 if sys.argv[2] == "lightgcn" else 2
        for _ in range(n):
            epoch()
        seconds = (time.perf_counter() - started) / n
        print(json.dumps({"seconds": seconds, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
        return
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    found = [path for path in (ROOT / "target/release/deps").glob("networks-*") if not path.suffix and os.access(path, os.X_OK)]
    ours = max(found, key=lambda path: path.stat().st_mtime)
    peers = {model: peers[model] for model in sys.argv[2:] or peers}
    times = {}
    for turn in range(turns):
        print(f"turn {turn + 1} of {turns}", file=sys.stderr, flush=True)
        for model, of in peers.items():
            threads = str(THREADS.get(model, 1))
            environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
            commands = {"assay": [ours, "--seconds", model, DATA, threads]}
            commands |= {name: [sys.executable, __file__, "--peer", model, name] for name in of}
            for name, command in commands.items():
                out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
                times.setdefault((model, name), []).append(json.loads(out.splitlines()[-1]))
    median = lambda key, what: statistics.median(one[what] for one in times[key])
    for model, name in times:
        seconds, memory = median((model, name), "seconds"), median((model, name), "memory")
        own = (model, "assay")
        print(f"{model:<9} {name:<18} {seconds:8.4f} s an epoch, {memory / 2**20:6.0f} MiB: "
              f"{seconds / median(own, 'seconds'):5.1f} × the time, {memory / median(own, 'memory'):4.1f} × the memory of assay")


if __name__ == "__main__":
    enter()
    main()
