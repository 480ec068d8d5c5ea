"""Wiring under nested runs, failures, concurrency and change: nothing leaks."""

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from unit.support import registry_with, terminal_with

from runtime import (
    BusTerminal,
    Command,
    Event,
    EventBus,
    MessageContext,
    MessageRegistry,
    Scope,
    concurrent,
    use,
)
from runtime.errors import DeliveryFailed, ProviderError, ScopeClosed

LOG: list[str] = []


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


class Outer(Event):
    fails: bool = False


class Inner(Event):
    fails: bool = False


class Ask(Command[int]):
    pass


class Session:
    pass


def transaction() -> Generator[Session]:
    LOG.append("begin")
    try:
        yield Session()
    except BaseException as error:
        LOG.append(type(error).__name__)
        raise
    LOG.append("commit")


async def async_transaction() -> AsyncIterator[Session]:
    with contextlib.contextmanager(transaction)() as session:
        await asyncio.sleep(0)
        yield session


async def outer(event: Outer, bus: EventBus[Event]) -> None:
    await bus.publish(Inner(event.fails))


async def outer_resolving(event: Outer, scope: Scope[Event]) -> None:
    await scope.resolve(Session)
    if event.fails:
        raise LookupError


async def inner(event: Inner, session: Session) -> None:
    if event.fails:
        raise LookupError


@pytest.mark.parametrize("factory", [transaction, async_transaction])
@pytest.mark.parametrize("handler", [outer, outer_resolving])
async def test_what_a_nested_run_opens_ends_with_the_scope(factory: Any, handler: Any) -> None:
    """The scope belongs to the outermost run, and is left when that ends, well or not."""
    registry = registry_with(handler, inner)
    registry.factory(factory)
    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Outer())
        await terminal.bus.emit(Outer()).wait()
        assert LOG == ["begin", "commit"] * 2
        LOG.clear()
        with pytest.raises(LookupError):
            await terminal.bus.publish(Outer(fails=True))
        with pytest.raises(DeliveryFailed, match="LookupError"):
            await terminal.bus.emit(Outer(fails=True)).wait()
        assert LOG == ["begin", "LookupError"] * 2


async def test_a_failed_wiring_is_forgotten() -> None:
    """What could not be provided once cannot be provided the second time either."""

    class Needy:
        def __init__(self, port: int) -> None: ...

    async def handler(event: Outer, needy: Needy) -> None: ...

    async with terminal_with() as terminal, terminal.scope() as scope:
        for _ in range(2):
            with pytest.raises(ProviderError, match="Needy.port: int: nothing provides int"):
                await scope.resolve(Needy)
            with pytest.raises(ProviderError, match="handler → .*Needy.port: int"):
                terminal.include(registry_with(handler))
        assert isinstance(await scope.resolve(Session), Session)


async def test_unreadable_dependencies_are_findings_among_others() -> None:
    """A dependency that cannot be read, or looked up, does not hide the other findings."""

    class Starred:
        def __init__(self, *args: int) -> None: ...

    def first(event: Outer, thing: Starred, number: int) -> None: ...
    def second(event: Outer, weird: Annotated[str, {}], odd: {}) -> None: ...  # type: ignore[valid-type]  # pyright: ignore[reportGeneralTypeIssues, reportInvalidTypeForm, reportUnknownParameterType]

    with pytest.raises(ProviderError) as caught:
        await terminal_with(first, second).open()
    text = str(caught.value)
    assert len(text.splitlines()) == 4
    for part in ("first → ", "`*args: int` cannot be wired", "number: int", "weird: ", "odd: {}"):
        assert part in text


async def test_close_ends_a_build_under_way() -> None:
    """A singleton that is being built when the terminal closes does not outlive it."""
    entered = asyncio.Event()

    async def slow() -> AsyncIterator[Session]:
        LOG.append("start")
        try:
            entered.set()
            await asyncio.Event().wait()
            yield Session()
        finally:
            LOG.append("end")

    registry = registry_with(inner)
    registry.factory(slow, lifetime="singleton")
    terminal = BusTerminal(registry)
    task = asyncio.create_task(terminal.bus.publish(Inner()))
    await entered.wait()
    task.cancel()
    await asyncio.wait([task])
    before = asyncio.all_tasks()
    await terminal.close()
    assert LOG == ["start", "end"]
    assert not [each for each in before if each.get_name() == "runtime.owner" and not each.done()]


