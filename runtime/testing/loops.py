"""An event loop for tests: a clock that jumps, and a schedule that a seed decides."""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from itertools import count
from selectors import DefaultSelector
from typing import Any, Self, TypeVar, TypeVarTuple, Unpack, cast
from weakref import WeakKeyDictionary

from runtime.testing.relays import Events, RelaySelector, Submission
from runtime.testing.tasks import describe

__all__ = ("SimulatedLoop", "Stalled")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Stalled(RuntimeError):
    """Every task of a simulated loop waits for something that nobody will do."""


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Run tasks on a virtual clock, in an order that a seed decides.

    `loop.time()` begins at `start`, in seconds, and stands still while anything can run. When
    nothing can, it jumps to the next timer: sleeping takes no time. It does not jump while a job
    of `run_in_executor` is under way, nor past I/O that is ready. Other threads, and I/O that is
    not ready yet, do not hold it.

    With a `seed` the steps of tasks that are ready are run in an order drawn from it; callbacks
    that are no steps of tasks keep their places. The same program and seed give the same order in
    every process. Without one the order is asyncio's, and in either case timers that are due at
    one moment fire in the order in which they were set.

    Raises `Stalled` out of the running loop, after `stall` seconds of real time in which no other
    thread and no socket woke it, if no timer is set and no job is under way.
    """

    is_simulated = True
    """Tells the runtime not to let go by the time of the day what should go by the seed."""

    # Private to asyncio, as is a handle's `_callback`: the handles that are ready, in order, and
    # how early a timer may fire.
    _ready: deque[asyncio.Handle]
    _clock_resolution: float

    def __init__(self, *, seed: int | None = None, start: float = 0.0, stall: float = 5.0) -> None:
        self.seed = seed
        self.uncaught: list[dict[str, object]] = []
        """What the loop's exception handler was told."""
        self._now = start
        self._stall = stall
        # Not for secrets: an order that can be drawn again.
        self._random = None if seed is None else random.Random(seed)  # noqa: S311
        self._task_numbers: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()
        self._numbers = count()
        self._threads: ThreadPoolExecutor | None = None
        self._jobs = 0
        self._inner = DefaultSelector()
        super().__init__(RelaySelector(self._inner, self._select))
        self._move_to(start)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now

    def block(self, seconds: float) -> None:
        """Let virtual time pass at once, as a call that blocks the loop for so long does.

        Nothing runs meanwhile; timers that have become due fire when the loop goes round.
        """
        if not 0 <= seconds < math.inf:
            msg = f"the loop is blocked for a finite number of seconds from 0 on, not {seconds!r}"
            raise ValueError(msg)
        self._move_to(self._now + seconds)

    def _move_to(self, moment: float) -> None:
        self._now = moment
        # A timer fires when it is due, not up to a resolution earlier; and `time() + resolution`
        # differs from `time()` at any time, or else asyncio would look at a timer for ever.
        self._clock_resolution = math.ulp(moment)

    def _select(self, timeout: float | None) -> Events:
        """Do what asyncio asks of a selector, once before each round of callbacks."""
        if self._random is not None and len(self._ready) > 1:
            self._shuffle(self._random)
        events = self._inner.select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self._jobs:
            return self._inner.select(None)
        if timeout is not None:
            self._move_to(after(self._now, timeout))
            return events
        events = self._inner.select(self._stall)
        if not events:
            msg = (
                f"no timer is set, no job runs in a thread, and nothing came from outside for "
                f"{self._stall} s: every task waits for something that nobody will do\n"
                f"{describe(asyncio.all_tasks(self))}"
            )
            raise Stalled(msg)
        return events

    def _shuffle(self, drawn: random.Random) -> None:
        ready = self._ready
        # One by one: other threads may append meanwhile.
        handles = [ready.popleft() for _ in range(len(ready))]
        owners = {index: task_of(each) for index, each in enumerate(handles)}
        steps = {index: task for index, task in owners.items() if task is not None}
        # In the order of their creation first: asyncio keeps tasks in sets, whose order differs
        # from process to process.
        for task in steps.values():
            self._number(task)
        order = sorted(steps, key=lambda index: self._task_numbers[steps[index]])
        drawn.shuffle(order)
        shuffled = [handles[index] for index in order]
        for index, handle in zip(steps, shuffled, strict=True):
            handles[index] = handle
        ready.extendleft(reversed(handles))

    def _number(self, task: asyncio.Task[Any]) -> None:
        if task not in self._task_numbers:
            self._task_numbers[task] = next(self._numbers)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        """Schedule a coroutine, as asyncio does."""
        # Generators were coroutines once; to checkers, only on some versions they still are.
        coroutine = cast("Coroutine[Any, Any, T]", coro)
        task = super().create_task(coroutine, name=name, context=context, **options)
        if self._random is not None:
            self._number(task)
        return task

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call a function when the virtual clock reaches `when`, in seconds."""
        if when == math.inf:
            # Never. As a timer it would have the clock jump for ever.
            return asyncio.TimerHandle(when, callback, args, self, context)
        moment = Moment.numbered(when, next(self._numbers))
        return super().call_at(moment, callback, *args, context=context)

    def set_default_executor(self, executor: Executor) -> None:
        """Set where `run_in_executor(None, ...)` runs: a `ThreadPoolExecutor`, or `TypeError`."""
        if not isinstance(executor, ThreadPoolExecutor):
            msg = f"the default executor must be a ThreadPoolExecutor, not {executor!r}"
            raise TypeError(msg)
        super().set_default_executor(executor)
        self._threads = executor

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Run a function in another thread or process; the clock stands still meanwhile."""
        submission = Submission(self._default_threads() if executor is None else executor)
        future = super().run_in_executor(submission, func, *args)
        self._jobs += 1
        # The job itself, since a future that is cancelled does not end it; and after asyncio's
        # own callback, so that its result is here before the clock may jump.
        submission.job.add_done_callback(self._end_job)
        return future

    def _default_threads(self) -> ThreadPoolExecutor:
        if self._threads is None:
            threads = ThreadPoolExecutor(thread_name_prefix="asyncio")
            self.set_default_executor(threads)
            return threads
        return self._threads

    def _end_job(self, _: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop has been closed
            self.call_soon_threadsafe(self._forget_job)

    def _forget_job(self) -> None:
        self._jobs -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """Wait, in real time, for the threads of the default executor to end.

        `timeout` has no effect: the clock stands still meanwhile.
        """
        self._jobs += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._jobs -= 1

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what is reported in `uncaught`, and report it as asyncio does."""
        self.uncaught.append(context)
        super().call_exception_handler(context)


def task_of(handle: asyncio.Handle) -> asyncio.Task[Any] | None:
    """Return the task whose step a handle is, if it is one."""
    callback = getattr(handle, "_callback", None)
    owner: Any = getattr(callback, "__self__", None)
    if not issubclass(type(owner), asyncio.Task):
        return None
    # What makes a step is private to tasks; a public method, such as `cancel`, is a callback.
    return None if hasattr(asyncio.Task, getattr(callback, "__name__", "")) else owner


def after(now: float, seconds: float) -> float:
    """Return the earliest moment that is `seconds` later, once that has been rounded.

    If the timer is due at a later one, asyncio asks again, for the difference.
    """
    moment = now + seconds
    while (earlier := math.nextafter(moment, now)) - now >= seconds:
        moment = earlier
    return moment


class Moment(float):
    """When a timer is due, in seconds; of two at one moment the first that was set is first."""

    __slots__ = ("number",)

    number: int

    @classmethod
    def numbered(cls, when: float, number: int) -> Self:
        """Return the moment of the timer that was set as the `number`-th."""
        self = cls(when)
        self.number = number
        return self

    def __lt__(self, other: float) -> bool:
        """Compare moments, then the order in which timers were set."""
        if isinstance(other, Moment) and self == other:
            return self.number < other.number
        return float(self) < float(other)
