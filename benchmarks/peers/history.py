"""The peer that keeps a queue and a history of its events: bubus."""

# The peers are in an environment of their own, and most have no types.
# pyright: standard, reportMissingImports=false

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from typing import Any

import bubus

from benchmarks.peers.jobs import Blank, Row, Run, Tally
from benchmarks.workload import BURST, COMMAND


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
async def bubus_bus(*handlers: Callable[..., Any]) -> AsyncGenerator[bubus.EventBus]:
    """Start a bus."""
    bus = bubus.EventBus(max_history_size=BUBUS_HISTORY)
    for number, handler in enumerate(handlers):
        kind = OrderWanted if handler.__name__ == "reply" else OrderPlaced
        bus.on(kind, named(handler, number))
    yield bus
    await bus.stop(clear=True)


@asynccontextmanager
async def bubus_publish(tally: Tally, handler: Any, handlers: int = 1) -> AsyncGenerator[Run]:
    """Dispatch and await each event."""
    async with bubus_bus(*(handler(tally) for _ in range(handlers))) as bus:
        events = fresh(OrderPlaced)

        async def run(n: int) -> None:
            for _ in range(n):
                await bus.dispatch(next(events))

        yield run


@asynccontextmanager
async def bubus_emit(tally: Tally, handler: Any) -> AsyncGenerator[Run]:
    """Dispatch bursts, and await the last event of each: they are handled in order."""
    async with bubus_bus(handler(tally)) as bus:
        events = fresh(OrderPlaced)

        async def run(n: int) -> None:
            for _ in range(n // BURST):
                dispatched = [bus.dispatch(next(events)) for _ in range(BURST)]
                await dispatched[-1]

        yield run


@asynccontextmanager
async def bubus_ask(tally: Tally, handler: Any) -> AsyncGenerator[Run]:
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
async def bubus_ask_many(tally: Tally) -> AsyncGenerator[Run]:
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


BUBUS = "through a queue, under a global lock; tasks that watch; a result model, a history"

ROWS = [
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
    Blank("bubus", "injects nothing", ("injected",)),
]
