"""Say what is measured: the message, its handlers, and what a case is.

A case prepares itself inside a running loop and yields a coroutine function that performs
``n`` operations. Floors and subjects share the handlers below, so that a ratio compares the
machinery and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from runtime import Command, Event

BURST = 50
MANY = 10_000
"""Operations in a round where the callers have to be started first."""
MAILBOXES = 10_000
SINK_BATCH = 500
SLOW = 21
"""Rounds at most for a case that takes long: enough for a median."""

Run = Callable[[int], Awaitable[None]]
Ask = Callable[[], Coroutine[Any, Any, int]]
Callers = Callable[[Ask], Run]
Prepare = Callable[[], AbstractAsyncContextManager[Run]]


@dataclass(frozen=True)
class Case:
    """One thing to measure, in a group that has one or more floors."""

    group: str
    name: str
    prepare: Prepare
    unit: int = 1_000
    """Operations in one round: enough to drown the clock, few enough to interleave."""
    rounds: int | None = None
    """Rounds at most, for a case that takes long."""


class Context:
    """The context that a hand-written program would pass: three slots, nothing filled."""

    __slots__ = ("causation", "headers", "id")


class Ordered(Event):
    """The event that every case sends."""

    order_id: int
    customer: str
    total: float


class Clock:
    """A singleton dependency."""


class Mailer:
    """A second singleton dependency."""


class Session:
    """A scoped dependency: a new one for every scope."""

    __slots__ = ("clock",)

    def __init__(self, clock: Clock) -> None:
        self.clock = clock


def open_session(clock: Clock) -> Session:
    """Build the scoped dependency."""
    return Session(clock)


def managed_session(clock: Clock) -> Generator[Session]:
    """Build the scoped dependency, and have something to leave afterwards."""
    yield Session(clock)


class GetOrder(Command[int]):
    """The command that is sent."""

    order_id: int


COMMAND = GetOrder(order_id=42)
EVENT = Ordered(order_id=42, customer="Ada", total=12.5)


async def handle(event: Ordered, ctx: Any) -> None:
    """Handle nothing, asynchronously."""


async def reply(command: GetOrder, ctx: Any) -> int:
    """Answer a command."""
    return command.order_id


def handle_sync(event: Ordered, ctx: Any) -> None:
    """Handle nothing, synchronously."""


def one_caller(ask: Ask) -> Run:
    """Ask, one after the other."""

    async def run(n: int) -> None:
        for _ in range(n):
            await ask()

    return run


def many_callers(ask: Ask) -> Run:
    """Ask from tasks that each ask one after the other, as the requests of a service do."""

    async def run(n: int) -> None:
        one = one_caller(ask)
        await asyncio.gather(*(one(n // BURST) for _ in range(BURST)))

    return run


def gathered(ask: Ask) -> Run:
    """Ask many at a time, each from a task of its own, which is most of the time then."""

    async def run(n: int) -> None:
        for _ in range(n // BURST):
            await asyncio.gather(*(ask() for _ in range(BURST)))

    return run
