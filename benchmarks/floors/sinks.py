"""Rows straight into a store."""

import sqlite3
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from benchmarks.workload import (
    EVENT,
    SINK_BATCH,
    Run,
)
from runtime import Record
from runtime.database import PRAGMAS
from runtime.sinks.sqlite import CREATE, INSERT, as_row
from runtime.wire import CloudEvents

FLOOR_BATCHES = 400
"""Enough for a few rounds more than anybody measures."""


@asynccontextmanager
async def executemany() -> AsyncGenerator[Run]:
    """The same rows in the same batches, with the same pragmas, straight into SQLite."""
    # Made beforehand, so that only SQLite is timed; each row has an id of its own.
    wire = CloudEvents()
    batches = [
        [as_row(Record.of(EVENT), wire) for _ in range(SINK_BATCH)] for _ in range(FLOOR_BATCHES)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "floor.db")
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            for pragma in ("PRAGMA journal_mode=WAL", *PRAGMAS):
                db.execute(pragma)
            db.execute(CREATE.format(table="events"))
            insert = INSERT.format(table="events")

            async def run(n: int) -> None:
                for _ in range(n // SINK_BATCH):
                    db.execute("BEGIN")
                    db.executemany(insert, batches.pop())
                    db.execute("COMMIT")

            yield run
