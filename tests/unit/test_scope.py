"""Scopes: a block of dependencies, and the mailbox that its emits go to."""

import asyncio
import tracemalloc
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import Event, EventBus, Scope


class Ping(Event):
    number: int = 0


class Pong(Event):
    pass


async def test_a_scope_shows_itself() -> None:
    """Name and state are in the repr; `Scope[E]` is an annotation."""
    async with terminal_with() as terminal:
        async with terminal.scope("home") as scope:
            assert scope.name == "home"
            assert scope.bus is scope.bus
            assert repr(scope) == "<Scope 'home' open>"
        assert repr(scope) == "<Scope 'home' closed>"
        async with terminal.scope() as scope:
            assert scope.name is None
            assert repr(scope) == "<Scope open>"
    assert str(Scope[Ping]).startswith("runtime._bus.Scope[")


async def test_what_a_scope_emitted_outlives_it() -> None:
    """Leaving a scope does not wait for its emits, and does not lose them."""
    gate = asyncio.Event()
    handled: list[int] = []

    async def handler(event: Ping) -> None:
        await gate.wait()
        handled.append(event.number)

    async with terminal_with(handler) as terminal:
        for name in ("home", None):
            async with terminal.scope(name) as scope:
                scope.bus.emit(Ping(1))
                scope.bus.emit(Ping(2))
        assert handled == []
        assert terminal.stats().scopes == 0
        gate.set()
        await terminal.drain()
    assert sorted(handled) == [1, 1, 2, 2]


async def test_an_anonymous_scope_orders_its_own_emits() -> None:
    """One message of an anonymous scope at a time; two scopes do not wait for each other."""
    order: list[tuple[str, int]] = []

    async def handler(event: Ping) -> None:
        order.append(("start", event.number))
        await asyncio.sleep(0)
        order.append(("end", event.number))

    async with terminal_with(handler) as terminal:
        async with terminal.scope() as one, terminal.scope() as two:
            for number in (1, 2):
                one.bus.emit(Ping(number))
            for number in (11, 12):
                two.bus.emit(Ping(number))
        await terminal.drain()
    for mine in ([1, 2], [11, 12]):
        assert [entry for entry in order if entry[1] in mine] == [
            entry for number in mine for entry in (("start", number), ("end", number))
        ]
    assert order.index(("start", 11)) < order.index(("end", 2))


async def test_names_leave_no_trace() -> None:
    """A mailbox without actors is forgotten when it is empty; its name works again later."""
    handled: list[int] = []

    def handler(event: Ping) -> None:
        handled.append(event.number)

    async with terminal_with(handler) as terminal:
        boxes = terminal._core.mailbox_names
        async with terminal.scope("kept") as scope:
            scope.bus.emit(Ping(1))
            await terminal.drain()
            terminal.bus.emit(Ping(2), key="kept")
            await terminal.drain()
            scope.bus.emit(Ping(3))
            await terminal.drain()
        async with terminal.scope("touched") as scope:
            assert scope.bus is not None
            assert boxes() == ()
    assert handled == [1, 2, 3]


async def test_scopes_of_one_name_find_one_mailbox() -> None:
    """Whichever of them needs it first, and by whichever bus: its messages have one order."""
    order: list[object] = []

    async def handler(event: Ping) -> None:
        order.append(("start", event.number))
        await asyncio.sleep(0)
        order.append(("end", event.number))

    async def emit(event: Pong, bus: EventBus[Event]) -> None:
        bus.emit(Ping(0))

    async with (
        terminal_with(handler, emit) as terminal,
        terminal.scope("one") as first,
        terminal.scope("one") as second,
    ):
        assert second.bus is not first.bus
        await first.bus.publish(Pong())
        second.bus.emit(Ping(1))
        first.bus.emit(Ping(2))
        terminal.bus.emit(Ping(3), key="one")
        await terminal.drain()
    assert order == [(step, number) for number in range(4) for step in ("start", "end")]


async def test_a_name_that_names_no_mailbox() -> None:
    """The bus says so as soon as it is read, before anything is sent."""
    async with terminal_with() as terminal, terminal.scope(["a list"]) as scope:  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="cannot name a mailbox: unhashable"):
            _ = scope.bus


async def test_an_idle_scope_takes_little_memory() -> None:
    """At most 250 bytes for each; 350 when its bus has been read, and has emitted."""
    count = 2_000

    def handler(event: Ping) -> None:
        """Have a mailbox, for a moment."""

    async with terminal_with(handler) as terminal:
        names = [f"user:{number}" for number in range(count)]
        scopes: list[Any] = [None] * count
        tracemalloc.start()
        try:
            for number, name in enumerate(names):
                scopes[number] = await terminal.scope(name).__aenter__()
            idle = tracemalloc.get_traced_memory()[0] / count
            for scope in scopes:
                assert scope.bus is not None
            touched = tracemalloc.get_traced_memory()[0] / count
            for scope in scopes:
                scope.bus.emit(Ping())
                await terminal.drain()
            emitted = tracemalloc.get_traced_memory()[0] / count
        finally:
            tracemalloc.stop()
        for scope in scopes:
            await scope.__aexit__(None, None, None)
    assert idle <= 250
    assert idle < touched <= emitted <= 350


async def test_a_forgotten_mailbox_keeps_the_order() -> None:
    """A bus that held a mailbox while it was forgotten finds the one that key= has made since."""
    order: list[int] = []
    gate = asyncio.Event()

    async def handler(event: Ping) -> None:
        await gate.wait()
        order.append(event.number)

    async with terminal_with(handler) as terminal, terminal.scope("box") as scope:
        gate.set()
        await scope.bus.emit(Ping(0)).wait()
        gate.clear()
        terminal.bus.emit(Ping(1), key="box")
        scope.bus.emit(Ping(2))
        terminal.bus.emit(Ping(3), key="box")
        await asyncio.sleep(0)
        gate.set()
        await terminal.drain()
    assert order == [0, 1, 2, 3]
