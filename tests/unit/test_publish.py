"""`publish` gives back an awaitable that is a coroutine in every respect that matters."""

import asyncio
import inspect
from collections.abc import Coroutine, Generator
from typing import Any

import anyio
import pytest
from unit.support import registry_with

from runtime import BusTerminal, Event, EventBus, MessageContext
from runtime.errors import ScopeClosed, TerminalClosed


class Ping(Event):
    pass


class Pong(Event):
    pass


class Session:
    pass


async def quiet(event: Ping) -> None: ...
def sync(event: Ping) -> None: ...
async def scoped(event: Ping, session: Session) -> None: ...


KINDS = {
    "none": (),
    "one": (quiet,),
    "sync": (sync,),
    "many": (quiet, sync),
    "scoped": (scoped,),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_plan_kind_is_a_coroutine(kind: str) -> None:
    """Whatever the plan, the result can be awaited, made a task, gathered and closed."""
    async with BusTerminal(registry_with(*KINDS[kind])) as terminal:
        publish = terminal.bus.publish
        pending = publish(Ping())
        assert isinstance(pending, Coroutine)
        assert await pending is None  # type: ignore[func-returns-value]
        await asyncio.create_task(publish(Ping()))
        await asyncio.gather(publish(Ping()), publish(Ping()))
        async with asyncio.TaskGroup() as group:
            group.create_task(publish(Ping()))
        await asyncio.wait_for(publish(Ping()), 5)
        publish(Ping()).close()


async def test_one_asynchronous_handler_costs_no_wrapper() -> None:
    """A plan of one asynchronous handler hands that handler's own coroutine over."""
    async with BusTerminal(registry_with(quiet)) as terminal:
        pending = terminal.bus.publish(Ping())
        assert inspect.iscoroutine(pending)
        assert pending.cr_code is quiet.__code__
        await pending


async def test_awaiting_twice_is_an_error() -> None:
    """A publish runs once, as a coroutine does."""
    async with BusTerminal(registry_with(quiet, sync)) as terminal:
        pending = terminal.bus.publish(Ping())
        await pending
        with pytest.raises(RuntimeError, match="cannot reuse"):
            await pending


async def test_nothing_runs_before_the_await() -> None:
    """Handlers, synchronous ones too, run when the publish is awaited."""
    ran: list[str] = []

    def handler(event: Ping) -> None:
        ran.append("handler")

    async with BusTerminal(registry_with(handler)) as terminal:
        pending = terminal.bus.publish(Ping())
        assert ran == []
        await pending
        assert ran == ["handler"]


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_cancelling_reaches_the_handler_that_runs(position: int) -> None:
    """The running handler sees the cancellation; those after it never start."""
    seen: list[str] = []
    entered = asyncio.Event()

    def make(number: int) -> Any:
        async def handler(event: Ping) -> None:
            seen.append(f"start {number}")
            if number == position:
                try:
                    entered.set()
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    seen.append(f"cancel {number}")
                    raise

        return handler

    async with BusTerminal(registry_with(make(0), make(1), make(2))) as terminal:
        task = asyncio.create_task(terminal.bus.publish(Ping()))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert seen == [*(f"start {n}" for n in range(position + 1)), f"cancel {position}"]


async def test_a_handler_may_survive_a_cancellation() -> None:
    """A handler that handles the cancellation and goes on is followed by the next."""
    seen: list[str] = []
    entered = asyncio.Event()

    async def stubborn(event: Ping) -> None:
        try:
            entered.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("stubborn")

    async def after(event: Ping) -> None:
        await asyncio.sleep(0)
        seen.append("after")

    async with BusTerminal(registry_with(stubborn, after)) as terminal:
        task = asyncio.create_task(terminal.bus.publish(Ping()))
        await entered.wait()
        task.cancel()
        await task
    assert seen == ["stubborn", "after"]


async def test_a_failed_future_is_thrown_into_the_handler() -> None:
    """What a handler awaits may fail, and the handler can catch it."""
    seen: list[str] = []

    async def handler(event: Ping) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, OSError("gone"))
        try:
            await future
        except OSError as error:
            seen.append(str(error))

    async with BusTerminal(registry_with(handler, sync)) as terminal:
        await terminal.bus.publish(Ping())
    assert seen == ["gone"]


async def test_timeouts_work_around_and_inside() -> None:
    """`asyncio.timeout` around a publish, or inside a handler, cancels what it should."""
    seen: list[str] = []

    async def inner(event: Ping) -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append("inner")

    async def waits(event: Pong) -> None:
        await asyncio.Event().wait()

    async with BusTerminal(registry_with(inner, sync, waits)) as terminal:
        await terminal.bus.publish(Ping())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await terminal.bus.publish(Pong())
    assert seen == ["inner"]


async def test_anyio_scopes_work_around_and_inside() -> None:
    """Cancel scopes and task groups of anyio, around a publish and inside its handlers."""
    seen: list[str] = []

    async def inner(event: Ping) -> None:
        with anyio.move_on_after(0) as scope:
            await anyio.sleep_forever()
        seen.append(f"inner {scope.cancelled_caught}")
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)

    async def waits(event: Pong) -> None:
        await anyio.sleep_forever()

    async with BusTerminal(registry_with(inner, sync, waits)) as terminal:
        await terminal.bus.publish(Ping())
        await terminal.bus.emit(Ping()).wait()
        with anyio.move_on_after(0) as scope:
            await terminal.bus.publish(Pong())
        assert scope.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(terminal.bus.publish, Ping())
    assert seen == ["inner True"] * 3


