"""What is run within the time that its caller has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from runtime.errors import shorten

__all__ = ("no_time_left", "run_until")

T = TypeVar("T")


def no_time_left(message: object) -> TimeoutError:
    """Return the error for a message whose sender has no time left."""
    return TimeoutError(
        f"{shorten(message)} was not handled in the time that its sender had, which its own "
        f"timeout=, ttl= or caller has set"
    )


async def run_until(deadline: float, work: Coroutine[Any, Any, T], message: object) -> T:
    """Await the handlers of a message, but not beyond a deadline on the loop's clock.

    Raises `TimeoutError`, and cancels them then.
    """
    limit = asyncio.timeout_at(deadline)
    if asyncio.get_running_loop().time() >= deadline:
        work.close()
        raise no_time_left(message)
    try:
        async with limit:
            return await work
    except TimeoutError as error:
        if limit.expired():
            raise no_time_left(message) from error
        raise
