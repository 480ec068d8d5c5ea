"""The sink of one terminal: opened when it is needed, closed after what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, cast

from runtime._bus import EventBus
from runtime._context import MessageContext
from runtime.errors import SinkError, SinkUnset
from runtime.sinks.base import Record, Sink
from runtime.sinks.routing import Routing, Sinks, check_sink, persist

__all__ = ("Outlet",)

UNWIND_SECONDS: Final = 1.0
"""How long closing the sink may take when the time of the close is over."""


class Outlet:
    """Where events leave the process, if the terminal has a sink.

    Raises `TypeError` if what it is given is none.
    """

    def __init__(self, sink: Sinks | None, terminal: str) -> None:
        if sink is not None:
            check_sink(sink)
        self.sunk: int = 0
        """How many events the store has confirmed."""
        self._sink: Sink | None = Routing(sink, terminal) if isinstance(sink, Mapping) else sink
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
            try:
                await self.open()
            except SinkError as error:
                # Nothing of these has been written.
                raise SinkError(str(error), records) from error
            except Exception as error:
                raise SinkError.of(self._sink, error, records) from error
            if isinstance(self._sink, Routing):
                await self._sink.sink(records)
            else:
                await persist(self._sink, records)
        except SinkError as error:
            if isinstance(self._sink, Routing):
                # Some of the stores may have confirmed theirs.
                self.sunk += len(records) - len(error.records)
            raise
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

    async def _within(self, seconds: float, closer: Callable[[], Awaitable[object]]) -> None:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await closer()
        except TimeoutError as error:
            if not limit.expired():
                raise
            msg = f"the sink of terminal {self._terminal!r} has not closed within {seconds:g} s"
            raise TimeoutError(msg) from error

    async def close(self, timeout: float) -> None:
        """Close the sink, if it is open and can be closed, after the calls that are under way.

        `timeout` is how many seconds those may take, and the closing, which has a little more in
        any case. A cancellation ends that wait, and is raised when the sink is closed.

        Raises `TimeoutError` if the sink has not closed in time, and what it raises.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
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
                await self._within(max(UNWIND_SECONDS, deadline - loop.time()), closer)
        if interruption is not None:
            raise interruption