async def test_a_scope_left_during_a_build_keeps_nothing() -> None:
    """What is ready only after the scope has ended is left at once, and nobody gets it."""
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[Session]:
        await gate.wait()
        with contextlib.contextmanager(transaction)() as session:
            yield session

    registry = registry_with(inner)
    registry.factory(slow)
    async with BusTerminal(registry) as terminal:
        async with terminal.scope() as scope:
            task = asyncio.create_task(scope.bus.publish(Inner()))
            await asyncio.sleep(0)
        gate.set()
        with pytest.raises(ScopeClosed):
            await task
    assert LOG == ["begin", "ScopeClosed"]


async def test_a_handler_that_comes_too_late_does_not_run() -> None:
    """A guard, or a publisher, that lets go of a handler finds its scope ended."""
    kept: list[asyncio.Task[Any]] = []

    async def careless(message: Inner, ctx: MessageContext, proceed: Any) -> None:
        kept.append(asyncio.ensure_future(proceed()))

    registry = registry_with(inner)
    registry.factory(async_transaction)
    registry.guard(careless)
    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Inner())
        results = await asyncio.gather(*kept, return_exceptions=True)
    assert [type(each) for each in results] == [ScopeClosed]
    assert LOG in ([], ["begin", "ScopeClosed"])


class Note:
    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.number = type(self).made


class Letter:
    def __init__(self, note: Note) -> None:
        self.note = note


async def make_note() -> Note:
    await asyncio.sleep(0)
    return Note()


async def test_transients_that_wait_go_to_their_own_call() -> None:
    """Each parameter has one of its own, in order, also through others and at the same time."""
    Note.made = 0
    seen: list[tuple[int, int, int]] = []

    async def handler(event: Outer, first: Note, letter: Letter, second: Note) -> None:
        seen.append((first.number, letter.note.number, second.number))

    registry = registry_with(handler)
    registry.factory(make_note, lifetime="transient")
    registry.factory(Letter, lifetime="transient")
    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Outer())
        assert seen == [(1, 2, 3)]
        async with terminal.scope() as scope:
            await asyncio.gather(*(scope.bus.publish(Outer()) for _ in range(5)))
        assert all(first < inside < second for first, inside, second in seen)
        assert len({number for each in seen for number in each}) == 18 == Note.made


async def test_a_transient_with_something_to_await_is_entered_once() -> None:
    """A transient that is itself no coroutine, but needs one, is built once for a parameter."""

    def letter(session: Session) -> Iterator[Letter]:
        LOG.append("letter")
        yield Letter(Note())
        LOG.append("sent")

    async def handler(event: Outer, letter: Letter) -> None: ...

    registry = registry_with(handler)
    registry.factory(async_transaction)
    registry.factory(letter, lifetime="transient")
    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Outer())
    assert LOG == ["begin", "letter", "sent", "commit"]


async def test_an_actor_replies() -> None:
    """A command that an actor handles is replied to, through the mailbox and on its own turn."""

    class Actor:
        async def ask(self, command: Ask) -> int:
            return 7

        async def outer(self, event: Outer) -> None: ...

    class Other:
        async def inner(self, event: Inner, bus: EventBus[Event]) -> None:
            LOG.append(str(await bus.send(Ask())))

    registry = MessageRegistry(event_base=Event)
    registry.register(Actor, lifetime="actor")
    registry.register(Other, lifetime="actor")
    async with BusTerminal(registry) as terminal, terminal.scope("home") as scope:
        assert await scope.bus.send(Ask()) == 7
        await scope.bus.emit(Inner()).wait()
    assert LOG == ["7"]


class Mailer:
    name = "mailer"


class Clock:
    name = "clock"


class Fake:
    def __init__(self, name: str) -> None:
        self.name = name


class Post:
    def __init__(self, clock: Clock, mailer: Mailer) -> None:
        self.names = f"{clock.name} {mailer.name}"


def make_clock() -> Clock:
    clock = Clock()
    clock.name = "registered"
    return clock


async def post(event: Inner, post: Post) -> None:
    LOG.append(post.names)


async def test_an_include_under_an_override_wires_what_it_brings() -> None:
    """Factories that depend on each other, and on what is overridden, are included together."""
    registry = registry_with(post)
    registry.factory(make_clock, lifetime="singleton")
    registry.factory(Post, lifetime="singleton")
    async with terminal_with() as terminal:
        with terminal.override({Mailer: Fake("fake")}):
            terminal.include(registry)
            await terminal.bus.publish(Inner())
        await terminal.bus.publish(Inner())
    assert LOG == ["registered fake", "registered mailer"]


