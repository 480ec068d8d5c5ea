"""Queues, tasks and futures by hand, for what goes to a mailbox."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.workload import (
    BURST,
    COMMAND,
    EVENT,
    MAILBOXES,
    Callers,
    Context,
    Ordered,
    Run,
    handle,
    one_caller,
    reply,
)


@asynccontextmanager
async def queue_and_worker() -> AsyncGenerator[Run]:
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
async def task_per_event() -> AsyncGenerator[Run]:
    """Bursts of one task for every event."""
    event = EVENT

    async def run(n: int) -> None:
        for _ in range(n // BURST):
            task = asyncio.create_task(handle(event, Context()))
            for _ in range(BURST - 1):
                task = asyncio.create_task(handle(event, Context()))
            while not task.done():
                await asyncio.sleep(0)

    yield run


@asynccontextmanager
async def queue_and_worker_per_key() -> AsyncGenerator[Run]:
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
async def queue_and_future(callers: Callers = one_caller) -> AsyncGenerator[Run]:
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
async def queue_and_future_behind() -> AsyncGenerator[Run]:
    """A worker that has an event to handle before each command."""
    command, event = COMMAND, EVENT
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[Any, asyncio.Future[int] | None]] = asyncio.Queue()

    async def work() -> None:
        while True:
            message, future = await queue.get()
            if future is None:
                await handle(message, Context())
            else:
                future.set_result(await reply(message, Context()))

    async def run(n: int) -> None:
        for _ in range(n):
            queue.put_nowait((event, None))
            future: asyncio.Future[int] = loop.create_future()
            queue.put_nowait((command, future))
            await future

    worker = asyncio.create_task(work())
    yield run
    worker.cancel()
