"""C: handlers that fail."""

import asyncio
import logging
from typing import Any

import pytest
from reliability.support import FAILURES, Boom, Rounds, Work, assert_ledger, proven

from runtime import BusTerminal, DeadLetter, MailboxPolicy, MessageRegistry
from runtime.errors import DeliveryFailed

both_kinds = pytest.mark.parametrize("key", [None, "box"], ids=["pool", "mailbox"])
FAILING = 137


@both_kinds
async def test_c3_one_failure_of_a_thousand_is_told_once(
    key: str | None, expected_logs: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The other 999 are handled; the failure is in the log once, and one dead letter."""
    expected_logs.append(FAILURES)
    handled: list[int] = []
    heard: list[DeadLetter] = []
    boom = Boom("on purpose")

    def handle(work: Work) -> None:
        if work.number == FAILING:
            raise boom
        handled.append(work.number)

    def hear(letter: DeadLetter) -> None:
        heard.append(letter)

    async with proven(handle, hear) as terminal:
        deliveries = [terminal.bus.emit(Work(number), key=key) for number in range(1_000)]
        with pytest.raises(DeliveryFailed) as caught:
            await deliveries[FAILING].wait()
        assert caught.value.__cause__ is boom
        await terminal.drain()
        assert sorted(handled) == [number for number in range(1_000) if number != FAILING]
        assert caught.value.dead_letters == tuple(heard)
        (letter,) = heard
        assert (letter.message, letter.reason, letter.error) == (Work(FAILING), "failed", boom)
        assert str(letter.handler).endswith("handle")
        (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
        assert record.exc_info is not None
        assert record.exc_info[1] is boom
        assert_ledger(terminal.stats(), emitted=1_000, handled=999, failed=1, dead_letters=1)
        # The loop and the mailbox go on.
        await terminal.bus.emit(Work(1_000), key=key).wait()
        assert handled[-1] == 1_000


@both_kinds
@pytest.mark.parametrize("suspends", [False, True])
async def test_c3_failure_leaves_the_other_handler_alone(
    key: str | None, suspends: bool, expected_logs: list[str]
) -> None:
    """Of two handlers the one that fails is told of, and the other hears all 1,000 messages."""
    expected_logs.append(FAILURES)
    first: list[int] = []
    second: list[int] = []
    heard: list[DeadLetter] = []

    async def fail(work: Work) -> None:
        if suspends:
            await asyncio.sleep(0)
        if work.number == FAILING:
            raise Boom
        first.append(work.number)

    async def succeed(work: Work) -> None:
        second.append(work.number)

    def hear(letter: DeadLetter) -> None:
        heard.append(letter)

    async with proven(fail, succeed, hear) as terminal:
        for number in range(1_000):
            terminal.bus.emit(Work(number), key=key)
        await terminal.drain()
        assert sorted(first) == [number for number in range(1_000) if number != FAILING]
        assert sorted(second) == list(range(1_000))
        assert [str(each.handler).rpartition(".")[2] for each in heard] == ["fail"]
        assert_ledger(terminal.stats(), emitted=1_000, handled=999, failed=1, dead_letters=1)


async def test_c3_handler_of_everything_hears_no_dead_letter(expected_logs: list[str]) -> None:
    """A dead letter goes to those who are registered for it, not to a handler of `object`."""
    expected_logs.append(FAILURES)
    everything: list[object] = []
    heard: list[DeadLetter] = []
    registry: MessageRegistry[Any] = MessageRegistry(event_base=object)

    @registry.register
    def hear_all(event: object) -> None:
        everything.append(event)

    @registry.register
    def fail(work: Work) -> None:
        if work.number == FAILING:
            raise Boom

    @registry.register
    def hear(letter: DeadLetter) -> None:
        heard.append(letter)

    terminal = BusTerminal(registry)
    async with terminal:
        for number in range(1_000):
            terminal.bus.emit(Work(number), key="box")
        await terminal.drain()
        assert everything == [Work(number) for number in range(1_000)]
        assert [each.message for each in heard] == [Work(FAILING)]
    stats = terminal.stats()
    assert_ledger(stats, emitted=1_000, handled=999, failed=1, dead_letters=1, pending=0)


@both_kinds
async def test_c6_failing_handler_does_not_spin(key: str | None, expected_logs: list[str]) -> None:
    """A handler that fails on everything for a minute is called once for each message.

    The loop goes round a few times for a message, and stands still where there is none.
    """
    expected_logs.append(FAILURES)
    attempts: list[int] = []

    async def fail(work: Work) -> None:
        attempts.append(work.number)
        raise Boom

    async with proven(fail, mailbox=MailboxPolicy(capacity=10)) as terminal:
        loop = asyncio.get_running_loop()
        rounds = Rounds(limit=10_000)
        while loop.time() < 60:
            terminal.bus.emit(Work(len(attempts)), key=key)
            await asyncio.sleep(0.1)
        count = len(attempts)
        assert attempts == list(range(count))
        assert count in (600, 601)
        assert rounds.count <= 4 * count
        assert_ledger(terminal.stats(), emitted=count, failed=count, pending=0)
        before = rounds.count
        await asyncio.sleep(3_600)
        assert rounds.count - before <= 5
        assert len(attempts) == count
        assert_ledger(terminal.stats(), emitted=count, failed=count, dead_letters=count)
