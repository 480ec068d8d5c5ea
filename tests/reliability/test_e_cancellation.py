"""E1: cancellation, at every point."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from reliability.support import FAILURES, Other, Work, assert_ledger, turns
from reliability.victims import Stand, cancel_everywhere

from runtime import Event, MessageRegistry


async def fill(stand: Stand) -> None:
    """Have a mailbox start a message, and fill it."""
    await stand.terminal.open()
    stand.terminal.bus.emit(Work(0), key="box")
    await turns(1)
    for number in range(1, 3):
        await stand.terminal.bus.offer(Work(number), key="box")


async def offer(stand: Stand) -> None:
    """Wait for room."""
    await fill(stand)
    await asyncio.gather(*(stand.terminal.bus.offer(Work(n), key="box") for n in range(3, 5)))
    await stand.terminal.bus.offer(Work(5), key="box")


async def drain(stand: Stand) -> None:
    """Wait for quiet."""
    await fill(stand)
    await stand.terminal.drain()
    assert stand.handled == [0, 1, 2]


async def close(stand: Stand) -> None:
    """Open and close, with work to finish."""
    await fill(stand)
    async with stand.terminal.scope("other") as scope:
        scope.bus.emit(Work(3))
    await stand.terminal.close()
    assert sorted(stand.handled) == [0, 1, 2, 3]


async def publish(stand: Stand) -> None:
    """Run handlers inline, with resources, from a scope and from none."""
    await stand.terminal.open()
    await stand.terminal.bus.publish(Work(0))
    async with stand.terminal.scope() as scope:
        await scope.bus.publish(Work(1))
        await scope.bus.publish(Work(2))
    assert stand.handled == [0, 1, 2]


async def publish_to_an_actor(stand: Stand) -> None:
    """Wait for an actor in its mailbox, behind a message that it handles and one that is queued."""

    class Clerk:
        def __init__(self) -> None:
            self.is_busy = False

        async def hear(self, other: Other) -> None:
            assert not self.is_busy
            self.is_busy = True
            try:
                await turns(3)
            finally:
                self.is_busy = False
            stand.handled.append(other.number)

    registry = MessageRegistry(event_base=Event)
    registry.register(Clerk, lifetime="actor")
    stand.terminal.include(registry)
    stand.actors = ("box",)
    await stand.terminal.open()
    async with stand.terminal.scope("box") as scope:
        scope.bus.emit(Other(0))
        await turns(2)
        scope.bus.emit(Other(1))
        await scope.bus.publish(Other(2))
        await scope.bus.publish(Other(3))
    assert stand.handled == [0, 1, 2, 3]


async def block(stand: Stand) -> None:
    """Enter blocks one inside the other, emit in them, held back and not, and leave them."""
    async with stand.terminal, stand.terminal.scope("a") as outer:
        outer.bus.emit(Work(0))
        async with stand.terminal.scope("a", hold_emits=True) as inner:
            await inner.bus.publish(Work(1))
            inner.bus.emit(Work(2))
            await asyncio.sleep(0)
            await inner.bus.offer(Work(3))


async def wait(stand: Stand) -> None:
    """Wait for the ends of messages."""
    await fill(stand)
    first, second = (stand.terminal.bus.emit(Work(n), key=n) for n in range(3, 5))
    await asyncio.gather(first.wait(), second.wait())
    await first.wait()


async def sink(stand: Stand) -> None:
    """Persist events, while a close begins behind it."""
    await stand.terminal.open()
    await stand.terminal.bus.sink(Work(0))
    async with asyncio.TaskGroup() as group:
        group.create_task(stand.terminal.bus.sink(Work(1)))
        await turns(2)
        await stand.terminal.close()


@pytest.mark.parametrize("again", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "scenario",
    [offer, drain, close, publish, publish_to_an_actor, block, wait, sink],
    ids=lambda scenario: scenario.__name__,
)
async def test_e1_cancel_at_every_suspension(
    scenario: Callable[[Stand], Coroutine[Any, Any, None]], again: int
) -> None:
    """Cancelled at any suspension, and once more on its way out, it leaves nothing open.

    The scenario names emit and ask: `emit` never suspends.
    """
    points = await cancel_everywhere(scenario, again=again)
    assert points > 5


async def test_e1_cancelled_when_room_comes() -> None:
    """Whoever is cancelled at the turn in which there is room for it leaves that to the next."""
    await cancel_everywhere(offer, laters=range(15))


async def starting(stand: Stand) -> None:
    """Have an actor's object, and be building a singleton that nobody waits for any more."""
    await stand.terminal.open()
    await stand.terminal.bus.emit(Other(), key="box").wait()
    stand.steps = 20
    publishing = asyncio.create_task(stand.terminal.bus.publish(Work(0)))
    await turns(3)
    publishing.cancel()


async def sinking(stand: Stand) -> None:
    """Have messages to handle and a sink that takes its time."""
    await fill(stand)
    stand.persisting = asyncio.create_task(stand.terminal.bus.sink(Work(9)))
    await turns(2)


@pytest.mark.parametrize("again", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("begin", [starting, sinking])
async def test_e1_cancelled_close_closes_the_sink(
    begin: Callable[[Stand], Awaitable[None]], again: int, expected_logs: list[str]
) -> None:
    """Whoever cancels the close itself, at any turn and again, does not skip the sink's close.

    The scenario has a bound of 5 s for it; the design gives the sink the time that it needs.
    """
    # What runs is cut off, and what is queued is rejected. Cancelled once more, the close does not
    # wait for handlers that are on their way out; and resources may be cancelled on theirs.
    expected_logs += [FAILURES, "messages undelivered", "has swallowed its cancellation"]
    expected_logs += ["a resource could not be left well"]
    k, ended = 0, False
    while not ended:
        k += 1
        stand = Stand()
        await begin(stand)
        waiting = asyncio.create_task(stand.terminal.close())
        await turns(2)
        (closing,) = (task for task in asyncio.all_tasks() if task.get_name() == "runtime.close")
        await turns(k)
        ended = closing.done()
        for _ in range(2 if again else 1):
            closing.cancel()
            await turns(again)
        await asyncio.wait([waiting, closing])
        if stand.persisting is not None:
            await stand.persisting
        await turns(30)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert waiting.cancelled() == (not ended)
        assert stand.disk.calls == ["opening", "opened", "closing", "closed"]
        assert sorted(stand.left) == sorted(stand.entered)
        assert_ledger(stand.terminal.stats(), pending=0, scopes=0)
        assert k < 99
    assert k > 5
