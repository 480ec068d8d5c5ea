"""When whoever waits stops waiting: who asks, and whose time has an end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, Final, TypeVar

from runtime._mailbox import Reply
from runtime.errors import AskTimeout, shorten

__all__ = ("Deadlines", "no_time_left", "run_until")

T = TypeVar("T")

SWEEP: Final = 256
"""From so many entries on, those that have ended are looked for behind those that have not."""


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


class Deadlines:
    """The replies that are waited for, and until when.

    Asks with the same timeout are due in the order in which they came, so they share a queue and a
    timer; those that have ended leave it when they come to its head, or when there are twice as
    many entries, or queues, as the last sweep has left.
    """

    def __init__(self) -> None:
        self._waiting: dict[float, deque[tuple[float, Reply[Any]]]] = {}
        self._timers: dict[float, asyncio.TimerHandle] = {}
        self._limit = SWEEP
        # A timer outlives the ask that it was made for, and must not keep that one's variables.
        self._empty = Context()

    def make_timer(
        self, loop: asyncio.AbstractEventLoop, due: float, timeout: float, reply: Reply[Any]
    ) -> asyncio.TimerHandle:
        """End the wait for a reply by a timer of its own, for the rest of somebody's time.

        Hardly two asks have that in common. Whoever waits cancels the timer.
        """
        return loop.call_at(due, give_up, reply, timeout, context=self._empty)

    def add(
        self, loop: asyncio.AbstractEventLoop, due: float, timeout: float, reply: Reply[Any]
    ) -> None:
        """End the wait for a reply when it is due, after `timeout` seconds of the loop's clock."""
        waiting = self._waiting.get(timeout)
        if waiting is None:
            if len(self._waiting) >= self._limit:
                self.sweep()
            waiting = self._waiting[timeout] = deque()
        while waiting and waiting[0][1].has_ended:
            waiting.popleft()
        if len(waiting) >= self._limit:
            self.sweep()
            waiting = self._waiting[timeout]
        waiting.append((due, reply))
        if timeout not in self._timers:
            self._set_timer(loop, timeout, due)

    def _set_timer(self, loop: asyncio.AbstractEventLoop, timeout: float, due: float) -> None:
        self._timers[timeout] = loop.call_at(
            due, self._fire, loop, timeout, due, context=self._empty
        )

    def sweep(self) -> None:
        """Drop the asks that have ended, and the queues and timers that are of no use then."""
        longest = 0
        for timeout, waiting in list(self._waiting.items()):
            left = deque(each for each in waiting if not each[1].has_ended)
            if left:
                self._waiting[timeout] = left
                longest = max(longest, len(left))
            else:
                del self._waiting[timeout]
                self._timers.pop(timeout).cancel()
        self._limit = max(SWEEP, 2 * longest, 2 * len(self._waiting))

    def _fire(self, loop: asyncio.AbstractEventLoop, timeout: float, due: float) -> None:
        waiting = self._waiting[timeout]
        # A loop may be early by its clock's resolution.
        now = max(due, loop.time())
        while waiting and (waiting[0][1].has_ended or waiting[0][0] <= now):
            _, reply = waiting.popleft()
            give_up(reply, timeout)
        if waiting:
            self._set_timer(loop, timeout, waiting[0][0])
        else:
            del self._timers[timeout], self._waiting[timeout]


def give_up(reply: Reply[Any], timeout: float) -> None:
    """End the wait for a reply, if nothing else has."""
    if not reply.has_ended:
        reply.give_up(AskTimeout.of(reply.command, timeout))
