#!/usr/bin/env python3
"""How often a "95 %" interval over folds holds the true mean, by simulation.

    python3 tools/coverage.py [SIMULATIONS]

Runs `cargo bench --bench coverage`, which simulates users who are in several folds with values that
correlate between folds, and makes intervals with the code that the tables use. Ends with 1 where
intervals of 5 folds with 400 users hold the mean in fewer than 93 or more than 97 of 100 simulations.
"""

import json
import subprocess
import sys

BOUNDS = (0.93, 0.97)


def main():
    command = ["cargo", "bench", "--bench", "coverage", "--", *(sys.argv[1:] or ["4000"])]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    cases = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    print("| 5 folds | drawn once for all folds | drawn within each fold |")
    print("| --- | ---: | ---: |")
    for case in cases:
        shares = [f"{100 * case[how]:.1f} %" for how in ("drawn_once", "drawn_within_folds")]
        print(f"| {case['case']} | {shares[0]} | {shares[1]} |")
    low, high = BOUNDS
    off = [case for case in cases if "400" in case["case"] and not low <= case["drawn_once"] <= high]
    if off:
        sys.exit(f"coverage outside {low}–{high}: {off}")


if __name__ == "__main__":
    main()
