#!/usr/bin/env python3
"""Seconds an epoch of LightGCN, GATv2 or SASRec in plain PyTorch (GATv2: PyTorch Geometric), for `gpu_check.py`.

    python3 tools/gpu_peers.py lightgcn|gat|sasrec FILE cpu|cuda [--epochs 5] [--batches N]

Sizes are those of gpu_check.py. One epoch goes before those that are timed. With `--batches`, seconds of a batch instead, after none.
Prints one line of JSON. Exit code 3: a package is missing.
"""

import argparse
import json
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(f"PyTorch is missing: {error}", file=sys.stderr)
    sys.exit(3)


def pairs_of(n_items, users, items, device, size):
    """Batches of a user, a liked item and a random one, on the device."""
    order = torch.randperm(len(users), device=device)
    negatives = torch.randint(0, n_items, (len(users),), device=device)
    for start in range(0, len(users), size):
        chosen = order[start:start + size]
        yield users[chosen], items[chosen], negatives[chosen]


def lightgcn(path, device):
    users, items = [], []
    with open(path, encoding="utf-8") as file:
        for line in file:
            user, *liked = map(int, line.split())
            users += [user] * len(liked)
            items += liked
    users, items = torch.tensor(users, device=device), torch.tensor(items, device=device)
    n_users, n_items = int(users.max()) + 1, int(items.max()) + 1
    n = n_users + n_items
    index = torch.cat([torch.stack([users, items + n_users]), torch.stack([items + n_users, users])], 1)
    degree = torch.bincount(index[0], minlength=n).clamp(min=1).float()
    weights = (degree[index[0]] * degree[index[1]]).rsqrt()
    adjacency = torch.sparse_coo_tensor(index, weights, (n, n)).to_sparse_csr()
    nodes = torch.nn.Parameter(torch.randn(n, 64, device=device) * 0.1)
    adam = torch.optim.Adam([nodes], lr=1e-3)

    def steps():
        for u, p, q in pairs_of(n_items, users, items, device, 2048):
            layers = [nodes]
            for _ in range(3):
                layers.append(adjacency @ layers[-1])
            final = torch.stack(layers).mean(0)
            loss = -F.logsigmoid((final[u] * (final[p + n_users] - final[q + n_users])).sum(1)).mean()
            rows = nodes[u].pow(2).sum() + nodes[p + n_users].pow(2).sum() + nodes[q + n_users].pow(2).sum()
            loss = loss + 1e-4 * 0.5 * rows / len(u)
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield loss

    return steps


def gat(path, device):
    try:
        from torch_geometric.nn import GATv2Conv
    except ImportError as error:
        print(f"PyTorch Geometric is missing: {error}", file=sys.stderr)
        sys.exit(3)
    with open(path, encoding="utf-8") as file:
        rows = torch.tensor([list(map(int, line.split()[:3])) for line in file], device=device)
    users, items, stars = rows[:, 0] - 1, rows[:, 1] - 1, rows[:, 2]
    n_users, n_items = 943, 1682
    kept = (stars >= 4) | (stars <= 2)
    u, i, r = users[kept], items[kept] + n_users, stars[kept].float().unsqueeze(1)
    index, attributes = torch.cat([torch.stack([u, i]), torch.stack([i, u])], 1), torch.cat([r, r])
    nodes = torch.nn.Parameter(torch.randn(n_users + n_items, 64, device=device) * 0.1)
    convs, norms, residuals, width = torch.nn.ModuleList(), torch.nn.ModuleList(), torch.nn.ModuleList(), 64
    for heads in (4, 4, 1):
        convs.append(GATv2Conv(width, 64, heads=heads, edge_dim=1))
        norms.append(torch.nn.LayerNorm(heads * 64))
        residuals.append(torch.nn.Identity() if width == heads * 64 else torch.nn.Linear(width, heads * 64))
        width = heads * 64
    layers = torch.nn.ModuleList([convs, norms, residuals]).to(device)
    adam = torch.optim.AdamW([nodes, *layers.parameters()], lr=5e-3)
    liked = stars >= 4
    positive_users, positive_items = users[liked], items[liked]

    def steps():
        for u, p, q in pairs_of(n_items, positive_users, positive_items, device, len(positive_users)):
            x = nodes
            for conv, norm, residual in zip(convs, norms, residuals):
                dropped = F.dropout(x, 0.1)
                x = F.leaky_relu(norm(conv(dropped, index, attributes))) + residual(dropped)
            a, b, c = x[u], x[p + n_users], x[q + n_users]
            loss = 5 * -F.logsigmoid((a * (b - c)).sum(1)).mean() + 2 * (1 - F.cosine_similarity(a, b)).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield loss

    return steps


def sasrec(path, device):
    length, size, width = 50, 256, 64
    with open(path, encoding="utf-8") as file:
        rows = [list(map(int, line.split()[1:-2])) for line in file if line.split()]
    n_items = max(max(row) for row in rows)
    # Each position predicts the next item.
    rows = [row[-length - 1:] for row in rows if len(row) > 1]
    inputs = torch.zeros(len(rows), length, dtype=torch.long)
    targets = torch.zeros(len(rows), length, dtype=torch.long)
    for at, row in enumerate(rows):
        inputs[at, :len(row) - 1] = torch.tensor(row[:-1])
        targets[at, :len(row) - 1] = torch.tensor(row[1:])
    inputs, targets = inputs.to(device), targets.to(device)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.items = torch.nn.Embedding(n_items + 1, width, padding_idx=0)
            self.positions = torch.nn.Embedding(length, width)
            self.norm, self.dropout = torch.nn.LayerNorm(width), torch.nn.Dropout(0.5)
            layer = torch.nn.TransformerEncoderLayer(width, 2, 256, 0.5, "gelu", batch_first=True)
            self.layers = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.mask = torch.triu(torch.ones(length, length, dtype=torch.bool, device=device), 1)

        def forward(self, x):
            states = self.items(x) + self.positions(torch.arange(length, device=x.device))
            return self.layers(self.dropout(self.norm(states)), mask=self.mask)

    network = Network().to(device)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)

    def steps():
        for chosen in torch.randperm(len(rows), device=device).split(size):
            x, y = inputs[chosen], targets[chosen]
            states = network(x)[y > 0]
            loss = F.cross_entropy(states @ network.items.weight[1:].T, y[y > 0] - 1)
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield loss

    return steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=["lightgcn", "gat", "sasrec"])
    parser.add_argument("file")
    parser.add_argument("device", choices=["cpu", "cuda"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batches", type=int)
    options = parser.parse_args()
    torch.manual_seed(1)
    steps = {"lightgcn": lightgcn, "gat": gat, "sasrec": sasrec}[options.network](options.file, options.device)
    wait = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    if options.batches:
        started, loss = time.perf_counter(), None
        for _, loss in zip(range(options.batches), steps()):
            pass
        wait()
        print(json.dumps({"seconds": (time.perf_counter() - started) / options.batches, "loss": float(loss)}))
        return
    seconds, loss = [], None
    for _ in range(options.epochs + 1):
        started = time.perf_counter()
        for loss in steps():
            pass
        wait()
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": sorted(seconds[1:])[options.epochs // 2], "loss": float(loss)}))


main()
