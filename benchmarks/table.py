"""Write the measured ratios beside their budgets."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks.budgets import LIMITS, Budget, budget_of
from benchmarks.ratios import Ratio

Verdict = Literal["", "OVER BUDGET", "budget met", "ambition met"]

HEAD = (
    f"{'group':<17} {'subject':<22} {'time':>10}  {'floor':<23} {'time':>10}  "
    f"{'ratio':>12} {'spread':>6}  {'budget':>12}  {'ambition':>12}"
)


def verdict(measured: float, budget: float, ambition: float) -> Verdict:
    """Say how a figure stands to its budget; smaller is better."""
    if measured > budget:
        return "OVER BUDGET"
    return "ambition met" if measured <= ambition else "budget met"


def duration(nanoseconds: float) -> str:
    """Write a time in the unit that suits it."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e5)):
        if nanoseconds >= size:
            return f"{nanoseconds / (1e3 if unit == 'µs' else size):.2f} {unit}"
    return f"{nanoseconds:.0f} ns"


def times(ratio: float, *, faster: bool) -> str:
    """Write a ratio as so many times the time, or as so many times faster."""
    return f"{1 / ratio:.2f}x faster" if faster else f"{ratio:.2f}x"


def line(ratio: Ratio) -> str:
    """Write one row of the table."""
    budget = budget_of(ratio.group, ratio.floor, ratio.subject)
    faster = ratio.ratio < 1 if budget is None else budget.faster
    row = (
        f"{ratio.group:<17} {ratio.subject:<22} {duration(ratio.subject_ns):>10}  "
        f"{ratio.floor:<23} {duration(ratio.floor_ns):>10}  "
        f"{times(ratio.ratio, faster=faster):>12} {f'±{ratio.spread / ratio.ratio:.0%}':>6}"
    )
    if budget is None:
        return row
    return (
        f"{row}  {times(budget.budget, faster=faster):>12}  "
        f"{times(budget.ambition, faster=faster):>12}  "
        f"{verdict(ratio.ratio, budget.budget, budget.ambition)}"
    )


@dataclass(frozen=True)
class Quantity:
    """A measured quantity that is no ratio, beside its limit."""

    name: str
    unit: str
    value: float
    budget: float
    ambition: float

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.value:.4g} {self.unit}, budget {self.budget:g}, "
            f"ambition {self.ambition:g}  {verdict(self.value, self.budget, self.ambition)}"
        )


def quantities(ratios: Iterable[Ratio]) -> list[Quantity]:
    """Return what the measured times say of the limits that are times themselves."""
    values: dict[str, float] = {}
    for each in ratios:
        if each.group == "freeze":
            values["freeze of 1,000 handlers over 10,000 classes"] = each.subject_ns / 1e9
        if each.group == "import":
            values["import runtime, beyond asyncio and msgspec"] = each.difference_ns / 1e6
    return [
        Quantity(each.name, each.unit, values[each.name], each.budget, each.ambition)
        for each in LIMITS
        if each.name in values
    ]


def as_data(ratios: Iterable[Ratio]) -> list[dict[str, Any]]:
    """Return ratios for a file, each with its budget and how it stands to it."""
    rows: list[dict[str, Any]] = []
    for each in ratios:
        budget: Budget | None = budget_of(each.group, each.floor, each.subject)
        rows.append(
            asdict(each)
            | {
                "budget": budget and budget.budget,
                "ambition": budget and budget.ambition,
                "faster": each.ratio < 1 if budget is None else budget.faster,
                "verdict": budget and verdict(each.ratio, budget.budget, budget.ambition),
            }
        )
    return rows
