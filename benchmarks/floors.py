"""The floors: what a careful engineer writes by hand, with no library at all."""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.workload import (
    BURST,
    COMMAND,
    EVENT,
    MAILBOXES,
    MANY,
    SINK_BATCH,
    Callers,
    Case,
    Clock,
    Context,
    Mailer,
    Ordered,
    Run,
    Session,
    gathered,
    handle,
    handle_sync,
    managed_session,
    many_callers,
    one_caller,
    open_session,
    reply,
)
from runtime import Record, Stats
from runtime.database import PRAGMAS
from runtime.sinks.sqlite import CREATE, INSERT, as_row
from runtime.wire import CloudEvents

FLOOR_BATCHES = 400
"""Enough for a few rounds more than anybody measures."""


@asynccontextmanager
async def await_by_hand() -> AsyncIterator[Run]:
    """One handler awaited with a new context."""
    event = EVENT

    async def run(n: int) -> None:
        for _ in range(n):
            await handle(event, Context())

    yield run


@asynccontextmanager
async def await_three_by_hand() -> AsyncIterator[Run]:
    """Three handlers awaited in turn with one new context."""
    event = EVENT

    async def run(n: int) -> None:
        for _ in range(n):
            ctx = Context()
            await handle(event, ctx)
            await handle(event, ctx)
            await handle(event, ctx)

    yield run


@asynccontextmanager
async def call_by_hand() -> AsyncIterator[Run]:
    """One synchronous handler called with a new context."""
    event = EVENT

    async def run(n: int) -> None:
        for _ in range(n):
            handle_sync(event, Context())

    yield run


@asynccontextmanager
async def await_wired_by_hand() -> AsyncIterator[Run]:
    """A handler with two singletons, a new scoped object and a bus, passed by hand."""
    event, clock, mailer, bus = EVENT, Clock(), Mailer(), object()

    async def handler(
        event: Ordered, ctx: object, clock: Clock, mailer: Mailer, session: Session, bus: object
    ) -> None:
        pass

    async def run(n: int) -> None:
        for _ in range(n):
            await handler(event, Context(), clock, mailer, open_session(clock), bus)

    yield run


@asynccontextmanager
async def await_managed_by_hand() -> AsyncIterator[Run]:
    """A handler with a scoped object that a context manager opens and closes, by hand."""
    event, clock = EVENT, Clock()
    open_session = contextmanager(managed_session)

    async def handler(event: Ordered, ctx: object, session: Session) -> None:
        pass

    async def run(n: int) -> None:
        for _ in range(n):
            with open_session(clock) as session:
                await handler(event, Context(), session)

    yield run


@asynccontextmanager
async def await_guarded_by_hand() -> AsyncIterator[Run]:
    """A handler awaited by a guard that is awaited."""
    event = EVENT

    async def guard(event: Ordered, ctx: object) -> None:
        return await handle(event, ctx)

    async def run(n: int) -> None:
        for _ in range(n):
            await guard(event, Context())

    yield run


@asynccontextmanager
async def await_reply_by_hand() -> AsyncIterator[Run]:
    """A command's handler awaited for its reply, with a new context."""
    command = COMMAND

    async def run(n: int) -> None:
        for _ in range(n):
            await reply(command, Context())

    yield run


@asynccontextmanager
async def await_isolated_by_hand() -> AsyncIterator[Run]:
    """Three handlers awaited in turn, each in a try block of its own."""
    event = EVENT

    async def run(n: int) -> None:
        for _ in range(n):
            ctx = Context()
            errors = []
            for handler in (handle, handle, handle):
                try:
                    await handler(event, ctx)
                except Exception as error:  # noqa: BLE001 -- as the subject does
                    errors.append(error)

    yield run


