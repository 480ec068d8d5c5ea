"""Events into a sink."""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.registries import registry_of
from benchmarks.workload import (
    EVENT,
    SINK_BATCH,
    Run,
)
from runtime import BusTerminal
from runtime.sinks import SqliteSink


@asynccontextmanager
async def sink_batches() -> AsyncGenerator[Run]:
    """Sink batches of events into SQLite."""
    events = [EVENT] * SINK_BATCH
    with tempfile.TemporaryDirectory() as folder:
        sink = SqliteSink(Path(folder, "subject.db"))
        async with BusTerminal(registry_of(), sink=sink) as terminal:
            bus = terminal.bus

            async def run(n: int) -> None:
                for _ in range(n // SINK_BATCH):
                    await bus.sink(events)

            yield run
