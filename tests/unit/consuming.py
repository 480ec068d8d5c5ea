"""What the tests of consuming share: events, and a terminal that consumes in the background."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from runtime import (
    BusTerminal,
    Event,
)


class Step(Event):
    __key__: ClassVar[str] = "order"
    order: str | None
    number: int = 0


class Other(Event):
    number: int = 0


class Boom(Exception):
    pass


@asynccontextmanager
async def consuming(
    terminal: BusTerminal[Event], source: Any, **options: Any
) -> AsyncGenerator[asyncio.Task[None]]:
    """Consume a source in the background, in a terminal that is closed at the end."""
    async with terminal:
        task = asyncio.create_task(terminal.consume(source, **options))
        yield task
    await task
    stats = terminal.stats()
    ended = stats.handled + stats.failed + stats.dropped + stats.expired + stats.rejected_at_close
    assert stats.emitted == ended + stats.pending
    by_type = terminal.counters().by_type.values()
    assert sum(each.emitted for each in by_type) == stats.emitted
    assert sum(each.failed for each in by_type) == stats.failed
    assert terminal._host.failures.provisional == set()
