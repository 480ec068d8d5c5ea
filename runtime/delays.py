"""Messages that wait for their time."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from contextvars import Context
from itertools import count

from runtime._mailbox import Delivery, Mailbox

__all__ = ("Delays",)


class Delays:
    """Delayed messages, the earliest first, under one timer of the loop.

    Messages that are due at the same moment are queued in the order in which they were emitted.
    """

    def __init__(self, post: Callable[[Mailbox, Delivery], None]) -> None:
        self._post = post
        self._waiting: list[tuple[float, int, Mailbox, Delivery]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    def add(
        self, loop: asyncio.AbstractEventLoop, delay: float, box: Mailbox, message: Delivery
    ) -> None:
        """Queue a message after `delay` seconds of the loop's clock."""
        due = loop.time() + delay
        is_earliest = not self._waiting or due < self._waiting[0][0]
        heapq.heappush(self._waiting, (due, next(self._numbers), box, message))
        if is_earliest:
            self._set_timer(loop)

    @property
    def next_due(self) -> float | None:
        """When the earliest message is due, on the loop's clock; None if none waits."""
        return self._waiting[0][0] if self._waiting else None

    def clear(self) -> list[tuple[Mailbox, Delivery]]:
        """Forget all messages; return them, with their mailboxes, in the order of their times."""
        waiting, self._waiting = sorted(self._waiting, key=lambda each: each[:2]), []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return [(box, message) for _, _, box, message in waiting]

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self._waiting[0][0]
        # A context of its own: the emitter's is the message's, not the timer's.
        self._timer = loop.call_at(due, self._fire, loop, due, context=Context())

    def _fire(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        # A loop may be early by its clock's resolution.
        now = max(due, loop.time())
        self._timer = None
        while self._waiting and self._waiting[0][0] <= now:
            *_, box, message = heapq.heappop(self._waiting)
            self._post(box, message)
        if self._waiting:
            self._set_timer(loop)
