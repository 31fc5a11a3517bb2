#!/usr/bin/env python3
"""How much the grounding check of explanations sees, on prose that a language model wrote.

  ASSAY_DATA=... python3 tools/check_grounding.py

Stands in for a chat model on loopback: it "explains" MovieLens-100K films to 200 users of the fold u1 with the first two
sentences of a film's published description (Ebrat et al. 2025); half of the time the film's own, half of the time those
of another film, drawn by a hash. Prints the share of each that the check flags. Profiles are made by rule, so what is
known of a film is its title, genres and overview. Needs the encoder's weights (`make encoder`), for the control that
stands beside every chat model; takes about two minutes.
"""

import csv
import hashlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = ROOT / "target/release/assay"
DATA = pathlib.Path(os.environ.get("ASSAY_DATA", ROOT / "datasets")).resolve()
OWN, OTHER = "own", "other"


def descriptions():
    texts = {}
    with open(DATA / "ebrat2025/movies_structured_100K.csv", newline="") as file:
        for row in csv.DictReader(file):
            found = re.search(r"## Description\n(.*?)(\n\n##|\Z)", row["movie_info"], re.S)
            prose = " ".join(found.group(1).split()) if found else ""
            sentences = re.split(r"(?<=[.!?])\s", prose)
            if len(prose) > 40:
                texts[row["title"]] = " ".join(sentences[:2])
    return texts


TEXTS = descriptions()
TITLES = list(TEXTS)
PLANTED = {}


def explain(ident, title):
    draw = int(hashlib.md5((ident + title).encode()).hexdigest(), 16)
    own = draw % 2 == 0
    other = TITLES[draw // 2 % len(TITLES)]
    text = TEXTS.get(title, "") if own else TEXTS[other]
    if own or other != title:
        PLANTED[(title, text)] = OWN if own else OTHER
    return {"id": ident, "text": text}


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question = asked["messages"][-1]["content"]
        candidates = dict(re.findall(r"^\[(\w{4})\] (.*)$", question, re.M))
        wanted = re.search(r"Explain these \d+: (.*)\.$", question)
        if wanted:
            ids = wanted.group(1).split(", ")
            content = {"explanations": [explain(ident, candidates[ident]) for ident in ids]}
        else:
            content = {"order": list(candidates)}
        message = {"role": "assistant", "content": json.dumps(content)}
        body = json.dumps({
            "id": "x", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        }).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as place:
        pathlib.Path(place, "datasets").symlink_to(ROOT / "datasets")
        pathlib.Path(place, "e.yaml").write_text(f"""experiment: grounding
data: {{set: ml-100k, relevant: ">= 4", disliked: "<= 2"}}
metadata: {{file: ebrat2025/movies_structured_100K.csv, id: movie_id, overview: overview}}
split: {{scheme: official, only: [u1]}}
endpoints:
  m: {{base_url: "http://127.0.0.1:{server.server_port}/v1", model: m}}
profiles:
  template: {{from: template}}
systems:
  als: {{use: {ROOT}/baselines/als.yaml}}
  re: {{model: rerank, of: als, text: {{profiles: template}}, strategy: prompt, judge: m, users: sample=200,
       explain: {{top: 5}}}}
evaluate: {{k: [10], metrics: [ndcg]}}
""")
        env = {**os.environ, "ASSAY_DATA": str(DATA)}

        def assay(*args):
            return subprocess.run([ASSAY, *args], cwd=place, env=env, check=True, capture_output=True, text=True).stdout

        assay("run", "e.yaml", "--quiet")
        rows = [row["explanation"] for row in json.loads(assay("explanations", "e.yaml", "--json"))]
    print(f"{len(rows)} explanations")
    for kind, of in [(OWN, "the film itself"), (OTHER, "another film")]:
        found = [row for row in rows if PLANTED.get((row["title"], row["text"])) == kind]
        flagged = [row for row in found if row["unfounded"]]
        print(f"about {of}: {len(flagged)} of {len(found)} flagged ({100 * len(flagged) / len(found):.1f} %)")
        for row in flagged[:5]:
            print(f"  {row['title']}: {', '.join(row['unfounded'])}")
    missed = [row for row in rows if PLANTED.get((row["title"], row["text"])) == OTHER and not row["unfounded"]]
    for row in missed[:5]:
        print(f"missed, {row['title']}: {row['text']}")


main()
