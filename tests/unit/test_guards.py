"""Guards: around each handler, in order, for events and commands alike."""

import asyncio
from typing import Any

import pytest

from runtime import BusTerminal, Command, Event, MessageContext, MessageRegistry
from runtime.errors import DeliveryFailed, HandlerSignatureError


class Ping(Event):
    number: int = 0


class LoudPing(Ping):
    pass


class Get(Command[str]):
    pass


class Session:
    pass


def setup() -> tuple[MessageRegistry[Event], list[str]]:
    registry = MessageRegistry(event_base=Event)
    log: list[str] = []

    @registry.register
    async def first(event: Ping) -> None:
        log.append("first")

    @registry.register
    def second(event: LoudPing, session: Session) -> None:
        log.append("second")

    @registry.register
    async def get(command: Get) -> str:
        log.append("get")
        return "got"

    return registry, log


def guard_with(log: list[str], name: str, kind: Any) -> Any:
    async def guard(message: object, ctx: MessageContext, proceed: Any) -> Any:
        log.append(f"{name} in")
        try:
            return await proceed()
        finally:
            log.append(f"{name} out")

    guard.__annotations__["message"] = kind
    return guard


async def test_guards_nest_in_registration_order_around_each_handler() -> None:
    """The first registered is outermost; subclasses are guarded, bases are not."""
    registry, log = setup()
    registry.guard(guard_with(log, "a", Ping))
    registry.guard(guard_with(log, "b", LoudPing))
    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Ping())
        assert log == ["a in", "first", "a out"]
        log.clear()
        expected = [
            *("a in", "b in", "first", "b out", "a out"),
            *("a in", "b in", "second", "b out", "a out"),
        ]
        await terminal.bus.publish(LoudPing())
        assert log == expected
        log.clear()
        await terminal.bus.emit(LoudPing()).wait()
        assert log == expected
        log.clear()
        assert await terminal.bus.send(Get()) == "got"
        assert log == ["get"]


async def test_a_guard_may_change_a_reply() -> None:
    """What the outermost guard returns is the reply of a command."""
    registry, _ = setup()

    @registry.guard
    async def shout(command: Get, ctx: MessageContext, proceed: Any) -> str:
        return str(await proceed()).upper()

    async with BusTerminal(registry) as terminal:
        assert await terminal.bus.send(Get()) == "GOT"


async def test_a_guard_that_does_not_proceed_stops_the_handler() -> None:
    """The handler does not run, nothing is built for it, and the guard's result stands."""
    registry, log = setup()

    @registry.guard
    async def deny(message: LoudPing | Get, ctx: MessageContext, proceed: Any) -> Any:
        return "denied"

    async with BusTerminal(registry) as terminal:
        assert await terminal.bus.send(Get()) == "denied"
        await terminal.bus.publish(LoudPing())
        await terminal.bus.emit(LoudPing()).wait()
        assert log == []
        await terminal.bus.publish(Ping())
        assert log == ["first"]


async def test_a_guard_that_proceeds_twice_is_told_so() -> None:
    """The handler runs once; the second call raises in the guard, and fails the message."""
    registry, log = setup()

    @registry.guard
    async def twice(message: Ping, ctx: MessageContext, proceed: Any) -> None:
        await proceed()
        await proceed()

    async with BusTerminal(registry) as terminal:
        with pytest.raises(RuntimeError, match=r"twice \(.*\) called proceed\(\) twice for one"):
            await terminal.bus.publish(Ping())
        assert log == ["first"]
        with pytest.raises(DeliveryFailed, match="called proceed"):
            await terminal.bus.emit(Ping()).wait()


async def test_a_guard_that_raises_is_the_handlers_failure() -> None:
    """Before or after proceeding, a guard's exception is what the publisher gets."""
    registry, log = setup()

    @registry.guard
    async def fails(message: Ping, ctx: MessageContext, proceed: Any) -> None:
        if message.number:
            await proceed()
        raise PermissionError

    async with BusTerminal(registry) as terminal:
        with pytest.raises(PermissionError):
            await terminal.bus.publish(Ping(0))
        assert log == []
        with pytest.raises(PermissionError):
            await terminal.bus.publish(Ping(1))
        assert log == ["first"]


