"""What draining waits for, and how a close ends what is queued and what is running."""

import asyncio

import pytest
from contract.support import MakeTerminal, Stage, Work, ledger, settle
from reference import Ledger

from runtime import EventBus
from runtime.errors import DeadlockError, DeliveryFailed, TerminalClosed


async def test_drain_waits_for_all_there_is(make_terminal: MakeTerminal) -> None:
    """It returns when nothing is queued or running, what handlers emit meanwhile included."""
    stage = Stage(hold=range(3))

    async def emit_next(work: Work, bus: EventBus[object]) -> None:
        await stage.work(work)
        if work.number < 2:
            bus.emit(Work(work.number + 1))

    async with make_terminal([emit_next]) as terminal:
        await terminal.drain()
        terminal.bus.emit(Work(0), key="a")
        draining = asyncio.create_task(terminal.drain())
        for number in range(3):
            await settle()
            assert not draining.done()
            stage.release(number)
        await draining
        assert stage.finished == [0, 1, 2]
        terminal.bus.emit(Work(3), key="a")
        await terminal.drain()
        assert ledger(terminal) == Ledger(4, handled=4)


async def test_drain_gives_up_in_time(make_terminal: MakeTerminal) -> None:
    """It raises TimeoutError, and cancels nothing."""
    stage = Stage(hold={0})
    async with make_terminal([stage.work]) as terminal:
        terminal.bus.emit(Work(0))
        await settle()
        with pytest.raises(TimeoutError):
            await terminal.drain(timeout=0)
        assert stage.running == [0]
        stage.release(0)
        await terminal.drain(timeout=None)
        assert ledger(terminal) == Ledger(1, handled=1)


async def test_drain_inside_a_handler_is_a_deadlock(make_terminal: MakeTerminal) -> None:
    """It would wait for itself, and says so instead."""
    caught: list[DeadlockError] = []

    async def drain(work: Work) -> None:
        try:
            await terminal.drain()
        except DeadlockError as error:
            caught.append(error)

    async with make_terminal([drain]) as terminal:
        await terminal.bus.emit(Work(0)).wait()
        assert len(caught) == 1
        assert ledger(terminal) == Ledger(1, handled=1)


async def check_refusal(*buses: EventBus[object]) -> None:
    """Check that no verb takes a message, and that each error carries it."""
    message = Work(99)
    for bus in buses:
        with pytest.raises(TerminalClosed, match="is closed") as caught:
            bus.emit(message, key="a")
        assert caught.value.message is message
        for verb in (bus.offer, bus.publish):
            with pytest.raises(TerminalClosed, match="is closed") as caught:
                await verb(message)
            assert caught.value.message is message


async def test_close_finishes_what_was_accepted(make_terminal: MakeTerminal) -> None:
    """Handlers may go on emitting; from outside no verb takes anything, during it and after."""
    stage = Stage(hold={0})

    async def emit_next(work: Work, bus: EventBus[object]) -> None:
        await stage.work(work)
        if work.number == 0:
            bus.emit(Work(2))

    async with make_terminal([emit_next]) as terminal:
        for number in range(2):
            terminal.bus.emit(Work(number), key="a")
        async with terminal.scope("a") as scope:
            await settle()
            closing = asyncio.create_task(terminal.close())
            await settle()
            await check_refusal(terminal.bus, scope.bus)
            assert not closing.done()
            stage.release(0)
            # In this task, so that the close does not wait for this block.
            report = await terminal.close()
            assert await closing is report
            await check_refusal(terminal.bus, scope.bus)
        assert stage.finished == [0, 1, 2]
        assert (report.handled, report.failed, report.undelivered, report.stuck) == (3, 0, (), ())
        assert ledger(terminal) == Ledger(3, handled=3)


async def test_unused_terminal_closes(make_terminal: MakeTerminal) -> None:
    """A terminal that never had a message is closed like any other."""
    async with make_terminal([]) as terminal:
        report = await terminal.close()
        assert (report.handled, report.failed, report.undelivered, report.stuck) == (0, 0, (), ())
        await check_refusal(terminal.bus)
        assert ledger(terminal) == Ledger()


async def test_every_close_gets_the_same_report(make_terminal: MakeTerminal) -> None:
    """Closing at the same time, or again, ends nothing twice; giving up the wait ends nothing."""
    stage = Stage(hold={0})
    async with make_terminal([stage.work]) as terminal:
        terminal.bus.emit(Work(0))
        await settle()
        impatient, patient = (asyncio.create_task(terminal.close()) for _ in range(2))
        await settle()
        impatient.cancel()
        await settle()
        assert impatient.cancelled()
        assert not patient.done()
        stage.release(0)
        report = await patient
        assert await terminal.close() is report
        assert report.handled == 1
        assert ledger(terminal) == Ledger(1, handled=1)


@pytest.mark.parametrize("key", [None, "a"], ids=["pool", "mailbox"])
async def test_close_in_a_hurry_reports_what_it_cut_off(
    make_terminal: MakeTerminal, key: str | None
) -> None:
    """What runs is cancelled and has failed; what is queued is rejected and reported, in order."""
    stage = Stage(hold={0})
    async with make_terminal([stage.work], concurrency=1) as terminal:
        works = [Work(number) for number in range(4)]
        running, *queued = [terminal.bus.emit(work, key=key) for work in works]
        await settle()
        report = await terminal.close(timeout=0)
        assert (stage.started, stage.cancelled) == ([0], [0])
        assert (report.handled, report.failed, report.stuck) == (0, 1, ())
        assert report.undelivered == tuple(works[1:])
        with pytest.raises(DeliveryFailed, match=r"Stage\.work of Work: closed") as caught:
            await running.wait()
        assert [(each.message, each.reason) for each in caught.value.dead_letters] == [
            (works[0], "closed")
        ]
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        for delivery, work in zip(queued, works[1:], strict=True):
            with pytest.raises(DeliveryFailed, match=r"^Work: closed") as caught:
                await delivery.wait()
            (letter,) = caught.value.dead_letters
            assert (letter.message, letter.handler, letter.reason) == (work, None, "closed")
            assert isinstance(caught.value.__cause__, TerminalClosed)
            assert caught.value.__cause__.message is work
        assert ledger(terminal) == Ledger(4, failed=1, rejected_at_close=3)


async def test_every_handler_that_the_close_prevents_has_a_dead_letter(
    make_terminal: MakeTerminal,
) -> None:
    """A message cut off in its first handler has failed in those behind it as well."""
    stage = Stage(hold={0})
    calls: list[str] = []

    def second(work: Work) -> None:
        calls.append("second")

    def third(work: Work) -> None:
        calls.append("third")

    async with make_terminal([stage.work, second, third]) as terminal:
        delivery = terminal.bus.emit(Work(0))
        await settle()
        await terminal.close(timeout=0)
        assert calls == []
        with pytest.raises(DeliveryFailed, match="CancelledError") as caught:
            await delivery.wait()
        letters = caught.value.dead_letters
        assert [str(each.handler).rpartition(".")[2] for each in letters] == [
            *("work", "second", "third")
        ]
        assert {each.reason for each in letters} == {"closed"}
        assert ledger(terminal) == Ledger(1, failed=1)
