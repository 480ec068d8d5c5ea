"""The attempts of a handler that is retried, and the pauses between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runtime._core import Core
from runtime._dispatch import Handler
from runtime._mailbox import Mailbox
from runtime._wiring import Storage, make_storage
from runtime.workers import is_cancelled

if TYPE_CHECKING:
    import random

__all__ = ("Retries", "Slot")


class Slot:
    """The place among those in flight that a message has, given back while its handlers pause.

    Only one in the pool is: in any other mailbox the message keeps its place. A publisher may run
    several handlers of one message at the same time; those that do not pause need the slot.
    """

    def __init__(self, core: Core, box: Mailbox) -> None:
        self._core = core
        self._box = box if box is core.pool else None
        self._running = 0
        self._pausing = 0
        self._is_given_back = False

    @contextmanager
    def used(self) -> Generator[None]:
        """Run a handler in a ``with`` block."""
        self._change(1, 0)
        try:
            yield
        finally:
            self._change(-1, 0)

    @contextmanager
    def spared(self) -> Generator[None]:
        """Pause in a ``with`` block, inside one of `used`."""
        self._change(-1, 1)
        try:
            yield
        finally:
            self._change(1, -1)

    def _change(self, running: int, pausing: int) -> None:
        self._running += running
        self._pausing += pausing
        to_spare = self._running == 0 and self._pausing > 0
        if self._box is None or to_spare == self._is_given_back:
            return
        self._is_given_back = to_spare
        if to_spare:
            self._core.leave_turn(self._box)
        else:
            self._core.enter_turn(self._box)


class Retries:
    """Tries handlers of one terminal again.

    The jitter is drawn from `drawn`. On a loop that runs by a seed that is the seed's, too.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.drawn: random.Random | None = None

    async def run(
        self,
        handler: Handler,
        storage: Storage,
        attempt: Callable[[Storage], Coroutine[Any, Any, Any]],
        slot: Slot,
        note: Callable[[int], None],
    ) -> Any:
        """Attempt a handler, again and again if it fails, each time in a scope of its own.

        `storage` is the first scope's. `note` is told the number of each attempt before it starts.
        """
        retry = handler.spec.retry
        number = 1
        with slot.used():
            while True:
                note(number)
                try:
                    return await attempt(storage)
                except Exception as error:
                    if (
                        retry is None
                        or number >= retry.attempts
                        or not isinstance(error, retry.on)
                        or self._core.is_rejecting
                        or is_cancelled()
                    ):
                        raise
                    pause = retry.pause_after(number, self._random())
                if storage.message is not None:
                    self._core.host.waits.end_attempt(storage.message)
                with slot.spared():
                    await asyncio.sleep(pause)
                number += 1
                storage = make_storage(
                    self._core,
                    storage.box,
                    owner=handler,
                    message=storage.message,
                    cause=storage.cause,
                    hops=storage.hops,
                )

    def _random(self) -> random.Random:
        if self.drawn is None:
            # Needed by few.
            import random

            self.drawn = random.Random(getattr(self._core.loop, "seed", None))  # noqa: S311
        return self.drawn
