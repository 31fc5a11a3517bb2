#!/usr/bin/env python3
"""Kills runs at random moments, and flips bits in finished workspaces: no wrong result, no response paid for twice.

    cargo build --release && python3 tools/stress_kills.py [kills] [flips] [seed]

An experiment on the committed sample with ALS, LightGCN, a search, and a reranker whose language model is a server of this
script. `kills` (600 by default) processes are killed: `run` mostly, also `cache verify`, `cache export`, `gc`, `export` and
`report`; one in six gets SIGTERM or SIGINT instead, after which `run` must end with 0 or 75. A workspace is used until its run
is finished. Then its results and the files of all steps must have the bytes of an undisturbed run, the journal must hold
each response once, and the server must have got no more requests than responses and those in flight at the kills.

`flips` (360 by default) times one bit of one file of a finished workspace is flipped: `results` must print the right numbers
or fail, and `run` must give the right numbers with exit code 0, or end with an error that is no internal one. The exit code
of this script is 1 where something of this does not hold.
"""

import collections
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = pathlib.Path(os.environ.get("ASSAY", ROOT / "target/release/assay"))
CONCURRENCY = 4
EXPERIMENT = """experiment: kills
data: {{set: sample, relevant: ">= 4"}}
split: {{scheme: official, only: [f1, f2]}}
endpoints: {{chat: {{base_url: "{url}", model: test, concurrency: {concurrency}}}}}
profiles: {{template: {{from: template}}}}
systems:
  popularity: {{model: popularity}}
  als: {{model: als, search: {{trials: 4, over: {{factors: [4, 8], regularization: [1, 5]}}, metric: ndcg, k: 5, validation: 0.2}}}}
  lightgcn: {{model: lightgcn, training: {{epochs: 12, device: cpu}}}}
  reranked: {{model: rerank, of: popularity, judge: chat, strategy: prompt, pool: 8, text: {{profiles: template}}, users: "sample=30", prompt: prompt.md}}
evaluate: {{k: [5], metrics: [ndcg, recall]}}
"""
PROMPT = "[user]\nRank. {% for item in candidates %}[{{ item.id }}] {% endfor %}\n"


class Faults(list):
    """Printed as they are found: a long check that is ended tells what it had found."""

    def append(self, fault):
        super().append(fault)
        print(f"FAULT: {fault}", flush=True)


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """A client that was killed."""


class Chat(BaseHTTPRequestHandler):
    """Puts the ids of a question into the opposite order."""

    protocol_version = "HTTP/1.1"
    requests = collections.Counter()

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        Chat.requests[hashlib.sha256(body).hexdigest()] += 1
        question = json.loads(body)["messages"][-1]["content"]
        time.sleep(0.004)
        content = json.dumps({"order": re.findall(r"\[(\w+)\]", question)[::-1]})
        reply = json.dumps({
            "id": "1", "object": "chat.completion", "created": 1_700_000_000, "model": "test-1",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20},
        }).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)


