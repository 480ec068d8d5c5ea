"""What one would build on by hand: asyncio's own parts, anyio's streams."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio

from benchmarks.peers.actors import ASK, BY_INBOX, INBOX, PUBLISH, SEND, one_caller
from benchmarks.peers.jobs import FAST, Blank, Row, Run, Tally, bursts, callers
from benchmarks.workload import BURST, EVENT, GetOrder, Ordered


@asynccontextmanager
async def queue_and_worker(tally: Tally) -> AsyncGenerator[Run]:
    """Put events into a queue that one task empties, awaiting a handler."""

    async def handle(event: Ordered) -> None:
        tally.count += 1

    queue: asyncio.Queue[Ordered] = asyncio.Queue()

    async def work() -> None:
        while True:
            await handle(await queue.get())

    worker = asyncio.create_task(work())
    yield bursts(tally, queue.put_nowait)
    worker.cancel()


@asynccontextmanager
async def queue_and_sync_worker(tally: Tally) -> AsyncGenerator[Run]:
    """Put events into a queue that one task empties, calling a handler."""

    def handle(event: Ordered) -> None:
        tally.count += 1

    queue: asyncio.Queue[Ordered] = asyncio.Queue()

    async def work() -> None:
        while True:
            handle(await queue.get())

    worker = asyncio.create_task(work())
    yield bursts(tally, queue.put_nowait)
    worker.cancel()


@asynccontextmanager
async def task_per_event(tally: Tally) -> AsyncGenerator[Run]:
    """Start a task for each event, and keep it: the loop has only weak references."""

    async def handle(event: Ordered) -> None:
        tally.count += 1

    async def run(n: int) -> None:
        for _ in range(n // BURST):
            handled = tally.count + BURST
            tasks = [asyncio.create_task(handle(EVENT)) for _ in range(BURST)]
            while tally.count < handled:
                await asyncio.sleep(0)
            del tasks

    yield run


@asynccontextmanager
async def call_soon(tally: Tally) -> AsyncGenerator[Run]:
    """Have the loop call a handler in its next turn."""

    def handle(event: Ordered) -> None:
        tally.count += 1

    # Checkers do not see a `partial` through variadic type variables, and a function would cost.
    call = partial(asyncio.get_running_loop().call_soon, handle)  # type: ignore[arg-type]
    yield bursts(tally, call)


@asynccontextmanager
async def queue_and_future(tally: Tally, run: Any) -> AsyncGenerator[Run]:
    """Put commands with futures into a queue that one task empties."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[GetOrder, asyncio.Future[int]]] = asyncio.Queue()

    async def reply(command: GetOrder) -> int:
        tally.count += 1
        return command.order_id

    async def work() -> None:
        while True:
            command, future = await queue.get()
            future.set_result(await reply(command))

    async def ask(command: GetOrder) -> int:
        future: asyncio.Future[int] = loop.create_future()
        queue.put_nowait((command, future))
        return await future

    worker = asyncio.create_task(work())
    yield run(ask)
    worker.cancel()


@asynccontextmanager
async def stream_and_worker(tally: Tally) -> AsyncGenerator[Run]:
    """Send events into a stream that one task reads, awaiting a handler."""

    async def handle(event: Ordered) -> None:
        tally.count += 1

    send, receive = anyio.create_memory_object_stream[Ordered](BURST)

    async def work() -> None:
        async with receive:
            async for event in receive:
                await handle(event)

    async with anyio.create_task_group() as group, send:
        group.start_soon(work)
        yield bursts(tally, send.send_nowait)


@asynccontextmanager
async def stream_and_sync_worker(tally: Tally) -> AsyncGenerator[Run]:
    """Send events into a stream that one task reads, calling a handler."""

    def handle(event: Ordered) -> None:
        tally.count += 1

    send, receive = anyio.create_memory_object_stream[Ordered](BURST)

    async def work() -> None:
        async with receive:
            async for event in receive:
                handle(event)

    async with anyio.create_task_group() as group, send:
        group.start_soon(work)
        yield bursts(tally, send.send_nowait)


QUEUE = "one worker, unbounded; keeps no errors, copies no contextvars"
STREAM = "one worker, bounded; a checkpoint for each event"

ROWS = [
    Row("emit", "asyncio.Queue", QUEUE, queue_and_worker, FAST),
    Row("emit sync", "asyncio.Queue", QUEUE, queue_and_sync_worker, FAST),
    Row("ask", "asyncio.Queue", f"{QUEUE}; a Future", partial(queue_and_future, run=one_caller)),
    Row(
        "ask x50",
        "asyncio.Queue",
        f"{QUEUE}; a Future",
        partial(queue_and_future, run=callers),
        FAST,
    ),
    Row("emit", "create_task", "copies contextvars; all at once", task_per_event),
    Row("emit sync", "loop.call_soon", "copies contextvars; no loop turn between", call_soon, FAST),
    Row("emit", "anyio stream", STREAM, stream_and_worker),
    Row("emit sync", "anyio stream", STREAM, stream_and_sync_worker),
]

ONE_WAY = "hands over, without a reply"

BLANKS = [
    Blank("asyncio.Queue", INBOX, PUBLISH),
    Blank("asyncio.Queue", BY_INBOX, SEND),
    Blank("create_task", ONE_WAY, (*PUBLISH, *SEND, *ASK)),
    Blank("create_task", "takes coroutines only", ("emit sync",)),
    Blank("loop.call_soon", ONE_WAY, (*PUBLISH, *SEND, *ASK)),
    Blank("loop.call_soon", "calls functions only", ("emit",)),
    Blank("anyio stream", INBOX, PUBLISH),
    Blank("anyio stream", ONE_WAY, (*SEND, *ASK)),
]
