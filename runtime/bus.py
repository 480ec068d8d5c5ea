"""The cold parts of the bus: what the compiled core asks of its terminal."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from runtime._actors import actor_exits, publish_to_actor
from runtime._bus import EventBus, Scope
from runtime._context import MessageContext
from runtime._core import Core
from runtime._dispatch import Handler, Plan
from runtime._inbox import Inbox
from runtime._lines import Lines
from runtime._mailbox import Delivery, Mailbox
from runtime._stopwatch import TimedRun
from runtime._waits import Waits
from runtime._wiring import Call, Storage, make_storage
from runtime._worker import Worker
from runtime.blocks import Blocks
from runtime.building import (
    abandon,
    leave,
    leave_at_once,
    prepare,
    raise_together,
)
from runtime.deadlines import no_time_left, run_until
from runtime.delays import Delays
from runtime.errors import (
    NoActorKey,
    ScopeClosed,
    TerminalClosed,
    shorten,
)
from runtime.executor import HandlerThreads
from runtime.failures import Failures, report
from runtime.intake import Intake
from runtime.messages import DeadLetter, DeadLetterReason, Origin
from runtime.outlet import Outlet
from runtime.passivation import Passivation
from runtime.publishers import Listener, sequential
from runtime.retries import Retries, Slot
from runtime.running import attempt, close_after, handle, publish, reply, send
from runtime.signature import HandlerSpec
from runtime.sinks.routing import Sinks
from runtime.slowness import SlowHandlers
from runtime.supervision import Supervision
from runtime.threads import ThreadBus
from runtime.waiting import Waiting
from runtime.wired import Wired
from runtime.workers import HandlerTask, Workers, in_own_task, worker_of

__all__ = ("EventBus", "Host")


E = TypeVar("E")


def itself(value: object) -> object:
    """Return what it is given."""
    return value


class Host:
    """What is rare or asynchronous in the life of a core, written in Python.

    `begin` freezes and opens the terminal at its first message.
    """

    def __init__(
        self,
        name: str,
        *,
        concurrency: int,
        max_hops: int | None,
        idle_timeout: float | None,
        sink: Sinks | None,
        begin: Callable[[], None],
        find_provider: Callable[[object], Wired],
    ) -> None:
        self.name = name
        self.begin = begin
        self.find_provider = find_provider
        self.core: Core = Core(self, concurrency=concurrency, max_hops=max_hops)
        self.workers: Workers = Workers()
        self.failures: Failures = Failures(self.core)
        self.retries: Retries = Retries(self.core)
        self.supervision: Supervision = Supervision(self.core)
        self.passivation: Passivation = Passivation(self.core, idle_timeout)
        self.lines: Lines = Lines(self.core)
        self.inbox: Inbox = Inbox(self.core)
        self.delays: Delays = Delays(self.core.post_due)
        self.waits: Waits = Waits(self.core)
        self.waiting: Waiting = Waiting(self.core, self.lines, self.waits, self.supervision, name)
        self.blocks: Blocks = Blocks()
        self.outlet: Outlet = Outlet(sink, name)
        self.intake: Intake = Intake()
        self.slowness: SlowHandlers = SlowHandlers(self.core)
        self.threads: HandlerThreads = HandlerThreads(name)
        self._late: set[asyncio.Task[None]] = set()
        self._max_hops = max_hops
        self._turns: WeakValueDictionary[object, asyncio.Lock] = WeakValueDictionary()

    def is_inside(self) -> bool:
        """Say whether a handler from a mailbox is running in this task."""
        return worker_of(self.core) is not None

    # Workers and failures

    def start_worker(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start one more worker on the terminal's loop."""
        self.workers.start(Worker(self.core), loop)

    def bury(
        self,
        message: object,
        context: MessageContext,
        handler: HandlerSpec | None,
        reason: DeadLetterReason,
        error: BaseException,
        attempts: int,
        box: Mailbox,
    ) -> DeadLetter:
        """Record that a handler failed, or that a message (handler None) was not handled."""
        if isinstance(error, TerminalClosed) and error.refuses(handler, message):
            # The handler was not called.
            reason, attempts = "closed", 0
        origin = Origin(self.core, box, handler, context)
        return self.failures.bury(message, origin, reason, error, attempts)

    def log_failure(
        self,
        message: object,
        context: MessageContext,
        handler: HandlerSpec | None,
        error: BaseException,
    ) -> None:
        """Log that a handler of a dead letter failed; nothing else becomes of that."""
        self.failures.log(message, context, handler, "failed", error, by_publisher=handler is None)

    def record_breakdown(
        self, message: object, context: MessageContext | None, box: Mailbox, error: BaseException
    ) -> DeadLetter:
        """Return a message under which a worker failed as a dead letter."""
        origin = Origin(self.core, box, None, context or MessageContext())
        return self.failures.count_in(message, None, "failed", error, origin)

    def too_many_hops(self, event: object) -> RecursionError:
        """Return the error for a message that others have caused without an end."""
        return RecursionError(
            f"{shorten(event)} has a chain of more than {self._max_hops} causes, each emitted by "
            f"the handler of the one before: if that is meant, emit it with a delay, or raise "
            f"max_hops="
        )

    def report_changed_key(self, key: object) -> None:
        """Log that a key cannot be looked up any more."""
        report("a key of type %s has changed while it named a mailbox", type(key).__name__)

    def no_time_left(self, message: object) -> TimeoutError:
        """Return the error for a message whose sender has no time left."""
        return no_time_left(message)

    def run_until(
        self, deadline: float, work: Coroutine[Any, Any, Any], message: object
    ) -> Coroutine[Any, Any, Any]:
        """Return the run of a message that has to end by a deadline."""
        return run_until(deadline, work, message)

    def too_late(self, event: object) -> TimeoutError:
        """Return the error for a message that was not started within its time to live."""
        return TimeoutError(f"{shorten(event)} was not started within its ttl")

    def no_actor_key(self, handler: HandlerSpec, event: object) -> NoActorKey:
        """Return the error for an event that names no actor."""
        return NoActorKey.of(handler, event)

    def late_reply(
        self,
        command: object,
        context: MessageContext,
        handler: HandlerSpec,
        box: Mailbox,
        attempts: int,
        failure: BaseException | None,
    ) -> None:
        """Tell of a reply, or of the error that is one, that nobody waits for any more."""
        error = TimeoutError(f"nobody waits for the reply to {shorten(command)} any more")
        error.__cause__ = failure
        self.bury(command, context, handler, "late_reply", error, attempts, box)

    def from_thread(self, bus: EventBus[E]) -> ThreadBus[E]:
        """Return the verbs of a bus for other threads."""
        return ThreadBus(bus, self.core, self.inbox)

    def sink_events(
        self, bus: EventBus[Any], events: Sequence[object], context: MessageContext | None
    ) -> Coroutine[Any, Any, None]:
        """Persist events through the terminal's sink."""
        return self.outlet.sink(bus, events, context)

    def publish_to_actor(
        self,
        handler: Handler,
        event: object,
        context: MessageContext | None,
        storage: Storage,
    ) -> Coroutine[Any, Any, Any]:
        """Return the run of an actor's handler of a published event."""
        return publish_to_actor(self.core, handler, event, context, storage)

    def wait_for_actor(
        self,
        box: Mailbox,
        handler: Handler,
        event: object,
        context: MessageContext | None,
        storage: Storage,
    ) -> Coroutine[Any, Any, Any]:
        """Return the wait for an actor that handles a published event in its mailbox."""
        return self.waiting.wait_for_actor(box, handler, event, context, storage)

    # Runs that the core does not do by itself

    def publish(
        self,
        plan: Plan,
        event: object,
        context: MessageContext,
        storage: Storage | None,
        box: Mailbox | None,
    ) -> Coroutine[Any, Any, None]:
        """Return the run of a published event."""
        return publish(self.core, plan, event, context, storage, box)

    def send(
        self,
        plan: Plan,
        command: object,
        context: MessageContext,
        storage: Storage | None,
        box: Mailbox | None,
    ) -> Coroutine[Any, Any, Any]:
        """Return the run of a command."""
        return send(self.core, plan, command, context, storage, box)

    def reply(
        self, call: Call, command: object, context: MessageContext | None
    ) -> Coroutine[Any, Any, Any]:
        """Return the run of a command that a plain function carries out."""
        return reply(call, command, context)

    def close_after(self, storage: Storage, awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
        """Return a coroutine that awaits something and ends the scope that it runs in."""
        return close_after(storage, awaitable)

    async def refuse(self, refusal: Exception) -> None:
        """Raise what speaks against a command, at the await."""
        raise refusal

    def run_attempt(
        self,
        plan: Plan,
        handler: Handler,
        event: object,
        context: MessageContext,
        storage: Storage,
    ) -> Coroutine[Any, Any, Any]:
        """Return the one run of a handler from a mailbox, in the scope made for it."""
        start = functools.partial(self.run_once, plan, handler, event, context, storage)
        return self.supervise(handler, event, storage, start)

    def run_attempts(
        self,
        worker: Worker,
        plan: Plan,
        handler: Handler,
        event: object,
        context: MessageContext,
        storage: Storage,
    ) -> Coroutine[Any, Any, Any]:
        """Return the run of one handler from a mailbox, with retries; the first has its scope."""
        attempt = functools.partial(self.run_once, plan, handler, event, context)
        start = functools.partial(attempt, storage)
        if handler.spec.retry is not None:
            # Not the scope's mailbox: the handlers of dead letters have the pool's scope, and no
            # slot.
            slot = Slot(self.core, worker.mailbox or self.core.pool)
            note = functools.partial(setattr, worker, "attempts")
            start = functools.partial(self.retries.run, handler, storage, attempt, slot, note)
        return self.supervise(handler, event, storage, start)

    def run_once(
        self,
        plan: Plan,
        handler: Handler,
        event: object,
        context: MessageContext,
        storage: Storage,
    ) -> Coroutine[Any, Any, Any]:
        """Return one attempt of a handler, in the task that it wants."""

        def run() -> Coroutine[Any, Any, Any]:
            return attempt(self.core, plan, handler, event, context, storage)

        def run_timed() -> Coroutine[Any, Any, Any]:
            return TimedRun(self.core.stopwatch, handler, event, run())

        return in_own_task(self.core, run_timed) if handler.own_task else run()

    def supervise(
        self,
        handler: Handler,
        event: object,
        storage: Storage,
        start: Callable[[], Coroutine[Any, Any, Any]],
    ) -> Coroutine[Any, Any, Any]:
        """Return a run, around it what becomes of the handler's actor if it fails."""
        if handler.supervised:
            return self.supervision.watch(handler, event, storage, start)
        return start()

    async def run_control(
        self,
        message: Delivery,
        plan: Plan,
        handler: Handler,
        event: object,
        context: MessageContext,
        storage: Storage,
    ) -> None:
        """Run an actor's handler for whoever waits for it, and keep its reply."""
        message.keep_reply(await self.run_attempt(plan, handler, event, context, storage))

    async def leave_and_raise(
        self, storage: Storage, error: BaseException | None, reply: object = None
    ) -> object:
        """Leave what a scope has entered, then let the error that ended it, or the reply, go on."""
        await leave(storage, error)
        if error is not None:
            raise error
        return reply

    def leave_at_once(self, storage: Storage) -> None:
        """Leave what a scope has entered without awaiting, as a coroutine that is closed does."""
        leave_at_once(storage)

    async def run_on_turn(
        self,
        box: Mailbox,
        plan: Plan,
        handler: Handler,
        event: object,
        context: MessageContext,
        storage: Storage,
    ) -> Any:
        """Run an actor's handler inline, on the turn of its mailbox that the caller has.

        Runs inside one actor wait for each other, and the mailbox waits for all of them.
        """

        def run() -> Coroutine[Any, Any, Any]:
            return handle(self.core, plan, handler, event, context, storage, on_turn=True)

        self.core.enter_turn(box)
        try:
            async with self._turn(box, handler):
                if handler.supervised:
                    return await self.supervision.watch(handler, event, storage, run)
                return await run()
        finally:
            storage.closed = True
            self.core.leave_turn(box)

    def _turn(self, box: Mailbox, handler: Handler) -> asyncio.Lock:
        """Return what keeps runs inside the actor of a mailbox apart."""
        return self._turns.setdefault((box, handler.actor), asyncio.Lock())

    async def emit_with(
        self,
        message: Delivery,
        plan: Plan,
        event: object,
        context: MessageContext,
        box: Mailbox,
        hops: int,
    ) -> None:
        """Let a publisher of the user's own run the handlers of an emitted event.

        A listener that fails is recorded, and returns to the publisher as if it had not.
        """
        worker = worker_of(self.core)
        slot = Slot(self.core, box) if any(each.limited for each in plan.handlers) else None

        def listener(handler: Handler) -> Listener:
            async def listen(event: object, context: MessageContext) -> None:
                attempts: list[int] = []
                storage = make_storage(
                    self.core, box, owner=handler, message=message, cause=context, hops=hops
                )
                try:
                    # One actor is never in two handlers at once, whatever the publisher does.
                    async with nullcontext() if handler.actor is None else self._turn(box, handler):
                        attempt = functools.partial(self.run_once, plan, handler, event, context)
                        start = (
                            functools.partial(attempt, storage)
                            if slot is None
                            else functools.partial(
                                self.retries.run, handler, storage, attempt, slot, attempts.append
                            )
                        )
                        run = self.supervise(handler, event, storage, start)
                        timed = TimedRun(self.core.stopwatch, handler, event, run)
                        if worker_of(self.core) is worker:
                            await timed
                        else:
                            # A task of the publisher's own, which says nothing about its message.
                            await HandlerTask(timed, worker, message)
                except Exception as error:  # noqa: BLE001 -- recorded
                    handler.tally.count_failure()
                    message.add_dead_letter(
                        self.bury(
                            event, context, handler.spec, "failed", error, len(attempts) or 1, box
                        )
                    )

            return listen

        publisher = plan.publisher or sequential
        await publisher(event, context, [listener(each) for each in plan.handlers])

    # Scopes

    async def enter_scope(self, scope: Scope[Any]) -> Scope[Any]:
        """Begin a scope's block."""
        self.core.scopes += 1
        scope.task = self.blocks.enter()
        return scope

    async def leave_scope(self, scope: Scope[Any], error: BaseException | None) -> None:
        """End a scope's block, and with it what the scope has built.

        What it has held back is let go if everything ended well.
        """
        # From here on it builds nothing more.
        scope.closed = True
        try:
            await leave(scope, error)
            if error is None:
                scope._release()  # noqa: SLF001
        finally:
            scope._forget()  # noqa: SLF001
            self.core.scopes -= 1
            scope._end()  # noqa: SLF001
            self.blocks.leave(scope.task)
            scope.task = None

    async def resolve(self, scope: Scope[Any], wanted: object) -> Any:
        """Return what a handler in a scope would be given for a type."""
        if scope.storage.closed:
            raise ScopeClosed.of(scope.name, wanted)
        wired = self.find_provider(wanted)
        await prepare(wired.waits, scope.storage)
        return Call(itself, (wired.provider,))(None, None, scope.storage)

    @contextmanager
    def excused(self) -> Generator[None]:
        """Let a close go on without the handler, or the blocks, of the current task.

        If the task gives the close up inside the block, it is waited for again.
        """
        worker = worker_of(self.core)
        is_first = worker is not None and worker.excuse()
        self.blocks.excuse()
        try:
            yield
        except BaseException:
            if not self.core.has_ended:
                if worker is not None and is_first:
                    worker.readmit()
                self.blocks.readmit()
            raise

    def end_excused(self) -> None:
        """Leave the actors of mailboxes whose handlers have waited for the close."""
        if self.core.has_ended:
            task = asyncio.create_task(self.leave_actors(), name=f"{self.name}.late")
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def leave_actors(self) -> None:
        """Leave what actors have entered, unless a handler of theirs waits for the close."""
        failures: list[BaseException] = []
        try:
            await abandon(self.core.root)
        except asyncio.CancelledError as error:
            # What is being built will end by itself; what has been built is left all the same.
            failures.append(error)
        for exits in actor_exits(self.core, self.core.excused_boxes):
            home = make_storage(self.core, detached=True)
            home.exits = exits
            try:
                await leave(home, None)
            except BaseException as error:  # noqa: BLE001 -- raised below
                failures.append(error)
        if failures:
            raise_together("actors could not be left well", failures)

    async def leave_terminal(self) -> None:
        """Leave what singletons have entered, and end the thread pool."""
        try:
            await leave(self.core.root, None)
        finally:
            self.threads.shut_down()
