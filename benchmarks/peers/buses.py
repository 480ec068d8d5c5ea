"""Peers that route messages by their type or name: lihil, mediatr, fastapi-events."""

# The peers are in an environment of their own, and most have no types.
# pyright: standard, reportMissingImports=false

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import lihil.plugins.bus as lihil
from fastapi_events.dispatcher import dispatch
from fastapi_events.handlers.local import LocalHandler
from fastapi_events.middleware import EventHandlerASGIMiddleware
from ididi import use
from mediatr import Mediator

from benchmarks.peers.jobs import Blank, Row, Run, Tally, awaiting, bursts, calling
from benchmarks.workload import COMMAND, EVENT, Clock, GetOrder, Ordered, Session


def lihil_handler(tally: Tally) -> Callable[..., Any]:
    """Return a new handler for lihil's bus."""

    async def handle(event: Ordered, ctx: Any) -> None:
        tally.count += 1

    return handle


@asynccontextmanager
async def lihil_bus(handlers: list[Callable[..., Any]]) -> AsyncGenerator[lihil.EventBus[Ordered]]:
    """Make a bus as lihil's plugin makes it."""
    registry: lihil.MessageRegistry[Ordered] = lihil.MessageRegistry(event_base=Ordered)
    registry.register(*handlers)
    terminal = lihil.BusTerminal(registry)
    yield terminal.create_event_bus(terminal.graph)


