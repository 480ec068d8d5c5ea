"""What becomes of an actor when its handler, or its start, has failed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from runtime._actors import fail_waiting, take_actor
from runtime._core import Core
from runtime._dispatch import Handler
from runtime._mailbox import Mailbox
from runtime._wiring import Factory, Storage, make_storage
from runtime.building import end_build, leave_all
from runtime.errors import ActorRestarting, TerminalClosed
from runtime.failures import report
from runtime.messages import Command
from runtime.workers import is_cancelled

__all__ = ("Supervision",)

MAX_RESTARTS: Final = 5
RESTART_SECONDS: Final = 5.0
"""An actor that fails more often than this in so many seconds of the loop's clock is stopped."""

Key = tuple[object, object]


class Supervision:
    """The actors of one terminal that do not simply stay after a failure.

    What has been stopped, and restarted of late, is known by the name of the mailbox and what
    makes the actor, so that an empty mailbox can be forgotten.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self._stopped: set[Key] = set()
        self._restarts: OrderedDict[Key, deque[float]] = OrderedDict()

    def check(self, box: Mailbox, handler: Handler, message: object) -> None:
        """Raise `TerminalClosed` if the actor that a message is for has been stopped."""
        if self._stopped and (box.name, handler.actor) in self._stopped:
            raise TerminalClosed.of_actor(handler.spec, box.name, message)

    async def watch(
        self,
        handler: Handler,
        message: object,
        storage: Storage,
        run: Callable[[], Coroutine[Any, Any, Any]],
    ) -> Any:
        """Run an actor's handler on the turn of its mailbox, and end the actor if that fails.

        The error goes on when the old instance has been left, and before anything else of the
        mailbox is started. Where the close will leave the instance, it stays, and so it does after
        an interrupt, which is to end the loop.
        """
        box = storage.box
        if box is None or handler.actor is None:
            return await run()
        self.check(box, handler, message)
        try:
            return await run()
        except (GeneratorExit, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # What a command raises is its reply, unless there was nobody to raise it.
            is_reply = isinstance(message, Command) and handler.actor.is_built(storage)
            if not is_reply and not self.core.is_rejecting:
                await self._end(box, handler, handler.actor, error)
            raise

    async def _end(
        self, box: Mailbox, handler: Handler, actor: Factory, error: BaseException
    ) -> None:
        """End the instance of an actor; whether there will be another is up to its rule."""
        key = (box.name, actor)
        wants_another = handler.spec.on_failure == "restart"
        stops = not wants_another or not self._may_restart(key)
        if stops:
            self._stopped.add(key)
            self._restarts.pop(key, None)
            report(
                "the actor of %s (%s) in mailbox %r is stopped, %s",
                handler.spec.name,
                handler.spec.location,
                box.name,
                f"after {MAX_RESTARTS} restarts in {RESTART_SECONDS:g} s"
                if wants_another
                else "because it has failed",
            )

        def refusal(message: object) -> Exception:
            refuse = TerminalClosed.of_actor if stops else ActorRestarting.of
            return refuse(handler.spec, box.name, message)

        fail_waiting(self.core, box, actor, refusal)
        await end_build(self.core, actor, box)
        home = make_storage(self.core, box, detached=True)
        home.exits = take_actor(box, actor)
        for failure in await leave_all(home, error):
            if is_for_the_worker(failure):
                raise failure
            report("%s could not be stopped well", handler.spec.name, error=failure)

    def _may_restart(self, key: Key) -> bool:
        """Count a restart, unless there have been too many of late."""
        now = asyncio.get_running_loop().time()
        while self._restarts:
            oldest = next(iter(self._restarts))
            if now - self._restarts[oldest][-1] <= RESTART_SECONDS:
                break
            # Nobody asks for these any more.
            del self._restarts[oldest]
        times = self._restarts.setdefault(key, deque(maxlen=MAX_RESTARTS))
        if len(times) == MAX_RESTARTS and now - times[0] <= RESTART_SECONDS:
            return False
        times.append(now)
        self._restarts.move_to_end(key)
        return True


def is_for_the_worker(failure: BaseException) -> bool:
    """Say whether what a stop has raised is an interrupt, or the cancellation of this task."""
    if isinstance(failure, (KeyboardInterrupt, SystemExit)):
        return True
    return isinstance(failure, asyncio.CancelledError) and is_cancelled()
