#!/usr/bin/env python3
"""Writes tests/golden/{sgl,simgcl,xsimgcl}.safetensors: inputs, embeddings, views, losses and gradients in float64.

    python3 tools/pin_contrastive.py

SGL is that of RecBole 1.2.1, with its three kinds of views; the kept edges are fixed by hand, and its graphs hold 64-bit
numbers instead of 32-bit ones, normalised by its own formula. Its regularisation (norms, not their squares) is switched off. SimGCL and XSimGCL are not
in RecBole: they are written out here from the equations of their papers (arXiv 2112.08679, arXiv 2209.02544) in plain PyTorch, with noise fixed by hand. Where RecBole cannot be imported, it is installed into an
environment of its own (that of tools/pin_sequential.py).
"""

import json
import math
import os
import pathlib
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv-sequential"
INSTALLED = ["recbole==1.2.1", "torch==2.11.0", "numpy==1.26.4", "scipy==1.11.4", "pandas==2.2.3", "ray==2.6.3", "setuptools==65.5.0"]
USERS, ITEMS, DIM, LAYERS = 12, 17, 16, 3
NODES = USERS + ITEMS


def enter():
    try:
        import recbole.model.general_recommender  # noqa: F401

        return
    except ImportError:
        pass
    python = HOME / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", HOME], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *INSTALLED], check=True)
    os.execv(python, [python, *sys.argv])


enter()

import numpy as np  # noqa: E402
import scipy.sparse as sparse  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from recbole.model.general_recommender import SGL  # noqa: E402

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

PAIRS = [(user, item) for user in range(USERS) for item in range(ITEMS) if (user * 7 + item * item + user * item) % 5 < 2]
# Two positives of a user, and an item that two users have: repeats matter.
BATCH = [PAIRS[at] for at in (0, 3, 7, 7, 12, 20, 21, 30, 41, 47, 55, 60)]
NEGATIVES = [(item * 5 + 3) % ITEMS for _, item in BATCH]
U = torch.tensor([user for user, _ in BATCH])
P = torch.tensor([item for _, item in BATCH])
Q = torch.tensor(NEGATIVES)


def start():
    values = torch.arange(NODES * DIM, dtype=torch.float64)
    return (0.3 * torch.sin(values * 1.7) + 0.1 * torch.cos(values * 0.3)).reshape(NODES, DIM)


