"""Waits for a mailbox: for room in it, and for an actor that lives in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from runtime._actors import post_control, withdraw
from runtime._bus import EventBus
from runtime._context import MessageContext
from runtime._core import Core
from runtime._dispatch import Handler
from runtime._lines import Lines
from runtime._mailbox import Delivery, Mailbox
from runtime._waits import Waits
from runtime._wiring import Storage
from runtime.errors import TerminalClosed
from runtime.supervision import Supervision
from runtime.workers import worker_of

__all__ = ("Waiting",)

OFFERS: Final = "offers {event} to {mailbox}, which is full"
PUBLISHES: Final = "publishes {event} to {mailbox}"


class Waiting:
    """Those who wait for the mailboxes of one terminal, each with its edge in the graph `waits`."""

    def __init__(
        self,
        core: Core,
        lines: Lines,
        waits: Waits,
        supervision: Supervision,
        name: str,
    ) -> None:
        self._core = core
        self._lines = lines
        self._waits = waits
        self._supervision = supervision
        self._name = name

    async def offer(
        self,
        bus: EventBus[Any],
        event: object,
        context: MessageContext | None,
        key: object,
        delay: float | None,
        ttl: float | None,
        callback: Callable[[Delivery], object] | None,
    ) -> Delivery:
        """Queue an event as `emit` does, standing in line while the mailbox is full."""
        if delay is not None:
            # It waits for room when its time has come.
            return bus.emit(event, context, key=key, delay=delay, ttl=ttl, callback=callback)
        box, message = bus._prepare(event, context, key, ttl, callback)  # noqa: SLF001
        if not self._lines.reserve(box, message):
            is_inside = bus._is_caused or worker_of(self._core) is not None  # noqa: SLF001
            edge = self._waits.edge_of(bus._storage, OFFERS, box, None, event)  # noqa: SLF001
            if edge is not None:
                edge.draw()
            try:
                place = self._lines.wait(box, message, is_inside)
                if edge is not None:
                    edge.suspend(place)
                try:
                    await place
                except TerminalClosed:
                    raise TerminalClosed.of(self._name, event) from None
                except BaseException:
                    self._lines.leave(box, place)
                    raise
            finally:
                if edge is not None:
                    edge.erase()
        bus._post_reserved(box, message)  # noqa: SLF001
        return message

    async def wait_for_actor(
        self,
        box: Mailbox,
        handler: Handler,
        event: object,
        context: MessageContext | None,
        storage: Storage,
    ) -> Any:
        """Let an actor handle a message in its mailbox, wait for it, and return its reply."""
        self._supervision.check(box, handler, event)
        message = post_control(self._core, box, handler, event, context, storage)
        try:
            await message.wait_by(self._waits.edge_of(storage, PUBLISHES, box, message, event))
        except BaseException:
            # Given up: what has not been started will not be.
            withdraw(message)
            raise
        return message.take_reply()
