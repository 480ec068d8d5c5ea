"""What callgrind writes is read right, and growth is told from noise."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.callgrind import CallgrindError, Functions, count, parse, prepare
from benchmarks.instructions import CASES, TOLERANCE, choose, per_operation, verdict

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


def bench_valgrind_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without it, the error says what to install."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CallgrindError, match="valgrind is needed to count instructions: install"):
        count(["-c", ""], tmp_path)


def bench_what_is_imported_is_compiled_beforehand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where Python is told to leave nothing compiled, as the Makefile tells it."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    prepare(["-c", "import benchmarks.workload"], tmp_path)
    assert list(tmp_path.rglob("workload.*.pyc"))


def bench_a_program_that_fails_is_an_error(tmp_path: Path) -> None:
    """What it printed is in the error."""
    with pytest.raises(CallgrindError, match=r"failed:\n(.|\n)*LookupError: here"):
        prepare(["-c", "raise LookupError('here')"], tmp_path)


def bench_the_difference_is_divided() -> None:
    """What both runs cost is starting up; a run that is longer and cheaper is none."""
    few: Functions = Counter({("start", "one.so"): 100, ("step", "one.so"): 20})
    many: Functions = Counter({("start", "one.so"): 100, ("step", "one.so"): 70})
    assert per_operation(few, many, 10) == {("start", "one.so"): 0, ("step", "one.so"): 5}
    with pytest.raises(CallgrindError, match="more rounds cost less"):
        per_operation(many, few, 10)


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
