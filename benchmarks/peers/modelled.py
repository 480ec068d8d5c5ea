"""Peers whose messages are pydantic models, handled in a transaction: lato, messagebus."""

# The peers are in an environment of their own, and most have no types.
# pyright: standard, reportMissingImports=false

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import lato
import messagebus

from benchmarks.peers.jobs import Blank, Row, Run, Tally, awaiting, calling
from benchmarks.workload import COMMAND, Clock, Session


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
async def lato_publish_async(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Publish to coroutine functions."""
    app = lato.Application("orders")
    for _ in range(handlers):

        @app.handler(Placed)
        async def handle(event: Placed) -> None:
            tally.count += 1

    yield awaiting(app.publish_async, PLACED)


@asynccontextmanager
async def lato_publish(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Publish to functions."""
    app = lato.Application("orders")
    for _ in range(handlers):

        @app.handler(Placed)
        def handle(event: Placed) -> None:
            tally.count += 1

    yield calling(app.publish, PLACED)


@asynccontextmanager
async def lato_publish_injected(tally: Tally) -> AsyncGenerator[Run]:
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
async def lato_execute_async(tally: Tally) -> AsyncGenerator[Run]:
    """Execute a command with a coroutine function."""
    app = lato.Application("orders")

    @app.handler(FindOrder)
    async def reply(command: FindOrder) -> int:
        tally.count += 1
        return command.order_id

    yield awaiting(app.execute_async, FIND_ORDER)


@asynccontextmanager
async def lato_execute(tally: Tally) -> AsyncGenerator[Run]:
    """Execute a command with a function."""
    app = lato.Application("orders")

    @app.handler(FindOrder)
    def reply(command: FindOrder) -> int:
        tally.count += 1
        return command.order_id

    yield calling(app.execute, FIND_ORDER)


class MessagebusPlaced(messagebus.Event):
    """The event, as messagebus wants it."""

    order_id: int
    customer: str
    total: float
    metadata: messagebus.Metadata = messagebus.Metadata(name="placed", schema_version=1)


class MessagebusFindOrder(messagebus.Command):
    """The command, as messagebus wants it."""

    order_id: int
    metadata: messagebus.Metadata = messagebus.Metadata(name="find_order", schema_version=1)


MESSAGEBUS_PLACED = MessagebusPlaced(order_id=42, customer="Ada", total=12.5)
MESSAGEBUS_FIND_ORDER = MessagebusFindOrder(order_id=COMMAND.order_id)


class AsyncUnitOfWork(messagebus.AsyncAbstractUnitOfWork[Any, Any, Any]):
    """A unit of work that has nothing to save."""

    async def commit(self) -> None:
        """Save nothing."""

    async def rollback(self) -> None:
        """Save nothing."""


class SyncUnitOfWork(messagebus.SyncAbstractUnitOfWork[Any, Any, Any]):
    """A unit of work that has nothing to save."""

    def commit(self) -> None:
        """Save nothing."""

    def rollback(self) -> None:
        """Save nothing."""


@asynccontextmanager
async def messagebus_async(
    bus: messagebus.AsyncMessageBus[Any], message: object
) -> AsyncGenerator[Run]:
    """Handle each message in a transaction of its own."""
    work = AsyncUnitOfWork()

    async def handle(message: Any) -> object:
        async with work as transaction:
            reply = await bus.handle(message, transaction)
            await transaction.commit()
            return reply

    yield awaiting(handle, message)


@asynccontextmanager
async def messagebus_sync(
    bus: messagebus.SyncMessageBus[Any], message: object
) -> AsyncGenerator[Run]:
    """Handle each message in a transaction of its own."""
    work = SyncUnitOfWork()

    def handle(message: Any) -> object:
        with work as transaction:
            reply = bus.handle(message, transaction)
            transaction.commit()
            return reply

    yield calling(handle, message)


def messagebus_publish(tally: Tally, handlers: int) -> Any:
    """Handle an event with coroutine functions."""
    bus: messagebus.AsyncMessageBus[Any] = messagebus.AsyncMessageBus()
    for _ in range(handlers):

        async def handle(event: MessagebusPlaced, uow: Any) -> None:
            tally.count += 1

        bus.add_listener(MessagebusPlaced, handle)
    return messagebus_async(bus, MESSAGEBUS_PLACED)


def messagebus_publish_injected(tally: Tally) -> Any:
    """Handle an event with a new object, which is made with a singleton."""
    clock = Clock()

    class Opened(messagebus.AsyncDependency):
        """The scoped object, as messagebus wants it."""

        def __init__(self) -> None:
            self.clock = clock

        async def on_after_commit(self) -> None:
            """Do nothing."""

        async def on_after_rollback(self) -> None:
            """Do nothing."""

    async def handle(event: MessagebusPlaced, uow: Any, session: Opened) -> None:
        tally.count += 1

    bus: messagebus.AsyncMessageBus[Any] = messagebus.AsyncMessageBus(session=Opened)
    bus.add_listener(MessagebusPlaced, handle)
    return messagebus_async(bus, MESSAGEBUS_PLACED)


def messagebus_send(tally: Tally) -> Any:
    """Handle a command with a coroutine function."""

    async def reply(command: MessagebusFindOrder, uow: Any) -> int:
        tally.count += 1
        return command.order_id

    bus: messagebus.AsyncMessageBus[Any] = messagebus.AsyncMessageBus()
    bus.add_listener(MessagebusFindOrder, reply)
    return messagebus_async(bus, MESSAGEBUS_FIND_ORDER)


def messagebus_call(tally: Tally, handlers: int) -> Any:
    """Handle an event with functions."""
    bus: messagebus.SyncMessageBus[Any] = messagebus.SyncMessageBus()
    for _ in range(handlers):

        def handle(event: MessagebusPlaced, uow: Any) -> None:
            tally.count += 1

        bus.add_listener(MessagebusPlaced, handle)
    return messagebus_sync(bus, MESSAGEBUS_PLACED)


def messagebus_send_sync(tally: Tally) -> Any:
    """Handle a command with a function."""

    def reply(command: MessagebusFindOrder, uow: Any) -> int:
        tally.count += 1
        return command.order_id

    bus: messagebus.SyncMessageBus[Any] = messagebus.SyncMessageBus()
    bus.add_listener(MessagebusFindOrder, reply)
    return messagebus_sync(bus, MESSAGEBUS_FIND_ORDER)


LATO = "a transaction context; inspects the handler's signature each time; dict of the results"
MESSAGEBUS = "opens and commits a unit of work; a queue of the events that follow; metrics hooks"

ROWS = [
    Row("publish x1", "lato", LATO, partial(lato_publish_async, handlers=1), 100),
    Row("publish x3", "lato", LATO, partial(lato_publish_async, handlers=3), 50),
    Row("sync x1", "lato", LATO, partial(lato_publish, handlers=1), 100),
    Row("sync x3", "lato", LATO, partial(lato_publish, handlers=3), 50),
    Row("injected", "lato", LATO, lato_publish_injected, 100),
    Row("send", "lato", LATO, lato_execute_async, 100),
    Row("send sync", "lato", LATO, lato_execute, 100),
    Row("publish x1", "messagebus", MESSAGEBUS, partial(messagebus_publish, handlers=1), 250),
    Row("publish x3", "messagebus", MESSAGEBUS, partial(messagebus_publish, handlers=3), 250),
    Row("sync x1", "messagebus", MESSAGEBUS, partial(messagebus_call, handlers=1), 250),
    Row("sync x3", "messagebus", MESSAGEBUS, partial(messagebus_call, handlers=3), 250),
    Row("injected", "messagebus", MESSAGEBUS, messagebus_publish_injected, 250),
    Row("send", "messagebus", MESSAGEBUS, messagebus_send, 250),
    Row("send sync", "messagebus", MESSAGEBUS, messagebus_send_sync, 250),
]

BLANKS = [
    Blank(peer, "handles in the caller's turn only", ("emit", "emit sync", "ask", "ask x50"))
    for peer in ("lato", "messagebus")
]
