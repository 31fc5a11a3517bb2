#!/usr/bin/env python3
"""Changes files that assay reads, at random with a fixed seed, and tables how it ends.

    cargo build --release && python3 tools/attack.py [tries] [seed]

Kinds: experiments, prompts, manifests, ratings, TREC runs, qrels, Parquet, cassettes, journals, memories of searches
(checkpoints), and the artifacts of finished workspaces. Each try changes one file in one or two places, runs the
command that reads it, and is one of

    right        ended well; of what carries checksums (the last four kinds): with the results of the file as it was
    clear error  exit code 1 to 5 and a message that is not longer than 8,000 bytes
    wrong        ended well with other results than checksums allow, without any, or with a value that its metric cannot have;
                 or an error without a message
    panic        any other exit code, a signal, or words of a panic
    hang         longer than 60 seconds
    over 1 GB    resident memory

Files without checksums (the first seven kinds) may become another valid file: that its results are those of that file is
tested elsewhere. The exit code is 1 where one of the last four columns is not 0; those tries are kept below attack-failures/.
"""

import concurrent.futures
import csv
import gzip
import http.server
import io
import json
import math
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

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = pathlib.Path(os.environ.get("ASSAY_PROGRAM", ROOT / "target/release/assay"))
KEPT = pathlib.Path("attack-failures")
HANG = 60
MOST_MEMORY = 1 << 30
OUTCOMES = ["right", "clear error", "wrong", "panic", "hang", "over 1 GB"]

