"""Strategies that run an event's handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from runtime._context import MessageContext

__all__ = ("Listener", "Publisher", "concurrent", "isolated", "sequential")

Listener = Callable[[object, MessageContext], Awaitable[None]]
"""One handler of the event, as a publisher calls it."""

Publisher = Callable[[Any, MessageContext, Sequence[Listener]], Awaitable[None]]
"""What a terminal takes as ``publisher=``."""


async def sequential(event: object, context: MessageContext, listeners: Sequence[Listener]) -> None:
    """Run the handlers one after the other; the first exception ends the run and propagates."""
    for listener in listeners:
        await listener(event, context)


async def isolated(event: object, context: MessageContext, listeners: Sequence[Listener]) -> None:
    """Run all handlers one after the other, whatever happens to each.

    Raises an `ExceptionGroup` of what failed. A cancellation ends the run at once.
    """
    errors: list[Exception] = []
    for listener in listeners:
        try:
            await listener(event, context)
        except Exception as error:  # noqa: BLE001 -- raised together below
            errors.append(error)
    if errors:
        msg = f"{len(errors)} of {len(listeners)} handlers of {type(event).__name__} failed"
        raise ExceptionGroup(msg, errors)


async def concurrent(event: object, context: MessageContext, listeners: Sequence[Listener]) -> None:
    """Run all handlers at the same time, in a task group.

    The first failure cancels the others; raises the `ExceptionGroup` of the task group.
    """

    async def run(listener: Listener) -> None:
        await listener(event, context)

    async with asyncio.TaskGroup() as group:
        for listener in listeners:
            group.create_task(run(listener))
