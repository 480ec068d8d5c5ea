"""Print the ratios: ``python -m benchmarks [--rounds N] [--group NAME]``."""

import argparse
import platform
import sys
from dataclasses import asdict

from benchmarks import results
from benchmarks.floors import FLOORS
from benchmarks.ratios import ROUNDS, Ratio, compare
from benchmarks.subjects import SUBJECTS
from benchmarks.table import HEAD, as_data, line, quantities


def main() -> int:
    """Measure and print the ratios; keep them if they are all there."""
    groups = list(dict.fromkeys(case.group for case in FLOORS))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds for each group")
    parser.add_argument("--group", choices=groups, help="measure this group only, and keep nothing")
    options = parser.parse_args()
    floors = [each for each in FLOORS if options.group in (None, each.group)]
    print(f"CPython {platform.python_version()}, medians of {options.rounds} interleaved rounds")
    print(HEAD)
    ratios: list[Ratio] = []
    for ratio in compare(floors, SUBJECTS, options.rounds):
        ratios.append(ratio)
        print(line(ratio), flush=True)
    limits = quantities(ratios)
    for each in limits:
        print(each)
    if options.group is None:
        figures = {"ratios": as_data(ratios), "quantities": [asdict(each) for each in limits]}
        print(f"written to {results.write('ratios', figures)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
