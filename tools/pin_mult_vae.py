#!/usr/bin/env python3
"""Writes tests/golden/mult_vae.safetensors: inputs, weights, scores, loss and gradients of RecBole 1.2.1's MultiVAE in float64,
without dropout and without noise, in the first step of annealing.

    python3 tools/pin_mult_vae.py

Where RecBole cannot be imported, it is installed into an environment of its own.
"""

import json
import os
import pathlib
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv-sequential"
INSTALLED = ["recbole==1.2.1", "torch==2.11.0", "numpy==1.26.4", "scipy==1.11.4", "pandas==2.2.3", "ray==2.6.3", "setuptools==65.5.0"]
USERS, ITEMS = 9, 11


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

import torch  # noqa: E402
from recbole.model.general_recommender import MultiVAE  # noqa: E402

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
torch.manual_seed(7)
LIKED = [sorted({(user * 5 + at * at + at) % ITEMS for at in range(2 + user % 4)}) for user in range(USERS)]


class Users:
    def num(self, field):
        return {"user": USERS, "item": ITEMS}[field]

    def history_item_matrix(self):
        length = max(len(row) for row in LIKED)
        # Filled up with a repeated item: RecBole's padding is item 0, which is an item like others here.
        ids = torch.tensor([row + [row[0]] * (length - len(row)) for row in LIKED])
        return ids, torch.ones(ids.shape), torch.tensor([len(row) for row in LIKED])


CONFIG = {
    "USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "NEG_PREFIX": "neg_", "device": "cpu", "mlp_hidden_size": [7, 6],
    "latent_dimension": 8, "dropout_prob": 0.5, "anneal_cap": 0.2, "total_anneal_steps": 10,
}
model = MultiVAE(CONFIG, Users())
with torch.no_grad():
    # Start values leave biases 0.
    for parameter in model.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
# Outside of training neither dropout nor noise is drawn.
model.eval()
batch = {"user": torch.arange(USERS)}
scores = model.full_sort_predict(batch).reshape(USERS, ITEMS)
loss = model.calculate_loss(batch)
loss.backward()
tensors = {"inputs": model.get_rating_matrix(batch["user"]), "scores": scores.detach(), "loss": loss.detach().reshape(1)}
for key, parameter in model.named_parameters():
    tensors[f"param.{key}"], tensors[f"grad.{key}"] = parameter.detach(), parameter.grad
header, data = {"__metadata__": {"made_by": "tools/pin_mult_vae.py", "torch": torch.__version__}}, b""
for key, tensor in tensors.items():
    flat = tensor.contiguous().reshape(-1).tolist()
    raw = struct.pack(f"<{len(flat)}d", *flat)
    header[key] = {"dtype": "F64", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
path = ROOT / "tests/golden/mult_vae.safetensors"
path.write_bytes(struct.pack("<Q", len(text)) + text + data)
print(f"{path.relative_to(ROOT)}: loss {loss.item():.6f}, {path.stat().st_size} bytes")
