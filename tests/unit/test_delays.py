"""Messages that come later, or not at all if they come too late."""

import asyncio
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import DeadLetter, Event, EventBus, MailboxPolicy
from runtime.errors import DeliveryFailed, MailboxFull

SIMULATED = True


class Tick(Event):
    number: int = 0


def now() -> float:
    return asyncio.get_running_loop().time()


class Clock:
    """A handler that notes when it handles what; each message takes `seconds`."""

    def __init__(self, seconds: float = 0) -> None:
        self.handled: list[tuple[float, int]] = []
        self._seconds = seconds

    async def tick(self, tick: Tick) -> None:
        self.handled.append((now(), tick.number))
        if self._seconds:
            await asyncio.sleep(self._seconds)


async def test_a_delayed_message_is_queued_later() -> None:
    """It is accepted and pending at once, and starts when its time has come, in order."""
    clock = Clock()
    async with terminal_with(clock.tick) as terminal:
        later = [terminal.bus.emit(Tick(n), delay=d) for n, d in ((1, 2.0), (2, 1.0), (3, 1.0))]
        terminal.bus.emit(Tick(0), delay=0)
        assert terminal.stats().pending == 4
        assert repr(later[0]).startswith("<Delivery delayed")
        await later[0].wait()
    assert clock.handled == [(0.0, 0), (1.0, 2), (1.0, 3), (2.0, 1)]


async def test_an_earlier_message_is_not_held_up_by_a_later_one() -> None:
    """The timer is that of the earliest, also when it comes last."""
    clock = Clock()
    async with terminal_with(clock.tick) as terminal:
        for number, delay in enumerate((30.0, 20.0, 10.0)):
            terminal.bus.emit(Tick(number), delay=delay)
        await asyncio.sleep(40)
    assert clock.handled == [(10.0, 2), (20.0, 1), (30.0, 0)]


async def test_drain_does_not_wait_for_delays() -> None:
    """Quiet is when nothing is queued or running; a close rejects what is not due."""
    clock = Clock()
    terminal = terminal_with(clock.tick)
    delivery = terminal.bus.emit(Tick(1), delay=60)
    await terminal.drain()
    assert now() == 0
    report = await terminal.close()
    assert (now(), report.undelivered) == (0, (Tick(1),))
    with pytest.raises(DeliveryFailed, match="closed"):
        await delivery.wait()
    stats = terminal.stats()
    assert (stats.emitted, stats.rejected_at_close, stats.pending) == (1, 1, 0)
    await asyncio.sleep(100)
    assert clock.handled == []


async def test_a_delay_that_ends_while_the_terminal_closes_counts() -> None:
    """As long as the close waits for a handler, what becomes due is handled."""
    clock = Clock(seconds=5)
    terminal = terminal_with(clock.tick)
    terminal.bus.emit(Tick(0))
    terminal.bus.emit(Tick(1), delay=3)
    terminal.bus.emit(Tick(2), delay=30)
    report = await terminal.close()
    assert [number for _, number in clock.handled] == [0, 1]
    assert (report.handled, report.undelivered, now()) == (2, (Tick(2),), 8.0)


async def test_a_message_that_is_due_waits_for_room() -> None:
    """Where `emit` would have been rejected it stands in line, before offers that come later."""
    clock = Clock(seconds=10)
    async with terminal_with(clock.tick, mailbox=MailboxPolicy(1)) as terminal:
        bus = terminal.bus
        bus.emit(Tick(0), key="box")
        await asyncio.sleep(0)
        bus.emit(Tick(1), key="box")
        bus.emit(Tick(2), key="box", delay=1)
        await asyncio.sleep(2)
        offered = asyncio.create_task(bus.offer(Tick(3), key="box"))
        await asyncio.sleep(1)
        with pytest.raises(MailboxFull):
            bus.emit(Tick(4), key="box")
        await offered
        await terminal.drain()
        assert terminal.stats().handled == 4
    assert [number for _, number in clock.handled] == [0, 1, 2, 3]


