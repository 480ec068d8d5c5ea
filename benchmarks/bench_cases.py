"""Every floor and subject as a pytest-benchmark case, in the group that it belongs to.

The ratios that count are taken side by side by ``python -m benchmarks``; this suite shows the
spread of each case by itself.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.floors import FLOORS
from benchmarks.subjects import SUBJECTS
from benchmarks.workload import Case

CASES = [*FLOORS, *SUBJECTS]
ROUNDS = 30


@contextmanager
def prepared(case: Case) -> Generator[Callable[[], None]]:
    """Prepare a case on a loop of its own, and yield what runs one round of it."""
    loop = uvloop.new_event_loop()
    manager = case.prepare()
    run = loop.run_until_complete(manager.__aenter__())
    try:
        yield lambda: loop.run_until_complete(run(case.unit))
    finally:
        loop.run_until_complete(manager.__aexit__(None, None, None))
        loop.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.name}")
def bench_case(benchmark: BenchmarkFixture, case: Case) -> None:
    """Time rounds of the case; one round is `case.unit` operations."""
    benchmark.group = f"{case.group}, {case.unit:,} a round"
    with prepared(case) as one_round:
        # pytest-benchmark has no types for it.
        benchmark.pedantic(  # type: ignore[no-untyped-call]  # pyright: ignore[reportUnknownMemberType]
            one_round, rounds=min(ROUNDS, case.rounds or ROUNDS), warmup_rounds=3
        )
