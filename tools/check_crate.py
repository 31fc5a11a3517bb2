#!/usr/bin/env python3
"""Checks the metadata of a bundle with roc-validator (PyPI): RO-Crate 1.1, everything that is required.

    pip install roc-validator
    python3 tools/check_crate.py quickstart.zip

Without the network, the JSON-LD context is read from the package rocrate (pip install --no-deps rocrate==0.13.0), if it is installed.
"""

import importlib.util
import json
import pathlib
import sys
import tempfile
import zipfile

from rdflib.plugins.shared.jsonld import context as jsonld
from rocrate_validator import models, services
from rocrate_validator.utils import http

CONTEXT = "https://w3id.org/ro/crate/1.1/context"


def use_local_context():
    """Reads the context of RO-Crate 1.1 from a file in place of the network."""
    found = importlib.util.find_spec("rocrate")
    if found is None:
        return
    file = pathlib.Path(found.origin).parent / "data" / "ro-crate.jsonld"
    text = file.read_text()
    if json.loads(text)["@id"].rstrip("/") != CONTEXT:
        sys.exit(f"{file} is not {CONTEXT}")
    original = jsonld.source_to_json

    def source_to_json(source, *arguments, **named):
        if source == CONTEXT:
            return json.loads(text), None
        return original(source, *arguments, **named)

    class Reply:
        status_code, content = 200, text.encode()
        headers = {"Content-Type": "application/ld+json"}

        def json(self):
            return json.loads(text)

    # The validator replaces the loader when it starts, and reads the context itself for its own checks.
    http.HttpRequester().get = lambda *arguments, **named: Reply()
    jsonld.source_to_json = source_to_json


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    use_local_context()
    with tempfile.TemporaryDirectory() as place:
        with zipfile.ZipFile(sys.argv[1]) as archive:
            archive.extractall(place)
        settings = services.ValidationSettings(
            rocrate_uri=place,
            profile_identifier="ro-crate-1.1",
            requirement_severity=models.Severity.REQUIRED,
        )
        result = services.validate(settings)
        issues = result.get_issues()
        for issue in issues:
            print(f"{issue.severity.name} {issue.check.identifier}: {issue.message}")
        graph = json.load(open(f"{place}/ro-crate-metadata.json"))["@graph"]
        files = sum(entity["@type"] == "File" for entity in graph)
        if files < 10:
            sys.exit(f"only {files} files are described")
        if issues:
            sys.exit(f"{len(issues)} issues")
        print(f"{files} files are described, and all that RO-Crate 1.1 requires is there")


if __name__ == "__main__":
    main()
