"""Run a coroutine on a simulated loop, and look at what it leaves behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from runtime.loops import is_running
from runtime.testing.loops import SimulatedLoop
from runtime.testing.tasks import describe

__all__ = ("Simulate", "simulate")

T = TypeVar("T")


class Simulate(Protocol):
    """What the pytest fixture `simulate` is: the function, with a seed filled in."""

    def __call__(
        self,
        main: Coroutine[Any, Any, T],
        *,
        seed: int | None = ...,
        debug: bool | None = ...,
        check: bool = ...,
    ) -> T:
        """Run a coroutine to its end on a simulated loop."""
        ...


def simulate(
    main: Coroutine[Any, Any, T],
    *,
    seed: int | None = None,
    debug: bool | None = None,
    check: bool = True,
) -> T:
    """Run a coroutine to its end on a `SimulatedLoop`, and return its result.

    `seed` decides the schedule, `debug` is asyncio's debug mode. With `check`, raises
    `AssertionError` if tasks are left when the coroutine has returned, or if the loop's exception
    handler was told of anything.

    Raises what the coroutine raises, `Stalled`, and `RuntimeError` if a loop is running in this
    thread already. With a seed, every failure carries a note that says how to repeat it.
    """
    if is_running():
        main.close()
        msg = "simulate() cannot be called while an event loop runs in this thread; await instead"
        raise RuntimeError(msg)
    loop = SimulatedLoop(seed=seed)
    try:
        with asyncio.Runner(debug=debug, loop_factory=lambda: loop) as runner:
            result = runner.run(main)
            # Now, before the runner cancels them.
            left = describe(asyncio.all_tasks(loop))
        if check:
            verify(left, loop)
    except BaseException as error:
        if seed is not None:
            error.add_note(
                f"The schedule was drawn from seed {seed}. To repeat it, call "
                f"simulate(..., seed={seed}), or run pytest with --runtime-seed {seed}."
            )
        raise
    return result


def verify(left: str, loop: SimulatedLoop) -> None:
    """Raise `AssertionError` if tasks were left, or if failures ended in the loop."""
    # A task that failed unnoticed is reported when it is collected, and it may be part of a cycle.
    # The youngest two generations will do: a full collection for every test is too slow.
    gc.collect(1)
    problems: list[str] = []
    if left:
        problems.append(
            f"tasks were left when the main coroutine had returned; await or cancel them:\n{left}"
        )
    cause: BaseException | None = None
    if loop.uncaught:
        lines: list[str] = []
        for context in loop.uncaught:
            error = context.get("exception")
            if isinstance(error, BaseException):
                cause = cause or error
            lines.append(f"  {context.get('message')}: {error!r}")
        problems.append("failures were reported to the event loop:\n" + "\n".join(lines))
    if problems:
        raise AssertionError("\n".join(problems)) from cause
