"""Retries, timeouts, supervision and asks, where they meet."""

import asyncio

import pytest

from runtime import BusTerminal, Command, Event, MessageRegistry, Retry
from runtime.errors import ActorRestarting, TerminalClosed
from runtime.signature import OnFailure

SIMULATED = True


class Tick(Event):
    number: int = 0


class Get(Command[int]):
    number: int = 0


class Boom(Exception):
    pass


async def test_an_actor_is_restarted_after_the_last_attempt() -> None:
    """Until then the same instance is tried again; failure handling is outermost."""
    registry = MessageRegistry(event_base=Event)
    instances: list[int] = []

    @registry.register(
        lifetime="actor",
        on_failure="restart",
        retry=Retry(attempts=3, backoff=1.0, jitter=False),
    )
    class Counter:
        def __init__(self) -> None:
            self.attempts = 0
            instances.append(0)

        async def tick(self, tick: Tick) -> None:
            self.attempts += 1
            instances[-1] = self.attempts
            if tick.number == 0:
                raise Boom

    async with BusTerminal(registry) as terminal:
        for number in (0, 1):
            terminal.bus.emit(Tick(number), key="box")
        await terminal.drain()
        stats = terminal.stats()
        assert (stats.handled, stats.failed, stats.dead_letters) == (1, 1, 1)
        (letter,) = terminal.dead_letters
        assert (letter.attempts, letter.reason, letter.mailbox) == (3, "failed", "box")
    assert instances == [3, 1]


@pytest.mark.parametrize(
    ("rule", "error"), [("restart", ActorRestarting), ("stop", TerminalClosed)]
)
async def test_asks_that_wait_for_an_actor_that_fails(
    rule: OnFailure, error: type[Exception]
) -> None:
    """They fail at once with their command, and count as failed; queued events stay."""
    registry = MessageRegistry(event_base=Event)
    seen: list[int] = []

    class Keeper:
        async def tick(self, tick: Tick) -> None:
            await asyncio.sleep(1)
            if tick.number == 0:
                raise Boom
            seen.append(tick.number)

        async def get(self, command: Get) -> int:
            return command.number

    registry.register(Keeper, lifetime="actor", on_failure=rule)
    async with BusTerminal(registry) as terminal:
        bus = terminal.bus
        bus.emit(Tick(0), key="box")
        await asyncio.sleep(0)
        asks = [asyncio.create_task(bus.ask(Get(number), key="box")) for number in range(3)]
        await asyncio.sleep(0)
        for number in (1, 2):
            bus.emit(Tick(number), key="box")
        for number, task in enumerate(asks):
            with pytest.raises(error) as caught:
                await task
            assert getattr(caught.value, "message", None) == Get(number)
        await terminal.drain()
        stats = terminal.stats()
        if rule == "restart":
            assert seen == [1, 2]
            assert (stats.handled, stats.failed) == (2, 4)
            assert await bus.ask(Get(7), key="box") == 7
        else:
            assert seen == []
            assert (stats.handled, stats.failed) == (0, 6)
            with pytest.raises(TerminalClosed):
                await bus.ask(Get(7), key="box")


async def test_an_ask_is_retried_and_limited_like_any_message() -> None:
    """The caller has the reply of the attempt that succeeds, or the last error."""
    registry = MessageRegistry(event_base=Event)
    attempts: list[float] = []
    loop = asyncio.get_running_loop()

    @registry.register(retry=Retry(attempts=3, backoff=1.0, jitter=False), timeout=0.5)
    async def get(command: Get) -> int:
        attempts.append(loop.time())
        if len(attempts) < command.number:
            await asyncio.sleep(60)
        return command.number

    async with BusTerminal(registry) as terminal:
        assert await terminal.bus.ask(Get(3), timeout=60) == 3
        assert attempts == [0.0, 1.5, 4.0]
        with pytest.raises(TimeoutError, match="get"):
            await terminal.bus.ask(Get(99), timeout=60)
        stats = terminal.stats()
        assert (stats.handled, stats.failed, stats.dead_letters) == (1, 1, 0)


async def test_a_commands_exception_is_its_reply() -> None:
    """It ends no actor: the instance stays, whatever its rule."""
    registry = MessageRegistry(event_base=Event)
    made: list[int] = []

    @registry.register(lifetime="actor", on_failure="stop")
    class Keeper:
        def __init__(self) -> None:
            made.append(1)

        async def get(self, command: Get) -> int:
            if command.number < 0:
                raise Boom
            return command.number

    async with BusTerminal(registry) as terminal:
        for _ in range(3):
            with pytest.raises(Boom):
                await terminal.bus.ask(Get(-1), key="box")
            assert await terminal.bus.ask(Get(1), key="box") == 1
    assert made == [1]
