"""What a full mailbox does to those who emit and those who offer."""

import asyncio
from typing import Any

import pytest
from contract.support import MakeTerminal, Stage, Work, ledger, settle
from reference import Ledger

from runtime.errors import MailboxFull, TerminalClosed

both_kinds = pytest.mark.parametrize("key", [None, "a"], ids=["pool", "mailbox"])


async def fill(terminal: Any, key: str | None, count: int) -> None:
    """Start a message, which is held, and queue as many others behind it."""
    terminal.bus.emit(Work(0), key=key)
    await settle()
    for number in range(1, count + 1):
        terminal.bus.emit(Work(number), key=key)


@both_kinds
async def test_full_mailbox_refuses(make_terminal: MakeTerminal, key: str | None) -> None:
    """Capacity counts what has not been started; beyond it `emit` raises and queues nothing."""
    stage = Stage(hold={0})
    calls: list[object] = []
    async with make_terminal([stage.work], capacity=2, concurrency=1) as terminal:
        await fill(terminal, key, 2)
        refused = Work(3)
        with pytest.raises(MailboxFull, match="its capacity is 2") as caught:
            terminal.bus.emit(refused, key=key, callback=calls.append)
        assert caught.value.message is refused
        assert caught.value.capacity == 2
        assert ledger(terminal) == Ledger(3, pending=3)
        terminal.bus.emit(Work(4), key="elsewhere")
        stage.release(0)
        await terminal.drain()
        assert sorted(stage.finished) == [0, 1, 2, 4]
        terminal.bus.emit(Work(5), key=key)
        await terminal.drain()
        assert stage.finished[-1] == 5
        assert calls == []
        assert ledger(terminal) == Ledger(5, handled=5)


@both_kinds
async def test_offer_with_room_is_an_emit(make_terminal: MakeTerminal, key: str | None) -> None:
    """It queues without a turn of the loop, behind what is emitted, and returns the delivery."""
    stage = Stage()
    async with make_terminal([stage.work], concurrency=1) as terminal:
        terminal.bus.emit(Work(0), key=key)
        turns: list[int] = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        delivery = await terminal.bus.offer(Work(1), key=key)
        assert turns == []
        assert not delivery.done()
        terminal.bus.emit(Work(2), key=key)
        assert await delivery.wait() is None
        await terminal.drain()
        assert stage.finished == [0, 1, 2]
        assert ledger(terminal) == Ledger(3, handled=3)


@both_kinds
async def test_offers_wait_in_line(make_terminal: MakeTerminal, key: str | None) -> None:
    """Who waits for room is served in order, each as soon as one message has been started."""
    stage = Stage(hold=range(5))
    async with make_terminal([stage.work], capacity=1, concurrency=1) as terminal:
        await fill(terminal, key, 1)
        waiters = [
            asyncio.create_task(terminal.bus.offer(Work(number), key=key)) for number in range(2, 5)
        ]
        for number in range(4):
            await settle()
            assert [each.done() for each in waiters] == [n < number for n in range(3)]
            assert ledger(terminal).emitted == 2 + min(number, 3)
            stage.release(number)
        stage.release(4)
        for each in waiters:
            await (await each).wait()
        assert stage.started == [0, 1, 2, 3, 4]
        assert ledger(terminal) == Ledger(5, handled=5)


async def test_newcomer_does_not_overtake_the_line(make_terminal: MakeTerminal) -> None:
    """An offer made between the moment of room and the wake-up of a waiter stands behind it."""
    stage = Stage(hold={0})
    async with make_terminal([stage.work], capacity=2) as terminal:
        await fill(terminal, "a", 2)
        waiter = asyncio.create_task(terminal.bus.offer(Work(3), key="a"))
        await settle()
        # The handler goes on first and makes room for two; the newcomer's turn is next.
        stage.release(0)
        newcomer = asyncio.create_task(terminal.bus.offer(Work(4), key="a"))
        await asyncio.gather(waiter, newcomer)
        await terminal.drain()
        assert stage.started == [0, 1, 2, 3, 4]
        assert ledger(terminal) == Ledger(5, handled=5)


@both_kinds
async def test_cancelled_waiter_leaves_the_line(
    make_terminal: MakeTerminal, key: str | None
) -> None:
    """Its message is not queued, and nobody behind it is forgotten."""
    stage = Stage(hold={0})
    async with make_terminal([stage.work], capacity=1, concurrency=1) as terminal:
        await fill(terminal, key, 1)
        waiters = [
            asyncio.create_task(terminal.bus.offer(Work(number), key=key)) for number in range(2, 6)
        ]
        await settle()
        waiters[0].cancel()
        waiters[2].cancel()
        await settle()
        assert [each.cancelled() for each in waiters] == [True, False, True, False]
        assert ledger(terminal) == Ledger(2, pending=2)
        stage.release(0)
        for each in (waiters[1], waiters[3]):
            await (await each).wait()
        assert stage.finished == [0, 1, 3, 5]
        assert ledger(terminal) == Ledger(4, handled=4)


@both_kinds
async def test_waiter_cancelled_when_room_has_come_passes_it_on(
    make_terminal: MakeTerminal, key: str | None
) -> None:
    """Whose wake-up and cancellation meet has queued nothing, and the next one has the room."""
    stage = Stage(hold={0})
    async with make_terminal([stage.work], capacity=1, concurrency=1) as terminal:
        await fill(terminal, key, 1)
        first = asyncio.create_task(terminal.bus.offer(Work(2), key=key))
        second = asyncio.create_task(terminal.bus.offer(Work(3), key=key))
        await settle()
        # The handler goes on first and makes room; the cancellation comes right after.
        stage.release(0)
        asyncio.get_running_loop().call_soon(first.cancel)
        await (await second).wait()
        assert first.cancelled()
        assert stage.finished == [0, 1, 3]
        terminal.bus.emit(Work(4), key=key)
        await terminal.drain()
        assert stage.finished == [0, 1, 3, 4]
        assert ledger(terminal) == Ledger(4, handled=4)


async def test_close_wakes_those_who_wait_for_room(make_terminal: MakeTerminal) -> None:
    """Each waiter gets a TerminalClosed that carries its message, and nothing of it is queued."""
    stage = Stage(hold={0})
    async with make_terminal([stage.work], capacity=1) as terminal:
        await fill(terminal, "a", 1)
        offers = [Work(2), Work(3)]
        waiters = [asyncio.create_task(terminal.bus.offer(each, key="a")) for each in offers]
        await settle()
        closing = asyncio.create_task(terminal.close())
        errors = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(each) for each in errors] == [TerminalClosed, TerminalClosed]
        refusals = [each for each in errors if isinstance(each, TerminalClosed)]
        assert [each.message for each in refusals] == offers
        stage.release(0)
        report = await closing
        assert (report.handled, report.undelivered) == (2, ())
        assert stage.finished == [0, 1]
        assert ledger(terminal) == Ledger(2, handled=2)
