"""What can go wrong around a mailbox, and must not take anything with it."""

import asyncio
import gc
import logging
import math
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import (
    BusTerminal,
    DeadLetter,
    Event,
    EventBus,
    MailboxPolicy,
    MessageRegistry,
    ShutdownReport,
    Stats,
    concurrent,
)
from runtime.errors import DeadlockError, DeliveryFailed, ScopeClosed, TerminalClosed, WrongLoop
from runtime.testing import SimulatedLoop

SIMULATED = True


class Tick(Event):
    number: int = 0


class Other(Event):
    number: int = 0


class Unreadable:
    def __repr__(self) -> str:
        raise ValueError("detached")  # noqa: EM101


class Row(Event):
    value: Unreadable = Unreadable()


def assert_balanced(stats: Stats) -> None:
    ends = stats.handled + stats.failed + stats.dropped + stats.expired + stats.rejected_at_close
    assert stats.emitted == ends + stats.pending, stats


@contextmanager
def failing_log() -> Generator[None]:
    """Let every record of the runtime fail in a log handler."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise LookupError

    logger, handler = logging.getLogger("runtime"), Handler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


# Messages that cannot be shown


async def test_a_message_that_cannot_be_shown_is_dropped_like_any_other() -> None:
    """An error about a message does not fail because of its `repr`."""

    async def handle(row: Row) -> None:
        await asyncio.sleep(1)

    async with terminal_with(handle, mailbox=MailboxPolicy(1, "drop_oldest")) as terminal:
        deliveries = [terminal.bus.emit(Row(), key="box") for _ in range(4)]
        with pytest.raises(DeliveryFailed, match="whose repr.. raises ValueError"):
            await deliveries[0].wait()
        await terminal.drain()
        assert (terminal.stats().dropped, terminal.stats().handled) == (3, 1)
        terminal.bus.emit(Row(), delay=60)
    assert_balanced(terminal.stats())
    assert terminal.stats().rejected_at_close == 1


# Tasks that are cancelled


async def test_the_next_handler_of_a_message_meets_no_cancellation() -> None:
    """Also where the one before has suspended before it was through with its own."""
    seen: list[int] = []

    async def first(tick: Tick) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)

    async def second(tick: Tick) -> None:
        task = asyncio.current_task()
        assert task is not None
        seen.append(task.cancelling())
        await asyncio.sleep(0)
        seen.append(task.cancelling())

    async with terminal_with(first, second) as terminal:
        await terminal.bus.emit(Tick()).wait()
    assert seen == [0, 0]


async def test_workers_leave_no_cycles() -> None:
    """A worker that retires is gone at once, not when the collector comes."""

    async def handle(tick: Tick) -> None:
        await asyncio.sleep(1)

    def workers() -> int:
        return sum(type(each).__name__ == "Worker" for each in gc.get_objects())

    async with terminal_with(handle) as terminal:
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                terminal.bus.emit(Tick())
            await terminal.drain()
            await asyncio.sleep(0)
            assert workers() <= 2
        finally:
            gc.enable()


# Closing inside handlers


async def test_what_waits_behind_a_handler_that_closes_is_reported() -> None:
    """It cannot be started before the close has ended, so it is turned away at once."""
    reports: list[ShutdownReport] = []
    loop = asyncio.get_running_loop()

    async def handle(tick: Tick, terminal: BusTerminal[Event]) -> None:
        if tick.number == 0:
            reports.append(await terminal.close())

    terminal = terminal_with(handle)
    for number in range(4):
        terminal.bus.emit(Tick(number), key="box")
    terminal.bus.emit(Other(9))
    await asyncio.sleep(60)
    (report,) = reports
    assert report.undelivered == (Tick(1), Tick(2), Tick(3))
    assert (report.handled, report.seconds) == (1, 0)
    assert loop.time() == 60
    stats = terminal.stats()
    assert (stats.handled, stats.rejected_at_close, stats.pending) == (2, 3, 0)


async def test_a_handler_may_close_under_any_publisher() -> None:
    """Handlers that run in tasks of the publisher's are inside as well."""
    results: list[object] = []

    async def handle(tick: Tick, terminal: BusTerminal[Event]) -> None:
        with pytest.raises(DeadlockError):
            await terminal.drain()
        results.append(await terminal.close())

    async def other(tick: Tick, terminal: BusTerminal[Event]) -> None:
        results.append(await terminal.close())

    terminal = terminal_with(handle, other, publisher=concurrent)
    terminal.bus.emit(Tick())
    await asyncio.sleep(0)
    report = await terminal.close()
    assert report.seconds == 0
    await asyncio.sleep(1)
    assert results == [report, report]
    assert (terminal.stats().handled, terminal.stats().pending) == (1, 0)