@pytest.mark.parametrize(("overflow", "left"), [("drop_oldest", [0, 2]), ("drop_newest", [0, 1])])
async def test_a_message_that_is_due_may_be_dropped(overflow: Any, left: list[int]) -> None:
    """A policy that drops does so when the message comes to be queued."""
    clock = Clock(seconds=10)
    async with terminal_with(clock.tick, mailbox=MailboxPolicy(1, overflow)) as terminal:
        for number, delay in enumerate((None, 1, 2)):
            terminal.bus.emit(Tick(number), key="box", delay=delay)
            await asyncio.sleep(0)
        await asyncio.sleep(3)
        await terminal.drain()
        stats = terminal.stats()
        assert (stats.emitted, stats.handled, stats.dropped) == (3, 2, 1)
    assert [number for _, number in clock.handled] == left


async def test_a_mailbox_is_kept_for_what_is_delayed() -> None:
    """What comes later finds the mailbox that it was emitted to, which is forgotten after it."""
    clock = Clock()
    async with terminal_with(clock.tick) as terminal:
        terminal.bus.emit(Tick(0), key="box")
        terminal.bus.emit(Tick(1), key="box", delay=1)
        await terminal.drain()
        assert terminal.scope().core.mailbox_names() == ("box",)
        await asyncio.sleep(2)
        assert clock.handled == [(0.0, 0), (1.0, 1)]
        assert terminal.scope().core.mailbox_names() == ()


async def test_a_message_expires_if_it_is_not_started_in_time() -> None:
    """Its handlers do not run, and it ends as expired."""
    clock = Clock(seconds=2)
    letters: list[DeadLetter] = []

    async def hear(letter: DeadLetter) -> None:
        letters.append(letter)

    async with terminal_with(clock.tick, hear) as terminal:
        terminal.bus.emit(Tick(0), key="box")
        late = terminal.bus.emit(Tick(1), key="box", ttl=2)
        in_time = await terminal.bus.offer(Tick(2), key="box", ttl=2.5)
        await in_time.wait()
        with pytest.raises(DeliveryFailed, match="expired: .* was not started within its ttl"):
            await late.wait()
        await terminal.drain()
        stats = terminal.stats()
        assert (stats.emitted, stats.handled, stats.expired) == (3, 2, 1)
    assert [(each.message, each.reason) for each in letters] == [(Tick(1), "expired")]
    assert isinstance(letters[0].error, TimeoutError)
    assert [number for _, number in clock.handled] == [0, 2]


async def test_time_in_line_counts() -> None:
    """A message that waited for room is as old as its offer."""
    clock = Clock(seconds=2)
    async with terminal_with(clock.tick, mailbox=MailboxPolicy(1)) as terminal:
        for number in range(2):
            await terminal.bus.offer(Tick(number), key="box")
            await asyncio.sleep(0)
        late = await terminal.bus.offer(Tick(2), key="box", ttl=3)
        with pytest.raises(DeliveryFailed, match="expired"):
            await late.wait()
    assert [number for _, number in clock.handled] == [0, 1]


async def test_time_to_live_begins_after_a_delay() -> None:
    """After a delay, a message has its whole time to live."""
    clock = Clock(seconds=5)
    async with terminal_with(clock.tick) as terminal:
        await terminal.bus.emit(Tick(1), delay=10, ttl=1).wait()
        assert clock.handled == [(10.0, 1)]
        terminal.bus.emit(Tick(2), key="box", delay=1, ttl=4)
        terminal.bus.emit(Tick(3), key="box", delay=1, ttl=4)
        await asyncio.sleep(2)
        await terminal.drain()
        assert terminal.stats().expired == 1


