"""B: those who stand in line for room in a full mailbox."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from reliability.support import Other, Work, assert_ledger, hold_until, proven, turns

from runtime import BusTerminal, Event, EventBus, MailboxPolicy
from runtime.errors import DeadlockError, MailboxFull
from runtime.testing import Simulate

both_kinds = pytest.mark.parametrize("key", [None, "box"], ids=["pool", "mailbox"])


CAPACITY = 3


async def stand_in_line(key: str | None) -> list[int]:
    """Let 1,000 and more wait while others emit: by how much each was served too early."""
    gate, started, handled = asyncio.Event(), list[Any](), list[int]()
    joined: list[int] = []
    taken: list[int] = []
    refused = 0

    async def handle(work: Work) -> None:
        await turns(work.number % 3)
        handled.append(work.number)

    async def wait_in_line(number: int) -> None:
        await turns(number % 7)
        joined.append(number)
        await terminal.bus.offer(Work(number), key=key)
        taken.append(number)

    options = {"mailbox": MailboxPolicy(capacity=CAPACITY), "concurrency": 1}
    async with proven(hold_until(gate, started), handle, **options) as terminal:
        terminal.bus.emit(Other(), key=key)
        await turns(5)
        waiters = [asyncio.create_task(wait_in_line(number)) for number in range(1_000)]
        await turns(20)
        assert len(joined) == 1_000
        gate.set()
        # As long as somebody waits who has not been given a place yet.
        while len(joined) - len(taken) > CAPACITY:
            with pytest.raises(MailboxFull):
                terminal.bus.emit(Work(-1), key=key)
            refused += 1
            if refused % 10 == 0 and refused <= 2_000:
                waiters.append(asyncio.create_task(wait_in_line(len(waiters))))
            await asyncio.sleep(0)
        await asyncio.gather(*waiters)
        await terminal.drain()
        assert len(joined) > 1_050
        assert_ledger(terminal.stats(), emitted=len(joined) + 1, handled=len(joined) + 1)
    turn = {number: index for index, number in enumerate(joined)}
    assert sorted(handled) == sorted(joined)
    return [turn[number] - index for index, number in enumerate(handled)]


@both_kinds
def test_b5_line_is_served_in_order(simulate: Simulate, key: str | None) -> None:
    """Who came first is served first, and no newcomer has a place that somebody waits for.

    The design has no watermarks: a place is given away as soon as it is free.
    """
    assert {*simulate(stand_in_line(key), seed=None)} == {0}


@both_kinds
async def test_b5_line_is_served_in_order_whatever_the_schedule(key: str | None) -> None:
    """Places are given in order; only those who have been given one in one turn may swap theirs.

    They take it in their own next steps, which a loop runs in order, and a seed does not.
    """
    assert max(abs(early) for early in await stand_in_line(key)) < CAPACITY


@both_kinds
async def test_b6_cancelled_waiters_lose_and_duplicate_nothing(
    key: str | None, runtime_seed: int
) -> None:
    """After 10,000 random cancellations everything that was taken is handled once, nothing else."""
    drawn = random.Random(runtime_seed)
    handled: list[int] = []
    taken: list[int] = []
    cancelled: list[int] = []

    async def handle(work: Work) -> None:
        await turns(drawn.randrange(3))
        handled.append(work.number)

    async def wait_in_line(number: int) -> None:
        try:
            await terminal.bus.offer(Work(number), key=key)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        taken.append(number)

    options = {"mailbox": MailboxPolicy(capacity=3), "concurrency": 2}
    async with proven(handle, **options) as terminal:
        waiting: list[asyncio.Task[None]] = []
        number = 0
        while len(cancelled) < 10_000:
            for _ in range(drawn.randrange(40)):
                waiting.append(asyncio.create_task(wait_in_line(number)))
                number += 1
            await turns(drawn.randrange(1, 3))
            drawn.shuffle(waiting)
            for each in waiting[: drawn.randrange(len(waiting) + 1)]:
                each.cancel()
            waiting = [each for each in waiting if not each.done()]
        await asyncio.gather(*waiting, return_exceptions=True)
        await terminal.drain()
        assert sorted(handled) == sorted(taken)
        assert len(handled) == len({*handled}) > 100
        assert not {*taken} & {*cancelled}
        assert_ledger(terminal.stats(), emitted=len(taken), handled=len(taken))
        # No place has been lost, and none has been given away twice.
        await assert_room(terminal, key, 3)


async def assert_room(terminal: BusTerminal[Event], key: str | None, capacity: int) -> None:
    """Assert that a mailbox which nobody uses takes as many messages as it should."""
    before = terminal.stats().emitted
    for number in range(capacity):
        terminal.bus.emit(Work(number, producer=1), key=key)
    with pytest.raises(MailboxFull):
        terminal.bus.emit(Work(capacity, producer=1), key=key)
    await terminal.drain()
    assert terminal.stats().emitted == before + capacity


Alignment = Callable[[asyncio.Event, asyncio.Task[Any]], None]


def in_turns(open_after: int, cancel_after: int, *, cancel_first: bool) -> Alignment:
    """Open the gate and cancel the waiter after so many turns, in one order if in the same."""

    def align(gate: asyncio.Event, waiter: asyncio.Task[Any]) -> None:
        loop = asyncio.get_running_loop()

        def after(count: int, call: Callable[[], object]) -> None:
            if count == 0:
                call()
            else:
                loop.call_soon(after, count - 1, call)

        steps: list[tuple[int, Callable[[], object]]] = [
            (open_after, gate.set),
            (cancel_after, waiter.cancel),
        ]
        for count, call in reversed(steps) if cancel_first else steps:
            loop.call_soon(after, count, call)

    return align


ALIGNMENTS = [
    in_turns(opened, cancelled, cancel_first=cancel_first)
    for opened, cancelled in [*((0, each) for each in range(9)), *((n, 0) for n in range(1, 4))]
    for cancel_first in (False, True)
]


async def race(align: Alignment | None, key: str | None, seen: Counter[str]) -> None:
    """Let a waiter be cancelled about when it gets room; None is in the very step that gives it."""
    gate, started, handled = asyncio.Event(), list[Any](), list[int]()

    def handle(work: Work) -> None:
        if work.number == 1 and align is None:
            # Starting this has made the room.
            waiter.cancel()
        handled.append(work.number)

    options = {"mailbox": MailboxPolicy(capacity=1), "concurrency": 1}
    async with proven(hold_until(gate, started), handle, **options) as terminal:
        terminal.bus.emit(Other(), key=key)
        await turns(5)
        terminal.bus.emit(Work(1), key=key)
        waiter = asyncio.create_task(terminal.bus.offer(Work(2), key=key))
        await turns(5)
        following = asyncio.create_task(terminal.bus.offer(Work(3), key=key))
        await turns(5)
        assert terminal.stats().emitted == 2
        if align is None:
            gate.set()
        else:
            align(gate, waiter)
        await asyncio.wait([waiter, following])
        await terminal.drain()
        if waiter.cancelled():
            seen["cancelled"] += 1
            assert handled == [1, 3]
        else:
            seen["queued"] += 1
            assert waiter.result().done()
            assert handled == [1, 2, 3]
        assert_ledger(terminal.stats(), emitted=1 + len(handled), handled=1 + len(handled))
        await assert_room(terminal, key, 1)


@both_kinds
async def test_b7_cancellation_and_room_in_one_turn(key: str | None) -> None:
    """However they meet, the message is queued and `offer` returns, or neither.

    Every alignment in turns, and in the order within a turn, is gone through.
    """
    seen: Counter[str] = Counter()
    for align in ALIGNMENTS:
        await race(align, key, seen)
    assert min(seen["cancelled"], seen["queued"]) > 0
    await race(None, key, seen)
    assert seen.total() == len(ALIGNMENTS) + 1


async def test_b7_deadline_and_room_at_one_moment() -> None:
    """A timeout that fires when the room comes is one or the other too, in either order."""
    for timeout_first in (False, True):
        gate, started, handled = asyncio.Event(), list[Any](), list[int]()

        def handle(work: Work, handled: list[int] = handled) -> None:
            handled.append(work.number)

        async def wait_in_line(gate: asyncio.Event = gate, first: bool = timeout_first) -> bool:
            loop = asyncio.get_running_loop()
            moment = loop.time() + 1
            if not first:
                loop.call_at(moment, gate.set)
            try:
                async with asyncio.timeout_at(moment):
                    if first:
                        loop.call_at(moment, gate.set)
                    await terminal.bus.offer(Work(2), key="box")
            except TimeoutError:
                return False
            return True

        policy = MailboxPolicy(capacity=1)
        async with proven(hold_until(gate, started), handle, mailbox=policy) as terminal:
            terminal.bus.emit(Other(), key="box")
            await turns(5)
            terminal.bus.emit(Work(1), key="box")
            queued = await wait_in_line()
            await terminal.drain()
            assert handled == ([1, 2] if queued else [1])
            assert_ledger(terminal.stats(), emitted=2 + queued, handled=2 + queued)
            await assert_room(terminal, "box", 1)


async def test_b12_handler_that_emits_to_its_own_full_mailbox() -> None:
    """`emit` raises at once, and so does an `offer` that could never end; the handler goes on."""
    log: list[object] = []

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        if work.number > 0 or work.producer > 0:
            log.append(work.number)
            return
        for number in range(1, 4):
            bus.emit(Work(number))
        ticked: list[bool] = []
        asyncio.get_running_loop().call_soon(ticked.append, True)
        with pytest.raises(MailboxFull):
            bus.emit(Work(4))
        with pytest.raises(DeadlockError, match="its own mailbox 'box'"):
            await bus.offer(Work(5))
        assert ticked == []
        await asyncio.sleep(0)
        log.append("went on")

    async with proven(handle, mailbox=MailboxPolicy(capacity=3)) as terminal:
        terminal.bus.emit(Work(0), key="box")
        await terminal.drain()
        assert log == ["went on", 1, 2, 3]
        assert_ledger(terminal.stats(), emitted=4, handled=4)
        await assert_room(terminal, "box", 3)


@pytest.mark.parametrize(("offering", "concurrency"), [(1, 2), (2, 2), (2, 1)])
async def test_b12_handler_that_offers_to_its_own_full_pool(
    offering: int, concurrency: int
) -> None:
    """However many of those that the pool runs at once wait for room in it, they get it."""
    handled: list[int] = []

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        if work.number < offering:
            for number in range(10):
                await bus.offer(Work(10 * work.number + number + 10))
        else:
            await turns(1)
        handled.append(work.number)

    options = {"mailbox": MailboxPolicy(capacity=2), "concurrency": concurrency}
    async with proven(handle, **options) as terminal:
        for number in range(2):
            terminal.bus.emit(Work(number))
        await terminal.drain()
        total = 2 + 10 * offering
        assert sorted(handled) == [0, 1, *range(10, 10 + 10 * offering)]
        assert_ledger(terminal.stats(), emitted=total, handled=total)
