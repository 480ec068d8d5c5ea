"""Places in a mailbox that somebody was promised: nobody takes them away."""

import asyncio

from unit.support import terminal_with

from runtime import BusTerminal, Event, MailboxPolicy


class Small(Event):
    """What a mailbox holds two of."""


class Large(Event):
    """What it holds ten of."""


POLICIES = {Small: MailboxPolicy(capacity=2), Large: MailboxPolicy(capacity=10)}


async def hold_one(terminal: BusTerminal[Event]) -> None:
    """Have a mailbox start a message, so that others queue behind it."""
    terminal.bus.emit(Large(), key="box")
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_what_is_held_back_has_its_place() -> None:
    """Messages of a type with more room fill the mailbox meanwhile; the place is there still."""
    gate = asyncio.Event()

    async def handle(event: Event) -> None:
        await gate.wait()

    async with terminal_with(handle, mailbox=POLICIES) as terminal:
        await hold_one(terminal)
        async with terminal.scope("box", hold_emits=True) as scope:
            delivery = scope.bus.emit(Small())
            for _ in range(5):
                terminal.bus.emit(Large(), key="box")
        gate.set()
        await delivery.wait()
    assert (terminal.stats().emitted, terminal.stats().handled) == (7, 7)


async def test_who_has_stood_in_line_has_a_place() -> None:
    """Between the moment of room and the waking of an offer, the others do not take it."""
    gate = asyncio.Event()

    async def handle(event: Event) -> None:
        await gate.wait()

    async def crowd(terminal: BusTerminal[Event]) -> None:
        await gate.wait()
        for _ in range(5):
            terminal.bus.emit(Large(), key="box")

    async with terminal_with(handle, mailbox=POLICIES) as terminal:
        await hold_one(terminal)
        for _ in range(2):
            terminal.bus.emit(Large(), key="box")
        offering = asyncio.create_task(terminal.bus.offer(Small(), key="box"))
        # It has its turn after the worker that makes room, and before the offer.
        crowding = asyncio.create_task(crowd(terminal))
        await asyncio.sleep(0)
        gate.set()
        await (await offering).wait()
        await crowding
    assert (terminal.stats().emitted, terminal.stats().handled) == (9, 9)
