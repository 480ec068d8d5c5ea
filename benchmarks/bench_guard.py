"""The guard fails when it has to, and only then."""

import json
import sys
import time
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fitness, guard, lastgood
from benchmarks.floors import FLOORS
from benchmarks.jobs import BLOCKS, JOBS, Measure
from benchmarks.lastgood import Good
from benchmarks.registries import registry_of
from benchmarks.results import minor
from benchmarks.subjects import SUBJECTS
from benchmarks.subjects.publish import publishing
from benchmarks.workload import handle

ONE = "publish x1: runtime / await by hand"
EMIT = "emit: runtime, one mailbox / asyncio.Queue + worker"


class Injected:
    """Measures nothing: gives each job its budget, but for what it is told, time after time."""

    def __init__(self, told: dict[str, list[float]]) -> None:
        self.told = told
        self.calls: list[tuple[set[str], int]] = []

    def __call__(self, groups: AbstractSet[str], rounds: int) -> dict[str, float]:
        turn = len(self.calls)
        self.calls.append((set(groups), rounds))
        figures = {job.name: job.budget for job in JOBS if job.group in groups}
        told = {name: each[turn] for name, each in self.told.items() if name in figures}
        return figures | told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file with the last good figures of two jobs."""
    path = tmp_path / "figures.json"
    goods = {ONE: Good(1.1, "2026-01-31", "0.1.0"), EMIT: Good(0.5, "2026-01-31", "0.1.0")}
    lastgood.write(minor(), goods, path)
    return path


def bench_figures_within_their_bounds_pass(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At its budget, every job is within its bound; nothing is measured again."""
    measure = Injected({})
    assert guard.main([], measure, path) == 0
    assert measure.calls == [({job.group for job in JOBS}, guard.ROUNDS)]
    assert "TOO MUCH" not in capsys.readouterr().out


def bench_a_slow_job_fails(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the job, its ratio, the bound, the budget and the last good figure."""
    measure = Injected({ONE: [1.62, 1.65]})
    assert guard.main([], measure, path) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "TOO MUCH: publish x1: runtime / await by hand: 1.62x, and the bound is 1.50x"
        " (budget 1.20x); last good figure 1.10x (0.1.0, 2026-01-31), 47% above it"
    )


def bench_a_job_that_has_to_be_faster_fails(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is budgeted as so many times faster is written so."""
    assert guard.main([], Injected({EMIT: [0.8, 0.8]}), path) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "TOO MUCH: emit: runtime, one mailbox / asyncio.Queue + worker: 1.25x faster, and the bound"
        " is 1.40x faster (budget 1.75x faster); last good figure 2.00x faster (0.1.0, 2026-01-31),"
        " 60% above it"
    )


def bench_noise_that_goes_away_passes(path: Path) -> None:
    """What was above its bound is measured once more: its group alone, with more rounds."""
    measure = Injected({ONE: [1.62, 1.15]})
    assert guard.main([], measure, path) == 0
    assert measure.calls[1:] == [({"publish x1"}, guard.AGAIN)]


def bench_it_is_measured_again_once(path: Path) -> None:
    """A job that is above its bound twice fails, whatever it would do the third time."""
    measure = Injected({ONE: [1.62, 1.62, 1.0]})
    assert guard.main([], measure, path) == 1
    assert len(measure.calls) == 2


def bench_another_job_of_the_group_keeps_its_figure(path: Path) -> None:
    """Noise in the second measurement does not fail what was within its bound in the first."""
    keyed = "emit: runtime, key= / asyncio.Queue + worker"
    assert guard.main([], Injected({EMIT: [0.9, 0.5], keyed: [0.6, 0.9]}), path) == 0


def bench_a_missing_last_good_figure_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new interpreter has none: it is said, and the bound holds all the same."""
    nowhere = tmp_path / "none.json"
    assert guard.main(["--group", "publish x1"], Injected({}), nowhere) == 0
    said = f"no last good figure on CPython {minor()}"
    assert said in capsys.readouterr().out
    assert guard.main([], Injected({ONE: [1.62, 1.62]}), nowhere) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith(said)


def bench_a_faster_result_passes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below the last good figure is well, and said."""
    assert guard.main([], Injected({ONE: [0.99]}), path) == 0
    assert "last good figure 1.10x (0.1.0, 2026-01-31), 10% below it" in capsys.readouterr().out


