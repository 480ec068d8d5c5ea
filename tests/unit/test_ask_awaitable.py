"""What `ask` returns is a coroutine to whatever awaits it."""

import asyncio
import gc
import inspect
from collections.abc import Coroutine
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import BusTerminal, Command
from runtime.errors import NoHandler

REPLIES: list[object] = [
    None,
    0,
    (),
    ("a", "tuple"),
    ValueError("returned, not raised"),
    StopIteration("so is this"),
    ValueError,
    [None],
]


class Give(Command[object]):
    number: int = 0
    waits: bool = False


class Fail(Command[int]):
    pass


async def give(command: Give) -> object:
    if command.waits:
        await asyncio.sleep(0)
    return REPLIES[command.number]


async def fail(command: Fail) -> int:
    raise LookupError


async def warm_terminal() -> BusTerminal[Any]:
    """Return a terminal with a worker that waits for work."""
    terminal = terminal_with(give, fail)
    await terminal.open()
    await terminal.bus.ask(Give(), key="box")
    await asyncio.sleep(0)
    return terminal


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("number", range(len(REPLIES)))
async def test_any_object_is_a_reply(number: int, waits: bool) -> None:
    """Also a tuple or an exception, which carrying replies as exceptions would take apart."""
    terminal = await warm_terminal()
    command = Give(number, waits)
    assert await terminal.bus.ask(command, key="box") is REPLIES[number]
    assert await asyncio.create_task(terminal.bus.ask(command, key="box")) is REPLIES[number]
    (reply,) = await asyncio.gather(terminal.bus.ask(command, key="box"))
    assert reply is REPLIES[number]
    assert await asyncio.wait_for(terminal.bus.ask(command, key="box"), 5) is REPLIES[number]

    async def inner() -> object:
        return await terminal.bus.ask(command, key="box")

    assert await inner() is REPLIES[number]
    await terminal.close()


async def test_it_is_a_coroutine_to_others() -> None:
    """Its methods do what those of a coroutine do."""
    terminal = await warm_terminal()
    ask = terminal.bus.ask(Give(1), key="box")
    assert isinstance(ask, Coroutine)
    assert inspect.isawaitable(ask)
    with pytest.raises(StopIteration) as caught:
        ask.send(None)
    assert caught.value.value == 0
    with pytest.raises(RuntimeError, match="already awaited"):
        ask.send(None)
    with pytest.raises(RuntimeError, match="already awaited"):
        await ask
    ended = iter(terminal.bus.ask(Give(2), key="box").__await__())
    with pytest.raises(StopIteration) as caught:
        next(ended)
    assert caught.value.value == ()
    await terminal.close()


async def test_one_that_is_never_awaited_is_told() -> None:
    """It has done nothing, and is counted nowhere."""
    terminal = await warm_terminal()
    before = terminal.stats()
    ask = terminal.bus.ask(Give(), key="box")
    with pytest.warns(RuntimeWarning, match="never awaited"):
        del ask
    assert terminal.stats() == before
    await terminal.close()


async def test_one_that_is_closed_or_thrown_into_does_nothing() -> None:
    """Whoever does that knows what it does."""
    terminal = await warm_terminal()
    before = terminal.stats()
    closed = terminal.bus.ask(Give(), key="box")
    closed.close()
    closed.close()
    thrown = terminal.bus.ask(Give(), key="box")
    with pytest.raises(LookupError):
        thrown.throw(LookupError())
    del closed, thrown
    gc.collect()
    assert terminal.stats() == before
    await terminal.close()


async def test_it_is_awaited_once() -> None:
    """Two tasks cannot wait for one ask."""
    terminal = await warm_terminal()
    ask = terminal.bus.ask(Give(0, waits=True), key="box")

    async def wait() -> object:
        return await ask

    first, second = await asyncio.gather(wait(), wait(), return_exceptions=True)
    assert first is None
    assert isinstance(second, RuntimeError)
    assert "being awaited already" in str(second)
    await terminal.close()


async def test_errors_come_out_of_it_as_they_are() -> None:
    """Whether its caller is a task or a coroutine, and whether it was begun or not."""
    terminal = await warm_terminal()
    with pytest.raises(LookupError):
        await terminal.bus.ask(Fail(), key="box")
    with pytest.raises(LookupError):
        await asyncio.create_task(terminal.bus.ask(Fail(), key="box"))
    missing = Command[None]()
    with pytest.raises(NoHandler):
        await terminal.bus.ask(missing, key="box")
    with pytest.raises(TypeError, match="number of seconds"):
        await terminal.bus.ask(Give(), key="box", timeout="soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await terminal.close()


async def test_the_handlers_task_is_a_workers() -> None:
    """Inside it the current task is not the caller's; after it, it is again."""
    tasks: list[asyncio.Task[Any] | None] = []

    async def note(command: Give) -> object:
        tasks.append(asyncio.current_task())
        return None

    async with terminal_with(note) as terminal:
        await terminal.bus.ask(Give(), key="box")
        await asyncio.sleep(0)
        mine = asyncio.current_task()
        await terminal.bus.ask(Give(), key="box")
        assert asyncio.current_task() is mine
        assert None not in tasks
        assert mine not in tasks
