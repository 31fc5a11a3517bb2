#!/usr/bin/env python3
"""Seconds an epoch of SASRec and BERT4Rec on Beauty (S3-Rec) beside RecBole 1.2.1, in turns, one thread each.

    cargo build --release && ASSAY_DATA=DIR python3 tools/bench_sequential.py [turns] [batches]

The same network for all: 64 factors, 2 layers, 2 heads, inner size 256, 50 positions, dropout, softmax over all items,
Adam. RecBole's SASRec learns from every prefix of a sequence, in batches of 2048; its BERT4Rec from whole sequences. An
epoch of RecBole is the time of so many batches (2 by default, after one that does not count), divided by their share of
the epoch's examples; its data loader is left out. assay runs two epochs: SASRec once with an example a prefix, as RecBole,
and once with an example a sequence, of which every position predicts the next item. Peak memory is that of a process that
does nothing else. Medians of the turns (3 by default).
"""

import json
import os
import pathlib
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import peers

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = pathlib.Path(os.environ.get("ASSAY", ROOT / "target/release/assay"))
DATA = pathlib.Path(os.environ.get("ASSAY_DATA", "datasets")).resolve()
HOME = ROOT / ".venv-sequential"
INSTALLED = ["recbole==1.2.1", "torch==2.11.0", "numpy==1.26.4", "scipy==1.11.4", "pandas==2.2.3", "ray==2.6.3", "setuptools==65.5.0"]
LENGTH, BATCH = 50, 2048


def python():
    """An interpreter that has RecBole; it is installed into an environment of its own if this one has it not."""
    if subprocess.run([sys.executable, "-c", "import recbole"], capture_output=True).returncode == 0:
        return sys.executable
    if not (HOME / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", HOME], check=True)
        subprocess.run([HOME / "bin/pip", "install", "--quiet", *INSTALLED], check=True)
    return HOME / "bin/python"


def sequences():
    """Items of the training part by user: all but the last two."""
    rows = (line.split()[1:-2] for line in (DATA / "sequential/Beauty.txt").read_text().splitlines())
    return [[int(item) for item in row] for row in rows if row]


def recbole(model, batches):
    """Prints seconds an epoch, examples and memory of a process of its own."""
    import torch
    from recbole.model.sequential_recommender import BERT4Rec, SASRec

    torch.set_num_threads(1)
    torch.manual_seed(1)
    rows = sequences()
    n_items = max(max(row) for row in rows) + 1
    config = {
        "USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "LIST_SUFFIX": "_list", "NEG_PREFIX": "neg_",
        "ITEM_LIST_LENGTH_FIELD": "length", "MAX_ITEM_LIST_LENGTH": LENGTH, "device": "cpu",
        "n_layers": 2, "n_heads": 2, "hidden_size": 64, "inner_size": 256,
        "hidden_dropout_prob": 0.5, "attn_dropout_prob": 0.5, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
        "initializer_range": 0.02, "loss_type": "CE", "mask_ratio": 0.2, "MASK_ITEM_SEQ": "masked",
        "POS_ITEMS": "pos", "NEG_ITEMS": "neg", "MASK_INDEX": "index",
    }

    class Items:
        def num(self, _):
            return n_items

    padded = lambda rows, width: torch.tensor([row + [0] * (width - len(row)) for row in rows])
    draw = random.Random(1)
    if model == "sasrec":
        network = SASRec(config, Items())
        examples = [(row[max(0, at - LENGTH):at], row[at]) for row in rows for at in range(1, len(row))]

        def batch(of):
            lists = [past for past, _ in of]
            return {"item_list": padded(lists, LENGTH), "length": torch.tensor([len(past) for past in lists]),
                    "item": torch.tensor([item for _, item in of])}
    else:
        network = BERT4Rec(config, Items())
        examples = [row[-LENGTH:] for row in rows]

        def batch(of):
            masked, places, positives = [], [], []
            for row in of:
                row = row[:]
                at = sorted(draw.sample(range(len(row)), max(1, round(0.2 * len(row)))))
                positives.append([row[place] for place in at])
                for place in at:
                    row[place] = n_items
                masked.append(row)
                places.append(at)
            widest = max(map(len, places))
            front = lambda rows: torch.tensor([[0] * (widest - len(row)) + row for row in rows])
            return {"item_list": padded(masked, LENGTH), "masked": padded(masked, LENGTH), "pos": front(positives),
                    "neg": front(positives), "index": front(places)}
    draw.shuffle(examples)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    network.train()
    seconds, seen = 0.0, 0
    for at in range(batches + 1):
        of = examples[at * BATCH:(at + 1) * BATCH]
        made = batch(of)
        start = time.process_time()
        adam.zero_grad()
        network.calculate_loss(made).backward()
        adam.step()
        if at > 0:
            seconds += time.process_time() - start
            seen += len(of)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds * len(examples) / seen, "memory": memory, "examples": len(examples)}))


