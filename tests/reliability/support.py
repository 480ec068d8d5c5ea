"""What the scenarios say things with."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any

from runtime import BusTerminal, Event, MessageRegistry, Stats
from runtime.reports import TypeCounters


class Work(Event):
    """A message that scenarios tell apart by its number, and by who sent it."""

    number: int = 0
    producer: int = 0


class Other(Event):
    """A message of another type."""

    number: int = 0


def number_of(message: object) -> int:
    """Return the number of a message that is known as an object only."""
    assert isinstance(message, Work)
    return message.number


class Boom(Exception):
    """What a handler raises on purpose."""


FAILURES = r"failed to handle (Work|Other)"
"""What is logged for a handler that fails."""


def make_terminal(*handlers: Callable[..., Any], **options: Any) -> BusTerminal[Event]:
    """Return a terminal with handlers, of which classes are actors."""
    registry = MessageRegistry(event_base=Event)
    for each in handlers:
        registry.register(each, lifetime="actor" if isinstance(each, type) else None)
    return BusTerminal(registry, **options)


def assert_ledger(stats: Stats, **counts: int) -> None:
    """Assert that every accepted message is in exactly one class, and how many some have."""
    ended = stats.handled + stats.failed + stats.dropped + stats.expired + stats.rejected_at_close
    assert stats.emitted == ended + stats.pending, stats
    assert {name: getattr(stats, name) for name in counts} == counts


def assert_counters(terminal: BusTerminal[Any]) -> None:
    """Assert that what is counted of each message type adds up to the ledger."""
    counters, stats = terminal.counters().by_type.values(), terminal.stats()
    for name in (each.name for each in fields(TypeCounters)):
        counts = [getattr(each, name) for each in counters]
        assert min(counts, default=0) >= 0, name
        assert sum(counts) == getattr(stats, name), name


@asynccontextmanager
async def proven(
    *handlers: Callable[..., Any], **options: Any
) -> AsyncGenerator[BusTerminal[Event]]:
    """Open a terminal with handlers; at the end everything has ended, and the ledger adds up."""
    async with proof_of(make_terminal(*handlers, **options)) as terminal:
        yield terminal


@asynccontextmanager
async def proof_of(terminal: BusTerminal[Event]) -> AsyncGenerator[BusTerminal[Event]]:
    """Open a terminal; at the end everything has ended, and the ledger adds up."""
    await terminal.open()
    try:
        yield terminal
        await terminal.drain()
    finally:
        report = await terminal.close()
    stats = terminal.stats()
    assert_ledger(stats, pending=0, scopes=0)
    assert_counters(terminal)
    assert (report.handled, report.failed) == (stats.handled, stats.failed)
    assert (len(report.undelivered), report.stuck) == (stats.rejected_at_close, ())


async def turns(count: int) -> None:
    """Let the loop go round some times; no time passes."""
    for _ in range(count):
        await asyncio.sleep(0)


class Rounds:
    """Counts how often the running loop has gone round since this was made.

    Raises `AssertionError` out of the loop beyond a limit: a loop that spins ends nothing else.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.count = 0
        self.limit = limit
        loop: Any = asyncio.get_running_loop()
        # Private to asyncio: what its loops do again and again until they are stopped.
        self._once: Callable[[], None] = loop._run_once
        loop._run_once = self._run_once

    def _run_once(self) -> None:
        self.count += 1
        assert self.limit is None or self.count <= self.limit
        self._once()


def hold_until(gate: asyncio.Event, started: list[Any]) -> Callable[[Other], Any]:
    """Return a handler that notes what it has started, and waits until a gate is open."""

    async def hold(other: Other) -> None:
        started.append(other)
        await gate.wait()

    return hold
