"""The record of a test: what happened, once all of it has."""

import asyncio

import pytest
from unit.support import terminal_with

from runtime import Command, DeadLetter, Event, EventBus
from runtime.testing import track

SIMULATED = True


class Placed(Event):
    number: int = 0


class Shipped(Event):
    number: int = 0


class Express(Shipped):
    pass


class Price(Command[int]):
    pass


async def place(placed: Placed, bus: EventBus[Event]) -> None:
    await asyncio.sleep(1)
    bus.emit(Shipped(placed.number))


async def ship(shipped: Shipped, bus: EventBus[Event]) -> None:
    await asyncio.sleep(1)
    if shipped.number < 0:
        raise LookupError
    if shipped.number < 2:
        await bus.publish(Express(2))


async def price(price: Price) -> int:
    return 7


async def test_everything_that_follows_is_waited_for() -> None:
    """At the end of the block the cascade is over, and each question has its type."""
    async with terminal_with(place, ship, price) as terminal:
        async with track(terminal) as tracked:
            terminal.bus.emit(Placed(1))
            assert await terminal.bus.send(Price()) == 7
            assert tracked.handled(Placed) == []
        placed: list[Placed] = tracked.handled(Placed)
        assert placed == [Placed(1)]
        assert tracked.emitted(Event) == [Placed(1), Shipped(1)]
        assert tracked.published(Shipped) == [Express(2)]
        assert tracked.handled(Shipped) == [Express(2), Shipped(1)]
        assert tracked.sent(Price) == tracked.handled(Price) == [Price()]
        assert tracked.dead(Event) == []
        # Afterwards nobody looks.
        await terminal.bus.publish(Express(3))
        assert tracked.published(Express) == [Express(2)]


async def test_failures_are_dead_letters() -> None:
    """What fails is not handled; it is found by the class of the message."""
    async with terminal_with(ship) as terminal:
        async with track(terminal) as tracked:
            terminal.bus.emit(Express(-1))
            with pytest.raises(LookupError):
                await terminal.bus.publish(Shipped(-1))
        letters: list[DeadLetter] = tracked.dead(Shipped)
        assert [(each.message, each.reason) for each in letters] == [(Express(-1), "failed")]
        assert tracked.dead(Placed) == []
        assert tracked.handled(Event) == []
        assert tracked.published(Event) == [Shipped(-1)]


async def test_delays_are_waited_for_if_asked() -> None:
    """With `delayed` the cascade includes what is not due yet."""
    loop = asyncio.get_running_loop()

    async def again(placed: Placed, bus: EventBus[Event]) -> None:
        if placed.number < 3:
            bus.emit(Placed(placed.number + 1), delay=10)

    async with terminal_with(again) as terminal:
        async with track(terminal) as tracked:
            terminal.bus.emit(Placed(0))
        assert (len(tracked.handled(Placed)), loop.time()) == (1, 0)
        async with track(terminal, timeout=None, delayed=True) as tracked:
            pass
        assert (len(tracked.handled(Placed)), loop.time()) == (3, 30)


async def test_what_does_not_end_is_said() -> None:
    """A cascade that takes longer than `timeout` is an error with a count."""

    async def slow(placed: Placed) -> None:
        await asyncio.sleep(60)

    async with terminal_with(slow) as terminal:
        with pytest.raises(TimeoutError, match="1 messages are still queued or running after 5"):
            async with track(terminal):
                terminal.bus.emit(Placed())
        with pytest.raises(TimeoutError, match="due after the 5"):  # noqa: PT012
            async with track(terminal, timeout=100):
                pass
            async with track(terminal, delayed=True):
                terminal.bus.emit(Placed(), delay=6)


async def test_a_block_that_fails_waits_for_nothing() -> None:
    """The test's own error comes through at once."""

    async def slow(placed: Placed) -> None:
        await asyncio.sleep(60)

    async with terminal_with(slow) as terminal:
        with pytest.raises(AssertionError, match="mine"):  # noqa: PT012
            async with track(terminal):
                terminal.bus.emit(Placed())
                raise AssertionError("mine")  # noqa: EM101
        assert asyncio.get_running_loop().time() == 0


async def test_several_may_track_one_terminal() -> None:
    """Each sees what happens inside its own block."""
    async with terminal_with(ship) as terminal, track(terminal) as outer:
        async with track(terminal) as inner:
            await terminal.bus.publish(Express(2))
        await terminal.bus.publish(Express(3))
        assert inner.published(Express) == [Express(2)]
        assert outer.published(Express) == [Express(2), Express(3)]