@pytest.mark.parametrize("others", [(), (sync,)], ids=["alone", "among others"])
async def test_a_handlers_stop_iteration_is_no_silent_end(others: tuple[Any, ...]) -> None:
    """A synchronous handler that raises StopIteration fails the publish, as PEP 479 has it."""

    def stops(event: Ping) -> None:
        raise StopIteration

    async with BusTerminal(registry_with(stops, *others)) as terminal:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await terminal.bus.publish(Ping())


async def test_a_stop_iteration_after_a_cancellation_is_no_silent_end() -> None:
    """The same, when the run was continued by a throw."""
    entered = asyncio.Event()

    async def survives(event: Ping) -> None:
        try:
            entered.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

    def stops(event: Ping) -> None:
        raise StopIteration

    async with BusTerminal(registry_with(survives, stops)) as terminal:
        task = asyncio.create_task(terminal.bus.publish(Ping()))
        await entered.wait()
        task.cancel()
        with pytest.raises(RuntimeError, match="StopIteration"):
            await task


async def test_what_a_synchronous_handler_returns_is_awaited_if_it_can_be() -> None:
    """A plain function may return a coroutine, a future or any awaitable."""
    seen: list[str] = []

    async def later() -> None:
        await asyncio.sleep(0)
        seen.append("coroutine")

    class Awaitable:
        def __await__(self) -> Generator[Any, Any, None]:
            yield from asyncio.sleep(0).__await__()
            seen.append("awaitable")

    def coroutine(event: Ping) -> Any:
        return later()

    def awaitable(event: Ping) -> Any:
        return Awaitable()

    def number(event: Ping) -> int:
        return 42

    async with BusTerminal(registry_with(coroutine, awaitable, number)) as terminal:
        await terminal.bus.publish(Ping())
        await terminal.bus.emit(Ping()).wait()
    assert seen == ["coroutine", "awaitable"] * 2


async def test_a_bus_ends_with_its_scope() -> None:
    """After its block, a scope's bus takes nothing: publish says so at the await, emit at once."""
    kept: list[EventBus[Event]] = []

    async def keep(event: Ping, bus: EventBus[Event]) -> None:
        kept.append(bus)

    async with BusTerminal(registry_with(keep)) as terminal:
        async with terminal.scope("home") as scope:
            pass
        await terminal.bus.publish(Ping())
        await terminal.bus.emit(Ping()).wait()
        for bus, name in ((scope.bus, "the scope 'home'"), *((bus, "the scope") for bus in kept)):
            pending = bus.publish(Ping())
            with pytest.raises(ScopeClosed, match=f"^{name} of this bus has ended"):
                await pending
            with pytest.raises(ScopeClosed, match="use the bus of a scope that is open"):
                bus.emit(Ping())
        assert len(kept) == 2


async def test_a_closed_terminal_takes_nothing() -> None:
    """After close, every verb raises `TerminalClosed` with the message."""
    async with BusTerminal(registry_with(quiet), name="shop") as terminal:
        pass
    pending = terminal.bus.publish(Ping())
    with pytest.raises(TerminalClosed, match=r"terminal 'shop' is closed: Ping\(\) was not taken"):
        await pending
    with pytest.raises(TerminalClosed) as caught:
        terminal.bus.emit(Ping())
    assert caught.value.message == Ping()
    with pytest.raises(TerminalClosed):
        await terminal.bus.offer(Ping())
    with pytest.raises(TerminalClosed):
        await terminal.bus.sink(Ping())
    with pytest.raises(TerminalClosed):
        await terminal.open()


async def test_an_error_keeps_its_identity_and_traceback() -> None:
    """The publisher gets the handler's own exception, pointing into the handler."""
    error = LookupError("nothing there")

    async def first(event: Ping) -> None: ...
    async def fails(event: Ping, ctx: MessageContext) -> None:
        raise error

    async with BusTerminal(registry_with(first, fails)) as terminal:
        with pytest.raises(LookupError) as caught:
            await terminal.bus.publish(Ping())
    assert caught.value is error
    assert caught.traceback[-1].name == "fails"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_forgotten_await_warns(kind: str) -> None:
    """A publish that nobody awaits says so, as a coroutine does."""
    async with BusTerminal(registry_with(*KINDS[kind])) as terminal:
        with pytest.warns(RuntimeWarning, match="never awaited"):
            terminal.bus.publish(Ping())  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
        await terminal.bus.publish(Ping())
        terminal.bus.publish(Ping()).close()


@pytest.mark.parametrize("handlers", [1, 3])
async def test_endless_recursion_is_a_recursion_error(handlers: int) -> None:
    """A7: a handler that publishes its own event without end fails, and nothing crashes."""

    def make() -> Any:
        async def again(event: Ping, bus: EventBus[Event]) -> None:
            await bus.publish(event)

        return again

    async with BusTerminal(registry_with(*(make() for _ in range(handlers)))) as terminal:
        with pytest.raises(RecursionError):
            await terminal.bus.publish(Ping())
        assert terminal.stats().published > 10
