"""What contract tests say things with."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

from reference import Ledger

from runtime import Event

MakeTerminal = Callable[..., Any]
RunAsync = Callable[..., None]


class Work(Event):
    """A message that tests tell apart by its number."""

    number: int


class Boom(Exception):
    """What a handler raises on purpose."""


class Stage:
    """A handler that notes what it does and waits with some messages until they are released."""

    def __init__(self, *, hold: Iterable[int] = ()) -> None:
        self.started: list[int] = []
        self.finished: list[int] = []
        self.cancelled: list[int] = []
        self._held = set(hold)
        self._gates: dict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def work(self, work: Work) -> None:
        """Handle a message, after its release if it is held."""
        self.started.append(work.number)
        if work.number in self._held:
            try:
                await self._gates[work.number].wait()
            except asyncio.CancelledError:
                self.cancelled.append(work.number)
                raise
        self.finished.append(work.number)

    def release(self, number: int) -> None:
        """Let a held message go on."""
        self._gates[number].set()

    @property
    def running(self) -> list[int]:
        """The messages that are held now, in the order of their start."""
        ended = {*self.finished, *self.cancelled}
        return [number for number in self.started if number not in ended]


async def settle() -> None:
    """Yield until everything that need not wait for the test has run."""
    for _ in range(50):
        await asyncio.sleep(0)


def ledger(terminal: Any) -> Ledger:
    """Return where a terminal's messages are; fails if one is lost or counted twice."""
    stats = terminal.stats()
    return Ledger(**{each.name: getattr(stats, each.name) for each in fields(Ledger)})
