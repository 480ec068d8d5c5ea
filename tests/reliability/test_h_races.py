"""H9: a close that begins while a message is on its way in."""

import asyncio
import random
import threading
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from reliability.support import Other, Work, assert_ledger, make_terminal, turns

from runtime import Delivery, Event, EventBus, MailboxPolicy
from runtime.errors import MailboxFull, TerminalClosed

TRIALS = 1_000


class Race:
    """One terminal, and what became of each message that was on its way in."""

    def __init__(self, drawn: random.Random) -> None:
        self.drawn = drawn
        self.handled: list[int] = []
        self.accepted: dict[int, Delivery] = {}
        self.refused: dict[int, object] = {}
        self.terminal = make_terminal(
            self.handle,
            self.send_on,
            mailbox=MailboxPolicy(capacity=drawn.choice([1, 100])),
        )

    async def handle(self, work: Work) -> None:
        """Handle a message at once, or in a turn or two."""
        await turns(self.drawn.randrange(3))
        self.handled.append(work.number)

    async def send_on(self, other: Other, bus: EventBus[Event]) -> None:
        """Send messages on, from inside."""
        await turns(other.number)
        await self.send(bus, 10)
        await turns(self.drawn.randrange(2))
        await self.send(bus, 11)

    async def send(self, bus: EventBus[Event], number: int) -> None:
        """Emit or offer a message, and note whether it was accepted."""
        try:
            if self.drawn.randrange(2):
                self.accepted[number] = bus.emit(Work(number), key=number % 2 or None)
            else:
                self.accepted[number] = await bus.offer(Work(number), key=number % 2 or None)
        except (MailboxFull, TerminalClosed) as error:
            self.refused[number] = error.message

    async def later(self, number: int) -> None:
        """Send a message from outside, in some turn."""
        await turns(self.drawn.randrange(5))
        await self.send(self.terminal.bus, number)

    async def close(self) -> Any:
        """Close, in some turn."""
        await turns(self.drawn.randrange(5))
        return await self.terminal.close(self.drawn.choice([0, 30]))

    async def run(self) -> None:
        """Have all that happen in a random order, and look at every message."""
        await self.terminal.open()
        inside = [self.terminal.bus.emit(Other(self.drawn.randrange(4)), key=n) for n in range(1)]
        runs: list[Any] = [self.close(), *map(self.later, range(4))]
        self.drawn.shuffle(runs)
        await asyncio.gather(*runs)
        report = await self.terminal.close()
        stats = self.terminal.stats()
        assert {*self.accepted, *self.refused} <= {0, 1, 2, 3, 10, 11}
        assert {0, 1, 2, 3} <= {*self.accepted, *self.refused}
        assert self.refused == {number: Work(number) for number in self.refused}
        assert self.refused.keys().isdisjoint(self.accepted)
        assert all(each.done() for each in (*inside, *self.accepted.values()))
        assert len(self.handled) == len({*self.handled})
        assert self.handled == [number for number in self.handled if number in self.accepted]
        assert_ledger(stats, emitted=len(self.accepted) + 1, pending=0)
        assert len(report.undelivered) == stats.rejected_at_close


async def test_h9_close_meets_messages(runtime_seed: int, expected_logs: list[str]) -> None:
    """In 1,000 trials a message from a handler or a task is handled, failed, or given back.

    The scenario has 100,000 trials, which is for the stress tests.
    """
    expected_logs += ["messages undelivered", "failed to handle"]
    drawn = random.Random(runtime_seed)
    for _ in range(TRIALS):
        await Race(drawn).run()


def emit(bus: Any, key: Hashable) -> Delivery | None:
    """Emit in another thread; None is refused."""
    try:
        delivery: Delivery = bus.emit(Work(0), key=key)
    except TerminalClosed:
        return None
    return delivery


def test_h9_close_meets_messages_from_threads(expected_logs: list[str]) -> None:
    """In 1,000 trials a message from another thread is handled, or refused in that thread."""
    handled: list[Event] = []

    def handle(work: Work) -> None:
        handled.append(work)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        accepted = 0
        with ThreadPoolExecutor(1) as threads:
            for trial in range(TRIALS):
                terminal = make_terminal(handle)
                await terminal.open()
                emitting = loop.run_in_executor(threads, emit, terminal.bus.from_thread, "box")
                await turns(trial % 4)
                await terminal.close()
                delivery = await emitting
                accepted += delivery is not None
                assert delivery is None or delivery.done()
                assert_ledger(terminal.stats(), handled=int(delivery is not None), pending=0)
        assert len(handled) == accepted

    asyncio.run(main(), debug=False)


class HalfWay:
    """A key that keeps the thread that looks it up until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def __hash__(self) -> int:
        """Wait, but not on the loop."""
        if threading.current_thread() is not threading.main_thread():
            self.reached.set()
            self.let_go.wait()
        return 1


@pytest.mark.parametrize("is_over", [False, True], ids=["closing", "closed"])
def test_h9_close_meets_a_thread_half_way(is_over: bool) -> None:
    """A thread that is inside `emit` when the close begins is in time, when it ends too late."""
    handled: list[Event] = []

    async def handle(event: Event) -> None:
        handled.append(event)
        await gate.wait() if isinstance(event, Other) else None

    async def main() -> None:
        loop = asyncio.get_running_loop()
        terminal = make_terminal(handle)
        terminal.bus.emit(Other())
        await turns(2)
        key = HalfWay()
        with ThreadPoolExecutor(1) as threads:
            emitting = loop.run_in_executor(threads, emit, terminal.bus.from_thread, key)
            key.reached.wait()
            closing = asyncio.create_task(terminal.close())
            await turns(3)
            if is_over:
                gate.set()
                await closing
            key.let_go.set()
            delivery = await emitting
            gate.set()
            await closing
        assert (delivery is None) == is_over
        assert handled == ([Other()] if is_over else [Other(), Work(0)])
        assert_ledger(terminal.stats(), handled=len(handled), pending=0)

    gate = asyncio.Event()
    asyncio.run(main())
