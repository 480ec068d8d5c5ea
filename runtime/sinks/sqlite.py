"""Events as rows of an SQLite table, committed before `sink` returns."""

from __future__ import annotations

import asyncio
import os
import queue
import re
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Final

import msgspec

from runtime.errors import SinkError
from runtime.sinks.base import Record

__all__ = ("SqliteSink",)

PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=5000",
)
CREATE: Final = (
    'CREATE TABLE IF NOT EXISTS "{table}" ('
    "position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, "
    "time TEXT NOT NULL, key TEXT, headers TEXT NOT NULL, payload TEXT NOT NULL)"
)
INSERT: Final = (
    'INSERT INTO "{table}" (id, type, time, key, headers, payload) '
    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)
GROUP: Final = 64
"""How many waiting `sink` calls may share one transaction."""

Row = tuple[str, str, str, str | None, str, str]


def as_row(record: Record) -> Row:
    """Write a record as a row. Raises what msgspec raises for an event it cannot encode."""
    return (
        record.id,
        record.type,
        record.time.isoformat(),
        record.key,
        msgspec.json.encode(dict(record.headers)).decode() if record.headers else "{}",
        msgspec.json.encode(record.event).decode(),
    )


class Job:
    """The rows of one `sink` call, and the future that its caller awaits."""

    __slots__ = ("confirmed", "loop", "rows")

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.loop = asyncio.get_running_loop()
        self.confirmed: asyncio.Future[None] = self.loop.create_future()

    def finish(self, error: Exception | None) -> None:
        """Tell the caller, from the writer's thread."""
        # The loop may be gone when the process ends in a hurry; then nobody waits.
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._finish, error)

    def _finish(self, error: Exception | None) -> None:
        if self.confirmed.done():
            return
        if error is None:
            self.confirmed.set_result(None)
        else:
            self.confirmed.set_exception(error)


class SqliteSink:
    """Persist events as rows of a table: id, type, time, key, headers and a JSON payload.

    One thread writes. Calls that wait at the same time share a transaction; each returns after
    its commit, with ``synchronous=FULL`` in WAL mode: a confirmed event survives a crash of the
    process and of the machine, as far as the disk keeps its word. An id that is in the table
    already is left as it is. Cancelling a call does not undo rows that the thread has taken.

    Raises `ValueError` if `table` is not an identifier.
    """

    def __init__(self, path: str | os.PathLike[str], table: str = "events") -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", table):
            msg = f"table must be a plain identifier, not {table!r}"
            raise ValueError(msg)
        self._path = os.fspath(path)
        self._create = CREATE.format(table=table)
        self._insert = INSERT.format(table=table)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None

    async def open(self) -> None:
        """Create the table if it is not there, and start the writer.

        Raises `SinkError` if the file cannot be opened as a database.
        """
        try:
            db = await asyncio.to_thread(self._connect)
        except sqlite3.Error as error:
            msg = f"{self._path} cannot be opened as an SQLite database: {error}"
            raise SinkError(msg, ()) from error
        self._writer = threading.Thread(
            target=self._write, args=(db,), name=f"SqliteSink({self._path})", daemon=True
        )
        self._writer.start()

    async def sink(self, records: Sequence[Record], /) -> None:
        """Persist all records in one transaction, and return after its commit.

        Raises `SinkError` if SQLite does not confirm, if an event has no JSON form, or if the
        sink is not open.
        """
        if self._writer is None:
            msg = f"{self._path}: the sink is not open; its terminal opens it"
            raise SinkError(msg, records)
        try:
            job = Job([as_row(record) for record in records])
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            msg = f"{self._path}: an event has no JSON form: {error}"
            raise SinkError(msg, records) from error
        self._jobs.put(job)
        try:
            await job.confirmed
        except Exception as error:
            raise SinkError(self._describe(error), records) from error

    async def close(self) -> None:
        """Write what is waiting, and stop the writer."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._jobs.put(None)
            await asyncio.to_thread(writer.join)

    def _describe(self, error: Exception) -> str:
        return f"{self._path}: SQLite did not save the events: {error}"

    def _connect(self) -> sqlite3.Connection:
        # Made by one thread, used by one other.
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            for pragma in PRAGMAS:
                db.execute(pragma)
            db.execute(self._create)
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _write(self, db: sqlite3.Connection) -> None:
        """Commit jobs, as many together as are waiting, until told to stop."""
        with closing(db):
            running = True
            while running:
                group: list[Job] = []
                while running and (not group or (len(group) < GROUP and not self._jobs.empty())):
                    job = self._jobs.get()
                    if job is None:
                        running = False
                    else:
                        group.append(job)
                failure = self._commit(db, group)
                for job in group:
                    # One bad batch must not take the others of its group down with it.
                    alone = failure is not None and len(group) > 1
                    job.finish(self._commit(db, [job]) if alone else failure)

    def _commit(self, db: sqlite3.Connection, group: Sequence[Job]) -> Exception | None:
        """Write a group in one transaction; return what kept it from being saved."""
        try:
            db.execute("BEGIN IMMEDIATE")
            for job in group:
                db.executemany(self._insert, job.rows)
            db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 -- handed to the callers
            # Not SQLite's own only: text that is no Unicode, a number that is too large.
            if db.in_transaction:
                db.execute("ROLLBACK")
            return error
        return None
