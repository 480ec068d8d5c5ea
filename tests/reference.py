"""The oracle: what the compiled core promises, in obvious Python.

Contract tests run over both. A message is a task of its own, matching is plain `isinstance`, and
nothing is ever forgotten: slow, and with little in it that could be wrong.
"""

import asyncio
import contextvars
import inspect
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from types import FunctionType, MethodType, TracebackType, UnionType
from typing import Any, Self, get_origin, get_type_hints

from runtime import Command, DeadLetter, EventBus, MessageContext, ShutdownReport, sequential
from runtime.errors import (
    DeadlockError,
    DeliveryFailed,
    MailboxFull,
    NoActorKey,
    NoHandler,
    ScopeClosed,
    TerminalClosed,
)
from runtime.messages import DeadLetterReason
from runtime.publishers import Listener, Publisher

NAME = "reference"
Phase = Enum("Phase", "OPEN CLOSING CLOSED")
Function = FunctionType | MethodType
Callback = Callable[["ReferenceDelivery"], object]


@dataclass(frozen=True)
class Ledger:
    """How many messages were accepted, and where they are: each in exactly one class."""

    emitted: int = 0
    handled: int = 0
    failed: int = 0
    dropped: int = 0
    expired: int = 0
    rejected_at_close: int = 0
    pending: int = 0

    def __post_init__(self) -> None:
        ended = self.handled + self.failed + self.dropped + self.expired + self.rejected_at_close
        if self.emitted != ended + self.pending:
            msg = f"a message is lost or counted twice: {self}"
            raise AssertionError(msg)


class Handler:
    """A function, or a method of an actor class, that hears what its first parameter says."""

    def __init__(self, function: Function, actor: type | None = None) -> None:
        self.function, self.actor = function, actor
        names = list(inspect.signature(function).parameters)[0 if actor is None else 1 :]
        hints = get_type_hints(function)
        self.hears: type | UnionType = hints[names[0]]
        self.wants_bus = [EventBus in (hints[n], get_origin(hints[n])) for n in names[1:]]
        self.name = f"{function.__module__}.{function.__qualname__}"
        code = (function.__func__ if isinstance(function, MethodType) else function).__code__
        self.location = f"{code.co_filename}:{code.co_firstlineno}"

    @classmethod
    def read(cls, target: Function | type) -> "list[Handler]":
        """Return the handlers of a function, or of a class, which is an actor."""
        if not isinstance(target, type):
            return [cls(target)]
        methods = [each for each in vars(target).values() if inspect.isfunction(each)]
        return [cls(each, target) for each in methods if not each.__name__.startswith("_")]


@dataclass(eq=False)
class Mailbox:
    """Messages that have not been started, and how many are being handled."""

    name: Hashable = None
    limit: int = 1
    queue: "deque[ReferenceDelivery]" = field(default_factory=lambda: deque[ReferenceDelivery]())
    active: int = 0
    actors: dict[type, object] = field(default_factory=dict[type, object])
    # Whoever offers stands in line; the first one waits for room.
    line: asyncio.Lock = field(default_factory=asyncio.Lock)
    room: asyncio.Event = field(default_factory=asyncio.Event)


class ReferenceDelivery:
    """One message on its way to its end. A control message is outside capacity and ledger."""

    def __init__(
        self,
        event: object,
        context: MessageContext,
        handlers: Sequence[Handler],
        *,
        control: bool = False,
    ) -> None:
        self.event, self.context, self.handlers, self.control = event, context, handlers, control
        self.variables = contextvars.copy_context()
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.dead_letters: list[DeadLetter] = []
        self.task: asyncio.Task[None] | None = None
        self.begun = False

    def done(self) -> bool:
        return self.end.done()

    def add_done_callback(self, callback: Callback) -> None:
        self.end.add_done_callback(lambda _: callback(self))

    async def wait(self) -> None:
        await asyncio.shield(self.end)
        if self.dead_letters:
            raise DeliveryFailed(self.dead_letters) from self.dead_letters[0].error


