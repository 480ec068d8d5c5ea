"""Warm verbs allocate nothing that stays: run alone, so that nothing else moves the count."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable

from runtime import BusTerminal, Event, EventBus, MessageContext, MessageRegistry, run

ROUNDS = 100_000
TOLERANCE = 50
"""Blocks that the interpreter itself may gain; far below one for a thousand messages."""
TASKS_TOLERANCE = 500
"""The same where the work makes 110,000 tasks, of which asyncio keeps books of its own."""


class Ping(Event):
    number: int = 0


class Pong(Event):
    pass


class Chain(Event):
    left: int


class Session:
    pass


class Failing(Event):
    pass


registry = MessageRegistry(event_base=Event)


@registry.register
async def plain(event: Ping, ctx: MessageContext) -> None:
    """Hear one kind of event."""


@registry.register
async def wired(event: Pong, session: Session, bus: EventBus[Event]) -> None:
    """Need a scope."""


@registry.register
async def cause(event: Chain, bus: EventBus[Event]) -> None:
    """Cause another one, in the same mailbox."""
    if event.left:
        bus.emit(Chain(event.left - 1))


@registry.register
def sync(event: Pong) -> None:
    """Run without suspending."""


@registry.register
async def fails(event: Failing) -> None:
    """Fail, inline only: dead letters are logged."""
    raise LookupError


async def publish(terminal: BusTerminal[Event], number: int) -> None:
    """Publish through both kinds of plan."""
    for _ in range(number):
        await terminal.bus.publish(Ping())
        await terminal.bus.publish(Pong())


async def publish_failing(terminal: BusTerminal[Event], number: int) -> None:
    """Publish what fails."""
    for _ in range(number // 10):
        try:
            await terminal.bus.publish(Failing())
        except LookupError:
            continue


async def emit(terminal: BusTerminal[Event], number: int) -> None:
    """Emit to the pool, to keys that come and go, and wait now and then (H7: 200,000 events)."""
    for start in range(0, number, 100):
        for offset in range(100):
            terminal.bus.emit(Ping(), key=start + offset)
            terminal.bus.emit(Pong())
        await terminal.bus.emit(Ping()).wait()


async def offer(terminal: BusTerminal[Event], number: int) -> None:
    """Offer more than fits, and cancel some who wait."""
    for _ in range(number // 1_000):
        tasks = [asyncio.create_task(terminal.bus.offer(Ping(), key="box")) for _ in range(1_100)]
        await asyncio.sleep(0)
        for task in tasks[1_050:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def scopes(terminal: BusTerminal[Event], number: int) -> None:
    """Open scopes, use them, and leave them."""
    for name in range(number // 10):
        async with terminal.scope(name) as scope:
            scope.bus.emit(Pong())
            await scope.bus.publish(Pong())
        await terminal.drain()


async def emit_caused(terminal: BusTerminal[Event], number: int) -> None:
    """Emit from handlers, with a delay, and with a time to live."""
    for start in range(0, number, 1_000):
        for offset in range(100):
            terminal.bus.emit(Chain(9), key=offset)
        for _ in range(10):
            terminal.bus.emit(Ping(start), delay=0, ttl=1)
        await terminal.drain()


def objects() -> int:
    """Return how many objects the garbage collector looks after."""
    return len(gc.get_objects())


async def growth(work: Callable[[BusTerminal[Event], int], Awaitable[None]]) -> tuple[int, int]:
    """Return by how many blocks, and collected objects, the heap has grown over many rounds."""
    async with BusTerminal(registry) as terminal:
        await work(terminal, 2_000)
        await terminal.drain()
        gc.collect()
        collected, before = objects(), sys.getallocatedblocks()
        await work(terminal, ROUNDS)
        await terminal.drain()
        gc.collect()
        grown = sys.getallocatedblocks() - before
        return grown, objects() - collected


if __name__ == "__main__":
    works = (publish, publish_failing, emit, emit_caused, offer, scopes)
    grown = {work.__name__: run(growth(work)) for work in works}
    print(grown)
    limits = dict.fromkeys(grown, TOLERANCE) | {"offer": TASKS_TOLERANCE}
    sys.exit(any(max(grown[name]) > limits[name] for name in grown))
