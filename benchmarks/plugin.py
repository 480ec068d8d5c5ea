"""Measure what the plugin adds to mypy's time: ``python -m benchmarks.plugin``.

A program of 700 messages and 1,500 handlers (`bigproject`) is checked with an empty cache, in turn
without and with the plugin, each time in a process of its own. What counts is that process's CPU
time, which other load does not change; the ratio is the median of those of the rounds.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Final, NamedTuple

import runtime
from benchmarks.bigproject import HANDLERS, MESSAGES, write

BUDGET: Final = 1.10
CONFIG: Final = """\
[mypy]
strict = True
mypy_path = {stubs}
plugins = {plugins}
"""
ROOT: Final = Path(__file__).parents[1]


class Time(NamedTuple):
    """What a run of mypy took, in seconds."""

    cpu: float
    wall: float


def check(folder: Path, plugins: str) -> Time:
    """Check the program in a folder with an empty cache."""
    in_checkout = Path(runtime.__file__).parents[1] == ROOT
    config = folder / "mypy.ini"
    config.write_text(
        CONFIG.format(stubs=ROOT / "stubs" if in_checkout else "", plugins=plugins),
        encoding="utf-8",
    )
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    command = ["-m", "mypy", "--config-file", str(config), "--cache-dir", str(cache), "shop"]
    # The plugin's compiled modules are found where an earlier run has left them, as in any
    # installation, also where this checkout is told to keep none.
    settings = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    settings.pop("PYTHONDONTWRITEBYTECODE", None)
    before, start = cpu_of_children(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", *command],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    wall, cpu = time.perf_counter() - start, cpu_of_children() - before
    if done.returncode:
        # What is found in a program that is right is a defect, and takes time of its own.
        raise SystemExit(done.stdout + done.stderr)
    return Time(cpu, wall)


def cpu_of_children() -> float:
    """Return the CPU seconds of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(folder: Path, rounds: int) -> tuple[list[Time], list[Time]]:
    """Return the times without and with the plugin, taken in turn; the first goes first in turn."""
    times: dict[str, list[Time]] = {"": [], "runtime.mypy_plugin": []}
    for plugins in times:
        check(folder, plugins)
    for number in range(rounds):
        for plugins in list(times) if number % 2 == 0 else list(reversed(times)):
            times[plugins].append(check(folder, plugins))
    return times[""], times["runtime.mypy_plugin"]


def show(name: str, values: Sequence[float]) -> None:
    """Print a median, and half the distance of the quartiles."""
    low, _, high = quantiles(values, n=4)
    print(f"{name:<28} {median(values):8.3f}  ± {(high - low) / 2:.3f}")


def main() -> int:
    """Measure, and print. The exit code says whether the budget is kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plugin", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="at least 2 (default: %(default)s)")
    parser.add_argument("--domains", type=int, default=20, help="35 messages, 75 handlers each")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), arguments.domains)
        without, with_plugin = measure(Path(name), arguments.rounds)
    print(f"{arguments.domains * MESSAGES} messages, {arguments.domains * HANDLERS} handlers")
    show("without, CPU seconds", [each.cpu for each in without])
    show("with, CPU seconds", [each.cpu for each in with_plugin])
    show("without, seconds", [each.wall for each in without])
    show("with, seconds", [each.wall for each in with_plugin])
    pairs = list(zip(with_plugin, without, strict=True))
    ratios = [mine.cpu / theirs.cpu for mine, theirs in pairs]
    show("ratio of CPU time", ratios)
    show("ratio of time", [mine.wall / theirs.wall for mine, theirs in pairs])
    kept = median(ratios) < BUDGET
    print(f"budget {BUDGET:.2f}: {'met' if kept else 'OVER BUDGET'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