class Place:
    def __init__(self, folder, url):
        self.folder = pathlib.Path(folder)
        (self.folder / "prompt.md").write_text(PROMPT)
        (self.folder / "kills.yaml").write_text(EXPERIMENT.format(url=url, concurrency=CONCURRENCY))

    def start(self, *arguments):
        # The encoder, which a control of rerankers needs, is not found there: that control is skipped.
        env = {**os.environ, "ASSAY_DATA": str(self.folder / "none"), "NO_COLOR": "1"}
        return subprocess.Popen([str(ASSAY), *arguments], cwd=self.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, *arguments):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    def results(self):
        code, out, err = self.run("results", "kills.yaml", "--json")
        return code, out, err

    def steps(self):
        """Hashes of the files of all steps. Records hold times, and responses those of the server."""
        skipped = {"record.json", "responses.json", "answers.json"}
        root = self.folder / ".assay/steps"
        found = {}
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.name not in skipped:
                found[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def responses(self):
        """How often each response is in the journal."""
        counts = collections.Counter()
        for path in (self.folder / ".assay/answers/journal").glob("*"):
            for line in path.read_bytes().splitlines():
                try:
                    record = json.loads(line)["record"]
                except (ValueError, KeyError, TypeError):
                    continue
                if record.get("kind") == "answer":
                    counts[record["key"]] += 1
        return counts


def without_times(steps):
    """Histories hold seconds."""
    return {name: value for name, value in steps.items() if not name.endswith(("history.json", "trials.json", "search.json"))}


def kill(draw, url, wanted, expected, faults):
    (results, steps, n_responses, duration) = expected
    done, workspaces, asked, ends = 0, 0, 0, collections.Counter()
    while done < wanted:
        workspaces += 1
        with tempfile.TemporaryDirectory() as folder:
            place = Place(folder, url)
            Chat.requests.clear()
            kills = 0
            while True:
                others = [["cache", "verify"], ["cache", "export", "c.gz", "--overwrite"], ["gc", "kills.yaml", "--yes"],
                          ["export", "kills.yaml", "--out", "lists", "--overwrite"], ["report", "kills.yaml", "--overwrite"]]
                is_run = draw.random() < 0.8 or not (place.folder / ".assay").exists()
                arguments = ["run", "kills.yaml", "--quiet"] if is_run else draw.choice(others)
                process = place.start(*arguments)
                end = draw.random() < 1 / 6 and is_run
                try:
                    process.communicate(timeout=draw.uniform(0.02, duration * 0.7))
                    if is_run:
                        ends[f"run ended with {process.returncode}"] += 1
                        if process.returncode == 0:
                            break
                        faults.append(f"a run ended with {process.returncode} by itself")
                        break
                    continue
                except subprocess.TimeoutExpired:
                    pass
                process.send_signal(draw.choice([signal.SIGTERM, signal.SIGINT]) if end else signal.SIGKILL)
                _, err = process.communicate(timeout=300)
                done += 1
                kills += is_run
                ends["asked to end" if end else "killed"] += 1
                if end and process.returncode < 0:
                    # The signal came before the program had started.
                    ends["ended before it had started"] += 1
                elif end and process.returncode not in (0, 75):
                    faults.append(f"{arguments}: exit code {process.returncode} after a signal: {err.decode()[-300:]}")
                if done >= wanted + 40:
                    break
            code, out, err = place.run("run", "kills.yaml", "--quiet")
            if code != 0:
                faults.append(f"the last run ended with {code}: {err[-400:]}")
                continue
            if place.results()[1] != results:
                faults.append("results differ after kills")
            found = without_times(place.steps())
            differ = [name for name in steps if found.get(name) != steps[name]]
            if differ:
                faults.append(f"files of steps differ after kills: {differ[:5]}")
            twice = [name for name, count in place.responses().items() if count > 1]
            if twice or len(place.responses()) != n_responses:
                faults.append(f"{len(place.responses())} responses in the journal, {len(twice)} of them twice")
            sent = sum(Chat.requests.values())
            asked += sent
            if sent > n_responses + kills * CONCURRENCY:
                faults.append(f"{sent} requests for {n_responses} responses and {kills} kills")
            leftovers = [path.name for path in (place.folder / ".assay/tmp").glob("*")] if (place.folder / ".assay/tmp").exists() else []
            if len(leftovers) > 50:
                faults.append(f"{len(leftovers)} temporary files are left")
    print(f"kills: {done} in {workspaces} workspaces, {dict(ends)}; {asked} requests for {n_responses * workspaces} responses", flush=True)


def flip(draw, place, times, results, faults):
    files = [path for path in (place.folder / ".assay").rglob("*")
             if path.is_file() and path.stat().st_size > 0 and "locks" not in path.parts and not path.name.endswith(".lock")]
    spare = place.folder / "spare"
    shutil.copytree(place.folder / ".assay", spare)
    counts = collections.Counter()
    for _ in range(times):
        path = draw.choice(files)
        content = bytearray(path.read_bytes())
        at = draw.randrange(len(content))
        content[at] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        what = f"{path.relative_to(place.folder)} byte {at}"
        code, out, err = place.results()
        counts["results right" if code == 0 and out == results else "results refused" if code != 0 else "results wrong"] += 1
        if code == 0 and out != results:
            faults.append(f"{what}: wrong results with exit code 0")
        if code in (70, 101) or code < 0:
            faults.append(f"{what}: results ended with {code}: {err[-200:]}")
        code, _, err = place.run("run", "kills.yaml", "--quiet")
        if code == 0:
            code, out, err = place.results()
            counts["right after run" if (code, out) == (0, results) else "wrong after run"] += 1
            if (code, out) != (0, results):
                faults.append(f"{what}: results after run are wrong, exit code {code}")
        else:
            counts[f"run refused with {code}"] += 1
            if code in (70, 101) or code < 0:
                faults.append(f"{what}: run ended with {code}: {err[-200:]}")
        shutil.rmtree(place.folder / ".assay")
        shutil.copytree(spare, place.folder / ".assay")
    print(f"flips: {times}, {dict(counts)}", flush=True)


def main():
    numbers = [int(text) for text in sys.argv[1:]]
    kills, flips, seed = (numbers + [600, 360, 1][len(numbers):])[:3]
    server = Server(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    faults = Faults()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(folder, url)
        began = time.monotonic()
        code, _, err = place.run("run", "kills.yaml", "--quiet")
        duration = time.monotonic() - began
        if code != 0:
            sys.exit(f"the undisturbed run ended with {code}:\n{err}")
        results = place.results()[1]
        expected = (results, without_times(place.steps()), len(place.responses()), duration)
        print(f"undisturbed: {duration:.1f} s, {expected[2]} responses, {len(expected[1])} files of steps", flush=True)
        kill(random.Random(seed), url, kills, expected, faults)
        flip(random.Random(seed), place, flips, results, faults)
    print(f"{len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
