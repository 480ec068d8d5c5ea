"""The terminal's life: open, drain, close, and what it reports."""

import asyncio
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import BusTerminal, Event, EventBus, MailboxPolicy, Stats
from runtime.errors import DeadlockError, DeliveryFailed, TerminalClosed


class Ping(Event):
    number: int = 0


def assert_balanced(stats: Stats) -> None:
    ends = stats.handled + stats.failed + stats.dropped + stats.expired + stats.rejected_at_close
    assert stats.emitted == ends + stats.pending


async def test_it_opens_at_its_first_message() -> None:
    """Without `open`, the first message freezes and binds the terminal."""
    seen: list[int] = []

    def handler(event: Ping) -> None:
        seen.append(event.number)

    published, emitted = terminal_with(handler), terminal_with(handler)
    await published.bus.publish(Ping(1))
    await emitted.bus.emit(Ping(2)).wait()
    assert seen == [1, 2]
    await published.close()
    await emitted.close()


def test_a_message_without_a_loop_is_an_error() -> None:
    """A terminal needs a running loop to open."""
    terminal = terminal_with()
    with pytest.raises(RuntimeError, match="terminal 'runtime' opens on the running event loop"):
        terminal.bus.emit(Ping())


async def test_a_terminal_never_used_can_be_drained_and_closed() -> None:
    """Nothing to do is done at once."""
    terminal = terminal_with()
    await terminal.drain()
    report = await terminal.close()
    assert (report.handled, report.failed, report.undelivered, report.stuck) == (0, 0, (), ())


def test_options_are_checked() -> None:
    """Bounds that cannot work are refused when they are given."""
    with pytest.raises(ValueError, match="concurrency must be at least 1 and less than .*, not 0"):
        terminal_with(concurrency=0)
    with pytest.raises(ValueError, match="capacity must be at least 1 and less than .*, not -5"):
        MailboxPolicy(capacity=-5)


async def test_drain_waits_for_all_that_follows() -> None:
    """Work that handlers emit is waited for as well."""
    seen: list[int] = []

    async def handler(event: Ping, bus: EventBus[Event]) -> None:
        await asyncio.sleep(0)
        seen.append(event.number)
        if event.number < 50:
            bus.emit(Ping(event.number + 1), key=event.number)

    async with terminal_with(handler) as terminal:
        terminal.bus.emit(Ping(0))
        await terminal.drain()
        assert seen == list(range(51))
        assert_balanced(terminal.stats())


async def test_drain_can_time_out_and_be_repeated() -> None:
    """A drain that gives up leaves everything as it is."""
    gate = asyncio.Event()

    async def handler(event: Ping) -> None:
        await gate.wait()

    async with terminal_with(handler) as terminal:
        terminal.bus.emit(Ping())
        with pytest.raises(TimeoutError):
            await terminal.drain(timeout=0)
        assert terminal.stats().pending == 1
        gate.set()
        await terminal.drain()
        assert terminal.stats().handled == 1


async def test_draining_inside_a_handler_is_an_error() -> None:
    """A handler that drains its own terminal would wait for itself."""

    async def handler(event: Ping, terminal: BusTerminal[Event]) -> None:
        await terminal.drain()

    async with terminal_with(handler) as terminal:
        with pytest.raises(DeliveryFailed, match="drain\\(\\) inside a handler") as caught:
            await terminal.bus.emit(Ping()).wait()
        assert isinstance(caught.value.__cause__, DeadlockError)
        # From an inline publish nobody waits in a mailbox.
        await terminal.bus.publish(Ping())


async def test_close_finishes_what_was_accepted() -> None:
    """Queued messages, and those that their handlers emit, are handled before the end."""
    seen: list[int] = []

    async def handler(event: Ping, bus: EventBus[Event]) -> None:
        await asyncio.sleep(0)
        seen.append(event.number)
        if event.number == 0:
            bus.emit(Ping(100))

    terminal = terminal_with(handler)
    for number in range(10):
        terminal.bus.emit(Ping(number), key="box")
    report = await terminal.close()
    assert seen == [*range(10), 100]
    assert (report.handled, report.undelivered) == (11, ())
    assert report.seconds >= 0
    assert_balanced(terminal.stats())


