"""Peers with a worker in the background: pykka, xoscar, asyncio's own parts, anyio's streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pykka
import xoscar

from benchmarks.peers.jobs import FAST, Blank, Row, Run, Tally, awaiting, bursts, callers
from benchmarks.workload import BURST, COMMAND, EVENT, GetOrder, Ordered


class PykkaActor(pykka.ThreadingActor):
    """An actor in a thread, which handles events and answers commands."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally

    def on_receive(self, message: Ordered | GetOrder) -> int:
        """Count and answer."""
        self.tally.count += 1
        return message.order_id


@asynccontextmanager
async def pykka_tell(tally: Tally) -> AsyncIterator[Run]:
    """Tell bursts; the last of each is asked, for the loop must not spin while the thread works."""
    actor = PykkaActor.start(tally)

    async def run(n: int) -> None:
        for _ in range(n // BURST):
            for _ in range(BURST - 1):
                actor.tell(EVENT)
            actor.ask(EVENT)

    yield run
    actor.stop()


@asynccontextmanager
async def pykka_ask(tally: Tally) -> AsyncIterator[Run]:
    """Ask, blocking until the reply is there."""
    actor = PykkaActor.start(tally)

    async def run(n: int) -> object:
        reply = None
        for _ in range(n):
            reply = actor.ask(COMMAND)
        return reply

    yield run
    actor.stop()


@asynccontextmanager
async def pykka_ask_many(tally: Tally) -> AsyncIterator[Run]:
    """Ask 50 times, then take the replies, blocking until they are there."""
    actor = PykkaActor.start(tally)

    async def run(n: int) -> object:
        reply = None
        for _ in range(n // BURST):
            futures = [actor.ask(COMMAND, block=False) for _ in range(BURST)]
            reply = list(pykka.get_all(futures))[-1]
        return reply

    yield run
    actor.stop()


class XoscarActor(xoscar.Actor):
    """An actor that handles events and answers commands."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally

    async def handle(self, event: Ordered) -> None:
        """Count."""
        self.tally.count += 1

    def handle_sync(self, event: Ordered) -> None:
        """Count."""
        self.tally.count += 1

    async def reply(self, command: GetOrder) -> int:
        """Count and answer."""
        self.tally.count += 1
        return command.order_id


@asynccontextmanager
async def xoscar_actor(tally: Tally) -> AsyncIterator[Any]:
    """Start a pool in this process, with one actor: no socket and no pickling on the way to it."""
    pool = await xoscar.create_actor_pool("127.0.0.1", n_process=0)
    async with pool:
        await xoscar.create_actor(XoscarActor, tally, uid="orders", address=pool.external_address)
        # Not what `create_actor` returns: that one goes through a channel even here.
        yield await xoscar.actor_ref(uid="orders", address=pool.external_address)


@asynccontextmanager
async def xoscar_tell(tally: Tally, method: str) -> AsyncIterator[Run]:
    """Tell bursts."""
    async with xoscar_actor(tally) as actor:
        tell = getattr(actor, method).tell

        async def run(n: int) -> None:
            for _ in range(n // BURST):
                handled = tally.count + BURST
                for _ in range(BURST):
                    await tell(EVENT)
                while tally.count < handled:
                    await asyncio.sleep(0)

        yield run


@asynccontextmanager
async def xoscar_send(tally: Tally, run: Any) -> AsyncIterator[Run]:
    """Call a method and wait for what it returns."""
    async with xoscar_actor(tally) as actor:
        yield run(actor.reply.send)


@asynccontextmanager
async def queue_and_worker(tally: Tally) -> AsyncIterator[Run]:
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
async def queue_and_sync_worker(tally: Tally) -> AsyncIterator[Run]:
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
async def task_per_event(tally: Tally) -> AsyncIterator[Run]:
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
async def call_soon(tally: Tally) -> AsyncIterator[Run]:
    """Have the loop call a handler in its next turn."""

    def handle(event: Ordered) -> None:
        tally.count += 1

    yield bursts(tally, partial(asyncio.get_running_loop().call_soon, handle))


@asynccontextmanager
async def queue_and_future(tally: Tally, run: Any) -> AsyncIterator[Run]:
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
async def stream_and_worker(tally: Tally) -> AsyncIterator[Run]:
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
async def stream_and_sync_worker(tally: Tally) -> AsyncIterator[Run]:
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


TELL = "a thread, which blocks the caller's, for each actor; an envelope for each message"
PYKKA_ASK = f"{TELL}; a Condition for each reply; sync handler"
XOSCAR_TELL = "compiled; in one process; a task for each message, a lock around the handler"
XOSCAR_SEND = "compiled; in one process; in the caller's task, a lock around the handler"
QUEUE = "one worker, unbounded; keeps no errors, copies no contextvars"
STREAM = "one worker, bounded; a checkpoint for each event"

one_caller = partial(awaiting, message=COMMAND)

ROWS = [
    Row("emit sync", "pykka", TELL, pykka_tell),
    Row("ask", "pykka", PYKKA_ASK, pykka_ask, 100),
    Row("ask x50", "pykka", PYKKA_ASK, pykka_ask_many),
    Row("emit", "xoscar", XOSCAR_TELL, partial(xoscar_tell, method="handle"), 500),
    Row("emit sync", "xoscar", XOSCAR_TELL, partial(xoscar_tell, method="handle_sync"), 500),
    Row("ask", "xoscar", XOSCAR_SEND, partial(xoscar_send, run=one_caller)),
    Row("ask x50", "xoscar", XOSCAR_SEND, partial(xoscar_send, run=callers)),
    Row("emit", "asyncio.Queue", QUEUE, queue_and_worker, FAST),
    Row("emit sync", "asyncio.Queue", QUEUE, queue_and_sync_worker, FAST),
    Row("ask", "asyncio.Queue", f"{QUEUE}; a Future", partial(queue_and_future, run=one_caller)),
    Row("ask x50", "asyncio.Queue", f"{QUEUE}; a Future", partial(queue_and_future, run=callers), FAST),
    Row("emit", "create_task", "copies contextvars; all at once", task_per_event),
    Row("emit sync", "loop.call_soon", "copies contextvars; no loop turn between", call_soon, FAST),
    Row("emit", "anyio stream", STREAM, stream_and_worker),
    Row("emit sync", "anyio stream", STREAM, stream_and_sync_worker),
]

PUBLISH = ("publish x1", "publish x3", "sync x1", "sync x3", "injected")
SEND = ("send", "send sync")
ASK = ("ask", "ask x50")
INBOX = "one consumer of one inbox, no list of handlers"
BY_INBOX = "replies through its inbox only: see ask"
ONE_WAY = "hands over, without a reply"

BLANKS = [
    Blank("pykka", INBOX, PUBLISH),
    Blank("pykka", BY_INBOX, SEND),
    Blank("pykka", "its handlers cannot be async", ("emit",)),
    Blank("xoscar", INBOX, PUBLISH),
    Blank("xoscar", BY_INBOX, SEND),
    Blank("asyncio.Queue", INBOX, PUBLISH),
    Blank("asyncio.Queue", BY_INBOX, SEND),
    Blank("create_task", ONE_WAY, (*PUBLISH, *SEND, *ASK)),
    Blank("create_task", "takes coroutines only", ("emit sync",)),
    Blank("loop.call_soon", ONE_WAY, (*PUBLISH, *SEND, *ASK)),
    Blank("loop.call_soon", "calls functions only", ("emit",)),
    Blank("anyio stream", INBOX, PUBLISH),
    Blank("anyio stream", ONE_WAY, (*SEND, *ASK)),
]
