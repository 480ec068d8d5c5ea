"""Say what tasks are and where they wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

__all__ = ("describe",)

ASYNCIO: Final = str(Path(asyncio.__file__).parent)

FRAME_AND_NEXT: Final = (
    ("cr_frame", "cr_await"),
    ("gi_frame", "gi_yieldfrom"),
    ("ag_frame", "ag_await"),
)
"""Where coroutines, generators and asynchronous generators stand, and what they wait for."""


def describe(tasks: Iterable[asyncio.Task[Any]]) -> str:
    """Return one indented line for each task: its name, its coroutine, and where it waits."""
    return "\n".join(sorted(f"  {task.get_name()}: {place_of(task)}" for task in tasks))


def place_of(task: asyncio.Task[Any]) -> str:
    """Say where the coroutine of a task stands.

    That is the innermost line which is not asyncio's own: every sleep ends in `asyncio.sleep`.
    """
    coroutine: object = task.get_coro()
    name = getattr(coroutine, "__qualname__", None) or repr(coroutine)
    frames = list(frames_of(coroutine))
    theirs = [each for each in frames if not each.f_code.co_filename.startswith(ASYNCIO)]
    if not frames:
        return f"{name}()"
    frame = (theirs or frames)[-1]
    return f"{name}() at {frame.f_code.co_filename}:{frame.f_lineno}"


def frames_of(awaitable: object) -> Iterator[FrameType]:
    """Yield the frames of what awaits each other, outermost first."""
    while awaitable is not None:
        following = None
        for frame_name, next_name in FRAME_AND_NEXT:
            frame = getattr(awaitable, frame_name, None)
            if frame is not None:
                yield frame
                following = getattr(awaitable, next_name, None)
        awaitable = following
