"""Actors whose mailboxes have had nothing to do for long: they are stopped, and forgotten."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextvars import Context
from typing import Final

from runtime._actors import is_idle, take_actors
from runtime._core import Core
from runtime._mailbox import Mailbox
from runtime._wiring import make_storage
from runtime.building import leave_all
from runtime.failures import report
from runtime.workers import is_cancelled

__all__ = ("Passivation",)

BATCH: Final = 100
"""How many mailboxes are looked at before the loop goes round."""


class Passivation:
    """The idle mailboxes that have actors, those that have been idle longest first.

    `seconds` is how long they may be (None: for ever). There is one timer for all of them, and a
    task only while there is something to leave; it has the mailbox's turn, so a message that comes
    meanwhile waits, and finds another instance.
    """

    def __init__(self, core: Core, seconds: float | None) -> None:
        self.core = core
        self.seconds = seconds
        self.tasks: dict[asyncio.Task[None], Mailbox] = {}
        self._idle: OrderedDict[Mailbox, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        core.passivates = seconds is not None

    def note(self, box: Mailbox) -> None:
        """Take note that a mailbox with actors has nothing to do as of now."""
        loop = self.core.loop
        if self.seconds is None or loop is None:
            return
        self._idle[box] = loop.time()
        self._idle.move_to_end(box)
        if self._timer is None:
            self._set_timer(loop, self.seconds)

    def _set_timer(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        due = next(iter(self._idle.values())) + seconds
        # A context of its own, not that of the message that was handled last.
        self._timer = loop.call_at(due, self._fire, loop, seconds, due, context=Context())

    def _fire(self, loop: asyncio.AbstractEventLoop, seconds: float, due: float) -> None:
        # A loop may be early by its clock's resolution.
        now = max(due, loop.time())
        self._timer = None
        for _ in range(BATCH):
            box = next(iter(self._idle), None)
            if box is None or self._idle[box] + seconds > now:
                break
            del self._idle[box]
            # One that is busy is noted again when it has nothing to do.
            if is_idle(box):
                self._passivate(loop, box)
        if self._idle and self._timer is None:
            self._set_timer(loop, seconds)

    def _passivate(self, loop: asyncio.AbstractEventLoop, box: Mailbox) -> None:
        self.core.enter_turn(box)
        exits = take_actors(box)
        if not exits:
            self.core.leave_turn(box)
            return
        work = self._leave(box, exits)
        task = asyncio.Task(work, loop=loop, name="runtime.passivation", context=Context())
        self.tasks[task] = box
        task.add_done_callback(self._ended)

    async def _leave(self, box: Mailbox, exits: list[tuple[object, bool]]) -> None:
        home = make_storage(self.core, box, detached=True)
        home.exits = exits
        cancellation: asyncio.CancelledError | None = None
        for failure in await leave_all(home, None):
            if isinstance(failure, asyncio.CancelledError) and is_cancelled():
                cancellation = failure
            elif not isinstance(failure, (KeyboardInterrupt, SystemExit)):
                # Those have left the loop already, through the owner's task.
                report("the actors of mailbox %r could not be left well", box.name, error=failure)
        if cancellation is not None:
            raise cancellation

    def _ended(self, task: asyncio.Task[None]) -> None:
        box = self.tasks.pop(task, None)
        if box is not None:
            self.core.leave_turn(box)

    # The close

    async def wait(self) -> None:
        """Wait for the stops that are under way."""
        if self.tasks:
            await asyncio.wait(tuple(self.tasks))

    def end(self) -> None:
        """Passivate nothing any more; the close leaves what is there."""
        self.core.passivates = False
        self._idle.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def give_up(self) -> list[asyncio.Task[None]]:
        """Cancel the stops that are under way, and do not hold their mailboxes up for them."""
        given_up = list(self.tasks)
        for task in given_up:
            task.cancel()
            self._ended(task)
        return given_up
