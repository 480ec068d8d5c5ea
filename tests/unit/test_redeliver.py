"""What a dead letter knows, how it is logged and kept, and how its message is handled again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from unit.support import registry_with, terminal_with

from runtime import (
    BusTerminal,
    DeadLetter,
    Event,
    EventBus,
    MailboxPolicy,
    MessageContext,
    MessageRegistry,
    isolated,
)
from runtime.errors import MailboxFull, NoHandler, TerminalClosed

SIMULATED = True


class Tick(Event):
    number: int = 0


class Doomed:
    """Fails while `failing`; knows what it has been given."""

    def __init__(self) -> None:
        self.failing = True
        self.seen: list[Tick] = []
        self.contexts: list[MessageContext] = []

    async def handle(self, tick: Tick, ctx: MessageContext) -> None:
        self.seen.append(tick)
        self.contexts.append(ctx)
        if self.failing:
            raise LookupError(tick.number)


class Recorder:
    def __init__(self) -> None:
        self.seen: list[Tick] = []

    async def handle(self, tick: Tick) -> None:
        self.seen.append(tick)


def only(terminal: BusTerminal[Any]) -> DeadLetter:
    (letter,) = terminal.dead_letters
    return letter


# Letters


async def test_a_letter_knows_the_message_and_where_it_was() -> None:
    """Its ids are those of the context, in which a handler reads the same."""
    doomed = Doomed()
    cause = MessageContext()
    async with terminal_with(doomed.handle) as terminal:
        terminal.bus.emit(Tick(1), cause, key=("box", 1))
        terminal.bus.emit(Tick(2))
        await terminal.drain()
        letters = {each.message: each for each in terminal.dead_letters}
        first, second = letters[Tick(1)], letters[Tick(2)]
        assert first.message_id == cause.id
        assert first.correlation_id == cause.correlation_id
        assert first.mailbox == ("box", 1)
        assert second.mailbox is None
        assert 0 <= first.age < 10
        assert (first.attempts, first.reason) == (1, "failed")
        assert str(first.handler).endswith("Doomed.handle")


async def test_a_letter_of_what_no_handler_started_has_no_attempts() -> None:
    """It says so for what expired, was dropped, or turned away, with the mailbox."""
    gate = asyncio.Event()

    async def wait(tick: Tick) -> None:
        await gate.wait()

    policy = MailboxPolicy(1, overflow="drop_newest")
    terminal = terminal_with(wait, mailbox=policy, max_hops=5)
    terminal.bus.emit(Tick(0), key="box")
    await asyncio.sleep(0)
    terminal.bus.emit(Tick(1), key="box", ttl=1)
    terminal.bus.emit(Tick(2), key="box")
    await asyncio.sleep(2)
    gate.set()
    await terminal.drain()
    gate.clear()
    terminal.bus.emit(Tick(3), key="late", delay=60)
    await terminal.close()
    assert [(each.reason, each.attempts, each.mailbox) for each in terminal.dead_letters] == [
        ("overflow", 0, "box"),
        ("expired", 0, "box"),
        ("closed", 0, "late"),
    ]


async def test_a_handler_that_a_close_passes_over_has_no_attempts() -> None:
    """Of two handlers one is cut off, and the other was never started."""

    async def hang(tick: Tick) -> None:
        await asyncio.sleep(60)

    async def never(tick: Tick) -> None: ...

    terminal = terminal_with(hang, never)
    terminal.bus.emit(Tick())
    await asyncio.sleep(0)
    await terminal.close(timeout=0)
    assert [each.attempts for each in terminal.dead_letters] == [1, 0]
    assert {each.reason for each in terminal.dead_letters} == {"closed"}


async def test_a_publisher_that_fails_has_no_attempts() -> None:
    """No handler is to blame."""

    async def refuse(event: Any, context: MessageContext, listeners: Any) -> None:
        raise LookupError

    async with terminal_with(Recorder().handle, publisher=refuse) as terminal:
        terminal.bus.emit(Tick())
        await terminal.drain()
        assert (only(terminal).handler, only(terminal).attempts) == ("the publisher", 0)


async def test_the_last_thousand_are_kept() -> None:
    """The oldest go first; all are counted."""
    doomed = Doomed()
    async with terminal_with(doomed.handle) as terminal:
        before = terminal.dead_letters
        assert before == ()
        for number in range(1_005):
            terminal.bus.emit(Tick(number), key="box")
        await terminal.drain()
        messages = [each.message for each in terminal.dead_letters]
        assert messages == [Tick(number) for number in range(5, 1_005)]
        assert terminal.stats().dead_letters == 1_005
    assert len(terminal.dead_letters) == 1_000


# The log


async def test_a_flood_is_logged_in_part(caplog: pytest.LogCaptureFixture) -> None:
    """The first ten of a minute for each handler and reason, then how many more there were."""
    doomed = Doomed()

    async def other(tick: Tick) -> None:
        raise ArithmeticError

    async with terminal_with(doomed.handle, other) as terminal:
        for number in range(25):
            terminal.bus.emit(Tick(number))
        await terminal.drain()
        assert len(caplog.records) == 20
        await asyncio.sleep(59)
        terminal.bus.emit(Tick())
        await terminal.drain()
        assert len(caplog.records) == 20
        await asyncio.sleep(2)
        told = [each.getMessage() for each in caplog.records[20:]]
        assert len(told) == 2
        assert all("failed to handle Tick (failed) 16 more times within a" in each for each in told)
        # The next minute begins with the next failure.
        terminal.bus.emit(Tick())
        await terminal.drain()
        assert len(caplog.records) == 24
        await asyncio.sleep(120)
    assert len(caplog.records) == 24


async def test_a_close_tells_of_what_was_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The minute need not be over; afterwards no timer is left that would say it again."""
    policy = MailboxPolicy(1, overflow="drop_newest")

    async def wait(tick: Tick) -> None:
        await asyncio.sleep(1)

    async with terminal_with(wait, mailbox=policy) as terminal:
        for number in range(21):
            terminal.bus.emit(Tick(number), key="box")
        await asyncio.sleep(0)
    assert len(caplog.records) == 11
    assert "Tick was not handled (overflow) 10 more times" in caplog.records[-1].getMessage()
    await asyncio.sleep(120)
    assert len(caplog.records) == 11


