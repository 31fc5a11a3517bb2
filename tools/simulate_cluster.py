#!/usr/bin/env python3
"""Simulates a study on a cluster: wall time, cost, and what limits it.

    python3 tools/simulate_cluster.py [--workspace DIR] [--trials 1000] [--folds 5] [--nodes 100] [--cpus 32] ...

The graph is that of `assay`: a split for each fold; fit, predict and evaluate for each trial and fold. Step times are drawn from
the records of a workspace (`--workspace`; each trial is one of its systems; `--longer` multiplies the times of fits), or are those
of `--fit`, `--predict`, `--evaluate` and `--split` in seconds, each with a lognormal spread. A step waits for its inputs, for a CPU, for the scheduler (`--dispatch` steps a second), and its
operations for the file server (`--metadata` operations a second; `--operations` of them each step). All random draws have a fixed
seed.
"""

import argparse
import collections
import heapq
import json
import math
import pathlib
import random


def measured(workspace, of):
    """Times by kind and system, of the records of a workspace: of CPU time, of steps with one thread only."""
    times = collections.defaultdict(lambda: collections.defaultdict(list))
    for path in sorted(pathlib.Path(workspace).glob("steps/*/*/record.json")):
        record = json.loads(path.read_text())
        if of == "cpu" and record["threads"] != 1:
            raise SystemExit(f"{path}: the step had {record['threads']} threads; run with --threads 1, or use --times wall")
        times[record["kind"]][record["label"].split(" ")[0]].append(record[f"{of}_seconds"])
    return times


class Server:
    """Serves one request at a time."""

    def __init__(self, rate):
        self.each, self.free, self.busy = 1 / rate, 0.0, 0.0

    def serve(self, at, n=1):
        begin = max(at, self.free)
        self.free = begin + n * self.each
        self.busy += n * self.each
        return self.free


def simulate(options, times, dispatch, metadata, slots):
    draw = random.Random(1)

    # Each trial is one of the measured systems, whose fit, prediction and evaluation belong together.
    names = sorted(set(times.get("fit", ())) & set(times.get("predict", ())) & set(times.get("evaluate", ())))
    systems = [draw.choice(names) for _ in range(options.trials)] if names else []

    def seconds(step):
        kind, _, trial = step
        if systems:
            known = times[kind][systems[trial]] if kind != "split" else [t for of in times["split"].values() for t in of]
            return draw.choice(known) * (options.longer if kind == "fit" else 1)
        middle = getattr(options, kind)
        return middle * math.exp(draw.gauss(0, options.spread) - options.spread**2 / 2)

    scheduler, files = Server(dispatch), Server(metadata)
    # Ready steps: priority (longest chain first), then order.
    ready, waiting = [], {}
    order = 0

    def add(at, chain, step):
        nonlocal order
        order += 1
        heapq.heappush(ready, (-chain, order, at, step))

    for fold in range(options.folds):
        add(0.0, 4, ("split", fold, None))
    running, now, free, done, work = [], 0.0, slots, 0, 0.0
    total = options.folds * (1 + 3 * options.trials)
    while done < total:
        while ready and free:
            _, _, at, step = heapq.heappop(ready)
            begin = scheduler.serve(max(now, at))
            took = seconds(step)
            begin = files.serve(begin, options.operations)
            end = begin + options.overhead + took
            work += took
            free -= 1
            heapq.heappush(running, (end, done + len(running), step))
        now, _, step = heapq.heappop(running)
        free += 1
        done += 1
        kind, fold, trial = step
        if kind == "split":
            for trial in range(options.trials):
                add(now, 3, ("fit", fold, trial))
        elif kind == "fit":
            add(now, 2, ("predict", fold, trial))
        elif kind == "predict":
            add(now, 1, ("evaluate", fold, trial))
    return {"wall": now, "work": work, "scheduler": scheduler.busy / now, "files": files.busy / now,
            "use": work / (slots * now), "steps": total}


def line(name, of, options):
    hours = of["wall"] / 3600 * options.nodes
    print(f"| {name} | {of['wall'] / 60:.1f} | {hours:.0f} | {hours * options.price:.0f} | {100 * of['use']:.0f} % | "
          f"{100 * of['scheduler']:.0f} % | {100 * of['files']:.0f} % |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", help="records of which step times are drawn")
    parser.add_argument("--times", choices=["cpu", "wall"], default="cpu", help="CPU time of steps with one thread (the default: other "
                        "programs do not count), or wall time")
    for name, default in [("trials", 1000), ("folds", 5), ("nodes", 100), ("cpus", 32), ("threads", 1), ("operations", 60)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in [("split", 3.0), ("fit", 60.0), ("predict", 2.0), ("evaluate", 1.0), ("spread", 0.5),
                          ("overhead", 0.05), ("dispatch", 500.0), ("metadata", 5000.0), ("price", 1.0), ("longer", 1.0)]:
        parser.add_argument(f"--{name}", type=float, default=default)
    options = parser.parse_args()
    times = measured(options.workspace, options.times) if options.workspace else {}
    for kind in ("split", "fit", "predict", "evaluate"):
        if options.workspace and not times[kind]:
            raise SystemExit(f"{options.workspace} has no record of a step of the kind {kind}")
    for kind, of in sorted(times.items()):
        of = [time for known in of.values() for time in known]
        print(f"{kind}: {len(of)} records, mean {sum(of) / len(of):.3f} s, longest {max(of):.3f} s")
    slots = options.nodes * options.cpus // options.threads
    print(f"{options.trials} trials x {options.folds} folds on {options.nodes} nodes of {options.cpus} CPUs")
    print("| | wall time, min | node hours | cost | CPUs in use | scheduler | file server |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    fast = 1e9
    line("as given", simulate(options, times, options.dispatch, options.metadata, slots), options)
    line("a scheduler without limits", simulate(options, times, fast, options.metadata, slots), options)
    line("a file server without limits", simulate(options, times, options.dispatch, fast, slots), options)
    line("both", simulate(options, times, fast, fast, slots), options)
    options.nodes *= 2
    line("twice the nodes", simulate(options, times, options.dispatch, options.metadata, 2 * slots), options)
    options.nodes //= 4
    line("half the nodes", simulate(options, times, options.dispatch, options.metadata, slots // 2), options)


main()
