"""I: delays, timeouts, and handlers that block, on the loop's own clock."""

import asyncio
import logging
import time
from typing import Any

import pytest
from reliability.support import Other, Work, assert_ledger, make_terminal, number_of, proven, turns

from runtime import Command, Event, EventBus, MailboxPolicy
from runtime.errors import AskTimeout


async def test_i1_wall_clock_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delay ends at exactly 1.0 s of the loop's clock, whatever becomes of the wall clock.

    The scenario's `after` is the design's `delay`.
    """
    loop = asyncio.get_running_loop()
    ended: list[tuple[int, float]] = []
    wall_clock = time.time

    async def handle(work: Work) -> None:
        ended.append((work.number, loop.time() - began))

    async with proven(handle) as terminal:
        await asyncio.sleep(0.3)
        began = loop.time()
        terminal.bus.emit(Work(0), delay=1.0)
        monkeypatch.setattr(time, "time", lambda: wall_clock() - 3600)
        terminal.bus.emit(Work(1), delay=0.5, key="box")
        await asyncio.sleep(0.75)
        monkeypatch.setattr(time, "time", lambda: wall_clock() + 3600)
        assert ended == [(1, 0.5)]
        await asyncio.sleep(0.25)
        await turns(3)
        assert ended == [(1, 0.5), (0, 1.0)]
    assert_ledger(terminal.stats(), handled=2)


@pytest.mark.parametrize("key", [None, "box"], ids=["pool", "mailbox"])
async def test_i1_order_of_equal_delays(key: str | None) -> None:
    """Messages that are due at one moment are queued in the order in which they were emitted."""
    order: list[int] = []

    async def handle(work: Work) -> None:
        order.append(work.number)
        await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    async with proven(handle, concurrency=1) as terminal:
        due = loop.time() + 4
        for number in range(100):
            if number % 10 == 0:
                await asyncio.sleep(0.25)
            # Of two that are due at one moment, the later has been given the shorter delay.
            terminal.bus.emit(Work(number), delay=due - loop.time(), key=key)
        terminal.bus.emit(Work(-1), delay=0, key=key)
        await asyncio.sleep(2)
        await terminal.drain()
    assert order == [-1, *range(100)]
    assert_ledger(terminal.stats(), handled=101)


@pytest.mark.parametrize("capacity", [1, 2, 3])
async def test_i1_waits_in_line_when_due(capacity: int) -> None:
    """A message whose mailbox is full when it is due waits for room, behind who waits already."""
    gate = asyncio.Event()
    order: list[int] = []

    async def handle(work: Work) -> None:
        await gate.wait()
        order.append(work.number)

    async with proven(handle, mailbox=MailboxPolicy(capacity=capacity)) as terminal:
        terminal.bus.emit(Work(0), key="box")
        await turns(2)
        for number in range(1, capacity + 1):
            terminal.bus.emit(Work(number), key="box")
        waiting = [asyncio.create_task(terminal.bus.offer(Work(10), key="box"))]
        for number in range(11, 13):
            terminal.bus.emit(Work(number), key="box", delay=2)
        await asyncio.sleep(3)
        waiting.append(asyncio.create_task(terminal.bus.offer(Work(13), key="box")))
        await turns(2)
        assert_ledger(terminal.stats(), emitted=capacity + 3, pending=capacity + 3)
        gate.set()
        await asyncio.gather(*waiting)
        await terminal.drain()
    assert order == [*range(capacity + 1), *range(10, 14)]
    assert_ledger(terminal.stats(), handled=capacity + 5)


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", 2), ("drop_newest", 1)])
async def test_i1_is_dropped_when_due(overflow: Any, kept: int, expected_logs: list[str]) -> None:
    """Where a full mailbox drops, a message that is due is treated as one that is emitted."""
    expected_logs += [r"Work .* was not handled \(overflow\)"]
    gate = asyncio.Event()
    order: list[int] = []

    async def handle(work: Work) -> None:
        await gate.wait()
        order.append(work.number)

    policy = MailboxPolicy(capacity=1, overflow=overflow)
    async with proven(handle, mailbox=policy) as terminal:
        terminal.bus.emit(Work(0), key="box")
        await turns(2)
        terminal.bus.emit(Work(1), key="box")
        terminal.bus.emit(Work(2), key="box", delay=2)
        await asyncio.sleep(2)
        await turns(1)
        assert_ledger(terminal.stats(), dropped=1, pending=2)
        gate.set()
    assert order == [0, kept]
    assert_ledger(terminal.stats(), handled=2, dropped=1)


async def test_i1_delay_restarts_the_count_of_causes(expected_logs: list[str]) -> None:
    """A chain of causes with a delay in it goes on for ever; one without ends at max_hops."""
    expected_logs += [r"Other .* was not handled \(hops\)"]
    handled: list[Event] = []

    async def periodic(work: Work, bus: EventBus[Event]) -> None:
        handled.append(work)
        if work.number < 50:
            bus.emit(Work(work.number + 1), delay=1 if work.number % 3 == 0 else None)

    async def runaway(other: Other, bus: EventBus[Event]) -> None:
        handled.append(other)
        bus.emit(Other(other.number + 1))

    async with proven(periodic, runaway, max_hops=3) as terminal:
        terminal.bus.emit(Work(0))
        await asyncio.sleep(20)
        terminal.bus.emit(Other(0), delay=1)
        await asyncio.sleep(2)
        await terminal.drain()
    assert handled == [Work(number) for number in range(51)] + [Other(n) for n in range(4)]
    assert_ledger(terminal.stats(), handled=55, failed=1)


async def test_i2_many_delays_then_a_close(expected_logs: list[str]) -> None:
    """All 10,000 are rejected by the close, none is handled after it, and no timer is left.

    The scenario has ten times as many, which is for the stress tests.
    """
    expected_logs += ["with 10000 messages undelivered"]
    handled: list[int] = []

    async def handle(work: Work) -> None:
        handled.append(work.number)

    loop: Any = asyncio.get_running_loop()
    terminal = make_terminal(handle)
    for number in range(10_000):
        terminal.bus.emit(Work(number), key=number % 7 or None, delay=1 + number * 37 % 1000)
    report = await terminal.close()
    assert report.seconds == 0
    numbers = [number_of(each) for each in report.undelivered]
    assert sorted(numbers) == list(range(10_000))
    delays = [1 + each * 37 % 1000 for each in numbers]
    assert delays == sorted(delays)
    assert_ledger(terminal.stats(), rejected_at_close=10_000, pending=0)
    assert [each for each in loop._scheduled if not each.cancelled()] == []
    await asyncio.sleep(2000)
    assert handled == []
    assert_ledger(terminal.stats(), emitted=10_000, rejected_at_close=10_000)


class Query(Command[int]):
    """A command that is answered after so many seconds."""

    seconds: float = 0.0


async def answer(query: Query) -> int:
    """Answer a query."""
    await asyncio.sleep(query.seconds)
    return 42


def block(seconds: float) -> None:
    """Do not let the loop go round for so long."""
    loop: Any = asyncio.get_running_loop()
    loop.block(seconds)


@pytest.mark.parametrize("key", [None, "box"], ids=["pool", "mailbox"])
async def test_i3_a_handler_that_blocks_is_reported(
    key: str | None, expected_logs: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """By its name and for how long; once a minute, each handler by itself."""
    expected_logs += ["blocked the event loop"]

    def block_at_once(work: Work) -> None:
        block(0.5)

    async def block_later(work: Work) -> None:
        await asyncio.sleep(0.25)
        block(0.25)

    async with proven(block_at_once, block_later) as terminal:
        for number in range(100):
            terminal.bus.emit(Work(number), key=key)
            await terminal.drain()
        counters = terminal.counters().by_handler
    assert_ledger(terminal.stats(), handled=100)
    assert [(each.slow, each.longest) for each in counters.values()] == [(100, 0.5), (100, 0.25)]
    # A work takes one second: those of the first minute, and of the second.
    reports = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert [each.split(" blocked the event loop for ")[0] for each in reports] == [*counters] * 2
    assert [f"{ms} ms" in each for ms, each in zip((500, 250) * 2, reports, strict=True)] == [
        True
    ] * 4
    assert ["59 more times" in each for each in reports] == [False, False, True, True]


@pytest.mark.parametrize("key", [None, "box"], ids=["pool", "mailbox"])
async def test_i3_ask_timeouts_count_from_the_call(
    key: str | None, expected_logs: list[str]
) -> None:
    """Time in which the loop was blocked counts after a call, and not before it."""
    expected_logs += ["blocked the event loop", r"was not handled|nobody waits for the reply"]
    loop = asyncio.get_running_loop()
    ended: dict[str, float] = {}

    async def ask(bus: EventBus[Event], name: str, seconds: float, timeout: float) -> None:
        with pytest.raises(AskTimeout):
            await bus.ask(Query(seconds), key=key and f"{key}:{name}", timeout=timeout)
        ended[name] = loop.time() - began

    async def block_and_ask(work: Work, bus: EventBus[Event]) -> None:
        block(0.5)
        await ask(bus, "after", 10, 1.0)

    async with proven(block_and_ask, answer) as terminal:
        began = loop.time()
        asks = [
            asyncio.create_task(ask(terminal.bus, "before", 10, 1.0)),
            asyncio.create_task(ask(terminal.bus, "meanwhile", 10, 0.25)),
        ]
        await turns(2)
        terminal.bus.emit(Work(0))
        await asyncio.gather(*asks)
        await terminal.drain()
    # What was due while the loop was blocked ends as soon as it goes round.
    assert ended == {"meanwhile": 0.5, "before": 1.0, "after": 1.5}
