#!/usr/bin/env python3
"""Checks networks and the text encoder on a GPU. `make gpu-check` builds the programs and runs this.

    python3 tools/gpu_check.py [--only PART[,PART]] [--assay PROGRAM] [--python PYTHON] [--out DIR]

| part | what is checked |
| --- | --- |
| missing | `device: cuda` without CUDA, and of a GPU that is not there, is an error before anything is written |
| forward | embeddings of every network on the CPU and on the GPU agree to 1e-4 |
| training | losses of three epochs of every network agree to 0.1 %, or to three times of what a learning rate changed by a millionth does to them on the CPU |
| encoder | embeddings of texts agree to 1e-4; texts a second |
| memory | a full GPU is an error that says what helps |
| sharing | two trials on one GPU give the losses of one after the other; the time of both ways |
| speed | seconds an epoch of LightGCN on Gowalla, GATv2 on MovieLens-100K and SASRec on Beauty, beside PyTorch on the same GPU |
| published | LightGCN on Gowalla, 1000 epochs: recall@20 .182 and nDCG@20 .1547 to .002 |

The programs link only the CPU part of libtorch 2.11.0, which is the same file in PyTorch's wheel with CUDA 13.0; so they need no
other build for a GPU, only the folder with `libtorch_cuda.so` first on LD_LIBRARY_PATH. It is that of the PyTorch of `--python`
(default: GPU_PYTHON, this interpreter, or an environment `.venv-gpu`, which is then installed from PyPI, about 3 GB).

Without a GPU the same is done as far as it goes: `device: like-cuda` computes in main memory with the operations that a GPU
would run, and PyTorch's side of the comparison runs one batch on the CPU.

Exit codes: 0 all passed, 1 a check failed, 2 it cannot run, 3 no check failed but some could not be done: no GPU, or no data.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import peers

ROOT = pathlib.Path(__file__).resolve().parent.parent
VERSION = "2.11.0"
HOME = ROOT / ".venv-gpu"
INSTALLED = [f"torch=={VERSION}", "torch_geometric==2.7.0", "numpy"]
PARTS = ["missing", "forward", "training", "encoder", "memory", "sharing", "speed", "published"]
TOLERANCE, LOSS_TOLERANCE = 1e-4, 1e-3
PUBLISHED = {"recall": 0.182, "ndcg": 0.1547}

# Settings under which each network is compared: all of its parts take part.
NETWORKS = {
    "bprmf": {},
    "lightgcn": {"layers": 3, "regularization": 1e-3},
    "ngcf": {"layers": 2, "dropout": 0.1},
    "sgl": {},
    "simgcl": {},
    "xsimgcl": {},
    "mult-vae": {"hidden": [64], "latent": 16},
    "gat": {"cosine": 1},
    "p4r": {"ablate": "profiles"},
    "review-gnn": {"reviews": "stars"},
}
SEQUENCES = {
    "gru4rec": {},
    "sasrec": {"loss": "softmax"},
    "bert4rec": {},
    "bsarec": {},
}
# With the text encoder at hand. `device` is that of the encoder, too.
WITH_TEXTS = {
    "gat-text": {"model": "gat", "text": {"profiles": "titles"}},
    "p4r-text": {"model": "p4r", "text": {"profiles": "titles"}},
    "review-gnn-text": {"model": "review-gnn", "reviews": "text"},
}


class Report:
    """What was found, printed as it comes."""

    def __init__(self):
        self.lines = []

    def add(self, state, part, text):
        self.lines.append({"state": state, "part": part, "text": text})
        print(f"{state:<8} {part:<10} {text}", flush=True)

    def check(self, is_right, part, text):
        self.add("ok" if is_right else "FAILED", part, text)

    def code(self):
        states = {line["state"] for line in self.lines}
        return 1 if "FAILED" in states else 3 if "not done" in states else 0


def tensors(path):
    """The 32-bit floats of a safetensors file, by name."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    found = {}
    for name, of in header.items():
        if name != "__metadata__" and of["dtype"] == "F32":
            start, end = (8 + size + at for at in of["data_offsets"])
            found[name] = struct.unpack(f"<{(end - start) // 4}f", data[start:end])
    return found