def bench_creep_is_pointed_out(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A job within its bound but far above its last good figure is named at the end."""
    assert guard.main([], Injected({ONE: [1.4]}), path) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "CREEPING: publish x1: runtime / await by hand: 1.40x;"
        " last good figure 1.10x (0.1.0, 2026-01-31), 27% above it"
    )


def bench_growth_of_the_heap_fails(path: Path) -> None:
    """Blocks are counted: a hundred for 100,000 messages are too many."""
    assert guard.main([], Injected({BLOCKS: [100, 100]}), path) == 1


def bench_update_keeps_what_is_within_its_bound(path: Path) -> None:
    """The figure of a job that fails is no good one: the one before it stays."""
    others = {"2.9": {ONE: {"figure": 1.0, "date": "2026-01-01", "version": "0.0.1"}}}
    path.write_text(json.dumps(json.loads(path.read_text()) | others))
    assert guard.main(["--update"], Injected({ONE: [1.62, 1.62], EMIT: [0.6]}), path) == 1
    goods = lastgood.read(minor(), path)
    assert goods[ONE] == Good(1.1, "2026-01-31", "0.1.0")
    assert goods[EMIT] == Good.now(0.6)
    assert goods.keys() == {job.name for job in JOBS}
    assert lastgood.read("2.9", path).keys() == {ONE}


def bench_a_job_that_nobody_measures_is_an_error(path: Path) -> None:
    """A case that was renamed does not drop out of the guard."""

    def measure(groups: AbstractSet[str], rounds: int) -> dict[str, float]:
        return {}

    with pytest.raises(LookupError, match=r"no case measures publish x1: runtime / await by hand"):
        guard.main(["--group", "publish x1"], measure, path)


def bench_every_budget_has_its_cases() -> None:
    """Each job with a ratio names a floor and a subject that exist."""
    known = {
        f"{floor.group}: {subject.name} / {floor.name}"
        for floor in FLOORS
        for subject in SUBJECTS
        if floor.group == subject.group
    }
    assert {job.name for job in JOBS if job.unit == "x"} <= known


def bench_a_path_that_is_slow_for_real_fails(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Publish through a publisher that dawdles, measured by the clock."""

    async def dawdle(event: Any, context: Any, listeners: Any) -> None:
        for listener in listeners:
            until = time.perf_counter() + 5e-6
            while time.perf_counter() < until:
                pass
            await listener(event, context)

    slow = [
        replace(case, prepare=partial(publishing, registry_of(handle), publisher=dawdle))
        if case.group == "publish x1"
        else case
        for case in SUBJECTS
    ]
    assert guard.main(["--group", "publish x1"], Measure(FLOORS, slow), path) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("TOO MUCH: publish x1: runtime / await by hand: ")
    assert "and the bound is 1.50x (budget 1.20x); last good figure 1.10x" in last


def bench_it_refuses_under_a_tracer(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coverage slows the floors more than the compiled core: such ratios say nothing."""
    monkeypatch.setattr(sys, "gettrace", lambda: print)
    assert guard.main([], Injected({}), path) == 2
    assert capsys.readouterr().out == (
        "cannot guard: coverage, a debugger or a profiler looks on; run without\n"
    )


@pytest.mark.parametrize(
    ("compiled", "reason"),
    [
        ([], "the core is not compiled"),
        ([fitness.NONE_CHECK] * 2, "the core is a debug build"),
        ([fitness.NONE_CHECK, b""], None),
    ],
    ids=["none", "debug", "release"],
)
def bench_it_refuses_what_was_compiled_for_debugging(
    compiled: list[bytes], reason: str | None
) -> None:
    """A module that was compiled with `nonecheck` says so."""
    said = fitness.unfit(compiled)
    assert (said and said.partition(";")[0]) == reason


def bench_it_sees_how_the_core_was_compiled() -> None:
    """The compiled modules are found, the one of the bus among them."""
    sources = Path(__file__).parents[1] / "src_ext" / "runtime"
    assert len(fitness.compiled_modules()) == len(list(sources.glob("*.pyx")))
