"""`runtime.run` starts the loop that the runtime is made for."""

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import BusTerminal, Event, run
from runtime.loops import run_on
from runtime.signals import Alarm


class Ping(Event):
    number: int = 0


class Leaving:
    """Something that a terminal leaves when it closes, well or not."""

    def __init__(self, left: list[str], name: str, error: Exception | None = None) -> None:
        self.left = left
        self.name = name
        self.error = error

    async def sink(self, records: object) -> None: ...

    async def close(self) -> None:
        self.left.append(self.name)
        if self.error is not None:
            raise self.error


async def opened(left: list[str], name: str, error: Exception | None = None) -> BusTerminal[Event]:
    """Open a terminal that nobody will close."""
    terminal = terminal_with(name=name, sink=Leaving(left, name, error))
    await terminal.open()
    return terminal


@pytest.fixture(params=["asyncio", "uvloop"])
def start(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return what runs a coroutine as `run` does, on either loop."""
    factory = None
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop", reason="no uvloop here").new_event_loop
    return lambda main: run_on(factory, main, debug=None)


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not made for Windows")
def test_run_uses_uvloop_and_returns_the_result() -> None:
    """The coroutine runs on uvloop, and its result comes back."""

    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert run(main()) == "uvloop"


def test_run_raises_what_the_coroutine_raises() -> None:
    """An error of the program is the program's own."""

    async def main() -> None:
        msg = "out of stock"
        raise LookupError(msg)

    with pytest.raises(LookupError, match="out of stock"):
        run(main())


def test_run_passes_debug_on() -> None:
    """`debug=True` is asyncio's debug mode."""

    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert run(main(), debug=True)


def test_run_inside_a_loop_is_an_error() -> None:
    """A loop cannot be started where one runs."""

    async def main() -> None:
        run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="while an event loop runs in this thread"):
        run(main())


def test_what_is_open_at_the_end_is_closed_in_reverse(start: Callable[..., Any]) -> None:
    """The last opened is closed first, with or without a message; one closed already is not."""
    left: list[str] = []

    async def main() -> str:
        for name in ("one", "two", "three"):
            await opened(left, name)
        await (await opened(left, "own")).close()
        return "done"

    assert start(main()) == "done"
    assert left == ["own", "three", "two", "one"]


def test_what_a_task_has_opened_is_closed_too(start: Callable[..., Any]) -> None:
    """A terminal belongs to the run, whichever of its tasks has opened it."""
    left: list[str] = []

    async def main() -> None:
        await asyncio.create_task(opened(left, "task's"))

    start(main())
    assert left == ["task's"]