def save(name, tensors):
    pairs = torch.tensor(PAIRS)
    both = torch.stack([torch.cat([pairs[:, 0], pairs[:, 1] + USERS]), torch.cat([pairs[:, 1] + USERS, pairs[:, 0]])])
    tensors = {"edge_index": both, "x0": start(), "pos_user": U, "pos_item": P + USERS, "neg_item": Q + USERS, **tensors}
    header, data = {"__metadata__": {"made_by": "tools/pin_contrastive.py", "torch": torch.__version__}}, b""
    for key, tensor in tensors.items():
        tensor = torch.as_tensor(tensor).detach()
        kind = {torch.float64: ("F64", "d"), torch.int64: ("I64", "q")}[tensor.dtype]
        shape, flat = list(tensor.shape) or [1], tensor.contiguous().reshape(-1).tolist()
        raw = struct.pack(f"<{len(flat)}{kind[1]}", *flat)
        header[key] = {"dtype": kind[0], "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = ROOT / f"tests/golden/{name}.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


class Pairs:
    """What RecBole's models ask of a data set."""

    uid_field, iid_field = "user", "item"
    inter_feat = {"user": np.array([user for user, _ in PAIRS]), "item": np.array([item for _, item in PAIRS])}

    def num(self, field):
        return {"user": USERS, "item": ITEMS}[field]


class ByHand(SGL):
    """SGL whose draws are fixed, and whose graphs are normalised in and hold 64-bit numbers."""

    def rand_sample(self, high, size=None, replace=True):
        self.draws = getattr(self, "draws", 0) + 1
        by_hand = sorted(range(high), key=lambda at: ((at * 37 + self.draws * 11) % 101, at))
        return np.array(by_hand[:size])

    def csr2tensor(self, matrix):
        # RecBole normalises some of its graphs in 32 bits: the same formula again in 64.
        pattern = (matrix > 0).astype(np.float64)
        scale = sparse.diags((np.array(pattern.sum(axis=1)) + 1e-7).flatten() ** -0.5)
        ours = scale @ pattern @ scale
        assert abs(ours - matrix).max() < 1e-6
        matrix = ours.tocoo()
        self.matrices = [*getattr(self, "matrices", []), matrix]
        return torch.sparse_coo_tensor(np.array([matrix.row, matrix.col]), matrix.data.astype(np.float64), matrix.shape)


def sgl():
    tensors = {}
    for kind in ("ED", "ND", "RW"):
        config = {"USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "NEG_PREFIX": "neg_", "device": torch.device("cpu"),
                  "embedding_size": DIM, "n_layers": LAYERS, "type": kind, "drop_ratio": 0.1 if kind != "ND" else 0.2,
                  "ssl_tau": 0.5, "ssl_weight": 0.05, "reg_weight": 0.0}
        model = ByHand(config, Pairs())
        with torch.no_grad():
            model.user_embedding.weight.copy_(start()[:USERS])
            model.item_embedding.weight.copy_(start()[USERS:])
        model.matrices = []
        model.train()
        graphs = model.matrices
        per_view = len(graphs) // 2
        for at, matrix in enumerate(graphs):
            kept = sorted((int(row), int(col)) for row, col in zip(matrix.row, matrix.col) if row < col)
            assert 0 < len(kept) < len(PAIRS)
            tensors[f"{kind}.kept.{at // per_view}.{at % per_view}"] = torch.tensor(kept)
        whole = lambda graph: torch.cat(model.forward(graph))
        tensors[f"{kind}.out"] = whole(model.train_graph)
        tensors[f"{kind}.first"], tensors[f"{kind}.second"] = whole(model.sub_graph1), whole(model.sub_graph2)
        bpr = model.calc_bpr_loss(*model.forward(model.train_graph), U, P, Q)
        (users1, items1), (users2, items2) = model.forward(model.sub_graph1), model.forward(model.sub_graph2)
        ssl = model.calc_ssl_loss(U, P, users1, users2, items1, items2)
        loss = model.calculate_loss({"user": U, "item": P, "neg_item": Q})
        assert torch.allclose(loss, bpr + ssl)
        loss.backward()
        tensors |= {f"{kind}.bpr": bpr, f"{kind}.contrast": ssl / 0.05, f"{kind}.loss": loss}
        tensors[f"{kind}.grad.x0"] = torch.cat([model.user_embedding.weight.grad, model.item_embedding.weight.grad])
    save("sgl", tensors)


def adjacency():
    matrix = torch.zeros(NODES, NODES)
    for user, item in PAIRS:
        matrix[user, USERS + item] = matrix[USERS + item, user] = 1
    scale = matrix.sum(1).clamp(min=1).rsqrt()
    return scale[:, None] * matrix * scale[None, :]


def given_noise():
    """Numbers from 0 to 1 that 32-bit floats hold, by view and layer."""
    numbers = torch.arange(2 * LAYERS * NODES * DIM, dtype=torch.float64)
    return ((torch.sin(numbers * 12.9898) * 43758.5453).frac().abs()).float().double().reshape(2, LAYERS, NODES, DIM)


def propagate(x, noise, length):
    """The layers after the input: E(k) = Ã E(k-1) + Δ(k), Δ = sign(Ã E) ⊙ n with |n| = length."""
    layers = []
    for layer in range(LAYERS):
        x = adjacency() @ x
        if noise is not None:
            x = x + torch.sign(x) * F.normalize(noise[layer], dim=1) * length
        layers.append(x)
    return layers


def info_nce(a, b, nodes, temperature):
    nodes = torch.unique(nodes)
    a, b = F.normalize(a[nodes], dim=1), F.normalize(b[nodes], dim=1)
    exponents = torch.exp(a @ b.T / temperature)
    return -torch.log(exponents.diag() / exponents.sum(1)).mean()


def noisy(weight, temperature, encode):
    x = start().requires_grad_()
    out, first, second = encode(x)
    u, p, q = U, P + USERS, Q + USERS
    bpr = -F.logsigmoid((out[u] * out[p]).sum(1) - (out[u] * out[q]).sum(1)).mean()
    contrast = info_nce(first, second, u, temperature) + info_nce(first, second, p, temperature)
    rows = x[u].square().sum() + x[p].square().sum() + x[q].square().sum()
    loss = bpr + weight * contrast + 1e-4 * 0.5 * rows / len(u)
    loss.backward()
    return {"out": out, "first": first, "second": second, "bpr": bpr, "contrast": contrast, "loss": loss, "grad.x0": x.grad}


def main():
    sgl()
    noise = given_noise()
    given = {f"noise.{view}.{layer}": noise[view, layer] for view in range(2) for layer in range(LAYERS)}
    mean = lambda layers: torch.stack(layers).mean(0)
    simgcl = lambda x: (mean(propagate(x, None, 0)), mean(propagate(x, noise[0], 0.1)), mean(propagate(x, noise[1], 0.1)))
    save("simgcl", {**given, **noisy(0.5, 0.2, simgcl)})
    tensors = dict(given)
    for chosen in range(1, LAYERS + 1):
        def xsimgcl(x):
            layers = propagate(x, noise[0], 0.2)
            return mean(layers), mean(layers), layers[chosen - 1]
        tensors |= {f"{chosen}.{key}": value for key, value in noisy(0.2, 0.15, xsimgcl).items()}
    save("xsimgcl", tensors)


assert math.prod((USERS, ITEMS)) > len(PAIRS) > 60
main()
