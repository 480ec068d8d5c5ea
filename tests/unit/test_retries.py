"""How often a handler of an emitted message is tried, when, and what becomes of the others."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from runtime import (
    BusTerminal,
    Command,
    DeadLetter,
    Event,
    EventBus,
    MailboxPolicy,
    MessageContext,
    MessageRegistry,
    Retry,
    concurrent,
    isolated,
)
from runtime.errors import DeliveryFailed, HandlerSignatureError

SIMULATED = True

PLAIN = Retry(backoff=1.0, jitter=False)
"""Tried after 0, 1, 3 and 7 seconds."""


class Tick(Event):
    number: int = 0


class Other(Event):
    number: int = 0


class Get(Command[int]):
    pass


class Flaky:
    """Fails so many times, then handles; notes when it was called."""

    def __init__(self, failures: int, error: type[BaseException] = OSError) -> None:
        self.failures = failures
        self.error = error
        self.times: list[float] = []

    async def handle(self, tick: Tick) -> None:
        self.times.append(now())
        if len(self.times) <= self.failures:
            raise self.error(len(self.times))


def now() -> float:
    return asyncio.get_running_loop().time()


def terminal_with(
    retry: Retry, *handlers: Callable[..., Any], own_task: bool = False, **options: Any
) -> BusTerminal[Event]:
    """Return a terminal whose first handler is retried, and the others are not."""
    registry = MessageRegistry(event_base=Event)
    registry.register(handlers[0], retry=retry, own_task=own_task)
    for each in handlers[1:]:
        registry.register(each)
    return BusTerminal(registry, **options)


# The policy


def test_pauses_double_up_to_a_limit() -> None:
    """Without jitter they are exact; with it they are up to twice as long, and never shorter."""
    drawn = random.Random(1)
    exact = Retry(backoff=0.5, max_backoff=3.0, jitter=False)
    pauses = [exact.pause_after(number, drawn) for number in range(1, 6)]
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert exact.pause_after(5_000, drawn) == 3.0
    loose = Retry(backoff=0.5, max_backoff=3.0)
    for number, pause in enumerate(pauses, 1):
        found = [loose.pause_after(number, drawn) for _ in range(200)]
        assert pause <= min(found) < 1.1 * pause
        assert 1.9 * pause < max(found) <= 2 * pause


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"attempts": 0}, ValueError, "attempts must be at least 1"),
        ({"attempts": 1.5}, TypeError, "attempts is a whole number"),
        ({"backoff": -1}, ValueError, "backoff is a finite number of seconds"),
        ({"backoff": "1"}, TypeError, "backoff is a number of seconds"),
        ({"max_backoff": float("inf")}, ValueError, "max_backoff is a finite number"),
        ({"max_backoff": True}, TypeError, "max_backoff is a number of seconds"),
        ({"jitter": 1}, TypeError, "jitter is True or False"),
        ({"on": OSError}, TypeError, "on= is a tuple of exception classes"),
        ({"on": ()}, TypeError, "on= is a tuple of exception classes"),
        ({"on": (OSError, 1)}, TypeError, "subclasses of Exception, not 1"),
        ({"on": (asyncio.CancelledError,)}, TypeError, "a cancellation or an interrupt is never"),
        ({"on": (BaseException,)}, TypeError, "subclasses of Exception, not <class 'BaseExc"),
    ],
)
def test_a_policy_says_what_is_wrong_with_it(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """It is refused where it is made, not where it is needed."""
    with pytest.raises(error, match=re.escape(text)):
        Retry(**options)


@pytest.mark.parametrize("given", [3, True, {"attempts": 3}])
def test_only_a_policy_is_taken(given: Any) -> None:
    """The error names the handler, and nothing is registered."""
    registry = MessageRegistry(event_base=Event)
    with pytest.raises(HandlerSignatureError, match=r"handle .*retry= is a Retry"):
        registry.register(Flaky(0).handle, retry=given)
    assert registry.handlers == ()


# Attempts


@pytest.mark.parametrize("own_task", [False, True])
@pytest.mark.parametrize("key", [None, "box"])
async def test_a_handler_is_tried_until_it_succeeds(key: str | None, own_task: bool) -> None:
    """Each pause is twice the one before; the message is handled, and nothing else is told."""
    flaky = Flaky(3)
    async with terminal_with(PLAIN, flaky.handle, own_task=own_task) as terminal:
        await terminal.bus.emit(Tick(), key=key).wait()
        assert flaky.times == [0, 1, 3, 7]
        stats = terminal.stats()
        assert (stats.emitted, stats.handled, stats.dead_letters) == (1, 1, 0)


@pytest.mark.parametrize("own_task", [False, True])
async def test_the_last_failure_is_the_letters(own_task: bool) -> None:
    """A dead letter says how often the handler was tried, and has the last error."""
    flaky = Flaky(100)
    async with terminal_with(PLAIN, flaky.handle, own_task=own_task) as terminal:
        with pytest.raises(DeliveryFailed) as caught:
            await terminal.bus.emit(Tick()).wait()
        (letter,) = caught.value.dead_letters
        assert (letter.attempts, letter.error.args, letter.reason) == (4, (4,), "failed")
        assert flaky.times == [0, 1, 3, 7]
        assert terminal.stats().failed == 1


async def test_letters_of_handlers_that_are_not_retried_have_one_attempt() -> None:
    """Also where a handler of the same message was retried before it, with success or without."""
    flaky = Flaky(1)

    async def fail(tick: Tick) -> None:
        raise LookupError

    async with terminal_with(PLAIN, flaky.handle, fail) as terminal:
        terminal.bus.emit(Tick())
        await terminal.drain()
        flaky.failures = 100
        terminal.bus.emit(Tick())
        await terminal.drain()
        assert [each.attempts for each in terminal.dead_letters] == [1, 4, 1]


async def test_other_exceptions_end_it_at_once() -> None:
    """So does an exception that `on` does not name; `OSError` covers a timeout, its subclass."""
    for error, calls in ((OSError, 4), (ConnectionError, 4), (TimeoutError, 4), (LookupError, 1)):
        flaky = Flaky(100, error)
        retry = Retry(backoff=1.0, jitter=False, on=(OSError,))
        async with terminal_with(retry, flaky.handle) as terminal:
            terminal.bus.emit(Tick())
            await terminal.drain()
        assert len(flaky.times) == calls


async def test_only_the_handler_that_failed_is_tried_again() -> None:
    """The others run once, in their place in the order."""
    calls: list[str] = []

    async def second(tick: Tick) -> None:
        calls.append("second")

    async def first(tick: Tick) -> None:
        calls.append("first")
        if len(calls) < 3:
            raise OSError

    async with terminal_with(PLAIN, first, second) as terminal:
        await terminal.bus.emit(Tick()).wait()
    assert calls == ["first", "first", "first", "second"]


async def test_each_attempt_has_a_scope_and_guards_of_its_own() -> None:
    """What was opened for an attempt is left, with its error, before the next one begins."""
    steps: list[str] = []
    opened = 0
    registry = MessageRegistry(event_base=Event)

    class Session:
        def __init__(self, number: int) -> None:
            self.number = number

    @registry.factory
    async def open_session() -> AsyncIterator[Session]:
        nonlocal opened
        opened += 1
        number = opened
        try:
            yield Session(number)
        except OSError:
            steps.append(f"roll back {number}")
            raise
        steps.append(f"commit {number}")

    @registry.guard
    async def watch(
        tick: Tick, ctx: MessageContext, proceed: Callable[[], Awaitable[None]]
    ) -> None:
        steps.append("guard")
        await proceed()

    @registry.register(retry=PLAIN)
    async def handle(
        tick: Tick, session: Session, bus: EventBus[Event], ctx: MessageContext
    ) -> None:
        bus.emit(Other(session.number))
        if session.number < 3:
            raise OSError

    @registry.register
    async def hear(other: Other, ctx: MessageContext) -> None:
        assert ctx.causation_id == cause.id
        steps.append(f"heard {other.number}")

    cause = MessageContext()
    async with BusTerminal(registry) as terminal:
        await terminal.bus.emit(Tick(), cause, key="box").wait()
    assert [each for each in steps if not each.startswith("heard")] == [
        "guard",
        "roll back 1",
        "guard",
        "roll back 2",
        "guard",
        "commit 3",
    ]
    assert [each for each in steps if each.startswith("heard")] == ["heard 1", "heard 2", "heard 3"]


async def test_what_an_attempt_sends_is_caused_by_the_message() -> None:
    """Also what is sent by an object of its scope, in a later attempt; hops are counted on."""
    registry = MessageRegistry(event_base=Event)
    causes: list[str | None] = []
    failing = True

    class Outbox:
        def __init__(self, bus: EventBus[Event]) -> None:
            self.bus = bus

    @registry.register(retry=PLAIN)
    async def handle(tick: Tick, outbox: Outbox) -> None:
        nonlocal failing
        if failing:
            failing = False
            raise OSError
        outbox.bus.emit(Other(1))

    @registry.register
    async def hear(other: Other, ctx: MessageContext, bus: EventBus[Event]) -> None:
        causes.append(ctx.causation_id)
        bus.emit(Tick(), context)

    context = MessageContext()
    async with BusTerminal(registry, max_hops=2) as terminal:
        terminal.bus.emit(Other(0))
        await terminal.drain()
        assert causes == [None, context.id]
        assert [each.message for each in terminal.dead_letters] == [Tick()]
        assert [each.reason for each in terminal.dead_letters] == ["hops"]


async def test_what_cannot_be_built_is_tried_again_too() -> None:
    """The scope is inside of the retry."""
    registry = MessageRegistry(event_base=Event)
    times: list[float] = []

    class Session:
        pass

    @registry.factory
    async def connect() -> Session:
        times.append(now())
        if len(times) < 3:
            raise ConnectionError
        return Session()

    @registry.register(retry=PLAIN)
    async def handle(tick: Tick, session: Session) -> None: ...

    async with BusTerminal(registry) as terminal:
        await terminal.bus.emit(Tick()).wait()
    assert times == [0, 1, 3]


async def test_publish_and_send_report_to_their_caller_at_once() -> None:
    """Who waits for a handler decides about trying again."""
    flaky = Flaky(1)
    registry = MessageRegistry(event_base=Event)
    registry.register(flaky.handle, retry=PLAIN)
    calls: list[float] = []

    @registry.register(retry=PLAIN)
    async def get(command: Get) -> int:
        calls.append(now())
        raise ConnectionError

    async with BusTerminal(registry) as terminal:
        with pytest.raises(OSError, match="1"):
            await terminal.bus.publish(Tick())
        with pytest.raises(ConnectionError):
            await terminal.bus.send(Get())
    assert (flaky.times, calls) == ([0], [0])


async def test_an_actor_is_retried_on_emit_and_not_on_publish() -> None:
    """The same instance is asked again; a publish to it is control traffic."""
    registry = MessageRegistry(event_base=Event)
    instances: list[object] = []
    times: list[float] = []

    @registry.register(lifetime="actor", retry=PLAIN)
    class Actor:
        def __init__(self) -> None:
            instances.append(self)

        async def handle(self, tick: Tick) -> None:
            times.append(now())
            raise ConnectionError

    async with BusTerminal(registry) as terminal:
        terminal.bus.emit(Tick(), key="box")
        await terminal.drain()
        assert times == [0, 1, 3, 7]
        async with terminal.scope("box") as scope:
            with pytest.raises(ConnectionError):
                await scope.bus.publish(Tick())
        assert times == [0, 1, 3, 7, 7]
    assert len(instances) == 1


# Places


async def test_a_message_keeps_its_place_in_a_mailbox() -> None:
    """What comes behind it in a named scope waits; other mailboxes go on."""
    order: list[tuple[object, float]] = []
    flaky = Flaky(2)

    async def first(tick: Tick) -> None:
        if tick.number == 0:
            await flaky.handle(tick)
        order.append((tick.number, now()))

    async with terminal_with(PLAIN, first) as terminal:
        for number in range(3):
            terminal.bus.emit(Tick(number), key="box")
        terminal.bus.emit(Tick(10), key="other")
        await terminal.drain()
    assert order == [(10, 0), (0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("publisher", [None, isolated, concurrent])
async def test_a_pause_in_the_pool_holds_nobody_up(publisher: Any) -> None:
    """A message that pauses gives its slot back, under every publisher; it counts as pending."""
    flaky = Flaky(3)
    handled: list[float] = []

    async def other(event: Other) -> None:
        await asyncio.sleep(0.1)
        handled.append(round(now(), 3))

    options = {} if publisher is None else {"publisher": publisher}
    async with terminal_with(PLAIN, flaky.handle, other, concurrency=1, **options) as terminal:
        terminal.bus.emit(Tick())
        for _ in range(3):
            terminal.bus.emit(Other())
        await asyncio.sleep(0.5)
        assert handled == [0.1, 0.2, 0.3]
        assert terminal.stats().pending == 1
        await terminal.drain()
        assert flaky.times == [0, 1, 3, 7]
        # The slot is the pool's again: one at a time.
        handled.clear()
        began = now()
        for _ in range(2):
            terminal.bus.emit(Other())
        await terminal.drain()
        assert handled == [round(began + 0.1, 3), round(began + 0.2, 3)]


async def test_a_handler_that_runs_beside_one_that_pauses_has_the_slot() -> None:
    """Two handlers of one message, run at the same time, have one slot between them."""
    flaky = Flaky(1)
    started: list[float] = []

    async def stumble(tick: Tick) -> None:
        await asyncio.sleep(0.1)
        await flaky.handle(tick)

    async def run(tick: Tick) -> None:
        await asyncio.sleep(0.5)

    async def other(event: Other) -> None:
        started.append(now())

    async with terminal_with(
        PLAIN, stumble, run, other, concurrency=1, publisher=concurrent
    ) as terminal:
        terminal.bus.emit(Tick())
        terminal.bus.emit(Other())
        await terminal.drain()
    assert [round(each, 3) for each in flaky.times] == [0.1, 1.2]
    assert started == [0.5]


async def test_capacity_does_not_count_what_pauses() -> None:
    """It has been started; its place in the queue is free."""
    flaky = Flaky(1)
    policy = MailboxPolicy(capacity=1)
    async with terminal_with(PLAIN, flaky.handle, mailbox=policy) as terminal:
        terminal.bus.emit(Tick(), key="box")
        await asyncio.sleep(0.5)
        terminal.bus.emit(Tick(), key="box")
        await terminal.drain()
    assert flaky.times == [0, 1, 1]


async def test_a_publisher_of_ones_own_hears_when_the_retries_are_over() -> None:
    """A listener returns when its handler has succeeded, or is dead-lettered for good."""
    flaky = Flaky(100)
    returned: list[float] = []

    async def watch(event: Any, context: MessageContext, listeners: Any) -> None:
        for listener in listeners:
            await listener(event, context)
            returned.append(now())

    async with terminal_with(PLAIN, flaky.handle, publisher=watch) as terminal:
        terminal.bus.emit(Tick(), key="box")
        await terminal.drain()
        (letter,) = terminal.dead_letters
        assert (letter.attempts, returned) == (4, [7])


async def test_a_handler_of_dead_letters_is_retried_in_its_place() -> None:
    """Letters are heard one at a time, also then; no slot of the pool is given back for them."""
    heard: list[tuple[int, float]] = []

    async def fail(tick: Tick) -> None:
        raise LookupError

    async def hear(letter: DeadLetter) -> None:
        assert isinstance(letter.message, Tick)
        heard.append((letter.message.number, now()))
        if len(heard) == 1:
            raise OSError

    async def other(event: Other) -> None:
        await asyncio.sleep(0.4)
        running.append(now())

    running: list[float] = []
    async with terminal_with(PLAIN, hear, fail, other, concurrency=1) as terminal:
        terminal.bus.emit(Tick(1))
        terminal.bus.emit(Tick(2))
        for _ in range(2):
            terminal.bus.emit(Other())
        await terminal.drain()
    assert heard == [(1, 0), (1, 1), (2, 1)]
    assert running == [0.4, 0.8]


# The end


async def test_drain_waits_for_retries() -> None:
    """A pause is no quiet."""
    flaky = Flaky(3)
    async with terminal_with(PLAIN, flaky.handle) as terminal:
        terminal.bus.emit(Tick())
        with pytest.raises(TimeoutError):
            await terminal.drain(timeout=6)
        await terminal.drain()
        assert now() == 7


async def test_a_close_waits_for_retries() -> None:
    """They go on until its deadline."""
    flaky = Flaky(3)
    terminal = terminal_with(PLAIN, flaky.handle)
    terminal.bus.emit(Tick())
    report = await terminal.close(timeout=8)
    assert (report.handled, report.seconds, flaky.times) == (1, 7, [0, 1, 3, 7])


async def test_a_close_cuts_a_pause_off_at_its_deadline() -> None:
    """The handler has failed because of the close, after the attempts that it had."""
    flaky = Flaky(3)
    terminal = terminal_with(PLAIN, flaky.handle)
    terminal.bus.emit(Tick())
    report = await terminal.close(timeout=2)
    assert (report.failed, report.seconds, flaky.times) == (1, 2, [0, 1])
    (letter,) = terminal.dead_letters
    assert (letter.reason, letter.attempts) == ("closed", 2)


async def test_a_handler_that_fails_when_it_is_cut_off_is_not_tried_again() -> None:
    """The close has cancelled it; there is no time for another attempt."""
    calls: list[float] = []

    async def stumble(tick: Tick) -> None:
        calls.append(now())
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OSError from None

    terminal = terminal_with(PLAIN, stumble)
    terminal.bus.emit(Tick())
    report = await terminal.close(timeout=1)
    assert (report.failed, calls) == (1, [0])


async def test_a_handler_that_has_waited_for_the_close_is_not_tried_again() -> None:
    """When it fails, there is nothing left to try it in."""
    calls: list[float] = []

    async def end(tick: Tick, terminal: BusTerminal[Event]) -> None:
        calls.append(now())
        await terminal.close()
        raise OSError

    terminal = terminal_with(PLAIN, end)
    terminal.bus.emit(Tick())
    await asyncio.sleep(60)
    assert calls == [0]
    assert terminal.stats().failed == 1


async def test_a_handler_that_cancels_its_task_is_not_tried_again() -> None:
    """Nobody has taken the cancellation back; the next attempt would meet it."""
    calls: list[float] = []

    async def cancel(tick: Tick) -> None:
        calls.append(now())
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(0)
        finally:
            raise OSError

    async with terminal_with(PLAIN, cancel) as terminal:
        terminal.bus.emit(Tick())
        await terminal.drain()
        assert [type(each.error) for each in terminal.dead_letters] == [OSError]
    assert calls == [0]
