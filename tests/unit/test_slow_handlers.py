"""Handlers that block the loop are named, by the loop's clock where that is simulated."""

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from unit.support import registry_with, terminal_with

from runtime import (
    BusTerminal,
    Command,
    DeadLetter,
    Event,
    EventBus,
    MessageContext,
    MessageRegistry,
    Retry,
    concurrent,
    isolated,
    run,
)
from runtime.publishers import Listener
from runtime.reports import HandlerCounters
from runtime.testing import simulate

SIMULATED = True
REQUEST: ContextVar[str] = ContextVar("request", default="none")


class Ping(Event):
    seconds: float = 0.5


class Pong(Event):
    pass


class Get(Command[int]):
    pass


class Reports(logging.Handler):
    """Keeps what the runtime logs about slow handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.requests: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "blocked the event loop" in record.getMessage():
            self.texts.append(record.getMessage())
            self.requests.append(REQUEST.get())


@pytest.fixture
def reports() -> Iterator[Reports]:
    """Return what is reported in a test."""
    logger, kept = logging.getLogger("runtime"), Reports()
    logger.addHandler(kept)
    yield kept
    logger.removeHandler(kept)


def block(seconds: float) -> None:
    """Keep the simulated loop from going round."""
    loop: Any = asyncio.get_running_loop()
    loop.block(seconds)


async def slow(ping: Ping) -> None:
    block(ping.seconds)


def slow_sync(ping: Ping) -> None:
    block(ping.seconds)


def counted(terminal: BusTerminal[Event], handler: Callable[..., Any]) -> HandlerCounters:
    """Return what was counted of a handler, which must be the only one of its name."""
    name = f"{handler.__module__}.{handler.__qualname__} ("
    (found,) = [
        each for key, each in terminal.counters().by_handler.items() if key.startswith(name)
    ]
    return found


def place(handler: Any) -> str:
    """Return how the log names a handler."""
    code = handler.__code__
    name = f"{handler.__module__}.{handler.__qualname__}"
    return f"{name} ({code.co_filename}:{code.co_firstlineno})"


async def emit_and_drain(terminal: BusTerminal[Event], *events: Event) -> None:
    for event in events:
        terminal.bus.emit(event)
    await terminal.drain()


# What is said.


@pytest.mark.parametrize(
    ("handler", "advice"),
    [
        (slow, "await what takes long, or move it to a thread with asyncio.to_thread"),
        (slow_sync, "register it with in_thread=True, or make it await what takes long"),
    ],
)
async def test_a_slow_handler_is_named(
    handler: Callable[..., Any], advice: str, reports: Reports
) -> None:
    """With its place, for how long, at what, and what to do about it."""
    async with terminal_with(handler) as terminal:
        await emit_and_drain(terminal, Ping(0.512))
        assert reports.texts == [
            f"{place(handler)} blocked the event loop for 512 ms while it handled Ping; {advice}"
        ]
        assert counted(terminal, handler) == HandlerCounters(1, 0, 1, 0.512)


async def test_once_a_minute(reports: Reports) -> None:
    """Those within a minute after a report are counted, and the next report says how many."""
    async with terminal_with(slow, slow_sync) as terminal:
        await emit_and_drain(terminal, *(Ping(0.5) for _ in range(4)))
        assert [each.split()[0] for each in reports.texts] == [
            f"{__name__}.slow",
            f"{__name__}.slow_sync",
        ]
        await asyncio.sleep(55.75)
        await emit_and_drain(terminal, Ping(0.125))
        assert (asyncio.get_running_loop().time(), len(reports.texts)) == (60.0, 2)
        await asyncio.sleep(0.25)
        # The first was reported when it had ended, at 0.5 s; the other's minute is not over yet.
        await emit_and_drain(terminal, Ping(0.25))
        (text,) = reports.texts[2:]
        assert text.startswith(f"{__name__}.slow ")
        assert "blocked the event loop for 250 ms" in text
        assert text.endswith("(and 4 more times since the last report)")
        await asyncio.sleep(120)
        await emit_and_drain(terminal, Ping(0.25))
        first, second = reports.texts[3:]
        assert "more times" not in first
        assert second.endswith("(and 5 more times since the last report)")
        assert counted(terminal, slow) == HandlerCounters(7, 0, 7, 0.5)


async def test_under_the_emitters_context_variables(reports: Reports) -> None:
    """A trace follows the message."""

    async def later(pong: Pong) -> None:
        await asyncio.sleep(1)
        block(1)

    async with terminal_with(slow, later) as terminal:
        REQUEST.set("first")
        terminal.bus.emit(Ping())
        REQUEST.set("second")
        terminal.bus.emit(Pong())
        REQUEST.set("neither")
        await terminal.drain()
    assert reports.requests == ["first", "second"]


# What is measured.


@pytest.mark.parametrize(("seconds", "slow_ones"), [(0.0, 0), (0.1, 0), (0.1001, 1), (60.0, 1)])
async def test_the_limit(seconds: float, slow_ones: int, reports: Reports) -> None:
    """A step may take 100 ms."""
    async with terminal_with(slow) as terminal:
        await emit_and_drain(terminal, Ping(seconds))
        assert counted(terminal, slow).slow == slow_ones
    assert len(reports.texts) == slow_ones


async def test_each_step_by_itself(reports: Reports) -> None:
    """Waiting is no blocking, and what a handler does before and after it does not add up."""

    async def steps(ping: Ping) -> None:
        block(0.09)
        await asyncio.sleep(10)
        block(0.09)
        await asyncio.sleep(0)
        block(ping.seconds)
        await asyncio.sleep(10)

    async with terminal_with(steps) as terminal:
        await emit_and_drain(terminal, Ping(0.09))
        assert counted(terminal, steps) == HandlerCounters(1, 0, 0, 0.0)
        await emit_and_drain(terminal, Ping(0.7))
        assert counted(terminal, steps) == HandlerCounters(2, 0, 1, 0.7)
    assert len(reports.texts) == 1


async def test_many_quick_ones_in_a_row(reports: Reports) -> None:
    """One worker's turn may be long; no handler of it is."""
    async with terminal_with(slow) as terminal:
        await emit_and_drain(terminal, *(Ping(0.09) for _ in range(64)))
        assert counted(terminal, slow) == HandlerCounters(64, 0, 0, 0.0)
    assert reports.texts == []


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_slow_handler_that_fails(is_async: bool, reports: Reports) -> None:
    """It is named, and its error arrives as it was raised."""
    error = OSError("on purpose")

    def fail(ping: Ping) -> None:
        block(ping.seconds)
        raise error

    async def fail_later(ping: Ping) -> None:
        await asyncio.sleep(0)
        fail(ping)

    handler = fail_later if is_async else fail
    async with terminal_with(handler) as terminal:
        await emit_and_drain(terminal, Ping())
        (letter,) = terminal.dead_letters
        assert letter.error is error
        assert traceback.extract_tb(error.__traceback__)[-1].name == "fail"
        assert counted(terminal, handler) == HandlerCounters(1, 1, 1, 0.5)
    assert len(reports.texts) == 1


