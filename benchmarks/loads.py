"""What is put under load: mailboxes of the runtime, and queues with a worker each by hand."""

import asyncio
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from benchmarks.openloop import HOT
from benchmarks.registries import registry_of
from benchmarks.workload import Context
from runtime import BusTerminal, Event
from runtime.errors import MailboxFull

QUIET = 1_000
CAPACITY = 1_024
"""Of each mailbox, by default in the runtime, and of each queue by hand."""
HOT_PAUSE = 0.001
"""How long the handler of a hot message waits, where it does."""


class Line(msgspec.Struct, frozen=True):
    """One line of an order."""

    product: str
    count: int
    price: float


class Order(Event):
    """What is sent: an order with its lines, and what the measurement has to know."""

    number: int
    due: float
    """When it was to be sent, by the clock of the measurement."""
    pause: float
    """How long its handler waits, as for a store; 0 for not at all."""
    lines: tuple[Line, ...] = ()


LINES = tuple(Line(f"product {number}", number, 9.5 * number) for number in range(1, 61))

Handler = Callable[[Order, Any], Awaitable[None]]
Send = Callable[[Order, int], bool]
Clock = Callable[[], float]


@dataclass(eq=False)
class Handled:
    """What the handler has done. Where it writes latencies is replaced for each run."""

    clock: Clock
    count: int = 0
    latencies: "array[float] | None" = None


def handler_of(handled: Handled) -> Handler:
    """Return the handler of both systems: the order's lines to JSON and back, and their total."""
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(list[Line]).decode
    clock = handled.clock

    async def handle(order: Order, ctx: Any) -> None:
        if order.pause:
            await asyncio.sleep(order.pause)
        sum(line.count * line.price for line in decode(encode(order.lines)))
        handled.count += 1
        if handled.latencies is not None:
            handled.latencies[order.number] = clock() - order.due

    return handle


@dataclass(frozen=True)
class Load:
    """A system that takes orders: `send` says whether there was room, `settle` waits for quiet."""

    send: Send
    settle: Callable[[], Awaitable[object]]
    handled: Handled


@asynccontextmanager
async def mailboxes(clock: Clock) -> AsyncGenerator[Load]:
    """The runtime: a mailbox for each key."""
    handled = Handled(clock)
    async with BusTerminal(registry_of(handler_of(handled))) as terminal:
        emit = terminal.bus.emit

        def send(order: Order, box: int) -> bool:
            try:
                emit(order, key=box)
            except MailboxFull:
                return False
            return True

        yield Load(send, terminal.drain, handled)


@asynccontextmanager
async def queues(clock: Clock) -> AsyncGenerator[Load]:
    """By hand: an ``asyncio.Queue`` with a worker task for each key."""
    handled = Handled(clock)
    handle = handler_of(handled)

    async def empty(queue: asyncio.Queue[Order]) -> None:
        while True:
            await handle(await queue.get(), Context())
            queue.task_done()

    boxes = {box: asyncio.Queue[Order](CAPACITY) for box in (HOT, *range(QUIET))}
    workers = [asyncio.create_task(empty(queue)) for queue in boxes.values()]
    await asyncio.sleep(0)

    def send(order: Order, box: int) -> bool:
        try:
            boxes[box].put_nowait(order)
        except asyncio.QueueFull:
            return False
        return True

    async def settle() -> None:
        for queue in boxes.values():
            await queue.join()

    yield Load(send, settle, handled)
    for worker in workers:
        worker.cancel()
    await asyncio.wait(workers)


SYSTEMS: dict[str, Callable[[Clock], AbstractAsyncContextManager[Load]]] = {
    "runtime": mailboxes,
    "Queue + worker": queues,
}
