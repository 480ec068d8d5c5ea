"""Publishing and sending by hand."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, contextmanager

from benchmarks.workload import (
    COMMAND,
    EVENT,
    Clock,
    Context,
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


@asynccontextmanager
async def await_by_hand() -> AsyncGenerator[Run]:
    """One handler awaited with a new context."""
    event = EVENT

    async def run(n: int) -> None:
        for _ in range(n):
            await handle(event, Context())

    yield run


@asynccontextmanager
async def await_three_by_hand() -> AsyncGenerator[Run]:
    """Three handlers awaited in turn with one new context."""
    event = EVENT

    async def run(n: int) -> None:
        for _ in range(n):
            ctx = Context()
            await handle(event, ctx)
            await handle(event, ctx)
            await handle(event, ctx)

    yield run


@asynccontextmanager
async def call_by_hand() -> AsyncGenerator[Run]:
    """One synchronous handler called with a new context."""
    event = EVENT

    async def run(n: int) -> None:
        for _ in range(n):
            handle_sync(event, Context())

    yield run


@asynccontextmanager
async def await_wired_by_hand() -> AsyncGenerator[Run]:
    """A handler with two singletons, a new scoped object and a bus, passed by hand."""
    event, clock, mailer, bus = EVENT, Clock(), Mailer(), object()

    async def handler(
        event: Ordered, ctx: object, clock: Clock, mailer: Mailer, session: Session, bus: object
    ) -> None:
        pass

    async def run(n: int) -> None:
        for _ in range(n):
            await handler(event, Context(), clock, mailer, open_session(clock), bus)

    yield run


@asynccontextmanager
async def await_managed_by_hand() -> AsyncGenerator[Run]:
    """A handler with a scoped object that a context manager opens and closes, by hand."""
    event, clock = EVENT, Clock()
    open_session = contextmanager(managed_session)

    async def handler(event: Ordered, ctx: object, session: Session) -> None:
        pass

    async def run(n: int) -> None:
        for _ in range(n):
            with open_session(clock) as session:
                await handler(event, Context(), session)

    yield run


@asynccontextmanager
async def await_guarded_by_hand() -> AsyncGenerator[Run]:
    """A handler awaited by a guard that is awaited."""
    event = EVENT

    async def guard(event: Ordered, ctx: object) -> None:
        return await handle(event, ctx)

    async def run(n: int) -> None:
        for _ in range(n):
            await guard(event, Context())

    yield run


@asynccontextmanager
async def await_reply_by_hand() -> AsyncGenerator[Run]:
    """A command's handler awaited for its reply, with a new context."""
    command = COMMAND

    async def run(n: int) -> None:
        for _ in range(n):
            await reply(command, Context())

    yield run


@asynccontextmanager
async def await_isolated_by_hand() -> AsyncGenerator[Run]:
    """Three handlers awaited in turn, each in a try block of its own."""
    event = EVENT

    async def run(n: int) -> None:
        for _ in range(n):
            ctx = Context()
            errors: list[Exception] = []
            for handler in (handle, handle, handle):
                try:
                    await handler(event, ctx)
                except Exception as error:  # noqa: BLE001 -- as the subject does
                    errors.append(error)

    yield run
