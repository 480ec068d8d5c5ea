"""The cold parts of the bus: what the compiled core asks of its terminal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from runtime._bus import EventBus, MessageContext, Scope
from runtime._dispatch import Handler
from runtime._mailbox import Core, Delivery, Mailbox
from runtime.errors import DeadlockError, NoActorKey, SinkUnset, TerminalClosed
from runtime.messages import DeadLetter
from runtime.signature import HandlerSpec
from runtime.sinks.base import Record, Sink
from runtime.workers import Workers, WorkerTask, in_worker

__all__ = ("EventBus", "Host")

logger = logging.getLogger("runtime")


class Host:
    """What is rare or asynchronous in the life of a core, written in Python.

    `begin` freezes and opens the terminal at its first message.
    """

    def __init__(
        self,
        name: str,
        *,
        capacity: int,
        concurrency: int,
        sink: Sink | None,
        begin: Callable[[], None],
    ) -> None:
        self.name = name
        self.begin = begin
        self.core = Core(self, capacity=capacity, concurrency=concurrency)
        self.workers = Workers()
        self.sunk = 0
        self._sink = sink
        self._sink_lock = asyncio.Lock()
        self._sink_open = False

    def is_inside(self) -> bool:
        """Say whether a handler from a mailbox is running in this task."""
        return in_worker()

    # Workers and failures

    def start_worker(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start one more worker on the terminal's loop."""
        self.workers.start(self.core, loop)

    def record_failure(
        self, message: object, context: MessageContext, handler: HandlerSpec, error: BaseException
    ) -> DeadLetter:
        """Log that a handler failed, once, and return it as a dead letter."""
        cut_off = self.core.is_rejecting and isinstance(
            error, (asyncio.CancelledError, TerminalClosed)
        )
        letter = DeadLetter(message, handler.name, "closed" if cut_off else "failed", error)
        logger.error(
            "%s (%s) failed to handle %s %s",
            handler.name,
            handler.location,
            type(message).__name__,
            context.id,
            exc_info=error,
        )
        return letter

    def record_rejection(self, message: object, error: TerminalClosed) -> DeadLetter:
        """Return a message that the close has turned away as a dead letter."""
        return DeadLetter(message, None, "closed", error)

    def no_actor_key(self, handler: HandlerSpec, event: object) -> NoActorKey:
        """Return the error for an event that names no actor."""
        return NoActorKey.of(handler, event)

    # Verbs that wait

    async def offer(
        self,
        bus: EventBus[Any],
        event: object,
        context: MessageContext | None,
        key: object,
        callback: Callable[[Delivery], object] | None,
    ) -> Delivery:
        """Queue an event as `emit` does, standing in line while the mailbox is full."""
        core = self.core
        box, message = bus._prepare(event, context, key, callback)  # noqa: SLF001
        if not core.post_if_room(box, message):
            place = core.await_room(box)
            try:
                await place
            except TerminalClosed:
                raise TerminalClosed.of(self.name, event) from None
            except BaseException:
                core.leave_line(box, place)
                raise
            core.post_reserved(box, message)
        return message

    async def sink_events(
        self, bus: EventBus[Any], events: Sequence[object], context: MessageContext | None
    ) -> None:
        """Persist events through the terminal's sink."""
        if len(events) == 1 and isinstance(events[0], (list, tuple)):
            events = cast("Sequence[object]", events[0])
        bus._admit(events)  # noqa: SLF001
        if self._sink is None:
            raise SinkUnset.of(self.name)
        # One context has one id, for one event; several events share its headers only.
        headers = None if context is None or len(events) == 1 else context.headers
        records: list[Record] = []
        for event in events:
            if isinstance(event, Record):
                records.append(event)
            else:
                given = context if headers is None else MessageContext(headers=headers)
                records.append(Record.of(event, bus._context(given)))  # noqa: SLF001
        await self.open_sink()
        await self._sink.sink(records)
        self.sunk += len(records)

    async def wait_for_actor(
        self, box: Mailbox, handler: Handler, event: object, context: MessageContext | None
    ) -> None:
        """Let an actor handle a published event in its mailbox, and wait for it."""
        task = asyncio.current_task()
        if isinstance(task, WorkerTask) and task.worker.has_turn_of(box):
            raise DeadlockError.itself(handler.spec, box.name)
        message = self.core.post_control(box, handler, event, context)
        try:
            await message.wait()
        except asyncio.CancelledError:
            self.core.withdraw(message)
            raise

    # Scopes

    async def enter_scope(self, scope: Scope[Any]) -> Scope[Any]:
        """Begin a scope's block."""
        self.core.scopes += 1
        return scope

    async def leave_scope(self, scope: Scope[Any]) -> None:
        """End a scope's block, and with it what the scope has built."""
        self.core.scopes -= 1
        scope._end()  # noqa: SLF001

    # The sink's life

    async def open_sink(self) -> None:
        """Open the sink once, if it can be opened."""
        if self._sink is None or self._sink_open:
            return
        async with self._sink_lock:
            if not self._sink_open:
                opener = getattr(self._sink, "open", None)
                if opener is not None:
                    await opener()
                self._sink_open = True

    async def close_sink(self) -> None:
        """Close the sink, if it is open and can be closed."""
        if self._sink_open:
            self._sink_open = False
            closer = getattr(self._sink, "close", None)
            if closer is not None:
                await closer()
