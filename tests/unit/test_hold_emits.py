"""A scope that keeps what it emits back until its block has ended well."""

import asyncio
from collections.abc import Iterator

import pytest
from unit.support import terminal_with

from runtime import Delivery, Event, EventBus, MailboxPolicy
from runtime.errors import DeadlockError, DeliveryFailed, MailboxFull, ScopeClosed, TerminalClosed

SIMULATED = True


class Tick(Event):
    number: int = 0


class Order(Event):
    pass


class Heard:
    def __init__(self) -> None:
        self.numbers: list[int] = []

    async def tick(self, tick: Tick) -> None:
        self.numbers.append(tick.number)


async def test_emits_are_released_at_the_end() -> None:
    """Nothing is counted or handled inside the block; afterwards all of it, in order."""
    heard = Heard()
    async with terminal_with(heard.tick) as terminal:
        async with terminal.scope("a", hold_emits=True) as scope:
            first = scope.bus.emit(Tick(1))
            scope.bus.emit(Tick(2), key="b")
            offered = await scope.bus.offer(Tick(3))
            await terminal.drain()
            assert (terminal.stats().emitted, heard.numbers) == (0, [])
            assert repr(first).startswith("<Delivery held")
        assert terminal.stats().emitted == 3
        await first.wait()
        await offered.wait()
        await terminal.drain()
    assert sorted(heard.numbers) == [1, 2, 3]
    assert heard.numbers.index(1) < heard.numbers.index(3)


async def test_emits_of_a_block_that_fails_are_forgotten() -> None:
    """They count nowhere, nobody hears them, and whoever waits for one is told."""
    heard = Heard()
    held: list[Delivery] = []
    waiting: list[asyncio.Task[None]] = []
    async with terminal_with(heard.tick, mailbox=MailboxPolicy(2)) as terminal:
        with pytest.raises(LookupError):  # noqa: PT012
            async with terminal.scope("a", hold_emits=True) as scope:
                held += [scope.bus.emit(Tick(number)) for number in range(2)]
                waiting.append(asyncio.create_task(held[0].wait()))
                await asyncio.sleep(0)
                raise LookupError
        with pytest.raises(ScopeClosed, match="hold_emits=True has failed"):
            await waiting[0]
        assert held[1].done()
        # The places are free again.
        for number in (10, 11):
            terminal.bus.emit(Tick(number), key="a")
        await terminal.drain()
        assert terminal.stats().emitted == 2
    assert heard.numbers == [10, 11]


async def test_a_block_that_waits_for_what_it_holds_back_is_told() -> None:
    """That could not come before its end; others may wait, and so may it afterwards."""
    heard = Heard()
    async with terminal_with(heard.tick) as terminal:
        async with terminal.scope("a", hold_emits=True) as scope:
            held = scope.bus.emit(Tick(1))
            wait = held.wait()
            with pytest.raises(DeadlockError, match=r"Tick\(number=1\) is held back until"):
                await wait
            other = asyncio.create_task(held.wait())
            await asyncio.sleep(0)
        await wait
        await other
    assert heard.numbers == [1]


async def test_what_handlers_emit_in_the_scope_is_held_too() -> None:
    """An inline publish belongs to the block, with everything that its handlers emit."""
    heard = Heard()

    async def order(order: Order, bus: EventBus[Event]) -> None:
        bus.emit(Tick(1))

    async with terminal_with(heard.tick, order) as terminal:
        with pytest.raises(LookupError):  # noqa: PT012
            async with terminal.scope(hold_emits=True) as scope:
                await scope.bus.publish(Order())
                raise LookupError
        async with terminal.scope(hold_emits=True) as scope:
            await scope.bus.publish(Order())
            assert terminal.stats().emitted == 0
        await terminal.drain()
    assert heard.numbers == [1]


