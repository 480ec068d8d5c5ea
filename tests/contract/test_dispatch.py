"""Which handlers a published event reaches, in which order, and what ends the run."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from types import UnionType
from typing import Any

import pytest
from contract.support import Boom, MakeTerminal, RunAsync, Work, ledger, settle
from hypothesis import given
from hypothesis import strategies as st
from reference import Ledger

from runtime import EventBus, MessageContext

KINDS = ("sync", "async", "suspending")


def union_of(types: tuple[type, ...]) -> type | UnionType:
    """Return ``A | B`` for classes."""
    union: type | UnionType = types[0]
    for each in types[1:]:
        union |= each
    return union


def make_handler(kind: str, types: Any, act: Callable[[], None]) -> Callable[..., Any]:
    """Return a handler of `types` that acts at once or after a suspension."""
    if kind == "sync":

        def handle(event: object) -> None:
            act()

        handle.__annotations__["event"] = types
        return handle

    async def handle_later(event: object) -> None:
        if kind == "suspending":
            await asyncio.sleep(0)
        act()

    handle_later.__annotations__["event"] = types
    return handle_later


@dataclass(frozen=True)
class Graph:
    """Bases of each class, handlers as (kind, numbers of the classes, registry), late classes."""

    bases: list[list[int]]
    handlers: list[tuple[str, list[int], int]]
    late_bases: list[list[int]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw up to 12 classes, up to 30 handlers over three registries, and up to 4 late classes."""

    def bases(first: int, count: int) -> list[list[int]]:
        return [
            draw(st.lists(st.integers(0, number - 1), unique=True, max_size=3)) if number else []
            for number in range(first, first + count)
        ]

    size = draw(st.integers(1, 12))
    heard = st.lists(st.integers(0, size - 1), min_size=1, max_size=3)
    handler = st.tuples(st.sampled_from(KINDS), heard, st.integers(0, 2))
    return Graph(
        bases(0, size), draw(st.lists(handler, max_size=30)), bases(size, draw(st.integers(0, 4)))
    )


def add_classes(classes: list[type], bases: list[list[int]]) -> None:
    """Make the classes; where no method resolution order exists, one base has to do."""
    for numbers in bases:
        parents = tuple(classes[number] for number in numbers)
        try:
            made = type(f"C{len(classes)}", parents, {})
        except TypeError:
            made = type(f"C{len(classes)}", parents[:1], {})
        classes.append(made)


@given(graph=graphs())
def test_event_reaches_handlers_of_its_classes(
    make_terminal: MakeTerminal, run_async: RunAsync, graph: Graph
) -> None:
    """A4: those whose annotated class it is an instance of, each once, in registration order."""
    classes: list[type] = []
    add_classes(classes, graph.bases)
    calls: list[int] = []
    groups: list[list[Callable[..., Any]]] = [[], [], []]
    hears: list[tuple[int, tuple[type, ...]]] = []
    for registry in range(3):
        for number, (kind, heard, home) in enumerate(graph.handlers):
            if home == registry:
                types = tuple(classes[each] for each in heard)
                act = partial(calls.append, number)
                groups[registry].append(make_handler(kind, union_of(types), act))
                hears.append((number, types))

    async def main() -> None:
        async with make_terminal(*groups) as terminal:
            await terminal.bus.publish(classes[0]())
            # These are derived after the terminal has frozen its table.
            add_classes(classes, graph.late_bases)
            for each in classes:
                event = each()
                expected = [number for number, types in hears if isinstance(event, types)]
                calls.clear()
                await terminal.bus.publish(event)
                assert calls == expected
                calls.clear()
                terminal.bus.emit(event)
                await terminal.drain()
                assert calls == expected
            assert ledger(terminal) == Ledger(len(classes), handled=len(classes))

    run_async(main())


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=8), failing=st.integers(min_value=0)
)
def test_first_exception_ends_a_publish(
    make_terminal: MakeTerminal, run_async: RunAsync, kinds: list[str], failing: int
) -> None:
    """It is the very object that was raised, and no later handler runs."""
    failing %= len(kinds)
    calls: list[int] = []
    error = Boom()

    def acting(number: int) -> Callable[[], None]:
        def act() -> None:
            calls.append(number)
            if number == failing:
                raise error

        return act

    handlers = [make_handler(kind, Work, acting(number)) for number, kind in enumerate(kinds)]

    async def main() -> None:
        async with make_terminal(handlers) as terminal:
            with pytest.raises(Boom) as caught:
                await terminal.bus.publish(Work(0))
            assert caught.value is error
            assert calls == list(range(failing + 1))
            assert ledger(terminal) == Ledger()

    run_async(main())


async def test_zero_handlers_are_fine(make_terminal: MakeTerminal) -> None:
    """An event that nobody hears is published and handled all the same."""
    async with make_terminal([]) as terminal:
        assert await terminal.bus.publish(Work(0)) is None
        await terminal.bus.emit(Work(1)).wait()
        assert ledger(terminal) == Ledger(1, handled=1)


