"""Watch what happens to messages, and wait until nothing happens any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from runtime._bus import EventBus
from runtime._context import MessageContext
from runtime.delays import Delays
from runtime.messages import Command, DeadLetter
from runtime.terminal import BusTerminal

__all__ = ("Tracked", "track")

T = TypeVar("T")


@dataclass(slots=True)
class Log:
    """What has happened, in order."""

    emitted: list[object] = field(default_factory=list[object])
    published: list[object] = field(default_factory=list[object])
    sent: list[object] = field(default_factory=list[object])
    handled: list[object] = field(default_factory=list[object])
    dead: list[DeadLetter] = field(default_factory=list[DeadLetter])


class Tracked:
    """What has happened to the messages of a terminal inside a `track` block.

    Each question is about the instances of a class, in the order in which it happened to them.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    def emitted(self, kind: type[T]) -> list[T]:
        """Return the events that were emitted or offered, and accepted."""
        return [each for each in self._log.emitted if isinstance(each, kind)]

    def published(self, kind: type[T]) -> list[T]:
        """Return the events that were published."""
        return [each for each in self._log.published if isinstance(each, kind)]

    def sent(self, kind: type[T]) -> list[T]:
        """Return the commands that were sent."""
        return [each for each in self._log.sent if isinstance(each, kind)]

    def handled(self, kind: type[T]) -> list[T]:
        """Return the messages all of whose handlers have ended well, whichever verb it was."""
        return [each for each in self._log.handled if isinstance(each, kind)]

    def dead(self, kind: type[object]) -> list[DeadLetter]:
        """Return the dead letters about messages of a class."""
        return [each for each in self._log.dead if isinstance(each.message, kind)]


class Observers:
    """Those who track one terminal at the same time, as its core sees them."""

    def __init__(self) -> None:
        self.logs: list[Log] = []

    def emitted(self, event: object) -> None:
        """Note that an event was accepted."""
        for log in self.logs:
            log.emitted.append(event)

    def handled(self, event: object) -> None:
        """Note that a message has ended well."""
        for log in self.logs:
            log.handled.append(event)

    def dead(self, letter: DeadLetter) -> None:
        """Note a dead letter."""
        for log in self.logs:
            log.dead.append(letter)

    async def watch_publish(
        self, bus: EventBus[Any], event: object, context: MessageContext | None
    ) -> None:
        """Publish an event, and note that."""
        for log in self.logs:
            log.published.append(event)
        await bus._publish(event, context)  # noqa: SLF001
        self.handled(event)

    async def watch_send(
        self, bus: EventBus[Any], command: Command[Any], context: MessageContext | None
    ) -> Any:
        """Send a command, and note that."""
        for log in self.logs:
            log.sent.append(command)
        reply = await bus._send(command, context)  # noqa: SLF001
        self.handled(command)
        return reply


@asynccontextmanager
async def track(
    terminal: BusTerminal[Any], *, timeout: float | None = 5.0, delayed: bool = False
) -> AsyncGenerator[Tracked, None]:
    """Record what happens to messages inside the block, and wait for all of it at its end.

    When the block has ended well, everything that was emitted, and all that its handlers emitted
    in turn, is waited for, for `timeout` seconds of the loop's clock; with `delayed`, delays that
    are not over too. Several may track one terminal.

    Raises `TimeoutError` if something is still queued or running then.
    """
    core = terminal.scope().core
    observers = core.observer if isinstance(core.observer, Observers) else Observers()
    log = Log()
    observers.logs.append(log)
    core.observe(observers)
    try:
        yield Tracked(log)
        await quiet(terminal, core.host.delays if delayed else None, timeout)
    finally:
        observers.logs = [each for each in observers.logs if each is not log]
        if not observers.logs:
            core.observe(None)


async def quiet(terminal: BusTerminal[Any], delays: Delays | None, timeout: float | None) -> None:
    """Wait until nothing is queued or running, nor delayed if there are delays to wait for."""
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    while True:
        await terminal.drain(None if deadline is None else max(0.0, deadline - loop.time()))
        if delays is None or delays.next_due is None:
            return
        if deadline is not None and delays.next_due > deadline:
            msg = f"a delayed message is due after the {timeout} s that were to be waited"
            raise TimeoutError(msg)
        await asyncio.sleep(max(0.0, delays.next_due - loop.time()))
