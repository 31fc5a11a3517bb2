#!/usr/bin/env python3
"""Writes tests/golden/{sasrec,bert4rec,gru4rec,bsarec}.safetensors: inputs, weights, hidden states, losses and gradients
in float64, without dropout.

    python3 tools/pin_sequential.py

SASRec, BERT4Rec and GRU4Rec are those of RecBole 1.2.1, called with a configuration and a data set that say no more than
these models ask for. BSARec has no package: it is written out here from the equations of the paper (arXiv 2312.10325)
and its released code, with PyTorch's own Fourier transform. Where RecBole cannot be imported, it is installed into an
environment of its own.
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
# Items are 1 to ITEMS; 0 is padding.
ITEMS, DIM, LAYERS, HEADS, LENGTH = 11, 8, 2, 2, 6
SEQUENCES = [[3, 5], [1, 2, 2], [4, 9, 7], [6, 1, 8, 3], [10, 11, 2, 5, 6, 7]]
TARGETS = [4, 1, 11, 2, 9]
ALPHA, C = 0.7, 3


def enter():
    try:
        import recbole.model.sequential_recommender  # noqa: F401

        return
    except ImportError:
        pass
    python = HOME / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", HOME], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *INSTALLED], check=True)
    os.execv(python, [python, *sys.argv])


enter()

import torch  # noqa: E402
from recbole.model.sequential_recommender import SASRec, BERT4Rec, GRU4Rec  # noqa: E402
from torch import nn  # noqa: E402

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

CONFIG = {
    "USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "LIST_SUFFIX": "_list", "NEG_PREFIX": "neg_",
    "ITEM_LIST_LENGTH_FIELD": "length", "MAX_ITEM_LIST_LENGTH": LENGTH, "device": "cpu",
    "n_layers": LAYERS, "n_heads": HEADS, "hidden_size": DIM, "inner_size": 4 * DIM,
    "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
    "initializer_range": 0.02, "loss_type": "CE", "mask_ratio": 0.5, "MASK_ITEM_SEQ": "masked",
    "POS_ITEMS": "pos", "NEG_ITEMS": "neg", "MASK_INDEX": "index",
    "embedding_size": DIM, "num_layers": LAYERS, "dropout_prob": 0.0,
}


class Items:
    def num(self, _):
        return ITEMS + 1


def shaken(model, seed):
    """Start values leave biases 0 and norms 1: with others every gradient says something."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter + 0.3 * torch.randn_like(parameter))
    return model.eval()


def right_padded(rows):
    return torch.tensor([row + [0] * (LENGTH - len(row)) for row in rows])


def save(name, model, loss, more):
    model.zero_grad()
    loss.backward()
    tensors = {"loss": loss.detach().reshape(1), **more}
    for key, parameter in model.named_parameters():
        tensors[f"param.{key}"] = parameter.detach()
        tensors[f"grad.{key}"] = parameter.grad
    header, data = {"__metadata__": {"made_by": "tools/pin_sequential.py", "torch": torch.__version__}}, b""
    for key, tensor in tensors.items():
        kind = {torch.float64: ("F64", "d"), torch.int64: ("I64", "q")}[tensor.dtype]
        flat = tensor.contiguous().reshape(-1).tolist()
        raw = struct.pack(f"<{len(flat)}{kind[1]}", *flat)
        header[key] = {"dtype": kind[0], "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = ROOT / f"tests/golden/{name}.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    print(f"{path.relative_to(ROOT)}: loss {loss.item():.6f}, {path.stat().st_size} bytes")


def next_item(name, model):
    """The last hidden state predicts the target."""
    batch = {"item_list": right_padded(SEQUENCES), "length": torch.tensor([len(row) for row in SEQUENCES])}
    states = model(batch["item_list"], batch["length"])
    loss = model.calculate_loss({**batch, "item": torch.tensor(TARGETS)})
    scores = model.full_sort_predict(batch)
    save(name, model, loss, {"states": states.detach(), "scores": scores.detach()})


def bert4rec():
    model = shaken(BERT4Rec(CONFIG, Items()), 2)
    # Not the first place: RecBole takes that index for padding.
    places = [[1], [1, 2], [2], [1, 3], [2, 4]]
    masked, positives = [row[:] for row in SEQUENCES], []
    for row, at in zip(masked, places):
        positives.append([row[place] for place in at])
        for place in at:
            row[place] = ITEMS + 1
    pad = lambda rows: torch.tensor([[0] * (3 - len(row)) + row for row in rows])
    loss = model.calculate_loss({"masked": right_padded(masked), "pos": pad(positives), "neg": pad(positives),
                                 "index": pad(places)})
    short = [row[-(LENGTH - 1):] for row in SEQUENCES]
    # RecBole makes room for the mask by dropping the first place.
    batch = {"item_list": right_padded([[0] + row for row in short]), "length": torch.tensor([len(row) + 1 for row in short])}
    save("bert4rec", model, loss, {"scores": model.full_sort_predict(batch).detach()})


class Filter(nn.Module):
    def __init__(self):
        super().__init__()
        self.sqrt_beta = nn.Parameter(torch.randn(1, 1, DIM))
        self.LayerNorm = nn.LayerNorm(DIM, eps=1e-12)

    def forward(self, x):
        bins = torch.fft.rfft(x, dim=1, norm="ortho")
        low = bins.clone()
        low[:, C // 2 + 1:, :] = 0
        low = torch.fft.irfft(low, n=x.shape[1], dim=1, norm="ortho")
        return self.LayerNorm(low + self.sqrt_beta**2 * (x - low) + x)


class BSARec(nn.Module):
    """Layers and their names are RecBole's SASRec's; the filter stands beside attention."""

    def __init__(self):
        super().__init__()
        base = SASRec(CONFIG, Items())
        self.item_embedding, self.position_embedding = base.item_embedding, base.position_embedding
        self.trm_encoder, self.LayerNorm = base.trm_encoder, base.LayerNorm
        for layer in self.trm_encoder.layer:
            layer.filter = Filter()

    def forward(self, rows):
        x = self.LayerNorm(self.item_embedding(rows) + self.position_embedding(torch.arange(LENGTH)))
        keys = (rows > 0)[:, None, None, :]
        causal = torch.tril(torch.ones(LENGTH, LENGTH, dtype=torch.bool))
        mask = torch.where(keys & causal, 0.0, -10000.0)
        for layer in self.trm_encoder.layer:
            mixed = ALPHA * layer.filter(x) + (1 - ALPHA) * layer.multi_head_attention(x, mask)
            x = layer.feed_forward(mixed)
        return x[:, -1]


def bsarec():
    torch.manual_seed(4)
    model = shaken(BSARec(), 4)
    # The first example has nothing before it.
    rows = torch.tensor([[0] * (LENGTH - len(row)) + row for row in [[]] + SEQUENCES])
    states = model(rows)
    logits = states @ model.item_embedding.weight.T
    loss = nn.functional.cross_entropy(logits, torch.tensor([3] + TARGETS))
    save("bsarec", model, loss, {"states": states.detach(), "scores": logits.detach()})


next_item("sasrec", shaken(SASRec(CONFIG, Items()), 1))
bert4rec()
next_item("gru4rec", shaken(GRU4Rec(CONFIG, Items()), 3))
bsarec()
