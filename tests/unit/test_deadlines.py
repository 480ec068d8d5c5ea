"""What is left of a caller's time reaches what it publishes, sends and asks for in turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

import pytest

from runtime import BusTerminal, Command, Event, EventBus, MessageRegistry
from runtime.errors import AskTimeout, DeliveryFailed, HandlerTimeout, ScopeClosed
from runtime.testing import track

SIMULATED = True


class Start(Event):
    pass


class Go(Command[str]):
    pass


class Slow(Event):
    pass


class Fetch(Command[int]):
    pass


class Onward(Command[int]):
    pass


class Short(Event):
    pass


class Name(Command[str]):
    pass


class Poke(Event):
    __key__: ClassVar[str] = "key"
    key: str = "actor"


class Session:
    """What a scope has one of."""


def now() -> float:
    return asyncio.get_running_loop().time()


class Story:
    """What happened when, in seconds."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []

    def note(self, what: str) -> None:
        self.seen.append((what, now()))

    async def slow(self, slow: Slow) -> None:
        self.note("slow began")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.note("slow cancelled")
            raise

    async def fetch(self, command: Fetch) -> int:
        self.note("fetch began")
        await asyncio.sleep(60)
        return 1


Nested = Callable[[EventBus[Event]], Awaitable[Any]]

NESTED: dict[str, tuple[Nested, type[BaseException]]] = {
    "publish": (lambda bus: bus.publish(Slow()), TimeoutError),
    "send": (lambda bus: bus.send(Fetch()), TimeoutError),
    "ask": (lambda bus: bus.ask(Fetch(), key="fetched", timeout=50), AskTimeout),
}
VERBS = pytest.mark.parametrize(("nested", "raised"), NESTED.values(), ids=NESTED)


def terminal_of(story: Story, *handlers: Callable[..., Any], **options: Any) -> BusTerminal[Event]:
    """Return a terminal with some handlers, to be registered with options, and the story's."""
    registry = MessageRegistry(event_base=Event)
    for each in handlers:
        registry.register(each, **options)
    registry.register(story.slow, story.fetch)
    return BusTerminal(registry)


@VERBS
async def test_the_timeout_of_an_ask(nested: Nested, raised: type[BaseException]) -> None:
    """What the handler of the command waits for ends when whoever asked stops waiting."""
    story = Story()

    async def go(command: Go, bus: EventBus[Event]) -> str:
        await asyncio.sleep(0.5)
        with pytest.raises(raised) as caught:
            await nested(bus)
        assert type(caught.value) is raised
        story.note("told")
        return "late"

    async with terminal_of(story, go) as terminal:
        with pytest.raises(AskTimeout):
            await terminal.bus.ask(Go(), key="box", timeout=2)
        assert now() == 2
        await terminal.drain()
    assert ("told", 2) in story.seen


@VERBS
async def test_a_ttl(nested: Nested, raised: type[BaseException]) -> None:
    """A message that has to be started within a time leaves its handlers what is left of that."""
    story = Story()

    async def start(start: Start, bus: EventBus[Event]) -> None:
        await asyncio.sleep(0.5)
        with pytest.raises(raised):
            await nested(bus)
        story.note("told")

    async with terminal_of(story, start) as terminal:
        await terminal.bus.emit(Start(), key="box", ttl=2).wait()
    assert ("told", 2) in story.seen


@VERBS
@pytest.mark.parametrize("verb", ["publish", "emit"])
async def test_the_timeout_of_a_handler(
    nested: Nested, raised: type[BaseException], verb: str
) -> None:
    """What the handler waits for ends with it, whoever runs it; its own timeout is what is told."""
    story = Story()

    async def start(start: Start, bus: EventBus[Event]) -> None:
        try:
            await nested(bus)
        except raised:
            story.note("told")
            raise

    async with terminal_of(story, start, timeout=2) as terminal:
        if verb == "publish":
            with pytest.raises(HandlerTimeout):
                await terminal.bus.publish(Start())
        else:
            with pytest.raises(DeliveryFailed) as caught:
                await terminal.bus.emit(Start(), key="box").wait()
            assert caught.value.dead_letters[0].reason == "timeout"
        assert now() == 2
        await asyncio.sleep(0)


