#!/usr/bin/env python3
"""Several processes on one workspace: every process that ends well prints the whole table.

    cargo build --release && python3 tools/stress_processes.py [starts] [experiment]

Rounds of two to four `assay run` on one new workspace each, in turns: four at once with one thread each,
and two to four within 20 ms with the threads of the machine. The table that each process prints is
compared, character by character, with that of a run alone. 200 starts by default, on the committed
sample data. The exit code is 1 where a process fails or prints something else.
"""

import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = ROOT / "target/release/assay"


def start(experiment, place, at, *args):
    command = [ASSAY, "run", experiment, "--workspace", place / "workspace", "--out", place / f"report-{at}", *args]
    env = {**os.environ, "ASSAY_DATA": str(ROOT / "datasets")}
    return subprocess.Popen(
        [str(part) for part in command], cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def end(process):
    """The exit code, the table, and what else was said."""
    out, err = process.communicate()
    table = "\n".join(line for line in out.splitlines() if not line.startswith("report: "))
    return process.returncode, table.strip(), err


def main():
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    experiment = sys.argv[2] if len(sys.argv) > 2 else "experiments/quickstart.yaml"
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as place:
        code, expected, err = end(start(experiment, pathlib.Path(place), 0))
    if code != 0 or not expected:
        sys.exit(f"the run alone ended with {code}:\n{err}")
    done, faults, rounds = 0, [], 0
    began = time.time()
    while done < starts:
        at_once = rounds % 2 == 0
        n = min(4 if at_once else draw.randint(2, 4), starts - done)
        with tempfile.TemporaryDirectory() as place:
            running = []
            for at in range(n):
                running.append(start(experiment, pathlib.Path(place), at, *(["--threads", "1"] if at_once else [])))
                if not at_once:
                    time.sleep(draw.uniform(0, 0.020 / (n - 1 or 1)))
            for process in running:
                code, table, err = end(process)
                if (code, table) != (0, expected):
                    faults.append(f"round {rounds}: exit code {code}, "
                                  f"{'no table' if not table else 'the whole table' if table == expected else 'another table'}"
                                  f"\n{err[-1000:]}")
        done += n
        rounds += 1
    print(f"{done} starts in {rounds} rounds, {time.time() - began:.0f} s: {len(faults)} ended wrongly")
    print("\n".join(faults[:5]))
    sys.exit(1 if faults else 0)


main()
