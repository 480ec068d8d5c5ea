"""What a cost does as its size grows by powers of ten: it grows as much, or stays what it was.

Sizes are measured alive side by side, in interleaved rounds, because a machine may change speed
between two runs, and a process has its caches as it finds them. Times are those of the processor:
what takes longer is interrupted more often by others, who are no part of its cost.
"""

import gc
import itertools
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

STEP = 10
LINEAR = 12.0
"""What ten times the size may take, as a multiple of the time: a fifth more than ten times."""
FLAT = 1.1
"""What the largest size may take, as a multiple of the smallest one's time."""
LOOKUP = 1.3
"""The same where every size has a table of its own to look things up in."""

Kind = Literal["linear", "flat", "reported"]
Run = Callable[[int], Awaitable[None]]

STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Point:
    """The cost of one item, where there are so many."""

    size: int
    time_ns: float | None
    bytes: float | None = None


@dataclass(frozen=True)
class Series:
    """One cost at several sizes; `factor` is how it has grown, `bound` how it may."""

    name: str
    unit: str
    """What one item is, of which the points tell the cost."""
    points: tuple[Point, ...]
    kind: Kind
    factor: float | None = None
    bound: float | None = None

    @property
    def is_broken(self) -> bool:
        """Whether the cost has grown by more than it may."""
        return self.factor is not None and self.bound is not None and self.factor > self.bound

    def as_data(self) -> dict[str, Any]:
        """Return the series for a file."""
        return asdict(self)


def growth_of(times: Sequence[Sequence[float]]) -> float:
    """Return the last run's time as a multiple of the first one's: the median of the rounds."""
    return statistics.median(last / first for first, last in zip(times[0], times[-1], strict=True))


def linear(
    name: str,
    unit: str,
    points: Sequence[Point],
    times: Sequence[Sequence[float]],
    bound: float | None = LINEAR,
) -> Series:
    """Return a series that may grow with its size: by `bound`, at most, for ten times of it.

    Each size is ten times the one before; `times` are those of one item, by round. The factor is
    that of the worst step, for all items together.
    """
    steps = [STEP * growth_of(pair) for pair in itertools.pairwise(times)]
    return Series(name, unit, tuple(points), "linear", max(steps, default=None), bound)


def flat(
    name: str, unit: str, points: Sequence[Point], factor: float, bound: float = FLAT
) -> Series:
    """Return a series that is to stay what it is: `factor` is the largest size by the smallest."""
    return Series(name, unit, tuple(points), "flat", factor, bound)


@contextmanager
def uncollected() -> Generator[None]:
    """Keep the collector off in a ``with`` block, and out of what exists before it."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


async def side_by_side(runs: Sequence[Run], unit: int, rounds: int) -> list[list[float]]:
    """Return the nanoseconds for one of `unit` operations of each run, by round.

    A round has every run once, every other round in the opposite order: what a run leaves in the
    caches meets each of its neighbours as often.
    """
    times: list[list[float]] = [[] for _ in runs]
    with uncollected():
        for run in runs:
            await run(unit)
        for number in range(rounds):
            order = range(len(runs))
            for index in order if number % 2 else reversed(order):
                began = time.process_time_ns()
                await runs[index](unit)
                times[index].append((time.process_time_ns() - began) / unit)
            # What goes in circles would only grow.
            gc.collect(1)
    return times


def resident_bytes() -> int:
    """Return the resident set; where the system does not tell, its greatest size so far."""
    if STATM.exists():
        return int(STATM.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Held:
    """By how much the resident set grows in a ``with`` block, with the collector run around it."""

    LEAST = 1_000_000
    """Bytes: the allocator may have some of that in hand, so that less tells nothing."""

    def __enter__(self) -> Self:
        gc.collect()
        self._before = resident_bytes()
        self._after = self._before
        return self

    def __exit__(self, *_: object) -> None:
        gc.collect()
        self._after = resident_bytes()

    @property
    def grown(self) -> int:
        """The bytes that have been taken and not given back."""
        return self._after - self._before

    def by(self, count: int) -> float | None:
        """Return the bytes of each of so many items; None if they are too few to tell."""
        return self.grown / count if self.grown >= self.LEAST else None
