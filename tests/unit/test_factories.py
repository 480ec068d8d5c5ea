"""Factories that wait or have something to leave: every kind, under every verb and every end."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import pytest

from runtime import BusTerminal, Event, EventBus, MessageRegistry, Scope, use
from runtime.errors import DeliveryFailed, LifetimeError, ProviderError, ScopeClosed

LOG: list[str] = []
REQUEST: ContextVar[str] = ContextVar("request", default="none")


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


class Ping(Event):
    number: int = 0


class Resource:
    def __init__(self, name: str) -> None:
        self.name = name


class Pool(Resource):
    pass


class Session(Resource):
    pass


class Repository(Resource):
    pass


def seen(error: BaseException | None) -> str:
    return type(error).__name__ if error is not None else "well"


@contextlib.contextmanager
def noted(name: str) -> Generator[None]:
    """Log how something begins and ends."""
    LOG.append(f"{name} opens")
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        LOG.append(f"{name} ends {seen(error)}")


async def async_function() -> Session:
    await asyncio.sleep(0)
    return Session("session")


def generator() -> Iterator[Session]:
    with noted("session"):
        yield Session("session")


async def async_generator() -> AsyncIterator[Session]:
    with noted("session"):
        await asyncio.sleep(0)
        yield Session("session")


@contextlib.contextmanager
def wrapped() -> Generator[Session]:
    with noted("session"):
        yield Session("session")


@contextlib.asynccontextmanager
async def async_wrapped() -> AsyncGenerator[Session]:
    with noted("session"):
        yield Session("session")


def manager() -> contextlib.AbstractContextManager[Session]:
    return wrapped()


def async_manager() -> contextlib.AbstractAsyncContextManager[Session]:
    return async_wrapped()


ENTERED = [generator, async_generator, wrapped, async_wrapped, manager, async_manager]
ALL = [async_function, *ENTERED]


def name_of(value: object) -> str | None:
    """Name a factory, and leave other parameters alone."""
    return getattr(value, "__name__", None)


def terminal_with(*handlers: Any, factories: Any = (), **options: Any) -> BusTerminal[Event]:
    registry = MessageRegistry(event_base=Event)
    for factory, lifetime in factories:
        registry.factory(factory, lifetime=lifetime)
    for handler in handlers:
        registry.register(handler)
    return BusTerminal(registry, **options)


@pytest.mark.parametrize("factory", ALL, ids=name_of)
@pytest.mark.parametrize("lifetime", ["singleton", "scoped", "transient"])
async def test_every_kind_of_factory_serves_every_verb(factory: Any, lifetime: str) -> None:
    """What a factory yields or awaits is given to the handler, under publish, emit and scopes."""
    given: list[Session] = []

    async def handler(event: Ping, session: Session, again: Session) -> None:
        assert isinstance(session, Session)
        assert (session is again) == (lifetime != "transient")
        given.append(session)

    async with terminal_with(handler, factories=[(factory, lifetime)]) as terminal:
        await terminal.bus.publish(Ping())
        await terminal.bus.emit(Ping()).wait()
        async with terminal.scope() as scope:
            await scope.bus.publish(Ping())
            await scope.bus.publish(Ping())
    distinct = {"singleton": 1, "scoped": 3, "transient": 4}
    assert len(set(map(id, given))) == distinct[lifetime]
    assert LOG.count("session opens") == LOG.count("session ends well")
    if factory in ENTERED:
        opened = {"singleton": 1, "scoped": 3, "transient": 8}
        assert LOG.count("session opens") == opened[lifetime]


async def ends_well(event: Ping, session: Session) -> None:
    LOG.append("handler")


async def fails(event: Ping, session: Session) -> None:
    LOG.append("handler")
    msg = "no stock"
    raise LookupError(msg)


@pytest.mark.parametrize("factory", ENTERED, ids=name_of)
async def test_a_resource_sees_how_its_scope_ended(factory: Any) -> None:
    """A scoped resource is left when the publish or the attempt ends, and sees its exception."""
    async with terminal_with(fails, factories=[(factory, "scoped")]) as terminal:
        with pytest.raises(LookupError, match="no stock"):
            await terminal.bus.publish(Ping())
        assert LOG == ["session opens", "handler", "session ends LookupError"]
        LOG.clear()
        with pytest.raises(DeliveryFailed, match="no stock"):
            await terminal.bus.emit(Ping()).wait()
        assert LOG == ["session opens", "handler", "session ends LookupError"]
        LOG.clear()

        async def body() -> None:
            async with terminal.scope() as scope:
                with pytest.raises(LookupError):
                    await scope.bus.publish(Ping())
                LOG.append("body")
                raise KeyError

        with pytest.raises(KeyError):
            await body()
        assert LOG == ["session opens", "handler", "body", "session ends KeyError"]


@pytest.mark.parametrize("factory", ENTERED, ids=name_of)
@pytest.mark.parametrize("verb", ["publish", "emit"])
async def test_a_resource_sees_a_cancellation(factory: Any, verb: str) -> None:
    """A transaction rolls back when its handler is cancelled."""
    entered = asyncio.Event()

    async def waits(event: Ping, session: Session) -> None:
        entered.set()
        await asyncio.Event().wait()

    terminal = terminal_with(waits, factories=[(factory, "scoped")])
    if verb == "publish":
        task = asyncio.create_task(terminal.bus.publish(Ping()))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await terminal.close()
    else:
        terminal.bus.emit(Ping())
        await entered.wait()
        await terminal.close(timeout=0)
    assert LOG == ["session opens", "session ends CancelledError"]


async def test_resources_are_left_in_reverse_and_completely() -> None:
    """Each is left before what it was built from; failures are grouped, nothing is skipped."""

    async def pool() -> AsyncIterator[Pool]:
        with noted("pool"):
            yield Pool("pool")

    def session(pool: Pool) -> Iterator[Session]:
        LOG.append("session opens")
        try:
            yield Session("session")
        finally:
            LOG.append("session ends")
            msg = "session"
            raise OSError(msg)

    async def repository(session: Session) -> AsyncIterator[Repository]:
        LOG.append("repository opens")
        try:
            yield Repository("repository")
        finally:
            LOG.append("repository ends")
            msg = "repository"
            raise ValueError(msg)

    async def handler(event: Ping, repository: Repository) -> None:
        if event.number:
            msg = "body"
            raise LookupError(msg)

    factories = [(pool, "scoped"), (session, "scoped"), (repository, "scoped")]
    async with terminal_with(handler, factories=factories) as terminal:
        with pytest.raises(ExceptionGroup) as caught:
            await terminal.bus.publish(Ping(1))
        assert [str(error) for error in caught.value.exceptions] == [
            *("body", "repository", "session")
        ]
        assert LOG == [
            "pool opens",
            "session opens",
            "repository opens",
            "repository ends",
            "session ends",
            "pool ends LookupError",
        ]
        with pytest.raises(ExceptionGroup) as caught:
            await terminal.bus.publish(Ping(0))
        assert [str(error) for error in caught.value.exceptions] == ["repository", "session"]


async def test_one_failure_while_leaving_is_raised_as_it_is() -> None:
    """Where nothing else went wrong, the resource's own exception arrives."""

    def session() -> Iterator[Session]:
        yield Session("session")
        msg = "disk full"
        raise OSError(msg)

    async with terminal_with(ends_well, factories=[(session, "scoped")]) as terminal:
        with pytest.raises(OSError, match="disk full"):
            await terminal.bus.publish(Ping())
        with pytest.raises(OSError, match="disk full"):
            async with terminal.scope() as scope:
                await scope.bus.publish(Ping())