async def test_the_clock_is_asked_when_the_timer_is_late(caplog: pytest.LogCaptureFixture) -> None:
    """A failure after the minute is never counted to it."""
    doomed = Doomed()
    async with terminal_with(doomed.handle) as terminal:
        for at in (0, 30, 61, 90):
            await asyncio.sleep(at - asyncio.get_running_loop().time())
            for _ in range(6):
                terminal.bus.emit(Tick())
            await terminal.drain()
        assert [each.levelno for each in caplog.records].count(logging.ERROR) == 20
    assert [each.levelno for each in caplog.records].count(logging.WARNING) == 2


# Once more


@pytest.mark.parametrize("key", [None, "box"])
async def test_only_the_handler_that_failed_runs_again(key: str | None) -> None:
    """Its message is counted as another one, and has its old context."""
    doomed, recorder = Doomed(), Recorder()
    context = MessageContext(headers={"tenant": "a"})
    async with terminal_with(recorder.handle, doomed.handle) as terminal:
        terminal.bus.emit(Tick(7), context, key=key)
        await terminal.drain()
        letter = only(terminal)
        doomed.failing = False
        await terminal.redeliver(letter).wait()
        assert recorder.seen == [Tick(7)]
        assert doomed.seen == [Tick(7), Tick(7)]
        assert doomed.contexts[1].id == context.id == letter.message_id
        assert doomed.contexts[1].headers == {"tenant": "a"}
        stats = terminal.stats()
        assert (stats.emitted, stats.handled, stats.failed) == (2, 1, 1)


async def test_it_goes_to_the_mailbox_that_it_came_from() -> None:
    """It takes its place behind what is queued there, also in that of a scope without a name."""
    order: list[int] = []

    async def slow(tick: Tick) -> None:
        order.append(tick.number)
        await asyncio.sleep(1)
        if tick.number == 0 and order.count(0) == 1:
            raise LookupError

    async with terminal_with(slow) as terminal, terminal.scope() as scope:
        scope.bus.emit(Tick(0))
        scope.bus.emit(Tick(1))
        scope.bus.emit(Tick(2))
        await asyncio.sleep(1.5)
        terminal.redeliver(only(terminal))
        scope.bus.emit(Tick(3))
        await terminal.drain()
    assert order == [0, 1, 2, 0, 3]


async def test_a_letter_without_a_handler_is_the_whole_message() -> None:
    """What was dropped is handled by all of its handlers."""
    recorder, other = Recorder(), Recorder()
    policy = MailboxPolicy(1, overflow="drop_newest")
    async with terminal_with(recorder.handle, other.handle, mailbox=policy) as terminal:
        terminal.bus.emit(Tick(1), key="box")
        terminal.bus.emit(Tick(2), key="box")
        await terminal.drain()
        await terminal.redeliver(only(terminal)).wait()
    assert recorder.seen == other.seen == [Tick(1), Tick(2)]


async def test_the_rules_of_admission_are_those_of_emit() -> None:
    """A full mailbox refuses it, and so does a terminal that closes."""
    doomed = Doomed()
    terminal = terminal_with(doomed.handle, mailbox=MailboxPolicy(capacity=1))
    terminal.bus.emit(Tick(1), key="box")
    await terminal.drain()
    letter = only(terminal)
    terminal.bus.emit(Tick(2), key="box")
    with pytest.raises(MailboxFull):
        terminal.redeliver(letter)
    await terminal.close()
    with pytest.raises(TerminalClosed):
        terminal.redeliver(letter)
    assert terminal.stats().emitted == 2


async def test_it_may_fail_again() -> None:
    """That is a dead letter of its own, with the same ids."""
    doomed = Doomed()
    async with terminal_with(doomed.handle) as terminal:
        terminal.bus.emit(Tick())
        await terminal.drain()
        terminal.redeliver(only(terminal))
        await terminal.drain()
        first, second = terminal.dead_letters
        assert first.message_id == second.message_id
        assert first != second


