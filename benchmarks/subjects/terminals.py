"""What a terminal does around its messages: its ledger, its scopes, its freeze."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from benchmarks.registries import registry_of
from benchmarks.workload import (
    EVENT,
    MAILBOXES,
    Ordered,
    Run,
)
from runtime import BusTerminal


@asynccontextmanager
async def look_at_many(*, mailboxes: int = MAILBOXES) -> AsyncGenerator[Run]:
    """Ask for the ledger while messages wait in many mailboxes."""
    gate = asyncio.Event()

    async def wait(event: Ordered) -> None:
        await gate.wait()

    async with BusTerminal(registry_of(wait)) as terminal:
        for key in range(mailboxes):
            terminal.bus.emit(EVENT, key=key)

        async def run(n: int) -> None:
            for _ in range(n):
                terminal.stats()

        try:
            yield run
        finally:
            gate.set()


@asynccontextmanager
async def open_scopes(*, idle: int = 0) -> AsyncGenerator[Run]:
    """Enter and leave named scopes, beside others that are open and idle."""
    async with BusTerminal(registry_of()) as terminal, AsyncExitStack() as stack:
        for number in range(idle):
            await stack.enter_async_context(terminal.scope(-1 - number))

        async def run(n: int) -> None:
            for name in range(n):
                async with terminal.scope(name):
                    pass

        yield run


@asynccontextmanager
async def open_scopes_with_bus() -> AsyncGenerator[Run]:
    """Enter named scopes, take the bus of each, and leave them."""
    async with BusTerminal(registry_of()) as terminal:

        async def run(n: int) -> None:
            for name in range(n):
                async with terminal.scope(name) as scope:
                    scope.bus  # noqa: B018 -- that makes it

        yield run
