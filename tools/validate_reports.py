#!/usr/bin/env python3
"""Validates the reports for other programs: SARIF of `assay audit` with the schema of SARIF 2.1.0 and with Microsoft's SARIF
Multitool, and JUnit XML of `assay check` with junit-10.xsd, the schema of Jenkins' xUnit plugin.

    cargo build --release
    python3 tools/validate_reports.py [sarif-schema-2.1.0.json]

The schema of SARIF is that of OASIS, by its `$id` Schemata/sarif-schema-2.1.0.json of github.com/oasis-tcs/sarif-spec. The
crate serde-sarif contains it, and its hash is checked; another file may be given. The Multitool misses some faults that
the schema finds, such as unknown levels. Needs npm and cargo, and fetches from registries: the Multitool (npm, 43 MB), the
crate (crates.io), the source of pytest, which has the XSD, and jsonschema and xmlschema (PyPI). Reports that are broken on
purpose must be refused. ASSAY names another program than target/release/assay.
"""

import copy
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSAY = os.environ.get("ASSAY", ROOT / "target/release/assay")
HOME = ROOT / ".venv-reports"
INSTALLED = ["jsonschema==4.23.0", "xmlschema==3.4.3"]
PYTEST = "pytest==8.3.4"
MULTITOOL = "@microsoft/sarif-multitool-linux@5.7.0"
CRATE = "serde-sarif"
MANIFEST = f"""[package]
name = "schema"
version = "0.0.0"
edition = "2021"
[lib]
path = "lib.rs"
[dependencies]
{CRATE} = "=0.8.0"
"""
SCHEMA = HOME / "crate/vendor" / CRATE / "src/schema.json"
SCHEMA_SHA256 = "af47e7b67f24efe74076621fd3a5fbe7398add9e84fe820c971219a385895cea"


def enter():
    if pathlib.Path(sys.prefix).resolve() == HOME.resolve():
        return
    if not (HOME / "done").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        pip = [HOME / "bin/python", "-m", "pip", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *INSTALLED], check=True)
        subprocess.run([*pip, "download", "--no-deps", "--no-binary", "pytest", "-d", HOME, PYTEST], check=True)
        subprocess.run(["npm", "pack", "--silent", MULTITOOL], cwd=HOME, check=True)
        for archive in [*HOME.glob("*.tar.gz"), *HOME.glob("*.tgz")]:
            with tarfile.open(archive) as of:
                of.extractall(HOME / "from", filter="data")
        crate = HOME / "crate"
        crate.mkdir(exist_ok=True)
        (crate / "Cargo.toml").write_text(MANIFEST)
        (crate / "lib.rs").write_text("")
        subprocess.run(["cargo", "vendor", "--quiet", "vendor"], cwd=crate, check=True, stdout=subprocess.DEVNULL)
        (HOME / "done").write_text("")
    sys.exit(subprocess.run([HOME / "bin/python", *sys.argv]).returncode)


EXPERIMENT = """experiment: e
data: {set: sample, relevant: '>= 4'}
split: {scheme: official, only: [f1]}
systems:
  mine: {model: MODEL}
  random: {model: random}
evaluate: {k: [10], metrics: [ndcg, recall]}
audit: {allow: {single-fold: "one fold is enough <here> & now"}}
"""


def reports(folder):
    """Reports with open, accepted and unchecked findings, and with gates that pass and fail."""
    environment = {**os.environ, "ASSAY_DATA": str(ROOT / "datasets")}

    def assay(*arguments, codes=(0,)):
        done = subprocess.run([ASSAY, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode not in codes:
            sys.exit(f"assay {' '.join(arguments)} ended with {done.returncode}\n{done.stderr}")

    def model(name):
        (folder / "e.yaml").write_text(EXPERIMENT.replace("MODEL", name))
        assay("run", "e.yaml", "--quiet")

    model("popularity")
    assay("audit", "e.yaml", "--sarif", "open.sarif", codes=(0, 1, 3))
    assay("baseline", "record", "e.yaml", "--out", "e.json")
    assay("check", "e.yaml", "--against", "e.json", "--junit", "passed.xml")
    model("random")
    assay("check", "e.yaml", "--against", "e.json", "--junit", "failed.xml", codes=(1,))
    # Lists that are gone cannot be checked.
    for step in (folder / ".assay/steps/predict").iterdir():
        (step / "lists.parquet").unlink(missing_ok=True)
        for file in step.glob("*.parquet"):
            file.unlink()
    assay("audit", "e.yaml", "--sarif", "unchecked.sarif", codes=(0, 1, 3))


def multitool(path):
    tool = next((HOME / "from/package").glob("Sarif.Multitool"))
    tool.chmod(0o755)
    environment = {**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}
    out = path.with_suffix(".validated")
    out.unlink(missing_ok=True)
    done = subprocess.run([tool, "validate", path, "-o", out], env=environment, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if ": error " in line]
    return lines or ([] if done.returncode == 0 else [done.stdout + done.stderr])


def main():
    import jsonschema
    import xmlschema

    xsd = xmlschema.XMLSchema(str(next((HOME / "from").glob("pytest-*/testing/example_scripts/junit-10.xsd"))))
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else SCHEMA
    text = path.read_bytes()
    if path == SCHEMA and hashlib.sha256(text).hexdigest() != SCHEMA_SHA256:
        sys.exit(f"{path} is not the schema that this was tried with")
    schema = json.loads(text)
    print("schema of SARIF:", schema.get("$id", schema.get("id")))
    schema = jsonschema.validators.validator_for(schema)(schema)
    wrong = 0

    def say(what, errors, expected=0):
        nonlocal wrong
        fine = (len(errors) > 0) == (expected > 0)
        wrong += not fine
        print("ok   " if fine else "WRONG", what, *[str(error)[:300] for error in errors[: 0 if fine else 3]], sep="\n  " if not fine else " ")

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        reports(folder)
        for path in sorted(folder.glob("*.sarif")):
            log = json.loads(path.read_text())
            results = log["runs"][0]["results"]
            kinds = f"{len(results)} results, {sum('suppressions' in of for of in results)} accepted, " \
                    f"{len(log['runs'][0]['invocations'][0]['toolExecutionNotifications'])} not checked"
            say(f"{path.name} ({kinds}): Multitool", multitool(path))
            broken = copy.deepcopy(log)
            del broken["runs"][0]["tool"]
            other = folder / "broken.json"
            other.write_text(json.dumps(broken))
            say(f"{path.name} without a tool is refused: Multitool", multitool(other), 1)
            say(f"{path.name}: OASIS schema", list(schema.iter_errors(log)))
            say(f"{path.name} without a tool is refused: OASIS schema", list(schema.iter_errors(broken)), 1)
            if results:
                broken = copy.deepcopy(log)
                broken["runs"][0]["results"][0]["level"] = "severe"
                say(f"{path.name} with an unknown level is refused: OASIS schema", list(schema.iter_errors(broken)), 1)
        for path in sorted(folder.glob("*.xml")):
            text = path.read_text()
            say(f"{path.name} ({text.count('<testcase')} gates, {text.count('<failure')} failures): XSD", list(xsd.iter_errors(str(path))))
            other = folder / "broken"
            other.write_text(text.replace("<testcase ", "<test ", 1).replace("</testcase>", "</test>", 1))
            say(f"{path.name} with an unknown element is refused: XSD", list(xsd.iter_errors(str(other))), 1)
    sys.exit(1 if wrong else 0)


enter()
if __name__ == "__main__":
    main()