async def test_guards_are_around_it_and_no_publisher() -> None:
    """The handler runs by itself, as it would have in its turn."""
    doomed, recorder = Doomed(), Recorder()
    guarded: list[Tick] = []
    registry = registry_with(doomed.handle, recorder.handle)

    @registry.guard
    async def watch(
        tick: Tick, ctx: MessageContext, proceed: Callable[[], Awaitable[None]]
    ) -> None:
        guarded.append(tick)
        await proceed()

    async with BusTerminal(registry, publisher=isolated) as terminal:
        terminal.bus.emit(Tick(1))
        await terminal.drain()
        terminal.redeliver(only(terminal))
        await terminal.drain()
    assert len(guarded) == 3
    assert (len(doomed.seen), len(recorder.seen)) == (2, 1)


async def test_two_objects_of_one_class_are_told_apart() -> None:
    """Their names and places are the same; the handler is the one that failed."""
    one, two = Doomed(), Doomed()
    one.failing = False
    async with terminal_with(one.handle, two.handle) as terminal:
        terminal.bus.emit(Tick())
        await terminal.drain()
        two.failing = False
        await terminal.redeliver(only(terminal)).wait()
    assert (len(one.seen), len(two.seen)) == (1, 2)


async def test_an_actor_handles_it_in_its_mailbox() -> None:
    """The instance is the same one."""
    registry = MessageRegistry(event_base=Event)
    counts: list[int] = []

    @registry.register(lifetime="actor")
    class Actor:
        def __init__(self) -> None:
            self.count = 0

        async def handle(self, tick: Tick) -> None:
            self.count += 1
            counts.append(self.count)
            if self.count == 1:
                raise LookupError

    async with BusTerminal(registry) as terminal:
        terminal.bus.emit(Tick(), key="box")
        await terminal.drain()
        await terminal.redeliver(only(terminal)).wait()
    assert counts == [1, 2]


async def test_a_handler_of_dead_letters_may_redeliver() -> None:
    """It does so inside, so also while the terminal closes."""
    doomed = Doomed()
    registry = registry_with(doomed.handle)

    @registry.register
    async def again(letter: DeadLetter, terminal: BusTerminal[Event]) -> None:
        doomed.failing = False
        terminal.redeliver(letter)

    terminal = BusTerminal(registry)
    terminal.bus.emit(Tick(), key="box")
    await terminal.close()
    assert (len(doomed.seen), terminal.stats().handled) == (2, 1)


async def test_another_terminal_takes_it_if_it_has_the_handler() -> None:
    """A letter outlives its terminal; its mailbox is that of the same name, or the pool."""
    doomed = Doomed()
    for key in ("box", None):
        doomed.failing = True
        async with terminal_with(doomed.handle) as first:
            first.bus.emit(Tick(), key=key)
        doomed.failing = False
        async with terminal_with(doomed.handle) as second:
            await second.redeliver(only(first)).wait()
            assert second.stats().handled == 1
    assert len(doomed.seen) == 4


async def test_another_terminal_has_a_mailbox_of_its_own() -> None:
    """The message stands in line there, and is handled by the actor that lives in that one."""
    counts: list[int] = []

    class Actor:
        def __init__(self) -> None:
            self.count = 0

        async def handle(self, tick: Tick) -> None:
            self.count += 1
            counts.append(self.count)
            if len(counts) == 1:
                raise LookupError
            await asyncio.sleep(1)

    registry = MessageRegistry(event_base=Event)
    registry.register(Actor, lifetime="actor")
    async with BusTerminal(registry) as first:
        first.bus.emit(Tick(), key="box")
    async with BusTerminal(registry) as second:
        second.bus.emit(Tick(), key="box")
        await second.redeliver(only(first)).wait()
        assert asyncio.get_running_loop().time() == 2
    assert counts == [1, 1, 2]


async def test_a_handler_that_is_not_there_is_said() -> None:
    """The error names it; nothing is queued."""
    doomed = Doomed()
    async with terminal_with(doomed.handle) as first:
        first.bus.emit(Tick())
    async with terminal_with(Recorder().handle) as second:
        with pytest.raises(NoHandler, match=r"Doomed\.handle is not registered with terminal"):
            second.redeliver(only(first))
        with pytest.raises(ValueError, match="no terminal has written"):
            second.redeliver(DeadLetter(Tick(), None, "failed", LookupError()))
        assert second.stats().emitted == 0


async def test_the_chain_of_causes_starts_anew() -> None:
    """What was stopped for too many hops may go on, when somebody wants it to."""
    counts: list[int] = []

    async def loop(tick: Tick, bus: EventBus[Event]) -> None:
        counts.append(tick.number)
        if len(counts) < 6:
            bus.emit(Tick(tick.number + 1))

    async with terminal_with(loop, max_hops=2) as terminal:
        terminal.bus.emit(Tick(0))
        await terminal.drain()
        assert counts == [0, 1, 2]
        assert only(terminal).reason == "hops"
        terminal.redeliver(only(terminal))
        await terminal.drain()
    assert counts == [0, 1, 2, 3, 4, 5]
