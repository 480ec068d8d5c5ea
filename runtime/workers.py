"""The tasks that workers run in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, TypeVar, cast

from runtime._core import Core
from runtime._mailbox import Delivery, Mailbox
from runtime._waits import Wait
from runtime._worker import Worker
from runtime.loops import is_running

__all__ = (
    "HandlerTask",
    "WorkerTask",
    "Workers",
    "in_own_task",
    "is_cancelled",
    "is_cut_off",
    "worker_of",
)

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("runtime")

CLOSE_ATTEMPTS: Final = 100
"""How many times a handler may await on its way out before it is left to the interpreter."""


class WorkerTask(asyncio.Task[None]):
    """A task that tells its worker when it is cancelled.

    A handler may cancel the task that it runs in. The worker must know before it takes the next
    message, and asking the task each time would be dear.
    """

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
        # An empty context of its own: messages bring theirs. A plain Task, whatever the loop's
        # task factory is: an eager one would run a handler inside emit.
        super().__init__(worker, loop=loop, name="runtime.worker", context=Context())
        # Workers wait for ever; that is no loss when a loop is dropped.
        self._log_destroy_pending = False
        self.worker = worker
        # What waits in this task asks it for its edge in the wait-for graph.
        self.plan_wait: Callable[
            [Core | None, str, Mailbox, Delivery | None, object], Wait | None
        ] = worker.plan_wait
        self.cut_off: bool = False

    def cancel(self, msg: object = None) -> bool:
        """Request cancellation, as `asyncio.Task.cancel` does."""
        self.worker.cancelled = True
        if not is_running():
            # Nobody who runs on the loop has done that: its end has come.
            self.cut_off = True
        return super().cancel(msg)


class Workers:
    """The live workers of one terminal, held so that the loop's weak references suffice."""

    def __init__(self) -> None:
        self.tasks: set[WorkerTask] = set()

    def start(self, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
        """Give a worker a task."""
        task = WorkerTask(worker, loop)
        self.tasks.add(task)
        # Not in the variables of whoever has sent the message that it is started for.
        task.add_done_callback(self._ended, context=Context())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(cast("WorkerTask", task))
        # What a worker raises has been logged, or is an interrupt that has left the loop already;
        # nobody will ask the task for it again.
        if not task.cancelled():
            task.exception()

    def running(self) -> list[WorkerTask]:
        """Return the workers whose handler is suspended."""
        return [task for task in self.tasks if task.worker.suspended is not None]

    def drop(self) -> None:
        """End the handlers that are suspended, when the loop that they wait on is no more.

        The interpreter would do the same, and complain of those that try to await something on
        their way out.
        """
        for task in self.running():
            for _ in range(CLOSE_ATTEMPTS):
                try:
                    task.worker.close()
                except RuntimeError:
                    # It has awaited something, and can be ended there.
                    continue
                except Exception:
                    logger.exception("a handler failed when its loop had gone")
                break


class HandlerTask(asyncio.Task[Any]):
    """The task of a handler that does not run in its worker's.

    One that a publisher has started and not waited for may outlive its message. It is nobody's
    then.
    """

    def __init__(
        self, run: Coroutine[Any, Any, Any], worker: Worker | None, message: Delivery | None
    ) -> None:
        # A plain Task in the context at hand, whatever the loop's task factory is.
        super().__init__(run, loop=asyncio.get_running_loop(), name="runtime.handler")
        self._worker = worker
        self._message = message

    @property
    def worker(self) -> Worker | None:
        """The worker that handles the message, or None if none does (any more)."""
        worker = self._worker
        return worker if worker is not None and worker.handled is self._message else None

    def plan_wait(
        self,
        core: Core | None,
        verb: str,
        box: Mailbox,
        target: Delivery | None,
        event: object,
    ) -> Wait | None:
        """Return the edge of a wait of the handler, or None if its message has ended."""
        worker = self.worker
        return None if worker is None else worker.plan_wait(core, verb, box, target, event)


async def in_own_task(core: Core, run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run something in a task of its own, which is cancelled with the caller."""
    worker = worker_of(core)
    message = None if worker is None else worker.handled
    task: asyncio.Task[T] = HandlerTask(run(), worker, message)
    return await task


def worker_of(core: Core) -> Worker | None:
    """Return the worker of a terminal that runs the current task's handler, if one does."""
    task = asyncio.current_task()
    if isinstance(task, (WorkerTask, HandlerTask)):
        worker = task.worker
        if worker is not None and worker.core is core:
            return worker
    return None


def is_cancelled() -> bool:
    """Say whether somebody has cancelled the current task, and not taken that back."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def is_cut_off() -> bool:
    """Say whether the current task is a worker's that the end of its loop has cancelled."""
    task = asyncio.current_task()
    return isinstance(task, WorkerTask) and task.cut_off
