"""The proof that rows do their work can fail; the runtime's own rows pass it. Needs no peers."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

import runtime
from benchmarks.peers import ours
from benchmarks.peers.jobs import JOBS, NotHandledError, Row, Run, Tally, proved
from benchmarks.workload import COMMAND


async def measured(row: Row, operations: int) -> None:
    """Do two rounds of a row, as the measuring does, and have it proved."""
    async with proved(row).prepare() as run:
        await run(operations)
        await run(operations)


def row_that_handles(counts: list[int], job: str, reply: object = None) -> Row:
    """Return a row whose handlers run so many times in each round, whatever is asked."""

    @asynccontextmanager
    async def prepare(tally: Tally) -> AsyncGenerator[Run]:
        rounds = iter(counts)

        async def run(n: int) -> object:
            tally.count += next(rounds)
            return reply

        yield run

    return Row(job, "a peer", "nothing", prepare)


@pytest.mark.parametrize("row", ours.ROWS, ids=lambda row: row.job)
def test_the_runtime_runs_each_handler_once_for_each_operation(row: Row) -> None:
    runtime.run(measured(row, 100))


def test_the_runtime_does_every_job() -> None:
    assert [row.job for row in ours.ROWS] == list(JOBS)


@pytest.mark.parametrize(
    ("job", "counts"),
    [
        ("publish x1", [0, 0]),
        ("publish x1", [100, 99]),
        ("publish x1", [200, 200]),
        ("publish x3", [100, 100]),
        # Late: the round ended before its work was done.
        ("emit", [99, 101]),
    ],
)
def test_a_row_that_handles_another_number_is_refused(job: str, counts: list[int]) -> None:
    with pytest.raises(NotHandledError, match=f"a peer, {job}: handlers ran"):
        runtime.run(measured(row_that_handles(counts, job), 100))


def test_a_row_with_the_wrong_reply_is_refused() -> None:
    with pytest.raises(NotHandledError, match="the reply was 41, not 42"):
        runtime.run(measured(row_that_handles([100, 100], "send", 41), 100))


def test_a_row_with_the_right_counts_and_reply_passes() -> None:
    runtime.run(measured(row_that_handles([100, 100], "ask", COMMAND.order_id), 100))