async def test_the_shortest_counts() -> None:
    """A handler's timeout, what its caller has left, and what an ask says itself."""
    story = Story()

    async def go(command: Go, bus: EventBus[Event]) -> str:
        for timeout in (1.0, 50.0):
            with pytest.raises(AskTimeout):
                await bus.ask(Fetch(), key="fetched", timeout=timeout)
            story.note(f"told of {timeout:g}")
        return "late"

    async with terminal_of(story, go, timeout=40) as terminal:
        with pytest.raises(AskTimeout):
            await terminal.bus.ask(Go(), key="box", timeout=3)
        await terminal.drain()
    assert story.seen == [("fetch began", 0), ("told of 1", 1), ("told of 50", 3)]
    assert (terminal.stats().handled, terminal.stats().expired) == (2, 1)


async def test_it_is_handed_on_and_on() -> None:
    """From an ask over a publish, a send and another mailbox: everybody stops at the same time."""
    story = Story()

    async def go(command: Go, bus: EventBus[Event]) -> str:
        await bus.publish(Start())
        return "late"

    async def start(start: Start, bus: EventBus[Event]) -> None:
        await bus.ask(Onward(), key="other", timeout=50)

    async def onward(command: Onward, bus: EventBus[Event]) -> int:
        try:
            return await bus.send(Fetch())
        except TimeoutError:
            story.note("told")
            raise

    async with terminal_of(story, go, start, onward) as terminal:
        with pytest.raises(AskTimeout):
            await terminal.bus.ask(Go(), key="box", timeout=2)
        await terminal.drain()
        assert now() == 2
    assert story.seen == [("fetch began", 0), ("told", 2)]


@VERBS
async def test_nothing_is_begun_when_no_time_is_left(
    nested: Nested, raised: type[BaseException]
) -> None:
    """What is too late at the call is not started, and counted nowhere."""
    story = Story()

    async def go(command: Go, bus: EventBus[Event]) -> str:
        await asyncio.sleep(3)
        with pytest.raises(raised, match="in the time that its"):
            await nested(bus)
        story.note("told")
        return "late"

    async with terminal_of(story, go) as terminal:
        with pytest.raises(AskTimeout):
            await terminal.bus.ask(Go(), key="box", timeout=2)
        await terminal.drain()
        stats = terminal.stats()
    assert story.seen == [("told", 3)]
    assert (stats.emitted, stats.asked) == (1, 1)


async def test_no_time_at_the_start_of_the_clock() -> None:
    """Zero seconds from zero on are no time, not all of it."""
    story = Story()

    async def go(command: Go, bus: EventBus[Event]) -> str:
        with pytest.raises(TimeoutError):
            await bus.publish(Slow())
        return "done"

    async with terminal_of(story, go) as terminal:
        await terminal.bus.emit(Short()).wait()
        await asyncio.sleep(0)
        # A worker is there, so it is carried out in this turn.
        assert await terminal.bus.ask(Go(), timeout=0) == "done"
        assert now() == 0
    assert story.seen == []


async def test_publish_that_is_awaited_too_late() -> None:
    """It was called in time, but not awaited: its handler does not begin."""
    story = Story()

    async def go(command: Go, bus: EventBus[Event]) -> str:
        publish = bus.publish(Slow())
        await asyncio.sleep(3)
        with pytest.raises(TimeoutError, match="in the time that its"):
            await publish
        story.note("told")
        return "late"

    async with terminal_of(story, go) as terminal:
        with pytest.raises(AskTimeout):
            await terminal.bus.ask(Go(), key="box", timeout=2)
        await terminal.drain()
    assert story.seen == [("told", 3)]