def test_a_close_that_fails_is_logged_and_raised(
    start: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It keeps no other from being closed."""
    left: list[str] = []

    async def main(*failing: str) -> None:
        for name in ("one", "two", "three"):
            await opened(left, name, OSError(f"{name} is full") if name in failing else None)

    with pytest.raises(OSError, match="two is full"):
        start(main("two"))
    assert left == ["three", "two", "one"]
    assert [record.message for record in caplog.records] == [
        "terminal 'two' could not be closed well"
    ]
    with pytest.raises(ExceptionGroup, match="terminals could not be closed well") as caught:
        start(main("one", "two"))
    assert [str(each) for each in caught.value.exceptions] == ["two is full", "one is full"]


def test_the_programs_own_error_wins(start: Callable[..., Any]) -> None:
    """What the coroutine raises is raised, whatever the closes come to."""
    left: list[str] = []

    async def main() -> None:
        await opened(left, "one", OSError("disk full"))
        msg = "out of stock"
        raise LookupError(msg)

    with pytest.raises(LookupError, match="out of stock"):
        start(main())
    assert left == ["one"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_exit_closes_terminals(start: Callable[..., Any], error: BaseException) -> None:
    """`sys.exit` in the coroutine is one more way to end it."""
    left: list[str] = []

    async def main() -> None:
        await opened(left, "one")
        raise error

    with pytest.raises(type(error)):
        start(main())
    assert left == ["one"]


def test_a_close_under_way_is_waited_for(start: Callable[..., Any]) -> None:
    """A task that closes a terminal when the program ends is not cut short."""
    handled: list[int] = []

    async def handler(event: Ping) -> None:
        await asyncio.sleep(0)
        handled.append(event.number)

    async def main() -> asyncio.Task[Any]:
        terminal = terminal_with(handler)
        for number in range(5):
            terminal.bus.emit(Ping(number), key="box")
        closing = asyncio.create_task(terminal.close())
        await asyncio.sleep(0)
        return closing

    assert start(main()).result().handled == 5
    assert handled == [0, 1, 2, 3, 4]


def test_terminals_of_other_loops_are_their_own(start: Callable[..., Any]) -> None:
    """A loop in another thread keeps its terminals, although it has the caller's context."""
    left: list[str] = []

    async def main() -> None:
        def elsewhere() -> None:
            async def short() -> None:
                terminal = await opened(left, "elsewhere")
                found.append(terminal)
                await terminal.close()

            asyncio.run(short())

        found: list[Any] = []
        await asyncio.to_thread(elsewhere)
        assert found[0]._watch._run is None

    start(main())
    assert left == ["elsewhere"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (signal.SIGINT, signal.SIGTERM, KeyboardInterrupt),
        (signal.SIGTERM, signal.SIGINT, SystemExit),
    ],
)
def test_two_kinds_of_signal_cancel_once(
    start: Callable[..., Any],
    first: signal.Signals,
    second: signal.Signals,
    error: type[BaseException],
) -> None:
    """The second kind changes nothing; afterwards the signals do what they did before."""
    reached: list[str] = []

    async def main() -> None:
        signal.raise_signal(first)
        try:
            await asyncio.Event().wait()
        finally:
            signal.raise_signal(second)
            await asyncio.sleep(0)
            reached.append("the end")

    before = [signal.getsignal(each) for each in (first, second)]
    with pytest.raises(error):
        start(main())
    assert reached == ["the end"]
    assert [signal.getsignal(each) for each in (first, second)] == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_a_signal_during_the_closes_waits_for_them(start: Callable[..., Any]) -> None:
    """They end as they would have, and then the program ends as the signal says."""
    left: list[str] = []

    async def handler(event: Ping) -> None:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0)

    async def main() -> None:
        await opened(left, "one")
        terminal = terminal_with(handler, sink=Leaving(left, "two"))
        await terminal.open()
        terminal.bus.emit(Ping())

    with pytest.raises(SystemExit) as caught:
        start(main())
    assert caught.value.code == 0
    assert left == ["two", "one"]


def test_a_cancellation_without_a_signal_stays_one(start: Callable[..., Any]) -> None:
    """A coroutine that cancels itself has not been interrupted."""

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        start(main())


def test_run_in_another_thread_leaves_signals_alone() -> None:
    """Only the main thread is told of signals."""
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    async def main() -> None:
        seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=lambda: run(main()))
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_a_signal_wakes_a_loop_that_is_about_to_wait(start: Callable[..., Any]) -> None:
    """Also one that comes before the wait and after the last instruction: the system rings."""

    async def main() -> int:
        descriptor = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        return descriptor

    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    assert start(main()) != -1
    after = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(after)
    assert after == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_a_descriptor_that_somebody_has_taken_over_is_left_alone() -> None:
    """A program may use the wake-up descriptor for its own ends."""
    ears, bell = socket.socketpair()
    bell.setblocking(False)

    with asyncio.Runner() as runner:
        alarm = Alarm(runner.get_loop())
        signal.set_wakeup_fd(bell.fileno())
        alarm.close()
        assert signal.set_wakeup_fd(-1) == bell.fileno()
    ears.close()
    bell.close()
