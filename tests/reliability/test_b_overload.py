"""B: what a full mailbox does to those who send, and what it leaves alone."""

import asyncio
from typing import Any

import pytest
from reliability.scenarios import Name, enter_all, leave_all, overload
from reliability.support import (
    Other,
    Work,
    assert_ledger,
    hold_until,
    proven,
    turns,
)

from runtime import DeadLetter, Delivery, MailboxPolicy
from runtime.errors import DeliveryFailed, MailboxFull
from runtime.policies import Overflow

OVERFLOW = r"was not handled \(overflow\)"
COUNT = 10_000


async def test_b1_producer_is_held_to_the_pace_of_its_consumer() -> None:
    """Ten times as fast, it fills the mailbox and then waits; nothing is dropped.

    The bound of memory is a stress test.
    """
    depth, seconds = await overload(COUNT, 1_024)
    assert depth == 1_024
    # What is left to do when the last message has been taken is one mailbox full.
    assert seconds == pytest.approx((COUNT - 1_024) * 0.01, abs=0.03)


@pytest.mark.parametrize("key", [None, "box"], ids=["pool", "mailbox"])
async def test_b2_full_mailbox_refuses_and_keeps_nothing(key: str | None) -> None:
    """`MailboxFull` carries the message and the capacity, and leaves no trace of the message.

    The scenario asks for the depth too: in the design it is the capacity.
    """
    gate, started, handled, called = asyncio.Event(), list[Any](), list[int](), list[object]()

    def handle(work: Work) -> None:
        handled.append(work.number)

    options = {"mailbox": MailboxPolicy(capacity=10), "concurrency": 1}
    async with proven(hold_until(gate, started), handle, **options) as terminal:
        terminal.bus.emit(Other(), key=key)
        await turns(5)
        assert len(started) == 1
        for number in range(10):
            terminal.bus.emit(Work(number), key=key)
        before = terminal.stats()
        for number in range(10, 100):
            refused = Work(number)
            with pytest.raises(MailboxFull, match="its capacity is 10") as caught:
                terminal.bus.emit(refused, key=key, callback=called.append)
            assert caught.value.message is refused
            assert caught.value.capacity == 10
        assert terminal.stats() == before
        assert_ledger(before, emitted=11, pending=11)
        gate.set()
        await terminal.drain()
        assert handled == list(range(10))
        assert called == []
        assert_ledger(terminal.stats(), emitted=11, handled=11)


@pytest.mark.parametrize("key", [None, "box"], ids=["pool", "mailbox"])
@pytest.mark.parametrize(
    ("overflow", "survivors"),
    [("drop_oldest", range(COUNT - 100, COUNT)), ("drop_newest", range(100))],
)
async def test_b3_policies_drop_what_they_say(
    overflow: Overflow, survivors: range, key: str | None, expected_logs: list[str]
) -> None:
    """Of 10,000 messages the last or the first 100 survive; each other is a dead letter.

    The design counts in one number what the scenario counts for each type.
    """
    expected_logs.append(OVERFLOW)
    gate, started, handled, dead = asyncio.Event(), list[Any](), list[int](), list[int]()

    def handle(work: Work) -> None:
        handled.append(work.number)

    def hear(letter: DeadLetter) -> None:
        assert isinstance(letter.message, Work)
        assert (letter.reason, letter.handler) == ("overflow", None)
        assert isinstance(letter.error, MailboxFull)
        assert letter.error.message is letter.message
        dead.append(letter.message.number)

    policy = MailboxPolicy(capacity=100, overflow=overflow)
    async with proven(
        hold_until(gate, started), handle, hear, mailbox=policy, concurrency=1
    ) as terminal:
        terminal.bus.emit(Other(), key=key)
        await turns(5)
        deliveries: list[Delivery] = []
        for number in range(COUNT):
            deliveries.append(terminal.bus.emit(Work(number), key=key))
            if number % 1_000 == 0:
                await asyncio.sleep(0)
            assert terminal.stats().pending <= 101
        assert_ledger(terminal.stats(), emitted=COUNT + 1, dropped=9_900, pending=101)
        gate.set()
        await terminal.drain()
        assert handled == [*survivors]
        assert dead == [number for number in range(COUNT) if number not in survivors]
        assert [each.done() for each in deliveries] == [True] * COUNT
        with pytest.raises(DeliveryFailed, match="overflow"):
            await deliveries[dead[0]].wait()
        assert_ledger(
            terminal.stats(), emitted=COUNT + 1, handled=101, dropped=9_900, dead_letters=9_900
        )


@pytest.mark.parametrize("key", [None, "box"], ids=["pool", "mailbox"])
@pytest.mark.parametrize("delay", [None, 1.5])
async def test_b11_expired_message_is_not_started(
    key: str | None, delay: float | None, expected_logs: list[str]
) -> None:
    """Its time counts from when it is queued: behind a delay, from its end."""
    expected_logs.append(r"was not handled \(expired\)")
    handled: list[int] = []
    dead: list[DeadLetter] = []

    async def occupy(other: Other) -> None:
        await asyncio.sleep(2)

    def handle(work: Work) -> None:
        handled.append(work.number)

    def hear(letter: DeadLetter) -> None:
        dead.append(letter)

    async with proven(occupy, handle, hear, concurrency=1) as terminal:
        if delay is not None:
            # The mailbox is busy from then on when the delay is over.
            terminal.bus.emit(Other(), key=key, delay=delay)
        else:
            terminal.bus.emit(Other(), key=key)
        late = Work(1)
        expiring = terminal.bus.emit(late, key=key, delay=delay, ttl=1.0)
        exact = terminal.bus.emit(Work(2), key=key, delay=delay, ttl=2.0)
        lasting = terminal.bus.emit(Work(3), key=key, delay=delay, ttl=2.5)
        with pytest.raises(DeliveryFailed, match="expired") as caught:
            await expiring.wait()
        with pytest.raises(DeliveryFailed, match="expired"):
            await exact.wait()
        await lasting.wait()
        assert handled == [3]
        await terminal.drain()
        assert caught.value.dead_letters == (dead[0],)
        assert (dead[0].message, dead[0].reason, dead[0].handler) == (late, "expired", None)
        assert len(dead) == 2
        assert_ledger(terminal.stats(), emitted=4, handled=2, expired=2, dead_letters=2)


async def test_b13_idle_scopes_cost_nothing_to_those_that_work() -> None:
    """Of 20,000 scopes that are open, 100 that emit look at nobody but themselves.

    Time and bytes are a stress test.
    """
    handled: list[int] = []
    in_use: set[int] = set()

    def handle(work: Work) -> None:
        handled.append(work.number)
        in_use.add(len(terminal.scope().core.mailbox_names()))

    async with proven(handle) as terminal:
        core = terminal.scope().core
        names = [Name() for _ in range(20_000)]
        scopes: list[Any] = [None] * len(names)
        await enter_all(terminal, names, scopes)
        assert terminal.stats().scopes == 20_000
        assert core.mailbox_names() == ()
        assert [name for name in names if name.looked_up] == []
        active = range(0, 20_000, 200)
        for number in active:
            scopes[number].bus.emit(Work(number))
        assert core.mailbox_names() == tuple(names[number] for number in active)
        assert len(asyncio.all_tasks()) <= 2
        await terminal.drain()
        assert handled == [*active]
        assert max(in_use) <= 100
        assert core.mailbox_names() == ()
        assert [number for number, name in enumerate(names) if name.looked_up] == [*active]
        await leave_all(scopes)
        assert_ledger(terminal.stats(), emitted=100, handled=100, scopes=0)
