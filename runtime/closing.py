"""The end of a terminal: finish what was accepted, cut off the rest, leave everything."""

from __future__ import annotations

import asyncio
import functools
import traceback
from collections.abc import Awaitable, Callable, Iterable
from types import FrameType
from typing import Any, Final

from runtime._core import Core
from runtime.bus import Host
from runtime.failures import report
from runtime.reports import ShutdownReport, StuckHandler
from runtime.workers import WorkerTask

__all__ = ("shut_down",)

UNWIND_SECONDS: Final = 1.0
"""How long a close waits for cancelled handlers to unwind, and for the sink beyond its time."""


async def shut_down(host: Host, timeout: float) -> ShutdownReport:
    """Close a terminal within `timeout` seconds, and a little more for what has to be cut off.

    If this task is cancelled, what is left to wait for is cut off at once, and everything is left
    all the same.
    """
    return await Shutdown(host, timeout).run()


class Shutdown:
    """One close, from the first refusal, which the terminal has made, to the report."""

    def __init__(self, host: Host, timeout: float) -> None:
        self.host = host
        self.core: Core = host.core
        self.began: float = asyncio.get_running_loop().time()
        self.timeout = timeout
        self.errors: list[BaseException] = []
        self.interruption: asyncio.CancelledError | None = None

    async def run(self) -> ShutdownReport:
        """Close, and report."""
        core, host = self.core, self.host
        host.passivation.end()
        host.intake.stop()
        host.lines.dismiss(everybody=False)
        await self.within(self.time_left, self.drained)
        if host.blocks.left:
            report(
                "terminal %r closes with %d scopes open that have not been left in time",
                host.name,
                host.blocks.left,
            )
        host.inbox.empty()
        core.begin_rejecting()
        # Handlers may have stood in line since.
        host.lines.dismiss(everybody=True)
        core.reject_delayed(host.delays.clear())
        passivating = host.passivation.give_up()
        stuck = await self.stop_workers()
        # Whoever asks has been told by the end of its command, unless its handler goes on.
        core.deadlines.sweep()
        if passivating:
            await self.within(UNWIND_SECONDS, functools.partial(asyncio.wait, passivating))
            report(
                "terminal %r closes with the actors of %d mailboxes cut off while they stopped",
                host.name,
                len(passivating),
            )
        # While dead letters are heard, and before anything is left that handlers need.
        await self.attempt(lambda: host.intake.end(max(UNWIND_SECONDS, self.time_left)))
        core.finish()
        for step in (
            lambda: host.leave_actors(),
            lambda: host.leave_terminal(),
            lambda: host.outlet.close(max(UNWIND_SECONDS, self.time_left)),
        ):
            await self.attempt(step)
        host.failures.tell_all()
        return self.report(stuck)

    @property
    def time_left(self) -> float:
        """Seconds until the deadline."""
        now = asyncio.get_running_loop().time()
        return max(0.0, self.began + self.timeout - now)

    async def drained(self) -> None:
        """Wait until nothing is queued, running or stopping, and every block has ended."""
        host = self.host
        while not self.core.is_quiet or host.blocks.left or host.passivation.tasks:
            await self.core.await_quiet()
            await host.blocks.wait()
            await host.passivation.wait()

    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
        """Wait for something, but not longer than that, and not at all once interrupted."""
        try:
            async with asyncio.timeout(0 if self.interruption is not None else seconds):
                await wait()
        except TimeoutError:
            return
        except asyncio.CancelledError as error:
            self.interruption = error

    async def attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take one of the last steps; what it raises does not keep the others from being taken."""
        try:
            await step()
        except asyncio.CancelledError as error:
            self.interruption = error
        except BaseException as error:  # noqa: BLE001 -- raised with the report
            self.errors.append(error)

    # Workers

    async def stop_workers(self) -> tuple[StuckHandler, ...]:
        """Cancel the handlers that run, reject what is queued, and name those that go on."""
        workers = self.host.workers
        for task in tuple(workers.tasks):
            if task.worker.excused and not task.worker.hears_dead_letters:
                # It ends after this close; what is behind it is rejected by others.
                task.worker.unblock()
        asked: dict[WorkerTask, object] = {}
        for task in self.running():
            # Those that hear of dead letters may hear of the ones that this makes.
            if not task.worker.hears_dead_letters:
                asked[task] = task.worker.suspended
                task.cancel()
        await self.within(UNWIND_SECONDS, self.core.await_quiet)
        listening = [task for task in self.running() if task.worker.hears_dead_letters]
        for task in listening:
            asked[task] = task.worker.suspended
            task.cancel()
        if listening:
            await self.within(UNWIND_SECONDS, self.core.await_quiet)
        # Not those that have ended what they were asked to end, and hear of the next dead letter.
        stuck = [task for task in self.running() if asked.get(task) is task.worker.suspended]
        for task in stuck:
            task.worker.unblock()
        excused = {task for task in workers.tasks if task.worker.excused}
        while rest := workers.tasks - excused - {*stuck}:
            for task in rest:
                task.cancel()
            await self.within(UNWIND_SECONDS, functools.partial(asyncio.wait, rest))
            stuck += [task for task in rest if not task.done()]
        return tuple(describe(task) for task in stuck)

    def running(self) -> list[WorkerTask]:
        """Return the workers whose handler is suspended, unless it waits for this very close."""
        return [task for task in self.host.workers.running() if not task.worker.excused]

    # The end

    def report(self, stuck: tuple[StuckHandler, ...]) -> ShutdownReport:
        """Return the report. Raises what went wrong, with the report as a note."""
        for each in stuck:
            report("%s has swallowed its cancellation and goes on, at:\n%s", each.name, each.stack)
        counts = self.core.ledger()
        now = asyncio.get_running_loop().time()
        done = ShutdownReport(
            handled=counts["handled"],
            failed=counts["failed"],
            undelivered=tuple(self.core.take_undelivered()),
            stuck=stuck,
            seconds=now - self.began,
        )
        if done.undelivered:
            report(
                "terminal %r was closed with %d messages undelivered",
                self.host.name,
                len(done.undelivered),
            )
        if self.interruption is not None:
            for error in self.errors:
                report("the terminal could not be closed well", error=error)
            raise self.interruption
        if self.errors:
            msg = "the terminal could not be closed well"
            failure = (
                self.errors[0] if len(self.errors) == 1 else BaseExceptionGroup(msg, self.errors)
            )
            failure.add_note(f"the terminal is closed all the same: {done}")
            raise failure
        return done


def describe(task: WorkerTask) -> StuckHandler:
    """Name the handler that a worker is stuck with, and say where it is."""
    frames = list(frames_of(task.worker.suspended, task))
    stack = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames)
    return StuckHandler(str(task.worker.handler_name), "".join(stack.format()).rstrip())


def frames_of(awaited: Any, task: asyncio.Task[Any]) -> Iterable[FrameType]:
    """Yield the frames of a task's coroutine and of what it awaits, outermost first."""
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            yield frame
        inner = getattr(awaited, "cr_await", None)
        awaited = inner if inner is not None else getattr(awaited, "gi_yieldfrom", None)
    # What a coroutine awaits does not say which task that is; only the task itself knows.
    waited_for: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    if isinstance(waited_for, asyncio.Task):
        yield from frames_of(waited_for.get_coro(), waited_for)
