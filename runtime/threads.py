"""The bus for other threads than that of the terminal's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Hashable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from runtime._bus import EventBus
from runtime._context import MessageContext
from runtime._core import Core
from runtime._inbox import Inbox
from runtime._mailbox import Delivery
from runtime.errors import TerminalClosed, WrongLoop

if TYPE_CHECKING:
    from runtime.messages import Command
    from runtime.sinks.base import Record

__all__ = ("ThreadBus",)

E_contra = TypeVar("E_contra", contravariant=True)
R = TypeVar("R")
T = TypeVar("T")

PATIENCE: Final = 1.0
"""Seconds after which a waiting thread looks whether the loop is still there."""


class ThreadBus(Generic[E_contra]):
    """The verbs of a bus for other threads: each does its work on the terminal's loop.

    What one thread sends is taken in the order in which it was sent. Verbs that would be awaited
    on the loop block the thread and return the result, or raise the error; interrupting them
    cancels the work. They run under a copy of the thread's context variables.

    Each raises `WrongLoop` on the loop's own thread and before the terminal is open,
    `TerminalClosed` after its end, and what the verb itself raises.
    """

    def __init__(self, bus: EventBus[E_contra], core: Core, inbox: Inbox) -> None:
        self._bus = bus
        self._core = core
        self._inbox = inbox
        self._name = core.host.name

    def publish(self, event: E_contra, context: MessageContext | None = None) -> None:
        """Run the event's handlers, and return when they have ended."""
        return self._await(lambda: self._bus.publish(event, context), event)

    def send(self, command: Command[R], context: MessageContext | None = None) -> R:
        """Have the command carried out, and return the reply."""
        return self._await(lambda: self._bus.send(command, context), command)

    def ask(
        self,
        command: Command[R],
        context: MessageContext | None = None,
        *,
        key: Hashable | None = None,
        timeout: float = 5.0,
    ) -> R:
        """Have the command carried out from a mailbox, and return the reply."""
        return self._await(
            lambda: self._bus.ask(command, context, key=key, timeout=timeout), command
        )

    def emit(
        self,
        event: E_contra,
        context: MessageContext | None = None,
        *,
        key: Hashable | None = None,
        delay: float | None = None,
        ttl: float | None = None,
        callback: Callable[[Delivery], object] | None = None,
    ) -> Delivery:
        """Hand the event to a mailbox: it is accepted and counted on return.

        The loop is woken once for what several calls have handed over until it looks. `callback`
        is called on the loop. Raises `MailboxFull`: then nothing was queued.
        """
        self._loop(event)
        if delay is None and ttl is None:
            delivery = self._bus._post_from_thread(event, context, key, callback)  # noqa: SLF001
            if delivery is not None:
                return delivery
        return self._call(
            lambda: self._bus.emit(
                event, context, key=key, delay=delay, ttl=ttl, callback=callback
            ),
            event,
        )

    def offer(
        self,
        event: E_contra,
        context: MessageContext | None = None,
        *,
        key: Hashable | None = None,
        delay: float | None = None,
        ttl: float | None = None,
        callback: Callable[[Delivery], object] | None = None,
    ) -> Delivery:
        """Hand the event to a mailbox as `emit` does, but wait while it is full."""
        return self._await(
            lambda: self._bus.offer(
                event, context, key=key, delay=delay, ttl=ttl, callback=callback
            ),
            event,
        )

    @overload
    def sink(
        self, events: Sequence[E_contra | Record], /, *, context: MessageContext | None = None
    ) -> None: ...
    @overload
    def sink(self, *events: E_contra | Record, context: MessageContext | None = None) -> None: ...
    def sink(self, *events: Any, context: MessageContext | None = None) -> None:
        """Persist events, and return when the store has confirmed them."""
        return self._await(lambda: self._bus.sink(*events, context=context), events)

    def _loop(self, message: object) -> asyncio.AbstractEventLoop:
        """Return the terminal's loop, which must be another thread's and alive."""
        loop = self._core.loop
        if loop is None:
            raise WrongLoop.of_none(self._name)
        if self._core.is_own_thread:
            raise WrongLoop.of_own_thread(self._name)
        if loop.is_closed():
            raise TerminalClosed.of(self._name, message)
        return loop

    def _await(self, verb: Callable[[], Coroutine[Any, Any, T]], message: object) -> T:
        """Await a verb on the loop, and block for its outcome."""
        return self._block(Errand(verb), message)

    def _call(self, verb: Callable[[], T], message: object) -> T:
        """Call a verb on the loop, and block for its outcome."""

        async def call() -> T:
            return verb()

        return self._block(Errand(call), message)

    def _block(self, errand: Errand[T], message: object) -> T:
        loop = self._loop(message)
        try:
            self._inbox.call(errand.start)
            while not errand.ended.wait(PATIENCE):
                if loop.is_closed():
                    break
        except BaseException:
            if not loop.is_closed():
                loop.call_soon_threadsafe(errand.cancel)
            raise
        if not errand.outcome.done() or errand.outcome.cancelled():
            raise TerminalClosed.of(self._name, message)
        return errand.outcome.result()


class Errand(Generic[T]):
    """One verb that a thread waits for, run as a task of the loop."""

    def __init__(self, verb: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.outcome: Future[T] = Future()
        self.ended: threading.Event = threading.Event()
        self._verb = verb
        self._context = copy_context()
        self._task: asyncio.Task[None] | None = None
        self._is_given_up = False

    def start(self) -> None:
        """Begin, on the loop, unless the thread has been interrupted meanwhile."""
        if self._is_given_up:
            return
        loop = asyncio.get_running_loop()
        self._task = asyncio.Task(
            self._run(), loop=loop, name="runtime.from_thread", context=self._context
        )

    def cancel(self) -> None:
        """Give up, on the loop."""
        self._is_given_up = True
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            self.outcome.set_result(await self._verb())
        except asyncio.CancelledError as error:
            # The thread that waits has not been cancelled; the loop has gone under it.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                self.outcome.cancel()
                raise
            self.outcome.set_exception(error)
        except BaseException as error:
            self.outcome.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self.ended.set()
