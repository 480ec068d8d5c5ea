"""What the store remembers, told again after a restart."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from examples.flights.events import FlightArrived, FlightCancelled, FlightDeparted, FlightEvent
from runtime import EventBus, MessageContext
from runtime.wire import CloudEvents

from .handlers import RESTORED

__all__ = ("restore",)

BATCH: Final = 2_000
FORM: Final = CloudEvents()
KINDS: Final = {kind.__name__: kind for kind in (FlightArrived, FlightCancelled, FlightDeparted)}
QUERY: Final = "SELECT position, payload FROM events WHERE position > ? ORDER BY position LIMIT ?"


async def restore(database: Path, bus: EventBus[FlightEvent]) -> int:
    """Publish all events of the store in their order, and return how many there were."""
    restored = position = 0
    while batch := await asyncio.to_thread(read, database, position):
        for position, event in batch:  # noqa: B007 -- the next batch begins after it
            await bus.publish(event, MessageContext(headers={RESTORED: "yes"}))
        restored += len(batch)
    return restored


def read(database: Path, after: int) -> list[tuple[int, FlightEvent]]:
    """Return some events, each with its position."""
    with closing(sqlite3.connect(database)) as db:
        return list(decode(db.execute(QUERY, (after, BATCH))))


def decode(rows: sqlite3.Cursor) -> Iterator[tuple[int, FlightEvent]]:
    """Yield the events of rows."""
    for position, payload in rows:
        event: Any = FORM.decode(payload, KINDS.__getitem__).event
        yield position, event
