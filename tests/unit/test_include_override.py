"""Changing a terminal that runs: more handlers, other dependencies, foreign containers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from unit.support import registry_with

from runtime import BusTerminal, Command, Event, EventBus, MessageRegistry, use
from runtime.errors import DuplicateHandler, ProviderError


class Ping(Event):
    number: int = 0


class Get(Command[str]):
    pass


class Mailer:
    name = "real"


class Fake(Mailer):
    name = "fake"


class Post:
    """A singleton that depends on the mailer."""

    def __init__(self, mailer: Mailer) -> None:
        self.mailer = mailer


class Clock:
    """A singleton that does not."""


async def test_include_adds_handlers_each_once() -> None:
    """A registry included while running adds what is new in it, after what was there."""
    log: list[str] = []
    first = MessageRegistry(event_base=Event)
    second = MessageRegistry(event_base=Event)

    @first.register
    async def one(event: Ping) -> None:
        log.append("one")

    @second.register
    async def two(event: Ping) -> None:
        log.append("two")

    async with BusTerminal(first) as terminal:
        await terminal.bus.publish(Ping())
        terminal.include(second)
        await terminal.bus.publish(Ping())

        @second.register
        async def three(event: Ping) -> None:
            log.append("three")

        terminal.include(second)
        terminal.include(first)
        await terminal.bus.publish(Ping())
    assert log == ["one", "one", "two", "one", "two", "three"]


async def test_include_before_the_first_message() -> None:
    """On a terminal that is not frozen, include is one registry more."""
    log: list[int] = []

    def handler(event: Ping) -> None:
        log.append(event.number)

    terminal = BusTerminal(MessageRegistry(event_base=Event))
    terminal.include(registry_with(handler))
    await terminal.bus.publish(Ping(1))
    await terminal.close()
    assert log == [1]


async def test_a_dispatch_in_progress_keeps_the_old_plan() -> None:
    """A5: including from inside a handler changes the next publish, never the running one."""
    log: list[str] = []
    late = MessageRegistry(event_base=Event)

    @late.register
    def after(event: Ping) -> None:
        log.append("late")

    async def first(event: Ping, terminal: BusTerminal[Event]) -> None:
        log.append("first")
        terminal.include(late)

    def second(event: Ping) -> None:
        log.append("second")

    async with BusTerminal(registry_with(first, second)) as terminal:
        terminal.bus.emit(Ping())
        queued_before = terminal.bus.emit(Ping())
        await terminal.drain()
        assert queued_before.done()
        assert log == ["first", "second"] * 2
        log.clear()
        await terminal.bus.publish(Ping())
    assert log == ["first", "second", "late"]


async def test_a_failed_include_changes_nothing() -> None:
    """What cannot be wired, or is a second handler for a command, leaves the terminal as it was."""
    log: list[int] = []

    def handler(event: Ping) -> None:
        log.append(event.number)

    async def get(command: Get) -> str:
        return "got"

    async def get_again(command: Get) -> str:
        return "again"

    def unwired(event: Ping, host: str) -> None: ...

    async with BusTerminal(registry_with(handler, get)) as terminal:
        with pytest.raises(ProviderError, match="unwired.host: str"):
            terminal.include(registry_with(unwired))
        with pytest.raises(DuplicateHandler, match="Get has 2 handlers"):
            terminal.include(registry_with(get_again))
        await terminal.bus.publish(Ping(1))
        assert await terminal.bus.send(Get()) == "got"
    assert log == [1]


async def test_singletons_survive_an_include() -> None:
    """What was built before is what included handlers get."""
    seen: list[Clock] = []
    first = MessageRegistry(event_base=Event)
    first.factory(Clock, lifetime="singleton")

    @first.register
    def one(event: Ping, clock: Clock) -> None:
        seen.append(clock)

    def two(event: Ping, clock: Clock) -> None:
        seen.append(clock)

    async with BusTerminal(first) as terminal:
        await terminal.bus.publish(Ping())
        terminal.include(registry_with(two))
        await terminal.bus.publish(Ping())
    assert len(seen) == 3
    assert len(set(map(id, seen))) == 1


def wired_registry(seen: list[Any]) -> MessageRegistry[Event]:
    registry = MessageRegistry(event_base=Event)
    for factory in (Mailer, Post, Clock):
        registry.factory(factory, lifetime="singleton")

    @registry.register
    async def handler(event: Ping, mailer: Mailer, post: Post, clock: Clock) -> None:
        seen.append((mailer, post, clock))

    @registry.register
    async def get(command: Get, mailer: Mailer) -> str:
        return mailer.name

    return registry


async def test_override_is_honoured_by_every_verb_and_undone() -> None:
    """Inside the block everybody gets the fake; singletons that reach it are built anew."""
    seen: list[Any] = []
    fake = Fake()
    async with BusTerminal(wired_registry(seen)) as terminal:
        await terminal.bus.publish(Ping())
        with terminal.override({Mailer: fake}):
            await terminal.bus.publish(Ping())
            await terminal.bus.emit(Ping()).wait()
            assert await terminal.bus.send(Get()) == "fake"
            async with terminal.scope() as scope:
                assert await scope.resolve(Mailer) is fake
                await scope.bus.publish(Ping())
        await terminal.bus.publish(Ping())
        assert await terminal.bus.send(Get()) == "real"
    (real, post, clock), *inside, last = seen
    assert last == (real, post, clock)
    assert [mailer for mailer, _, _ in inside] == [fake] * 3
    assert all(each is not post and each.mailer is fake for _, each, _ in inside)
    assert len({id(each) for _, each, _ in inside}) == 1
    assert all(each is clock for _, _, each in inside)


async def test_override_takes_factories_and_nests() -> None:
    """Values may be factories with a lifetime; an inner block covers an outer one."""
    seen: list[Any] = []
    async with BusTerminal(wired_registry(seen)) as terminal:
        with terminal.override({Mailer: use(Fake, lifetime="singleton")}):
            assert await terminal.bus.send(Get()) == "fake"
            with terminal.override({Mailer: Mailer()}):
                assert await terminal.bus.send(Get()) == "real"
            assert await terminal.bus.send(Get()) == "fake"
        assert await terminal.bus.send(Get()) == "real"


async def test_override_is_undone_when_the_block_raises() -> None:
    """A test that fails leaves no fake behind."""
    seen: list[Any] = []
    async with BusTerminal(wired_registry(seen)) as terminal:
        with pytest.raises(LookupError), terminal.override({Mailer: Fake()}):
            raise LookupError
        assert await terminal.bus.send(Get()) == "real"
        unwired = terminal.override({Mailer: use(lambda host: host, lifetime="scoped")})  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
        with pytest.raises(ProviderError, match="host: it needs an annotation"), unwired:
            pass
        assert await terminal.bus.send(Get()) == "real"


async def test_messages_emitted_inside_keep_the_override() -> None:
    """What was queued under an override is handled under it, also after the block."""
    seen: list[Any] = []
    fake = Fake()
    async with BusTerminal(wired_registry(seen)) as terminal:
        with terminal.override({Mailer: fake}):
            terminal.bus.emit(Ping())
        terminal.bus.emit(Ping())
        await terminal.drain()
    assert [mailer is fake for mailer, _, _ in seen] == [True, False]


async def test_override_covers_use_and_unregistered_classes() -> None:
    """A parameter with `use`, or of a class that builds itself, is overridden by its type."""
    seen: list[str] = []

    async def handler(
        event: Ping, marked: Annotated[Mailer, use(Mailer, lifetime="scoped")], plain: Mailer
    ) -> None:
        seen.extend((marked.name, plain.name))

    async with BusTerminal(registry_with(handler)) as terminal:
        with terminal.override({Mailer: Fake()}):
            await terminal.bus.publish(Ping())
        await terminal.bus.publish(Ping())
    assert seen == ["fake", "fake", "real", "real"]


class Container:
    """A foreign container: it knows one type, and scopes of its own."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def provides(self, tp: Any, /) -> bool:
        return tp in (Mailer, int)

    @asynccontextmanager
    async def scope(self) -> AsyncGenerator["Container"]:
        self.log.append("open")
        self.cache: dict[Any, Any] = {}
        try:
            yield self
        except BaseException as error:
            self.log.append(f"close {type(error).__name__}")
            raise
        self.log.append("close")

    async def resolve(self, tp: Any, /) -> Any:
        await asyncio.sleep(0)
        self.log.append(f"resolve {tp.__name__}")
        return self.cache.setdefault(tp, tp())


