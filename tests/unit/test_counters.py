"""The ledger by message type, and what is counted of each handler."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from types import FrameType
from typing import Any

import pytest
from unit.support import LEDGER, check_counters, terminal_with

from runtime import (
    BusTerminal,
    Command,
    DeadLetter,
    Event,
    EventBus,
    MailboxPolicy,
    MessageContext,
    MessageRegistry,
    Retry,
)
from runtime.reports import Counters, HandlerCounters, Stats

SIMULATED = True


class Boom(Exception):
    pass


class Ping(Event):
    fails: bool = False


class LoudPing(Ping):
    pass


class Pong(Event):
    pass


class Get(Command[int]):
    fails: bool = False
    seconds: float = 0.0


def of_type(terminal: BusTerminal[Any], message_type: type) -> dict[str, int]:
    """Return what is counted of a message type, but for what is 0."""
    found = check_counters(terminal).by_type[message_type]
    return {name: getattr(found, name) for name in LEDGER if getattr(found, name)}


def of_handler(terminal: BusTerminal[Any], handler: Callable[..., Any]) -> HandlerCounters:
    return terminal.counters().by_handler[key_of(handler)]


def key_of(handler: Any) -> str:
    code = handler.__code__
    name = f"{handler.__module__}.{handler.__qualname__}"
    return f"{name} ({code.co_filename}:{code.co_firstlineno})"


async def fail(event: Event) -> None:
    raise Boom


async def ignore(event: Event) -> None:
    pass


# What they say.


async def test_each_type_by_itself() -> None:
    """A class derived from another has counters of its own; what was never sent has none."""
    async with terminal_with(ignore) as terminal:
        assert terminal.counters() == Counters({}, {key_of(ignore): HandlerCounters(0, 0, 0, 0.0)})
        for _ in range(3):
            terminal.bus.emit(LoudPing())
        await terminal.bus.publish(Ping())
        await terminal.bus.publish(Pong())
        await terminal.drain()
        assert of_type(terminal, LoudPing) == {"emitted": 3, "handled": 3}
        assert of_type(terminal, Ping) == {"published": 1}
        assert list(check_counters(terminal).by_type) == [LoudPing, Ping, Pong]
        assert of_handler(terminal, ignore).started == 5


def test_before_anything_was_sent() -> None:
    """A terminal that is not frozen has counted nothing, and asking does not freeze it."""
    registry = MessageRegistry(event_base=Event)
    terminal = BusTerminal(registry)
    assert terminal.counters() == Counters({}, {})
    registry.register(ignore)
    assert [each.name for each in terminal.explain(Ping).handlers] == [f"{__name__}.ignore"]


async def test_they_are_values() -> None:
    """What was returned does not change any more, and cannot be changed."""
    async with terminal_with(ignore) as terminal:
        terminal.bus.emit(Ping())
        counters = terminal.counters()
        await terminal.drain()
        assert counters.by_type[Ping].pending == 1
        with pytest.raises(TypeError):
            counters.by_type[Ping] = counters.by_type[Ping]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
        with pytest.raises(FrozenInstanceError):
            counters.by_type[Ping].pending = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def test_handlers_of_one_name_and_place() -> None:
    """Methods of two objects are two handlers, numbered as they were registered."""

    class Counted:
        def __init__(self, fails: bool) -> None:
            self.fails = fails

        async def handle(self, ping: Ping) -> None:
            if self.fails:
                raise Boom

    first, second = Counted(False), Counted(True)
    async with terminal_with(first.handle, second.handle) as terminal:
        terminal.bus.emit(Ping())
        await terminal.drain()
        name = key_of(Counted.handle)
        assert list(terminal.counters().by_handler.items()) == [
            (name, HandlerCounters(1, 0, 0, 0.0)),
            (f"{name} #2", HandlerCounters(1, 1, 0, 0.0)),
        ]


async def test_every_call_is_a_start() -> None:
    """Under each verb, with each attempt of a retry, in a thread; not where wiring fails."""

    class Missing:
        def __init__(self) -> None:
            raise Boom

    async def reply(get: Get) -> int:
        return 1

    async def flaky(ping: Ping) -> None:
        raise Boom

    async def wired(ping: Ping, missing: Missing) -> None: ...

    def threaded(pong: Pong) -> None: ...

    registry = MessageRegistry(event_base=Event)
    registry.register(reply, wired)
    registry.register(flaky, retry=Retry(attempts=4))
    registry.register(threaded, in_thread=True)
    async with BusTerminal(registry) as terminal:
        assert await terminal.bus.send(Get()) + await terminal.bus.ask(Get()) == 2
        terminal.bus.emit(Ping())
        with pytest.raises(Boom):
            await terminal.bus.publish(Ping())
        await terminal.bus.publish(Pong())
        terminal.bus.emit(Pong())
        await terminal.drain()
        assert of_handler(terminal, reply) == HandlerCounters(2, 0, 0, 0.0)
        # The publish ended at the handler before it.
        assert of_handler(terminal, flaky) == HandlerCounters(4, 1, 0, 0.0)
        assert of_handler(terminal, wired) == HandlerCounters(0, 1, 0, 0.0)
        assert of_handler(terminal, threaded) == HandlerCounters(2, 0, 0, 0.0)
        assert of_type(terminal, Get) == {"emitted": 1, "handled": 1, "sent": 1, "asked": 1}
        assert of_type(terminal, Ping) == {"emitted": 1, "failed": 1, "published": 1}


async def test_who_has_failed() -> None:
    """The handlers of dead letters, of asks, and of a publisher's emits; not of a publish."""

    async def reply(get: Get) -> int:
        raise Boom

    async def hear(letter: DeadLetter) -> None:
        raise Boom

    async def publisher(event: object, context: MessageContext, listeners: Any) -> None:
        for each in listeners:
            await each(event, context)

    async with terminal_with(fail, reply, hear, publisher=publisher) as terminal:
        with pytest.raises(Boom):
            await terminal.bus.ask(Get())
        with pytest.raises(Boom):
            await terminal.bus.send(Get())
        with pytest.raises(Boom):
            await terminal.bus.publish(Ping())
        terminal.bus.emit(Ping())
        await terminal.drain()
        assert of_handler(terminal, reply) == HandlerCounters(2, 1, 0, 0.0)
        assert of_handler(terminal, fail) == HandlerCounters(2, 1, 0, 0.0)
        assert of_handler(terminal, hear) == HandlerCounters(1, 1, 0, 0.0)
        # A dead letter is no message of the ledger.
        assert set(check_counters(terminal).by_type) == {Get, Ping}


