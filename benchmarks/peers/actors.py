"""Peers that have actors: pykka, xoscar."""

# The peers are in an environment of their own, and most have no types.
# pyright: standard, reportMissingImports=false

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pykka
import xoscar

from benchmarks.peers.jobs import Blank, Row, Run, Tally, awaiting, callers
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
async def pykka_tell(tally: Tally) -> AsyncGenerator[Run]:
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
async def pykka_ask(tally: Tally) -> AsyncGenerator[Run]:
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
async def pykka_ask_many(tally: Tally) -> AsyncGenerator[Run]:
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
async def xoscar_actor(tally: Tally) -> AsyncGenerator[Any]:
    """Start a pool in this process, with one actor: no socket and no pickling on the way to it."""
    pool = await xoscar.create_actor_pool("127.0.0.1", n_process=0)
    async with pool:
        await xoscar.create_actor(XoscarActor, tally, uid="orders", address=pool.external_address)
        # Not what `create_actor` returns: that one goes through a channel even here.
        yield await xoscar.actor_ref(uid="orders", address=pool.external_address)


@asynccontextmanager
async def xoscar_tell(tally: Tally, method: str) -> AsyncGenerator[Run]:
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
async def xoscar_send(tally: Tally, run: Any) -> AsyncGenerator[Run]:
    """Call a method and wait for what it returns."""
    async with xoscar_actor(tally) as actor:
        yield run(actor.reply.send)


TELL = "a thread, which blocks the caller's, for each actor; an envelope for each message"
PYKKA_ASK = f"{TELL}; a Condition for each reply; sync handler"
XOSCAR_TELL = "compiled; in one process; a task for each message, a lock around the handler"
XOSCAR_SEND = "compiled; in one process; in the caller's task, a lock around the handler"

one_caller = partial(awaiting, message=COMMAND)

ROWS = [
    Row("emit sync", "pykka", TELL, pykka_tell),
    Row("ask", "pykka", PYKKA_ASK, pykka_ask, 100),
    Row("ask x50", "pykka", PYKKA_ASK, pykka_ask_many),
    Row("emit", "xoscar", XOSCAR_TELL, partial(xoscar_tell, method="handle"), 500),
    Row("emit sync", "xoscar", XOSCAR_TELL, partial(xoscar_tell, method="handle_sync"), 500),
    Row("ask", "xoscar", XOSCAR_SEND, partial(xoscar_send, run=one_caller)),
    Row("ask x50", "xoscar", XOSCAR_SEND, partial(xoscar_send, run=callers)),
]

PUBLISH = ("publish x1", "publish x3", "sync x1", "sync x3", "injected")
SEND = ("send", "send sync")
ASK = ("ask", "ask x50")
INBOX = "one consumer of one inbox, no list of handlers"
BY_INBOX = "replies through its inbox only: see ask"

BLANKS = [
    Blank("pykka", INBOX, PUBLISH),
    Blank("pykka", BY_INBOX, SEND),
    Blank("pykka", "its handlers cannot be async", ("emit",)),
    Blank("xoscar", INBOX, PUBLISH),
    Blank("xoscar", BY_INBOX, SEND),
]
