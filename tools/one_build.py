#!/usr/bin/env python3
"""Checks that `cargo build` and `cargo test` use every dependency with the same features.

Where they differ, Cargo compiles it, and all that depends on it, twice. Exit code 1 names it.
"""

import subprocess
import sys


def features(edges):
    command = ["cargo", "tree", "--locked", "-e", edges, "--prefix", "none", "--format", "{p}|{f}"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {}
    for line in out.splitlines():
        package, _, names = line.replace(" (*)", "").partition("|")
        found.setdefault(package, set()).add(names)
    return found


def main():
    build, test = features("normal,build"), features("normal,build,dev")
    differ = [package for package in build if build[package] != test.get(package)]
    for package in differ:
        print(f"{package}: built with {build[package]}, tested with {test[package]}")
    if differ:
        sys.exit("name the missing features in [dependencies]: see `either` in Cargo.toml")


if __name__ == "__main__":
    main()
