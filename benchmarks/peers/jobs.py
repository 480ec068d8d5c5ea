"""Say what the peers and the runtime do side by side, and prove that they did it.

Every handler counts its calls while it is timed. When the measuring is over, the counts must say
that each operation ran each of its handlers once, and that each reply was the right one.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.workload import BURST, COMMAND, EVENT, Case

FAST = 10_000
"""Operations in a round of what takes less than a microsecond, or has callers to be started.

Fewer would measure the caches, which the slower peers emptied just before.
"""


@dataclass(frozen=True)
class Job:
    """What is done once for each operation."""

    name: str
    title: str
    handled: int = 1
    """How many times handlers run for one operation."""
    replies: bool = False


JOBS = {
    job.name: job
    for job in (
        Job("publish x1", "publish to one async handler and wait for it"),
        Job("publish x3", "publish to three async handlers and wait for them", handled=3),
        Job("sync x1", "publish to one sync handler"),
        Job("sync x3", "publish to three sync handlers", handled=3),
        Job("injected", "publish to an async handler with an injected object"),
        Job("send", "a command and its reply, async handler", replies=True),
        Job("send sync", "a command and its reply, sync handler", replies=True),
        Job("emit", "hand over bursts of 50, until an async handler is done"),
        Job("emit sync", "hand over bursts of 50, until a sync handler is done"),
        Job("ask", "ask a background worker, one caller", replies=True),
        Job("ask x50", "ask a background worker, 50 callers at once", replies=True),
    )
}


class Tally:
    """Counts how many times the handlers of a row ran."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


Run = Callable[[int], Awaitable[object]]
"""Performs a number of operations; returns the last reply where there are replies."""
Prepare = Callable[[Tally], AbstractAsyncContextManager[Run]]


@dataclass(frozen=True)
class Row:
    """One peer at one job."""

    job: str
    peer: str
    does: str
    """What it does beyond calling the handlers, from its source."""
    prepare: Prepare
    unit: int = 2_000
    """Operations in one round."""


@dataclass(frozen=True)
class Blank:
    """Jobs that a peer cannot do."""

    peer: str
    why: str
    jobs: tuple[str, ...]


class NotHandledError(AssertionError):
    """A row did not do the work that it was timed for."""


def proved(row: Row) -> Case:
    """Return a row as a case that is refused if its handlers did not run once an operation."""
    job = JOBS[row.job]

    @asynccontextmanager
    async def prepare() -> AsyncGenerator[Callable[[int], Awaitable[None]]]:
        tally = Tally()
        rounds: list[tuple[int, int, object]] = []
        async with row.prepare(tally) as run:

            async def timed(n: int) -> None:
                reply = await run(n)
                rounds.append((n, tally.count, reply))

            yield timed
        check(row, job, rounds)

    return Case(row.job, row.peer, prepare, row.unit)


def check(row: Row, job: Job, rounds: list[tuple[int, int, object]]) -> None:
    """Compare the counts and replies of the rounds with what they must be."""
    expected = 0
    for operations, counted, reply in rounds:
        expected += operations * job.handled
        if counted != expected:
            message = (
                f"{row.peer}, {row.job}: handlers ran {counted} times, not {expected}, "
                f"after a round of {operations} operations"
            )
            raise NotHandledError(message)
        if job.replies and reply != COMMAND.order_id:
            message = f"{row.peer}, {row.job}: the reply was {reply!r}, not {COMMAND.order_id}"
            raise NotHandledError(message)


def awaiting(publish: Callable[[Any], Awaitable[object]], message: object) -> Run:
    """Await one call after the other."""

    async def run(n: int) -> object:
        reply = None
        for _ in range(n):
            reply = await publish(message)
        return reply

    return run


def calling(publish: Callable[[Any], object], message: object) -> Run:
    """Call, one time after the other."""

    async def run(n: int) -> object:
        reply = None
        for _ in range(n):
            reply = publish(message)
        return reply

    return run


def bursts(tally: Tally, emit: Callable[[Any], object]) -> Run:
    """Hand over bursts, and let the loop run until each burst is handled."""

    async def run(n: int) -> None:
        for _ in range(n // BURST):
            handled = tally.count + BURST
            for _ in range(BURST):
                emit(EVENT)
            while tally.count < handled:
                await asyncio.sleep(0)

    return run


def callers(ask: Callable[[Any], Coroutine[Any, Any, object]]) -> Run:
    """Ask from 50 tasks that each ask one after the other, as the requests of a service do."""

    async def run(n: int) -> object:
        one = awaiting(ask, COMMAND)
        (reply,) = set(await asyncio.gather(*(one(n // BURST) for _ in range(BURST))))
        return reply

    return run
