"""The blocks of open scopes, which a close waits for."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

__all__ = ("Blocks",)


class Blocks:
    """How many scopes each task has entered and not left.

    A task that awaits the close itself is excused: its blocks end after it.
    """

    def __init__(self) -> None:
        self._open: Counter[asyncio.Task[Any] | None] = Counter()
        self._excused: set[asyncio.Task[Any] | None] = set()
        self._waiting: list[asyncio.Future[None]] = []

    def enter(self) -> asyncio.Task[Any] | None:
        """Count a block of the current task, which is returned."""
        task = asyncio.current_task()
        self._open[task] += 1
        return task

    def leave(self, task: asyncio.Task[Any] | None) -> None:
        """Count that a block of a task has ended."""
        self._open[task] -= 1
        if not self._open[task]:
            del self._open[task]
            self._excused.discard(task)
        self._tell()

    def excuse(self) -> None:
        """Do not wait for the current task's blocks any more."""
        task = asyncio.current_task()
        if task in self._open:
            self._excused.add(task)
            self._tell()

    def readmit(self) -> None:
        """Wait for the current task's blocks after all."""
        self._excused.discard(asyncio.current_task())

    @property
    def left(self) -> int:
        """How many blocks are open that somebody would have to wait for."""
        return sum(count for task, count in self._open.items() if task not in self._excused)

    async def wait(self) -> None:
        """Wait until every block has ended that is not excused."""
        while self.left:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    def _tell(self) -> None:
        if self._waiting and not self.left:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                if not each.done():
                    each.set_result(None)
