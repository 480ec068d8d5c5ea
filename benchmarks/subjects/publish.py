"""Publishing and sending through the runtime."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from benchmarks.registries import registry_of
from benchmarks.workload import (
    COMMAND,
    EVENT,
    Clock,
    Mailer,
    Ordered,
    Run,
    Session,
    handle,
    handle_sync,
    managed_session,
    open_session,
    reply,
)
from runtime import BusTerminal, Event, EventBus, MessageContext, MessageRegistry, isolated


async def handle_second(event: Ordered, ctx: MessageContext) -> None:
    """Do nothing, as the second of three handlers."""


async def handle_third(event: Ordered, ctx: MessageContext) -> None:
    """Do nothing, as the third of three handlers."""


@asynccontextmanager
async def publishing(registry: MessageRegistry[Event], **options: Any) -> AsyncGenerator[Run]:
    """Publish to the handlers of a registry from the root bus."""
    event = EVENT
    async with BusTerminal(registry, **options) as terminal:
        bus = terminal.bus

        async def run(n: int) -> None:
            for _ in range(n):
                await bus.publish(event)

        yield run


def publish_one() -> AbstractAsyncContextManager[Run]:
    """Publish to one asynchronous handler."""
    return publishing(registry_of(handle))


def publish_three() -> AbstractAsyncContextManager[Run]:
    """Publish to three asynchronous handlers."""
    return publishing(registry_of(handle, handle_second, handle_third))


def publish_sync() -> AbstractAsyncContextManager[Run]:
    """Publish to one synchronous handler."""
    return publishing(registry_of(handle_sync))


def publish_isolated() -> AbstractAsyncContextManager[Run]:
    """Publish to three handlers under the isolated publisher."""
    return publishing(registry_of(handle, handle_second, handle_third), publisher=isolated)


def publish_wired() -> AbstractAsyncContextManager[Run]:
    """Publish to a handler with two singletons, a scoped object and a bus."""

    async def handler(
        event: Ordered,
        ctx: MessageContext,
        clock: Clock,
        mailer: Mailer,
        session: Session,
        bus: EventBus[Event],
    ) -> None:
        pass

    registry = registry_of(handler)
    registry.factory(Clock, lifetime="singleton")
    registry.factory(Mailer, lifetime="singleton")
    registry.factory(open_session)
    return publishing(registry)


def publish_managed() -> AbstractAsyncContextManager[Run]:
    """Publish to a handler whose scoped object has to be left."""

    async def handler(event: Ordered, ctx: MessageContext, session: Session) -> None:
        pass

    registry = registry_of(handler)
    registry.factory(Clock, lifetime="singleton")
    registry.factory(managed_session)
    return publishing(registry)


def publish_guarded() -> AbstractAsyncContextManager[Run]:
    """Publish to a handler behind a guard."""

    async def guard(event: Ordered, ctx: MessageContext, proceed: Any) -> None:
        await proceed()

    registry = registry_of(handle)
    registry.guard(guard)
    return publishing(registry)


@asynccontextmanager
async def send_command() -> AsyncGenerator[Run]:
    """Send a command and take its reply."""
    command = COMMAND
    async with BusTerminal(registry_of(reply)) as terminal:
        bus = terminal.bus

        async def run(n: int) -> None:
            for _ in range(n):
                await bus.send(command)

        yield run
