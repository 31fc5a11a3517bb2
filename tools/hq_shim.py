#!/usr/bin/env python3
"""Stands in for the command `hq` of HyperQueue where only its Python package is installed.

    python3 -m pip install hyperqueue==0.27.0
    export ASSAY_HQ=tools/hq_shim.py
    tools/hq_shim.py --server-dir DIR server start &
    tools/hq_shim.py --server-dir DIR worker start --cpus 2
    assay run experiment.yaml --on hq:DIR

The package has HyperQueue's server, worker and scheduler, but not its command line. This script reads job files and submits them
by the package's API. It serves tests. What it lacks: workers are threads of the server's process and cannot be stopped alone;
they have no resources but CPUs, so requests for memory, GPUs and `llm` are dropped; jobs cannot be cancelled; there is no
journal. On a cluster, use HyperQueue's own `hq`.
"""

import argparse
import json
import pathlib
import signal
import sys
import time
import tomllib

from hyperqueue import Job
from hyperqueue.cluster import LocalCluster, WorkerConfig
from hyperqueue.ffi.client import ClientConnection
from hyperqueue.ffi.protocol import ResourceRequest
from hyperqueue.output import StdioDef

JOBS, WORKERS = "shim-jobs.json", "shim-workers"


class Seen(Exception):
    """Ends the wait for jobs after one look at them."""


def server_start(place):
    place.mkdir(parents=True, exist_ok=True)
    (place / JOBS).write_text("[]")
    (place / WORKERS).write_text("")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    cluster = LocalCluster(str(place))
    (place / "shim-ready").write_text("")
    started = 0
    while True:
        asked = (place / WORKERS).read_text().split()
        for cpus in asked[started:]:
            cluster.start_worker(WorkerConfig(cores=int(cpus)))
        started = len(asked)
        time.sleep(0.05)


def worker_start(place, cpus):
    with open(place / WORKERS, "a", encoding="utf-8") as file:
        file.write(f"{cpus}\n")


def output(of):
    if of is None or of == "none":
        return None
    if isinstance(of, str):
        return StdioDef.from_path(of)
    return StdioDef(path=of["path"], on_close=of.get("on_close", "none"))


def submit(place, file):
    read = tomllib.loads(pathlib.Path(file).read_text(encoding="utf-8"))
    job = Job(name=read["name"], max_fails=None)
    tasks = {}
    for task in read["task"]:
        requests = [
            ResourceRequest(cpus=request["resources"]["cpus"]) for request in task.get("request", [])
        ]
        tasks[task["id"]] = job.program(
            task["command"],
            cwd=task["cwd"],
            stdout=output(task.get("stdout")),
            stderr=output(task.get("stderr")),
            deps=[tasks[of] for of in task["deps"]],
            priority=task["priority"],
            resources=requests,
            crash_limit=task["crash_limit"],
        )
    connection = ClientConnection(str(place))

    class Client:
        python_env = None

    number = connection.submit_job(job._build(Client()))
    jobs = json.loads((place / JOBS).read_text())
    jobs.append({"id": number, "name": read["name"]})
    (place / JOBS).write_text(json.dumps(jobs))
    return {"id": number}


def listed(place):
    connection = ClientConnection(str(place))
    found = []
    for job in json.loads((place / JOBS).read_text()):
        stats = {}

        def look(status):
            stats.update(status[job["id"]])
            raise Seen

        try:
            connection.wait_for_jobs([job["id"]], look)
        except Seen:
            pass
        left = stats["total"] - stats["finished"] - stats["failed"]
        counts = {"finished": stats["finished"], "failed": stats["failed"], "canceled": 0}
        counts["aborted"] = left if stats["completed"] else 0
        found.append({**job, "task_count": stats["total"], "task_stats": counts})
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server-dir", type=pathlib.Path, required=True)
    parser.add_argument("--output-mode")
    parser.add_argument("words", nargs="+")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    place = options.server_dir
    try:
        match options.words:
            case ["server", "start"]:
                server_start(place)
            case ["worker", "start"]:
                worker_start(place, options.cpus)
            case ["job", "submit-file", file]:
                print(json.dumps(submit(place, file)))
            case ["job", "list"]:
                print(json.dumps(listed(place)))
            case other:
                raise SystemExit(f"the shim has no `hq {' '.join(other)}`")
    except (OSError, RuntimeError, Exception) as error:  # pylint: disable=broad-except
        if isinstance(error, SystemExit):
            raise
        print(json.dumps({"error": f"{error}"}))
        raise SystemExit(1)


main()
