"""Print the ratios: ``python -m benchmarks [--rounds N] [--group NAME]``."""

import argparse
import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.floors import FLOORS
from benchmarks.ratios import ROUNDS, Ratio, compare
from benchmarks.subjects import SUBJECTS

RESULTS = Path("build/bench/ratios.json")


def line(ratio: Ratio) -> str:
    """Write one row of the table."""
    verdict = (
        f"{ratio.ratio:6.2f}x the time" if ratio.ratio >= 1 else f"{1 / ratio.ratio:6.2f}x faster  "
    )
    return (
        f"{ratio.group:<17} {ratio.subject:<22} {ratio.subject_ns:>9.0f} ns  "
        f"{ratio.floor:<23} {ratio.floor_ns:>9.0f} ns  {verdict}  ±{ratio.spread / ratio.ratio:.0%}"
    )


def main() -> int:
    """Measure, print and write the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds for each group")
    parser.add_argument("--group", help="measure this group only")
    options = parser.parse_args()
    floors = [each for each in FLOORS if options.group in (None, each.group)]
    print(f"CPython {platform.python_version()}, medians of {options.rounds} interleaved rounds")
    ratios = []
    for ratio in compare(floors, SUBJECTS, options.rounds):
        ratios.append(ratio)
        print(line(ratio), flush=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(ratio) for ratio in ratios], indent=2) + "\n")
    return 0 if ratios else 2


if __name__ == "__main__":
    sys.exit(main())
