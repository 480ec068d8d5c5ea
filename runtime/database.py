"""A connection to an SQLite file, in a thread of its own, that commits what it is given."""

from __future__ import annotations

import asyncio
import os
import queue
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from runtime.diagnosis import BUSY, HARMLESS, Misplaced, primary

__all__ = ("Database", "check_table")

T = TypeVar("T")

PRAGMAS: Final = (
    "PRAGMA synchronous=FULL",
    # macOS: a sync that reaches the disk, not only the drive. Elsewhere it changes nothing.
    "PRAGMA fullfsync=ON",
    "PRAGMA checkpoint_fullfsync=ON",
)
GROUP: Final = 64
"""How many jobs may share one transaction."""
UNWIND_SECONDS: Final = 1.0
"""How long a close that is cut off waits for the thread to let go of the file."""
PAUSES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Seconds between two attempts to get the write lock; the last goes on."""


class Job(Generic[T]):
    """What is to be done in a transaction, and the future that its caller awaits."""

    __slots__ = ("done", "loop", "size", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], T], size: int) -> None:
        self.work: Callable[[sqlite3.Connection], T] = work
        self.size: int = size
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.done: asyncio.Future[T] = self.loop.create_future()


class Unopened(RuntimeError):
    """The database has not been opened, or is closed."""


class CutOff(RuntimeError):
    """The time of a close was over before a job was begun."""


class Database:
    """An SQLite file in WAL mode with ``synchronous=FULL``, used by one thread.

    Jobs that wait at the same time share a transaction; `run` returns after its commit. A job that
    fails is rolled back alone. `prepare` makes the tables, each time that the file is opened: at
    `open`, and again after an error that a new connection may heal. `timeout` is how many seconds
    to wait for another connection's write lock. `capacity` is how much may wait, in units of the
    `size` of a job; then `run` waits for room.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        prepare: Callable[[sqlite3.Connection], object],
        *,
        timeout: float,
        capacity: int,
    ) -> None:
        self.path: str = os.fspath(path)
        self._prepare = prepare
        self._timeout = timeout
        self._capacity = capacity
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Future[None] | None = None
        self._cut_off = threading.Event()
        # Room, for the loop's thread only.
        self._waiting = 0
        self._turnstile = asyncio.Lock()
        self._room: asyncio.Future[None] | None = None
        # What belongs to the thread.
        self._db: sqlite3.Connection | None = None
        self._place: tuple[int, int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether jobs are taken."""
        return self._thread is not None

    async def open(self) -> None:
        """Open the file, made if it is not there, and start the thread.

        Raises `sqlite3.Error` or `OSError` if it cannot be used, and `RuntimeError` if it is open.
        """
        if self._thread is not None:
            msg = "it is open already; give each terminal one of its own"
            raise RuntimeError(msg)
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        ended: asyncio.Future[None] = loop.create_future()
        # None of these is shared with a thread that was there before.
        self._jobs = queue.SimpleQueue()
        self._cut_off = threading.Event()
        self._turnstile = asyncio.Lock()
        self._waiting = 0
        # A daemon: a program that ends without a close does not wait for it.
        thread = threading.Thread(
            target=self._serve, args=(loop, opened, ended), name=f"sqlite {self.path}", daemon=True
        )
        thread.start()
        try:
            await opened
        except BaseException:
            # It has ended by itself, or will do so when it has opened.
            self._jobs.put(None)
            raise
        self._thread, self._ended = thread, ended

    async def run(self, work: Callable[[sqlite3.Connection], T], size: int = 1) -> T:
        """Do something inside a transaction, and return its result after the commit.

        A cancelled call is not done if it still waits for room; otherwise it is, like any other.
        Raises what `work` and SQLite raise, `OSError`, and `RuntimeError` if it is not open.
        """
        async with self._turnstile:
            while self._waiting >= self._capacity:
                self._room = asyncio.get_running_loop().create_future()
                await self._room
            if self._thread is None:
                msg = "it is not open; its terminal opens it"
                raise Unopened(msg)
            job = Job(work, size)
            self._waiting += size
            self._jobs.put(job)
        return await job.done

    async def close(self) -> None:
        """Do what is waiting, and end the thread.

        Cancelling it ends the work early: jobs that have not been begun fail, all of them.
        """
        thread, ended = self._thread, self._ended
        self._thread = None
        if thread is None or ended is None:
            return
        self._jobs.put(None)
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            self._cut_off.set()
            await asyncio.wait([ended], timeout=UNWIND_SECONDS)
            raise
        thread.join()

    # On the loop's thread

    def _give_back(self, outcomes: list[tuple[Job[Any], Any, Exception | None]]) -> None:
        for job, result, error in outcomes:
            self._waiting -= job.size
            if job.done.done():
                continue
            if error is None:
                job.done.set_result(result)
            else:
                job.done.set_exception(error)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # On the thread of the database

    def _serve(
        self,
        loop: asyncio.AbstractEventLoop,
        opened: asyncio.Future[None],
        ended: asyncio.Future[None],
    ) -> None:
        try:
            self._connection()
        except Exception as error:  # noqa: BLE001 -- handed to whoever opens it
            call_soon(loop, settle, opened, error)
            return
        call_soon(loop, settle, opened, None)
        try:
            while group := self._take():
                outcomes = self._commit(group)
                for each in {job.loop for job in group}:
                    call_soon(each, self._give_back, [o for o in outcomes if o[0].loop is each])
        finally:
            self._disconnect()
            call_soon(loop, settle, ended, None)

    def _take(self) -> list[Job[Any]]:
        """Wait for a job, and return it with those behind it; none at the end."""
        group: list[Job[Any]] = []
        while not group or (len(group) < GROUP and not self._jobs.empty()):
            job = self._jobs.get()
            if job is None:
                if group:
                    # For the next time.
                    self._jobs.put(None)
                break
            group.append(job)
        return group

    def _commit(self, group: list[Job[Any]]) -> list[tuple[Job[Any], Any, Exception | None]]:
        """Do jobs in one transaction; return what came of each."""
        try:
            db = self._begin()
            outcomes = [self._do(db, job, is_alone=len(group) == 1) for job in group]
            db.execute("COMMIT")
            self._check_place()
        except Exception as error:  # noqa: BLE001 -- handed to the callers
            # Not SQLite's own only: text that is no Unicode, a number that is too large.
            self._recover(error)
            return [(job, None, error) for job in group]
        for _, _, failure in outcomes:
            if failure is not None:
                self._recover(failure)
        return outcomes

    def _do(
        self, db: sqlite3.Connection, job: Job[Any], *, is_alone: bool
    ) -> tuple[Job[Any], Any, Exception | None]:
        """Do one job; if it fails, undo it and no other."""
        if is_alone:
            return job, job.work(db), None
        db.execute("SAVEPOINT job")
        try:
            result = job.work(db)
        except Exception as error:
            if not db.in_transaction:
                # SQLite has given the whole transaction up.
                raise
            db.execute("ROLLBACK TO job")
            db.execute("RELEASE job")
            return job, None, error
        db.execute("RELEASE job")
        return job, result, None

    def _begin(self) -> sqlite3.Connection:
        """Begin a transaction that writes, as soon as no other connection does."""
        if self._cut_off.is_set():
            msg = "the time of the close was over before it was begun"
            raise CutOff(msg)
        db = self._connection()
        self._patiently(lambda: db.execute("BEGIN IMMEDIATE"))
        return db

    def _patiently(self, step: Callable[[], T]) -> T:
        """Take a step that needs a lock, again and again while somebody else has it."""
        end = time.monotonic() + self._timeout
        pauses = iter(PAUSES)
        pause = PAUSES[0]
        while True:
            try:
                return step()
            except sqlite3.OperationalError as error:
                left = end - time.monotonic()
                if primary(error) not in BUSY or left <= 0:
                    raise
                pause = next(pauses, pause)
                if self._cut_off.wait(min(pause, left)):
                    raise

    def _connection(self) -> sqlite3.Connection:
        """Return the connection, made if there is none."""
        if self._db is None:
            self._db = self._patiently(self._connect)
            found = os.stat(self.path)
            self._place = (found.st_dev, found.st_ino)
        return self._db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != "wal":
                msg = f"it keeps no write-ahead log but {mode!r}, so nothing would be durable"
                raise sqlite3.NotSupportedError(msg)
            for pragma in PRAGMAS:
                db.execute(pragma)
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _check_place(self) -> None:
        """Raise `Misplaced` if what was written went into a file that nobody can open any more."""
        try:
            found = os.stat(self.path)
            os.stat(f"{self.path}-wal")
        except FileNotFoundError as error:
            msg = "the file, or its log, has been deleted while it was open"
            raise Misplaced(msg) from error
        if (found.st_dev, found.st_ino) != self._place:
            msg = "the file has been replaced by another while it was open"
            raise Misplaced(msg)

    def _recover(self, error: Exception) -> None:
        """End what a failure has left half done; if it may help, connect anew the next time."""
        db = self._db
        if db is None:
            return
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()
            return
        code = primary(error)
        if isinstance(error, OSError) or (code is not None and code not in HARMLESS):
            self._disconnect()


def call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> None:
    """Have a loop of another thread call something; one that is closed has nobody who waits."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise


def settle(future: asyncio.Future[None], error: Exception | None) -> None:
    """End a future, unless whoever waited has given it up."""
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def check_table(table: str) -> None:
    """Raise `ValueError` unless a table's name is one that needs no quotes."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", table):
        msg = f"table must be a plain identifier, not {table!r}"
        raise ValueError(msg)
