#!/usr/bin/env python3
"""Reads event files of `assay export tensorboard` with TensorBoard's own reader, and compares them with the histories.

    pip install tensorboard
    python3 tools/check_tensorboard.py TB_DIR WORKSPACE
"""

import json
import pathlib
import sys

import numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    events, workspace = map(pathlib.Path, sys.argv[1:])
    histories = [json.loads(path.read_text()) for path in workspace.glob("steps/fit/*/history.json")]
    files = sorted(events.glob("*/events.out.tfevents.*"))
    compared = 0
    for file in files:
        read = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
        tags = read.Tags()["scalars"]
        series = {tag: [(one.step, numpy.float32(one.value)) for one in read.Scalars(tag)] for tag in tags}
        def of(history):
            names = {name for epoch in history for name, value in epoch.items()
                     if name != "epoch" and isinstance(value, (int, float)) and not isinstance(value, bool)}
            return {name: [(epoch["epoch"], numpy.float32(epoch[name])) for epoch in history
                           if isinstance(epoch.get(name), (int, float))] for name in names}
        if not any(of(history) == series for history in histories):
            sys.exit(f"{file} is no history of the workspace: {tags}")
        compared += sum(map(len, series.values()))
    if not files or not compared:
        sys.exit("there are no event files with values")
    print(f"{len(files)} event files, {compared} values are those of the histories")


if __name__ == "__main__":
    main()
