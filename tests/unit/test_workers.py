"""Workers: few tasks, the emitter's context variables, and nothing left behind in a task."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from unit.support import registry_with

from runtime import BusTerminal, Event, EventBus, MailboxPolicy
from runtime.workers import WorkerTask

REQUEST: ContextVar[str] = ContextVar("request", default="none")


class Ping(Event):
    number: int = 0


def terminal_with(*handlers: Any) -> BusTerminal[Event]:
    return BusTerminal(registry_with(*handlers), mailbox=MailboxPolicy(capacity=100_000))


def workers() -> list[WorkerTask]:
    return [task for task in asyncio.all_tasks() if isinstance(task, WorkerTask)]


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_one_worker_serves_handlers_that_do_not_suspend() -> None:
    """Ten thousand messages to a thousand mailboxes need one task."""
    seen: set[int] = set()

    async def handler(event: Ping) -> None:
        seen.add(len(workers()))

    async with terminal_with(handler) as terminal:
        for number in range(10_000):
            terminal.bus.emit(Ping(number), key=number % 1_000)
        await terminal.drain()
        assert terminal.stats().handled == 10_000
        assert len(workers()) == 1
    assert seen == {1}
    assert workers() == []


async def test_a_suspended_handler_holds_up_nobody_else() -> None:
    """Another worker takes over the run queue, and the extra ones end when idle."""
    gate = asyncio.Event()
    done: list[int] = []

    async def handler(event: Ping) -> None:
        if event.number < 10:
            await gate.wait()
        done.append(event.number)

    async with terminal_with(handler) as terminal:
        for number in range(20):
            terminal.bus.emit(Ping(number), key=number)
        # A worker more each turn, until all ten wait.
        await turns(50)
        assert done == list(range(10, 20))
        assert len(workers()) == 11
        gate.set()
        await terminal.drain()
        await turns()
        assert sorted(done) == list(range(20))
        assert len(workers()) == 1


async def test_a_hot_mailbox_does_not_starve_the_others() -> None:
    """Every other mailbox has its turn after at most eight messages of the hot one."""
    order: list[str] = []

    async def handler(event: Ping, bus: EventBus[Event]) -> None:
        order.append("hot" if event.number == 0 else "quiet")

    async with terminal_with(handler) as terminal:
        for _ in range(10_000):
            terminal.bus.emit(Ping(0), key="hot")
        for number in range(1, 100):
            terminal.bus.emit(Ping(number), key=number)
        await terminal.drain()
    assert "quiet" in order[: 8 + 1]
    last_quiet = max(place for place, kind in enumerate(order) if kind == "quiet")
    assert order[:last_quiet].count("hot") <= 8 * 2


async def test_the_loop_breathes_between_batches() -> None:
    """A long queue of quick handlers lets other callbacks of the loop run in between."""
    handled_at_tick: list[int] = []

    async def handler(event: Ping) -> None: ...

    async with terminal_with(handler) as terminal:
        for _ in range(1_000):
            terminal.bus.emit(Ping(), key="hot")
        while terminal.stats().pending:
            await asyncio.sleep(0)
            handled_at_tick.append(terminal.stats().handled)
    steps = [b - a for a, b in zip([0, *handled_at_tick], handled_at_tick, strict=False)]
    assert max(steps) <= 64


async def test_handlers_run_under_the_emitters_variables() -> None:
    """On every step, also after a suspension or a thrown error, and with no leak to the next."""
    seen: list[tuple[int, str, str]] = []

    async def handler(event: Ping) -> None:
        first = REQUEST.get()
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append((event.number, first, REQUEST.get()))
        REQUEST.set("leak")

    def sync(event: Ping) -> None:
        seen.append((-1, REQUEST.get(), ""))
        REQUEST.set("leak")

    async with terminal_with(handler, sync) as terminal:
        for number in range(3):
            REQUEST.set(f"request {number}")
            terminal.bus.emit(Ping(number), key="box")
        REQUEST.set("later")
        await terminal.drain()
        assert REQUEST.get() == "later"
    # Both handlers of one message share the copy, as two calls in one function would.
    assert seen == [
        entry
        for number in range(3)
        for entry in ((number, f"request {number}", f"request {number}"), (-1, "leak", ""))
    ]


async def test_a_worker_starts_in_an_empty_context() -> None:
    """What the first emitter had set is not what later messages find."""
    seen: list[str] = []

    async def handler(event: Ping) -> None:
        seen.append(REQUEST.get())

    async with terminal_with(handler) as terminal:
        token = REQUEST.set("first")
        await terminal.bus.emit(Ping()).wait()
        REQUEST.reset(token)
        await terminal.bus.emit(Ping()).wait()
    assert seen == ["first", "none"]


async def cancels_itself(event: Ping) -> None:
    if event.number == 0:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()


async def cancels_itself_and_waits(event: Ping) -> None:
    await cancels_itself(event)
    await asyncio.sleep(0)


async def cancels_itself_and_swallows(event: Ping) -> None:
    try:
        await cancels_itself_and_waits(event)
    except asyncio.CancelledError:
        await asyncio.sleep(0)


async def fails_in_a_group(event: Ping) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))
        if event.number == 0:
            msg = "in the group"
            raise ValueError(msg)


async def raises_cancelled(event: Ping) -> None:
    if event.number == 0:
        raise asyncio.CancelledError


async def times_out(event: Ping) -> None:
    if event.number == 0:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("handler", "fails"),
    [
        (cancels_itself, 0),
        (cancels_itself_and_waits, 1),
        (cancels_itself_and_swallows, 0),
        (fails_in_a_group, 1),
        (raises_cancelled, 1),
        (times_out, 1),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_what_a_handler_does_to_its_task_ends_with_it(
    handler: Callable[..., Any], fails: int
) -> None:
    """The next message, in the same mailbox or another, finds a task that nobody cancelled."""
    counts: list[int] = []

    async def looks(event: Ping) -> None:
        task = asyncio.current_task()
        assert task is not None
        if event.number > 0:
            counts.append(task.cancelling())
            await asyncio.sleep(0)
            counts.append(task.cancelling())

    async with terminal_with(handler, looks) as terminal:
        for number in range(3):
            terminal.bus.emit(Ping(number), key="same")
            terminal.bus.emit(Ping(number), key=number)
        await terminal.drain()
        stats = terminal.stats()
    assert counts == [0] * 8
    assert (stats.emitted, stats.failed, stats.handled) == (6, 2 * fails, 6 - 2 * fails)


async def test_cancelled_workers_are_replaced() -> None:
    """Cancelling every task but one's own, parked workers included, strands no message."""
    handled: list[int] = []
    gate = asyncio.Event()

    async def handler(event: Ping) -> None:
        if event.number == 0:
            await gate.wait()
        handled.append(event.number)

    async with terminal_with(handler) as terminal:
        await terminal.bus.emit(Ping(1), key="a").wait()
        for task in workers():
            task.cancel()
        terminal.bus.emit(Ping(2), key="a")
        terminal.bus.emit(Ping(0), key="b")
        terminal.bus.emit(Ping(3), key="b")
        await turns()
        for task in workers():
            task.cancel()
        await turns()
        for task in workers():
            task.cancel()
        terminal.bus.emit(Ping(4), key="c")
        await terminal.drain()
        stats = terminal.stats()
    assert sorted(handled) == [1, 2, 3, 4]
    assert (stats.handled, stats.failed, stats.pending) == (4, 1, 0)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="new in CPython 3.12")