def largest_difference(ours, theirs):
    """Relative to the largest number, where that is above 1; NaN is infinitely far off."""
    if len(ours) != len(theirs) or not ours:
        return float("inf")
    most = max(abs(a - b) if a == a and b == b else float("inf") for a, b in zip(ours, theirs))
    return most / max(1.0, max(map(abs, ours)))


def torch_of(python):
    """The folder of PyTorch's libraries, its CUDA, and whether it finds a GPU; none if it is another PyTorch."""
    code = ("import json, pathlib, torch; print(json.dumps([str(pathlib.Path(torch.__file__).parent / 'lib'), torch.__version__, "
            "torch.version.cuda, torch.cuda.is_available() and torch.cuda.get_device_name()]))")
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    if done.returncode:
        return None
    folder, version, cuda, gpu = json.loads(done.stdout.splitlines()[-1])
    if version.split("+")[0] != VERSION or not cuda or not (pathlib.Path(folder) / "libtorch_cuda.so").exists():
        return None
    return {"python": str(python), "lib": folder, "cuda": cuda, "gpu": gpu or None}


def provide(python):
    """An interpreter with the PyTorch that is needed."""
    wanted = [python] if python else [os.environ.get("GPU_PYTHON"), sys.executable, HOME / "bin/python"]
    for candidate in filter(None, wanted):
        if pathlib.Path(candidate).exists() and (found := torch_of(candidate)):
            return found
    if python:
        raise Unusable(f"{python} has no PyTorch {VERSION} with CUDA")
    print(f"installing {', '.join(INSTALLED)} into {HOME} (about 3 GB)", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
    pip = [HOME / "bin/python", "-m", "pip", "-q", "--disable-pip-version-check", "install", *INSTALLED]
    if subprocess.run(pip).returncode:
        raise Unusable("the installation of PyTorch failed (see above)")
    found = torch_of(HOME / "bin/python")
    if not found:
        raise Unusable(f"{HOME} has no PyTorch {VERSION} with CUDA: remove it, and run this again")
    return found


class Unusable(Exception):
    """The checks cannot run."""


class Check:
    def __init__(self, options, torch, folder):
        self.options, self.torch, self.folder = options, torch, folder
        self.report = Report()
        self.gpu = torch["gpu"]
        # What is compared with the CPU.
        self.device = "cuda" if self.gpu else "like-cuda"
        self.data = pathlib.Path(os.environ.get("ASSAY_DATA", ROOT / "datasets")).resolve()
        self.texts = any((of / "all-minilm-l6-v2/model.safetensors").exists() for of in (self.data, ROOT / "datasets"))
        self.environment = {**os.environ, "ASSAY_DATA": str(self.data), "NO_COLOR": "1"}
        paths = [torch["lib"], os.environ.get("LD_LIBRARY_PATH")]
        self.environment["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
        # Where the encoder is looked for.
        (folder / "datasets").symlink_to(ROOT / "datasets")
        self.made_up()

    # The programs.

    def assay(self, *arguments, **environment):
        command = [str(self.options.assay), *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, env={**self.environment, **environment}, capture_output=True, text=True)

    def run(self, name, experiment, *arguments, **environment):
        """Runs an experiment; returns its workspace and how it ended."""
        (self.folder / f"{name}.yaml").write_text(json.dumps(experiment))
        workspace = self.folder / f"{name}.assay"
        done = self.assay("run", f"{name}.yaml", "--workspace", workspace, "--out", self.folder / f"{name}.report", "--quiet",
                          *arguments, **environment)
        return workspace, done

    @staticmethod
    def records(workspace, kind):
        for path in sorted((workspace / "steps" / kind).glob("*/record.json")):
            yield path.parent, json.loads(path.read_text())

    # Data.

    def made_up(self):
        """Ratings with reviews, in two groups of users who like two groups of items."""
        draw = random.Random(1)
        words = "quiet loud long short clever plain warm cold old new bright dark".split()
        with open(self.folder / "ratings.csv", "w", encoding="utf-8") as ratings, \
                open(self.folder / "reviews.csv", "w", encoding="utf-8") as reviews, \
                open(self.folder / "items.csv", "w", encoding="utf-8") as items:
            ratings.write("user,item,rating,time\n")
            reviews.write("user,item,text\n")
            items.write("item,title,genres\n")
            for item in range(120):
                items.write(f"{item},{draw.choice(words)} {draw.choice(words)} {item},{'drama' if item < 60 else 'comedy'}\n")
            for user in range(90):
                for at, item in enumerate(draw.sample(range(120), 20)):
                    stars = draw.choice([4, 5] if (item < 60) == (user < 45) else [1, 2, 3, 4])
                    ratings.write(f"{user},{item},{stars},{1000 + at}\n")
                    reviews.write(f"{user},{item},{' '.join(draw.sample(words, 5))}\n")

    def experiment(self, name, systems, **more):
        data = {"reader": "table", "ratings": "ratings.csv", "relevant": ">= 4", "disliked": "<= 2",
                "columns": {"user": "user", "item": "item", "rating": "rating", "timestamp": "time"},
                "items": {"file": "items.csv", "item": "item", "title": "title", "genres": "genres"},
                "reviews": {"file": "reviews.csv", "user": "user", "item": "item", "text": "text"}}
        return {"experiment": name, "data": data, "split": {"scheme": "leave-one-out"}, "systems": systems,
                "evaluate": {"k": [10], "protocols": ["full"], "conventions": ["standard"]}, **more}

    def sequences(self, name, systems):
        data = {"reader": "table", "ratings": "ratings.csv",
                "columns": {"user": "user", "item": "item", "rating": "rating", "timestamp": "time"}}
        return {"experiment": name, "task": "next-item", "data": data, "split": {"scheme": "leave-one-out"}, "systems": systems,
                "evaluate": {"exclude": "seen", "k": [10]}}

    # Parts.

    def missing(self):
        part = "missing"
        systems = {"lightgcn": {"model": "lightgcn", "training": {"epochs": 1, "device": "cuda:99"}}}
        workspace, done = self.run("absent", self.experiment("absent", systems))
        says = "cuda:0" if self.gpu else "finds no GPU with a working driver"
        is_right = done.returncode == 2 and says in done.stderr and "`device: cuda:99`" in done.stderr
        self.report.check(is_right and not workspace.exists(), part, f"a GPU that is not there: {first(done.stderr)}")
        own = ROOT / ".libtorch/lib"
        if not own.exists() or (own / "libtorch_cuda.so").exists():
            self.report.add("not done", part, "libtorch without CUDA: there is none in .libtorch (`make libtorch`)")
            return
        systems["lightgcn"]["training"]["device"] = "cuda"
        workspace, done = self.run("without", self.experiment("without", systems), LD_LIBRARY_PATH=str(own))
        is_right = done.returncode == 2 and "there is no CUDA in this libtorch" in done.stderr
        self.report.check(is_right and not workspace.exists(), part, f"libtorch without CUDA: {first(done.stderr)}")

    def listed(self):
        """Networks that the schema knows and this check does not."""
        found = set()

        def walk(node):
            if isinstance(node, dict):
                properties = node.get("properties")
                if isinstance(properties, dict) and "training" in properties and "model" in properties:
                    found.add(properties["model"].get("const"))
                for value in node.values():
                    walk(value)
            elif isinstance(node, list):
                for value in node:
                    walk(value)

        for task in ("top-n", "next-item"):
            walk(json.loads(self.assay("schema", task).stdout))
        # Its `training` are ratings.
        return found - {None, "als"} - set(NETWORKS) - set(SEQUENCES)

    def systems(self, training, device):
        """(name, experiment) of all networks on a device."""
        training = {**training, "device": device}
        plain = {name: {"model": name, **settings, "training": training} for name, settings in NETWORKS.items()}
        more = {}
        if self.texts:
            encoder = {"device": "cuda" if device == "cuda" else "cpu", "max_tokens": 16}
            for name, settings in WITH_TEXTS.items():
                of = json.loads(json.dumps({**settings, "training": training}))
                if "text" in of:
                    of["text"]["encoder"] = encoder
                else:
                    of["encoder"] = encoder
                plain[name] = of
            more["profiles"] = {"titles": {"items": {"from": "template"}, "users": {"from": "mean"}}}
        yield "pairs", self.experiment("pairs", plain, **more)
        yield "sequences", self.sequences("sequences", {name: {"model": name, **of, "training": training}
                                                        for name, of in SEQUENCES.items()})

    def fits(self, name, part, training, device):
        """By network: directory and record of its fit."""
        fits = {}
        for of, experiment in self.systems(training, device):
            workspace, done = self.run(f"{name}-{of}-{device}", experiment, "--until", "fit")
            if done.returncode:
                self.report.add("FAILED", part, f"{of} on {device} ended with {done.returncode}: {failure(done.stderr)}")
            fits.update((record["label"], (folder, record)) for folder, record in self.records(workspace, "fit"))
        return fits

    def both(self, part, training):
        """(network, fit on the CPU, on the GPU) of all networks."""
        ours, theirs = (self.fits(part, part, training, device) for device in ("cpu", self.device))
        for label in sorted({*ours, *theirs}):
            if label in ours and label in theirs:
                yield label.split(" ")[0], ours[label], theirs[label]
            else:
                self.report.add("FAILED", part, f"{label}: was fitted on one device only")

    def forward(self):
        part = "forward"
        for name in sorted(self.listed()):
            self.report.add("FAILED", part, f"{name}: this check has no settings for it (NETWORKS, SEQUENCES)")
        # Steps so small that embeddings are those of the start values.
        for name, (ours, _), (theirs, record) in self.both(part, {"epochs": 1, "learning_rate": 1e-12}):
            ours, theirs = (tensors(folder / "model.safetensors") for folder in (ours, theirs))
            off = max(largest_difference(ours[what], theirs.get(what, ())) for what in ("users", "items"))
            self.report.check(off <= TOLERANCE, part, f"{name}: largest difference {off:.1e}{on(record)}")
        if not self.texts:
            self.report.add("not done", part, "networks with texts: the encoder is missing (`make encoder`)")
        self.no_gpu(part, "embeddings on a GPU; compared were its operations in main memory")

    def training(self):
        part = "training"
        training = {"epochs": 3, "batch": 256, "learning_rate": 0.001}
        # Some trainings are chaotic: Adam makes large steps of gradients that are nothing but rounding. How far they go is seen
        # on the CPU alone, by a change of a millionth.
        changed = self.fits("changed", part, {**training, "learning_rate": 0.001 * (1 + 1e-6)}, "cpu")
        changed = {label.split(" ")[0]: folder for label, (folder, _) in changed.items()}
        for name, (ours, _), (theirs, record) in self.both(part, training):
            # Without a control, which then failed, only the tolerance counts.
            first, second, control = (
                [epoch["loss"] for epoch in json.loads((folder / "history.json").read_text())]
                for folder in (ours, theirs, changed.get(name, ours))
            )
            off, by_itself = apart(first, second), apart(first, control)
            is_right = off <= max(LOSS_TOLERANCE, 3 * by_itself) and len(first) == len(second) == 3
            self.report.check(is_right, part, f"{name}: losses {first[-1]:.5f} and {second[-1]:.5f}, off by {off:.1e}; "
                                              f"with the rate changed by a millionth {by_itself:.1e}{on(record)}")
        self.no_gpu(part, "training on a GPU; compared were its operations in main memory")

    def no_gpu(self, part, what):
        if not self.gpu:
            self.report.add("not done", part, f"no GPU: {what}")

    def encoder(self):
        part = "encoder"
        if not self.texts:
            self.report.add("not done", part, "the encoder is missing (`make encoder`)")
            return
        rows, rates = {}, {}
        for device in ("cpu", "cuda") if self.gpu else ("cpu", "auto"):
            system = {"content": {"model": "content", "text": {"profiles": "titles", "encoder": {"device": device}}}}
            profiles = {"titles": {"items": {"from": "template"}, "users": {"from": "mean"}}}
            # `auto` takes a GPU if there is one.
            data = {"set": "sample"}
            experiment = {**self.experiment("texts", system, profiles=profiles), "data": data,
                          "split": {"scheme": "official", "only": ["f1"]}}
            workspace, done = self.run(f"texts-{device}", experiment, "--until", "embeddings")
            if done.returncode:
                self.report.add("FAILED", part, f"on {device} ended with {done.returncode}: {failure(done.stderr)}")
                return
            for folder, record in self.records(workspace, "embeddings"):
                # Those of items and of users.
                for path in folder.glob("*.safetensors"):
                    found = {(record["label"], name): of for name, of in tensors(path).items() if of}
                    rows.setdefault(device, {}).update(found)
                if record["stats"]["texts"]:
                    rates[device] = f"{record['stats']['texts'] / record['stats']['encode_seconds']:.0f} texts a second"
        ours, theirs = rows.values()
        off = max(largest_difference(ours[name], theirs.get(name, ())) for name in ours)
        self.report.check(off <= TOLERANCE, part, f"largest difference {off:.1e}; {json.dumps(rates)}")
        self.no_gpu(part, "embeddings on a GPU; `auto` took the CPU")

    def memory(self):
        part = "memory"
        if not self.gpu:
            self.report.add("not done", part, "no GPU: the message for a full one (its text is tested in src/nn/device.rs)")
            return
        of_torch = "per_process_memory_fraction:0.00001"
        for what, experiment in self.systems({"epochs": 1}, "cuda"):
            keep = {"pairs": "lightgcn", "sequences": "sasrec"}[what]
            experiment["systems"] = {keep: experiment["systems"][keep]}
            workspace, done = self.run(f"full-{what}", experiment, PYTORCH_CUDA_ALLOC_CONF=of_torch, PYTORCH_ALLOC_CONF=of_torch)
            is_right = done.returncode in (2, 4) and "the GPU's memory is full" in done.stderr and "= help: lower" in done.stderr
            self.report.check(is_right, part, f"{keep} ended with {done.returncode}: {failure(done.stderr)}")

    def sharing(self):
        part = "sharing"
        training = {"epochs": 40 if self.gpu else 3, "device": self.device}
        systems = {"lightgcn": {"model": "lightgcn", "layers": 3, "training": training}}
        experiment = {**self.experiment("two", systems), "seeds": [1, 2]}
        seconds, losses = [], []
        for share in (1, 2):
            started = time.monotonic()
            workspace, done = self.run(f"two-{share}", experiment, "--threads", "2", "--trials-per-gpu", share, "--until", "fit")
            seconds.append(time.monotonic() - started)
            if done.returncode:
                self.report.add("FAILED", part, f"{share} at a time ended with {done.returncode}: {failure(done.stderr)}")
                return
            fits = {record["label"]: json.loads((folder / "history.json").read_text())[-1]["loss"]
                    for folder, record in self.records(workspace, "fit")}
            losses.append(fits)
        off = max(abs(losses[0][label] - losses[1].get(label, float("inf"))) for label in losses[0])
        self.report.check(off <= LOSS_TOLERANCE and len(losses[0]) == 2, part,
                          f"two trials one by one {seconds[0]:.1f} s, at a time {seconds[1]:.1f} s; losses off by {off:.1e}")
        self.no_gpu(part, "two trials on one GPU; they ran in main memory")

    def speed(self):
        part = "speed"
        epochs = 5
        cases = {
            "lightgcn": ("gowalla/train.txt", {
                "data": {"set": "gowalla"}, "split": {"scheme": "official"},
                "systems": {"x": {"model": "lightgcn", "layers": 3, "regularization": 1e-4,
                                  "training": {"epochs": epochs, "batch": 2048, "learning_rate": 0.001}}}}),
            "gat": ("ml-100k/u1.base", {
                "data": {"set": "ml-100k", "relevant": ">= 4", "disliked": "<= 2"},
                "split": {"scheme": "official", "only": ["u1"]},
                "systems": {"x": {"model": "gat", "training": {"epochs": epochs, "learning_rate": 0.005, "optimizer": "adamw"}}}}),
            "sasrec": ("sequential/Beauty.txt", {
                "task": "next-item", "data": {"set": "s3rec-beauty"}, "split": {"scheme": "leave-one-out"},
                "systems": {"x": {"model": "sasrec", "factors": 64, "layers": 2, "heads": 2, "loss": "softmax",
                                  "samples": "sequences", "training": {"epochs": epochs, "batch": 256}}},
                "evaluate": {"exclude": "seen", "k": [10]}}),
        }
        for name, (file, experiment) in cases.items():
            if not (self.data / file).exists():
                self.report.add("not done", part, f"{name}: {self.data / file} is missing (ASSAY_DATA)")
                continue
            peer = [self.torch["python"], ROOT / "tools/gpu_peers.py", name, self.data / file, "cuda" if self.gpu else "cpu"]
            peer += ["--epochs", str(epochs)] if self.gpu else ["--batches", "1"]
            done = subprocess.run(list(map(str, peer)), capture_output=True, text=True)
            if done.returncode == 3:
                self.report.add("not done", part, f"{name}: {done.stderr.strip()}")
                continue
            if done.returncode:
                self.report.add("FAILED", part, f"{name} of PyTorch: {done.stderr.strip().splitlines()[-1:]}")
                continue
            theirs = json.loads(done.stdout.splitlines()[-1])
            experiment = {"experiment": "speed", "evaluate": {"k": [20]}, **experiment}
            experiment["systems"]["x"]["training"]["device"] = "cuda"
            if not self.gpu:
                (self.folder / "speed.yaml").write_text(json.dumps(experiment))
                done = self.assay("plan", "speed.yaml", "--workspace", self.folder / "speed.assay")
                self.report.check(done.returncode == 0, part, f"{name}: {first(done.stdout) or first(done.stderr)}")
                self.report.add("ok", part, f"{name}: PyTorch's side runs, {theirs['seconds']:.2f} s a batch on this CPU")
                continue
            workspace, done = self.run(f"speed-{name}", experiment, "--until", "fit")
            if done.returncode:
                self.report.add("FAILED", part, f"{name} ended with {done.returncode}: {failure(done.stderr)}")
                continue
            for _, record in self.records(workspace, "fit"):
                ours = peers.find(record, "seconds_an_epoch")
                self.report.add("ok", part, f"{name}: assay {ours:.3f} s an epoch, PyTorch {theirs['seconds']:.3f} s: "
                                            f"{theirs['seconds'] / ours:.2f} × as fast{on(record)}")
        self.no_gpu(part, "times")

    def published(self):
        part = "published"
        training = {"epochs": 1000, "batch": 2048, "learning_rate": 0.001, "device": "cuda"}
        experiment = {
            "experiment": "gowalla", "data": {"set": "gowalla"}, "split": {"scheme": "official"},
            "systems": {"lightgcn": {"model": "lightgcn", "layers": 3, "regularization": 1e-4, "training": training}},
            "evaluate": {"k": [20], "metrics": ["recall", "ndcg"], "depth": 20},
        }
        if not (self.data / "gowalla/train.txt").exists():
            self.report.add("not done", part, f"{self.data}/gowalla is missing (ASSAY_DATA)")
            return
        if not self.gpu:
            (self.folder / "gowalla.yaml").write_text(json.dumps(experiment))
            done = self.assay("plan", "gowalla.yaml", "--workspace", self.folder / "gowalla.assay")
            self.report.check(done.returncode == 0, part, first(done.stdout) or first(done.stderr))
            self.no_gpu(part, "1000 epochs")
            return
        started = time.monotonic()
        # In a folder that stays: after an interruption, training goes on.
        workspace = ROOT / "target/gpu-check.assay"
        (self.folder / "gowalla.yaml").write_text(json.dumps(experiment))
        done = self.assay("run", "gowalla.yaml", "--workspace", workspace, "--out", self.folder / "gowalla.report", "--quiet")
        table = self.assay("table", "gowalla.yaml", "--workspace", workspace, "--format", "json", "--metrics", "recall,ndcg")
        if done.returncode or table.returncode:
            self.report.add("FAILED", part, f"ended with {done.returncode}: {failure(done.stderr + table.stderr)}")
            return
        found = values(json.loads(table.stdout))
        off = {name: found.get(name, float("nan")) - value for name, value in PUBLISHED.items()}
        is_right = all(abs(of) <= 0.002 for of in off.values())
        self.report.check(is_right, part, f"{found} (published: {PUBLISHED}) in {(time.monotonic() - started) / 60:.0f} minutes")


def values(node):
    """Means by metric in the JSON of a table, wherever they are."""
    found = {}
    if isinstance(node, dict):
        if "metric" in node and isinstance(node.get("mean"), (int, float)):
            found[str(node["metric"]).lower().split("@")[0]] = node["mean"]
        for child in node.values():
            found.update(values(child))
    elif isinstance(node, list):
        for child in node:
            found.update(values(child))
    return found


def apart(losses, others):
    """The largest relative difference."""
    return max(abs(a - b) / max(abs(a), 1e-9) if a == a and b == b else float("inf") for a, b in zip(losses, others))


def on(record):
    device = peers.find(record.get("stats"), "device")
    return f" ({device})" if device else ""


def first(text):
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def failure(text):
    """The line that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line or "full" in line or "failed" in line), lines[-1] if lines else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="these parts, separated by commas")
    parser.add_argument("--assay", type=pathlib.Path, default=ROOT / "target/release/assay", help="the program; assay-tensors beside it")
    parser.add_argument("--python", help=f"an interpreter with PyTorch {VERSION} that has CUDA")
    parser.add_argument("--out", type=pathlib.Path, help="write the findings as JSON into this directory")
    options = parser.parse_args()
    parts = options.only.split(",") if options.only else PARTS
    options.assay = options.assay.absolute()
    try:
        if unknown := set(parts) - set(PARTS):
            raise Unusable(f"--only: there is no part {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
        if not options.assay.exists():
            raise Unusable(f"{options.assay} is missing: cargo build --release --locked")
        torch = provide(options.python)
    except Unusable as error:
        print(f"gpu-check: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"PyTorch {VERSION} with CUDA {torch['cuda']}: {torch['lib']}\nGPU: {torch['gpu'] or 'none'}", flush=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gpu-check-"))
    try:
        check = Check(options, torch, folder)
        for part in parts:
            getattr(check, part)()
    finally:
        if os.environ.get("GPU_CHECK_KEEP") != "1":
            shutil.rmtree(folder, ignore_errors=True)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "gpu-check.json").write_text(json.dumps({"torch": torch, "found": check.report.lines}, indent=2) + "\n")
    code = check.report.code()
    counts = {state: sum(line["state"] == state for line in check.report.lines) for state in ("ok", "FAILED", "not done")}
    print(f"{counts['ok']} ok, {counts['FAILED']} failed, {counts['not done']} not done"
          + ("" if torch["gpu"] else ": there is no GPU (exit code 3 if nothing failed)"))
    sys.exit(code)


if __name__ == "__main__":
    main()