async def test_a_resolver_serves_what_the_registry_does_not_know() -> None:
    """Its scope opens once for each of ours and is left with our exception."""
    seen: list[Any] = []
    container = Container()

    async def first(event: Ping, mailer: Mailer, number: int, clock: Clock) -> None:
        seen.append((mailer, number))

    async def second(event: Ping, mailer: Mailer, bus: EventBus[Event]) -> None:
        seen.append((mailer, 0))
        if event.number:
            raise LookupError

    registry = registry_with(first, second)
    async with BusTerminal(registry, resolver=container) as terminal:
        await terminal.bus.publish(Ping())
        assert seen[0] == seen[1]
        assert container.log == ["open", "resolve Mailer", "resolve int", "close"]
        container.log.clear()
        with pytest.raises(LookupError):
            await terminal.bus.publish(Ping(1))
        assert container.log == ["open", "resolve Mailer", "resolve int", "close LookupError"]
        container.log.clear()
        await terminal.bus.emit(Ping()).wait()
        assert container.log.count("open") == container.log.count("close") == 2
        with terminal.override({Mailer: Fake()}):
            await terminal.bus.publish(Ping())
            assert seen[-1][0].name == "fake"


async def test_the_registry_comes_before_the_resolver() -> None:
    """A factory of the registry wins; a default does not."""
    seen: list[Any] = []
    container = Container()
    registry = MessageRegistry(event_base=Event)
    registry.factory(Fake, provides=Mailer, lifetime="singleton")

    @registry.register
    async def handler(event: Ping, mailer: Mailer, number: int = 7, text: str = "text") -> None:
        seen.append((mailer.name, number, text))

    async with BusTerminal(registry, resolver=container) as terminal:
        await terminal.bus.publish(Ping())
    assert seen == [("fake", 0, "text")]
