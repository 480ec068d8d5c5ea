"""F5: many closes, from everywhere: one shutdown, one report, and nobody waits for itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from reliability.support import Other, Work, assert_ledger, make_terminal, turns

from runtime import BusTerminal, Event, EventBus, MessageRegistry, ShutdownReport, use
from runtime.errors import TerminalClosed


class Door:
    """A sink whose start and end take a second each."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def open(self) -> None:
        """Open."""
        await asyncio.sleep(1)
        self.calls.append("open")

    async def sink(self, records: object) -> None:
        """Keep nothing."""

    async def close(self) -> None:
        """Close."""
        await asyncio.sleep(1)
        self.calls.append("close")


async def test_f5_a_hundred_closes(expected_logs: list[str]) -> None:
    """Called from tasks and from handlers of several mailboxes, before, during and after."""
    expected_logs += ["with 12 messages undelivered"]
    reports: list[ShutdownReport] = []
    door = Door()

    async def handle(work: Work) -> None:
        await asyncio.sleep(work.number % 3)
        reports.append(await terminal.close())

    terminal = make_terminal(handle, sink=door)

    async def close(number: int) -> None:
        await asyncio.sleep(number % 4)
        reports.append(await terminal.close())

    await terminal.open()
    deliveries = [terminal.bus.emit(Work(n), key=n % 5 or None) for n in range(20)]
    await asyncio.gather(*map(close, range(80)))
    report = await terminal.close()
    for each in deliveries:
        assert each.done()
    await turns(5)
    assert all(each is report for each in reports)
    # Of a mailbox one handler waits for the close: what is queued behind it is not waited for.
    stats = terminal.stats()
    assert (len(report.undelivered), report.seconds) == (stats.rejected_at_close, 3)
    assert len(reports) == 80 + stats.handled
    assert stats.handled >= 5
    assert door.calls == ["open", "close"]
    assert_ledger(stats, emitted=20, failed=0, pending=0, scopes=0)


async def test_f5_close_while_opening() -> None:
    """A sink that is half open is opened, then closed; who opens the terminal is refused."""
    door = Door()
    terminal = make_terminal(sink=door)
    opening = asyncio.create_task(terminal.open())
    await asyncio.sleep(0.5)
    closings = [asyncio.create_task(terminal.close()) for _ in range(100)]
    with pytest.raises(TerminalClosed):
        await opening
    (report,) = {id(each): each for each in await asyncio.gather(*closings)}.values()
    assert door.calls == ["open", "close"]
    assert (report.handled, report.undelivered) == (0, ())
    with pytest.raises(TerminalClosed):
        await terminal.open()
    assert await terminal.close() is report
    assert_ledger(terminal.stats(), emitted=0)


class Session:
    """What lives as long as a scope."""


class Account:
    """What lives as long as a mailbox."""


@pytest.mark.parametrize("own_task", [False, True], ids=["worker", "own_task"])
async def test_f5_close_inside_a_handler(own_task: bool) -> None:
    """It has the report and is counted when it returns; then its scope and actors are left."""
    order: list[str] = []
    door = Door()
    release = asyncio.Event()
    registry = MessageRegistry(event_base=Event)

    async def session() -> AsyncIterator[Session]:
        yield Session()
        await asyncio.sleep(0)
        order.append("session")

    @registry.factory(lifetime="actor")
    async def account() -> AsyncIterator[Account]:
        yield Account()
        await asyncio.sleep(0)
        order.append("account")

    async def handle(
        work: Work, session: Annotated[Session, use(session)], account: Account
    ) -> None:
        if work.number == 0:
            report = await terminal.close()
            order.append(f"report of {report.handled}")
            assert terminal.stats().pending == 1
            await release.wait()
        order.append(f"returns {work.number}")

    registry.register(handle, own_task=own_task)
    terminal = BusTerminal(registry, sink=door)
    await terminal.open()
    closing = terminal.bus.emit(Work(0), key="box")
    other = terminal.bus.emit(Work(1), key="other")
    await turns(20)
    report = await terminal.close()
    await turns(2)
    assert report.handled == 1
    assert (closing.done(), other.done()) == (False, True)
    assert door.calls == ["open", "close"]
    # Those of the other mailbox are left with the terminal.
    assert order == ["returns 1", "session", "account", "report of 1"]
    assert_ledger(terminal.stats(), handled=1, pending=1)
    release.set()
    await closing.wait()
    await turns(5)
    assert order[4:] == ["returns 0", "session", "account"]
    assert_ledger(terminal.stats(), handled=2, failed=0, pending=0, scopes=0)


async def test_f5_block_that_awaits_the_close() -> None:
    """The block that closes is not waited for; another one is, and what it has held is handled."""
    order: list[str] = []

    async def handle(event: Event) -> None:
        order.append("handled")

    terminal = make_terminal(handle)

    async def hold_another() -> None:
        async with terminal.scope("box", hold_emits=True) as scope:
            scope.bus.emit(Work(0))
            scope.bus.emit(Other(0))
            await asyncio.sleep(10)
            with pytest.raises(TerminalClosed):
                scope.bus.emit(Work(1))
            order.append("block ends")

    holding = asyncio.create_task(hold_another())
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()
    async with terminal.scope() as outer, terminal.scope("box") as inner:
        inner.bus.emit(Work(2))
        report = await terminal.close()
        order.append("closed")
        with pytest.raises(TerminalClosed):
            outer.bus.emit(Work(3))
    assert asyncio.get_running_loop().time() - began == report.seconds == 9
    assert order == ["handled", "block ends", "handled", "handled", "closed"]
    await holding
    assert report.handled == 3
    assert_ledger(terminal.stats(), emitted=3, handled=3, pending=0, scopes=0)


async def test_f5_block_that_does_not_end(expected_logs: list[str]) -> None:
    """A block is waited for until the deadline; what it holds is rejected when it ends later."""
    expected_logs += ["closes with 1 scopes open"]

    async def handle(event: Event, bus: EventBus[Event]) -> None:
        """Handle nothing in this test."""

    terminal = make_terminal(handle)
    release = asyncio.Event()

    async def hold() -> None:
        async with terminal.scope("box", hold_emits=True) as scope:
            scope.bus.emit(Work(0))
            await release.wait()

    holding = asyncio.create_task(hold())
    await turns(2)
    report = await terminal.close(timeout=5)
    assert report.seconds == 5
    assert_ledger(terminal.stats(), emitted=0, scopes=1)
    release.set()
    with pytest.raises(TerminalClosed):
        await holding
    assert_ledger(terminal.stats(), emitted=1, rejected_at_close=1, pending=0, scopes=0)
