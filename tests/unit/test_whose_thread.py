"""Whose thread a verb may be called from, and what the bus for other threads says."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import Command, Delivery, Event, EventBus
from runtime.errors import SinkUnset, TerminalClosed, WrongLoop

REQUEST: ContextVar[str] = ContextVar("request", default="none")


class Ping(Event):
    number: int = 0


class Ask(Command[str]):
    pass


def raised_by(call: Callable[[], object]) -> BaseException | None:
    """Return what a call raises, if it does."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 -- returned
        return error
    return None


def awaited(verb: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], object]:
    """Return a call that awaits a verb on a loop of the calling thread."""

    async def run() -> object:
        return await verb()

    return lambda: asyncio.run(run())


async def in_a_thread(call: Callable[[], object]) -> Any:
    """Return what a call returns in another thread."""
    return await asyncio.get_running_loop().run_in_executor(None, call)


VERBS: dict[str, Callable[[EventBus[Event]], Callable[[], object]]] = {
    "emit": lambda bus: lambda: bus.emit(Ping()),
    "emit to a key": lambda bus: lambda: bus.emit(Ping(), key="box"),
    "emit later": lambda bus: lambda: bus.emit(Ping(), delay=1),
    "emit in time": lambda bus: lambda: bus.emit(Ping(), ttl=1),
    "offer": lambda bus: awaited(lambda: bus.offer(Ping())),
    "publish": lambda bus: awaited(lambda: bus.publish(Ping())),
    "send": lambda bus: awaited(lambda: bus.send(Ask())),
    "sink": lambda bus: awaited(lambda: bus.sink(Ping())),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
@pytest.mark.parametrize("scope", [False, True], ids=["root", "scope"])
async def test_verbs_are_for_the_terminals_own_thread(
    verb: Callable[[EventBus[Event]], Callable[[], object]], scope: bool
) -> None:
    """In another thread each raises at once, and nothing is accepted; also a second time."""
    ran: list[object] = []

    def handle(event: Event) -> None:
        ran.append(event)

    def answer(command: Ask) -> str:
        ran.append(command)
        return ""

    async with terminal_with(handle, answer) as terminal, terminal.scope("mine") as mine:
        bus = mine.bus if scope else terminal.bus
        for _ in range(2):
            error = await in_a_thread(lambda: raised_by(verb(bus)))
            assert isinstance(error, WrongLoop)
            assert "belongs to another thread" in str(error)
        await terminal.drain()
        assert terminal.stats().emitted == 0
    assert ran == []


THREAD_VERBS: dict[str, Callable[[Any], object]] = {
    "emit": lambda bus: bus.emit(Ping()),
    "emit later": lambda bus: bus.emit(Ping(), delay=1),
    "offer": lambda bus: bus.offer(Ping()),
    "publish": lambda bus: bus.publish(Ping()),
    "send": lambda bus: bus.send(Ask()),
    "sink": lambda bus: bus.sink(Ping()),
}


@pytest.mark.parametrize("verb", THREAD_VERBS.values(), ids=THREAD_VERBS.keys())
async def test_from_thread_is_for_other_threads(verb: Callable[[Any], object]) -> None:
    """On the terminal's own thread, and before it is open, it raises instead of hanging."""
    terminal = terminal_with()
    bus = terminal.bus.from_thread
    with pytest.raises(WrongLoop, match="has not been opened"):
        verb(bus)
    async with terminal:
        with pytest.raises(WrongLoop, match="belongs to this very thread"):
            verb(bus)
        assert terminal.stats().emitted == 0
    error = await in_a_thread(lambda: raised_by(lambda: verb(bus)))
    assert isinstance(error, TerminalClosed)


@pytest.mark.parametrize("verb", THREAD_VERBS.values(), ids=THREAD_VERBS.keys())
def test_from_thread_after_the_loop_has_gone(verb: Callable[[Any], object]) -> None:
    """It raises TerminalClosed, and does not wait for a loop that will never run again."""

    async def main() -> Any:
        terminal = terminal_with()
        await terminal.open()
        await terminal.close()
        return terminal.bus.from_thread

    bus = asyncio.run(main())
    errors: list[BaseException | None] = []
    thread = threading.Thread(target=lambda: errors.append(raised_by(lambda: verb(bus))))
    thread.start()
    thread.join()
    assert isinstance(errors[0], TerminalClosed)


async def test_from_thread_runs_under_the_threads_variables() -> None:
    """A copy of what the thread has set goes with each message, and the result comes back."""
    seen: list[tuple[str, str]] = []

    async def handle(event: Ping) -> None:
        seen.append(("handle", REQUEST.get()))

    async def answer(command: Ask) -> str:
        await asyncio.sleep(0)
        return REQUEST.get()

    async with terminal_with(handle, answer) as terminal:
        bus = terminal.bus.from_thread

        def work() -> str:
            REQUEST.set("thread")
            bus.emit(Ping(), key="box")
            bus.publish(Ping())
            assert isinstance(bus.offer(Ping(), ttl=5), Delivery)
            bus.emit(Ping(), delay=0, callback=lambda _: seen.append(("called", REQUEST.get())))
            answered = bus.send(Ask())
            REQUEST.set("later")
            return answered

        assert await in_a_thread(work) == "thread"
        await terminal.drain()
        await asyncio.sleep(0)
        await terminal.drain()
        assert isinstance(await in_a_thread(lambda: raised_by(lambda: bus.sink(Ping()))), SinkUnset)
    assert {*seen} == {("handle", "thread"), ("called", "thread")}
    assert len(seen) == 5


async def test_an_injected_bus_has_a_bus_for_threads() -> None:
    """What its thread sends goes to the handler's mailbox, and is taken while a close drains."""
    order: list[tuple[int, str]] = []
    gate = asyncio.Event()
    refusals: list[BaseException | None] = []

    async def handle(event: Ping, bus: EventBus[Event]) -> None:
        order.append((event.number, "begins"))
        await gate.wait()
        if event.number < 2:
            sent = Ping(event.number + 1)
            outside = terminal.bus.from_thread
            refusals.append(await in_a_thread(lambda: raised_by(lambda: outside.emit(sent))))
            await in_a_thread(lambda: bus.from_thread.emit(sent))
        order.append((event.number, "ends"))

    terminal = terminal_with(handle)
    terminal.bus.emit(Ping(0), key="box")
    await asyncio.sleep(0)
    closing = asyncio.create_task(terminal.close())
    await asyncio.sleep(0)
    gate.set()
    assert (await closing).handled == 3
    assert order == [(number, step) for number in range(3) for step in ("begins", "ends")]
    assert [type(each) for each in refusals] == [TerminalClosed] * 2
