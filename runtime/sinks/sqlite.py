"""Events as rows of an SQLite table, committed before `sink` returns."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from runtime.database import Database, check_table
from runtime.diagnosis import describe
from runtime.errors import SinkError
from runtime.policies import check_count, check_seconds
from runtime.sinks.base import Record
from runtime.wire import CloudEvents

__all__ = ("SqliteSink",)

# An id that was deleted does not give its position to another event: whoever reads in the order of
# positions would miss that one.
CREATE: Final = (
    'CREATE TABLE IF NOT EXISTS "{table}" ('
    "position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, "
    "time TEXT NOT NULL, key TEXT, headers TEXT NOT NULL, payload TEXT NOT NULL)"
)
INSERT: Final = (
    'INSERT INTO "{table}" (id, type, time, key, headers, payload) '
    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)

Row = tuple[str, str, str, str | None, str, str]


def as_row(record: Record, wire: CloudEvents) -> Row:
    """Write a record as a row. Raises what `CloudEvents.encode` does."""
    return (
        record.id,
        record.type,
        # As in the payload; `isoformat` takes as long as all the rest.
        msgspec.json.encode(record.time)[1:-1].decode(),
        record.key,
        msgspec.json.encode(dict(record.headers)).decode() if record.headers else "{}",
        wire.encode(record).decode(),
    )


def create_table(db: sqlite3.Connection, table: str) -> None:
    """Make the table of events, if it is not there.

    Raises `sqlite3.Error` if there is one of this name that cannot take events.
    """
    db.execute(CREATE.format(table=table))
    try:
        db.execute("EXPLAIN " + INSERT.format(table=table), (None,) * 6)
    except sqlite3.OperationalError as error:
        msg = f"its table {table!r} is another's: {error}; choose another with table="
        raise sqlite3.NotSupportedError(msg) from error


class SqliteSink:
    """Persist events as rows of a table: id, type, time, key, headers and a JSON payload.

    The payload is the whole event as a CloudEvent. One thread writes. Calls that wait at the same
    time share a transaction; each returns after its commit, with ``synchronous=FULL`` in WAL mode:
    a confirmed event survives a crash of the process and of the machine, as far as the disk keeps
    its word. An id that is in the table already is left as it is. Cancelling a call that waits for
    room leaves nothing written; after that its events are written all the same, all or none.

    `timeout` is how many seconds to wait while another connection has the write lock. `capacity` is
    how many events may wait to be written; then calls wait for room. `wire` writes the payload.

    Raises `ValueError` if `table` is not an identifier.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        table: str = "events",
        *,
        timeout: float = 5.0,
        capacity: int = 10_000,
        wire: CloudEvents | None = None,
    ) -> None:
        check_table(table)
        check_seconds("timeout", timeout)
        check_count("capacity", capacity, 1)
        self._insert = INSERT.format(table=table)
        self._wire = CloudEvents() if wire is None else wire
        self._database = Database(
            path, lambda db: create_table(db, table), timeout=timeout, capacity=capacity
        )

    async def open(self) -> None:
        """Create the table if it is not there, and start the writer.

        Raises `SinkError` if the file cannot be used as a database.
        """
        try:
            await self._database.open()
        except (sqlite3.Error, OSError, RuntimeError) as error:
            msg = f"{self._database.path} cannot be opened as an SQLite database: {describe(error)}"
            raise SinkError(msg, ()) from error

    async def sink(self, records: Sequence[Record], /) -> None:
        """Persist all records in one transaction, and return after its commit.

        Raises `SinkError` if SQLite does not confirm, if an event has no JSON form, or if the
        sink is not open.
        """
        try:
            rows = [as_row(record, self._wire) for record in records]
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            msg = f"{self._database.path}: an event has no JSON form: {error}"
            raise SinkError(msg, records) from error

        def insert(db: sqlite3.Connection) -> None:
            db.executemany(self._insert, rows)

        try:
            await self._database.run(insert, len(rows))
        except Exception as error:
            msg = f"{self._database.path}: SQLite did not save the events: {describe(error)}"
            raise SinkError(msg, records) from error

    async def close(self) -> None:
        """Write what is waiting, and stop the writer.

        Cancelling it lets the calls fail that have not been begun.
        """
        await self._database.close()
