"""A publish is run in the shortest way that its plan allows, and nobody can tell which."""

import asyncio
import gc
import inspect
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from unit.support import registry_with, terminal_with

from runtime import BusTerminal, Command, Event, EventBus, MessageContext
from runtime._wiring import Call, ContextArgument, MessageArgument
from runtime.errors import ScopeClosed
from runtime.unrolled import LIMIT, unrolled


class Ping(Event):
    pass


class Later(Event):
    pass


class Ask(Command[str]):
    pass


class Session:
    pass


class Awaitable:
    """Something to await that is no coroutine."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Generator[Any, Any, Any] = self.run().__await__()
        return steps


def as_asynchronous(function: Any) -> Any:
    """Return a function that says that it is asynchronous, and returns another awaitable."""

    async def stand_in(event: Ping, bus: EventBus[Event]) -> None: ...

    def call(event: Ping, bus: EventBus[Event]) -> Any:
        return Awaitable(lambda: function(event, bus))

    call.__annotations__ = stand_in.__annotations__
    # Private to asyncio and inspect, each in some of the versions.
    vars(call).update(
        __signature__=inspect.signature(stand_in),
        _is_coroutine_marker=inspect.iscoroutinefunction,
        _is_coroutine=getattr(asyncio.coroutines, "_is_coroutine"),  # noqa: B009 -- not in the stubs
    )
    return call


# A scope that ends with a handler's coroutine


@pytest.mark.parametrize("verb", ["publish", "send"])
async def test_the_scope_ends_with_the_handlers_coroutine(verb: str) -> None:
    """A bus that a handler has kept is dead once the handler has returned, and not before."""
    kept: list[EventBus[Event]] = []

    async def keep(message: Ping | Ask, session: Session, bus: EventBus[Event]) -> str:
        kept.append(bus)
        await bus.publish(Later())
        await asyncio.sleep(0)
        await bus.publish(Later())
        return "done"

    async with terminal_with(keep) as terminal:
        if verb == "send":
            assert await terminal.bus.send(Ask()) == "done"
        else:
            await terminal.bus.publish(Ping())
        with pytest.raises(ScopeClosed):
            await kept[0].publish(Later())
        with pytest.raises(ScopeClosed):
            kept[0].emit(Later())


@pytest.mark.parametrize("how", ["raises", "cancelled", "closed"])
async def test_the_scope_ends_however_the_coroutine_does(how: str) -> None:
    """A handler that raises, is cancelled or closed leaves a dead bus, too."""
    kept: list[EventBus[Event]] = []

    async def keep(event: Ping, bus: EventBus[Event]) -> None:
        kept.append(bus)
        if how == "raises":
            raise LookupError
        await asyncio.Event().wait()

    async with terminal_with(keep) as terminal:
        pending = terminal.bus.publish(Ping())
        if how == "raises":
            with pytest.raises(LookupError):
                await pending
        elif how == "closed":
            pending.send(None)
            await kept[0].publish(Later())
            pending.close()
        else:
            task = asyncio.create_task(pending)
            await asyncio.sleep(0)
            await kept[0].publish(Later())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(ScopeClosed):
            await kept[0].publish(Later())


async def test_the_scope_of_another_awaitable_ends_too() -> None:
    """What is awaited need not be a coroutine: its scope ends all the same."""
    kept: list[EventBus[Event]] = []

    async def keep(event: Ping, bus: EventBus[Event]) -> None:
        await bus.publish(Later())
        kept.append(bus)

    handler = as_asynchronous(keep)
    assert inspect.isawaitable(handler(Ping(), None))
    async with terminal_with(handler) as terminal:
        await terminal.bus.publish(Ping())
        with pytest.raises(ScopeClosed):
            await kept[0].publish(Later())


async def test_a_forgotten_await_is_told_when_it_is_collected() -> None:
    """A coroutine that was given a bus of its own scope is known to that scope."""

    async def wired(event: Ping, bus: EventBus[Event]) -> None: ...

    async with terminal_with(wired) as terminal:
        gc.collect()
        terminal.bus.publish(Ping())  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
        with pytest.warns(RuntimeWarning, match="'.*wired' was never awaited"):
            gc.collect()


async def test_a_factory_that_fails_raises_at_the_await() -> None:
    """What goes wrong before the handler begins is raised where the publish is awaited."""

    def session() -> Session:
        raise LookupError

    async def wired(event: Ping | Ask, session: Session) -> None: ...

    registry = registry_with(wired)
    registry.factory(session)
    async with BusTerminal(registry) as terminal:
        for pending in (terminal.bus.publish(Ping()), terminal.bus.send(Ask())):
            with pytest.raises(LookupError):
                await pending


async def test_what_is_included_meanwhile_is_left() -> None:
    """A plan that enters something is left, also if a scope had begun when there was none."""
    seen: list[str] = []
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def outer(event: Ping, bus: EventBus[Event]) -> None:
        inside.set()
        await go_on.wait()
        await bus.publish(Later())
        seen.append("outer")

    def managed() -> Iterator[Session]:
        seen.append("entered")
        yield Session()
        seen.append("left")

    async def inner(event: Later, session: Session) -> None:
        seen.append("inner")

    more = registry_with(inner)
    more.factory(managed)
    async with terminal_with(outer) as terminal:
        task = asyncio.create_task(terminal.bus.publish(Ping()))
        await inside.wait()
        terminal.include(more)
        go_on.set()
        await task
        assert seen == ["entered", "inner", "left", "outer"]
        await terminal.bus.publish(Ping())
        # From now on the scope is shared again, and left by whoever has opened it.
        assert seen[4:] == ["entered", "inner", "outer", "left"]


async def test_one_scoped_object_and_more() -> None:
    """A scope that builds several objects keeps each of them."""

    class Second:
        def __init__(self, session: Session) -> None:
            self.session = session

    class Third:
        def __init__(self, session: Session, second: Second) -> None:
            self.parts = (session, second)

    async def one(event: Ping, third: Third, second: Second, session: Session) -> None:
        assert third.parts == (session, second)
        assert second.session is session

    async def two(event: Ping, session: Session, second: Second, third: Third) -> None:
        assert third.parts == (session, second)
        found.append(session)

    found: list[Session] = []
    async with terminal_with(one, two) as terminal:
        await terminal.bus.publish(Ping())
        await terminal.bus.publish(Ping())
    assert found[0] is not found[1]


# Plain functions


async def test_a_plain_function_may_return_something_to_await() -> None:
    """The rest of the handlers, plain ones, run when it has ended."""
    seen: list[str] = []

    async def later() -> None:
        await asyncio.sleep(0)
        seen.append("awaited")

    def first(event: Ping) -> Any:
        return later()

    def second(event: Ping, context: MessageContext) -> None:
        seen.append("second")

    async with terminal_with(first, second) as terminal:
        await terminal.bus.publish(Ping())
        assert seen == ["awaited", "second"]
        pending = terminal.bus.publish(Ping())
        pending.send(None)
        with pytest.raises(LookupError):
            pending.throw(LookupError())
        with pytest.raises(RuntimeError, match="cannot reuse"):
            pending.send(None)
        pending = terminal.bus.publish(Ping())
        pending.send(None)
        pending.close()
    assert seen == ["awaited", "second"]


async def test_plain_functions_run_once() -> None:
    """Their publish can be awaited once, and neither runs again nor after it was closed."""
    seen: list[Event] = []

    def handler(event: Ping) -> None:
        seen.append(event)

    async with terminal_with(handler) as terminal:
        pending = terminal.bus.publish(Ping())
        await pending
        with pytest.raises(RuntimeError, match="cannot reuse"):
            await pending
        with pytest.raises(RuntimeError, match="cannot reuse"):
            pending.send(None)
        pending = terminal.bus.publish(Ping())
        pending.close()
        with pytest.raises(RuntimeError, match="cannot reuse"):
            await pending
        with pytest.raises(LookupError):
            terminal.bus.publish(Ping()).throw(LookupError())
        # Older than coroutines, and kept by what stands in for one.
        assert list(terminal.bus.publish(Ping())) == []  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    assert len(seen) == 2


async def test_a_plain_function_that_stops_an_iteration() -> None:
    """It fails; the await does not end as if all were well."""

    def handler(event: Ping) -> None:
        raise StopIteration

    async with terminal_with(handler) as terminal:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await terminal.bus.publish(Ping())


async def test_a_command_that_a_plain_function_carries_out() -> None:
    """Its reply is what the function returns, awaited if need be."""

    async def later() -> str:
        return "later"

    def now(command: Ask) -> str:
        return "now"

    def soon(command: Ask) -> Any:
        return later()

    for handler, reply in ((now, "now"), (soon, "later")):
        async with terminal_with(handler) as terminal:
            assert await terminal.bus.send(Ask()) == reply


# Several handlers as one coroutine


@pytest.fixture
def always_unrolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unroll also on an interpreter where that gains nothing."""
    monkeypatch.setattr("runtime.unrolled.IS_FASTER", True)


