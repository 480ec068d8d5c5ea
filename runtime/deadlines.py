"""When whoever asks stops waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from runtime._mailbox import Reply
from runtime.errors import AskTimeout

__all__ = ("Deadlines",)


class Deadlines:
    """The replies that are waited for, and until when.

    Asks with the same timeout are due in the order in which they came, so they share a queue and a
    timer; those that have ended leave it when they come to its head.
    """

    def __init__(self) -> None:
        self._waiting: dict[float, deque[tuple[float, Reply[Any]]]] = {}
        self._timers: dict[float, asyncio.TimerHandle] = {}

    def add(self, loop: asyncio.AbstractEventLoop, timeout: float, reply: Reply[Any]) -> None:
        """End the wait for a reply after `timeout` seconds of the loop's clock."""
        waiting = self._waiting.get(timeout)
        if waiting is None:
            waiting = self._waiting[timeout] = deque()
        while waiting and waiting[0][1].has_ended:
            waiting.popleft()
        due = loop.time() + timeout
        waiting.append((due, reply))
        if timeout not in self._timers:
            self._timers[timeout] = loop.call_at(due, self._fire, loop, timeout, due)

    def clear(self) -> None:
        """Forget all of them."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()

    def _fire(self, loop: asyncio.AbstractEventLoop, timeout: float, due: float) -> None:
        waiting = self._waiting[timeout]
        # A loop may be early by its clock's resolution.
        now = max(due, loop.time())
        while waiting and (waiting[0][1].has_ended or waiting[0][0] <= now):
            _, reply = waiting.popleft()
            if not reply.has_ended:
                reply.give_up(AskTimeout.of(reply.command, timeout))
        if waiting:
            due = waiting[0][0]
            self._timers[timeout] = loop.call_at(due, self._fire, loop, timeout, due)
        else:
            del self._timers[timeout], self._waiting[timeout]
