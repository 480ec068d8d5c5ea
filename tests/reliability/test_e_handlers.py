"""E: handlers that will not end, resources that fail, context variables, and who holds what."""

import asyncio
import gc
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated

import pytest
from reliability.support import Boom, Work, assert_ledger, proven, turns

from runtime import BusTerminal, Event, EventBus, MessageRegistry, use


class Stubborn:
    """A handler that goes on in spite of being cancelled, until it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.cancelled = 0

    async def work(self, work: Work) -> None:
        """Swallow every cancellation of the first message."""
        while work.number == 0 and not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1

    async def work_in_a_task(self, work: Work) -> None:
        """Wait for a task that does."""
        await asyncio.create_task(self.work(work))


@pytest.mark.parametrize("kind", ["worker", "own_task", "awaited_task"])
async def test_e3_swallowed_cancellation(kind: str, expected_logs: list[str]) -> None:
    """Who goes on is named with its stack; the close returns at its bound, others end well."""
    expected_logs += [r"Stubborn\.work\w* has swallowed its cancellation", "messages undelivered"]
    loop = asyncio.get_running_loop()
    stubborn = Stubborn()
    registry = MessageRegistry(event_base=Event)
    registry.register(
        stubborn.work_in_a_task if kind == "awaited_task" else stubborn.work,
        own_task=kind == "own_task",
    )
    terminal = BusTerminal(registry)
    first, behind = (terminal.bus.emit(Work(number), key="box") for number in range(2))
    others = [terminal.bus.emit(Work(number), key=number) for number in range(1, 50)]
    began = loop.time()
    report = await terminal.close(timeout=30)
    # A second for who is cancelled, in case it only takes its time.
    assert loop.time() - began == report.seconds == 31
    assert stubborn.cancelled == 1
    (stuck,) = report.stuck
    assert ".Stubborn.work" in stuck.name
    assert "await self.let_go.wait()" in stuck.stack
    assert report.undelivered == (Work(1),)
    for each in others:
        assert each.done()
        await each.wait()
    assert not first.done()
    assert behind.done()
    assert_ledger(terminal.stats(), pending=1, handled=49, rejected_at_close=1)
    stubborn.let_go.set()
    await first.wait()
    assert_ledger(terminal.stats(), pending=0, handled=50, failed=0, rejected_at_close=1)
    await turns(2)


async def test_e4_block_and_resources_fail() -> None:
    """The body's error comes first in one group with those of the resources, in their order.

    The scenario has handlers raise at teardown; what is torn down with a scope are resources.
    """
    order: list[str] = []
    registry = MessageRegistry(event_base=Event)

    class First:
        pass

    class Second:
        pass

    class Third:
        pass

    @registry.factory
    async def first() -> AsyncIterator[First]:
        try:
            yield First()
        finally:
            order.append("first")
            msg = "first"
            raise LookupError(msg)

    @registry.factory
    @contextmanager
    def second(first: First) -> Generator[Second]:
        with pytest.raises(Boom, match="body"):
            yield Second()
        order.append("second")
        msg = "second"
        raise LookupError(msg)

    @registry.factory
    async def third(second: Second) -> AsyncIterator[Third]:
        try:
            yield Third()
        finally:
            await asyncio.sleep(1)
            order.append("third")
            msg = "third"
            raise LookupError(msg)

    body = Boom("body")
    terminal = BusTerminal(registry)

    async def fail() -> None:
        async with terminal.scope("box") as scope:
            await scope.resolve(Third)
            scope.bus.emit(Work())
            raise body

    async with terminal:
        with pytest.raises(ExceptionGroup) as caught:
            await fail()
        await terminal.drain()
    assert order == ["third", "second", "first"]
    assert [str(each) for each in caught.value.exceptions] == ["body", "third", "second", "first"]
    assert caught.value.exceptions[0] is body
    assert_ledger(terminal.stats(), handled=1, pending=0, scopes=0)


REQUEST: ContextVar[str] = ContextVar("request", default="nobody")


@pytest.mark.parametrize("kind", ["worker", "own_task", "in_thread"])
async def test_e6_context_variables(kind: str) -> None:
    """Every step of a handler sees the emitter's values; what it changes ends with its message."""
    seen: list[tuple[str, str, str]] = []

    class Resource:
        pass

    async def resource() -> AsyncIterator[Resource]:
        emitter = REQUEST.get()
        seen.append((emitter, "entered", emitter))
        try:
            yield Resource()
        finally:
            await asyncio.sleep(0)
            seen.append((emitter, "left", REQUEST.get()))

    async def handle(work: Work, resource: Annotated[Resource, use(resource)]) -> None:
        emitter = f"emitter {work.number}"
        seen.append((emitter, "begins", REQUEST.get()))
        await asyncio.sleep(1)
        seen.append((emitter, "goes on", REQUEST.get()))
        try:
            async with asyncio.timeout(1):
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append((emitter, "is thrown at", REQUEST.get()))
        assert (await asyncio.to_thread(REQUEST.get)) == REQUEST.get()
        REQUEST.set("leak")

    def in_thread(work: Work, resource: Annotated[Resource, use(resource)]) -> None:
        seen.append((f"emitter {work.number}", "begins", REQUEST.get()))
        REQUEST.set("leak")

    registry = MessageRegistry(event_base=Event)
    registry.register(
        in_thread if kind == "in_thread" else handle,
        own_task=kind == "own_task",
        in_thread=kind == "in_thread",
    )
    terminal = BusTerminal(registry)
    async with terminal:
        for number in range(6):
            REQUEST.set(f"emitter {number}")
            terminal.bus.emit(Work(number), key=number % 2)
        REQUEST.set("main")
        await terminal.drain()
        assert REQUEST.get() == "main"
    steps = ["entered", "begins", "goes on", "is thrown at", "left"]
    if kind == "in_thread":
        steps = ["entered", "begins", "left"]
    for number in range(6):
        values = {step: value for of, step, value in seen if of == f"emitter {number}"}
        # A handler that runs in its worker shares its variables with what it has entered.
        expected = dict.fromkeys(steps, f"emitter {number}")
        if kind != "in_thread":
            expected["left"] = "leak"
        assert values == expected
    assert_ledger(terminal.stats(), handled=6, pending=0)


async def test_e7_collected_at_every_turn() -> None:
    """Work that nobody but the runtime holds survives a collection at every turn."""
    ended: list[int] = []
    turned = 0

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        await turns(work.number % 5)
        if work.producer < 2:
            bus.emit(Work(work.number, work.producer + 1))
        # Only the handler itself, and what waits for it, knows this one.
        await asyncio.wait([asyncio.create_task(turns(2))])
        ended.append(work.number)

    async def collect() -> None:
        nonlocal turned
        while True:
            gc.collect()
            turned += 1
            await asyncio.sleep(0)

    # What is there already need not be looked at each time.
    gc.freeze()
    try:
        collecting = asyncio.create_task(collect())
        async with proven(handle) as terminal:
            for number in range(20):
                terminal.bus.emit(Work(number), key=number if number % 2 else None)
            await terminal.drain()
        collecting.cancel()
    finally:
        gc.unfreeze()
    assert turned > 10
    assert sorted(ended) == sorted([*range(20)] * 3)
    assert_ledger(terminal.stats(), handled=60, pending=0)