@pytest.mark.parametrize("kind", KINDS)
async def test_stop_iteration_does_not_end_a_publish_quietly(
    make_terminal: MakeTerminal, kind: str
) -> None:
    """Let out of an awaitable it would look like success, so it becomes a RuntimeError."""
    stop = StopIteration()
    calls: list[str] = []

    def act() -> None:
        raise stop

    def after(work: Work) -> None:
        calls.append("after")

    async with make_terminal([make_handler(kind, Work, act), after]) as terminal:
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await terminal.bus.publish(Work(0))
        assert caught.value.__cause__ is stop
        assert calls == []
        assert ledger(terminal) == Ledger()


async def test_publish_inside_a_handler(make_terminal: MakeTerminal) -> None:
    """A nested publish runs at its place, down to the bottom, before its caller goes on."""
    calls: list[str] = []

    async def descend(work: Work, bus: EventBus[object]) -> None:
        calls.append(f"down {work.number}")
        if work.number:
            await bus.publish(Work(work.number - 1))
        calls.append(f"up {work.number}")

    def note(work: Work) -> None:
        calls.append(f"note {work.number}")

    async with make_terminal([descend, note]) as terminal:
        expected = [
            *("down 2", "down 1", "down 0"),
            *("up 0", "note 0", "up 1", "note 1", "up 2", "note 2"),
        ]
        await terminal.bus.publish(Work(2))
        assert calls == expected
        calls.clear()
        await terminal.bus.emit(Work(2)).wait()
        assert calls == expected
        assert ledger(terminal) == Ledger(1, handled=1)


async def test_error_of_a_nested_publish_reaches_the_outer_handler(
    make_terminal: MakeTerminal,
) -> None:
    """The handler that published it may handle it, or let it through unchanged."""
    error = Boom()
    caught: list[Exception] = []

    async def fail_at_zero(work: Work, bus: EventBus[object]) -> None:
        if work.number == 0:
            raise error
        try:
            await bus.publish(Work(work.number - 1))
        except Boom as boom:
            caught.append(boom)
            if work.number < 3:
                raise

    async with make_terminal([fail_at_zero]) as terminal:
        await terminal.bus.publish(Work(3))
        assert caught == [error, error, error]
        assert ledger(terminal) == Ledger()


async def test_endless_recursion_is_an_error(make_terminal: MakeTerminal) -> None:
    """A handler that publishes its own event for ever gets a RecursionError; all else goes on."""
    depth = 0

    async def again(work: Work, bus: EventBus[object]) -> None:
        nonlocal depth
        depth += 1
        assert depth < 100_000
        await bus.publish(work)

    async with make_terminal([again]) as terminal:
        with pytest.raises(RecursionError):
            await terminal.bus.publish(Work(0))
        assert depth > 10
        delivery = terminal.bus.emit(Work(1))
        await terminal.drain()
        assert delivery.done()
        assert ledger(terminal) == Ledger(1, failed=1)


async def wait_for_a_future() -> None:
    """Suspend on what can be cancelled itself."""
    await asyncio.get_running_loop().create_future()


async def yield_many_times() -> None:
    """Suspend on nothing but the loop's next turn."""
    for _ in range(1000):
        await asyncio.sleep(0)


@pytest.mark.parametrize("suspend", [wait_for_a_future, yield_many_times])
async def test_cancelling_the_caller_cancels_its_publish(
    make_terminal: MakeTerminal, suspend: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """The handler that runs sees the CancelledError, and no other one starts."""
    calls: list[str] = []

    async def work(work: Work) -> None:
        try:
            await suspend()
        except asyncio.CancelledError:
            calls.append("cancelled")
            raise

    def after(work: Work) -> None:
        calls.append("after")

    async with make_terminal([work, after]) as terminal:
        caller = asyncio.create_task(terminal.bus.publish(Work(0)))
        await settle()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert calls == ["cancelled"]
        assert ledger(terminal) == Ledger()


async def test_publish_runs_in_the_task_of_its_caller(make_terminal: MakeTerminal) -> None:
    """Handlers see the caller's task and context variables, and what they set stays set."""
    variable = ContextVar("variable", default=0)
    seen: list[tuple[object, int]] = []

    def first(work: Work) -> None:
        seen.append((asyncio.current_task(), variable.get()))
        variable.set(2)

    async def second(work: Work) -> None:
        await asyncio.sleep(0)
        seen.append((asyncio.current_task(), variable.get()))

    async with make_terminal([first, second]) as terminal:
        variable.set(1)
        await terminal.bus.publish(Work(0))
        assert seen == [(asyncio.current_task(), 1), (asyncio.current_task(), 2)]
        assert variable.get() == 2


@pytest.mark.parametrize("given", [None, MessageContext(headers={"tenant": "north"})])
async def test_handlers_of_a_message_share_its_context(
    make_terminal: MakeTerminal, given: MessageContext | None
) -> None:
    """Every handler of one message gets the context that was given, or the one made for it."""
    contexts: list[MessageContext] = []

    def first(work: Work, context: MessageContext) -> None:
        contexts.append(context)

    async def second(work: Work, context: MessageContext) -> None:
        contexts.append(context)

    async with make_terminal([first, second]) as terminal:
        await terminal.bus.publish(Work(0), given)
        await terminal.bus.emit(Work(1), given).wait()
        await terminal.drain()
        assert contexts[0] is contexts[1]
        assert contexts[2] is contexts[3]
        assert [each is given for each in contexts] == [given is not None] * 4
        assert given is not None or contexts[0] is not contexts[2]
        assert ledger(terminal) == Ledger(1, handled=1)