async def test_a_resource_cannot_swallow_the_exception() -> None:
    """A resource that handles the exception does not make a failure a success."""

    def session() -> Iterator[Session]:
        with contextlib.suppress(LookupError):
            yield Session("session")

    async with terminal_with(fails, factories=[(session, "scoped")]) as terminal:
        with pytest.raises(LookupError):
            await terminal.bus.publish(Ping())
        with pytest.raises(DeliveryFailed):
            await terminal.bus.emit(Ping()).wait()


async def test_a_cancellation_while_leaving_skips_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Cancelled while one resource is left, the others are left too; a cancellation stays one."""
    entered = asyncio.Event()

    async def pool() -> AsyncIterator[Pool]:
        with noted("pool"):
            yield Pool("pool")

    async def session(pool: Pool) -> AsyncIterator[Session]:
        try:
            yield Session("session")
        finally:
            try:
                entered.set()
                await asyncio.Event().wait()
            finally:
                LOG.append("session interrupted")

    async def repository(session: Session) -> AsyncIterator[Repository]:
        yield Repository("repository")
        msg = "disk full"
        raise OSError(msg)

    async def handler(event: Ping, repository: Repository) -> None: ...

    factories = [(pool, "scoped"), (session, "scoped"), (repository, "scoped")]
    async with terminal_with(handler, factories=factories) as terminal:
        task = asyncio.create_task(terminal.bus.publish(Ping()))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    # What is left after a failure sees it, so a transaction rolls back.
    assert LOG == ["pool opens", "session interrupted", "pool ends OSError"]
    assert "disk full" in caplog.text


async def test_a_start_that_fails_leaves_what_was_entered() -> None:
    """When a second resource cannot be opened, the first is left, and sees why."""

    def pool() -> Iterator[Pool]:
        with noted("pool"):
            yield Pool("pool")

    async def session(pool: Pool) -> Session:
        raise ConnectionError

    factories = [(pool, "scoped"), (session, "scoped")]
    async with terminal_with(ends_well, factories=factories) as terminal:
        with pytest.raises(ConnectionError):
            await terminal.bus.publish(Ping())
    assert LOG == ["pool opens", "pool ends ConnectionError"]


async def test_an_async_singleton_is_built_once() -> None:
    """Ten first messages at once build it once, in an empty context, and all get it."""
    given: list[Pool] = []
    gate = asyncio.Event()

    async def pool() -> AsyncIterator[Pool]:
        with noted(f"pool for {REQUEST.get()}"):
            await gate.wait()
            yield Pool("pool")

    async def handler(event: Ping, pool: Pool) -> None:
        given.append(pool)

    async with terminal_with(handler, factories=[(pool, "singleton")]) as terminal:
        REQUEST.set("mine")
        tasks = [asyncio.create_task(terminal.bus.publish(Ping())) for _ in range(10)]
        await asyncio.sleep(0)
        # Whoever asked first may give up without harm to the others.
        tasks[0].cancel()
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await terminal.bus.publish(Ping())
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [None] * 9
    assert len(given) == 10
    assert len(set(map(id, given))) == 1
    assert LOG == ["pool for none opens", "pool for none ends well"]


async def test_a_singleton_that_fails_is_tried_again() -> None:
    """All who waited get the error; the next message tries anew."""
    tries: list[int] = []

    async def pool() -> Pool:
        tries.append(1)
        await asyncio.sleep(0)
        if len(tries) == 1:
            raise ConnectionError
        return Pool("pool")

    async def handler(event: Ping, pool: Pool) -> None: ...

    async with terminal_with(handler, factories=[(pool, "singleton")]) as terminal:
        results = await asyncio.gather(
            *(terminal.bus.publish(Ping()) for _ in range(3)), return_exceptions=True
        )
        assert [type(each) for each in results] == [ConnectionError] * 3
        await terminal.bus.publish(Ping())
        await terminal.bus.publish(Ping())
    assert len(tries) == 2


async def test_a_scoped_object_is_built_once_for_concurrent_publishes() -> None:
    """Two publishes at once in one scope share what is still being built."""
    given: list[Session] = []

    async def handler(event: Ping, session: Session) -> None:
        given.append(session)

    async with terminal_with(handler, factories=[(async_generator, "scoped")]) as terminal:
        async with terminal.scope() as scope:
            first = asyncio.create_task(scope.bus.publish(Ping()))
            rest = [asyncio.create_task(scope.bus.publish(Ping())) for _ in range(3)]
            await asyncio.sleep(0)
            # Who builds may give up; another then builds.
            first.cancel()
            await asyncio.gather(*rest)
        assert len(given) == 3
        assert len(set(map(id, given))) == 1


async def test_singletons_have_an_owner_each() -> None:
    """Task groups and timeouts entered by a singleton are left by the task that entered them."""
    tasks: list[asyncio.Task[Any] | None] = []

    async def pool() -> AsyncIterator[Pool]:
        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            tasks.append(asyncio.current_task())
            job = group.create_task(asyncio.Event().wait())
            yield Pool("pool")
            tasks.append(asyncio.current_task())
            job.cancel()

    async def session(pool: Pool) -> AsyncIterator[Session]:
        with noted("session"):
            async with asyncio.timeout(60):
                yield Session("session")

    async def handler(event: Ping, session: Session) -> None: ...

    factories = [(pool, "singleton"), (session, "singleton")]
    async with terminal_with(handler, factories=factories) as terminal:
        await asyncio.create_task(terminal.bus.publish(Ping()))
        assert LOG == ["session opens"]
    assert LOG == ["session opens", "session ends well"]
    assert tasks[0] is tasks[1] is not asyncio.current_task()


async def test_singletons_are_left_at_close_in_reverse() -> None:
    """Synchronous and asynchronous ones alike, after the last message, failures and all."""

    def first() -> Iterator[Pool]:
        with noted("pool"):
            yield Pool("pool")

    async def second(pool: Pool) -> AsyncIterator[Session]:
        with noted("session"):
            yield Session("session")
        msg = "disk full"
        raise OSError(msg)

    async def handler(event: Ping, session: Session) -> None:
        LOG.append("handler")

    terminal = terminal_with(handler, factories=[(first, "singleton"), (second, "singleton")])
    terminal.bus.emit(Ping())
    with pytest.raises(OSError, match="disk full"):
        await terminal.close()
    assert LOG == [
        "pool opens",
        "session opens",
        "handler",
        "session ends well",
        "pool ends well",
    ]


async def test_actor_lifetime_is_one_for_each_mailbox() -> None:
    """What an actor needs for itself lives as long as its mailbox."""

    async def session() -> AsyncIterator[Session]:
        with noted("session"):
            yield Session("session")

    given: list[tuple[int, Session]] = []

    class Keeper:
        def __init__(self, session: Session) -> None:
            self.session = session

        async def ping(self, event: Ping, session: Session) -> None:
            assert session is self.session
            given.append((event.number, session))

    registry = MessageRegistry(event_base=Event)
    registry.factory(session, lifetime="actor")
    registry.register(Keeper, lifetime="actor")
    async with BusTerminal(registry) as terminal:
        for number in (1, 2, 1, 2):
            await terminal.bus.emit(Ping(number), key=number).wait()
        assert len({id(each) for _, each in given}) == 2
    assert LOG == ["session opens"] * 2 + ["session ends well"] * 2


async def test_handler_classes_live_as_registered() -> None:
    """A class without lifetime is one for a scope; the others as they say."""
    counts: dict[str, int] = {}
    for lifetime in (None, "singleton", "transient"):
        registry = MessageRegistry(event_base=Event)
        made: list[object] = []

        class Handlers:
            def __init__(self) -> None:
                made.append(self)  # noqa: B023

            async def first(self, event: Ping) -> None: ...
            def second(self, event: Ping, ctx: Any) -> None: ...

        registry.register(Handlers, lifetime=lifetime)
        async with BusTerminal(registry) as terminal:
            await terminal.bus.publish(Ping())
            await terminal.bus.publish(Ping())
        counts[str(lifetime)] = len(made)
    assert counts == {"None": 2, "singleton": 1, "transient": 4}


async def test_scope_resolves_what_a_handler_would_get() -> None:
    """`Scope.resolve` gives the scope's own objects, and those outside it."""
    given: list[Session] = []

    async def handler(event: Ping, session: Session, scope: Scope[Event]) -> None:
        given.append(session)
        assert await scope.resolve(Session) is session

    factories = [(async_generator, "scoped"), (Pool, "singleton")]
    async with terminal_with(handler, factories=factories[:1]) as terminal:
        async with terminal.scope() as scope:
            session = await scope.resolve(Session)
            await scope.bus.publish(Ping())
            assert given == [session]
            assert isinstance(await scope.resolve(EventBus[Event]), EventBus)
            assert await scope.resolve(BusTerminal[Event]) is terminal
            assert await scope.resolve(Annotated[int, use(lambda: 42, lifetime="scoped")]) == 42
            with pytest.raises(ProviderError, match=r"resolve\(\).wanted: str: nothing provides"):
                await scope.resolve(str)
        with pytest.raises(ScopeClosed):
            await scope.resolve(Session)
        await terminal.bus.publish(Ping())
        await terminal.bus.emit(Ping()).wait()
    assert len(given) == 3