@pytest.mark.parametrize("name", ["delay", "ttl"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("1", TypeError)],
)
async def test_a_span_of_time_is_checked(name: str, value: Any, error: type[Exception]) -> None:
    """What is no number of seconds is refused, and nothing is queued."""
    async with terminal_with(Clock().tick) as terminal:
        with pytest.raises(error, match=f"{name} is a .*number of seconds"):
            terminal.bus.emit(Tick(), **{name: value})
        with pytest.raises(error, match=f"{name} is a .*number of seconds"):
            await terminal.bus.offer(Tick(), **{name: value})
        assert terminal.stats().emitted == 0


async def test_no_time_to_live_is_none() -> None:
    """With ttl=0 nothing is started, also at the very start of a loop's clock."""
    clock = Clock()
    async with terminal_with(clock.tick) as terminal:
        assert now() == 0
        with pytest.raises(DeliveryFailed, match="expired"):
            await terminal.bus.emit(Tick(), ttl=0).wait()
    assert clock.handled == []


async def test_a_chain_of_causes_has_an_end() -> None:
    """A handler that emits its own event for ever is stopped by a dead letter, not by memory."""
    seen: list[int] = []

    async def again(tick: Tick, bus: EventBus[Event]) -> None:
        seen.append(tick.number)
        bus.emit(Tick(tick.number + 1))

    letters: list[DeadLetter] = []

    async def hear(letter: DeadLetter) -> None:
        letters.append(letter)

    async with terminal_with(again, hear, max_hops=5) as terminal:
        terminal.bus.emit(Tick(0))
        await terminal.drain()
        stats = terminal.stats()
        # The first has no cause; the sixth after it has six.
        assert seen == [0, 1, 2, 3, 4, 5]
        assert (stats.emitted, stats.handled, stats.failed) == (7, 6, 1)
    assert [(each.message, each.reason) for each in letters] == [(Tick(6), "hops")]
    assert "a chain of more than 5 causes" in str(letters[0].error)


async def test_a_chain_goes_through_publish_and_actors() -> None:
    """Inline runs, and those in an actor's mailbox, belong to the chain they are part of."""

    class Inner(Event):
        number: int
        key: int = 1
        __key__ = "key"

    seen: list[int] = []

    async def outer(tick: Tick, bus: EventBus[Event]) -> None:
        await bus.publish(Inner(tick.number))

    class Actor:
        async def inner(self, inner: Inner, bus: EventBus[Event]) -> None:
            seen.append(inner.number)
            bus.emit(Tick(inner.number + 1), key="elsewhere")

    terminal = terminal_with(outer, max_hops=3)
    registry = terminal._registries[0]
    registry.register(Actor, lifetime="actor")
    async with terminal:
        terminal.bus.emit(Tick(0))
        await terminal.drain()
        assert seen == [0, 1, 2, 3]
        assert terminal.stats().failed == 1


async def test_a_delay_starts_a_chain_anew() -> None:
    """A timer that sets itself again is no runaway; neither is one without a limit."""
    seen: list[int] = []

    async def again(tick: Tick, bus: EventBus[Event]) -> None:
        seen.append(tick.number)
        if tick.number < 20:
            bus.emit(Tick(tick.number + 1), delay=1)

    async with terminal_with(again, max_hops=2) as terminal:
        terminal.bus.emit(Tick(0))
        await asyncio.sleep(30)
        assert terminal.stats().failed == 0
    assert seen == list(range(21))


async def test_no_limit_is_no_limit() -> None:
    """With max_hops=None a chain goes on."""

    async def again(tick: Tick, bus: EventBus[Event]) -> None:
        if tick.number < 20_000:
            bus.emit(Tick(tick.number + 1))

    async with terminal_with(again, max_hops=None) as terminal:
        terminal.bus.emit(Tick(0))
        await terminal.drain()
        assert terminal.stats().handled == 20_001
    with pytest.raises(ValueError, match="max_hops must be at least 0 and less than .*, not -1"):
        terminal_with(max_hops=-1)
