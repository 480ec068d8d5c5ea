"""How long a call of a handler may take, under every verb."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from runtime import (
    BusTerminal,
    Command,
    Event,
    EventBus,
    MessageContext,
    MessageRegistry,
    Retry,
    concurrent,
    isolated,
)
from runtime.errors import DeliveryFailed, HandlerSignatureError, HandlerTimeout

SIMULATED = True


class Tick(Event):
    number: int = 0


class Get(Command[int]):
    pass


def now() -> float:
    return asyncio.get_running_loop().time()


async def hang(tick: Tick) -> None:
    await asyncio.sleep(60)


async def get(command: Get) -> int:
    await asyncio.sleep(60)
    return 1


def limited(
    *handlers: Callable[..., Any], timeout: float = 2, **options: Any
) -> BusTerminal[Event]:
    """Return a terminal whose handlers all have a timeout."""
    registry = MessageRegistry(event_base=Event)
    for each in handlers:
        registry.register(each, timeout=timeout, **options)
    return BusTerminal(registry)


@pytest.mark.parametrize("given", [0, -1, float("inf"), float("nan"), "2", True])
def test_a_timeout_is_a_time(given: Any) -> None:
    """The error names the handler and what it was given."""
    registry = MessageRegistry(event_base=Event)
    with pytest.raises(HandlerSignatureError, match=r"hang .*timeout= is a finite number of sec"):
        registry.register(hang, timeout=given)


def test_a_synchronous_handler_has_none() -> None:
    """Nothing could interrupt it; in a thread it can be given up."""
    registry = MessageRegistry(event_base=Event)

    def block(tick: Tick) -> None: ...

    with pytest.raises(HandlerSignatureError, match=r"block .*timeout= is for asynchronous"):
        registry.register(block, timeout=1)  # type: ignore[bus-handler-signature]
    registry.register(block, timeout=1, in_thread=True)

    class Both:
        async def good(self, tick: Tick) -> None: ...

        def bad(self, tick: Tick) -> None: ...

    with pytest.raises(HandlerSignatureError, match=r"Both\.bad .*timeout="):
        registry.register(Both, timeout=1)  # type: ignore[bus-handler-signature]
    assert len(registry.handlers) == 1


async def test_a_publish_raises_it_in_the_caller() -> None:
    """The error names the handler and the time; handlers in time are not touched."""
    async with limited(hang) as terminal:
        with pytest.raises(TimeoutError, match=r"hang \(.*\) has taken longer than .*, 2 s"):
            await terminal.bus.publish(Tick())
        assert now() == 2
        assert terminal.stats().dead_letters == 0


async def test_a_send_raises_it_in_the_caller() -> None:
    """As a publish does."""
    async with limited(get) as terminal:
        with pytest.raises(HandlerTimeout, match="get") as caught:
            await terminal.bus.send(Get())
        assert (now(), caught.value.seconds) == (2, 2)


@pytest.mark.parametrize("own_task", [False, True])
@pytest.mark.parametrize("key", [None, "box"])
async def test_an_emitted_message_fails(key: str | None, own_task: bool) -> None:
    """Its letter says `timeout`; the mailbox goes on, in a task that nobody has cancelled."""
    cancelling: list[int] = []

    async def hang_once(tick: Tick) -> None:
        task = asyncio.current_task()
        assert task is not None
        cancelling.append(task.cancelling())
        if tick.number == 0:
            await asyncio.sleep(60)

    async with limited(hang_once, own_task=own_task) as terminal:
        first = terminal.bus.emit(Tick(0), key=key)
        terminal.bus.emit(Tick(1), key=key)
        with pytest.raises(DeliveryFailed) as caught:
            await first.wait()
        assert now() == 2
        await terminal.drain()
        (letter,) = caught.value.dead_letters
        assert (letter.reason, letter.attempts) == ("timeout", 1)
        assert isinstance(letter.error, HandlerTimeout)
        assert (terminal.stats().failed, terminal.stats().handled) == (1, 1)
    assert cancelling == [0, 0]


@pytest.mark.parametrize("publisher", [isolated, concurrent])
async def test_other_publishers_keep_to_it(publisher: Any) -> None:
    """A timeout is the handler's, whoever calls it."""
    registry = MessageRegistry(event_base=Event)
    registry.register(hang, timeout=2)
    async with BusTerminal(registry, publisher=publisher) as terminal:
        with pytest.raises(ExceptionGroup) as caught:
            await terminal.bus.publish(Tick())
        assert [type(each) for each in caught.value.exceptions] == [HandlerTimeout]
        terminal.bus.emit(Tick())
        await terminal.drain()
        assert [each.reason for each in terminal.dead_letters] == ["timeout"]


