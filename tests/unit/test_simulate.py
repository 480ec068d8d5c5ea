"""`simulate` runs a coroutine and looks at what it leaves behind."""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from runtime import BusTerminal, Event, MessageRegistry
from runtime.testing import SimulatedLoop, Stalled, simulate


class Ticked(Event):
    number: int


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


def test_result_comes_back_in_no_time() -> None:
    """The coroutine runs on a simulated loop with the seed, and its result is returned."""

    async def main() -> tuple[int | None, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        await asyncio.sleep(3600)
        return loop.seed, loop.time()

    assert simulate(main()) == (None, 3600.0)
    assert simulate(main(), seed=42) == (42, 3600.0)


@pytest.mark.parametrize("debug", [False, True])
def test_debug_is_passed_on(debug: bool) -> None:
    """`debug` is asyncio's debug mode."""

    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert simulate(main(), debug=debug) is debug


def test_inside_a_loop_is_an_error() -> None:
    """A loop cannot be started where one runs, and the coroutine is not left unawaited."""

    async def main() -> None:
        simulate(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="while an event loop runs in this thread"):
        asyncio.run(main())


def test_errors_of_the_program_are_its_own() -> None:
    """What the coroutine raises is raised; what it left behind is not looked at then."""

    async def main() -> None:
        asyncio.get_running_loop().create_task(wait_for_ever())
        msg = "out of stock"
        raise LookupError(msg)

    with pytest.raises(LookupError, match="out of stock") as caught:
        simulate(main())
    assert notes(caught.value) == []


def test_tasks_that_are_left_are_named() -> None:
    """A leaked task is an error that says which, and where it waits; then it is cancelled."""
    ended: list[bool] = []

    async def forgotten() -> None:
        try:
            await wait_for_ever()
        finally:
            ended.append(True)

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(forgotten(), name="forgotten one")
        await asyncio.sleep(1)
        return task

    line = wait_for_ever.__code__.co_firstlineno + 1
    with pytest.raises(AssertionError, match="tasks were left") as caught:
        simulate(main())
    assert f"  forgotten one: {forgotten.__qualname__}() at {__file__}:{line}" in str(caught.value)
    assert ended == [True]
    assert simulate(main(), check=False).cancelled()


def test_failures_that_end_in_the_loop_are_errors(caplog: pytest.LogCaptureFixture) -> None:
    """A callback that fails is found, and is the cause of the error."""

    async def main() -> str:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
        return "fine"

    with caplog.at_level(logging.CRITICAL, "asyncio"):
        with pytest.raises(AssertionError, match="reported to the event loop") as caught:
            simulate(main())
        assert "ZeroDivisionError('division by zero')" in str(caught.value)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert simulate(main(), check=False) == "fine"


def test_a_task_that_failed_unnoticed_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """So is a task whose exception nobody retrieved, though a cycle keeps it alive."""

    async def fail() -> None:
        task = asyncio.current_task()
        msg = "nobody looks"
        raise LookupError(msg, task)

    async def main() -> None:
        asyncio.get_running_loop().create_task(fail())
        await asyncio.sleep(1)

    with (
        caplog.at_level(logging.CRITICAL, "asyncio"),
        pytest.raises(AssertionError, match="Task exception was never retrieved: LookupError"),
    ):
        simulate(main())


def test_a_loop_that_stalls_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for nothing is told from waiting long."""
    defaults = SimulatedLoop.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "stall", 0.0)
    with pytest.raises(Stalled, match="wait_for_ever"):
        simulate(wait_for_ever())


async def raise_lookup() -> None:
    raise LookupError


async def leak() -> None:
    asyncio.get_running_loop().create_task(wait_for_ever())


async def be_cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("kind", "main"),
    [
        (LookupError, raise_lookup),
        (AssertionError, leak),
        (asyncio.CancelledError, be_cancelled),
    ],
)
def test_failures_say_how_to_repeat_them(
    kind: type[BaseException], main: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """With a seed every failure has a note that names it; without one there is nothing to say."""
    with pytest.raises(kind) as caught:
        simulate(main(), seed=42)
    (note,) = notes(caught.value)
    assert re.findall(r"\d+", note) == ["42", "42", "42"]
    with pytest.raises(kind) as caught:
        simulate(main())
    assert notes(caught.value) == []


@pytest.mark.parametrize("seed", range(10))
def test_terminal_runs_on_it(seed: int) -> None:
    """Mailboxes keep their order, and close cleanly, whatever the schedule."""
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    registry = MessageRegistry(event_base=Event)

    @registry.register
    async def note(ticked: Ticked) -> None:
        await asyncio.sleep(60)
        seen[ticked.number % 3].append(ticked.number)

    async def main() -> None:
        async with BusTerminal(registry) as terminal:
            for number in range(30):
                terminal.bus.emit(Ticked(number), key=number % 3)
            await terminal.drain()
        assert asyncio.get_running_loop().time() == 600.0

    simulate(main(), seed=seed)
    assert seen == {key: list(range(key, 30, 3)) for key in seen}
