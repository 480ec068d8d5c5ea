"""Measure floors and subjects side by side.

A machine may change speed while a suite runs; only figures taken at the same moment compare. So
each round measures every case of a group once, in turn, and a ratio is the median over the rounds
of the ratios inside a round.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import runtime
from benchmarks.workload import Case

ROUNDS = 41
WARM_UP = 3


@dataclass(frozen=True)
class Ratio:
    """How long a subject takes, as a multiple of its floor's time."""

    group: str
    floor: str
    subject: str
    floor_ns: float
    subject_ns: float
    ratio: float
    spread: float
    """Half of the distance between the quartiles of the rounds' ratios."""
    difference_ns: float
    """How much longer the subject takes: the median of the rounds' differences."""
    rounds: int


Clock = Callable[[], float]


async def measure_group(
    cases: Sequence[Case], rounds: int, clock: Clock = time.perf_counter
) -> list[list[float]]:
    """Return each case's seconds for one operation, by round."""
    times: list[list[float]] = [[] for _ in cases]
    async with AsyncExitStack() as stack:
        runs = [await stack.enter_async_context(case.prepare()) for case in cases]
        # To look through all that is there by now, before each run, would empty the caches.
        gc.collect()
        gc.freeze()
        stack.callback(gc.unfreeze)
        for round_ in range(-WARM_UP, rounds):
            for number, (case, run) in enumerate(zip(cases, runs, strict=True)):
                gc.collect()
                gc.disable()
                began = clock()
                await run(case.unit)
                elapsed = clock() - began
                gc.enable()
                if round_ >= 0:
                    times[number].append(elapsed / case.unit)
    return times


def compare(
    floors: Sequence[Case],
    subjects: Sequence[Case],
    rounds: int = ROUNDS,
    clock: Clock = time.perf_counter,
) -> Iterator[Ratio]:
    """Yield the ratio of every subject to every floor of its group."""
    for group in dict.fromkeys(case.group for case in floors):
        bases = [case for case in floors if case.group == group]
        rest = [case for case in subjects if case.group == group]
        capped = min([rounds, *(case.rounds for case in bases if case.rounds is not None)])
        times = runtime.run(measure_group([*bases, *rest], capped, clock))
        for number, base in enumerate(bases):
            for offset, subject in enumerate(rest, start=len(bases)):
                pairs = list(zip(times[offset], times[number], strict=True))
                ratios = [mine / theirs for mine, theirs in pairs]
                low, middle, high = statistics.quantiles(ratios, n=4)
                yield Ratio(
                    group,
                    base.name,
                    subject.name,
                    statistics.median(times[number]) * 1e9,
                    statistics.median(times[offset]) * 1e9,
                    middle,
                    (high - low) / 2,
                    statistics.median(mine - theirs for mine, theirs in pairs) * 1e9,
                    capped,
                )
