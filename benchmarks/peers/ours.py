"""The runtime at every job."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from benchmarks.peers.jobs import MANY, Row, Run, Tally, awaiting, bursts, callers
from benchmarks.workload import COMMAND, EVENT, Clock, GetOrder, Ordered, Session, open_session
from runtime import BusTerminal, MessageContext, MessageRegistry

NAME = "runtime"


def async_handler(tally: Tally) -> Any:
    """Return a new handler that counts."""

    async def handle(event: Ordered, ctx: MessageContext) -> None:
        tally.count += 1

    return handle


def sync_handler(tally: Tally) -> Any:
    """Return a new synchronous handler that counts."""

    def handle(event: Ordered, ctx: MessageContext) -> None:
        tally.count += 1

    return handle


def async_reply(tally: Tally) -> Any:
    """Return a new handler that counts and answers."""

    async def reply(command: GetOrder, ctx: MessageContext) -> int:
        tally.count += 1
        return command.order_id

    return reply


def sync_reply(tally: Tally) -> Any:
    """Return a new synchronous handler that counts and answers."""

    def reply(command: GetOrder, ctx: MessageContext) -> int:
        tally.count += 1
        return command.order_id

    return reply


def terminal_of(*handlers: Any) -> BusTerminal[Any]:
    """Return a terminal with handlers."""
    registry = MessageRegistry()
    registry.register(*handlers)
    return BusTerminal(registry)


@asynccontextmanager
async def publish(tally: Tally, handler: Any, handlers: int = 1) -> AsyncIterator[Run]:
    """Publish from the root bus."""
    async with terminal_of(*(handler(tally) for _ in range(handlers))) as terminal:
        yield awaiting(terminal.bus.publish, EVENT)


@asynccontextmanager
async def publish_injected(tally: Tally) -> AsyncIterator[Run]:
    """Publish to a handler with a new scoped object, which is made with a singleton."""

    async def handle(event: Ordered, ctx: MessageContext, session: Session) -> None:
        tally.count += 1

    registry = MessageRegistry()
    registry.register(handle)
    registry.factory(Clock, lifetime="singleton")
    registry.factory(open_session)
    async with BusTerminal(registry) as terminal:
        yield awaiting(terminal.bus.publish, EVENT)


@asynccontextmanager
async def send(tally: Tally, handler: Any) -> AsyncIterator[Run]:
    """Send a command inline."""
    async with terminal_of(handler(tally)) as terminal:
        yield awaiting(terminal.bus.send, COMMAND)


@asynccontextmanager
async def emit(tally: Tally, handler: Any) -> AsyncIterator[Run]:
    """Emit to the mailbox of a named scope."""
    async with terminal_of(handler(tally)) as terminal, terminal.scope("orders") as scope:
        yield bursts(tally, scope.bus.emit)


@asynccontextmanager
async def ask(tally: Tally, run: Any) -> AsyncIterator[Run]:
    """Ask one mailbox."""
    async with terminal_of(async_reply(tally)) as terminal:
        yield run(partial(terminal.bus.ask, key="orders"))


INLINE = "passes a new context on; checks the loop, the scope and a guard chain"
QUEUED = "one ordered mailbox; copies contextvars, stamps a context, keeps the ledger, Delivery"

ROWS = [
    Row("publish x1", NAME, INLINE, partial(publish, handler=async_handler)),
    Row("publish x3", NAME, INLINE, partial(publish, handler=async_handler, handlers=3)),
    Row("sync x1", NAME, INLINE, partial(publish, handler=sync_handler)),
    Row("sync x3", NAME, INLINE, partial(publish, handler=sync_handler, handlers=3)),
    Row("injected", NAME, "opens a scope, makes and ends the scoped object", publish_injected),
    Row("send", NAME, INLINE, partial(send, handler=async_reply)),
    Row("send sync", NAME, INLINE, partial(send, handler=sync_reply)),
    Row("emit", NAME, QUEUED, partial(emit, handler=async_handler)),
    Row("emit sync", NAME, QUEUED, partial(emit, handler=sync_handler)),
    Row("ask", NAME, QUEUED, partial(ask, run=partial(awaiting, message=COMMAND))),
    Row("ask x50", NAME, QUEUED, partial(ask, run=callers), MANY),
]
