#!/usr/bin/env python3
"""How often a "95 %" interval over folds holds the true mean, and how often tests are wrong, by simulation.

    python3 tools/interval_coverage.py [SIMULATIONS]

Runs `cargo bench --bench coverage`, which simulates users who are in several folds with values that
correlate between folds, and makes intervals with the code that the tables use. Ends with 1 where
intervals of 5 folds with 400 users hold the mean in fewer than 93 or more than 97 of 100 simulations.
Then `cargo bench --bench false_alarms`: how often each test calls two equally good systems different at .05. Ends
with 1 where t or sign flips of 100 or 400 users do so in fewer than 3.5 or more than 6.5 of 100.
"""

import json
import subprocess
import sys

BOUNDS = (0.93, 0.97)


ALARMS = (0.035, 0.065)


def simulated(bench):
    command = ["cargo", "bench", "--bench", bench, "--", *(sys.argv[1:] or ["4000"])]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def main():
    cases = simulated("coverage")
    print("| 5 folds | drawn once for all folds | drawn within each fold |")
    print("| --- | ---: | ---: |")
    for case in cases:
        shares = [f"{100 * case[how]:.1f} %" for how in ("drawn_once", "drawn_within_folds")]
        print(f"| {case['case']} | {shares[0]} | {shares[1]} |")
    low, high = BOUNDS
    off = [case for case in cases if "400" in case["case"] and not low <= case["drawn_once"] <= high]
    cases = simulated("false_alarms")
    tests = [name for name in cases[0] if name not in ("null", "users", "simulations")]
    print(f"\n| null, users | {' | '.join(tests)} |")
    print(f"| --- |{' ---: |' * len(tests)}")
    for case in cases:
        rates = " | ".join(f"{case[test]:.3f}" for test in tests)
        print(f"| {case['null']}, {case['users']} | {rates} |")
    if off:
        sys.exit(f"coverage outside {low}–{high}: {off}")
    low, high = ALARMS
    many = [case for case in cases if case["users"] >= 100]
    off = [case for case in many if not all(low <= case[test] <= high for test in ("t", "sign_flip"))]
    if off:
        sys.exit(f"false alarms outside {low}–{high}: {off}")


if __name__ == "__main__":
    main()