@asynccontextmanager
async def lihil_publish(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Publish in the caller's turn."""
    async with lihil_bus([lihil_handler(tally) for _ in range(handlers)]) as bus:
        yield awaiting(bus.publish, EVENT)


@asynccontextmanager
async def lihil_publish_injected(tally: Tally) -> AsyncGenerator[Run]:
    """Publish to a handler with a new object, which is made with a singleton."""

    def open_session(clock: Annotated[Clock, use(Clock, reuse=True)]) -> Session:
        return Session(clock)

    async def handle(
        event: Ordered, ctx: Any, session: Annotated[Session, use(open_session, reuse=False)]
    ) -> None:
        tally.count += 1

    async with lihil_bus([handle]) as bus:
        yield awaiting(bus.publish, EVENT)


@asynccontextmanager
async def lihil_emit(tally: Tally) -> AsyncGenerator[Run]:
    """Emit, each in a task and a scope of its own."""
    async with lihil_bus([lihil_handler(tally)]) as bus:
        yield bursts(tally, bus.emit)


@asynccontextmanager
async def lihil_send(tally: Tally) -> AsyncGenerator[Run]:
    """Send a command."""

    async def reply(command: GetOrder, ctx: Any) -> int:
        tally.count += 1
        return command.order_id

    registry: lihil.MessageRegistry[Any] = lihil.MessageRegistry(command_base=GetOrder)
    registry.register(reply)
    terminal = lihil.BusTerminal(registry)
    yield awaiting(partial(terminal.send, resolver=terminal.graph), COMMAND)


@asynccontextmanager
async def mediatr_send_async(tally: Tally) -> AsyncGenerator[Run]:
    """Send a request to a coroutine function."""

    class Request(GetOrder):
        """Of a class of its own: the first handler for a class stays, for all mediators."""

    @Mediator.handler
    async def reply(request: Request) -> int:
        tally.count += 1
        return request.order_id

    yield awaiting(Mediator().send_async, Request(order_id=COMMAND.order_id))


@asynccontextmanager
async def mediatr_send(tally: Tally) -> AsyncGenerator[Run]:
    """Send a request to a function."""

    class Request(GetOrder):
        """Of a class of its own: the first handler for a class stays, for all mediators."""

    @Mediator.handler
    def reply(request: Request) -> int:
        tally.count += 1
        return request.order_id

    yield calling(Mediator().send, Request(order_id=COMMAND.order_id))


Heard = tuple[str, Ordered]


@dataclass(frozen=True)
class Depends:
    """What fastapi-events takes for FastAPI's `Depends`, without the rest of FastAPI.

    FastAPI brings OpenTelemetry, and fastapi-events makes spans wherever that is installed.
    """

    dependency: Callable[..., Any] | None
    use_cache: bool = True


@asynccontextmanager
async def fastapi_events_handle(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Handle an event as the middleware does after a response."""
    local = LocalHandler()
    for _ in range(handlers):

        @local.register(event_name="ordered")
        async def handle(event: Heard) -> None:
            tally.count += 1

    yield awaiting(local.handle, ("ordered", EVENT))


@asynccontextmanager
async def fastapi_events_handle_sync(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Handle an event with functions, which go to threads."""
    local = LocalHandler()
    for _ in range(handlers):

        @local.register(event_name="ordered")
        def handle(event: Heard) -> None:
            tally.count += 1

    yield awaiting(local.handle, ("ordered", EVENT))


@asynccontextmanager
async def fastapi_events_handle_injected(tally: Tally) -> AsyncGenerator[Run]:
    """Handle an event with a new object, from a coroutine function: others go to a thread."""
    clock = Clock()
    local = LocalHandler()

    async def open_session() -> Session:
        return Session(clock)

    @local.register(event_name="ordered")
    async def handle(event: Heard, session: Any = Depends(open_session)) -> None:
        tally.count += 1

    yield awaiting(local.handle, ("ordered", EVENT))


@asynccontextmanager
async def fastapi_events_dispatch(tally: Tally) -> AsyncGenerator[Run]:
    """Dispatch outside of a request: each event is handled in a task of its own."""
    local = LocalHandler()

    @local.register(event_name="ordered")
    async def handle(event: Heard) -> None:
        tally.count += 1

    async def app(*_: Any) -> None:
        """Serve nothing."""

    middleware = EventHandlerASGIMiddleware(app, handlers=[local], middleware_id=1)
    yield bursts(tally, partial(dispatch, "ordered", middleware_id=1))
    middleware.deregister_handlers()


LIHIL = "inspects the handlers and builds their nodes anew each time; registers the bus"
MEDIATR = "finds the behaviours; builds a chain of closures"
FASTAPI = "matches names as globs; inspects the signature for dependencies each time"

ROWS = [
    Row("publish x1", "lihil", LIHIL, partial(lihil_publish, handlers=1), 100),
    Row("publish x3", "lihil", LIHIL, partial(lihil_publish, handlers=3), 50),
    Row("injected", "lihil", LIHIL, lihil_publish_injected, 50),
    Row("send", "lihil", LIHIL, lihil_send, 100),
    Row("emit", "lihil", "a task and a scope for each; inspects as publish does", lihil_emit, 100),
    Row("send", "mediatr", MEDIATR, mediatr_send_async),
    Row("send sync", "mediatr", MEDIATR, mediatr_send),
    Row("publish x1", "fastapi-events", FASTAPI, partial(fastapi_events_handle, handlers=1), 100),
    Row("publish x3", "fastapi-events", FASTAPI, partial(fastapi_events_handle, handlers=3), 50),
    Row(
        "sync x1",
        "fastapi-events",
        f"{FASTAPI}; each call in a thread",
        partial(fastapi_events_handle_sync, handlers=1),
        50,
    ),
    Row(
        "sync x3",
        "fastapi-events",
        f"{FASTAPI}; each call in a thread",
        partial(fastapi_events_handle_sync, handlers=3),
        50,
    ),
    Row("injected", "fastapi-events", FASTAPI, fastapi_events_handle_injected, 50),
    Row("emit", "fastapi-events", f"two tasks for each; {FASTAPI}", fastapi_events_dispatch, 100),
]

IN_TURN = "handles in the caller's turn only"

BLANKS = [
    Blank("lihil", "refuses sync functions", ("sync x1", "sync x3", "send sync", "emit sync")),
    Blank("lihil", "replies in the caller's turn only", ("ask", "ask x50")),
    Blank("mediatr", "has requests, no events", ("publish x1", "publish x3", "sync x1", "sync x3")),
    Blank("mediatr", "has requests, no events", ("injected",)),
    Blank("mediatr", IN_TURN, ("emit", "emit sync", "ask", "ask x50")),
    Blank("fastapi-events", "has no reply", ("send", "send sync", "ask", "ask x50")),
    Blank("fastapi-events", "its threads end when they like: no order", ("emit sync",)),
]
