"""F: what a close finishes, refuses and cuts off, and in which order it leaves things."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from reliability.support import (
    FAILURES,
    Other,
    Work,
    assert_ledger,
    make_terminal,
    number_of,
    proven,
    turns,
)

from runtime import BusTerminal, DeadLetter, Event, EventBus, MailboxPolicy, MessageRegistry
from runtime.errors import DeliveryFailed, TerminalClosed


class Pipe:
    """A sink that notes when it is closed."""

    def __init__(self, order: list[str]) -> None:
        self.order = order

    async def sink(self, records: object) -> None:
        """Keep nothing."""

    async def close(self) -> None:
        """Take a second."""
        await asyncio.sleep(1)
        self.order.append("sink")


class Pool:
    """A singleton."""


@pytest.mark.parametrize("key", [None, "box"], ids=["pool", "mailbox"])
async def test_f1_finishes_what_is_queued(key: str | None) -> None:
    """Refuse from outside at once, handle the 200 that are queued, leave singletons, then sinks."""
    order: list[str] = []
    registry = MessageRegistry(event_base=Event)

    @registry.factory(lifetime="singleton")
    async def pool() -> AsyncIterator[Pool]:
        yield Pool()
        await asyncio.sleep(1)
        order.append("singleton")

    @registry.register
    async def handle(work: Work, pool: Pool) -> None:
        await asyncio.sleep(0.1)
        order.append(f"{work.number}")

    terminal = BusTerminal(registry, sink=Pipe(order), concurrency=1)
    await terminal.open()
    for number in range(200):
        terminal.bus.emit(Work(number), key=key)
    await asyncio.sleep(0.5)
    closing = asyncio.create_task(terminal.close())
    await turns(2)
    refused = Work(200)
    with pytest.raises(TerminalClosed) as caught:
        terminal.bus.emit(refused)
    assert caught.value.message is refused
    for verb in (terminal.bus.publish, terminal.bus.offer):
        with pytest.raises(TerminalClosed) as caught:
            await verb(refused)
        assert caught.value.message is refused
    with pytest.raises(TerminalClosed) as caught:
        await terminal.bus.sink(refused)
    assert caught.value.message == (refused,)
    report = await closing
    assert order == [*map(str, range(200)), "singleton", "sink"]
    assert (report.handled, report.failed, report.undelivered) == (200, 0, ())
    assert_ledger(terminal.stats(), handled=200, pending=0)


async def test_f2_the_thousandth_is_rejected() -> None:
    """A close finishes the 999 that are queued, and takes no other one."""
    handled: list[int] = []

    async def handle(work: Work) -> None:
        await asyncio.sleep(0)
        handled.append(work.number)

    terminal = make_terminal(handle)
    for number in range(999):
        terminal.bus.emit(Work(number), key="box")
    closing = asyncio.create_task(terminal.close())
    await turns(2)
    late = Work(999)
    with pytest.raises(TerminalClosed, match="Work\\(number=999") as caught:
        terminal.bus.emit(late, key="box")
    assert caught.value.message is late
    assert (await closing).handled == 999
    assert handled == list(range(999))
    assert_ledger(terminal.stats(), handled=999, rejected_at_close=0, pending=0)


async def test_f3_bound(expected_logs: list[str]) -> None:
    """At its bound of 30 s a close cuts off what needs 60 s; what that prevents is told.

    The scenario calls the reason shutdown; the design's word is closed.
    """
    expected_logs += [FAILURES, "with 3 messages undelivered"]
    heard: list[DeadLetter] = []
    unwound: list[float] = []
    loop = asyncio.get_running_loop()

    async def slow(work: Work) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.5)
            unwound.append(loop.time())

    async def quick(other: Other) -> None:
        await asyncio.sleep(29)

    def hear(letter: DeadLetter) -> None:
        heard.append(letter)

    terminal = make_terminal(slow, quick, hear)
    running, *queued = [terminal.bus.emit(Work(number), key="box") for number in range(3)]
    delayed = terminal.bus.emit(Work(3), delay=45)
    in_time = terminal.bus.emit(Other(), key="other")
    began = loop.time()
    report = await terminal.close(timeout=30)
    assert loop.time() - began == report.seconds == 30.5
    assert unwound == [began + 30.5]
    await in_time.wait()
    assert report.undelivered == (Work(3), Work(1), Work(2))
    assert (report.handled, report.failed, report.stuck) == (1, 1, ())
    assert {(letter.message, letter.reason) for letter in heard} == {
        (Work(number), "closed") for number in range(4)
    }
    assert len(heard) == 4
    for each in (running, *queued, delayed):
        with pytest.raises(DeliveryFailed, match="closed"):
            await each.wait()
    assert_ledger(terminal.stats(), handled=1, failed=1, rejected_at_close=3, pending=0)


async def test_f4_blocked_producers_wake() -> None:
    """Whoever waits for room from outside is refused at once; a handler's own offer goes on."""
    handled: list[int] = []

    async def handle(work: Work) -> None:
        await asyncio.sleep(7)
        handled.append(work.number)

    async def produce(other: Other, bus: EventBus[Event]) -> None:
        await bus.offer(Work(100 + other.number), key="box")

    loop = asyncio.get_running_loop()
    options = {"mailbox": {Work: MailboxPolicy(capacity=1)}}
    async with proven(handle, produce, **options) as terminal:
        terminal.bus.emit(Work(0), key="box")
        await asyncio.sleep(1)
        terminal.bus.emit(Work(1), key="box")
        offers = [
            asyncio.create_task(terminal.bus.offer(Work(number), key="box"))
            for number in range(2, 22)
        ]
        await turns(2)
        for number in range(2):
            terminal.bus.emit(Other(number))
        await asyncio.sleep(1)
        began = loop.time()
        closing = asyncio.create_task(terminal.close())
        refusals = await asyncio.gather(*offers, return_exceptions=True)
        assert loop.time() == began
        for number, refusal in enumerate(refusals, 2):
            assert isinstance(refusal, TerminalClosed)
            assert refusal.message == Work(number)
        report = await closing
        assert loop.time() - began == report.seconds == 26
    assert handled[:2] == [0, 1]
    assert sorted(handled[2:]) == [100, 101]
    assert_ledger(terminal.stats(), emitted=6, handled=6)


