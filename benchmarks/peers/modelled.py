"""Peers whose messages are pydantic models with an identity: lato, bubus."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from typing import Any

import bubus
import lato

from benchmarks.peers.jobs import Blank, Row, Run, Tally, awaiting, calling
from benchmarks.workload import BURST, COMMAND, Clock, Session


class Placed(lato.Event):
    """The event, as lato wants it."""

    order_id: int
    customer: str
    total: float


class FindOrder(lato.Command):
    """The command, as lato wants it."""

    order_id: int


PLACED = Placed(order_id=42, customer="Ada", total=12.5)
FIND_ORDER = FindOrder(order_id=COMMAND.order_id)


@asynccontextmanager
async def lato_publish_async(tally: Tally, handlers: int) -> AsyncIterator[Run]:
    """Publish to coroutine functions."""
    app = lato.Application("orders")
    for _ in range(handlers):

        @app.handler(Placed)
        async def handle(event: Placed) -> None:
            tally.count += 1

    yield awaiting(app.publish_async, PLACED)


@asynccontextmanager
async def lato_publish(tally: Tally, handlers: int) -> AsyncIterator[Run]:
    """Publish to functions."""
    app = lato.Application("orders")
    for _ in range(handlers):

        @app.handler(Placed)
        def handle(event: Placed) -> None:
            tally.count += 1

    yield calling(app.publish, PLACED)


@asynccontextmanager
async def lato_publish_injected(tally: Tally) -> AsyncIterator[Run]:
    """Publish to a handler with a new object, which is made with a singleton."""
    app = lato.Application("orders", clock=Clock())

    @app.on_enter_transaction_context
    async def open_session(ctx: lato.TransactionContext) -> None:
        ctx.set_dependencies(session=Session(ctx[Clock]))

    @app.handler(Placed)
    async def handle(event: Placed, session: Session) -> None:
        tally.count += 1

    yield awaiting(app.publish_async, PLACED)


@asynccontextmanager
async def lato_execute_async(tally: Tally) -> AsyncIterator[Run]:
    """Execute a command with a coroutine function."""
    app = lato.Application("orders")

    @app.handler(FindOrder)
    async def reply(command: FindOrder) -> int:
        tally.count += 1
        return command.order_id

    yield awaiting(app.execute_async, FIND_ORDER)


@asynccontextmanager
async def lato_execute(tally: Tally) -> AsyncIterator[Run]:
    """Execute a command with a function."""
    app = lato.Application("orders")

    @app.handler(FindOrder)
    def reply(command: FindOrder) -> int:
        tally.count += 1
        return command.order_id

    yield calling(app.execute, FIND_ORDER)


class OrderPlaced(bubus.BaseEvent[None]):
    """The event, as bubus wants it."""

    event_timeout: float | None = None
    order_id: int = 42
    customer: str = "Ada"
    total: float = 12.5


class OrderWanted(bubus.BaseEvent[int]):
    """The command, as bubus wants it."""

    event_timeout: float | None = None
    order_id: int = COMMAND.order_id


BUBUS_HISTORY = 1
"""Of 0, 1, 2, 10, 50 and None the fastest: each step walks through the history."""
BUBUS_PREPARED = 2_500
"""Messages made before anything is timed: enough for the usual rounds. More are made as needed."""


def fresh(kind: Callable[[], Any]) -> Iterator[Any]:
    """Yield new messages, most of them made beforehand: each can be dispatched once."""
    prepared = [kind() for _ in range(BUBUS_PREPARED)]
    return chain(prepared, iter(kind, None))


def named(handler: Callable[..., Any], number: int) -> Callable[..., Any]:
    """Give a handler a name of its own, which bubus wants."""
    handler.__name__ = f"{handler.__name__}_{number}"
    return handler


def bubus_async(tally: Tally) -> Callable[..., Any]:
    """Return a new handler for bubus."""

    async def handle(event: OrderPlaced) -> None:
        tally.count += 1

    return handle


def bubus_sync(tally: Tally) -> Callable[..., Any]:
    """Return a new synchronous handler for bubus."""

    def handle(event: OrderPlaced) -> None:
        tally.count += 1

    return handle


def bubus_reply_async(tally: Tally) -> Callable[..., Any]:
    """Return a new answering handler for bubus."""

    async def reply(command: OrderWanted) -> int:
        tally.count += 1
        return command.order_id

    return reply


def bubus_reply_sync(tally: Tally) -> Callable[..., Any]:
    """Return a new synchronous answering handler for bubus."""

    def reply(command: OrderWanted) -> int:
        tally.count += 1
        return command.order_id

    return reply


@asynccontextmanager
async def bubus_bus(*handlers: Callable[..., Any]) -> AsyncIterator[bubus.EventBus]:
    """Start a bus."""
    bus = bubus.EventBus(max_history_size=BUBUS_HISTORY)
    for number, handler in enumerate(handlers):
        kind = OrderWanted if handler.__name__ == "reply" else OrderPlaced
        bus.on(kind, named(handler, number))
    yield bus
    await bus.stop(clear=True)


@asynccontextmanager
async def bubus_publish(tally: Tally, handler: Any, handlers: int = 1) -> AsyncIterator[Run]:
    """Dispatch and await each event."""
    async with bubus_bus(*(handler(tally) for _ in range(handlers))) as bus:
        events = fresh(OrderPlaced)

        async def run(n: int) -> None:
            for _ in range(n):
                await bus.dispatch(next(events))

        yield run


@asynccontextmanager
async def bubus_emit(tally: Tally, handler: Any) -> AsyncIterator[Run]:
    """Dispatch bursts, and await the last event of each: they are handled in order."""
    async with bubus_bus(handler(tally)) as bus:
        events = fresh(OrderPlaced)

        async def run(n: int) -> None:
            for _ in range(n // BURST):
                for _ in range(BURST):
                    event = bus.dispatch(next(events))
                await event

        yield run


@asynccontextmanager
async def bubus_ask(tally: Tally, handler: Any) -> AsyncIterator[Run]:
    """Dispatch and await the result of each command."""
    async with bubus_bus(handler(tally)) as bus:
        commands = fresh(OrderWanted)

        async def run(n: int) -> object:
            reply = None
            for _ in range(n):
                reply = await bus.dispatch(next(commands)).event_result()
            return reply

        yield run


@asynccontextmanager
async def bubus_ask_many(tally: Tally) -> AsyncIterator[Run]:
    """Dispatch 50 commands, then take their results."""
    async with bubus_bus(bubus_reply_async(tally)) as bus:
        commands = fresh(OrderWanted)

        async def run(n: int) -> object:
            reply = None
            for _ in range(n // BURST):
                asked = [bus.dispatch(next(commands)) for _ in range(BURST)]
                for each in asked:
                    reply = await each.event_result()
            return reply

        yield run


LATO = "a transaction context; inspects the handler's signature each time; dict of the results"
BUBUS = "through a queue, under a global lock; tasks that watch; a result model, a history"

ROWS = [
    Row("publish x1", "lato", LATO, partial(lato_publish_async, handlers=1), 100),
    Row("publish x3", "lato", LATO, partial(lato_publish_async, handlers=3), 50),
    Row("sync x1", "lato", LATO, partial(lato_publish, handlers=1), 100),
    Row("sync x3", "lato", LATO, partial(lato_publish, handlers=3), 50),
    Row("injected", "lato", LATO, lato_publish_injected, 100),
    Row("send", "lato", LATO, lato_execute_async, 100),
    Row("send sync", "lato", LATO, lato_execute, 100),
    Row("publish x1", "bubus", BUBUS, partial(bubus_publish, handler=bubus_async), 50),
    Row("publish x3", "bubus", BUBUS, partial(bubus_publish, handler=bubus_async, handlers=3), 50),
    Row("sync x1", "bubus", BUBUS, partial(bubus_publish, handler=bubus_sync), 50),
    Row("sync x3", "bubus", BUBUS, partial(bubus_publish, handler=bubus_sync, handlers=3), 50),
    Row("send", "bubus", BUBUS, partial(bubus_ask, handler=bubus_reply_async), 50),
    Row("send sync", "bubus", BUBUS, partial(bubus_ask, handler=bubus_reply_sync), 50),
    Row("emit", "bubus", BUBUS, partial(bubus_emit, handler=bubus_async), 50),
    Row("emit sync", "bubus", BUBUS, partial(bubus_emit, handler=bubus_sync), 50),
    Row("ask", "bubus", BUBUS, partial(bubus_ask, handler=bubus_reply_async), 50),
    Row("ask x50", "bubus", BUBUS, bubus_ask_many, 50),
]

BLANKS = [
    Blank("lato", "handles in the caller's turn only", ("emit", "emit sync", "ask", "ask x50")),
    Blank("bubus", "injects nothing", ("injected",)),
]
