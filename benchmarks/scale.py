"""Measure what many of everything cost: ``python -m benchmarks.scale [--quick] [--svg FILE]``.

Prints a table, writes the figures to ``build/bench``, and ends with 1 if a cost has grown by more
than it may.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import runtime
from benchmarks import crowds, results
from benchmarks.growth import Series

TRIES = 2
"""How often a part is measured before a bound counts as broken: noise only ever adds."""


@dataclass(frozen=True)
class Extent:
    """How far to go, and how often to look."""

    types: int
    handlers: int
    scopes: int
    emits: int
    rounds: int


FULL = Extent(types=100_000, handlers=10_000, scopes=1_000_000, emits=10_000_000, rounds=41)
QUICK = Extent(types=10_000, handlers=1_000, scopes=100_000, emits=1_000_000, rounds=11)

Part = Callable[[Extent], Coroutine[Any, Any, list[Series]]]


async def freezing(extent: Extent) -> list[Series]:
    return [await crowds.freezing(extent.types, 7)]


async def looking_up(extent: Extent) -> list[Series]:
    return await crowds.looking_up(extent.types, extent.rounds)


async def publishing(extent: Extent) -> list[Series]:
    return [await crowds.publishing_to_many(extent.handlers, extent.rounds)]


async def idling(extent: Extent) -> list[Series]:
    return await crowds.idle_scopes(extent.scopes, extent.rounds)


async def emitting(extent: Extent) -> list[Series]:
    return [await crowds.emits(extent.emits, extent.rounds)]


PARTS: tuple[Part, ...] = (freezing, looking_up, publishing, idling, emitting)


def measure(extent: Extent, part: Part) -> list[Series]:
    """Return the series of a part; the best of two tries, if the first breaks a bound.

    Each has a process of its own: what another has given back would hide what this one takes.
    """
    tries: list[list[Series]] = []
    while len(tries) < TRIES and (not tries or any(each.is_broken for each in tries[-1])):
        tries.append(in_own_process(part, extent))
    return min(tries, key=lambda found: max(excess(each) for each in found))


def in_own_process(part: Part, extent: Extent) -> list[Series]:
    """Measure a part in a new process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as process:
        return process.submit(run_part, part, extent).result()


def run_part(part: Part, extent: Extent) -> list[Series]:
    """Measure one part."""
    return runtime.run(part(extent))


def excess(series: Series) -> float:
    """Return how a cost's growth stands to its bound; more than 1 breaks it."""
    if series.factor is None or series.bound is None:
        return 0.0
    return series.factor / series.bound


def table(found: list[Series]) -> str:
    """Write the series down, a line for each point."""
    lines = [f"{'what':<22} {'size':>11} {'time of one':>13} {'bytes of one':>13}  growth"]
    for series in found:
        for point in series.points:
            is_last = point is series.points[-1]
            taken = "" if point.time_ns is None else f"{point.time_ns:,.0f} ns"
            held = "" if point.bytes is None else f"{point.bytes:,.1f}"
            lines.append(
                f"{series.name:<22} {point.size:>11,} {taken:>13} {held:>13}"
                f"{'  ' + verdict(series) if is_last else ''}"
            )
    return "\n".join(lines)


def verdict(series: Series) -> str:
    """Say how a cost has grown, and how it may."""
    if series.factor is None:
        return ""
    over = "ten times the size" if series.kind == "linear" else "the largest by the smallest"
    text = f"{series.factor:.2f}x: {over}"
    if series.bound is None:
        return text
    return f"{text}, at most {series.bound:g}x{'  BROKEN' if series.is_broken else ''}"


def main(arguments: list[str]) -> int:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--svg", type=Path, help="where to draw cost against size")
    options = parser.parse_args(arguments)
    extent = QUICK if options.quick else FULL
    found = [series for part in PARTS for series in measure(extent, part)]
    print(table(found))
    results.write("scale", {"series": [each.as_data() for each in found]})
    if options.svg is not None:
        # Only a drawing needs the library for it.
        from benchmarks.scale_chart import draw

        draw(found, options.svg)
    broken = [each for each in found if each.is_broken]
    for each in broken:
        print(f"{each.name}: {verdict(each)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