async def names(event: Outer, mailer: Mailer, clock: Clock) -> None:
    LOG.append(f"{mailer.name} {clock.name}")


async def test_overrides_add_up_and_survive_an_include() -> None:
    """Inner blocks keep the outer ones' types, overlapping ones end in any order."""
    async with terminal_with(names) as terminal:
        one = terminal.override({Mailer: Fake("one")})
        two = terminal.override({Clock: Fake("two")})
        with one, two:
            await terminal.bus.publish(Outer())
            terminal.include(registry_with(outer_resolving))
        await terminal.bus.publish(Outer())
        assert LOG == ["one two", "mailer clock"]
        assert len(terminal.explain(Outer).handlers) == 2
        LOG.clear()
        one = terminal.override({Mailer: Fake("one")})
        two = terminal.override({Clock: Fake("two")})
        one.__enter__()
        two.__enter__()
        one.__exit__(None, None, None)
        await terminal.bus.publish(Outer())
        two.__exit__(None, None, None)
        await terminal.bus.publish(Outer())
        assert LOG == ["mailer two", "mailer clock"]


async def test_in_thread_handlers_end_well() -> None:
    """StopIteration does not hang the caller; a wrapper around a coroutine is awaited."""

    def stops(event: Outer) -> None:
        raise StopIteration

    async def hidden(event: Inner) -> None:
        LOG.append(threading.current_thread().name)

    @functools.wraps(hidden)
    def wrapper(event: Inner) -> Any:
        return hidden(event)

    registry = MessageRegistry(event_base=Event)
    registry.register(stops, in_thread=True)
    registry.register(wrapper, in_thread=True)
    async with BusTerminal(registry) as terminal:
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            await terminal.bus.publish(Outer())
        await terminal.bus.publish(Inner())
    assert LOG == ["MainThread"]


VARIABLE: ContextVar[str] = ContextVar("variable", default="")


async def test_a_synchronous_singleton_is_left_where_it_was_entered() -> None:
    """Context variables that it sets can be reset, and a failed teardown rolls the rest back."""

    def keeper() -> Iterator[Session]:
        token = VARIABLE.set("inside")
        yield Session()
        VARIABLE.reset(token)
        LOG.append("reset")

    registry = registry_with(inner)
    registry.factory(keeper, lifetime="singleton")
    async with BusTerminal(registry) as terminal:
        await asyncio.create_task(terminal.bus.publish(Inner()))
        assert VARIABLE.get() == ""
    assert LOG == ["reset"]


async def test_a_singleton_that_cannot_start_leaves_what_it_had() -> None:
    """What was entered for a build that fails is left at once, and sees the failure."""

    class Pool:
        pass

    async def pool(session: Session) -> Pool:
        raise ConnectionError

    async def handler(event: Outer, pool: Pool) -> None: ...

    registry = registry_with(handler)
    registry.factory(transaction, lifetime="transient")
    registry.factory(pool, lifetime="singleton")
    async with BusTerminal(registry) as terminal:
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await terminal.bus.publish(Outer())
        assert LOG == ["begin", "ConnectionError"] * 2


async def test_an_inner_teardown_that_fails_rolls_the_outer_back() -> None:
    """What is left after something has failed sees the failure."""

    def letter(session: Session) -> Iterator[Letter]:
        yield Letter(Note())
        msg = "not sent"
        raise OSError(msg)

    async def handler(event: Outer, letter: Letter) -> None: ...

    registry = registry_with(handler)
    registry.factory(transaction)
    registry.factory(letter)
    async with BusTerminal(registry) as terminal:
        with pytest.raises(OSError, match="not sent"):
            await terminal.bus.publish(Outer())
    assert LOG == ["begin", "OSError"]


async def test_only_actors_take_turns_under_a_publisher() -> None:
    """A plain handler runs for two messages at once, whatever the publisher."""
    both = asyncio.Barrier(2)

    async def handler(event: Outer) -> None:
        await both.wait()

    async with terminal_with(handler, publisher=concurrent) as terminal:
        first, second = terminal.bus.emit(Outer()), terminal.bus.emit(Outer())
        async with asyncio.timeout(10):
            await first.wait()
            await second.wait()