async def test_an_eager_task_factory_runs_no_handler_inside_emit() -> None:
    """Workers are plain tasks, whatever factory the loop has."""

    def eager(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        # Some versions of the loops pass this option to factories that do not know it.
        options["eager_start"] = True
        return asyncio.Task(coroutine, loop=loop, **options)

    asyncio.get_running_loop().set_task_factory(eager)
    ran: list[int] = []

    async def handler(event: Ping) -> None:
        ran.append(event.number)

    async with terminal_with(handler) as terminal:
        terminal.bus.emit(Ping())
        assert ran == []
        await terminal.drain()
    assert ran == [0]


async def test_debug_mode_changes_nothing() -> None:
    """In asyncio's debug mode workers start, show themselves and end."""
    asyncio.get_running_loop().set_debug(True)

    async def handler(event: Ping) -> None:
        await asyncio.sleep(0)

    async with terminal_with(handler) as terminal:
        await terminal.bus.emit(Ping()).wait()
        assert "runtime.worker" in repr(workers()[0])
        await terminal.bus.publish(Ping())
    assert terminal.stats().handled == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_leaves_the_loop_and_is_counted(error: type[BaseException]) -> None:
    """`KeyboardInterrupt` and `SystemExit` propagate; the message failed, the rest is not lost."""
    handled: list[int] = []

    def handler(event: Ping) -> None:
        if event.number == 0:
            raise error
        handled.append(event.number)

    async def main(terminal: BusTerminal[Event]) -> None:
        await terminal.open()
        for number in range(3):
            terminal.bus.emit(Ping(number), key="box")
        await terminal.drain()

    loop = asyncio.new_event_loop()
    terminal = terminal_with(handler)
    task = loop.create_task(main(terminal))
    with pytest.raises(error):
        loop.run_until_complete(task)
    loop.run_until_complete(task)
    loop.run_until_complete(terminal.close())
    loop.close()
    assert handled == [1, 2]
    assert (terminal.stats().failed, terminal.stats().handled) == (1, 2)
