"""Sources that are slow, fail or hang, and what a close does to those who consume them."""

import asyncio
import contextvars
from typing import Any

import pytest
from memory_source import MemorySource
from unit.consuming import Boom, Other, Step, consuming
from unit.support import registry_with

from runtime import (
    BusTerminal,
    MailboxPolicy,
)
from runtime.errors import SourceError
from runtime.sources import Received

SIMULATED = True


async def test_g5_a_slow_handler_keeps_its_event() -> None:
    """The lease is extended while it runs, so nobody else is given the event."""
    calls = 0

    async def slow(event: Step) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(200)

    source = MemorySource(Step("a"))
    async with consuming(BusTerminal(registry_with(slow)), source):
        await source.settled()
    assert (calls, source.entries[0].losses) == (1, 0)
    assert source.calls.count("extend") > 10


async def test_an_event_that_comes_again_while_it_runs_is_handled_once() -> None:
    """If its lease could not be extended, the newer receipt counts."""
    calls = 0

    async def slow(event: Step) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(100)

    source = MemorySource(Step("a"))
    source.failing["extend"] = 12
    async with consuming(BusTerminal(registry_with(slow)), source):
        await source.settled()
    assert (calls, source.states()) == (1, ["done"])
    assert source.entries[0].losses > 0


@pytest.mark.parametrize("method", ["receive", "acknowledge", "put_back", "bury"])
async def test_a_source_that_fails_is_tried_again(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost by it, nothing is handled twice, and it is said once."""
    seen: list[int] = []

    async def handle(event: Step) -> None:
        seen.append(event.number)
        if event.number == 1 and method in ("put_back", "bury") and seen.count(1) < 2:
            raise Boom

    attempts = 1 if method == "bury" else 5
    source = MemorySource(*(Step("a", n) for n in range(3)))
    source.failing[method] = 4
    async with consuming(BusTerminal(registry_with(handle)), source, max_attempts=attempts):
        await source.settled()
    expected = {"put_back": [0, 1, 1, 2]}.get(method, [0, 1, 2])
    assert seen == expected
    assert [
        each.getMessage() for each in caplog.records if "trying again" in each.getMessage()
    ] == [
        f"nothing can be received; trying again: {method} has failed"
        if method == "receive"
        else f"what became of an event is not noted yet; trying again: {method} has failed"
    ]


async def test_a_source_that_cannot_be_opened_is_an_error() -> None:
    """It is raised where the source is consumed."""
    source = MemorySource()
    source.failing["open"] = 1
    async with BusTerminal(registry_with()) as terminal:
        with pytest.raises(SourceError, match="open has failed"):
            await terminal.consume(source)
        assert source.calls == ["open"]


@pytest.mark.parametrize("method", ["receive", "acknowledge"])
async def test_a_bug_of_a_source_reaches_whoever_consumes(method: str) -> None:
    """What is no `SourceError` ends the consumption; what is in hand is put back."""

    async def handle(event: Other) -> None:
        await asyncio.sleep(event.number)

    class Broken(MemorySource):
        pass

    async def fail(self: MemorySource, *given: Any) -> list[Received]:
        msg = "a bug"
        raise LookupError(msg)

    setattr(Broken, method, fail)
    source = Broken(Other(1), Other(2))
    async with BusTerminal(registry_with(handle)) as terminal:
        with pytest.raises(LookupError, match="a bug"):
            await terminal.consume(source)
    assert source.calls[-1] == "close"
    assert source.states() == ["free", "free"]


async def test_no_more_than_concurrency_are_in_hand() -> None:
    """Nothing is received that could not be begun."""
    running, most = 0, 0

    async def handle(event: Other) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1

    source = MemorySource(*(Other(n) for n in range(20)))
    async with consuming(BusTerminal(registry_with(handle)), source, concurrency=3):
        await asyncio.sleep(0.5)
        assert source.states().count("held") == 3
        await source.settled()
    assert most == 3


async def test_a_full_mailbox_is_waited_for() -> None:
    """Backpressure reaches the source; nothing fails."""

    async def handle(event: Other) -> None:
        await asyncio.sleep(1)

    source = MemorySource(*(Other(n) for n in range(20)))
    terminal = BusTerminal(registry_with(handle), mailbox=MailboxPolicy(capacity=1), concurrency=1)
    async with consuming(terminal, source):
        await source.settled()
    assert terminal.stats().handled == 20


async def test_g8_a_close_finishes_what_runs_and_puts_the_rest_back() -> None:
    """What was started is acknowledged; what was not is there for the next one."""
    started: list[int] = []

    async def handle(event: Step) -> None:
        started.append(event.number)
        await asyncio.sleep(5)

    source = MemorySource(*(Step("a", n) for n in range(3)), *(Other(n) for n in range(2)))
    terminal = BusTerminal(registry_with(handle))
    async with terminal:
        task = asyncio.create_task(terminal.consume(source))
        await asyncio.sleep(1)
    assert task.done()
    assert task.exception() is None
    assert source.states() == ["done", "free", "free", "done", "done"]
    assert [entry.failures for entry in source.entries] == [0] * 5
    assert started == [0]


async def test_what_a_close_cuts_off_is_put_back() -> None:
    """A handler that does not end in time says nothing about its event."""

    async def hang(event: Step) -> None:
        await asyncio.Event().wait()

    source = MemorySource(Step("a"))
    terminal = BusTerminal(registry_with(hang))
    await terminal.open()
    task = asyncio.create_task(terminal.consume(source, max_attempts=1))
    await asyncio.sleep(1)
    await terminal.close(timeout=2)
    await task
    assert (source.states(), source.entries[0].failures) == (["free"], 0)
    assert terminal.dead_letters == ()
    assert terminal.stats().failed == 1


async def test_a_source_that_hangs_does_not_hold_the_close_up() -> None:
    """It is cut off when the time of the close is over, and the consumer ends."""

    class Hanging(MemorySource):
        async def acknowledge(self, received: Any, /) -> None:
            await asyncio.Event().wait()

    async def handle(event: Step) -> None:
        pass

    source = Hanging(Step("a"))
    terminal = BusTerminal(registry_with(handle))
    await terminal.open()
    task = asyncio.create_task(terminal.consume(source))
    await asyncio.sleep(1)
    report = await terminal.close(timeout=2)
    assert report.seconds == pytest.approx(2, abs=0.1)
    await task
    assert source.states() == ["free"]


async def test_cancelling_returns_at_once_and_finishes_in_the_background() -> None:
    """Nothing more is taken; what runs is acknowledged when it has ended, close or not."""

    async def handle(event: Other) -> None:
        await asyncio.sleep(5)

    loop = asyncio.get_running_loop()
    source = MemorySource(Other())
    async with BusTerminal(registry_with(handle)) as terminal:
        task = asyncio.create_task(terminal.consume(source))
        await asyncio.sleep(1)
        began = loop.time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.time() == began
        source.add(Other())
        await asyncio.sleep(10)
        assert source.states() == ["done", "free"]
        assert source.calls[-1] == "close"


async def test_a_source_can_be_consumed_again() -> None:
    """After a consumer has ended, another takes what is left."""
    seen: list[int] = []

    async def handle(event: Other) -> None:
        seen.append(event.number)

    source = MemorySource(Other(1))
    async with BusTerminal(registry_with(handle)) as terminal:
        for number in (2, 3):
            task = asyncio.create_task(terminal.consume(source))
            await source.settled()
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(1)
            source.add(Other(number))
    assert seen == [1, 2]


async def test_two_sources_at_once() -> None:
    """Each is consumed by itself."""
    seen: set[int] = set()

    async def handle(event: Other) -> None:
        seen.add(event.number)

    one, two = MemorySource(Other(1)), MemorySource(Other(2))
    async with BusTerminal(registry_with(handle)) as terminal:
        tasks = [asyncio.create_task(terminal.consume(each)) for each in (one, two)]
        await one.settled()
        await two.settled()
    await asyncio.gather(*tasks)
    assert seen == {1, 2}


async def test_handlers_do_not_run_in_the_context_of_whoever_consumes() -> None:
    """A trace of the program's start does not follow every event."""
    variable = contextvars.ContextVar[str]("variable", default="none")
    seen: list[str] = []

    async def handle(event: Other) -> None:
        seen.append(variable.get())

    variable.set("main")
    source = MemorySource(Other())
    async with consuming(BusTerminal(registry_with(handle)), source):
        await source.settled()
    assert seen == ["none"]
