"""What takes messages from outside for one terminal, and has to end before it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final

from runtime.failures import report

__all__ = ("Intake",)

UNWIND_SECONDS: Final = 1.0
"""How long a consumer that is cut off may take to give back what it has."""


class Intake:
    """The consumers of one terminal."""

    def __init__(self) -> None:
        self._stops: dict[asyncio.Task[None], Callable[[], object]] = {}

    def start(
        self, consumer: Coroutine[Any, Any, None], stop: Callable[[], object]
    ) -> asyncio.Task[None]:
        """Run a consumer in a task that outlives whoever waits for it; `stop` lets it end."""
        # In no message's context.
        task = asyncio.get_running_loop().create_task(
            consumer, name="runtime.consumer", context=Context()
        )
        self._stops[task] = stop
        task.add_done_callback(self._stops.pop)
        return task

    def stop(self) -> None:
        """Let every consumer take nothing more, and finish what it has."""
        for stop in tuple(self._stops.values()):
            stop()

    async def end(self, seconds: float) -> None:
        """Wait so long until all have finished; then cut them off."""
        if not self._stops:
            return
        await asyncio.wait(tuple(self._stops), timeout=seconds)
        for task in tuple(self._stops):
            task.cancel()
        if self._stops:
            await asyncio.wait(tuple(self._stops), timeout=UNWIND_SECONDS)
        if self._stops:
            report("%d consumers have not ended in time", len(self._stops))
