"""Commands, guards and publishers: who is asked, what stands around it, and what comes back."""

from collections.abc import Callable
from typing import Any

import pytest
from contract.support import MakeTerminal, RunAsync
from hypothesis import given
from hypothesis import strategies as st

from runtime import Command, MessageContext, isolated
from runtime.errors import NoHandler


class Work:
    """A plain event."""

    def __init__(self, number: int = 0) -> None:
        self.number = number


class Get(Command[str]):
    number: int = 0


def chain(length: int) -> list[type[Get]]:
    """Return classes of commands, each derived from the one before."""
    found: list[type[Get]] = [Get]
    for number in range(1, length):
        found.append(type(f"Get{number}", (found[-1],), {}))
    return found


@given(length=st.integers(1, 6), registered=st.sets(st.integers(0, 5)), wrapped=st.booleans())
def test_the_nearest_handler_replies(
    make_terminal: MakeTerminal,
    run_async: RunAsync,
    length: int,
    registered: set[int],
    *,
    wrapped: bool,
) -> None:
    """Over random chains of classes, a command is done once, by the nearest handler there is."""
    classes = chain(length)

    def make(number: int) -> Callable[..., Any]:
        async def handler(command: Any) -> str:
            return f"handler {number}"

        handler.__annotations__["command"] = classes[number]
        return handler

    async def guard(command: Get, ctx: MessageContext, proceed: Any) -> str:
        return f"guarded {await proceed()}"

    async def main() -> None:
        handlers = [make(number) for number in sorted(registered) if number < length]
        async with make_terminal(handlers, guards=[guard] if wrapped else []) as terminal:
            for number, each in enumerate(classes):
                nearest = max((n for n in registered if n <= number), default=None)
                if nearest is None:
                    with pytest.raises(NoHandler):
                        await terminal.bus.send(each(1))
                else:
                    prefix = "guarded " if wrapped else ""
                    assert await terminal.bus.send(each(1)) == f"{prefix}handler {nearest}"

    run_async(main())


@pytest.mark.parametrize("verb", ["publish", "emit"])
async def test_guards_nest_around_each_handler(make_terminal: MakeTerminal, verb: str) -> None:
    """Outermost first, once around each handler, under either verb."""
    log: list[str] = []

    def make(name: str) -> Callable[..., Any]:
        async def guard(event: Work, ctx: MessageContext, proceed: Any) -> Any:
            log.append(f"{name} in")
            result = await proceed()
            log.append(f"{name} out")
            return result

        return guard

    async def first(event: Work) -> None:
        log.append("first")

    def second(event: Work) -> None:
        log.append("second")

    async with make_terminal([first, second], guards=[make("a"), make("b")]) as terminal:
        if verb == "publish":
            await terminal.bus.publish(Work())
        else:
            await terminal.bus.emit(Work()).wait()
    assert log == [
        *("a in", "b in", "first", "b out", "a out"),
        *("a in", "b in", "second", "b out", "a out"),
    ]


async def test_a_guard_may_refuse(make_terminal: MakeTerminal) -> None:
    """What is inside does not run, and the guard's own result is the reply."""
    ran: list[int] = []

    async def get(command: Get) -> str:
        ran.append(command.number)
        return "got"

    async def odd_only(command: Get, ctx: MessageContext, proceed: Any) -> str:
        return str(await proceed()) if command.number % 2 else "refused"

    async with make_terminal([get], guards=[odd_only]) as terminal:
        replies = [await terminal.bus.send(Get(number)) for number in range(4)]
    assert replies == ["refused", "got", "refused", "got"]
    assert ran == [1, 3]


@given(failing=st.sets(st.integers(0, 4)))
def test_isolated_runs_all(
    make_terminal: MakeTerminal, run_async: RunAsync, failing: set[int]
) -> None:
    """C1: every handler runs, in order, and what failed comes as one group."""
    log: list[int] = []

    def make(number: int) -> Callable[..., Any]:
        def handler(event: Work) -> None:
            log.append(number)
            if number in failing:
                raise ValueError(number)

        return handler

    async def main() -> None:
        async with make_terminal([make(n) for n in range(5)], publisher=isolated) as terminal:
            errors: list[Any] = []
            try:
                await terminal.bus.publish(Work())
            except ExceptionGroup as group:
                errors = [error.args[0] for error in group.exceptions]
            assert errors == sorted(failing)
            assert log == [0, 1, 2, 3, 4]
            log.clear()

    run_async(main())