async def test_who_hears_dead_letters_to_the_end_is_not_stuck() -> None:
    """A handler that ends what it was asked to end, and begins the next, swallows nothing."""
    heard: list[DeadLetter] = []

    async def hang(tick: Tick) -> None:
        await asyncio.Event().wait()

    async def hear(letter: DeadLetter) -> None:
        await asyncio.sleep(0.1)
        heard.append(letter)

    terminal = terminal_with(hang, hear)
    for number in range(50):
        terminal.bus.emit(Tick(number), key="box")
    await asyncio.sleep(0)
    report = await terminal.close(timeout=0)
    assert report.stuck == ()
    assert len(report.undelivered) == 49
    assert 0 < len(heard) < 50


async def test_closing_in_what_the_close_leaves_is_an_error() -> None:
    """It would wait for itself."""

    class Resource:
        pass

    errors: list[DeadlockError] = []
    registry = MessageRegistry(event_base=Event)

    @registry.factory(lifetime="singleton")
    async def resource(terminal: BusTerminal[Event]) -> AsyncIterator[Resource]:
        yield Resource()
        with pytest.raises(DeadlockError) as caught:
            await terminal.close()
        errors.append(caught.value)

    @registry.register
    async def handle(tick: Tick, resource: Resource) -> None: ...

    terminal = BusTerminal(registry)
    await terminal.bus.publish(Tick())
    await terminal.close()
    assert "would wait for itself" in str(errors[0])


@pytest.mark.parametrize("timeout", [None, "3", math.nan, -1])
async def test_a_close_without_a_time_is_refused(timeout: Any) -> None:
    """Nothing has begun then, and the terminal can be closed."""
    terminal = terminal_with()
    await terminal.open()
    with pytest.raises((TypeError, ValueError), match="timeout is a .*number of seconds"):
        await terminal.close(timeout=timeout)
    await terminal.bus.publish(Tick())
    await terminal.close()


def test_a_terminal_is_closed_on_its_own_loop() -> None:
    """From elsewhere `close` and `drain` are refused, and nothing has begun."""
    mine, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    terminal = terminal_with()
    mine.run_until_complete(terminal.open())
    for verb in (terminal.close, terminal.drain):
        with pytest.raises(WrongLoop, match="another loop of this thread"):
            other.run_until_complete(verb())
    mine.run_until_complete(terminal.bus.publish(Tick()))
    mine.run_until_complete(terminal.close())
    mine.close()
    other.close()


# Logs that fail


async def test_a_log_that_fails_does_not_stop_a_close() -> None:
    """Everything is left, and the report is given."""
    left: list[int] = []

    class Resource:
        pass

    registry = MessageRegistry(event_base=Event)

    @registry.factory(lifetime="singleton")
    async def resource() -> AsyncIterator[Resource]:
        yield Resource()
        left.append(1)

    @registry.register
    async def handle(tick: Tick, resource: Resource) -> None:
        await asyncio.Event().wait()

    terminal = BusTerminal(registry)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    with failing_log():
        async with terminal.scope():
            running = terminal.bus.emit(Tick(0), key="box")
            terminal.bus.emit(Tick(1), key="box")
            await asyncio.sleep(0)
            await asyncio.create_task(terminal.close(timeout=1))
    assert left == [1]
    assert running.done()
    assert {type(each["exception"]) for each in loop.uncaught} == {LookupError}
    loop.uncaught.clear()
    assert_balanced(terminal.stats())


class Key:
    """A key that can become one that cannot be looked up."""

    broken = False

    def __hash__(self) -> int:
        if self.broken:
            raise LookupError
        return 1

    def __eq__(self, other: object) -> bool:
        return self is other


async def test_a_key_that_breaks_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    """Messages for other mailboxes go on, delayed ones too, and all are counted."""
    heard: list[int] = []

    async def handle(tick: Tick) -> None:
        heard.append(tick.number)
        if tick.number < 10:
            keys[tick.number].broken = True

    keys = [Key(), Key()]
    async with terminal_with(handle) as terminal:
        for number, key in enumerate(keys):
            terminal.bus.emit(Tick(number), key=key)
            terminal.bus.emit(Tick(number + 10), key=key, delay=1)
        terminal.bus.emit(Tick(20), delay=2)
        await asyncio.sleep(3)
        await terminal.drain()
        assert sorted(heard) == [0, 1, 10, 11, 20]
        assert_balanced(terminal.stats())
    assert "has changed while it named a mailbox" in caplog.text


# Places


async def test_an_offer_whose_scope_has_ended_gives_its_place_back() -> None:
    """It raises, and the next in line has the place."""
    gate = asyncio.Event()

    async def handle(tick: Tick) -> None:
        await gate.wait()

    async with terminal_with(handle, mailbox=MailboxPolicy(1)) as terminal:
        terminal.bus.emit(Tick(0), key="box")
        await asyncio.sleep(0)
        terminal.bus.emit(Tick(1), key="box")
        async with terminal.scope("other", hold_emits=True) as scope:
            late = asyncio.create_task(scope.bus.offer(Tick(2), key="box"))
            await asyncio.sleep(0)
        after = asyncio.create_task(terminal.bus.offer(Tick(3), key="box"))
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(ScopeClosed):
            await late
        await (await after).wait()
        assert terminal.stats().handled == 3


