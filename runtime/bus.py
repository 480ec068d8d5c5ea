"""The cold parts of the bus: what the compiled core asks of its terminal."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from contextvars import copy_context
from typing import Any, cast
from weakref import WeakValueDictionary

from runtime._bus import EventBus, MessageContext, Scope
from runtime._dispatch import Handler, Plan
from runtime._mailbox import Core, Delivery, Mailbox
from runtime._wiring import Call, Storage, make_storage
from runtime._worker import Worker
from runtime.building import abandon, leave, leave_at_once, prepare
from runtime.errors import DeadlockError, NoActorKey, ScopeClosed, SinkUnset, TerminalClosed
from runtime.lifetimes import Wired
from runtime.messages import DeadLetter
from runtime.publishers import Listener, sequential
from runtime.running import attempt, handle, publish, send
from runtime.signature import HandlerSpec
from runtime.sinks.base import Record, Sink
from runtime.workers import Workers, is_cut_off, worker_of

__all__ = ("EventBus", "Host")


logger = logging.getLogger("runtime")


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
        capacity: int,
        concurrency: int,
        sink: Sink | None,
        begin: Callable[[], None],
        find_provider: Callable[[object], Wired],
    ) -> None:
        self.name = name
        self.begin = begin
        self.find_provider = find_provider
        self.core = Core(self, capacity=capacity, concurrency=concurrency)
        self.workers = Workers()
        self.sunk = 0
        self.dead_letters = 0
        self.cut_off = 0
        self._executor: ThreadPoolExecutor | None = None
        self._turns: WeakValueDictionary[object, asyncio.Lock] = WeakValueDictionary()
        self._sinking = 0
        self._sunk_all: asyncio.Event = asyncio.Event()
        self._sink = sink
        self._sink_lock = asyncio.Lock()
        self._sink_open = False

    def is_inside(self) -> bool:
        """Say whether a handler from a mailbox is running in this task."""
        return worker_of(self.core) is not None

    # Workers and failures

    def start_worker(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start one more worker on the terminal's loop."""
        self.workers.start(Worker(self.core), loop)

    def record_failure(
        self,
        message: object,
        context: MessageContext,
        handler: HandlerSpec | None,
        error: BaseException,
    ) -> DeadLetter:
        """Log that a handler, or the publisher (None), failed; return it as a dead letter."""
        self.dead_letters += 1
        name = "the publisher" if handler is None else handler.name
        if isinstance(error, asyncio.CancelledError) and is_cut_off():
            # Said once, with what else the terminal leaves behind.
            self.cut_off += 1
            return DeadLetter(message, name, "closed", error)
        cut_off = self.core.is_rejecting and isinstance(
            error, (asyncio.CancelledError, TerminalClosed)
        )
        letter = DeadLetter(message, name, "closed" if cut_off else "failed", error)
        try:
            logger.error(
                "%s%s failed to handle %s %s",
                name,
                "" if handler is None else f" ({handler.location})",
                type(message).__name__,
                context.id,
                exc_info=error,
            )
        except Exception as broken:  # noqa: BLE001 -- reported
            # A log that fails must not take the message's outcome with it.
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"the failure of {name} could not be logged", "exception": broken}
            )
        return letter

    def record_breakdown(self, message: object, error: BaseException) -> DeadLetter:
        """Return a message under which a worker failed as a dead letter."""
        self.dead_letters += 1
        return DeadLetter(message, None, "failed", error)

    def record_rejection(self, message: object, error: TerminalClosed) -> DeadLetter:
        """Return a message that the close has turned away as a dead letter."""
        return DeadLetter(message, None, "closed", error)

    def no_actor_key(self, handler: HandlerSpec, event: object) -> NoActorKey:
        """Return the error for an event that names no actor."""
        return NoActorKey.of(handler, event)

    # Verbs that wait

    async def offer(
        self,
        bus: EventBus[Any],
        event: object,
        context: MessageContext | None,
        key: object,
        callback: Callable[[Delivery], object] | None,
    ) -> Delivery:
        """Queue an event as `emit` does, standing in line while the mailbox is full."""
        core = self.core
        box, message = bus._prepare(event, context, key, callback)  # noqa: SLF001
        if not core.post_if_room(box, message):
            place = core.await_room(box)
            try:
                await place
            except TerminalClosed:
                raise TerminalClosed.of(self.name, event) from None
            except BaseException:
                core.leave_line(box, place)
                raise
            core.post_reserved(box, message)
        return message

    async def sink_events(
        self, bus: EventBus[Any], events: Sequence[object], context: MessageContext | None
    ) -> None:
        """Persist events through the terminal's sink."""
        if len(events) == 1 and isinstance(events[0], (list, tuple)):
            events = cast("Sequence[object]", events[0])
        bus._admit(events)  # noqa: SLF001
        if self._sink is None:
            raise SinkUnset.of(self.name)
        # One context has one id, for one event; several events share its headers only.
        headers = None if context is None or len(events) == 1 else context.headers
        records: list[Record] = []
        for event in events:
            if isinstance(event, Record):
                records.append(event)
            else:
                given = context if headers is None else MessageContext(headers=headers)
                records.append(Record.of(event, bus._context(given)))  # noqa: SLF001
        self._sinking += 1
        self._sunk_all.clear()
        try:
            await self.open_sink()
            await self._sink.sink(records)
        finally:
            self._sinking -= 1
            if self._sinking == 0:
                self._sunk_all.set()
        self.sunk += len(records)

    async def wait_for_actor(
        self, box: Mailbox, handler: Handler, event: object, context: MessageContext | None
    ) -> Any:
        """Let an actor handle a message in its mailbox, wait for it, and return its reply."""
        worker = worker_of(self.core)
        if worker is not None and worker.has_turn_of(box):
            raise DeadlockError.itself(handler.spec, box.name)
        message = self.core.post_control(box, handler, event, context)
        try:
            await message.wait()
        except BaseException:
            # Given up: what has not been started will not be.
            self.core.withdraw(message)
            raise
        return message.take_reply()

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
    ) -> Coroutine[Any, Any, None]:
        """Return the run of one handler of an emitted event, in the scope made for it."""
        return attempt(self.core, plan, handler, event, context, storage)

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
        message.keep_reply(await attempt(self.core, plan, handler, event, context, storage))

    async def leave_and_raise(self, storage: Storage, error: BaseException | None) -> None:
        """Leave what a scope has entered, then let the error that ended it go on."""
        await leave(storage, error)
        if error is not None:
            raise error

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
        self.core.enter_turn(box)
        try:
            async with self._turn(box, handler):
                return await handle(self.core, plan, handler, event, context, storage, on_turn=True)
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
    ) -> None:
        """Let a publisher of the user's own run the handlers of an emitted event.

        A listener that fails is recorded, and returns to the publisher as if it had not.
        """

        def listener(handler: Handler) -> Listener:
            async def listen(event: object, context: MessageContext) -> None:
                storage = make_storage(self.core, box, owner=handler, cause=context)
                try:
                    # One actor is never in two handlers at once, whatever the publisher does.
                    async with nullcontext() if handler.actor is None else self._turn(box, handler):
                        await self.run_attempt(plan, handler, event, context, storage)
                except Exception as error:  # noqa: BLE001 -- recorded
                    message.add_dead_letter(
                        self.record_failure(event, context, handler.spec, error)
                    )

            return listen

        publisher = plan.publisher or sequential
        await publisher(event, context, [listener(each) for each in plan.handlers])

    def in_thread(self, function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return an asynchronous function that runs a synchronous one in the thread pool."""

        def run(*args: object, **options: object) -> Any:
            try:
                return function(*args, **options)
            except StopIteration as error:
                # A future cannot carry it; its caller would wait for ever.
                msg = "a handler raised StopIteration"
                raise RuntimeError(msg) from error

        @functools.wraps(function)
        async def call(*args: object, **options: object) -> Any:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(thread_name_prefix=self.name)
            job = functools.partial(copy_context().run, run, *args, **options)
            result = await asyncio.get_running_loop().run_in_executor(self._executor, job)
            return await result if inspect.isawaitable(result) else result

        return call

    # Scopes

    async def enter_scope(self, scope: Scope[Any]) -> Scope[Any]:
        """Begin a scope's block."""
        self.core.scopes += 1
        return scope

    async def leave_scope(self, scope: Scope[Any], error: BaseException | None) -> None:
        """End a scope's block, and with it what the scope has built."""
        # From here on it builds nothing more.
        scope.closed = True
        try:
            await leave(scope, error)
        finally:
            self.core.scopes -= 1
            scope._end()  # noqa: SLF001

    async def resolve(self, scope: Scope[Any], wanted: object) -> Any:
        """Return what a handler in a scope would be given for a type."""
        if scope.storage.closed:
            raise ScopeClosed.of(scope.name, wanted)
        wired = self.find_provider(wanted)
        await prepare(wired.waits, scope.storage)
        return Call(itself, (wired.provider,))(None, None, scope.storage)

    async def leave_terminal(self) -> None:
        """Leave what singletons and actors have entered, and end the thread pool."""
        await abandon(self.core.root)
        try:
            await leave(self.core.root, None)
        finally:
            if self._executor is not None:
                self._executor.shutdown(wait=False)

    # The sink's life

    async def open_sink(self) -> None:
        """Open the sink once, if it can be opened."""
        if self._sink is None or self._sink_open:
            return
        async with self._sink_lock:
            if not self._sink_open:
                opener = getattr(self._sink, "open", None)
                if opener is not None:
                    await opener()
                self._sink_open = True

    async def close_sink(self, timeout: float) -> None:
        """Close the sink, if it is open and can be closed, after the calls that are under way.

        `timeout` is how many seconds those may take.
        """
        if self._sinking:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._sunk_all.wait()
        async with self._sink_lock:
            if self._sink_open:
                self._sink_open = False
                closer = getattr(self._sink, "close", None)
                if closer is not None:
                    await closer()