SMALL = """experiment: small
describe: Two systems on the sample.
data: {set: sample, relevant: ">= 4"}
split: {scheme: official, only: [f1]}
seeds: [1, 2]
systems:
  popularity: {model: popularity}
  chance: {model: random}
  knn: {model: item-knn, neighbours: {sweep: [5, 10]}}
evaluate: {k: [5, 10], metrics: [ndcg, recall], protocols: [full, judged], slices: [all, cold<10]}
"""
OWN = """experiment: own
data:
  folder: data
  reader: table
  ratings: FILE
  columns: {user: user, item: item, rating: rating}
  relevant: ">= 4"
split: {scheme: kfold, folds: 2, seed: 1, by: rating}
systems:
  popularity: {model: popularity}
evaluate: {k: [2]}
"""
WRITTEN = """experiment: written
data:
  folder: data
  reader: table
  ratings: ratings.csv
  columns: {user: user, item: item, rating: rating}
  items: {file: items.csv, item: item, title: title, genres: genres}
  relevant: ">= 4"
split: {scheme: kfold, folds: 2, seed: 1, by: rating}
judges:
  writer: {base_url: "URL", model: test-1, retries: 0}
profiles:
  written: {items: {from: llm, judge: writer, prompt: prompt.md}, users: {from: template}}
systems:
  popularity: {model: popularity}
  asked: {model: rerank, of: popularity, judge: writer, strategy: prompt, pool: 3, text: {profiles: written}}
evaluate: {k: [2]}
"""
SEARCH = """experiment: search
data: {set: sample, relevant: ">= 4"}
split: {scheme: official, only: [f1], validation: {fraction: 0.2}}
systems:
  als:
    model: als
    training: {epochs: 12}
    search: {over: {factors: [8, 96, 16, 80, 24, 64, 32, 48]}, metric: ndcg, k: 10}
evaluate: {k: [10]}
"""
MANIFEST = """name: mine
title: Mine
licence: none
folders: [mine]
archive: {url: "http://127.0.0.1:9/a.zip", bytes: 100, inside: in}
reader: {name: table, ratings: ratings.csv, columns: {user: user, item: item, rating: rating}}
relevant: ">= 4"
"""
OF_MANIFEST = """experiment: mine
data: {set: mine}
split: {scheme: holdout, test: 0.5}
systems: {popularity: {model: popularity}}
evaluate: {k: [2]}
"""
PROMPT = "Writes of items.\n[system]\nBe brief.\n[user]\nTitle: {{ title }}\n{% if genres %}Genres: {{ genres }}{% endif %}\n"
ITEMS = "item,title,genres\n" + "".join(f"{item},Title {item},Drama\n" for item in range(1, 9))
RATINGS = "user,item,rating\n" + "".join(
    f"{user},{item},{1 + (user * item) % 5}\n" for user in range(1, 13) for item in range(1, 9) if (user + item) % 3
)
TOKENS = [
    b"NaN", b"-1", b"1e999", b"99999999999999999999", b"\x00", b"\x1b[2J", b"\xff\xfe", b"\xe2\x80\xae", b"../../x", b"",
    b"''", b'"', b"{{ x }}", b"{% for i in x %}", b"*a", b"&a", b"[" * 400, b"{" * 400, b"x" * 200_000, b"\r", b"\t", b",",
    b":", b"\n\n", b"- ", b"null", b"{sweep: [1, 2]}", b"1000000000", b"0", b"-0.0", b"inf", b"\xef\xbb\xbf",
]


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Answers as OpenAI would, in the same words to the same request."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        content = "A text of %d bytes." % len(body)
        reply = json.dumps({
            "choices": [{"message": {"content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5},
        }).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


def run(place, *args, data=None):
    """Exit code (None: hang), output, errors, peak memory."""
    env = {**os.environ, "ASSAY_DATA": str(data or ROOT / "datasets"), "ASSAY_RETRY_SECONDS": "0.01"}
    with open(place / ".out", "wb") as out, open(place / ".err", "wb") as err:
        process = subprocess.Popen([ASSAY, *args], cwd=place, env=env, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        timer = threading.Timer(HANG, process.send_signal, [signal.SIGKILL])
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        is_hang = not timer.is_alive()
        timer.cancel()
        process.returncode = 0
    code = None if is_hang else os.waitstatus_to_exitcode(status)
    read = lambda name: (place / name).read_bytes().decode("utf-8", "replace")
    return code, read(".out"), read(".err"), usage.ru_maxrss << 10


def mutate(random, content):
    content = bytearray(content)
    for _ in range(random.randint(1, 2)):
        at = random.randrange(len(content) + 1)
        end = min(len(content), at + random.choice([1, 1, 4, 16, 100]))
        # Small changes are the ones that pass for something else.
        match random.choice([0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7]):
            case 0 if content:
                at = random.randrange(len(content))
                content[at] ^= 1 << random.randrange(8)
            case 1 if content:
                content[random.randrange(len(content))] = random.randrange(256)
            case 2:
                del content[at:end]
            case 3:
                content[at:at] = content[at:end] * random.choice([1, 3, 50])
            case 4:
                content[at : at + random.choice([1, 4])] = random.choice(TOKENS)
            case 5:
                content[at:at] = random.choice(TOKENS)
            case 6:
                del content[at:]
            case 7:
                lines = content.split(b"\n")
                one, other = random.randrange(len(lines)), random.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                content = bytearray(b"\n".join(lines))
    return bytes(content)


def is_possible(row):
    """Whether a row of results has a value that its metric can have."""
    if not row["value"]:
        return True
    value = float(row["value"])
    # Self-information, in bits: as large as the logarithm of the number of users.
    return math.isfinite(value) and 0 <= value <= (64 if row["metric"] == "novelty" else 1)


class Attack:
    """Files as they are, and what reads them."""

    def __init__(self, base, url):
        self.base, self.url = base, url
        self.make()

    def write(self, name, text):
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def fine(self, *args, data=None):
        code, out, err, _ = run(self.base, *args, data=data)
        assert code == 0, (args, out, err)
        return out

    def make(self):
        raise NotImplementedError

    def targets(self, place):
        raise NotImplementedError

    def change(self, random, path):
        path.write_bytes(mutate(random, path.read_bytes()))

    def commands(self, place):
        raise NotImplementedError

    def judge(self, out):
        """Why results are wrong."""
        rows = list(csv.DictReader(io.StringIO(out)))
        if not rows:
            return "no results"
        return next((f"{row['metric']} {row['value']}" for row in rows if not is_possible(row)), None)


class Experiments(Attack):
    def make(self):
        self.write("e.yaml", SMALL)
        self.fine("run", "e.yaml", "--quiet")
        shutil.rmtree(self.base / ".assay")

    def targets(self, place):
        return [place / "e.yaml"]

    def commands(self, place):
        return [["plan", "e.yaml"], ["run", "e.yaml", "--quiet"], ["results", "e.yaml", "--csv"]]


class Written(Attack):
    """What a language model is asked for."""

    def make(self):
        self.write("data/items.csv", ITEMS)
        self.write("data/ratings.csv", RATINGS)
        self.write("prompt.md", PROMPT)
        self.write("e.yaml", WRITTEN.replace("URL", self.url))
        self.fine("run", "e.yaml", "--quiet")
        self.results = self.fine("results", "e.yaml", "--csv")
        self.fine("cache", "export", "c.gz")

    def judge(self, out):
        return None if out == self.results else "other results"


class Prompts(Written):
    def make(self):
        super().make()
        shutil.rmtree(self.base / ".assay")

    def targets(self, place):
        return [place / "prompt.md"]

    def commands(self, place):
        return [["plan", "e.yaml"], ["run", "e.yaml", "--quiet"], ["results", "e.yaml", "--csv"]]

    def judge(self, out):
        return Attack.judge(self, out)


class Cassettes(Written):
    def make(self):
        super().make()
        shutil.rmtree(self.base / ".assay")
        shutil.rmtree(self.base / "reports")

    def targets(self, place):
        return [place / "c.gz"]

    def change(self, random, path):
        if random.randrange(2):
            return super().change(random, path)
        text = mutate(random, gzip.decompress(path.read_bytes()))
        path.write_bytes(gzip.compress(text, mtime=0))

    def commands(self, place):
        replay = ["run", "e.yaml", "--quiet", "--answers", "replay"]
        return [["cache", "import", "c.gz"], replay, ["results", "e.yaml", "--csv"]]


class Journals(Written):
    def make(self):
        super().make()
        shutil.rmtree(self.base / ".assay/steps")

    def targets(self, place):
        return sorted(path for path in (place / ".assay/answers").rglob("*") if path.is_file() and path.stat().st_size)

    def commands(self, place):
        return [["run", "e.yaml", "--quiet", "--answers", "replay"], ["results", "e.yaml", "--csv"]]


class Manifests(Attack):
    def make(self):
        self.write("sets/mine.yaml", MANIFEST)
        self.write("sets/mine/ratings.csv", RATINGS)
        self.write("e.yaml", OF_MANIFEST)
        self.fine("run", "e.yaml", "--quiet", data=self.base / "sets")
        shutil.rmtree(self.base / ".assay")

    def targets(self, place):
        return [place / "sets/mine.yaml"]

    def commands(self, place):
        return [["data", "list"], ["run", "e.yaml", "--quiet"], ["results", "e.yaml", "--csv"]]


class Ratings(Attack):
    file = "ratings.csv"

    def make(self):
        self.write("data/ratings.csv", RATINGS)
        self.write("e.yaml", OWN.replace("FILE", self.file))

    def targets(self, place):
        return [place / "data" / self.file]

    def commands(self, place):
        return [["run", "e.yaml", "--quiet"], ["results", "e.yaml", "--csv"]]


class Scored(Attack):
    """Rankings of other tools."""

    def make(self):
        self.write("e.yaml", SMALL.replace("seeds: [1, 2]\n", ""))
        self.fine("run", "e.yaml", "--quiet")
        self.fine("export", "e.yaml", "--format", "trec", "--out", "x")
        lists = next((self.base / ".assay/steps/predict").rglob("lists.parquet"))
        shutil.copy(lists, self.base / "lists.parquet")
        shutil.copy(self.base / "x/popularity--f1--seed1.run", self.base / "popularity.run")
        shutil.copy(self.base / "x/f1.qrels", self.base / "f1.qrels")
        shutil.rmtree(self.base / ".assay")
        for args in self.commands(self.base):
            self.fine(*args)


class Trec(Scored):
    def targets(self, place):
        return [place / "popularity.run"]

    def commands(self, place):
        return [["score", "--data", "sample", "--fold", "f1", "--csv", "popularity.run"]]


class Qrels(Scored):
    def targets(self, place):
        return [place / "f1.qrels"]

    def commands(self, place):
        return [["score", "--qrels", "f1.qrels", "--csv", "popularity.run"]]


class Parquet(Scored):
    def targets(self, place):
        return [place / "lists.parquet"]

    def commands(self, place):
        return [["score", "--data", "sample", "--fold", "f1", "--csv", "lists.parquet"]]

    def change(self, random, path):
        # Half of the changes are in the footer, which says how the rest is read.
        content = path.read_bytes()
        if random.randrange(2):
            return super().change(random, path)
        footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        path.write_bytes(content[:footer] + mutate(random, content[footer:]))


class Checkpoints(Attack):
    """The memory of a search that was killed."""

    def make(self):
        self.write("e.yaml", SEARCH)
        self.fine("run", "e.yaml", "--quiet")
        self.results = self.fine("results", "e.yaml", "--csv")
        for _ in range(20):
            shutil.rmtree(self.base / ".assay")
            env = {**os.environ, "ASSAY_DATA": str(ROOT / "datasets")}
            process = subprocess.Popen([ASSAY, "run", "e.yaml", "--quiet"], cwd=self.base, env=env, stdout=subprocess.DEVNULL)
            while process.poll() is None and not self.targets(self.base):
                time.sleep(0.002)
            process.kill()
            process.wait()
            if self.targets(self.base):
                return
        raise SystemExit("no search was killed in the middle")

    def targets(self, place):
        scratch = place / ".assay/scratch"
        return sorted(path for path in scratch.rglob("*") if path.is_file() and path.stat().st_size) if scratch.is_dir() else []

    def commands(self, place):
        return [["run", "e.yaml", "--quiet"], ["results", "e.yaml", "--csv"]]

    def judge(self, out):
        return None if out == self.results else "other results"


class Artifacts(Attack):
    def make(self):
        self.write("e.yaml", SMALL)
        self.fine("run", "e.yaml", "--quiet")
        self.results = self.fine("results", "e.yaml", "--csv")

    def targets(self, place):
        return sorted(path for path in (place / ".assay/steps").rglob("*") if path.is_file())

    def commands(self, place):
        return [["run", "e.yaml", "--quiet"], ["results", "e.yaml", "--csv"]]

    def judge(self, out):
        return None if out == self.results else "other results"


KINDS = {
    "experiment": Experiments, "prompt": Prompts, "manifest": Manifests, "ratings": Ratings, "TREC run": Trec,
    "qrels": Qrels, "Parquet": Parquet, "cassette": Cassettes, "journal": Journals, "checkpoint": Checkpoints,
    "artifact": Artifacts,
}


def outcome(attack, place):
    data = place / "sets" if (place / "sets").is_dir() else None
    last = ""
    for args in attack.commands(place):
        code, out, err, memory = run(place, *args, data=data)
        what = f"{' '.join(args)}: exit {code}, {memory >> 20} MB\n{err[:4000]}"
        if code is None:
            return "hang", what
        if memory > MOST_MEMORY:
            return "over 1 GB", what
        if code not in range(6) or re.search(r"panicked|RUST_BACKTRACE|internal error", err):
            return "panic", what
        if code:
            is_clear = err.strip() or out.strip()
            return ("clear error" if is_clear and len(err) <= 8000 else "wrong"), what
        last = out
    problem = attack.judge(last)
    return ("wrong" if problem else "right"), f"{problem}\n{last[:4000]}"


def one(attack, kind, seed, at):
    source = random.Random(f"{seed} {kind} {at}")
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place) / "place"
        shutil.copytree(attack.base, place)
        path = source.choice(attack.targets(place))
        attack.change(source, path)
        changed = path.read_bytes()
        found, what = outcome(attack, place)
        if found in OUTCOMES[2:]:
            kept = KEPT / f"{kind.replace(' ', '-')}-{at}"
            kept.mkdir(parents=True, exist_ok=True)
            (kept / path.name).write_bytes(changed)
            (kept / "what.txt").write_text(f"{found}: {path.relative_to(place)}\n{what}\n")
        return found


def main():
    tries = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = sys.argv[2] if len(sys.argv) > 2 else "1"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    print(f"{'kind':<12}{'tries':>7}" + "".join(f"{name:>13}" for name in OUTCOMES), flush=True)
    total = dict.fromkeys(OUTCOMES, 0)
    with tempfile.TemporaryDirectory() as base, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (kind, of) in enumerate(KINDS.items()):
            count = tries // len(KINDS) + (number < tries % len(KINDS))
            place = pathlib.Path(base) / kind.replace(" ", "-")
            place.mkdir()
            attack = of(place, url)
            found = dict.fromkeys(OUTCOMES, 0)
            for name in pool.map(lambda at: one(attack, kind, seed, at), range(count)):
                found[name] += 1
            print(f"{kind:<12}{count:>7}" + "".join(f"{found[name]:>13}" for name in OUTCOMES), flush=True)
            for name in OUTCOMES:
                total[name] += found[name]
    print(f"{'all':<12}{tries:>7}" + "".join(f"{total[name]:>13}" for name in OUTCOMES))
    return 1 if any(total[name] for name in OUTCOMES[2:]) else 0


if __name__ == "__main__":
    sys.exit(main())
