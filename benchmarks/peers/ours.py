"""The runtime at every job."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from benchmarks.peers.jobs import FAST, Row, Run, Tally, awaiting, bursts, callers
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
async def publish(tally: Tally, handler: Any, handlers: int = 1) -> AsyncGenerator[Run]:
    """Publish from the root bus."""
    async with terminal_of(*(handler(tally) for _ in range(handlers))) as terminal:
        yield awaiting(terminal.bus.publish, EVENT)


@asynccontextmanager
async def publish_injected(tally: Tally) -> AsyncGenerator[Run]:
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
async def send(tally: Tally, handler: Any) -> AsyncGenerator[Run]:
    """Send a command inline."""
    async with terminal_of(handler(tally)) as terminal:
        yield awaiting(terminal.bus.send, COMMAND)


@asynccontextmanager
async def emit(tally: Tally, handler: Any) -> AsyncGenerator[Run]:
    """Emit to the mailbox of a named scope."""
    async with terminal_of(handler(tally)) as terminal, terminal.scope("orders") as scope:
        yield bursts(tally, scope.bus.emit)


@asynccontextmanager
async def ask(tally: Tally, run: Any) -> AsyncGenerator[Run]:
    """Ask one mailbox."""
    async with terminal_of(async_reply(tally)) as terminal:
        yield run(partial(terminal.bus.ask, key="orders"))


INLINE = "finds the plan by type; a new context for the handlers; counts; checks thread and scope"
INJECTED = "opens and ends a scope, makes a new object with a singleton; a new context; counts"
QUEUED = "an ordered, bounded mailbox; a new context, a Delivery, a ledger; copies contextvars"

one_caller = partial(awaiting, message=COMMAND)

ROWS = [
    Row("publish x1", NAME, INLINE, partial(publish, handler=async_handler), FAST),
    Row("publish x3", NAME, INLINE, partial(publish, handler=async_handler, handlers=3), FAST),
    Row("sync x1", NAME, INLINE, partial(publish, handler=sync_handler), FAST),
    Row("sync x3", NAME, INLINE, partial(publish, handler=sync_handler, handlers=3), FAST),
    Row("injected", NAME, INJECTED, publish_injected, FAST),
    Row("send", NAME, INLINE, partial(send, handler=async_reply), FAST),
    Row("send sync", NAME, INLINE, partial(send, handler=sync_reply), FAST),
    Row("emit", NAME, QUEUED, partial(emit, handler=async_handler), FAST),
    Row("emit sync", NAME, QUEUED, partial(emit, handler=sync_handler), FAST),
    Row("ask", NAME, QUEUED, partial(ask, run=one_caller), FAST),
    Row("ask x50", NAME, QUEUED, partial(ask, run=callers), FAST),
]