async def test_each_attempt_has_its_own() -> None:
    """The time begins anew with each; the pauses do not count."""
    times: list[float] = []

    async def handle(tick: Tick) -> None:
        times.append(now())
        if len(times) < 3:
            await asyncio.sleep(60)

    retry = Retry(backoff=10, max_backoff=100, jitter=False)
    async with limited(handle, retry=retry) as terminal:
        await terminal.bus.emit(Tick()).wait()
        assert times == [0, 12, 34]


async def test_only_the_handlers_own_call_counts() -> None:
    """Not its guards, nor what it needs, nor the place that its actor waits for."""
    registry = MessageRegistry(event_base=Event)

    class Session:
        pass

    @registry.factory
    async def connect() -> AsyncIterator[Session]:
        await asyncio.sleep(5)
        yield Session()
        await asyncio.sleep(5)

    @registry.guard
    async def watch(
        tick: Tick, ctx: MessageContext, proceed: Callable[[], Awaitable[None]]
    ) -> None:
        await asyncio.sleep(5)
        await proceed()
        await asyncio.sleep(5)

    @registry.register(lifetime="actor", timeout=2)
    class Actor:
        async def handle(self, tick: Tick) -> None:
            await asyncio.sleep(1)

    @registry.register(timeout=2)
    async def handle(tick: Tick, session: Session) -> None:
        await asyncio.sleep(1)

    async with BusTerminal(registry) as terminal, terminal.scope("box") as scope:
        both = scope.bus.emit(Tick()), scope.bus.emit(Tick())
        await scope.bus.publish(Tick())
        for each in both:
            await each.wait()
    assert terminal.stats().failed == 0


async def test_a_publish_to_an_actor_raises_its_timeout() -> None:
    """The actor's own time is over; its mailbox goes on."""
    registry = MessageRegistry(event_base=Event)

    @registry.register(lifetime="actor", timeout=2)
    class Actor:
        async def handle(self, tick: Tick) -> None:
            if tick.number == 0:
                await asyncio.sleep(60)

    async with BusTerminal(registry) as terminal, terminal.scope("box") as scope:
        with pytest.raises(HandlerTimeout, match=re.escape("Actor.handle")):
            await scope.bus.publish(Tick(0))
        await scope.bus.publish(Tick(1))


async def test_a_timeout_of_the_handlers_own_is_a_failure() -> None:
    """So is one of a handler that it publishes to: its own time is not over."""
    registry = MessageRegistry(event_base=Event)

    class Inner(Event):
        pass

    @registry.register(timeout=5)
    async def give_up(tick: Tick) -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(60)

    @registry.register(timeout=5)
    async def ask_around(tick: Tick, bus: EventBus[Event]) -> None:
        await bus.publish(Inner())

    @registry.register(timeout=1)
    async def inner(event: Inner) -> None:
        await asyncio.sleep(60)

    async with BusTerminal(registry) as terminal:
        terminal.bus.emit(Tick())
        await terminal.drain()
        assert [each.reason for each in terminal.dead_letters] == ["failed", "failed"]
        kinds = [type(each.error) for each in terminal.dead_letters]
        assert kinds == [TimeoutError, HandlerTimeout]


async def test_a_handler_may_return_all_the_same() -> None:
    """One that swallows the cancellation and returns has handled the message."""

    async def finish(tick: Tick) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    async with limited(finish) as terminal:
        await terminal.bus.publish(Tick())
        await terminal.bus.emit(Tick()).wait()


async def test_a_cancelled_publish_is_no_timeout() -> None:
    """The caller's cancellation reaches the handler and stays one."""
    async with limited(hang) as terminal:
        task = asyncio.create_task(terminal.bus.publish(Tick()))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_a_thread_is_given_up() -> None:
    """The caller has its error in time; the thread goes on by itself."""
    release = threading.Event()
    ended: list[bool] = []

    def block(tick: Tick) -> None:
        ended.append(release.wait(10))

    async def main() -> None:
        async with limited(block, timeout=0.01, in_thread=True) as terminal:
            with pytest.raises(HandlerTimeout, match="block"):
                await terminal.bus.publish(Tick())
            assert ended == []
            release.set()

    asyncio.run(main())
