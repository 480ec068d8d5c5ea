"""Emitting to mailboxes and asking them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from benchmarks.registries import registry_of
from benchmarks.workload import (
    BURST,
    COMMAND,
    EVENT,
    MAILBOXES,
    Callers,
    Run,
    handle,
    handle_sync,
    one_caller,
    reply,
)
from runtime import BusTerminal


@asynccontextmanager
async def emitting(handler: object, key: str | None) -> AsyncGenerator[Run]:
    """Emit bursts to the mailbox of one scope, or of one key."""
    event = EVENT
    registry = registry_of(handler)
    async with BusTerminal(registry) as terminal, terminal.scope("orders") as scope:
        bus = scope.bus

        async def run(n: int) -> None:
            for _ in range(n // BURST):
                delivery = bus.emit(event)
                for _ in range(BURST - 1):
                    delivery = bus.emit(event)
                while not delivery.done():
                    await asyncio.sleep(0)

        async def run_keyed(n: int) -> None:
            for _ in range(n // BURST):
                delivery = bus.emit(event, key=key)
                for _ in range(BURST - 1):
                    delivery = bus.emit(event, key=key)
                while not delivery.done():
                    await asyncio.sleep(0)

        yield run if key is None else run_keyed


def emit_one() -> AbstractAsyncContextManager[Run]:
    """Emit bursts to one mailbox."""
    return emitting(handle, None)


def emit_keyed() -> AbstractAsyncContextManager[Run]:
    """Emit bursts to one mailbox that a key names."""
    return emitting(handle, "42")


def emit_sync() -> AbstractAsyncContextManager[Run]:
    """Emit bursts to one mailbox with a synchronous handler."""
    return emitting(handle_sync, None)


@asynccontextmanager
async def emit_many() -> AsyncGenerator[Run]:
    """Emit an event to each of many mailboxes."""
    event = EVENT
    async with BusTerminal(registry_of(handle)) as terminal:
        bus = terminal.bus

        async def run(n: int) -> None:
            for _ in range(n // MAILBOXES):
                delivery = bus.emit(event, key=0)
                for key in range(1, MAILBOXES):
                    delivery = bus.emit(event, key=key)
                while not delivery.done():
                    await asyncio.sleep(0)

        yield run


@asynccontextmanager
async def ask_mailbox(
    callers: Callers = one_caller, key: str | None = "box"
) -> AsyncGenerator[Run]:
    """Ask a command of one mailbox."""
    command = COMMAND
    async with BusTerminal(registry_of(reply)) as terminal:
        bus = terminal.bus

        yield callers(lambda: bus.ask(command, key=key))


@asynccontextmanager
async def ask_behind() -> AsyncGenerator[Run]:
    """Ask a mailbox that has an event to handle first, so that the command is queued."""
    command, event = COMMAND, EVENT
    async with BusTerminal(registry_of(handle, reply)) as terminal:
        bus = terminal.bus

        async def run(n: int) -> None:
            for _ in range(n):
                bus.emit(event, key="box")
                await bus.ask(command, key="box")

        yield run