async def test_a_resource_that_cannot_be_left_keeps_the_emits_back() -> None:
    """If a transaction fails to commit, what it wanted to tell is not told."""
    heard = Heard()

    class Transaction:
        pass

    terminal = terminal_with(heard.tick)
    registry = terminal._registries[0]

    @registry.factory
    def begin() -> Iterator[Transaction]:
        yield Transaction()
        raise LookupError

    async with terminal:
        with pytest.raises(LookupError):  # noqa: PT012
            async with terminal.scope(hold_emits=True) as scope:
                await scope.resolve(Transaction)
                scope.bus.emit(Tick(1))
        assert terminal.stats().emitted == 0
    assert heard.numbers == []


async def test_room_is_taken_at_once() -> None:
    """What is held cannot fail later for want of room, and fails at once if there is none."""
    heard = Heard()
    async with terminal_with(heard.tick, mailbox=MailboxPolicy(2)) as terminal:
        async with terminal.scope("a", hold_emits=True) as scope:
            scope.bus.emit(Tick(1))
            scope.bus.emit(Tick(2))
            for bus in (scope.bus, terminal.bus):
                with pytest.raises(MailboxFull):
                    bus.emit(Tick(3), key="a")
            waiting = asyncio.create_task(terminal.bus.offer(Tick(4), key="a"))
            await asyncio.sleep(1)
            assert not waiting.done()
        await (await waiting).wait()
    assert heard.numbers == [1, 2, 4]


async def test_a_policy_that_drops_is_asked_at_the_end() -> None:
    """What may be dropped takes no place before it is queued."""
    heard = Heard()
    async with terminal_with(heard.tick, mailbox=MailboxPolicy(1, "drop_newest")) as terminal:
        async with terminal.scope("a", hold_emits=True) as scope:
            kept, dropped = (scope.bus.emit(Tick(number)) for number in (1, 2))
        await kept.wait()
        with pytest.raises(DeliveryFailed, match="overflow"):
            await dropped.wait()
        stats = terminal.stats()
        assert (stats.emitted, stats.handled, stats.dropped) == (2, 1, 1)


async def test_time_begins_at_the_release() -> None:
    """Delay and time to live are not used up by the block."""
    heard = Heard()
    loop = asyncio.get_running_loop()
    async with terminal_with(heard.tick) as terminal:
        async with terminal.scope(hold_emits=True) as scope:
            delayed = scope.bus.emit(Tick(1), delay=1)
            limited = scope.bus.emit(Tick(2), ttl=1)
            await asyncio.sleep(10)
        await limited.wait()
        await delayed.wait()
        assert loop.time() == 11
    assert heard.numbers == [2, 1]


async def test_a_block_that_ends_during_the_close_is_heard() -> None:
    """A close waits for the block, and for what it lets go."""
    heard = Heard()
    terminal = terminal_with(heard.tick)
    async with terminal.scope(hold_emits=True) as scope:
        scope.bus.emit(Tick(1))
        closing = asyncio.create_task(terminal.close())
        await asyncio.sleep(5)
        with pytest.raises(TerminalClosed):
            scope.bus.emit(Tick(2))
    report = await closing
    assert (heard.numbers, report.handled) == ([1], 1)


async def test_a_block_that_ends_after_the_close_says_so() -> None:
    """What it has held is rejected, each message in one class, and the block raises."""
    heard = Heard()
    terminal = terminal_with(heard.tick)
    deliveries: list[Delivery] = []
    with pytest.raises(TerminalClosed) as caught:  # noqa: PT012
        async with terminal.scope("a", hold_emits=True) as scope:
            deliveries += [scope.bus.emit(Tick(number)) for number in (1, 2)]
            await terminal.close(timeout=1)
    assert caught.value.message == Tick(1)
    for each in deliveries:
        with pytest.raises(DeliveryFailed, match="closed"):
            await each.wait()
    stats = terminal.stats()
    assert (stats.emitted, stats.rejected_at_close, stats.pending) == (2, 2, 0)
    assert heard.numbers == []
