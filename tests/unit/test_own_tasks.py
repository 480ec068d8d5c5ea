"""Handlers that run in a task of their own, and what no handler finds in its task."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Annotated, Any

import pytest
from unit.support import registry_with

from runtime import BusTerminal, Event, EventBus, MessageRegistry, use
from runtime.workers import HandlerTask, WorkerTask

REQUEST: ContextVar[str] = ContextVar("request", default="none")


class Ping(Event):
    number: int = 0


def own_task(handler: Callable[..., Any], *others: Callable[..., Any]) -> BusTerminal[Event]:
    """Return a terminal that runs a handler in a task of its own, and others as ever."""
    registry = MessageRegistry(event_base=Event)
    registry.register(handler, own_task=True)
    for other in others:
        registry.register(other)
    return BusTerminal(registry)


async def test_each_message_has_a_task() -> None:
    """It is a task that is neither the worker's nor another message's, in order all the same."""
    tasks: list[asyncio.Task[Any] | None] = []
    numbers: list[int] = []

    async def handle(event: Ping) -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)
        assert asyncio.current_task() is tasks[-1]
        numbers.append(event.number)

    async with own_task(handle) as terminal:
        for number in range(5):
            terminal.bus.emit(Ping(number), key="box")
        await terminal.drain()
        assert terminal.stats().handled == 5
    assert len({id(each) for each in tasks}) == 5
    assert all(isinstance(each, HandlerTask) for each in tasks)
    assert not any(isinstance(each, WorkerTask) for each in tasks)
    assert numbers == list(range(5))


async def test_cancelling_its_task_does_not_hurt_the_worker() -> None:
    """From outside or by itself: the message has failed, and the next finds a task in order."""
    tasks: dict[int, asyncio.Task[Any]] = {}
    workers: set[asyncio.Task[Any] | None] = set()
    left: list[str] = []

    async def resource() -> AsyncIterator[int]:
        try:
            yield 1
        except asyncio.CancelledError:
            left.append("cancelled")
            raise
        finally:
            left.append("left")

    began = asyncio.Event()

    async def handle(event: Ping, number: Annotated[int, use(resource)]) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        tasks[event.number] = task
        if event.number == 0:
            began.set()
            await asyncio.Event().wait()
        if event.number == 1:
            task.cancel()
            await asyncio.sleep(0)
        if event.number == 2:
            # Cancelled and done: nobody is left to notice.
            task.cancel()

    async def other(event: Ping) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        workers.add(task)

    async with own_task(handle, other) as terminal:
        deliveries = [terminal.bus.emit(Ping(number), key="box") for number in range(4)]
        await began.wait()
        tasks[0].cancel()
        await terminal.drain()
        assert [len(each.dead_letters) for each in deliveries][:2] == [1, 1]
        assert [len(each.dead_letters) for each in deliveries][3] == 0
        assert len(workers) == 1
    assert left[:4] == ["cancelled", "left"] * 2
    assert left.count("left") == 4


async def test_publish_runs_it_in_the_callers_task() -> None:
    """Inline it is a handler like any other."""
    seen: list[asyncio.Task[Any] | None] = []

    async def handle(event: Ping) -> None:
        seen.append(asyncio.current_task())

    async with own_task(handle) as terminal:
        await terminal.bus.publish(Ping())
    assert seen == [asyncio.current_task()]


async def test_its_scope_bus_and_variables() -> None:
    """A task of its own changes nothing about what a handler is given."""
    seen: list[str] = []

    async def handle(event: Ping, bus: EventBus[Event]) -> None:
        seen.append(REQUEST.get())
        REQUEST.set("changed")
        if event.number == 0:
            REQUEST.set("first handler")
            bus.emit(Ping(1))
            seen.append("emitted")

    async with own_task(handle) as terminal:
        REQUEST.set("emitter")
        terminal.bus.emit(Ping(0), key="box")
        REQUEST.set("main")
        await terminal.drain()
        assert REQUEST.get() == "main"
    assert seen == ["emitter", "emitted", "first handler"]


async def cancels_its_task(event: Ping) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def swallows(event: Ping) -> None:
    await cancels_its_task(event)
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        return


async def is_cancelled(event: Ping) -> None:
    await cancels_its_task(event)
    await asyncio.sleep(1)


async def fails_in_a_group(event: Ping) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1))
        raise LookupError


async def is_cancelled_by_its_timeout(event: Ping) -> None:
    async with asyncio.timeout(0):
        await asyncio.sleep(1)


MISCHIEF = (cancels_its_task, swallows, is_cancelled, fails_in_a_group, is_cancelled_by_its_timeout)


def eager(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Make eager tasks; uvloop passes an option to factories that asyncio's own may not know."""
    every: dict[str, Any] = {**options, "eager_start": True}
    return asyncio.Task(coroutine, loop=loop, **every)


def own(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Make tasks as a user's factory does."""
    return asyncio.Task(coroutine, loop=loop, **options)


FACTORIES = {"plain": None, "eager": eager, "of the user's own": own}


@pytest.mark.parametrize("kind", ["worker", "own_task"])
@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES.keys())
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("mischief", MISCHIEF, ids=lambda each: each.__name__)
def test_every_handler_finds_a_task_that_nobody_has_cancelled(
    mischief: Callable[..., Any], loop: str, factory: Any, debug: bool, kind: str
) -> None:
    """Whatever the handler before has done to its task, on any loop, with any task factory."""
    if factory is eager and not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("eager tasks are new in CPython 3.12")
    found: list[int] = []
    inside: list[bool] = []

    async def look(event: Ping) -> None:
        task = asyncio.current_task()
        assert task is not None
        found.append(task.cancelling())
        await asyncio.sleep(0)
        found.append(task.cancelling())
        inside.append(emitting)

    emitting = False

    async def main() -> None:
        nonlocal emitting
        asyncio.get_running_loop().set_task_factory(factory)
        registry = registry_with(look)
        registry.register(mischief, own_task=kind == "own_task")
        registry.register(again)
        async with BusTerminal(registry) as terminal:
            emitting = True
            for number in range(4):
                terminal.bus.emit(Ping(number), key=number % 2 or None)
            emitting = False
            await terminal.drain()
            stats = terminal.stats()
            assert stats.emitted == stats.handled + stats.failed == 4

    async def again(event: Ping) -> None:
        await look(event)

    factory_of_loops = asyncio.new_event_loop
    if loop == "uvloop":
        factory_of_loops = pytest.importorskip("uvloop", reason="no uvloop here").new_event_loop
    with asyncio.Runner(debug=debug, loop_factory=factory_of_loops) as runner:
        runner.run(main())
    assert found == [0] * 16
    assert inside == [False] * 8