async def test_close_refuses_what_comes_from_outside() -> None:
    """While it closes, only handlers may emit; blocked producers are woken."""
    gate = asyncio.Event()

    async def handler(event: Ping, bus: EventBus[Event]) -> None:
        await gate.wait()

    terminal = terminal_with(handler, mailbox=MailboxPolicy(capacity=1))
    terminal.bus.emit(Ping(0), key="box")
    await asyncio.sleep(0)
    terminal.bus.emit(Ping(1), key="box")
    blocked = asyncio.create_task(terminal.bus.offer(Ping(2), key="box"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(terminal.close())
    await asyncio.sleep(0)
    with pytest.raises(TerminalClosed) as caught:
        await blocked
    assert caught.value.message == Ping(2)
    with pytest.raises(TerminalClosed):
        terminal.bus.emit(Ping(3))
    with pytest.raises(TerminalClosed):
        await terminal.bus.publish(Ping(3))
    gate.set()
    report = await closing
    assert report.handled == 2


async def test_close_reports_what_it_could_not_finish() -> None:
    """At the deadline, handlers are cancelled and queues rejected; each message has one fate."""
    cancelled: list[int] = []

    async def handler(event: Ping) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(event.number)
            raise

    terminal = terminal_with(handler)
    running = terminal.bus.emit(Ping(0), key="box")
    queued = [terminal.bus.emit(Ping(number), key="box") for number in range(1, 4)]
    elsewhere = terminal.bus.emit(Ping(4))
    await asyncio.sleep(0)
    report = await terminal.close(timeout=0)
    assert sorted(cancelled) == [0, 4]
    assert report.undelivered == (Ping(1), Ping(2), Ping(3))
    assert (report.failed, report.stuck) == (2, ())
    for delivery in (running, *queued, elsewhere):
        with pytest.raises(DeliveryFailed) as caught:
            await delivery.wait()
        assert [letter.reason for letter in caught.value.dead_letters] == ["closed"]
    stats = terminal.stats()
    assert (stats.failed, stats.rejected_at_close, stats.pending) == (2, 3, 0)
    assert_balanced(stats)


async def test_close_names_a_handler_that_does_not_end() -> None:
    """A handler that swallows its cancellation is named, and does not hold the close up."""
    gate = asyncio.Event()

    async def stubborn(event: Ping) -> None:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue

    terminal = terminal_with(stubborn)
    terminal.bus.emit(Ping(0), key="box")
    terminal.bus.emit(Ping(1), key="box")
    await asyncio.sleep(0)
    report = await terminal.close(timeout=0)
    (stuck,) = report.stuck
    assert stuck.name.endswith(".stubborn")
    assert "await gate.wait()" in stuck.stack
    assert str(stuck) == f"{stuck.name}\n{stuck.stack}"
    assert report.undelivered == (Ping(1),)
    assert terminal.stats().pending == 1
    assert_balanced(terminal.stats())
    gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert terminal.stats().pending == 0
    assert_balanced(terminal.stats())


async def test_close_refuses_from_its_first_moment_on() -> None:
    """Also a terminal that was never opened, before the close has had a turn of its own."""
    terminal = terminal_with()
    closing = asyncio.create_task(terminal.close())
    await asyncio.sleep(0)
    assert not closing.done()
    with pytest.raises(TerminalClosed):
        terminal.bus.emit(Ping(0))
    with pytest.raises(TerminalClosed):
        await terminal.bus.publish(Ping(0))
    with pytest.raises(TerminalClosed):
        async with terminal.scope("box") as scope:
            scope.bus.emit(Ping(0))
    assert (await closing).handled == 0
    assert_balanced(terminal.stats())


async def test_closing_a_hundred_times_is_closing_once() -> None:
    """Every caller gets the same report; one that gives up does not stop the close."""

    async def handler(event: Ping) -> None:
        await asyncio.sleep(0)

    terminal = terminal_with(handler)
    terminal.bus.emit(Ping())
    impatient = asyncio.create_task(terminal.close())
    await asyncio.sleep(0)
    impatient.cancel()
    reports = await asyncio.gather(*(terminal.close() for _ in range(100)))
    assert all(report is reports[0] for report in reports)
    assert reports[0].handled == 1
    assert await terminal.close() is reports[0]


async def test_stats_name_the_whole_ledger() -> None:
    """The stats are plain numbers under the names of the ledger."""
    async with terminal_with() as terminal, terminal.scope("a"), terminal.scope():
        await terminal.bus.publish(Ping())
        terminal.bus.emit(Ping())
        assert asdict(terminal.stats()) == {
            "emitted": 1,
            "handled": 0,
            "failed": 0,
            "dropped": 0,
            "expired": 0,
            "rejected_at_close": 0,
            "pending": 1,
            "published": 1,
            "sent": 0,
            "asked": 0,
            "sunk": 0,
            "dead_letters": 0,
            "scopes": 2,
        }


async def test_two_terminals_share_nothing() -> None:
    """A name, a key and a ledger belong to one terminal."""
    heard: list[tuple[str, int]] = []

    def make(name: str) -> Any:
        async def handler(event: Ping) -> None:
            heard.append((name, event.number))

        return handler

    async with terminal_with(make("one")) as one, terminal_with(make("two")) as two:
        one.bus.emit(Ping(1), key="box")
        two.bus.emit(Ping(2), key="box")
        await two.drain()
        assert two.stats().emitted == 1
        await one.drain()
    assert sorted(heard) == [("one", 1), ("two", 2)]


async def test_a_handler_that_gives_the_close_up_is_waited_for() -> None:
    """Only as long as it awaits the close it is excused."""
    ended: list[int] = []
    gate = asyncio.Event()

    async def handler(event: Ping, terminal: BusTerminal[Event]) -> None:
        if event.number == 0:
            await gate.wait()
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await terminal.close()
            gate.set()
            for _ in range(10):
                await asyncio.sleep(0)
        ended.append(event.number)

    terminal = terminal_with(handler)
    terminal.bus.emit(Ping(0))
    terminal.bus.emit(Ping(1))
    await asyncio.sleep(0)
    report = await terminal.close()
    assert (ended, report.handled) == ([0, 1], 2)
    assert_balanced(terminal.stats())
