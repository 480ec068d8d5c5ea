"""A source in memory, that keeps what the protocol promises, by the loop's clock."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime import Record
from runtime.errors import SourceError
from runtime.sources import Received
from runtime.wire import CloudEvents


@dataclass(eq=False)
class Entry:
    id: str
    raw: bytes
    key: str | None
    state: str = "free"
    due: float = 0.0
    failures: int = 0
    losses: int = 0
    reason: str = ""
    error: str = ""


class MemorySource:
    """Hands out what it is given; `failing` says how often each method fails first."""

    def __init__(self, *events: object, lease: float = 30.0) -> None:
        self.lease = lease
        self.entries: list[Entry] = []
        self.calls: list[str] = []
        self.failing: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        for event in events:
            self.add(event)

    def add(self, event: object, **changes: Any) -> Entry:
        """Put an event, a record or bytes at the end."""
        if isinstance(event, bytes):
            entry = Entry(f"raw {len(self.entries)}", event, None, **changes)
        else:
            record = event if isinstance(event, Record) else Record.of(event)
            entry = Entry(record.id, CloudEvents().encode(record), record.key, **changes)
        self.entries.append(entry)
        self._changed.set()
        return entry

    def states(self) -> list[str]:
        """Return what has become of each event."""
        return [entry.state for entry in self.entries]

    async def settled(self) -> None:
        """Wait until there is nothing more to hand out."""
        while any(state in ("free", "held") for state in self.states()):
            self._settled.clear()
            await self._settled.wait()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.failing.get(name, 0) > 0:
            self.failing[name] -= 1
            msg = f"{name} has failed"
            raise SourceError(msg)

    async def open(self) -> None:
        self._call("open")

    async def close(self) -> None:
        for entry in self.entries:
            if entry.state == "held":
                entry.state, entry.due = "free", 0.0
        self._call("close")

    async def receive(self, limit: int, /) -> Sequence[Received[Entry]]:
        self._call("receive")
        loop = asyncio.get_running_loop()
        while True:
            found: list[Received[Entry]] = []
            blocked: set[str | None] = set()
            for entry in self.entries:
                if entry.state == "held" and entry.due <= loop.time():
                    entry.state = "free"
                    entry.losses += 1
                if entry.state != "free" or len(found) == limit:
                    continue
                if entry.due > loop.time() or entry.key in blocked:
                    if entry.key is not None:
                        blocked.add(entry.key)
                    continue
                entry.state, entry.due = "held", loop.time() + self.lease
                found.append(
                    Received(
                        entry.id,
                        entry.raw,
                        entry.key,
                        entry.failures,
                        entry.losses,
                        entry,
                    )
                )
            if found:
                return found
            self._changed.clear()
            waits = [
                each.due
                for each in self.entries
                if each.state in ("free", "held") and each.due > loop.time()
            ]
            try:
                async with asyncio.timeout_at(min(waits, default=None)):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def acknowledge(self, received: Sequence[Received[Entry]], /) -> None:
        self._call("acknowledge")
        for each in received:
            self._settle(each, "done")

    async def put_back(self, received: Received[Entry], /, *, delay: float, failed: bool) -> None:
        self._call("put_back")
        entry = self._settle(received, "free")
        if entry is not None:
            entry.due = asyncio.get_running_loop().time() + delay
            entry.failures += failed

    async def bury(self, received: Received[Entry], /, reason: str, error: str) -> None:
        self._call("bury")
        entry = self._settle(received, "dead")
        if entry is not None:
            entry.reason, entry.error = reason, error

    async def extend(self, received: Sequence[Received[Entry]], /) -> None:
        self._call("extend")
        for each in received:
            entry = self._settle(each, "held")
            if entry is not None:
                entry.due = asyncio.get_running_loop().time() + self.lease

    def _settle(self, received: Received[Entry], state: str) -> Entry | None:
        entry = received.receipt
        # Every handing out after the first has one more loss.
        if entry.state != "held" or entry.losses != received.losses:
            return None
        entry.state = state
        self._changed.set()
        self._settled.set()
        return entry