async def test_each_attempt_counts(reports: Reports) -> None:
    """A handler that is retried may block each time."""

    async def fail(ping: Ping) -> None:
        block(ping.seconds)
        raise OSError

    registry = MessageRegistry(event_base=Event)
    registry.register(fail, retry=Retry(attempts=3))
    async with BusTerminal(registry) as terminal:
        await emit_and_drain(terminal, Ping())
        assert counted(terminal, fail) == HandlerCounters(3, 1, 3, 0.5)
    assert len(reports.texts) == 1


async def test_a_slow_log_is_nobodys_fault(reports: Reports) -> None:
    """What it takes to log a failure, or a report, does not count for the handler after it."""

    class SlowLog(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            block(3.0)

    async def fail(ping: Ping) -> None:
        raise OSError

    async def be_quick(ping: Ping) -> None:
        pass

    logger, log = logging.getLogger("runtime"), SlowLog()
    logger.addHandler(log)
    try:
        async with terminal_with(fail, be_quick, slow) as terminal:
            await emit_and_drain(terminal, Ping(0.2), Ping(0.2))
            terminal.bus.emit(Ping(), ttl=1.0)
            block(2.0)
            await terminal.drain()
            assert terminal.stats().expired == 1
            assert counted(terminal, be_quick) == HandlerCounters(2, 0, 0, 0.0)
            assert counted(terminal, slow) == HandlerCounters(2, 0, 2, 0.2)
    finally:
        logger.removeHandler(log)
    assert len(reports.texts) == 1


# Whose it is.


@pytest.mark.parametrize("publisher", [isolated, concurrent])
@pytest.mark.parametrize("suspends", [False, True])
async def test_under_a_publisher(publisher: Any, suspends: bool, reports: Reports) -> None:
    """The handler is named, whichever task runs it, and the publisher is not."""

    async def block_later(ping: Ping) -> None:
        if suspends:
            await asyncio.sleep(1)
        block(ping.seconds)

    async def be_quick(ping: Ping) -> None:
        await asyncio.sleep(0)

    terminal = terminal_with(be_quick, block_later, slow, publisher=publisher)
    async with terminal:
        await emit_and_drain(terminal, Ping(0.3))
        assert counted(terminal, block_later) == HandlerCounters(1, 0, 1, 0.3)
        assert counted(terminal, slow) == HandlerCounters(1, 0, 1, 0.3)
        assert counted(terminal, be_quick) == HandlerCounters(1, 0, 0, 0.0)
    assert len(reports.texts) == 2


async def test_a_slow_publisher(reports: Reports) -> None:
    """What blocks between handlers is the publisher itself."""

    async def publisher(event: object, context: MessageContext, listeners: list[Listener]) -> None:
        block(0.2)
        for each in listeners:
            await each(event, context)
        block(0.2)

    async with terminal_with(slow, publisher=publisher) as terminal:
        await emit_and_drain(terminal, Ping(0.09))
        assert counted(terminal, slow) == HandlerCounters(1, 0, 0, 0.0)
    (text,) = reports.texts
    assert text.startswith("the publisher blocked the event loop for 400 ms")


@pytest.mark.parametrize("suspends", [False, True])
async def test_in_a_task_of_its_own(suspends: bool, reports: Reports) -> None:
    """A handler with a task of its own is named like any other."""

    async def block_later(ping: Ping) -> None:
        if suspends:
            await asyncio.sleep(1)
        block(ping.seconds)

    registry = MessageRegistry(event_base=Event)
    registry.register(block_later, own_task=True)
    async with BusTerminal(registry) as terminal:
        await emit_and_drain(terminal, Ping())
        assert counted(terminal, block_later) == HandlerCounters(1, 0, 1, 0.5)
    assert len(reports.texts) == 1


async def test_an_ask_in_the_askers_turn(reports: Reports) -> None:
    """Each handler has its own part of a turn that two share."""

    async def reply(get: Get) -> int:
        block(0.5)
        return 42

    async def asker(ping: Ping, bus: EventBus[Event]) -> None:
        # Meanwhile another worker handles the other message, and parks.
        await asyncio.sleep(1)
        block(ping.seconds)
        assert await bus.ask(Get(), key="box") == 42
        block(ping.seconds)

    async with terminal_with(asker, reply) as terminal:
        await emit_and_drain(terminal, Ping(0.04), Pong())
        assert counted(terminal, reply) == HandlerCounters(1, 0, 1, 0.5)
        assert counted(terminal, asker) == HandlerCounters(1, 0, 0, 0.0)
        await emit_and_drain(terminal, Ping(0.06), Pong())
        assert counted(terminal, reply) == HandlerCounters(2, 0, 2, 0.5)
        assert counted(terminal, asker) == HandlerCounters(2, 0, 1, 0.12)
    assert [each.split()[0].rsplit(".")[-1] for each in reports.texts] == ["reply", "asker"]


async def test_what_a_handler_publishes_is_its_own(reports: Reports) -> None:
    """Inline, nobody knows who of the two it was; and outside of mailboxes nobody measures."""

    async def outer(pong: Pong, bus: EventBus[Event]) -> None:
        await bus.publish(Ping())

    async with terminal_with(outer, slow) as terminal:
        await terminal.bus.publish(Ping())
        await terminal.bus.publish(Pong())
        assert reports.texts == []
        await emit_and_drain(terminal, Pong())
        assert counted(terminal, outer) == HandlerCounters(2, 0, 1, 0.5)
        assert counted(terminal, slow) == HandlerCounters(3, 0, 0, 0.0)
    assert len(reports.texts) == 1


async def test_actors_and_handlers_of_dead_letters(reports: Reports) -> None:
    """An actor is measured also where a publish waits for it, and so is who hears dead letters."""

    class Actor:
        async def handle(self, ping: Ping) -> None:
            block(ping.seconds)
            raise OSError

    async def hear(letter: DeadLetter) -> None:
        block(0.3)

    registry = registry_with(hear)
    registry.register(Actor, lifetime="actor")
    async with BusTerminal(registry) as terminal:
        async with terminal.scope("box") as scope:
            with pytest.raises(OSError, match=r"^$"):
                await scope.bus.publish(Ping(0.2))
            # The publish's caller has heard of it; no message of the mailbox has failed.
            assert counted(terminal, Actor.handle) == HandlerCounters(1, 0, 1, 0.2)
            scope.bus.emit(Ping(0.4))
        await terminal.drain()
        assert counted(terminal, Actor.handle) == HandlerCounters(2, 1, 2, 0.4)
        assert counted(terminal, hear) == HandlerCounters(1, 0, 1, 0.3)
    first, second = reports.texts
    assert "while it handled Ping;" in first
    assert "while it handled the DeadLetter of " in second


# Real time.


def test_on_a_real_loop_by_a_real_clock(reports: Reports) -> None:
    """A handler that really blocks is named, and one that waits as long is not."""

    def sleep(ping: Ping) -> None:
        time.sleep(ping.seconds)

    async def wait(pong: Pong) -> None:
        await asyncio.sleep(0.15)

    async def main() -> None:
        async with terminal_with(sleep, wait) as terminal:
            await emit_and_drain(terminal, Pong(), Ping(0.15))
            found = counted(terminal, sleep)
            assert (found.slow, found.longest > 0.1) == (1, True)
            assert counted(terminal, wait).slow == 0

    run(main())
    (text,) = reports.texts
    assert text.startswith(place(sleep))


def test_on_a_simulated_loop_real_time_does_not_count(reports: Reports) -> None:
    """What depends on how fast the machine is cannot be repeated."""

    def sleep(ping: Ping) -> None:
        time.sleep(ping.seconds)

    async def main() -> None:
        async with terminal_with(sleep) as terminal:
            await emit_and_drain(terminal, Ping(0.15))
            assert counted(terminal, sleep) == HandlerCounters(1, 0, 0, 0.0)

    simulate(main())
    assert reports.texts == []