async def test_f4_offers_from_inside_end_at_the_deadline(expected_logs: list[str]) -> None:
    """What a handler has begun to offer is refused then, and what is due in line is rejected."""
    expected_logs += [FAILURES, "with 3 messages undelivered"]
    offers: list[asyncio.Task[object]] = []

    async def handle(work: Work) -> None:
        await asyncio.sleep(60)

    async def produce(other: Other, bus: EventBus[Event]) -> None:
        # Tasks that outlive their handler, and are nobody's to cancel.
        works = map(Work, range(2, 4))
        offers.extend(asyncio.create_task(bus.offer(work, key="box")) for work in works)
        await turns(2)

    terminal = make_terminal(handle, produce, mailbox=MailboxPolicy(capacity=1))
    terminal.bus.emit(Work(0), key="box")
    await turns(2)
    terminal.bus.emit(Work(1), key="box")
    for number in range(4, 6):
        terminal.bus.emit(Work(number), key="box", delay=1)
    await terminal.bus.emit(Other()).wait()
    await asyncio.sleep(2)
    report = await terminal.close(timeout=5)
    assert report.seconds == 5
    refusals = await asyncio.gather(*offers, return_exceptions=True)
    assert [each.message for each in refusals if isinstance(each, TerminalClosed)] == [
        Work(2),
        Work(3),
    ]
    assert sorted(map(number_of, report.undelivered)) == [1, 4, 5]
    assert_ledger(terminal.stats(), handled=1, failed=1, rejected_at_close=3, pending=0)
