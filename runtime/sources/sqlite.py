"""The events of an SQLite table, handed out to consumers until they have been handled."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

import runtime.sources.tables as tables
from runtime.database import Database, check_table
from runtime.diagnosis import describe
from runtime.errors import SourceError
from runtime.policies import check_seconds
from runtime.sinks.sqlite import create_table
from runtime.sources.base import Received

__all__ = ("Buried", "SqliteSource")

T = TypeVar("T")

AHEAD: Final = 10_000
"""How many events of a group may be on their way; what is behind them waits in the table."""


class Buried(msgspec.Struct, frozen=True):
    """One event that a group has given up."""

    id: str
    reason: str
    error: str
    failures: int
    """How often its handling had failed."""
    time: datetime
    raw: bytes
    """The event as it was read."""


Taken: TypeAlias = Received[tuple[int, int]]
"""Known by its position, and by the number of times that it had been lost."""


class SqliteSource:
    """Hand out the events of a table that `SqliteSink` writes, each until it was handled.

    Every `group` gets every event, from the first on; the consumers of one group, in this process
    or others, share them. What a consumer has is kept from the others for `lease` seconds, which it
    extends; if it dies, they have it after that. `poll` is how many seconds to wait before looking
    for new events again, `timeout` how many to wait for another connection's write lock.

    Raises `ValueError` if `table` is not an identifier.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        table: str = "events",
        group: str = "workers",
        *,
        lease: float = 30.0,
        poll: float = 0.1,
        timeout: float = 5.0,
    ) -> None:
        check_table(table)
        check_seconds("lease", lease)
        check_seconds("poll", poll)
        check_seconds("timeout", timeout)
        self._lease = lease
        self._poll = poll
        self._table = table
        self._group = group
        self._me = ""
        self._database = Database(path, self._prepare, timeout=timeout, capacity=10_000)

    @property
    def lease(self) -> float:
        """How many seconds what has been received is kept from others."""
        return self._lease

    async def open(self) -> None:
        """Create the tables that are not there, and join the group.

        Raises `SourceError` if the file cannot be used as a database.
        """
        self._me = str(uuid.uuid4())
        try:
            await self._database.open()
        except (sqlite3.Error, OSError, RuntimeError) as error:
            msg = f"{self._database.path} cannot be opened as an SQLite database: {describe(error)}"
            raise SourceError(msg) from error

    async def close(self) -> None:
        """Put back what has not been settled, and end."""
        try:
            if self._database.is_open:
                await self._run(lambda db: self._execute(db, tables.PUT_ALL_BACK))
        finally:
            await self._database.close()

    async def receive(self, limit: int, /) -> Sequence[Taken]:
        """Wait until there is something, and return at most `limit` events, in their order."""
        while True:
            found = await self._run(lambda db: self._claim(db, limit))
            if found:
                return found
            await asyncio.sleep(self._poll)

    async def acknowledge(self, received: Sequence[Taken], /) -> None:
        """Note that events have been handled: they are not handed out again."""
        await self._run(lambda db: self._settle(db, tables.ACKNOWLEDGE, received))

    async def put_back(self, received: Taken, /, *, delay: float, failed: bool) -> None:
        """Hand an event out again after a delay in seconds; `failed` counts as a failure."""
        due = time.time() + delay if delay > 0 else 0.0
        await self._run(
            lambda db: self._settle(db, tables.PUT_BACK, [received], due=due, failed=failed)
        )

    async def bury(self, received: Taken, /, reason: str, error: str) -> None:
        """Keep an event that will not be handled, with its bytes, and do not hand it out again."""

        def move(db: sqlite3.Connection) -> None:
            if self._settle(db, tables.ACKNOWLEDGE, [received]):
                self._execute(
                    db,
                    tables.BURY,
                    position=received.receipt[0],
                    id=received.id,
                    key=received.key,
                    reason=reason,
                    error=error,
                    failures=received.failures + 1,
                    time=datetime.now(UTC).isoformat(),
                    payload=received.raw,
                )

        await self._run(move)

    async def extend(self, received: Sequence[Taken], /) -> None:
        """Begin the lease of events anew: they are still being handled."""
        due = time.time() + self._lease
        await self._run(lambda db: self._settle(db, tables.EXTEND, received, due=due))

    async def dead_letters(self, limit: int = 1_000) -> list[Buried]:
        """Return the events that the group has given up, the oldest first.

        The source is open while it is consumed, or after `open`. Raises `SourceError`.
        """

        def read(db: sqlite3.Connection) -> list[Buried]:
            return [
                Buried(
                    text(id_),
                    text(reason),
                    text(error),
                    failures,
                    datetime.fromisoformat(text(moment)),
                    payload,
                )
                for id_, reason, error, failures, moment, payload in self._execute(
                    db, tables.DEAD, limit=limit
                )
            ]

        return await self._run(read)

    async def revive(self, ids: Iterable[str]) -> int:
        """Hand out again what the group has given up, as if it were new; return how many events.

        Those whose rows have been deleted stay where they are. Raises `SourceError`.
        """
        wanted = tuple(ids)

        def move(db: sqlite3.Connection) -> int:
            count = 0
            for each in wanted:
                if self._execute(db, tables.REVIVE, id=each).rowcount > 0:
                    self._execute(db, tables.FORGET, id=each)
                    count += 1
            return count

        return await self._run(move)

    # On the thread of the database

    def _prepare(self, db: sqlite3.Connection) -> None:
        # What is no text is to be read, too.
        db.text_factory = bytes
        create_table(db, self._table)
        db.executescript(tables.CREATE.format(table=self._table))
        self._execute(db, tables.JOIN)

    def _claim(self, db: sqlite3.Connection, limit: int) -> list[Taken]:
        """Take what is free, of what is on its way first, then of what is new."""
        rows = self._free(db, limit)
        while len(rows) < limit:
            ((count,),) = self._execute(db, tables.COUNT)
            wanted = min(limit - len(rows), AHEAD - count)
            if wanted <= 0 or self._execute(db, tables.ADVANCE, limit=wanted).rowcount < 1:
                break
            self._execute(db, tables.MOVE)
            rows = self._free(db, limit)
        due = time.time() + self._lease
        found: list[Taken] = []
        for position, id_, payload, key, failures, losses in rows:
            if id_ is None:
                # Its row has been deleted.
                self._execute(db, tables.DROP, position=position)
                continue
            self._execute(db, tables.TAKE, position=position, due=due, losses=losses)
            found.append(
                Received(
                    text(id_),
                    payload if isinstance(payload, bytes) else str(payload).encode(),
                    None if key is None else text(key),
                    failures,
                    losses,
                    (position, losses),
                )
            )
        return found

    def _free(self, db: sqlite3.Connection, limit: int) -> list[tuple[Any, ...]]:
        return self._execute(db, tables.FREE, now=time.time(), limit=limit).fetchall()

    def _settle(
        self, db: sqlite3.Connection, statement: str, received: Sequence[Taken], **values: object
    ) -> int:
        """Settle what this source still has; return how many that were."""
        count = 0
        for each in received:
            position, losses = each.receipt
            done = self._execute(db, statement, position=position, losses=losses, **values)
            count += done.rowcount
        return count

    def _execute(self, db: sqlite3.Connection, statement: str, **values: object) -> sqlite3.Cursor:
        names = {"group": self._group, "me": self._me, **values}
        return db.execute(statement.format(table=self._table), names)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._database.run(work)
        except (sqlite3.Error, OSError, RuntimeError) as error:
            msg = f"{self._database.path}: {describe(error)}"
            raise SourceError(msg) from error


def text(value: bytes) -> str:
    """Return what is text, or should be."""
    return value.decode(errors="backslashreplace")
