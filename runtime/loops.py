"""Start an event loop for a program."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ("run",)

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run a coroutine to its end on uvloop, or on asyncio's own loop where there is no uvloop.

    `debug` is asyncio's debug mode. Raises what the coroutine raises, and `RuntimeError` if a loop
    is running in this thread already.
    """
    if is_running():
        main.close()
        msg = "run() cannot be called while an event loop runs in this thread; await instead"
        raise RuntimeError(msg)
    if sys.platform == "win32":
        return asyncio.run(main, debug=debug)
    import uvloop

    with asyncio.Runner(debug=debug, loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def is_running() -> bool:
    """Say whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
