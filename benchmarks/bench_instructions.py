"""What callgrind writes is read right, and growth is told from noise."""

import pytest

from benchmarks.callgrind import CallgrindError, count, parse
from benchmarks.instructions import CASES, TOLERANCE, choose, verdict

WRITTEN = """\
# callgrind format
version: 1
events: Ir
ob=(1) /lib/one.so
fl=(1) one.c
fn=(1) first
10 5
+2 7
cob=(2) /lib/two.so
cfn=(2) second'2
calls=3 40
+1 900
-1 1
fi=(2) inline.h
7 2

ob=(2)
fl=(3) two.c
fn=(2)
* 100
totals: 115
"""


def bench_costs_are_a_function_s_own() -> None:
    """What a function calls is not added to it; depths of recursion are."""
    assert parse(WRITTEN) == {("first", "one.so"): 15, ("second", "two.so"): 100}


def bench_valgrind_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the error says what to install."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CallgrindError, match="valgrind is needed to count instructions: install"):
        count(["-c", ""])


@pytest.mark.parametrize(
    ("new", "grown"), [(1_000, False), (1_020, False), (1_021, True), (900, False)]
)
def bench_growth_above_the_tolerance_counts(new: int, grown: bool) -> None:  # noqa: FBT001
    """Two in a hundred are let pass."""
    assert TOLERANCE == 0.02
    said, has_grown = verdict("send", new, {"send": 1_000})
    assert has_grown is grown
    assert ("GROWN" in said) is grown


def bench_cases_are_chosen_by_group_or_name() -> None:
    """A group brings its floors along."""
    assert [each.name for each in choose(["send"])] == ["send: await by hand", "send"]
    assert [each.name for each in choose(["emit: key="])] == ["emit: key="]
    assert len(choose(None)) == len(CASES)
    with pytest.raises(SystemExit, match="no case is called sent; there are: publish x1: await"):
        choose(["sent"])