@dataclass(eq=False)
class ReferenceBus:
    """The verbs inside one scope; the root bus opens a scope for each publish.

    `chain` are the actors (None: a plain handler) that run on the mailbox's turn, each inside the
    one before.
    """

    terminal: "ReferenceTerminal"
    box: Mailbox
    chain: tuple[type | None, ...] = ()
    closed: bool = False

    async def publish(self, event: object, context: MessageContext | None = None) -> None:
        self.admit(event)
        is_root = self is self.terminal.bus
        bus = ReferenceBus(self.terminal, self.box) if is_root else self
        context = context or MessageContext()

        def listener(handler: Handler) -> Listener:
            return lambda event, context: self.terminal.publish_to(handler, event, context, bus)

        listeners = [listener(handler) for handler in self.terminal.handlers_of(event)]
        try:
            await self.terminal.publisher(event, context, listeners)
        finally:
            bus.closed = bus.closed or is_root

    async def send(self, command: Command[Any], context: MessageContext | None = None) -> object:
        self.admit(command)
        is_root = self is self.terminal.bus
        bus = ReferenceBus(self.terminal, self.box) if is_root else self
        try:
            for handler in self.terminal.handlers_of(command):
                return await self.terminal.invoke(
                    handler, command, context or MessageContext(), bus
                )
            raise NoHandler.of(command)
        finally:
            bus.closed = bus.closed or is_root

    def emit(
        self,
        event: object,
        context: MessageContext | None = None,
        *,
        key: Hashable = None,
        callback: Callback | None = None,
    ) -> ReferenceDelivery:
        self.admit(event)
        box = self.terminal.route(event, key, self.box)
        if self.terminal.is_full(box):
            raise MailboxFull.of(event, self.terminal.capacity, box.name)
        handlers = self.terminal.handlers_of(event)
        message = ReferenceDelivery(event, context or MessageContext(), handlers)
        if callback is not None:
            message.add_done_callback(callback)
        self.terminal.accept(box, message)
        return message

    async def offer(
        self,
        event: object,
        context: MessageContext | None = None,
        *,
        key: Hashable = None,
        callback: Callback | None = None,
    ) -> ReferenceDelivery:
        box = self.terminal.route(event, key, self.box)
        async with box.line:
            self.admit(event)
            while self.terminal.is_full(box):
                box.room.clear()
                await box.room.wait()
                self.admit(event)
            return self.emit(event, context, key=key, callback=callback)

    def admit(self, event: object) -> None:
        """Raise what speaks against taking an event."""
        phase, inside = self.terminal.phase, self.chain or self.terminal.is_handling()
        if phase is Phase.CLOSED or (phase is Phase.CLOSING and not inside):
            raise TerminalClosed.of(NAME, event)
        if self.closed:
            raise ScopeClosed.of(self.box.name, event)


@dataclass(frozen=True)
class ReferenceScope:
    """What the block of a scope is given."""

    bus: ReferenceBus
    name: Hashable


