"""The sink of one terminal: opened when it is needed, closed after what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from runtime._bus import EventBus
from runtime._context import MessageContext
from runtime.errors import SinkUnset
from runtime.sinks.base import Record, Sink

__all__ = ("Outlet",)


class Outlet:
    """Where events leave the process, if the terminal has a sink."""

    def __init__(self, sink: Sink | None, terminal: str) -> None:
        self.sunk = 0
        """How many events the store has confirmed."""
        self._sink = sink
        self._terminal = terminal
        self._lock = asyncio.Lock()
        self._is_open = False
        self._under_way = 0
        self._all_done = asyncio.Event()

    async def sink(
        self, bus: EventBus[Any], events: Sequence[object], context: MessageContext | None
    ) -> None:
        """Persist events, sent through a bus."""
        if len(events) == 1 and isinstance(events[0], (list, tuple)):
            events = cast("Sequence[object]", events[0])
        bus._admit(events)  # noqa: SLF001
        if self._sink is None:
            raise SinkUnset.of(self._terminal)
        # One context has one id, for one event; several events share its headers only.
        headers = None if context is None or len(events) == 1 else context.headers
        records: list[Record] = []
        for event in events:
            if isinstance(event, Record):
                records.append(event)
            else:
                given = context if headers is None else MessageContext(headers=headers)
                records.append(Record.of(event, bus._context(given)))  # noqa: SLF001
        self._under_way += 1
        self._all_done.clear()
        try:
            await self.open()
            await self._sink.sink(records)
        finally:
            self._under_way -= 1
            if self._under_way == 0:
                self._all_done.set()
        self.sunk += len(records)

    async def open(self) -> None:
        """Open the sink once, if it can be opened."""
        if self._sink is None or self._is_open:
            return
        async with self._lock:
            if not self._is_open:
                opener = getattr(self._sink, "open", None)
                if opener is not None:
                    await opener()
                self._is_open = True

    async def close(self, timeout: float) -> None:
        """Close the sink, if it is open and can be closed, after the calls that are under way.

        `timeout` is how many seconds those may take. A cancellation ends that wait, and is raised
        when the sink is closed.
        """
        interruption: asyncio.CancelledError | None = None
        if self._under_way:
            try:
                async with asyncio.timeout(timeout):
                    await self._all_done.wait()
            except TimeoutError:
                pass
            except asyncio.CancelledError as error:
                interruption = error
        while self._lock.locked():
            # Somebody opens it this very moment; it can be closed after that.
            try:
                async with self._lock:
                    break
            except asyncio.CancelledError as error:
                interruption = error
        if self._is_open:
            self._is_open = False
            closer = getattr(self._sink, "close", None)
            if closer is not None:
                await closer()
        if interruption is not None:
            raise interruption
