#!/usr/bin/env python3
"""Simulates a study on a cluster: wall time, cost, and what limits it.

    python3 tools/simulate_cluster.py [--workspace DIR] [--trials 1000] [--folds 5] [--nodes 100] [--cpus 32] ...

The graph is that of `assay`: a split for each fold; fit, predict and evaluate for each trial and fold. Step times are drawn from
the records of a workspace (`--workspace`, by kind), or are those of `--fit`, `--predict`, `--evaluate` and `--split` in seconds,
each with a lognormal spread. A step waits for its inputs, for a CPU, for the scheduler (`--dispatch` steps a second), and its
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


def measured(workspace):
    times = collections.defaultdict(list)
    for path in pathlib.Path(workspace).glob("steps/*/*/record.json"):
        record = json.loads(path.read_text())
        times[record["kind"]].append(record["wall_seconds"])
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

    def seconds(kind):
        known = times.get(kind)
        if known:
            return draw.choice(known)
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
            took = seconds(step[0])
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
    parser.add_argument("--workspace")
    for name, default in [("trials", 1000), ("folds", 5), ("nodes", 100), ("cpus", 32), ("threads", 1), ("operations", 60)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in [("split", 3.0), ("fit", 60.0), ("predict", 2.0), ("evaluate", 1.0), ("spread", 0.5),
                          ("overhead", 0.05), ("dispatch", 500.0), ("metadata", 5000.0), ("price", 1.0)]:
        parser.add_argument(f"--{name}", type=float, default=default)
    options = parser.parse_args()
    times = measured(options.workspace) if options.workspace else {}
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