async def test_asks_that_an_actors_restart_fails() -> None:
    """They have failed, at a handler that did not start them."""

    class Actor:
        async def handle(self, ping: Ping) -> None:
            await asyncio.sleep(1)
            raise Boom

        async def reply(self, get: Get) -> int:
            return 1

    registry = MessageRegistry(event_base=Event)
    registry.register(Actor, lifetime="actor", on_failure="restart")
    async with BusTerminal(registry) as terminal:
        terminal.bus.emit(Ping(), key="box")
        asks = [asyncio.create_task(terminal.bus.ask(Get(), key="box")) for _ in range(2)]
        await asyncio.gather(*asks, return_exceptions=True)
        assert of_type(terminal, Get) == {"emitted": 2, "failed": 2, "asked": 2}
        assert of_handler(terminal, Actor.reply) == HandlerCounters(0, 2, 0, 0.0)


async def test_an_ask_that_ends_as_it_is_accepted() -> None:
    """Where its chain of causes is too long, or its mailbox drops it."""

    async def hold(get: Get) -> int:
        await asyncio.sleep(get.seconds)
        return 1

    async def ask(ping: Ping, bus: EventBus[Event]) -> None:
        with pytest.raises(RecursionError):
            await bus.ask(Get(), key="box")

    policy = MailboxPolicy(1, overflow="drop_newest")
    async with terminal_with(hold, ask, max_hops=0, mailbox=policy) as terminal:
        terminal.bus.emit(Ping())
        await terminal.drain()
        asks = [asyncio.create_task(terminal.bus.ask(Get(seconds=1), key="box")) for _ in range(3)]
        await asyncio.gather(*asks, return_exceptions=True)
        assert of_type(terminal, Get) == {
            "emitted": 4,
            "handled": 2,
            "failed": 1,
            "dropped": 1,
            "asked": 4,
        }


async def test_include_and_override_go_on_counting() -> None:
    """New plans and new wirings of a handler go on where the old ones were, and so after them."""

    class Mailer:
        pass

    async def send(ping: Ping, mailer: Mailer) -> None: ...

    async with terminal_with(send) as terminal:
        waiting = terminal.bus.emit(Ping(), delay=1)
        await terminal.bus.publish(Ping())
        with terminal.override({Mailer: Mailer()}):
            await terminal.bus.publish(Ping())
            more = MessageRegistry(event_base=Event)
            more.register(ignore, send)
            terminal.include(more)
            await terminal.bus.publish(Ping())
        terminal.bus.emit(LoudPing())
        # It keeps the plan that it was emitted with.
        await waiting.wait()
        await terminal.drain()
        assert of_type(terminal, Ping) == {"emitted": 1, "handled": 1, "published": 3}
        assert of_type(terminal, LoudPing) == {"emitted": 1, "handled": 1}
        assert of_handler(terminal, send).started == 5
        assert of_handler(terminal, ignore).started == 2
        assert len(terminal.counters().by_handler) == 2


# What they cost.


async def test_stats_do_the_same_however_much_there_is() -> None:
    """With 10,000 mailboxes, 1,000 more types and open scopes no other Python code runs."""

    def events_of(terminal: BusTerminal[Event]) -> list[tuple[str, str]]:
        """Return what the interpreter calls for one look at the ledger."""
        calls: list[tuple[str, str]] = []

        def note(frame: FrameType, kind: str, argument: Any) -> None:
            called = argument if kind.startswith("c_") else frame.f_code
            calls.append((kind, getattr(called, "__qualname__", str(called))))

        sys.setprofile(note)
        try:
            terminal.stats()
        finally:
            sys.setprofile(None)
        return calls

    gate = asyncio.Event()

    async def hold(event: Event) -> None:
        await gate.wait()

    async with terminal_with(hold) as terminal:
        before = events_of(terminal)
        for number in range(10_000):
            terminal.bus.emit(Ping(), key=number)
        for number in range(1_000):
            terminal.bus.emit(type(f"Ping{number}", (Ping,), {})())
        async with terminal.scope("one"), terminal.scope("two"):
            await asyncio.sleep(0)
            assert (terminal.stats().pending, terminal.stats().scopes) == (11_000, 2)
            assert events_of(terminal) == before
        gate.set()
        await terminal.drain()
        assert terminal.stats() == Stats(11_000, 11_000, *(0 for _ in fields(Stats)[2:]))
