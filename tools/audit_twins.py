#!/usr/bin/env python3
"""Clean twins of every check of `assay audit`: made-up experiments that differ in what the check looks at and have no fault.

    cargo build --release
    python3 tools/audit_twins.py [SET …] [--write]

Prints a table: check, what finds its planted fault, clean twins, false alarms. Ends with 1 if a twin raises anything, if a
check has fewer than 20 twins, or if the table of docs/AUDIT.md is another one; `--write` writes it there. Only checks that
were made count: a twin to which a check does not apply is none. Sets: `tools/audit_twins.py --list`. Needs git, and for the
sets of language models the weights of the encoder (`make encoder`). ASSAY names another program than target/release/assay.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from audit_twins_data import FEWEST, chat_server, git_histories, ratings, review_rows, table, user_texts

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = os.environ.get("ASSAY", str(ROOT / "target/release/assay"))
DOCS = ROOT / "docs/AUDIT.md"
HEAD, END = "| check | planted fault, found by |", "\n## Checks\n"
RULE = "'>= 4'"
READER = "reader: table, folder: ., ratings: r.csv, columns: {user: user, item: item, rating: rating"


class Place:
    """A directory with a workspace."""

    def __init__(self):
        self.held = tempfile.TemporaryDirectory()
        self.dir = pathlib.Path(self.held.name)

    def assay(self, *arguments, codes=(0,)):
        environment = {**os.environ, "ASSAY_DATA": str(ROOT / "datasets")}
        environment.pop("ASSAY_WORKSPACE", None)
        done = subprocess.run([ASSAY, *arguments], cwd=self.dir, env=environment, capture_output=True, text=True)
        if done.returncode not in codes:
            sys.exit(f"assay {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}\n{self.text()}")
        return done.stdout

    def text(self):
        path = self.dir / "e.yaml"
        return path.read_text() if path.exists() else ""

    def write(self, text, name="e.yaml"):
        (self.dir / name).write_text(text)

    def audited(self, *arguments):
        return json.loads(self.assay("audit", *(arguments or ["e.yaml"]), "--json", codes=(0, 1, 3)))

    def ran(self, text):
        self.write(text)
        self.assay("run", "e.yaml", "--quiet", "--anyway")
        return self.audited()


class Tally:
    """By check, the number of clean twins, and what was raised."""

    def __init__(self):
        self.twins, self.alarms = collections.Counter(), {}

    def add(self, report, checks, twins=1, label=""):
        """`twins` experiments or systems in one report, of which none has a fault that these checks look for."""
        for check in report["checks"]:
            if check["id"] not in checks:
                continue
            if check["outcome"] == "passed":
                self.twins[check["id"]] += twins
            for finding in check["findings"]:
                self.twins[check["id"]] += 1
                self.alarms.setdefault(check["id"], []).append(f"{label}: {finding['subject']}: {finding['message']}")


INTEGRITY = ["missing-results", "damaged-artifacts", "recomputed-metrics", "out-of-range", "not-monotone", "identical-rankings"]
LISTS = ["lists-of-another-fold", "known-items", "short-lists", "ties-decide", "id-popularity"]
SHAPE = [*INTEGRITY, *LISTS, "train-test-overlap", "duplicate-interactions", "order-by-setting", "sampled-metrics", "users-without-history"]
METRICS = ["ndcg", "recall", "precision", "map", "mrr", "hit-rate", "novelty", "gini", "item-coverage"]
CUTOFFS = [[1, 5], [3, 10], [5, 10, 20], [10, 15], [2, 4, 8, 16]]
PROTOCOLS = [["full"], ["full", "judged"], ["full", "judged-after-cut"], ["judged", "full", "judged-after-cut"]]
CONVENTIONS = [["standard"], ["standard", "trec"], ["trec", "standard"]]


def listed(values):
    return f"[{', '.join(str(value) for value in values)}]"


def evaluate(at, slices="all"):
    metrics = ["ndcg", *(METRICS[(at + by) % len(METRICS)] for by in range(1, 2 + at % 4))]
    metrics = list(dict.fromkeys([*metrics, "recall"]))
    return (
        f"evaluate: {{k: {listed(CUTOFFS[at % 5])}, metrics: {listed(metrics)}, protocols: {listed(PROTOCOLS[at % 4])}, "
        f"conventions: {listed(CONVENTIONS[at % 3])}, slices: [{slices}]}}\n"
    )


def experiment(data, split, systems, rest, relevant=RULE):
    return f"experiment: e\ndata: {{{data}, relevant: {relevant}}}\nsplit: {{{split}}}\nsystems:\n{systems}{rest}"


def by_chance(tally):
    """Splits at random: other data, shares, numbers of folds, cutoffs, metrics, protocols, conventions and systems."""
    neighbours = ["ease: {model: ease, regularization: 30}", "als: {model: als, factors: 8, training: {epochs: 6}}", "svd: {model: pure-svd, factors: 6}"]

    def twin(at):
        place = Place()
        place.write(ratings(at, users=120 + 8 * at, items=90 + 5 * at, groups=2 + at % 5, spelled=at % 3), "r.csv")
        split = f"scheme: kfold, folds: {2 + at % 5}, by: rating, seed: {at}" if at % 2 else f"scheme: holdout, test: 0.{1 + at % 4}, by: rating, seed: {at}"
        systems = f"  random: {{model: random}}\n  {neighbours[at % 3]}\n"
        return at, place.ran(experiment(READER + "}", split, systems, evaluate(at), [RULE, "'>= 3'"][at % 2]))

    for at, report in each(twin, range(24)):
        tally.add(report, SHAPE, label=f"by chance {at}")


def by_time(tally):
    """Splits by time: shares, points in time and last interactions of other data, in whose times users overlap."""

    def twin(at):
        place, users = Place(), 150 + 10 * at
        place.write(ratings(40 + at, users=users, items=100 + 4 * at, groups=2 + at % 4, spelled=at % 3, times=1 + at % 4), "r.csv")
        split = ["scheme: leave-one-out", f"scheme: temporal, test: 0.{5 + at:02}", f"scheme: temporal, from: {1_060_000 + 4_000 * at + [0, 900 * users, 160_000, 200_000][at % 4]}"][at % 3]
        systems = "  random: {model: random}\n  ease: {model: ease, regularization: 30}\n"
        return at, place.ran(experiment(READER + ", timestamp: time}", split, systems, evaluate(at), "any"))

    for at, report in each(twin, range(22)):
        tally.add(report, [*SHAPE, "future-training", "id-order-answers"], label=f"by time {at}")


STATISTICS = [
    "single-fold", "single-seed", "few-users", "different-users", "best-within-noise", "uncorrected-comparisons", "claims-underpowered",
    "too-few-folds", "far-from-published", "test-in-two-folds",
]


def clear(tally):
    """A proposed system far ahead: other numbers of folds, seeds, users, slices, metrics, rivals and published digits."""

    def twin(at):
        place = Place()
        place.write(ratings(80 + at, users=160 + 9 * at, items=120, groups=4 + at % 4, taste=0.97), "r.csv")
        rivals = ["random: {model: random}", "popularity: {model: popularity}"][: 1 + at % 2]
        systems = "".join(f"  {rival}\n" for rival in rivals) + f"  als: {{model: als, factors: {6 + at % 5}, training: {{epochs: 5}}}}\n"
        slices = ["all", "all, history", "history, all", "all, 'cold<60'"][at % 4]
        seeds = listed(range(1, 3 + at % 2))
        conventions = [["standard"], ["standard", "trec"], ["trec"]][at % 3]
        rest = f"evaluate: {{k: {listed(CUTOFFS[at % 5])}, metrics: {listed(METRICS[: 2 + at % 5])}, slices: [{slices}], conventions: {listed(conventions)}}}\n"
        rest += f"seeds: {seeds}\naudit: {{proposed: [als]}}\n"
        text = experiment(READER + "}", f"scheme: kfold, folds: {6 + at % 7}, by: rating, seed: {at}", systems, rest)
        place.ran(text)
        # What the results are, as a paper would print it.
        digits, k = 2 + at % 3, CUTOFFS[at % 5][-1]
        named = {"protocol": "full", "convention": conventions[0], "slice": "all", "k": k, "fold": "mean", "seed": "mean"}
        rows = json.loads(place.assay("results", "e.yaml", "--json"))
        rows = [row for row in rows if all(str(row[name]) == str(value) for name, value in named.items())]
        printed = collections.defaultdict(dict)
        for row in rows:
            if row["metric"] in METRICS[: 2 + at % 5] and row["metric"] not in ["novelty", "gini", "item-coverage"]:
                printed[row["system"]][row["metric"]] = round(row["value"], digits)
        cells = ", ".join(f"{system}: {{{', '.join(f'{metric}: {value}' for metric, value in of.items())}}}" for system, of in printed.items())
        about = f"dataset: data, fold: mean, protocol: full, convention: {conventions[0]}, slice: all, k: {k}, digits: {digits}"
        place.write(text + f"published: {{source: Table {at}, {about}, rows: {{{cells}}}}}\n")
        return at, place.audited()

    for at, report in each(twin, range(20)):
        tally.add(report, STATISTICS, label=f"clear {at}")


TUNED = {
    "item-knn": ("neighbours", [5, 10, 20, 40, 60, 80]),
    "user-knn": ("neighbours", [5, 10, 20, 40, 60, 80]),
    "p3alpha": ("alpha", [0.4, 0.6, 0.8, 1.0, 1.2, 1.4]),
    "rp3beta": ("beta", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    "pure-svd": ("factors", [2, 4, 6, 8, 12, 16]),
    "slim": ("l1", [0.001, 0.002, 0.005, 0.01, 0.02, 0.05]),
}


def fair(tally):
    """All systems tuned with one budget and on one training part: other models, budgets, settings and rules of what is liked."""

    def twin(at):
        place = Place()
        place.write(ratings(120 + at, users=110 + 5 * at, items=80, groups=3 + at % 3), "r.csv")
        budget = 2 + at % 5
        model = list(TUNED)[at % 6]
        over = {"als": ("regularization", [1, 2, 5, 10, 20, 50]), "ease": ("regularization", [5, 10, 20, 50, 100, 200]), model: TUNED[model]}
        # From one half of the budget on, a search counts as the same.
        trials = {name: budget if name != "ease" or at % 2 else max(2, budget // 2 + 1) for name in over}
        rule = ["any", "'>= 2'", "'>= 3'", RULE, "'>= 5'"][at % 5]
        systems = "  popularity: {model: popularity}\n" + "".join(
            f"  {name}: {{model: {name}{', factors: 4, training: {epochs: 2}' if name == 'als' else ''}, "
            f"search: {{trials: {trials[name]}, over: {{{key}: {listed(values[: trials[name]])}}}}}}}\n"
            for name, (key, values) in over.items()
        )
        rest = f"evaluate: {{k: [10], metrics: [ndcg]}}\naudit: {{proposed: [{[model, 'ease', 'als'][at % 3]}]}}\n"
        return at, place.ran(experiment(READER + "}", f"scheme: holdout, test: 0.2, by: rating, seed: {at}", systems, rest, rule))

    for at, report in each(twin, range(20)):
        tally.add(report, ["untuned-baselines", "missing-baselines", "unequal-training-data"], label=f"fair {at}")


def fixed(tally):
    """Fixed settings beside a search of the same model that finds nothing better: each of other models and settings."""

    def twin(at):
        place = Place()
        place.write(ratings(160 + at, users=110 + 5 * at, items=80, groups=3 + at % 3), "r.csv")
        model = [*TUNED, "ease"][at % 7]
        key, values = {**TUNED, "ease": ("regularization", [5, 10, 20, 50, 100, 200])}[model]
        value = values[2 + at % 4]
        tried = [value] if at % 2 else [value, value * 1.01 if isinstance(value, float) else value + 1]
        systems = f"  fixed: {{model: {model}, {key}: {value}}}\n  tuned: {{model: {model}, search: {{over: {{{key}: {listed(tried)}}}}}}}\n"
        return at, place.ran(experiment(READER + "}", f"scheme: holdout, test: 0.2, by: rating, seed: {at}", systems, "evaluate: {k: [10], metrics: [ndcg]}\n"))

    for at, report in each(twin, range(21)):
        tally.add(report, ["fixed-setting-beaten"], label=f"fixed {at}")


def networks(tally):
    """Networks in one table: other stopping rules, schedules, rules of what is kept, learning rates and dimensions."""
    place = Place()
    place.write(ratings(200, users=150, items=90, groups=3), "r.csv")
    rules = [
        "validate: {every: EVERY}, stop: {on: validation, patience: 2}",
        "validate: {every: EVERY}, stop: {on: validation, patience: 3}, keep: best",
        "validate: {every: EVERY}, keep: best",
        "validate: {every: EVERY}, schedule: {plateau: {on: validation, factor: 0.5, patience: 1, lowest: 0.001}}, stop: {on: validation, patience: 3}",
    ]
    systems = ""
    for at in range(20):
        rule = rules[at % 4].replace("EVERY", str(1 + at % 3))
        rate = [0.05, 0.1, 0.2, 0.3, 0.08][at % 5]
        systems += f"  n{at}: {{model: bprmf, dim: {16 * (1 + at % 3)}, training: {{epochs: {150 + 10 * at}, learning_rate: {rate}, {rule}}}}}\n"
    split = "scheme: holdout, test: 0.2, by: rating, seed: 1, validation: {fraction: 0.2}"
    report = place.ran(experiment(READER + "}", split, systems, "evaluate: {k: [10], metrics: [ndcg]}\n"))
    tally.add(report, ["ran-out-of-epochs", "stops-on-training-loss"], 20, "networks")


def contrasts(tally):
    """Arms that differ in one factor, of other models; and tables in which each row has one that differs in one setting."""
    place = Place()
    place.write(ratings(210, users=120, items=80, groups=3), "r.csv")
    bases = {
        "als": {"factors": 4, "regularization": 2, "alpha": 1, "confidence": "alpha-r"},
        "item-knn": {"neighbours": 20, "shrinkage": 0}, "user-knn": {"neighbours": 20, "shrinkage": 0},
        "rp3beta": {"alpha": 1, "beta": 0.3, "neighbours": 30}, "slim": {"l1": 0.01, "l2": 0.1}, "ease": {"regularization": 50}, "pure-svd": {"factors": 4},
    }
    systems, named, pairs = {}, {}, []
    for model, base in bases.items():
        for at, key in enumerate([*base, "positives", "train_share", "search"]):
            if key == "confidence" or len(pairs) == 24:
                continue
            arm = dict(base)
            match key:
                case "positives":
                    arm[key] = "any"
                case "train_share":
                    arm[key] = {"share": 0.7, "seed": 1}
                case "search":
                    of = next(iter(base))
                    arm[key] = {"trials": 2, "over": {of: [base[of], base[of] * 2]}}
                case _:
                    arm[key] = base[key] * 2 + 1
            # A search, and the training part, are factors of their own.
            systems[f"{model} {key}"] = {"model": model, **arm}
            systems[model] = {"model": model, **base}
            pairs.append({"arms": [model, f"{model} {key}"], "factor": ["train_on" if key in ["positives", "train_share"] else key]})
            named[model] = None
    shared = experiment(READER + "}", "scheme: holdout, test: 0.2, by: rating, seed: 1", "", "").replace("systems:\n", "")
    rest = f"systems: {json.dumps(systems)}\nevaluate: {{k: [10], metrics: [ndcg]}}\n"
    tally.add(place.ran(shared + rest + f"audit: {{contrasts: {json.dumps(pairs)}}}\n"), ["impure-contrast"], len(pairs), "contrasts")
    tally.add(place.ran(shared + rest), ["undeclared-ablation"], len(systems), "contrasts")


def rerankers(tally):
    """Rerankers without a chat model: other bases, pools, strategies, judges, batches, overlaps and rounds."""
    place, systems = Place(), "  knn: {model: item-knn}\n  als: {model: als, factors: 6, training: {epochs: 4}}\n"
    for at in range(24):
        strategy, pool = ["prompt", "bst", "batch", "relevancy"][at % 4], 6 + 3 * at
        judge, more = ["popularity", "shuffle", "oracle"][at % 3], ""
        if strategy == "batch":
            batch = 4 + at % 3
            overlap = 1 + at % 2
            # As the code of 2025 has it, whole batches must reach the last item.
            code = at % 8 == 2
            pool = batch + (batch - overlap) * (1 + at // 4) if code else pool
            judge = "popularity" if code else judge
            more = f", batch: {batch}, overlap: {overlap}{', variant: code' if code else ''}"
        if strategy == "relevancy":
            more = f", batch: {4 + at % 3}, rounds: {2 + at // 4 % 4}"
        systems += f"  r{at}: {{model: rerank, of: {['knn', 'als'][at // 2 % 2]}, text: {{profiles: p}}, pool: {pool}, strategy: {strategy}, judge: {judge}{more}}}\n"
    rest = "profiles: {p: {from: template}}\nevaluate: {k: [5, 10], metrics: [ndcg, recall]}\n"
    report = place.ran(experiment("set: sample", "scheme: official, only: [f1]", systems, rest))
    tally.add(report, ["reranked-beyond-pool"], 24, "rerankers")
    tally.add(report, ["items-in-no-batch"], 12, "rerankers")
    tally.add(report, ["scored-once"], 6, "rerankers")
    # More plans of batches: relevance in other batches and rounds, batches in other overlaps.
    systems = "  knn: {model: item-knn}\n"
    for at in range(20):
        strategy = f"relevancy, batch: {3 + at % 5}, rounds: {2 + at // 5}" if at < 16 else f"batch, batch: {3 + at % 5}, overlap: 1"
        systems += f"  r{at}: {{model: rerank, of: knn, text: {{profiles: p}}, pool: {8 + 2 * at}, strategy: {strategy}, judge: popularity}}\n"
    report = place.ran(experiment("set: sample", "scheme: official, only: [f1]", systems, rest))
    tally.add(report, ["items-in-no-batch"], 20, "rerankers")
    tally.add(report, ["scored-once"], 16, "rerankers")


def revisions(tally):
    """Repositories whose files are those of their revision: other histories, branches, ignored files and places."""

    def twin(of):
        name, prepare = of
        place = Place()
        place.dir = prepare(place.dir)
        place.write(ratings(220, users=40, items=30, groups=2), "r.csv") if not (place.dir / "r.csv").exists() else None
        place.assay("run", "e.yaml", "--quiet")
        return name, place.audited()

    files = {"r.csv": ratings(220, users=40, items=30, groups=2)}
    files["e.yaml"] = experiment(READER + "}", "scheme: holdout, test: 0.2, by: rating", "  popularity: {model: popularity}\n", "evaluate: {k: [5]}\n")
    for name, report in each(twin, git_histories(files)):
        tally.add(report, ["dirty-tree"], label=name)


def profiles(tally):
    """Texts of users that say nothing of the test part: templates, training titles, popular or random titles, prose."""

    def twin(of):
        name, users, file = of
        place = Place()
        if file is not None:
            place.write(file, "users.csv")
        text = experiment(
            "set: sample, disliked: '<= 2'", "scheme: official, only: [f1]",
            "  popularity: {model: popularity}\n  content: {model: content, text: {profiles: mine}}\n",
            f"profiles: {{mine: {{items: {{from: template}}, users: {{{users}}}}}}}\nevaluate: {{k: [10]}}\n",
        )
        place.write(text)
        place.assay("run", "e.yaml", "--quiet", "--until", "profiles")
        place.assay("run", "e.yaml", "--quiet", "--only", "popularity")
        return name, place.audited("e.yaml", "--only", "profiles-name-test-items")

    for name, report in each(twin, user_texts(ROOT / "datasets/sample")):
        tally.add(report, ["profiles-name-test-items"], label=name)


def reviews(tally):
    """Reviews that no user has twice: other numbers, lengths, and texts that several users share."""

    def twin(at):
        place = Place()
        place.write(review_rows(at), "r.csv")
        data = "reader: table, folder: ., ratings: r.csv, columns: {user: user, item: item, timestamp: time}, reviews: {file: r.csv, user: user, item: item, text: text}"
        text = experiment(data, "scheme: leave-one-out", "  popularity: {model: popularity}\n  net: {model: review-gnn}\n", "evaluate: {k: [10]}\n")
        place.write(text.replace(f", relevant: {RULE}", ""))
        place.assay("run", "e.yaml", "--quiet", "--until", "reviews")
        place.assay("run", "e.yaml", "--quiet", "--only", "popularity")
        return at, place.audited("e.yaml", "--only", "copied-reviews")

    for at, report in each(twin, range(20)):
        tally.add(report, ["copied-reviews"], label=f"reviews {at}")


def files(tally):
    """Lists from files: other lengths, shares of relevant items, ranks or scores, and protocols of making them."""

    def twin(at):
        place = Place()
        train, test, lists = table(at)
        for name, text in [("train.csv", train), ("test.csv", test), ("run.csv", lists)]:
            place.write(text, name)
        return at, place.audited("--lists", "run.csv", "--train", "train.csv", "--test", "test.csv", "--relevant", "any", "-k", str([5, 10][at % 2]))

    for at, report in each(twin, range(20)):
        tally.add(report, [*LISTS, "relevant-items-in-every-list", "train-test-overlap"], label=f"files {at}")


CHAT = ["ground-truth-in-prompt", "temperature-without-repeats", "floating-model-name", "bad-responses", "position-bias", "cost-not-recorded"]
NAMES = [
    "gpt-4o-mini-2024-07-18", "gpt-4-0613", "claude-3-5-sonnet-20240620", "gpt-4.1-2025-04-14", "o4-mini-2025-04-16", "mistral-large-2407-1106",
    "gemini-1.5-pro-20240924", "gpt-3.5-turbo-0125", "qwen-max-2025-01-25", "command-r-20240830",
]


def chats(tally):
    """Judges that judge by something else than the order shown: other names, temperatures, prices, seeds and strategies."""
    for seeds, temperatures in [([1], [0]), ([1, 2], [0, 0.2, 0.7, 1, 1.3])]:
        place, systems, endpoints = Place(), "  als: {model: als, factors: 8, training: {epochs: 5}}\n", ""
        with chat_server() as url:
            for at in range(10):
                name = NAMES[at] if at % 3 or len(seeds) == 1 else "mine"
                weights = f", weights: sha256:{at:064x}" if name == "mine" else ""
                name = f"mine-{at}" if name == "mine" else name
                endpoints += (
                    f"  c{at}: {{base_url: '{url}', concurrency: 4, model: {name}, temperature: {temperatures[at % len(temperatures)]}, "
                    f"price: {{input: {at / 10}, output: {at}}}{weights}}}\n"
                )
                strategy = ["prompt", "batch", "relevancy", "bst"][at % 4]
                systems += f"  r{at}: {{model: rerank, of: als, text: {{profiles: p}}, judge: c{at}, pool: {8 + at}, strategy: {strategy}, users: sample={20 + at}}}\n"
            rest = f"endpoints:\n{endpoints}seeds: {listed(seeds)}\nprofiles: {{p: {{items: {{from: file, file: sample/items.csv, id: item, text: genres}}, users: {{from: mean}}}}}}\n"
            report = place.ran(experiment("set: sample, disliked: '<= 2'", "scheme: official, only: [f1]", systems, rest + "evaluate: {k: [10], metrics: [ndcg]}\n"))
        tally.add(report, CHAT, 10, f"chats of seeds {seeds}")


def gains(tally):
    """Judges that know what users like, over a random base: other pools, samples of users and strategies."""
    place = Place()
    rows = [line.split(",") for line in (ROOT / "datasets/sample/ratings.csv").read_text().splitlines()[1:]]
    titles = dict(line.split(",")[:2] for line in (ROOT / "datasets/sample/items.csv").read_text().splitlines()[1:])
    liked = collections.defaultdict(set)
    for user, item, rating, _, fold in rows:
        if fold == "f1" and float(rating) >= 4:
            liked[user].add(titles[item])
    users = sorted({row[0] for row in rows}, key=int)
    place.write("user,text\n" + "".join(f'{user},"Visitor {user}x."\n' for user in users), "users.csv")
    systems = "  base: {model: random}\n"
    for at in range(20):
        # Relevance in few large batches: 100 items a user are many questions.
        strategy = "relevancy, batch: 60, rounds: 2" if at % 5 == 4 else f"prompt, fuse: {{judge: {[0.7, 0.8, 0.9, 1][at % 4]}, by: rank}}"
        systems += f"  r{at}: {{model: rerank, of: base, text: {{profiles: p}}, judge: chat, pool: {100 + 3 * at}, strategy: {strategy}, users: sample={40 + at}}}\n"
    with chat_server(liked) as url:
        rest = (
            f"endpoints: {{chat: {{base_url: '{url}', concurrency: 4, model: good-2024-07-18, temperature: 0, price: {{input: 1, output: 1}}}}}}\n"
            "profiles: {p: {items: {from: file, file: sample/items.csv, id: item, text: genres}, users: {from: file, file: users.csv, id: user, text: text, built_from: f1}}}\n"
        )
        report = place.ran(experiment("set: sample, disliked: '<= 2'", "scheme: official, only: [f1]", systems, rest + "evaluate: {k: [10], metrics: [ndcg]}\n"))
    tally.add(report, ["gain-over-controls"], 20, "gains")


SETS = [by_chance, by_time, clear, fair, fixed, networks, contrasts, rerankers, revisions, profiles, reviews, files, chats, gains]


def each(twin, of):
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("THREADS", "2"))) as pool:
        return list(pool.map(twin, of))


def documented(text):
    """By check, its row of the table of docs/AUDIT.md, and the table's lines."""
    start = text.index(HEAD)
    lines = text[start : text.index(END)].strip().splitlines()
    return {line.split("`")[1]: line for line in lines[2:]}, lines


