"""The budgets fit the cases, and the table says how figures stand to them."""

import pytest

from benchmarks.budgets import BUDGETS, LIMITS, Budget, budget_of
from benchmarks.floors import FLOORS
from benchmarks.ratios import Ratio
from benchmarks.subjects import SUBJECTS
from benchmarks.table import as_data, duration, line, quantities, verdict

# Section 11 of the design, row by row: how the budget is written there, and the group of its cases.
DESIGN = [
    ("publish x1", 1.2, 1.0),
    ("publish x3", 1.3, 1.1),
    ("publish sync", 1.9, 1.5),
    ("publish wired", 1.6, 1.35),
    ("publish managed", 2.0, 2.0),
    ("emit", 1 / 1.75, 1 / 2.2),
    ("emit", 1 / 1.5, 1 / 1.9),
    ("emit", 1 / 2, 1 / 2.6),
    ("emit", 1 / 4.5, 1 / 6),
    ("ask, 50 callers", 1 / 2, 1 / 2.5),
    ("ask, queued", 1 / 1, 1 / 1.2),
    ("ask", 1 / 3, 1 / 4.5),
    ("freeze", 12, 12),
    ("sink", 1 / 0.5, 1 / 0.8),
]
LIMITS_OF_DESIGN = [250, 350, 1.1, 1.0, 1.3, 0, 25, 2]


def ratio(group: str, floor: str, subject: str, value: float) -> Ratio:
    """Return a ratio as it would have been measured."""
    return Ratio(group, floor, subject, 1e6, value * 1e6, value, 0.01, (value - 1) * 1e6, 41)


def test_every_row_of_the_design_has_its_budget() -> None:
    assert [(each.group, each.budget, each.ambition) for each in BUDGETS] == DESIGN
    assert [each.budget for each in LIMITS] == LIMITS_OF_DESIGN


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda each: f"{each.group}: {each.subject}")
def test_every_budget_bounds_cases_that_are_there(budget: Budget) -> None:
    assert (budget.group, budget.floor) in {(case.group, case.name) for case in FLOORS}
    assert (budget.group, budget.subject) in {(case.group, case.name) for case in SUBJECTS}
    assert budget.ambition <= budget.budget
    assert budget_of(budget.group, budget.floor, budget.subject) is budget


def test_every_subject_has_a_floor_and_every_floor_a_subject() -> None:
    assert {case.group for case in FLOORS} == {case.group for case in SUBJECTS}


def test_a_figure_is_judged_by_its_budget() -> None:
    assert verdict(1.21, 1.2, 1.0) == "OVER BUDGET"
    assert verdict(1.2, 1.2, 1.0) == "budget met"
    assert verdict(1.0, 1.2, 1.0) == "ambition met"


def test_a_row_has_the_budget_and_the_ambition_beside_the_ratio() -> None:
    row = line(ratio("emit", "asyncio.Queue + worker", "runtime, one mailbox", 0.5))
    assert "2.00x faster" in row
    assert "1.75x faster" in row
    assert "2.20x faster" in row
    assert row.endswith("budget met")
    assert line(ratio("publish x1", "await by hand", "runtime", 1.3)).endswith("OVER BUDGET")
    assert line(ratio("send", "await by hand", "runtime", 1.3)).endswith("%")


def test_times_that_have_limits_are_judged_too() -> None:
    found = quantities(
        [
            ratio("freeze", "a tenth", "1,000 of 10,000", 300.0),
            ratio("import", "asyncio, msgspec", "runtime as well", 31.0),
        ]
    )
    assert [(each.value, each.unit) for each in found] == [(0.3, "s"), (30.0, "ms")]
    assert str(found[0]).endswith("budget met")
    assert str(found[1]).endswith("OVER BUDGET")


def test_what_is_kept_says_how_it_stands() -> None:
    kept = as_data([ratio("publish x1", "await by hand", "runtime", 1.1)])[0]
    assert (kept["budget"], kept["ambition"], kept["verdict"]) == (1.2, 1.0, "budget met")
    assert as_data([ratio("send", "await by hand", "runtime", 1.1)])[0]["verdict"] is None


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (12.0, "12 ns"),
        (99_000.0, "99000 ns"),
        (2.5e5, "250.00 µs"),
        (2.5e6, "2.50 ms"),
        (3e9, "3.00 s"),
    ],
)
def test_a_time_has_the_unit_that_suits_it(nanoseconds: float, text: str) -> None:
    assert duration(nanoseconds) == text
