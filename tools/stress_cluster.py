#!/usr/bin/env python3
"""Kills HyperQueue's workers and server, and the submitting `assay run`, at random moments.

    cargo build --release && python3 tools/stress_cluster.py [--kills 30] [--seed 1] [--hq hq] [--experiment FILE]

Runs the experiment alone, then in a new workspace through HyperQueue with two workers. Whatever is killed (SIGKILL) is started
again: a worker, a machine (a worker with everything it runs), the server (with its journal), or the submitting process. When all
kills are done, the run must end well, every file of every step must have the bytes of the run alone, and no step may have begun
more often than the kills explain: a killed machine loses the steps that ran on it. The exit code is 1 where one of these fails.
"""

import argparse
import collections
import hashlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = ROOT / "target/release/assay"


def environment():
    return {**os.environ, "ASSAY_DATA": os.environ.get("ASSAY_DATA", str(ROOT / "datasets"))}


def files(workspace):
    """Every file of every finished step with its hash; records hold times and are left out."""
    found = {}
    for path in sorted((workspace / "steps").rglob("*")):
        if path.is_file() and path.name != "record.json":
            found[str(path.relative_to(workspace))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def below(pid):
    """A process and everything it has started."""
    children = collections.defaultdict(list)
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text()
        except OSError:
            continue
        children[int(text.rsplit(")", 1)[1].split()[1])].append(int(entry.parent.name))
    all_of, next_of = [], [pid]
    while next_of:
        at = next_of.pop()
        all_of.append(at)
        next_of += children[at]
    return all_of


class Cluster:
    def __init__(self, options, place):
        self.options, self.place = options, place
        self.workspace, self.directory = place / "workspace", place / "hq"
        self.running = {}

    def command(self, name):
        hq = [self.options.hq, "--server-dir", str(self.directory)]
        if name == "server":
            return [*hq, "server", "start", "--journal", str(self.place / "journal")]
        if name.startswith("worker"):
            return [*hq, "worker", "start", "--cpus", str(self.options.cpus), "--no-hyper-threading",
                    "--detect-resources", "mem"]
        return [str(self.options.assay), "run", self.options.experiment, "--workspace", str(self.workspace), "--out",
                str(self.place / "report"), "--on", f"hq:{self.directory}"]

    def start(self, name):
        with open(self.place / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(
                self.command(name), cwd=ROOT, env=environment() | {"ASSAY_HQ": self.options.hq}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True
            )

    def is_alive(self, name):
        return name in self.running and self.running[name].poll() is None

    def revive(self, submit=True):
        """Starts what is not running. Returns whether the submitting process ended well."""
        if not self.is_alive("server"):
            self.start("server")
            time.sleep(0.5)
        for at in range(self.options.workers):
            if not self.is_alive(f"worker-{at}"):
                self.start(f"worker-{at}")
        code = self.running["submitter"].poll() if "submitter" in self.running else -1
        if code == 0:
            return True
        if code is not None and submit:
            self.start("submitter")
        return False

    def kill(self, what):
        if what == "machine":
            pids = below(self.running[f"worker-{random.randrange(self.options.workers)}"].pid)
        elif what == "worker":
            pids = [self.running[f"worker-{random.randrange(self.options.workers)}"].pid]
        else:
            pids = [self.running[what].pid]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def end(self):
        for process in self.running.values():
            for pid in below(process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


def begun(workspace):
    counts = collections.Counter()
    for path in (workspace / "experiments").glob("*/plans/*/ran/*"):
        for line in path.read_text().splitlines():
            key, what = line.split(" ")[:2]
            if what == "begun":
                counts[key] += 1
    return counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hq", default="hq")
    parser.add_argument("--assay", default=ASSAY)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--pause", type=float, default=2.0, help="longest time between two kills, in seconds")
    parser.add_argument("--experiment", default="experiments/quickstart.yaml")
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        alone = [options.assay, "run", options.experiment, "--workspace", place / "alone", "--out", place / "report-alone"]
        subprocess.run([str(of) for of in alone], cwd=ROOT, env=environment(), check=True, capture_output=True)
        expected = files(place / "alone")
        cluster = Cluster(options, place)
        kills = collections.Counter()
        started = time.time()
        ended = 0
        try:
            cluster.revive()
            for _ in range(options.kills):
                time.sleep(random.uniform(0.05, options.pause))
                what = random.choice(["worker", "machine", "server", "submitter"])
                cluster.kill(what)
                kills[what] += 1
                time.sleep(random.uniform(0, 0.3))
                ended += cluster.revive()
                if ended == 1:
                    print(f"finished after {sum(kills.values())} kills: the experiment is too small for more", flush=True)
                    break
            until = time.time() + 600
            while not cluster.revive():
                if time.time() > until:
                    print((place / "submitter.log").read_text()[-3000:])
                    sys.exit("the run did not end within 10 minutes after the last kill")
                time.sleep(0.2)
        finally:
            cluster.end()
        found = files(cluster.workspace)
        counts = begun(cluster.workspace)
        again = sum(count - 1 for count in counts.values())
        # The server stops its workers and their steps; a worker that is killed leaves its steps running.
        most = options.cpus * (kills["machine"] + kills["worker"] + options.workers * kills["server"])
        print(f"{sum(kills.values())} kills ({dict(kills)}) in {time.time() - started:.0f} s: {len(counts)} steps, "
              f"{again} begun again (at most {most} explained), bytes {'equal' if found == expected else 'DIFFER'}")
        if found != expected or again > most:
            sys.exit(1)


main()