def main():
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    if "--list" in sys.argv:
        return print("\n".join(f"{of.__name__:12} {of.__doc__}" for of in SETS))
    tally = Tally()
    for of in SETS:
        if not arguments or of.__name__ in arguments:
            of(tally)
            print(f"{of.__name__}: {sum(map(len, tally.alarms.values()))} false alarms so far", file=sys.stderr, flush=True)
    text = DOCS.read_text()
    rows, lines = documented(text)
    unknown = [check for check in tally.twins if check not in rows]
    if unknown:
        sys.exit(f"docs/AUDIT.md has no row of {', '.join(unknown)}")
    made = lines[:2]
    for check, row in rows.items():
        planted = row.split("|")[2]
        made.append(f"| `{check}` |{planted}| {tally.twins[check]} | {len(tally.alarms.get(check, []))} |")
    print("\n".join(line for line in made if not arguments or line.split("`")[1:2] == [] or tally.twins[line.split("`")[1]]))
    for check, alarms in tally.alarms.items():
        print(f"\n{check}:", *alarms[:5], sep="\n  ")
    few = [check for check in rows if tally.twins[check] - len(tally.alarms.get(check, [])) < FEWEST]
    if not arguments:
        if "--write" in sys.argv:
            DOCS.write_text(text.replace("\n".join(lines), "\n".join(made)))
        elif made != lines:
            sys.exit("the table of docs/AUDIT.md is another one: --write writes it")
        if few:
            sys.exit(f"fewer than {FEWEST} twins: {', '.join(few)}")
    sys.exit(1 if tally.alarms else 0)


if __name__ == "__main__":
    main()
