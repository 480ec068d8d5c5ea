"""An ask of an idle mailbox, which may be carried out in the caller's turn.

Nothing of that is to be seen, but that it is faster: what holds for other messages holds here.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import BusTerminal, Command, Event, EventBus
from runtime.errors import DeadlockError
from runtime.workers import WorkerTask

SIMULATED = True

current: ContextVar[str] = ContextVar("current", default="unset")


class Do(Command[object]):
    what: str = ""
    depth: int = 0


class Tick(Event):
    number: int = 0


async def warmed(terminal: BusTerminal[Event]) -> BusTerminal[Event]:
    """Let a worker of the terminal be parked."""
    await terminal.bus.emit(Tick()).wait()
    await asyncio.sleep(0)
    return terminal


async def tick(tick: Tick) -> None: ...


async def test_it_is_carried_out_at_once_in_a_workers_task() -> None:
    """No turn of the loop goes by, and the caller's task is its own again afterwards."""
    tasks: list[asyncio.Task[object] | None] = []
    rounds = 0

    async def do(command: Do) -> object:
        tasks.append(asyncio.current_task())
        return command.what

    async def count_rounds() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0)
            rounds += 1

    async with terminal_with(do, tick) as terminal:
        await warmed(terminal)
        counter = asyncio.create_task(count_rounds())
        await asyncio.sleep(0)
        mine, before = asyncio.current_task(), rounds
        for _ in range(10):
            assert await terminal.bus.ask(Do("x"), key="box") == "x"
        assert rounds == before
        assert asyncio.current_task() is mine
        counter.cancel()
    assert all(isinstance(each, WorkerTask) for each in tasks)
    assert len({*tasks}) == 1


async def test_a_handler_that_suspends_goes_on_in_its_own_turn() -> None:
    """Timeouts, task groups and cancellation work in it, before and after it suspends."""

    async def do(command: Do) -> object:
        task = asyncio.current_task()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(60)
        async with asyncio.TaskGroup() as group:
            inner = group.create_task(asyncio.sleep(1, "inner"))
        assert asyncio.current_task() is task
        if command.what == "cancel":
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)
        return inner.result()

    async with terminal_with(do, tick) as terminal:
        await warmed(terminal)
        assert await terminal.bus.ask(Do(), key="box") == "inner"
        await warmed(terminal)
        with pytest.raises(asyncio.CancelledError):
            await terminal.bus.ask(Do("cancel"), key="box")
        await warmed(terminal)
        # Who comes next meets no cancellation.
        assert await terminal.bus.ask(Do(), key="box") == "inner"


async def test_a_handler_that_cancels_its_task_at_once() -> None:
    """The caller is not cancelled, and the next handler starts clean."""
    states: list[int] = []

    async def do(command: Do) -> object:
        task = asyncio.current_task()
        assert task is not None
        states.append(task.cancelling())
        task.cancel()
        return "done"

    async with terminal_with(do, tick) as terminal:
        for _ in range(3):
            await warmed(terminal)
            assert await terminal.bus.ask(Do(), key="box") == "done"
    assert states == [0, 0, 0]


async def test_a_cancelled_handler_leaves_no_task_behind() -> None:
    """What it awaits is cancelled with it, also if it has suspended in its caller's turn."""
    outcomes: list[str] = []

    async def inner() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            outcomes.append("cancelled")
            raise
        outcomes.append("went on")

    async def do(command: Do) -> object:
        task = asyncio.create_task(inner())
        current_task = asyncio.current_task()
        assert current_task is not None
        if command.what == "itself":
            asyncio.get_running_loop().call_soon(current_task.cancel)
        try:
            await task
        finally:
            outcomes.append("ended")
        return None

    async with terminal_with(do, tick) as terminal:
        await warmed(terminal)
        with pytest.raises(asyncio.CancelledError):
            await terminal.bus.ask(Do("itself"), key="box")
        assert outcomes == ["cancelled", "ended"]
        await asyncio.sleep(60)
        assert outcomes == ["cancelled", "ended"]


async def test_a_handler_cannot_drive_what_it_is_carried_out_by() -> None:
    """The ask says that it is executing, as a coroutine does, and gets its reply."""
    asks: list[Any] = []

    async def do(command: Do) -> object:
        calls: list[Callable[[], object]] = [
            lambda: asks[0].send(None),
            lambda: next(asks[0]),
            lambda: asks[0].throw(LookupError()),
            lambda: asks[0].close(),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="executing already"):
                call()
        return "done"

    async with terminal_with(do, tick) as terminal:
        await warmed(terminal)
        asks.append(terminal.bus.ask(Do(), key="box"))
        assert await asks[0] == "done"


async def test_context_variables_are_the_callers_and_stay_inside() -> None:
    """What the handler sets reaches nobody else."""

    async def do(command: Do) -> object:
        seen = current.get()
        current.set("handler")
        if command.what == "suspend":
            await asyncio.sleep(1)
            assert current.get() == "handler"
        return seen

    async with terminal_with(do, tick) as terminal:
        await warmed(terminal)
        current.set("caller")
        for what in ("", "suspend", ""):
            assert await terminal.bus.ask(Do(what), key="box") == "caller"
            assert current.get() == "caller"


async def test_handlers_may_ask_others_in_turn() -> None:
    """A chain of asks ends at its last, and one that comes back to itself is told."""

    async def do(command: Do, bus: EventBus[Event]) -> object:
        if command.depth == 0:
            return "end"
        return await bus.ask(Do(depth=command.depth - 1), key=command.depth)

    async def back(event: Tick, bus: EventBus[Event]) -> None:
        with pytest.raises(DeadlockError):
            await bus.ask(Do())

    async with terminal_with(do, back) as terminal:
        await terminal.bus.emit(Tick(), key="box").wait()
        await asyncio.sleep(0)
        assert await terminal.bus.ask(Do(depth=50), key="box", timeout=60) == "end"
        assert terminal.stats().asked == 51


async def test_what_is_emitted_meanwhile_is_handled_after_it() -> None:
    """A mailbox handles one message at a time, whoever's turn it is."""
    order: list[str] = []

    async def do(command: Do, bus: EventBus[Event]) -> object:
        bus.emit(Tick(1))
        order.append("begins")
        if command.what == "suspend":
            await asyncio.sleep(1)
        order.append("ends")
        return None

    async def note(event: Tick) -> None:
        if event.number:
            order.append("tick")

    for what in ("", "suspend"):
        async with terminal_with(do, note) as terminal:
            await warmed(terminal)
            await terminal.bus.ask(Do(what), key="box")
            await terminal.drain()
    assert order == ["begins", "ends", "tick"] * 2


async def test_who_only_asks_lets_the_loop_go_round() -> None:
    """Timers fire, and others have their turn."""

    async def do(command: Do) -> object:
        return None

    async with terminal_with(do, tick) as terminal:
        await warmed(terminal)
        turns = 0

        async def other() -> None:
            nonlocal turns
            for _ in range(5):
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.create_task(other())
        for _ in range(1_000):
            await terminal.bus.ask(Do(), key="box")
        assert turns == 5
        await task


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_leaves_the_loop(error: type[BaseException]) -> None:
    """As it does from any task; the terminal can be closed after it."""

    async def do(command: Do) -> object:
        raise error

    async def main() -> None:
        async with terminal_with(do, tick) as terminal:
            await warmed(terminal)
            with pytest.raises(error):
                await terminal.bus.ask(Do(), key="box")
            await terminal.bus.emit(Tick(), key="box").wait()
            stats = terminal.stats()
            assert (stats.handled, stats.failed, stats.pending) == (2, 1, 0)

    asyncio.run(main())
