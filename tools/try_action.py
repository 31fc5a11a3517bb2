#!/usr/bin/env python3
"""Tries action.yml without GitHub: stands in for the runner, and for actions/cache.

    cargo build --release
    python3 tools/try_action.py

Reads action.yml as the runner does: inputs and their defaults, expressions, conditions, `shell: bash` as the runner calls it,
GITHUB_PATH, GITHUB_STEP_SUMMARY and RUNNER_TEMP of each job. The cache is a folder: the exact key, else the latest key with a
prefix of `restore-keys`; it is saved after a job that succeeded. What it does not know is an error. Needs PyYAML. ASSAY
names another program than target/release/assay; it needs no libtorch here.
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = os.environ.get("ASSAY", str(ROOT / "target/release/assay"))
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
EXPERIMENT = """experiment: e
data: {set: sample, relevant: 'RULE'}
split: {scheme: official, only: [f1, f2]}
systems:
  mine: MODEL
  random: {model: random}
evaluate: {k: [10], metrics: [ndcg]}
"""


class Runner:
    """A repository's checkout and cache, in which jobs run one after another."""

    def __init__(self, root):
        self.root, self.checkout, self.cache = root, root / "checkout", root / "cache"
        self.checkout.mkdir()
        self.cache.mkdir()
        self.jobs = 0

    def value(self, expression, inputs, temp):
        """`inputs.x`, `runner.os`, `runner.temp`, `hashFiles(inputs.x)`, and `a == 'b'`."""
        expression = expression.strip()
        if match := re.fullmatch(r"(.+?) == '([^']*)'", expression):
            return "true" if self.value(match[1], inputs, temp) == match[2] else "false"
        if match := re.fullmatch(r"hashFiles\((.+)\)", expression):
            file = self.checkout / self.value(match[1], inputs, temp)
            return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
        if match := re.fullmatch(r"inputs\.([\w-]+)", expression):
            return inputs[match[1]]
        known = {"runner.os": "Linux", "runner.temp": str(temp)}
        if expression not in known:
            raise ValueError(f"this stand-in does not know the expression {expression}")
        return known[expression]

    def job(self, fresh=True, **given):
        """Runs the action in a job of its own. Returns its exit code, output, summary, and the key that was restored."""
        unknown = [name for name in given if name not in ACTION["inputs"]]
        inputs = {name: str(given.get(name, of.get("default"))) for name, of in ACTION["inputs"].items()}
        lacking = [name for name, of in ACTION["inputs"].items() if of.get("required") and name not in given]
        if unknown or lacking:
            raise ValueError(f"inputs: unknown {unknown}, lacking {lacking}")
        self.jobs += 1
        temp = self.root / f"temp{self.jobs}"
        temp.mkdir()
        if fresh:
            shutil.rmtree(self.checkout / ".assay", ignore_errors=True)
        files = {name: temp / name.lower() for name in ("GITHUB_PATH", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_ENV")}
        for file in files.values():
            file.write_text("")
        fill = lambda text: re.sub(r"\$\{\{(.+?)\}\}", lambda found: self.value(found[1], inputs, temp), text)
        output, restored, save, code = "", None, [], 0
        for step in ACTION["runs"]["steps"]:
            if set(step) - {"shell", "env", "run", "uses", "with", "if", "name"}:
                raise ValueError(f"this stand-in does not know {sorted(step)}")
            if "if" in step and self.value(step["if"], inputs, temp) != "true":
                continue
            if "uses" in step:
                if not re.fullmatch(r"actions/cache@[0-9a-f]{40}", step["uses"]):
                    raise ValueError(f"this stand-in does not know {step['uses']}")
                options = {name: fill(text) for name, text in step["with"].items()}
                restored = self.restore(options)
                save.append((options, restored))
                continue
            path = ":".join([*reversed(files["GITHUB_PATH"].read_text().split()), os.environ["PATH"]])
            environment = {"PATH": path, "HOME": str(temp), "RUNNER_TEMP": str(temp), "CI": "true", **{name: str(file) for name, file in files.items()}}
            environment |= {name: fill(text) for name, text in step.get("env", {}).items()}
            script = temp / "script.sh"
            script.write_text(fill(step["run"]))
            # As the runner calls it for `shell: bash`.
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", script]
            done = subprocess.run(command, cwd=self.checkout, env=environment, capture_output=True, text=True)
            output += done.stdout + done.stderr
            if done.returncode:
                code = done.returncode
                break
        for options, found in save if code == 0 else []:
            if found != options["key"]:
                self.keep(options)
        return code, output, files["GITHUB_STEP_SUMMARY"].read_text(), restored

    def paths(self, options):
        return [self.checkout / path for path in options["path"].split("\n") if path]

    def entry(self, key):
        return self.cache / hashlib.sha256(key.encode()).hexdigest()

    def restore(self, options):
        kept = sorted(self.cache.iterdir(), key=lambda entry: -entry.stat().st_mtime_ns)
        keys = {(entry / "key").read_text(): entry for entry in kept}
        prefixes = [line for line in options.get("restore-keys", "").split("\n") if line]
        key = options["key"] if options["key"] in keys else None
        key = key or next((key for prefix in prefixes for key in keys if key.startswith(prefix)), None)
        if key:
            for at, path in enumerate(self.paths(options)):
                # Paths below the runner's folder differ from job to job here, and have one name each there.
                source = keys[key] / str(at)
                if source.is_dir():
                    shutil.copytree(source, path, dirs_exist_ok=True)
                elif source.exists():
                    shutil.copy2(source, path)
        return key

    def keep(self, options):
        entry = self.entry(options["key"])
        entry.mkdir()
        (entry / "key").write_text(options["key"])
        for at, path in enumerate(self.paths(options)):
            if path.is_dir():
                shutil.copytree(path, entry / str(at))
            elif path.exists():
                shutil.copy2(path, entry / str(at))


def archive(folder):
    path = folder / "assay-0.1.0-x86_64-linux.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(ASSAY, "assay-0.1.0/bin/assay")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def main():
    wrong = 0

    def say(what, holds, output=""):
        nonlocal wrong
        wrong += not holds
        print("ok   " if holds else "WRONG", what, *([output] if not holds else []), flush=True)

    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        runner = Runner(root)
        path, digest = archive(root)
        good, other = "{model: item-knn, neighbours: 20}", "{model: popularity}"

        def write(model=good, rule=">= 4", file="e.yaml"):
            (runner.checkout / file).write_text(EXPERIMENT.replace("MODEL", model).replace("RULE", rule))

        def records():
            return {path: path.stat().st_mtime_ns for path in (runner.checkout / ".assay").rglob("record.json")}

        write()
        recorded = ["run e.yaml --quiet", "baseline record e.yaml --out e.json"]
        for command in recorded:
            subprocess.run([ASSAY, *command.split()], cwd=runner.checkout, check=True, capture_output=True)
        given = {"archive": path, "sha256": digest, "experiment": "e.yaml", "baseline": "e.json"}

        code, output, summary, restored = runner.job(**given)
        say("the first job installs, runs and passes", code == 0 and restored is None and "2 gates: 2 unchanged" in output, output)
        say("its summary is a table in Markdown", summary.startswith("### assay check: e\n") and "| mine | all | ndcg@10 |" in summary, summary)
        say("nothing that is unchanged is annotated", "::" not in output, output)
        first = records()
        moved = path.rename(root / "elsewhere.tar.gz")
        code, output, _, restored = runner.job(**given)
        say("the second job takes archive and steps from the cache", code == 0 and restored and records() == first, output)
        moved.rename(path)
        code, output, _, restored = runner.job(**given, cache="false")
        say("without the cache it runs everything again", code == 0 and restored is None and records() != first, output)

        write(other)
        code, output, summary, restored = runner.job(**given)
        say("a worse model fails the job with exit code 1", code == 1 and restored is not None, output)
        say("it is annotated as an error at the experiment file", "::error file=e.yaml,title=mine ndcg@10 all (full%2C standard)::worse: " in output, output)
        say("the summary has the verdict", "| worse |" in summary and "1 worse" in summary, summary)
        say("a failed job is not saved", len(list(runner.cache.iterdir())) == 1)
        code, output, _, _ = runner.job(**given, arguments="--margin 90% --metric nDCG@10")
        say("arguments are options of `assay check`", code == 0, output)
        say("the passed job is saved under a key of its own", len(list(runner.cache.iterdir())) == 2)
        write(rule=">= 3")
        code, output, _, _ = runner.job(**given)
        say("other data end with 3, and a warning", code == 3 and "::warning file=e.yaml" in output, output)
        write("{model: popularityy}")
        code, output, _, _ = runner.job(**given)
        say("an error in the experiment file ends the job with 2", code == 2 and "popularityy" in output, output)

        write()
        code, output, _, _ = runner.job(**{**given, "sha256": "0" * 64}, cache="false")
        say("another hash is refused before anything runs", code == 1 and not (runner.checkout / ".assay").exists(), output)
        for entry in runner.cache.iterdir():
            (entry / "0").write_bytes(b"something else")
        code, output, _, restored = runner.job(**given)
        say("a damaged archive in the cache is fetched again", code == 0 and restored is not None, output)
        marker = root / "executed"
        evil = f'$(touch {marker})`touch {marker}`;touch {marker};"'
        for name in ("archive", "sha256", "experiment", "baseline", "arguments"):
            runner.job(**{**given, name: evil})
        say("inputs are no code", not marker.exists())
        write(file="my papers.yaml")
        code, output, _, _ = runner.job(**{**given, "experiment": "my papers.yaml"})
        say("names of files may have blanks", code == 0, output)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
