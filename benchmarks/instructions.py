"""Count the instructions of one operation, and compare with the counts of last time.

A case is run twice under callgrind, with a few rounds and with more, and the difference is divided
by the operations between them, so that starting up costs nothing. ``instructions.json`` holds the
counts of each minor version of CPython; they depend on the compiler and, a little, on the CPU.

    python -m benchmarks.instructions                      # all of them: compare
    python -m benchmarks.instructions --case "publish x1"  # one case, or all of a group
    python -m benchmarks.instructions --functions send     # where the instructions go
    python -m benchmarks.instructions --update             # these are the new ones

Another checkout is measured from its own folder, by its own interpreter:

    PYTHONPATH=/where/this/one/is .venv/bin/python -m benchmarks.instructions --case send
"""

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import runtime
from benchmarks.callgrind import CallgrindError, Functions, count, prepare
from benchmarks.fitness import compiled_modules, unfit
from benchmarks.floors import FLOORS
from benchmarks.results import minor, write
from benchmarks.subjects import SUBJECTS
from benchmarks.workload import Case

STORED = Path(__file__).with_name("instructions.json")
GROUPS = (
    "publish x1",
    "publish x3",
    "publish sync",
    "publish wired",
    "publish managed",
    "send",
    "emit",
    "ask",
    "ask, 50 callers",
)
WARM_UP = 2
"""Rounds in both runs: the interpreter specialises its bytecode in the first."""
OPERATIONS = 10_000
TOLERANCE = 0.02
CHILD = "--child"

Counts = dict[str, int]
Costs = dict[tuple[str, str], float]
"""Instructions of one operation, by function and the file it was loaded from."""


@dataclass(frozen=True)
class Counted:
    """A case whose instructions are counted."""

    name: str
    case: Case
    is_floor: bool

    @property
    def more(self) -> int:
        """Return by how many rounds the second run is longer."""
        return max(1, OPERATIONS // self.case.unit)


def name_of(case: Case) -> str:
    """Name a case: by its group, and by what sets it apart there."""
    rest = case.name.removeprefix("runtime").removeprefix(", ")
    return f"{case.group}: {rest}" if rest else case.group


CASES = {
    name_of(case): Counted(name_of(case), case, is_floor=case in FLOORS)
    for group in GROUPS
    for case in [*FLOORS, *SUBJECTS]
    if case.group == group
}


async def perform(case: Case, rounds: int) -> None:
    """Run rounds of a case, without a garbage collector that counts objects."""
    async with case.prepare() as run:
        gc.collect()
        gc.freeze()
        gc.disable()
        for _ in range(rounds):
            await run(case.unit)


def rounds_of(counted: Counted, rounds: int) -> list[str]:
    """Return the arguments of Python that run so many rounds of a case."""
    return ["-m", "benchmarks.instructions", CHILD, counted.name, str(rounds)]


def measure(chosen: Sequence[Counted], jobs: int) -> Iterator[tuple[Counted, Costs]]:
    """Yield each case with what each function costs in one operation."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        cache = Path(folder)
        prepare(rounds_of(chosen[0], 1), cache)
        running = [
            (
                each,
                pool.submit(count, rounds_of(each, WARM_UP), cache),
                pool.submit(count, rounds_of(each, WARM_UP + each.more), cache),
            )
            for each in chosen
        ]
        for each, short, long in running:
            yield each, per_operation(short.result(), long.result(), each.more * each.case.unit)


def per_operation(few: Functions, many: Functions, operations: int) -> Costs:
    """Divide the difference of two runs by the operations between them.

    Raises `CallgrindError` if the longer run was the cheaper one.
    """
    if many.total() <= few.total():
        msg = "more rounds cost less: something was compiled or changed meanwhile, count again"
        raise CallgrindError(msg)
    return {key: (many[key] - few[key]) / operations for key in many | few}


def choose(wanted: Sequence[str] | None) -> list[Counted]:
    """Return the cases of the names or groups wanted, all if none are.

    Raises `SystemExit` if there is none of that name.
    """
    if wanted is None:
        return list(CASES.values())
    chosen = [each for each in CASES.values() if {each.name, each.case.group} & set(wanted)]
    if unknown := [one for one in wanted if all(one not in (c.name, c.case.group) for c in chosen)]:
        sys.exit(f"no case is called {', '.join(unknown)}; there are: {'; '.join(CASES)}")
    return chosen


def verdict(name: str, new: int, old: Mapping[str, int]) -> tuple[str, bool]:
    """Return how a count compares with the one before, and whether it has grown too much."""
    if name not in old:
        return "not counted before", False
    change = new / old[name] - 1
    if new > old[name] * (1 + TOLERANCE):
        return f"{old[name]:>9,} before  {change:+6.1%}  GROWN by more than {TOLERANCE:.0%}", True
    return f"{old[name]:>9,} before  {change:+6.1%}", False


def compare(chosen: Sequence[Counted], old: Mapping[str, int], jobs: int) -> tuple[Counts, int]:
    """Count, print each comparison, and return the counts and how many have grown too much."""
    new: Counts = {}
    floors: dict[str, int] = {}
    grown = 0
    for counted, costs in measure(chosen, jobs):
        instructions = new[counted.name] = round(sum(costs.values()))
        said, has_grown = verdict(counted.name, instructions, old)
        grown += has_grown
        ratio = ""
        if counted.is_floor:
            floors.setdefault(counted.case.group, instructions)
        elif floor := floors.get(counted.case.group):
            ratio = f"{instructions / floor:.2f}x the floor"
        print(f"{counted.name:<33} {instructions:>9,}  {ratio:<15}  {said}", flush=True)
    return new, grown


def print_functions(chosen: Sequence[Counted], jobs: int, lines: int) -> None:
    """Print the functions in which most instructions of an operation are spent."""
    for counted, costs in measure(chosen, jobs):
        print(f"{counted.name}: {sum(costs.values()):,.0f} instructions an operation")
        for name, loaded in sorted(costs, key=costs.__getitem__, reverse=True)[:lines]:
            print(f"{costs[name, loaded]:>10,.1f}  {name}  [{loaded}]")


def stored() -> dict[str, Counts]:
    """Return the counts of each minor version."""
    return json.loads(STORED.read_text()) if STORED.exists() else {}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", action="append", help="count this case, or group, only")
    parser.add_argument("--functions", metavar="CASE", help="print the costliest functions")
    parser.add_argument("--lines", type=int, default=40, help="how many of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs side by side")
    parser.add_argument("--update", action="store_true", help="store the counts")
    parser.add_argument(CHILD, nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Count, and compare or store."""
    options = parse_arguments()
    if options.child:
        name, rounds = options.child
        runtime.run(perform(CASES[name].case, int(rounds)))
        return 0
    if reason := unfit(compiled_modules()):
        sys.exit(f"cannot count: {reason}")
    print(f"CPython {platform.python_version()}, runtime of {Path(runtime.__file__).parent}")
    if options.functions:
        print_functions(choose([options.functions]), options.jobs, options.lines)
        return 0
    everything = stored()
    new, grown = compare(choose(options.case), everything.get(minor(), {}), options.jobs)
    if options.case is None:
        write("instructions", {"counts": new})
    if options.update:
        everything[minor()] = everything.get(minor(), {}) | new
        STORED.write_text(json.dumps(everything, indent=2, sort_keys=True) + "\n")
        print(f"stored in {STORED}")
        return 0
    if minor() not in everything:
        print(f"no counts of CPython {minor()} are stored: --update stores these")
    return 1 if grown else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CallgrindError as error:
        sys.exit(str(error))