async def test_concurrent_handlers_of_one_actor_take_turns() -> None:
    """Under any publisher there is one instance, in one handler at a time, with one of each."""
    busy = 0

    class Actor:
        def __init__(self, session: Session) -> None:
            LOG.append("made")

        async def _work(self) -> None:
            nonlocal busy
            busy += 1
            LOG.append(f"busy {busy}")
            await asyncio.sleep(0)
            busy -= 1

        async def first(self, event: Outer) -> None:
            await self._work()

        async def second(self, event: Outer) -> None:
            await self._work()

    registry = MessageRegistry(event_base=Event)
    registry.factory(async_transaction, lifetime="actor")
    registry.register(Actor, lifetime="actor")
    async with BusTerminal(registry, publisher=concurrent) as terminal:
        await terminal.bus.emit(Outer(), key="home").wait()
    assert LOG == ["begin", "made", "busy 1", "busy 1", "commit"]


@dataclass
class AsyncFactory:
    """A callable object; equal ones are still two."""

    async def __call__(self) -> Session:
        return Session()


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


async def plain_session() -> Session:
    return Session()


def marked_port() -> Annotated[int, "port"]:
    return 80


@pytest.mark.parametrize("factory", [AsyncFactory(), decorated(plain_session)])
async def test_asynchronous_factories_in_disguise(factory: Any) -> None:
    """A callable object or a wrapper whose call is a coroutine is awaited."""
    registry = registry_with(inner)
    registry.factory(factory)
    async with BusTerminal(registry) as terminal, terminal.scope() as scope:
        assert isinstance(await scope.resolve(Session), Session)
        await scope.bus.publish(Inner())


async def test_odd_factories() -> None:
    """Annotated results serve the type; a coroutine that returns a manager is refused."""

    async def wrong() -> contextlib.AbstractAsyncContextManager[Session]:
        raise NotImplementedError

    registry = MessageRegistry(event_base=Event)
    registry.factory(marked_port)
    with pytest.raises(ProviderError, match="write an asynchronous generator"):
        registry.factory(wrong)
    async with BusTerminal(registry) as terminal, terminal.scope() as scope:
        assert await scope.resolve(int) == 80
        made = await scope.resolve(Annotated[Session, use(AsyncFactory(), lifetime="scoped")])
        assert isinstance(made, Session)


async def test_odd_handlers() -> None:
    """Bound keywords stay bound, equal callable objects are two, helpers are no handlers."""

    def with_session(event: Outer, session: Any) -> None:
        LOG.append(str(session))

    class Helpful:
        def log(self, *args: Any) -> None: ...

        def on(self, event: Outer) -> None:
            LOG.append("on")

    @dataclass
    class Equal:
        name: str

        def __call__(self, event: Outer) -> None:
            LOG.append(self.name)

    registry = registry_with(
        functools.partial(with_session, session="mine"), Helpful, Equal("same"), Equal("same")
    )
    registry.factory(Session)
    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Outer())
    assert LOG == ["mine", "on", "same", "same"]


async def test_causes_reach_through_objects_and_scopes() -> None:
    """The bus of an object built for a message, and of an injected scope, know the message."""
    seen: list[MessageContext] = []

    class Handlers:
        def __init__(self, bus: EventBus[Event]) -> None:
            self.bus = bus

        async def on(self, event: Outer, ctx: MessageContext, scope: Scope[Event]) -> None:
            seen.append(ctx)
            await self.bus.publish(Inner())
            await scope.bus.publish(Inner())

    async def on_inner(event: Inner, ctx: MessageContext) -> None:
        seen.append(ctx)

    async with terminal_with(Handlers, on_inner) as terminal:
        await terminal.bus.publish(Outer())
        await terminal.bus.emit(Outer()).wait()
    assert [each.causation_id for each in seen] == [
        *(None, seen[0].id, seen[0].id, None, seen[3].id, seen[3].id)
    ]


async def test_a_guard_may_ask_for_its_own_context() -> None:
    """A guard that asks for another class of context than the message has is told so."""

    class Tenant(MessageContext):
        pass

    async def guard(message: Outer, ctx: Tenant, proceed: Any) -> None:
        await proceed()

    registry = registry_with(names)
    registry.guard(guard)
    async with BusTerminal(registry) as terminal:
        with pytest.raises(Exception, match=r"guard \(.*\) asks for a .*Tenant"):
            await terminal.bus.publish(Outer())
        await terminal.bus.publish(Outer(), Tenant())


async def test_a_listener_called_twice_runs_twice() -> None:
    """What a publisher of the user's own does with its listeners is its own affair."""

    async def twice(event: Any, context: MessageContext, listeners: Sequence[Any]) -> None:
        for listener in listeners:
            await listener(event, context)
            await listener(event, context)

    async with terminal_with(names, publisher=twice) as terminal:
        await terminal.bus.publish(Outer())
        await terminal.bus.emit(Outer()).wait()
    assert len(LOG) == 4