@asynccontextmanager
async def queue_and_worker() -> AsyncIterator[Run]:
    """Bursts through an ``asyncio.Queue`` that one task empties."""
    event = EVENT
    queue: asyncio.Queue[Ordered] = asyncio.Queue()

    async def work() -> None:
        while True:
            await handle(await queue.get(), Context())

    async def run(n: int) -> None:
        for _ in range(n // BURST):
            for _ in range(BURST):
                queue.put_nowait(event)
            while not queue.empty():
                await asyncio.sleep(0)

    worker = asyncio.create_task(work())
    yield run
    worker.cancel()


@asynccontextmanager
async def task_per_event() -> AsyncIterator[Run]:
    """Bursts of one task for every event."""
    event = EVENT

    async def run(n: int) -> None:
        for _ in range(n // BURST):
            for _ in range(BURST):
                task = asyncio.create_task(handle(event, Context()))
            while not task.done():
                await asyncio.sleep(0)

    yield run


@asynccontextmanager
async def queue_and_worker_per_key() -> AsyncIterator[Run]:
    """One queue and one waiting task for each of many keys, an event to each."""
    event = EVENT

    async def work(queue: asyncio.Queue[Ordered]) -> None:
        while True:
            await handle(await queue.get(), Context())

    queues: dict[int, asyncio.Queue[Ordered]] = {k: asyncio.Queue() for k in range(MAILBOXES)}
    workers = [asyncio.create_task(work(queue)) for queue in queues.values()]
    await asyncio.sleep(0)

    async def run(n: int) -> None:
        for _ in range(n // MAILBOXES):
            for key in range(MAILBOXES):
                queues[key].put_nowait(event)
            while not queues[MAILBOXES - 1].empty():
                await asyncio.sleep(0)

    yield run
    for worker in workers:
        worker.cancel()
    await asyncio.wait(workers)


@asynccontextmanager
async def queue_and_future(callers: Callers = one_caller) -> AsyncIterator[Run]:
    """A worker that takes commands and futures from a queue."""
    command = COMMAND
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[Any, asyncio.Future[int]]] = asyncio.Queue()

    async def work() -> None:
        while True:
            asked, future = await queue.get()
            future.set_result(await reply(asked, Context()))

    async def ask() -> int:
        future: asyncio.Future[int] = loop.create_future()
        queue.put_nowait((command, future))
        return await future

    worker = asyncio.create_task(work())
    yield callers(ask)
    worker.cancel()


@asynccontextmanager
async def executemany() -> AsyncIterator[Run]:
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


@asynccontextmanager
async def stats_by_hand() -> AsyncIterator[Run]:
    """Make the dataclass of the counters, which exist already."""
    counts = dict.fromkeys((each.name for each in fields(Stats)), 10_000)

    async def run(n: int) -> None:
        for _ in range(n):
            Stats(**counts)

    yield run


FLOORS = [
    Case("publish x1", "await by hand", await_by_hand),
    Case("publish x3", "three awaits by hand", await_three_by_hand),
    Case("publish sync", "call by hand", call_by_hand),
    Case("publish wired", "wired by hand", await_wired_by_hand),
    Case("publish managed", "managed by hand", await_managed_by_hand),
    Case("publish guarded", "guarded by hand", await_guarded_by_hand),
    Case("publish isolated", "isolated by hand", await_isolated_by_hand),
    Case("send", "await by hand", await_reply_by_hand),
    Case("emit", "asyncio.Queue + worker", queue_and_worker),
    Case("emit", "create_task per event", task_per_event),
    Case("emit 10,000 keys", "queue + worker per key", queue_and_worker_per_key, MAILBOXES),
    Case("ask", "Queue + Future", queue_and_future),
    Case("ask, 50 callers", "Queue + Future", partial(queue_and_future, many_callers), MANY),
    Case("ask, 50 gathered", "Queue + Future", partial(queue_and_future, gathered)),
    Case("stats", "a dataclass by hand", stats_by_hand),
    Case("sink", "executemany", executemany, SINK_BATCH * 4),
]