def calls_of(terminal: BusTerminal[Event]) -> list[int]:
    """Return how often each handler was called, in order of registration."""
    return [each.started for each in terminal.counters().by_handler.values()]


@pytest.mark.usefixtures("always_unrolled")
async def test_several_handlers_are_one_coroutine() -> None:
    """In order, each with the arguments that it names; a failure names its line."""
    seen: list[object] = []

    async def first(event: Ping) -> None:
        seen.append("first")

    async def second(event: Ping, *, context: MessageContext) -> None:
        seen.append(context)
        if len(seen) > 3:
            raise LookupError

    async def third(event: Ping, context: MessageContext) -> None:
        seen.append(context)

    async with terminal_with(first, second, third) as terminal:
        context = MessageContext()
        pending = terminal.bus.publish(Ping(), context)
        assert inspect.iscoroutine(pending)
        assert await pending is None
        assert seen == ["first", context, context]
        assert calls_of(terminal) == [1, 1, 1]
        with pytest.raises(LookupError) as caught:
            await terminal.bus.publish(Ping())
        assert calls_of(terminal) == [2, 2, 1]
        lines = [each.line for each in traceback.extract_tb(caught.value.__traceback__)]
        assert any("context=context" in (line or "") for line in lines)


@pytest.mark.usefixtures("always_unrolled")
async def test_a_cancelled_one_has_called_no_further() -> None:
    """What was not reached is not counted, whatever ends the run."""

    async def first(event: Ping) -> None:
        await asyncio.Event().wait()

    async def second(event: Ping) -> None: ...

    async with terminal_with(first, second) as terminal:
        task = asyncio.create_task(terminal.bus.publish(Ping()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert calls_of(terminal) == [1, 0]


def test_what_is_not_unrolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call, many, one that needs more than the event, and an interpreter that gains nothing."""

    async def handler(event: Ping) -> None: ...

    call = Call(handler, (MessageArgument(),))
    typed = Call(handler, (ContextArgument(MessageContext),))
    monkeypatch.setattr("runtime.unrolled.IS_FASTER", True)
    assert unrolled((call, call)) is not None
    assert unrolled((call,)) is None
    assert unrolled((call,) * (LIMIT + 1)) is None
    assert unrolled((call, typed)) is None
    monkeypatch.setattr("runtime.unrolled.IS_FASTER", False)
    assert unrolled((call, call)) is None


async def test_a_plan_of_synchronous_handlers_allocates_little() -> None:
    """Its context and one awaitable for each publish, and nothing while the handlers are called."""
    number, most = 2_000, 0

    def first(event: Ping, context: MessageContext) -> None:
        nonlocal most
        most = max(most, sys.getallocatedblocks())

    def second(event: Ping) -> None: ...

    def third(event: Event, context: MessageContext) -> None: ...

    async with terminal_with(first, second, third) as terminal:
        event, publishes = Ping(), list[Any]([None]) * number
        # Whatever is made once.
        await terminal.bus.publish(event)
        gc.collect()
        gc.disable()
        try:
            before = sys.getallocatedblocks()
            for index in range(number):
                publishes[index] = terminal.bus.publish(event)
            made = sys.getallocatedblocks()
            most = made
            for each in publishes:
                await each
        finally:
            gc.enable()
    # The numbers that are counted with, too.
    assert number < made - before <= 2 * number + 5
    assert most - made <= 5
