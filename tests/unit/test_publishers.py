"""Publishers: how an event's handlers are run."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from runtime import (
    BusTerminal,
    Event,
    MessageContext,
    MessageRegistry,
    concurrent,
    isolated,
    sequential,
)
from runtime.errors import DeliveryFailed
from runtime.publishers import Listener


class Ping(Event):
    pass


class Session:
    pass


def five(log: list[str], bad: Sequence[int] = (2,)) -> MessageRegistry[Event]:
    registry = MessageRegistry(event_base=Event)

    def make(number: int) -> Any:
        async def handler(event: Ping, session: Session) -> None:
            log.append(f"{number} starts")
            await asyncio.sleep(0)
            if number in bad:
                msg = f"handler {number}"
                raise ValueError(msg)
            log.append(f"{number} ends")

        return handler

    registry.register(*(make(number) for number in range(1, 6)))
    return registry


def ended(log: list[str]) -> list[str]:
    return [each[0] for each in log if each.endswith("ends")]


async def test_sequential_stops_at_the_first_failure() -> None:
    """C2: by default the first exception ends the run and arrives bare."""
    log: list[str] = []
    for make in (BusTerminal[Event], partial(BusTerminal[Event], publisher=sequential)):
        log.clear()
        async with make(five(log)) as terminal:
            with pytest.raises(ValueError, match="handler 2"):
                await terminal.bus.publish(Ping())
            assert log == ["1 starts", "1 ends", "2 starts"]


async def test_isolated_runs_all_and_groups_what_failed() -> None:
    """C1: the other four have run, and one error in a group points into handler 2."""
    log: list[str] = []
    async with BusTerminal(five(log), publisher=isolated) as terminal:
        with pytest.raises(ExceptionGroup, match="1 of 5 handlers of Ping failed") as caught:
            await terminal.bus.publish(Ping())
    assert ended(log) == ["1", "3", "4", "5"]
    (error,) = caught.value.exceptions
    assert str(error) == "handler 2"
    frames: list[str] = []
    step = error.__traceback__
    while step is not None:
        frames.append(step.tb_frame.f_code.co_name)
        step = step.tb_next
    assert frames[-1] == "handler"


async def test_isolated_lets_a_cancellation_through() -> None:
    """A cancelled publish does not go on to the next handler."""
    log: list[str] = []
    async with BusTerminal(five(log, ()), publisher=isolated) as terminal:
        task = asyncio.create_task(terminal.bus.publish(Ping()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert log == ["1 starts"]


async def test_concurrent_runs_all_at_once() -> None:
    """All handlers start before one ends; a failure cancels the others."""
    log: list[str] = []
    async with BusTerminal(five(log, ()), publisher=concurrent) as terminal:
        await terminal.bus.publish(Ping())
    assert log[:5] == [f"{number} starts" for number in range(1, 6)]
    assert ended(log) == ["1", "2", "3", "4", "5"]
    log.clear()
    async with BusTerminal(five(log), publisher=concurrent) as terminal:
        with pytest.raises(ExceptionGroup) as caught:
            await terminal.bus.publish(Ping())
    assert [str(error) for error in caught.value.exceptions] == ["handler 2"]


async def backwards(event: Any, context: MessageContext, listeners: Sequence[Listener]) -> None:
    for listener in reversed(listeners):
        await listener(event, context)


async def test_a_publisher_of_the_users_own() -> None:
    """It runs publish and emit alike; on emit, a listener that failed returns."""
    log: list[str] = []
    async with BusTerminal(five(log), publisher=backwards) as terminal:
        with pytest.raises(ValueError, match="handler 2"):
            await terminal.bus.publish(Ping())
        assert ended(log) == ["5", "4", "3"]
        log.clear()
        with pytest.raises(DeliveryFailed) as caught:
            await terminal.bus.emit(Ping()).wait()
        assert ended(log) == ["5", "4", "3", "1"]
        assert [str(letter.error) for letter in caught.value.dead_letters] == ["handler 2"]
        stats = terminal.stats()
        assert (stats.emitted, stats.failed, stats.dead_letters) == (1, 1, 1)


@pytest.mark.parametrize("publisher", [sequential, isolated, concurrent])
async def test_on_emit_no_failure_stops_another_handler(publisher: Any) -> None:
    """Whatever the publisher, each handler of an emitted event has its own fate."""
    log: list[str] = []
    async with BusTerminal(five(log, (2, 4)), publisher=publisher) as terminal:
        with pytest.raises(DeliveryFailed) as caught:
            await terminal.bus.emit(Ping()).wait()
    assert sorted(ended(log)) == ["1", "3", "5"]
    assert sorted(str(letter.error) for letter in caught.value.dead_letters) == [
        "handler 2",
        "handler 4",
    ]


async def test_a_publisher_that_raises_fails_the_message() -> None:
    """An exception of the publisher's own is a dead letter without a handler's name."""

    async def broken(event: Any, context: MessageContext, listeners: Sequence[Listener]) -> None:
        msg = "broken"
        raise RuntimeError(msg)

    log: list[str] = []
    async with BusTerminal(five(log), publisher=broken) as terminal:
        with pytest.raises(RuntimeError, match="broken"):
            await terminal.bus.publish(Ping())
        with pytest.raises(DeliveryFailed, match="the publisher of Ping: failed: RuntimeError"):
            await terminal.bus.emit(Ping()).wait()


async def test_scopes_are_shared_on_publish_and_fresh_on_emit() -> None:
    """Under any publisher, publish shares the caller's scope, emit gives each handler its own."""
    seen: list[Session] = []
    registry = MessageRegistry(event_base=Event)

    def make() -> Any:
        async def handler(event: Ping, session: Session) -> None:
            seen.append(session)

        return handler

    registry.register(make(), make())
    async with BusTerminal(registry, publisher=concurrent) as terminal:
        await terminal.bus.publish(Ping())
        assert seen[0] is seen[1]
        await terminal.bus.emit(Ping()).wait()
        assert len(set(map(id, seen))) == 3