async def test_actor_is_published_to_in_time() -> None:
    """A publish that waits in an actor's mailbox gives up, and is not started afterwards."""
    story = Story()

    class Actor:
        async def poke(self, poke: Poke, bus: EventBus[Event]) -> None:
            story.note("poked")
            await asyncio.sleep(5)

    async def go(command: Go, bus: EventBus[Event]) -> str:
        with pytest.raises(TimeoutError):
            await bus.publish(Poke())
        story.note("told")
        return "late"

    registry = MessageRegistry(event_base=Event)
    registry.register(Actor, lifetime="actor")
    registry.register(go)
    async with BusTerminal(registry) as terminal:
        terminal.bus.emit(Poke())
        with pytest.raises(AskTimeout):
            await terminal.bus.ask(Go(), key="box", timeout=2)
        await terminal.drain()
    assert story.seen == [("poked", 0), ("told", 2)]


async def test_actor_hands_its_publishers_time_on() -> None:
    """What an actor does for a publish has what its publisher has left."""
    story = Story()

    class Actor:
        async def poke(self, poke: Poke, bus: EventBus[Event]) -> None:
            with pytest.raises(AskTimeout):
                await bus.ask(Fetch(), key="fetched", timeout=50)
            story.note("told")

    async def go(command: Go, bus: EventBus[Event]) -> str:
        with pytest.raises(TimeoutError):
            await bus.publish(Poke())
        return "late"

    registry = MessageRegistry(event_base=Event)
    registry.register(Actor, lifetime="actor")
    registry.register(go, story.fetch)
    async with BusTerminal(registry) as terminal:
        with pytest.raises(AskTimeout):
            await terminal.bus.ask(Go(), key="box", timeout=2)
        await terminal.drain()
    assert story.seen[:2] == [("fetch began", 0), ("told", 2)]


async def test_command_that_is_queued_too_long_does_not_begin() -> None:
    """Not even where its mailbox is free at the very moment at which its time is over."""
    story = Story()

    async def go(command: Go) -> str:
        story.note("began")
        await asyncio.sleep(2)
        return "done"

    async with terminal_of(story, go) as terminal:
        first = asyncio.create_task(terminal.bus.ask(Go(), key="box", timeout=5))
        await asyncio.sleep(0)
        with pytest.raises(AskTimeout):
            await terminal.bus.ask(Go(), key="box", timeout=2)
        assert await first == "done"
        await terminal.drain()
        stats = terminal.stats()
    assert story.seen == [("began", 0)]
    assert (stats.handled, stats.expired) == (1, 1)


async def test_emitted_events_have_time() -> None:
    """What a handler emits outlives its caller's time, and its handlers are not hurried."""
    story = Story()

    async def go(command: Go, bus: EventBus[Event]) -> str:
        bus.emit(Start())
        await asyncio.sleep(5)
        return "late"

    async def start(start: Start, bus: EventBus[Event]) -> None:
        await bus.publish(Short())
        story.note("done")

    async def short(short: Short) -> None:
        await asyncio.sleep(5)

    async with terminal_of(story, go, start, short) as terminal:
        with pytest.raises(AskTimeout):
            await terminal.bus.ask(Go(), key="box", timeout=2)
        await terminal.drain()
    assert story.seen == [("done", 10)]


async def test_work_that_ends_in_time() -> None:
    """Replies come through, and errors as they were raised."""
    story = Story()

    async def go(command: Go, bus: EventBus[Event]) -> str:
        with pytest.raises(TimeoutError, match="of my own"):
            await bus.publish(Short())
        return await bus.send(Name())

    async def short(short: Short) -> None:
        msg = "of my own"
        raise TimeoutError(msg)

    async def name(command: Name) -> str:
        return "Ada"

    async with terminal_of(story, go, short, name) as terminal:
        assert await terminal.bus.ask(Go(), key="box", timeout=2) == "Ada"


async def test_cancelling_is_no_timeout() -> None:
    """A caller that is cancelled in good time cancels what runs inline, no more."""
    story = Story()

    async def start(start: Start, bus: EventBus[Event]) -> None:
        await bus.publish(Slow())

    async with terminal_of(story, start, timeout=50) as terminal:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(2):
                await terminal.bus.publish(Start())
        assert not isinstance(caught.value, HandlerTimeout)
    assert story.seen == [("slow began", 0), ("slow cancelled", 2)]


