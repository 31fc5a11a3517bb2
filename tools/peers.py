"""What measurements beside peers share: a throw-away Python environment with the peers at fixed versions, files, records."""

import pathlib
import random
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ["implicit==0.7.3", "ir-measures==0.4.3", "ranx==0.3.21", "polars", "scipy", "numpy"]


def enter():
    """Runs the calling script again inside the environment, which is made where it is not there."""
    place = ROOT / ".venv"
    python = place / "bin/python"
    if pathlib.Path(sys.prefix).resolve() == place.resolve():
        return
    done = place / "peers.txt"
    if not done.is_file() or done.read_text() != "\n".join(PEERS):
        print(f"installing {', '.join(PEERS)} into {place}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEERS], check=True)
        done.write_text("\n".join(PEERS))
    sys.exit(subprocess.run([str(python), *sys.argv]).returncode)


def ranking_files(folder):
    """A TREC run of 6,040 users × 200 items with its qrels, and the same run as CSV."""
    rng = random.Random(3)
    with open(folder / "big.run", "w") as run, open(folder / "big.csv", "w") as csv, open(folder / "big.qrels", "w") as qrels:
        csv.write("user,item,rank,score\n")
        for user in range(1, 6041):
            items = rng.sample(range(1, 3707), 220)
            ranked = items[:200]
            qrels.writelines(f"{user} 0 {item} 1\n" for item in items[190:])
            rng.shuffle(ranked)
            for rank, item in enumerate(ranked, 1):
                run.write(f"{user} Q0 {item} {rank} {201 - rank} x\n")
                csv.write(f"{user},{item},{rank},{201 - rank}\n")


def find(node, key):
    """The value of a key, wherever it is."""
    if isinstance(node, dict):
        if key in node:
            return node[key]
        node = list(node.values())
    for child in node if isinstance(node, list) else []:
        found = find(child, key)
        if found is not None:
            return found
    return None