async def test_a_transient_is_exempt_but_not_what_it_needs() -> None:
    """A singleton may ask for a transient; a scoped object behind it is still captive."""

    class Note:
        pass

    class Letter:
        def __init__(self, session: Session) -> None: ...

    class Safe:
        def __init__(self, note: Note) -> None: ...

    class Unsafe:
        def __init__(self, letter: Letter) -> None: ...

    async def safe(event: Ping, thing: Safe) -> None: ...
    async def unsafe(event: Ping, thing: Unsafe) -> None: ...

    transients = [(Note, "transient"), (Letter, "transient"), (generator, "scoped")]
    singletons = [(Safe, "singleton"), (Unsafe, "singleton")]
    async with terminal_with(safe, factories=[*transients, *singletons]) as terminal:
        await terminal.bus.publish(Ping())
    with pytest.raises(
        LifetimeError, match="Unsafe → .*Letter → Session: a singleton object cannot"
    ):
        await terminal_with(unsafe, factories=[*transients, *singletons]).open()


async def test_what_was_awaited_once_costs_nothing_later() -> None:
    """After its asynchronous singletons are there, a plan hands over the handler's coroutine."""

    async def pool() -> Pool:
        return Pool("pool")

    async def handler(event: Ping, pool: Pool) -> None: ...

    async with terminal_with(handler, factories=[(pool, "singleton")]) as terminal:
        first = terminal.bus.publish(Ping())
        assert first.cr_code is not handler.__code__  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        await first
        second = terminal.bus.publish(Ping())
        assert second.cr_code is handler.__code__  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        await second