async def test_an_offer_that_is_held_lets_the_line_go_on() -> None:
    """Who stands behind it does not wait for the block to end."""
    gate = asyncio.Event()

    async def handle(tick: Tick) -> None:
        await gate.wait()

    async with terminal_with(handle, mailbox=MailboxPolicy(2)) as terminal:
        terminal.bus.emit(Tick(0), key="box")
        await asyncio.sleep(0)
        for number in (1, 2):
            terminal.bus.emit(Tick(number), key="box")
        async with terminal.scope("other", hold_emits=True) as scope:
            held = asyncio.create_task(scope.bus.offer(Tick(3), key="box"))
            await asyncio.sleep(0)
            behind = asyncio.create_task(terminal.bus.offer(Tick(4), key="box"))
            await asyncio.sleep(0)
            gate.set()
            await held
            await (await behind).wait()
        assert terminal.stats().emitted == 5


async def test_a_promised_place_is_kept_whatever_others_may_queue() -> None:
    """A type with a larger capacity takes no place that a smaller one was promised."""
    heard: list[Event] = []

    async def handle(event: Tick | Other) -> None:
        heard.append(event)

    policies = {Tick: MailboxPolicy(1), Other: MailboxPolicy(10)}
    async with terminal_with(handle, mailbox=policies) as terminal:
        async with terminal.scope("box", hold_emits=True) as scope:
            scope.bus.emit(Tick(1))
            scope.bus.emit(Tick(2), key="elsewhere")
            terminal.bus.emit(Other(3), key="box")
        await terminal.drain()
        assert terminal.stats().handled == 3
    assert len(heard) == 3


async def test_a_held_message_finds_the_mailbox_of_its_name() -> None:
    """Even if it took no place there, and the mailbox was empty meanwhile."""
    at_once: list[int] = []
    running = 0

    async def handle(tick: Tick) -> None:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(1)
        running -= 1

    async with terminal_with(handle, mailbox=MailboxPolicy(overflow="drop_newest")) as terminal:
        async with terminal.scope(hold_emits=True) as scope:
            scope.bus.emit(Tick(1), key="box")
            await terminal.bus.emit(Tick(2), key="box").wait()
            await asyncio.sleep(0)
            terminal.bus.emit(Tick(3), key="box")
        terminal.bus.emit(Tick(4), key="box")
        await terminal.drain()
    assert at_once == [1, 1, 1, 1]
    assert terminal.scope().core.mailbox_names() == ()


async def test_refused_verbs_leave_no_mailbox_behind() -> None:
    """A mailbox is made for what is accepted, and forgotten after it."""

    async def handle(tick: Tick, bus: EventBus[Event]) -> None:
        bus.emit(Tick(tick.number + 1), key=("next", tick.number))

    wrong: list[dict[str, Any]] = [{"ttl": -1}, {"delay": "x"}, {"callback": 3}]
    async with terminal_with(handle, max_hops=3) as terminal:
        for number, options in enumerate(wrong):
            with pytest.raises((TypeError, ValueError)):
                terminal.bus.emit(Tick(), key=number, **options)
            with pytest.raises((TypeError, ValueError)):
                await terminal.bus.offer(Tick(), key=number, **options)
        terminal.bus.emit(Tick())
        await terminal.drain()
        await asyncio.sleep(0)
        assert terminal.scope().core.mailbox_names() == ()


async def test_drains_in_vain_leave_nothing() -> None:
    """What gave up waiting for quiet is not kept until there is some."""
    gate = asyncio.Event()

    async def handle(tick: Tick) -> None:
        await gate.wait()

    async with terminal_with(handle) as terminal:
        terminal.bus.emit(Tick())
        for _ in range(50):
            with pytest.raises(TimeoutError):
                await terminal.drain(timeout=1)
        gc.collect()
        assert sum(isinstance(each, asyncio.Future) for each in gc.get_objects()) < 25
        gate.set()


def test_a_bus_without_a_terminal_says_so() -> None:
    """One that was made by force is no way into the core."""
    bus: EventBus[Event] = EventBus.__new__(EventBus)  # pyright: ignore[reportUnknownVariableType]
    for verb in (bus.emit, bus.publish, bus.offer, bus.sink):
        with pytest.raises(TypeError, match="has no terminal"):
            verb(Tick())
    with pytest.raises(TypeError, match="has no terminal"):
        _ = bus.from_thread


async def test_a_message_is_turned_away_as_what_it_is() -> None:
    """What was queued and dropped is not said never to have been queued."""

    async def handle(tick: Tick) -> None: ...

    async with terminal_with(handle, mailbox=MailboxPolicy(1, "drop_oldest")) as terminal:
        first = terminal.bus.emit(Tick(1), key="box")
        terminal.bus.emit(Tick(2), key="box")
        (letter,) = first.dead_letters
        assert "policy drops what it cannot hold: Tick(number=1) was dropped" in str(letter.error)
    with pytest.raises(TerminalClosed):
        terminal.bus.emit(Tick())