async def test_a_guard_sees_the_handlers_exception() -> None:
    """A guard may turn a failure into something else."""
    registry = MessageRegistry(event_base=Event)

    @registry.register
    async def get(command: Get) -> str:
        raise LookupError

    @registry.guard
    async def default(command: Get, ctx: MessageContext, proceed: Any) -> str:
        try:
            return str(await proceed())
        except LookupError:
            return "nothing"

    async with BusTerminal(registry) as terminal:
        assert await terminal.bus.send(Get()) == "nothing"


async def test_two_messages_in_one_guard_do_not_meet() -> None:
    """Concurrent messages through one waiting guard each reach their own handler."""
    registry = MessageRegistry(event_base=Event)

    class One(Command[str]):
        pass

    class Two(Command[str]):
        pass

    @registry.register
    async def one(command: One) -> str:
        return "one"

    @registry.register
    async def two(command: Two) -> str:
        return "two"

    @registry.guard
    async def waits(command: One | Two, ctx: MessageContext, proceed: Any) -> Any:
        await asyncio.sleep(0)
        return await proceed()

    async with BusTerminal(registry) as terminal:
        bus = terminal.bus
        replies = await asyncio.gather(*(bus.send(each()) for each in (One, Two, One, Two)))
    assert replies == ["one", "two", "one", "two"]


async def test_guards_of_all_registries_apply() -> None:
    """A guard guards messages, not the registry that it stands in."""
    registry, log = setup()
    other = MessageRegistry(event_base=Event)
    other.guard(guard_with(log, "other", Ping))
    async with BusTerminal(registry, other) as terminal:
        await terminal.bus.publish(Ping())
    assert log == ["other in", "first", "other out"]


async def test_guards_stand_around_actors() -> None:
    """An actor's handler is guarded under emit, publish, and on its own turn."""
    registry = MessageRegistry(event_base=Event)
    log: list[str] = []

    @registry.register(lifetime="actor")
    class Actor:
        async def ping(self, event: Ping) -> None:
            log.append("actor")

    registry.guard(guard_with(log, "g", Ping))
    async with BusTerminal(registry) as terminal, terminal.scope("home") as scope:
        await scope.bus.emit(Ping()).wait()
        await scope.bus.publish(Ping())
    assert log == ["g in", "actor", "g out"] * 2


async def sync_like(message: Ping, ctx: Any) -> None: ...
def not_async(message: Ping, ctx: Any, proceed: Any) -> None: ...
async def too_much(message: Ping, ctx: Any, proceed: Any, more: Any) -> None: ...
async def no_message(ctx: Any, message: Any, proceed: Any) -> None: ...


@pytest.mark.parametrize(
    ("guard", "complaint"),
    [
        (not_async, "a guard must be an `async def`; it awaits `proceed()`"),
        (
            sync_like,
            (
                "a guard takes three parameters, as in "
                "`async def sync_like(message, ctx, proceed)`, "
                "not 2"
            ),
        ),
        (
            too_much,
            (
                "a guard takes three parameters, as in "
                "`async def too_much(message, ctx, proceed)`, "
                "not 4"
            ),
        ),
        (
            no_message,
            (
                "parameter `ctx` is annotated typing.Any, which is not a subclass of Event, "
                "the base of this registry; derive it, or declare the registry with another "
                "`event_base=`"
            ),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_wrong_guard_is_told_what_to_do(guard: Any, complaint: str) -> None:
    """Each mistake is one error with the guard's name, place and remedy."""
    with pytest.raises(HandlerSignatureError) as caught:
        MessageRegistry(event_base=Event).guard(guard)
    name, _, text = str(caught.value).partition("): ")
    assert name.startswith(f"{__name__}.{guard.__name__} ({__file__}:")
    assert text.replace("annotated Any", "annotated typing.Any") == complaint
