#!/usr/bin/env python3
"""How often `assay check` finds a planted regression, and how often it calls worse what only has another seed.

    cargo build --release
    ASSAY_DATA=DIR python3 tools/planted_regressions.py [SEEDS]

ALS is fitted on the five folds of MovieLens-100K with one seed for the baseline and others for later results. From their
lists each relevant item among the first ten is taken out with the probability of the regression, and what stands below
moves up. Prints the verdicts on nDCG@10 by size of the regression and margin, and the mean change. ASSAY names another
program than target/release/assay.
"""

import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = os.environ.get("ASSAY", str(ROOT / "target/release/assay"))
FOLDS = ["u1", "u2", "u3", "u4", "u5"]
SHARED = {
    "data": {"set": "ml-100k", "relevant": ">= 4"},
    "split": {"scheme": "official", "only": FOLDS},
    "evaluate": {"k": [10], "metrics": ["ndcg"], "depth": 20},
}


def assay(folder, *arguments):
    return subprocess.run([ASSAY, *arguments], cwd=folder, capture_output=True, text=True)


def write(folder, name, systems, **more):
    (folder / f"{name}.yaml").write_text(json.dumps({"experiment": name, **SHARED, **more, "systems": systems}))


def planted(folder, lists, relevant, share, draws):
    """Writes the lists of all folds with hits taken out."""
    for fold in FOLDS:
        lines = []
        for user, items in lists[fold].items():
            kept = [
                item for rank, item in enumerate(items)
                if not (rank < 10 and (user, item) in relevant[fold] and draws.random() < share)
            ]
            lines += [f"{user}\t{item}\t{-rank}" for rank, item in enumerate(kept)]
        (folder / f"lists-{fold}.tsv").write_text("user\titem\tscore\n" + "\n".join(lines) + "\n")


def main():
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    data = pathlib.Path(os.environ["ASSAY_DATA"].split(":")[0]) / "ml-100k"
    relevant = {}
    for fold in FOLDS:
        rows = (line.split("\t") for line in (data / f"{fold}.test").read_text().splitlines())
        relevant[fold] = {(row[0], row[1]) for row in rows if float(row[2]) >= 4}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        als = {"model": "als", "factors": 32, "regularization": 20, "iterations": 10, "confidence": "alpha-r", "alpha": 2}
        write(folder, "fits", {"als": als}, seeds=list(range(1, seeds + 2)))
        for arguments in [["run", "fits.yaml", "--quiet"], ["export", "fits.yaml", "--format", "elliot", "--out", "out"]]:
            done = assay(folder, *arguments)
            if done.returncode != 0:
                sys.exit(done.stderr)
        by_seed = collections.defaultdict(lambda: {fold: collections.defaultdict(list) for fold in FOLDS})
        for path in sorted((folder / "out").glob("als--*.tsv")):
            _, fold, seed = path.stem.split("--")
            for line in path.read_text().splitlines():
                user, item, _ = line.split("\t")
                by_seed[int(seed.removeprefix("seed"))][fold][user].append(item)
        write(folder, "check", {"als": {"model": "external", "rankings": "lists-{fold}.tsv"}})
        planted(folder, by_seed[1], relevant, 0, random.Random(0))
        assay(folder, "run", "check.yaml", "--quiet")
        recorded = assay(folder, "baseline", "record", "check.yaml", "--out", "recorded.json")
        if recorded.returncode != 0:
            sys.exit(recorded.stderr)
        for share in [0, 0.01, 0.02, 0.05]:
            verdicts, changes = collections.defaultdict(collections.Counter), []
            for seed in range(2, seeds + 2):
                planted(folder, by_seed[seed], relevant, share, random.Random(seed))
                assay(folder, "run", "check.yaml", "--quiet")
                for margin in ["0", "1%", "2%"]:
                    found = json.loads(assay(folder, "check", "check.yaml", "--against", "recorded.json", "--margin", margin, "--json").stdout)
                    gate = found["gates"][0]
                    verdicts[margin][gate["verdict"]] += 1
                changes.append(gate["difference"] / gate["recorded"])
            print(f"planted {share:.0%}: mean change {sum(changes) / len(changes):+.2%}", {of: dict(counts) for of, counts in verdicts.items()}, flush=True)


main()
