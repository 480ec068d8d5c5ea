"""The same work as the floors, done by the runtime."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.workload import (
    BURST,
    COMMAND,
    EVENT,
    MAILBOXES,
    MANY,
    SINK_BATCH,
    Callers,
    Case,
    Clock,
    Mailer,
    Ordered,
    Run,
    Session,
    gathered,
    handle,
    handle_sync,
    managed_session,
    many_callers,
    one_caller,
    open_session,
    reply,
)
from runtime import BusTerminal, Event, EventBus, MessageContext, MessageRegistry, isolated
from runtime.sinks import SqliteSink


async def handle_second(event: Ordered, ctx: MessageContext) -> None:
    """Do nothing, as the second of three handlers."""


async def handle_third(event: Ordered, ctx: MessageContext) -> None:
    """Do nothing, as the third of three handlers."""


@asynccontextmanager
async def publishing(registry: MessageRegistry[Event], **options: Any) -> AsyncIterator[Run]:
    """Publish to the handlers of a registry from the root bus."""
    event = EVENT
    async with BusTerminal(registry, **options) as terminal:
        bus = terminal.bus

        async def run(n: int) -> None:
            for _ in range(n):
                await bus.publish(event)

        yield run


def registry_of(*handlers: Any) -> MessageRegistry[Event]:
    """Return a registry with handlers."""
    registry = MessageRegistry(event_base=Event)
    for handler in handlers:
        registry.register(handler)
    return registry


def publish_one():
    """Publish to one asynchronous handler."""
    return publishing(registry_of(handle))


def publish_three():
    """Publish to three asynchronous handlers."""
    return publishing(registry_of(handle, handle_second, handle_third))


def publish_sync():
    """Publish to one synchronous handler."""
    return publishing(registry_of(handle_sync))


def publish_isolated():
    """Publish to three handlers under the isolated publisher."""
    return publishing(registry_of(handle, handle_second, handle_third), publisher=isolated)


def publish_wired():
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


def publish_managed():
    """Publish to a handler whose scoped object has to be left."""

    async def handler(event: Ordered, ctx: MessageContext, session: Session) -> None:
        pass

    registry = registry_of(handler)
    registry.factory(Clock, lifetime="singleton")
    registry.factory(managed_session)
    return publishing(registry)


def publish_guarded():
    """Publish to a handler behind a guard."""

    async def guard(event: Ordered, ctx: MessageContext, proceed: Any) -> None:
        await proceed()

    registry = registry_of(handle)
    registry.guard(guard)
    return publishing(registry)


@asynccontextmanager
async def send_command() -> AsyncIterator[Run]:
    """Send a command and take its reply."""
    command = COMMAND
    async with BusTerminal(registry_of(reply)) as terminal:
        bus = terminal.bus

        async def run(n: int) -> None:
            for _ in range(n):
                await bus.send(command)

        yield run


@asynccontextmanager
async def emitting(handler: object, key: str | None) -> AsyncIterator[Run]:
    """Emit bursts to the mailbox of one scope, or of one key."""
    event = EVENT
    registry = registry_of(handler)
    async with BusTerminal(registry) as terminal, terminal.scope("orders") as scope:
        bus = scope.bus

        async def run(n: int) -> None:
            for _ in range(n // BURST):
                for _ in range(BURST):
                    delivery = bus.emit(event)
                while not delivery.done():
                    await asyncio.sleep(0)

        async def run_keyed(n: int) -> None:
            for _ in range(n // BURST):
                for _ in range(BURST):
                    delivery = bus.emit(event, key=key)
                while not delivery.done():
                    await asyncio.sleep(0)

        yield run if key is None else run_keyed


def emit_one():
    """Emit bursts to one mailbox."""
    return emitting(handle, None)


def emit_keyed():
    """Emit bursts to one mailbox that a key names."""
    return emitting(handle, "42")


def emit_sync():
    """Emit bursts to one mailbox with a synchronous handler."""
    return emitting(handle_sync, None)


@asynccontextmanager
async def emit_many() -> AsyncIterator[Run]:
    """Emit an event to each of many mailboxes."""
    event = EVENT
    async with BusTerminal(registry_of(handle)) as terminal:
        bus = terminal.bus

        async def run(n: int) -> None:
            for _ in range(n // MAILBOXES):
                for key in range(MAILBOXES):
                    delivery = bus.emit(event, key=key)
                while not delivery.done():
                    await asyncio.sleep(0)

        yield run


@asynccontextmanager
async def ask_mailbox(callers: Callers = one_caller, key: str | None = "box") -> AsyncIterator[Run]:
    """Ask a command of one mailbox."""
    command = COMMAND
    async with BusTerminal(registry_of(reply)) as terminal:
        bus = terminal.bus

        yield callers(lambda: bus.ask(command, key=key))


@asynccontextmanager
async def sink_batches() -> AsyncIterator[Run]:
    """Sink batches of events into SQLite."""
    events = [EVENT] * SINK_BATCH
    with tempfile.TemporaryDirectory() as folder:
        sink = SqliteSink(Path(folder, "subject.db"))
        async with BusTerminal(registry_of(), sink=sink) as terminal:
            bus = terminal.bus

            async def run(n: int) -> None:
                for _ in range(n // SINK_BATCH):
                    await bus.sink(events)

            yield run


@asynccontextmanager
async def look_at_many(*, mailboxes: int = MAILBOXES) -> AsyncIterator[Run]:
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


SUBJECTS = [
    Case("publish x1", "runtime", publish_one),
    Case("publish x3", "runtime", publish_three),
    Case("publish sync", "runtime", publish_sync),
    Case("publish wired", "runtime", publish_wired),
    Case("publish managed", "runtime", publish_managed),
    Case("publish guarded", "runtime", publish_guarded),
    Case("publish isolated", "runtime", publish_isolated),
    Case("send", "runtime", send_command),
    Case("emit", "runtime, one mailbox", emit_one),
    Case("emit", "runtime, key=", emit_keyed),
    Case("emit", "runtime, sync handler", emit_sync),
    Case("emit 10,000 keys", "runtime", emit_many, MAILBOXES),
    Case("ask", "runtime, one mailbox", ask_mailbox),
    Case("ask, 50 callers", "runtime, one mailbox", partial(ask_mailbox, many_callers), MANY),
    Case("ask, 50 gathered", "runtime, one mailbox", partial(ask_mailbox, gathered)),
    Case("stats", "10,000 mailboxes", look_at_many),
    Case("stats", "no mailbox", partial(look_at_many, mailboxes=0)),
    Case("sink", "runtime", sink_batches, SINK_BATCH * 4),
]
