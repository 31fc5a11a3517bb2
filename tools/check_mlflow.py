#!/usr/bin/env python3
"""Exports results to a real MLflow server twice, and reads them back with MLflow's own client.

    pip install mlflow
    python3 tools/check_mlflow.py target/release/assay experiments/quickstart.yaml [--workspace DIR]

The experiment must have been run. The server runs on a free port of this machine, with its files in a temporary directory.
"""

import csv
import io
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(url, server):
    for _ in range(240):
        if server.poll() is not None:
            sys.exit("the server ended")
        try:
            return urllib.request.urlopen(url + "/health", timeout=2).read()
        except OSError:
            time.sleep(0.5)
    sys.exit("the server does not answer")


def check(assay, experiment, options, url):
    from mlflow.tracking import MlflowClient

    def run(*arguments):
        command = [assay, *arguments, experiment, *options]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout

    export = lambda: run("export", "mlflow", "--experiment", "check", "--url", url)
    print(export().strip())
    client = MlflowClient(tracking_uri=url)
    of = client.get_experiment_by_name("check")
    runs = client.search_runs([of.experiment_id], max_results=5000)
    print(export().strip())
    if len(client.search_runs([of.experiment_id], max_results=5000)) != len(runs):
        sys.exit("a second export doubled runs")
    if any(one.info.status != "FINISHED" for one in runs):
        sys.exit("a run is not finished")
    rows = list(csv.DictReader(io.StringIO(run("results"))))
    first = rows[0]
    is_main = lambda row: all(row[key] == first[key] for key in ("protocol", "convention", "slice"))
    systems = {row["system"] for row in rows}
    parents = {one.info.run_name: one for one in runs if "mlflow.parentRunId" not in one.data.tags}
    if set(parents) != systems:
        sys.exit(f"runs {sorted(parents)}, systems {sorted(systems)}")
    children = {one.info.run_name: one for one in runs if "mlflow.parentRunId" in one.data.tags}
    compared = 0
    for row in filter(is_main, rows):
        if row["fold"] == "mean":
            one = parents[row["system"]]
        elif row["seed"] == "mean":
            continue
        else:
            one = children[f"{row['system']} {row['fold']} seed {row['seed']}"]
            if one.data.tags["mlflow.parentRunId"] != parents[row["system"]].info.run_id:
                sys.exit(f"{one.info.run_name} is below another run")
        name = f"{row['metric']}_at_{row['k']}"
        if row["value"] == "":
            if name in one.data.metrics:
                sys.exit(f"{one.info.run_name} {name} has a value")
            continue
        if not math.isclose(one.data.metrics[name], float(row["value"]), rel_tol=1e-15):
            sys.exit(f"{one.info.run_name} {name}: {one.data.metrics[name]}, {row['value']} in the results")
        compared += 1
    for one in runs:
        for tag in ("assay.key", "assay.fingerprint", "assay.data_hash", "assay.version"):
            if not one.data.tags.get(tag):
                sys.exit(f"{one.info.run_name} has no tag {tag}")
    if compared < 10:
        sys.exit(f"only {compared} values were compared")
    print(f"{len(parents)} systems, {len(children)} trials, {compared} values are those of the results")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    assay, experiment, options = sys.argv[1], sys.argv[2], sys.argv[3:]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as place:
        command = [
            os.path.join(os.path.dirname(sys.executable), "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port),
            "--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--artifacts-destination", f"{place}/artifacts",
            "--workers", "1",
        ]
        with open(f"{place}/log", "w") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(url, server)
            check(assay, experiment, options, url)
        finally:
            os.killpg(server.pid, 15)
            server.wait()


if __name__ == "__main__":
    main()