def assay(settings):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        training = {"epochs": 2, "batch": BATCH, "device": "cpu"}
        system = {"factors": 64, "layers": 2, "heads": 2, **settings, "training": training}
        experiment = {
            "experiment": "bench", "task": "next-item", "data": {"set": "s3rec-beauty"},
            "split": {"scheme": "leave-one-out"}, "systems": {"network": system}, "evaluate": {"exclude": "seen", "k": [10]},
        }
        (folder / "bench.yaml").write_text(json.dumps(experiment))
        # Memory of training alone: the run ends before it predicts.
        done = subprocess.run([ASSAY, "run", "bench.yaml", "--quiet", "--threads", "1", "--until", "fit"], cwd=folder,
                              env={**os.environ, "ASSAY_DATA": str(DATA)}, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        record = next((folder / ".assay/steps/fit").glob("*/record.json"))
        record = json.loads(record.read_text())
        return {"seconds": peers.find(record, "seconds_an_epoch"), "memory": peers.find(record, "peak_memory_bytes") / 2**20}


def main():
    if sys.argv[1:2] == ["--recbole"]:
        recbole(sys.argv[2], int(sys.argv[3]))
        return
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    batches = sys.argv[2] if len(sys.argv) > 2 else "2"
    interpreter = python()

    def peer(model):
        done = subprocess.run([interpreter, __file__, "--recbole", model, batches], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    measured = {
        "sasrec RecBole, prefixes": lambda: peer("sasrec"),
        "sasrec assay, prefixes": lambda: assay({"model": "sasrec", "loss": "softmax", "samples": "prefixes"}),
        "sasrec assay, sequences": lambda: assay({"model": "sasrec", "loss": "softmax", "samples": "sequences"}),
        "sasrec assay, sequences, sampled": lambda: assay(
            {"model": "sasrec", "loss": {"sampled-softmax": {"negatives": 512}}, "samples": "sequences"}),
        "bert4rec RecBole": lambda: peer("bert4rec"),
        "bert4rec assay": lambda: assay({"model": "bert4rec", "loss": "softmax"}),
    }
    found = {name: [] for name in measured}
    for turn in range(turns):
        for name, run in measured.items():
            found[name].append(run())
            print(turn + 1, name, {key: round(value, 2) for key, value in found[name][-1].items()}, file=sys.stderr, flush=True)
    print("| | s an epoch | against RecBole | MB |\n| --- | ---: | ---: | ---: |")
    for name, runs in found.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        theirs = next(of for peer, of in found.items() if peer.startswith(name.split()[0]) and "RecBole" in peer)
        ratio = statistics.median(run["seconds"] for run in theirs) / seconds
        print(f"| {name} | {seconds:.1f} | {ratio:.1f} × | {max(run['memory'] for run in runs):.0f} |")


if __name__ == "__main__":
    main()
