"""D: asks that time out, are cancelled, or meet the end. E5: a time around an ask."""

import asyncio
import gc
import random
from collections import Counter
from typing import Any

import pytest
from reliability.support import assert_ledger, make_terminal, proven, turns

from runtime import Command, DeadLetter
from runtime.errors import AskTimeout, TerminalClosed


class Get(Command[int]):
    number: int = 0
    seconds: float = 0.0


class Answering:
    """A handler that takes as long as it is told, and what it has begun and ended."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.ended: list[int] = []

    async def get(self, command: Get) -> int:
        self.began.append(command.number)
        await asyncio.sleep(command.seconds)
        self.ended.append(command.number)
        return command.number


async def test_d7_reply_comes_too_late(expected_logs: list[str]) -> None:
    """The caller has its error at 5 s, the reply is a notice at 6 s, and nothing is kept."""
    answering = Answering()
    letters: list[tuple[float, DeadLetter]] = []
    loop = asyncio.get_running_loop()
    expected_logs += ["nobody waits for the reply to Get", "more times within a minute"]

    async def hear(letter: DeadLetter) -> None:
        letters.append((loop.time(), letter))

    async with proven(answering.get, hear) as terminal:
        gc.collect()
        before = sum(isinstance(each, asyncio.Future) for each in gc.get_objects())
        for number in range(50):
            with pytest.raises(AskTimeout):
                await terminal.bus.ask(Get(number, 6.0), key=number)
            assert loop.time() == 5 * (number + 1)
        await terminal.drain()
        gc.collect()
        after = sum(isinstance(each, asyncio.Future) for each in gc.get_objects())
        assert after - before < 10
    assert [when for when, _ in letters] == [5 * number + 6 for number in range(50)]
    assert {letter.reason for _, letter in letters} == {"late_reply"}
    assert_ledger(terminal.stats(), emitted=50, handled=50, dead_letters=50)


async def test_d8_caller_is_cancelled(expected_logs: list[str]) -> None:
    """While it is queued, the command never begins; while it runs, it goes on to its end."""
    answering = Answering()
    expected_logs += ["nobody waits for the reply to Get", "more times within a minute"]
    async with proven(answering.get) as terminal:
        callers: list[asyncio.Task[int]] = []
        for number in range(3):
            ask = terminal.bus.ask(Get(number, 1.0), key="box", timeout=60)
            callers.append(asyncio.create_task(ask))
            await turns(5)
        for caller in callers[:2]:
            caller.cancel()
        assert await callers[2] == 2
        await terminal.drain()
        assert all(caller.cancelled() for caller in callers[:2])
    assert answering.ended == [0, 2]
    assert_ledger(terminal.stats(), emitted=3, handled=2, expired=1)


@pytest.mark.parametrize("when", ["before", "while queued", "while running", "after"])
async def test_d9_target_is_stopped(when: str, expected_logs: list[str]) -> None:
    """Whoever asks is told, by a reply or by `TerminalClosed`; nobody hangs."""
    answering = Answering()
    expected_logs.append("closed with 1 messages undelivered")
    terminal = make_terminal(answering.get)
    await terminal.open()
    loop = asyncio.get_running_loop()

    async def ask(number: int) -> int | type[BaseException]:
        try:
            return await terminal.bus.ask(Get(number, 10.0), key="box", timeout=100)
        except TerminalClosed as error:
            return type(error)

    tasks: list[asyncio.Task[Any]] = []
    if when != "before":
        tasks.append(asyncio.create_task(ask(0)))
        await turns(5)
    if when == "while queued":
        tasks.append(asyncio.create_task(ask(1)))
        await turns(5)
    if when == "after":
        await tasks[0]
    await terminal.close(timeout=1)
    assert await ask(2) is TerminalClosed
    outcomes = [await task for task in tasks]
    assert (
        outcomes
        == {
            "before": [],
            "while queued": [TerminalClosed, TerminalClosed],
            "while running": [TerminalClosed],
            "after": [0],
        }[when]
    )
    assert loop.time() <= 12
    assert_ledger(terminal.stats(), pending=0)


async def test_d12_many_asks_of_which_some_time_out(
    runtime_seed: int, expected_logs: list[str]
) -> None:
    """Each ends in exactly one way, and nothing is left of those that timed out."""
    answering = Answering()
    chance = random.Random(runtime_seed)
    outcomes: Counter[str] = Counter()
    expected_logs += ["nobody waits for the reply to Get", "more times within a minute"]

    async def ask(number: int) -> None:
        slow = chance.random() < 0.01
        try:
            reply = await terminal.bus.ask(Get(number, 9.0 if slow else 0.0), key=number % 500)
        except AskTimeout:
            outcomes["timed out"] += 1
        else:
            assert reply == number
            outcomes["replied"] += 1

    async with proven(answering.get) as terminal:
        async with asyncio.TaskGroup() as group:
            for number in range(10_000):
                group.create_task(ask(number))
        await terminal.drain()
        assert terminal.scope().core.mailbox_names() == ()
    stats = terminal.stats()
    assert outcomes.total() == stats.emitted == stats.asked == 10_000
    assert len(answering.began) == stats.handled
    assert stats.handled + stats.expired == 10_000
    assert stats.expired <= outcomes["timed out"]


async def test_e5_timeout_around_an_ask() -> None:
    """It ends the wait only, and 1,000 of them leave nothing pending."""
    answering = Answering()
    async with proven(answering.get) as terminal:
        first = asyncio.create_task(terminal.bus.ask(Get(0, 500.0), key="box", timeout=1000))
        await turns(5)
        for number in range(1, 1001):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await terminal.bus.ask(Get(number), key="box", timeout=1000)
        assert await first == 0
        assert await terminal.bus.ask(Get(2000), key="box") == 2000
    assert answering.began == [0, 2000]
    assert_ledger(terminal.stats(), emitted=1002, handled=2, expired=1000)


async def test_h8_callers_come_and_go() -> None:
    """However many have asked one actor, nothing of them is kept."""
    answering = Answering()

    async def caller(number: int) -> None:
        assert await terminal.bus.ask(Get(number), key="box") == number

    async with proven(answering.get) as terminal:
        for start in range(0, 5_000, 500):
            async with asyncio.TaskGroup() as group:
                for number in range(start, start + 500):
                    group.create_task(caller(number))
        await turns(3)
        gc.collect()
        kept = Counter(type(each).__name__ for each in gc.get_objects())
        assert kept["Delivery"] == kept["Get"] == 0
    assert_ledger(terminal.stats(), emitted=5_000, handled=5_000)