async def test_scope_is_shared_by_handlers_with_a_timeout() -> None:
    """Their limit is no scope of its own: what one builds the other has, and it is left once."""
    left: list[Session] = []
    found: list[Session] = []

    async def session() -> AsyncIterator[Session]:
        made = Session()
        yield made
        left.append(made)

    async def start(start: Start, session: Session, bus: EventBus[Event]) -> None:
        found.append(session)
        await bus.publish(Short())

    async def short(short: Short, session: Session) -> None:
        found.append(session)

    registry = MessageRegistry(event_base=Event)
    registry.factory(session)
    registry.register(start, short, timeout=5)
    async with BusTerminal(registry) as terminal, terminal.scope() as scope:
        await scope.bus.publish(Start())
        found.append(await scope.resolve(Session))
        assert len(found) == 3
        assert len(set(found)) == 1
        assert left == []
    assert left == found[:1]


async def test_bus_of_a_handler_with_a_timeout_ends_with_it() -> None:
    """Its time is over when it has returned."""
    buses: list[EventBus[Event]] = []

    async def start(start: Start, bus: EventBus[Event]) -> None:
        buses.append(bus)

    async with terminal_of(Story(), start, timeout=5) as terminal, terminal.scope() as scope:
        await scope.bus.publish(Start())
        with pytest.raises(ScopeClosed):
            buses[0].emit(Slow())


@pytest.mark.parametrize("is_async", [False, True])
async def test_bus_of_a_scoped_object_outlives_who_asked_for_it_first(is_async: bool) -> None:
    """It is the scope's: the end of a handler's time is not that of the object."""
    heard: list[Short] = []

    class Mailer:
        def __init__(self, bus: EventBus[Event]) -> None:
            self.bus = bus

    async def connect(bus: EventBus[Event]) -> Mailer:
        return Mailer(bus)

    async def hasty(start: Start, mailer: Mailer) -> None:
        await mailer.bus.publish(Short())

    async def patient(start: Start, mailer: Mailer) -> None:
        await mailer.bus.publish(Short())

    async def inner(slow: Slow, mailer: Mailer) -> None:
        """Ask for it first, in a scope that is seen through another handler's time."""

    async def outer(start: Start, bus: EventBus[Event]) -> None:
        await bus.publish(Slow())

    async def short(short: Short) -> None:
        heard.append(short)

    registry = MessageRegistry(event_base=Event)
    registry.factory(connect if is_async else Mailer)
    registry.register(outer, hasty, timeout=5)
    registry.register(inner, patient, short)
    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Start())
        async with terminal.scope() as scope:
            await scope.bus.publish(Start())
            mailer = await scope.resolve(Mailer)
            await mailer.bus.publish(Short())
        with pytest.raises(ScopeClosed):
            await mailer.bus.publish(Short())
    assert len(heard) == 5


async def test_emits_are_held_back_by_handlers_with_a_timeout() -> None:
    """They are those of the scope all the same."""
    heard: list[Short] = []

    async def start(start: Start, bus: EventBus[Event]) -> None:
        bus.emit(Short())

    async def short(short: Short) -> None:
        heard.append(short)

    async with terminal_of(Story(), start, short, timeout=5) as terminal:
        async with terminal.scope(hold_emits=True) as scope:
            await scope.bus.publish(Start())
            await terminal.drain()
            assert heard == []
        await terminal.drain()
        assert len(heard) == 1


async def test_it_is_tracked_once() -> None:
    """Whoever tracks a terminal sees one publish, however little time it has."""
    story = Story()

    async def go(command: Go, bus: EventBus[Event]) -> str:
        await bus.publish(Short())
        return await bus.send(Name())

    async def short(short: Short) -> None:
        pass

    async def name(command: Name) -> str:
        return "Ada"

    async with terminal_of(story, go, short, name) as terminal:
        async with track(terminal) as seen:
            assert await terminal.bus.ask(Go(), key="box", timeout=2) == "Ada"
        assert seen.published(Event) == [Short()]
        assert seen.sent(Name) == [Name()]
