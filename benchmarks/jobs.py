"""What the guard looks after: each job, its bound, and how it is measured.

The bounds of what is a time lie a quarter above the budgets: room for noise, and for a machine on
which the floor happens to be quick. What is counted has no noise, and is bound by its budget.
"""

import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import runtime
from benchmarks.budgets import BUDGETS, LIMITS, Limit, budget_of
from benchmarks.footprint import blocks_left, import_milliseconds, scope_bytes
from benchmarks.ratios import compare
from benchmarks.workload import SLOW, Case

SLACK = 1.25

IDLE = "idle named scope"
TOUCHED = "idle named scope, its bus touched"
BLOCKS = "blocks that 100,000 warm publishes and emits leave"
FREEZE = "freeze of 1,000 handlers over 10,000 classes"
IMPORT = "import runtime, beyond asyncio and msgspec"
GROUPS = {IDLE: "memory", TOUCHED: "memory", BLOCKS: "blocks", FREEZE: "freeze", IMPORT: "import"}
"""The limits that are quick to check, and what each is measured with."""
WAITING = {"sink"}
"""Groups whose cases wait for a disk. The others are measured in CPU time: of two cases, the one
that is longer than a time slice would have the time of other programs added to its own."""


@dataclass(frozen=True)
class Job:
    """One figure that must not become larger than its bound."""

    name: str
    group: str
    """What is measured together."""
    budget: float
    bound: float
    unit: str = "x"
    faster: bool = False
    """Written as so many times faster."""

    def write(self, figure: float) -> str:
        """Write a figure of this job."""
        if self.faster:
            return f"{1 / figure:.2f}x faster"
        return f"{figure:.2f}x" if self.unit == "x" else f"{figure:,.4g} {self.unit}"


def ratio_name(group: str, floor: str, subject: str) -> str:
    """Name the ratio of a subject to a floor."""
    return f"{group}: {subject} / {floor}"


def bound_of(limit: Limit) -> float:
    """Return the bound of what is no ratio."""
    return limit.budget * (SLACK if limit.unit in {"s", "ms"} else 1)


JOBS = (
    *(
        Job(
            ratio_name(each.group, each.floor, each.subject),
            each.group,
            each.budget,
            each.budget * SLACK,
            faster=each.faster,
        )
        for each in BUDGETS
    ),
    *(
        Job(
            each.name,
            GROUPS[each.name],
            each.budget,
            bound_of(each),
            each.unit,
        )
        for each in LIMITS
        if each.name in GROUPS
    ),
)


@dataclass(frozen=True)
class Measure:
    """Measures the jobs of some groups, in the time of floors and subjects."""

    floors: Sequence[Case]
    subjects: Sequence[Case]

    def __call__(self, groups: AbstractSet[str], rounds: int) -> dict[str, float]:
        """Return the figure of each job of the groups, by name."""
        return self.ratios(groups, rounds) | quantities(groups, rounds)

    def ratios(self, groups: AbstractSet[str], rounds: int) -> dict[str, float]:
        """Return what is measured beside a floor."""
        figures: dict[str, float] = {}
        for clock, chosen in (
            (time.process_time, groups - WAITING),
            (time.perf_counter, groups & WAITING),
        ):
            floors = [floor for floor in self.floors if floor.group in chosen]
            for ratio in compare(floors, self.subjects, rounds, clock):
                if budget_of(ratio.group, ratio.floor, ratio.subject) is not None:
                    figures[ratio_name(ratio.group, ratio.floor, ratio.subject)] = ratio.ratio
                if ratio.group == GROUPS[FREEZE]:
                    figures[FREEZE] = ratio.subject_ns / 1e9
        return figures


def quantities(groups: AbstractSet[str], rounds: int) -> dict[str, float]:
    """Return what has no floor."""
    figures: dict[str, float] = {}
    if GROUPS[IDLE] in groups:
        figures[IDLE], figures[TOUCHED] = runtime.run(scope_bytes())
    if GROUPS[BLOCKS] in groups:
        figures[BLOCKS] = runtime.run(blocks_left())
    if GROUPS[IMPORT] in groups:
        figures[IMPORT] = runtime.run(import_milliseconds(min(rounds, SLOW)))
    return figures