class ReferenceTerminal:
    """The same promises as `BusTerminal`, for functions and (actor) classes."""

    def __init__(
        self,
        *targets: Function | type,
        capacity: int = 1024,
        concurrency: int = 100,
        guards: Iterable[Function] = (),
        publisher: Publisher = sequential,
    ) -> None:
        self.handlers = [handler for target in targets for handler in Handler.read(target)]
        self.guards = [Handler(guard) for guard in guards]
        self.publisher = publisher
        self.capacity = capacity
        self.pool = Mailbox(limit=concurrency)
        self.boxes: dict[Hashable, Mailbox] = {}
        self.bus = ReferenceBus(self, self.pool)
        self.phase = Phase.OPEN
        self.emitted = 0
        self.ended = Counter[str]()
        self.unfinished: set[ReferenceDelivery] = set()
        self.undelivered: list[object] = []
        self.shutdown: asyncio.Task[ShutdownReport] | None = None

    @asynccontextmanager
    async def scope(self, name: Hashable = None) -> AsyncGenerator[ReferenceScope]:
        # A scope without a name has a mailbox that no key can be equal to.
        box = self.mailbox(name) if name is not None else self.boxes.setdefault(object(), Mailbox())
        bus = ReferenceBus(self, box)
        try:
            yield ReferenceScope(bus, name)
        finally:
            bus.closed = True

    def stats(self) -> Ledger:
        pending = sum(not message.control for message in self.unfinished)
        return Ledger(self.emitted, pending=pending, **self.ended)

    # Where a message goes

    def handlers_of(self, event: object) -> list[Handler]:
        """Return who hears an event; of a command, who is registered for its nearest class."""
        kind = type(event)
        heard = [handler for handler in self.handlers if isinstance(event, handler.hears)]
        if isinstance(event, Command):
            mro: tuple[object, ...] = kind.__mro__
            heard.sort(key=lambda handler: mro.index(handler.hears))
            return heard[:1]
        return heard

    def mailbox(self, name: Hashable) -> Mailbox:
        return self.boxes.setdefault(name, Mailbox(name))

    def route(self, event: object, key: Hashable, box: Mailbox) -> Mailbox:
        """Choose a mailbox: that of the key, then of `__key__`, then the one at hand."""
        owner = next((each for each in type(event).__mro__ if "__key__" in vars(each)), None)
        if key is not None:
            return self.mailbox(key)
        if owner is not None:
            return self.mailbox((owner, getattr(event, vars(owner)["__key__"])))
        actors = [handler for handler in self.handlers_of(event) if handler.actor is not None]
        if actors and box.name is None:
            # It reads the handler's name and place, and nothing else.
            raise NoActorKey.of(actors[0], event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        return box

    def is_full(self, box: Mailbox) -> bool:
        return sum(not message.control for message in box.queue) >= self.capacity

    # How it is handled

    def accept(self, box: Mailbox, message: ReferenceDelivery) -> None:
        box.queue.append(message)
        self.unfinished.add(message)
        self.emitted += not message.control
        asyncio.get_running_loop().call_soon(self.start, box)

    def start(self, box: Mailbox) -> None:
        """Start what the mailbox may start."""
        while box.queue and box.active < box.limit:
            message = box.queue.popleft()
            box.active += 1
            box.room.set()
            message.task = asyncio.get_running_loop().create_task(
                self.handle(box, message), context=message.variables
            )

    async def handle(self, box: Mailbox, message: ReferenceDelivery) -> None:
        """Run a message's handlers, each isolated from the others, and count its end."""
        if self.phase is Phase.CLOSED:
            error = TerminalClosed.of(NAME, message.event)
            message.dead_letters.append(DeadLetter(message.event, None, "closed", error))
            self.undelivered += [] if message.control else [message.event]
            outcome = "rejected_at_close"
        else:
            message.begun = True
            for handler in message.handlers:
                await self.attempt(handler, box, message)
            outcome = "failed" if message.dead_letters else "handled"
        box.active -= 1
        self.finish(message, outcome)
        self.start(box)

    async def attempt(self, handler: Handler, box: Mailbox, message: ReferenceDelivery) -> None:
        """Run one handler in a scope of its own, unless the close has cut its message off."""
        bus = ReferenceBus(self, box, (handler.actor,))
        try:
            if self.phase is Phase.CLOSED:
                raise TerminalClosed.of(NAME, message.event)
            await self.invoke(handler, message.event, message.context, bus)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- it is recorded
            cut_off = isinstance(error, (asyncio.CancelledError, TerminalClosed))
            reason: DeadLetterReason
            reason = "closed" if cut_off and self.phase is Phase.CLOSED else "failed"
            message.dead_letters.append(DeadLetter(message.event, handler.name, reason, error))
        finally:
            bus.closed = True

    async def invoke(
        self, handler: Handler, event: object, context: MessageContext, bus: ReferenceBus
    ) -> object:
        """Call a handler inside its guards, with its context and bus, and on its actor."""
        arguments = [event, *(bus if wants_bus else context for wants_bus in handler.wants_bus)]
        if handler.actor is not None:
            if handler.actor not in bus.box.actors:
                bus.box.actors[handler.actor] = handler.actor()
            arguments.insert(0, bus.box.actors[handler.actor])

        async def call() -> object:
            result = handler.function(*arguments)
            return await result if inspect.isawaitable(result) else result

        proceed: Callable[[], Awaitable[object]] = call
        for guard in reversed(self.guards):
            if isinstance(event, guard.hears):
                proceed = partial(guard.function, event, context, proceed)
        return await proceed()

    async def publish_to(
        self, handler: Handler, event: object, context: MessageContext, bus: ReferenceBus
    ) -> None:
        """Run a handler inline; an actor's only on its own turn, else through its mailbox."""
        if handler.actor is None:
            await self.invoke(handler, event, context, bus)
            return
        box = self.route(event, None, bus.box)
        if not bus.chain or box is not bus.box:
            message = ReferenceDelivery(event, context, [handler], control=True)
            await self.through_mailbox(box, message)
        elif handler.actor in bus.chain:
            # As above.
            raise DeadlockError.itself(handler, box.name)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        else:
            inner = ReferenceBus(self, box, (*bus.chain, handler.actor))
            try:
                await self.invoke(handler, event, context, inner)
            finally:
                inner.closed = True

    async def through_mailbox(self, box: Mailbox, message: ReferenceDelivery) -> None:
        """Wait for a control message; with nobody waiting, it is not started any more."""
        self.accept(box, message)
        try:
            await asyncio.shield(message.end)
        except asyncio.CancelledError:
            if message in box.queue:
                box.queue.remove(message)
                self.finish(message, "withdrawn")
            raise
        if message.dead_letters:
            error = message.dead_letters[0].error
            if isinstance(error, asyncio.CancelledError):
                raise TerminalClosed.of(type(self).__name__, message.event) from error
            raise error

    def finish(self, message: ReferenceDelivery, outcome: str) -> None:
        if not message.control:
            self.ended[outcome] += 1
        self.unfinished.remove(message)
        message.end.set_result(None)

    # Its life

    def is_handling(self) -> bool:
        """Say whether the current task runs the handlers of a message."""
        begun = [message.task for message in self.unfinished if message.begun]
        return asyncio.current_task() in begun

    async def drain(self, timeout: float | None = None) -> None:
        """Wait until nothing is queued or running."""
        if self.is_handling():
            msg = "drain() inside a handler would wait for that handler"
            raise DeadlockError(msg)
        async with asyncio.timeout(timeout):
            while self.unfinished:
                await asyncio.wait([message.end for message in self.unfinished])

    async def close(self, timeout: float = 30.0) -> ShutdownReport:
        """Refuse what comes, finish what is there, and after `timeout` cut it off."""
        if self.shutdown is None:
            self.shutdown = asyncio.create_task(self.shut_down(timeout))
        return await asyncio.shield(self.shutdown)

    async def shut_down(self, timeout: float) -> ShutdownReport:
        self.phase = Phase.CLOSING
        for box in (self.pool, *self.boxes.values()):
            box.room.set()
        with suppress(TimeoutError):
            await self.drain(timeout)
        self.phase = Phase.CLOSED
        for message in self.unfinished:
            if message.begun and message.task is not None:
                message.task.cancel()
        await self.drain()
        counts = self.ended["handled"], self.ended["failed"]
        return ShutdownReport(*counts, undelivered=tuple(self.undelivered), stuck=(), seconds=0.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
