"""The errors of the runtime: one tree, each saying what, for whom, and what to do about it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from runtime.findings import Finding
    from runtime.messages import DeadLetter
    from runtime.signature import HandlerSpec
    from runtime.sinks.base import Record

__all__ = (
    "ActorRestarting",
    "AskTimeout",
    "BusError",
    "ContextMismatch",
    "DeadlockError",
    "DeliveryFailed",
    "DuplicateHandler",
    "HandlerSignatureError",
    "LifetimeError",
    "MailboxFull",
    "NoActorKey",
    "NoHandler",
    "ProviderError",
    "ScopeClosed",
    "SinkError",
    "SinkUnset",
    "SourceError",
    "TerminalClosed",
    "Undecodable",
    "WrongLoop",
)


def shorten(value: object, limit: int = 120) -> str:
    """Show a value in an error without letting it fill the screen."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 -- an error must not hide what it is about
        text = f"<{type(value).__name__}, whose repr() raises {type(error).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


class BusError(Exception):
    """Base of every error that the runtime raises itself."""

    findings: tuple[Finding, ...] = ()
    """What is wrong with handlers and wiring, one by one; empty in errors about anything else."""


class HandlerSignatureError(BusError):
    """A handler cannot be registered as it is written."""


class ProviderError(BusError):
    """A dependency cannot be provided."""


class LifetimeError(ProviderError):
    """A longer-lived object depends on a shorter-lived one."""


class DuplicateHandler(BusError):
    """A command has more than one handler."""


class NoHandler(BusError):
    """A command, or a dead letter that is to be handled again, has no handler."""

    @classmethod
    def of(cls, command: object) -> Self:
        """Say which command, and what to register."""
        kind = type(command)
        return cls(
            f"no handler is registered for the command {kind.__module__}.{kind.__qualname__}, nor "
            f"for a class that it derives from: {shorten(command)} was not sent"
        )

    @classmethod
    def of_dead_letter(cls, letter: DeadLetter, terminal: str) -> Self:
        """Say which handler is not there, and where it was looked for."""
        return cls(
            f"{letter.handler} is not registered with terminal {terminal!r}: "
            f"{shorten(letter.message)} was not redelivered; include a registry that has it"
        )


class ContextMismatch(BusError):
    """A handler asks for another class of context than the message has."""

    @classmethod
    def of(cls, function: Any, wanted: type, given: object) -> Self:
        """Say which handler, what it asks for, and what it was given."""
        while isinstance(function, functools.partial):
            function = function.func
        function = inspect.unwrap(function) if callable(function) else function
        name = getattr(function, "__qualname__", type(function).__qualname__)
        module = getattr(function, "__module__", "?")
        code = getattr(function, "__code__", None)
        where = "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"
        return cls(
            f"{module}.{name}{where} asks for a {wanted.__qualname__}, but the message's context "
            f"is a {type(given).__qualname__}: pass a {wanted.__qualname__} with the message"
        )


class NoActorKey(BusError):
    """An event for an actor names no mailbox."""

    @classmethod
    def of(cls, handler: HandlerSpec, event: object) -> Self:
        """Say which actor, and the ways to name its mailbox."""
        return cls(
            f"{handler.name} ({handler.location}) is an actor's handler, and nothing says which "
            f"actor {shorten(event)} is for: pass key=, give {type(event).__name__} a `__key__`, "
            f"or send it from a named scope"
        )


class MailboxFull(BusError):
    """A mailbox has no room; the message was not queued."""

    def __init__(
        self,
        message: object,
        capacity: int,
        mailbox: Hashable = None,
        *,
        was_dropped: bool = False,
    ) -> None:
        super().__init__(message, capacity, mailbox)
        self.message = message
        self.capacity = capacity
        self.mailbox = mailbox
        self.was_dropped = was_dropped

    @classmethod
    def of(cls, message: object, capacity: int, name: Hashable) -> Self:
        """Say that a message was refused."""
        return cls(message, capacity, name)

    @classmethod
    def of_dropped(cls, message: object, capacity: int, name: Hashable) -> Self:
        """Say that a message was dropped, because that is the mailbox's policy."""
        return cls(message, capacity, name, was_dropped=True)

    def __str__(self) -> str:
        # Written when it is read. Whoever sends too much is refused far more often than anybody
        # looks, and to write a message may take longer than to handle it.
        box = "the mailbox at hand" if self.mailbox is None else f"the mailbox {self.mailbox!r}"
        if self.was_dropped:
            text = (
                f"{box} is full, and its policy drops what it cannot hold: {shorten(self.message)} "
                f"was dropped (capacity {self.capacity})"
            )
        else:
            text = (
                f"{box} holds {self.capacity} messages that have not been started, and its "
                f"capacity is {self.capacity}: {shorten(self.message)} was not queued"
            )
        return f"{text}; `await bus.offer(...)` waits for room"


class TerminalClosed(BusError):
    """The terminal, or the actor that a message is for, takes no more messages."""

    def __init__(
        self, text: str, message: object = None, stopped: HandlerSpec | None = None
    ) -> None:
        super().__init__(text)
        self.message = message
        self._stopped = stopped

    def refuses(self, handler: HandlerSpec | None, message: object) -> bool:
        """Say whether this is why a stopped actor's handler was not called for a message."""
        return handler is not None and self._stopped is handler and self.message is message

    @classmethod
    def of_actor(cls, handler: HandlerSpec, box: Hashable, message: object) -> Self:
        """Say which actor is stopped, and what it was not given."""
        return cls(
            f"{handler.name} ({handler.location}): the actor of mailbox {box!r} has failed and is "
            f"stopped: {shorten(message)} was not taken",
            message,
            handler,
        )

    @classmethod
    def of(cls, terminal: str, message: object = None) -> Self:
        """Say which terminal, and what it turned away."""
        refused = "" if message is None else f": {shorten(message)} was not taken"
        return cls(f"terminal {terminal!r} is closed{refused}", message)


class ActorRestarting(BusError):
    """An actor failed while a publish or a command waited for it; nobody has handled that."""

    def __init__(self, text: str, message: object) -> None:
        super().__init__(text)
        self.message = message

    @classmethod
    def of(cls, handler: HandlerSpec, box: Hashable, message: object) -> Self:
        """Say which actor, what waited for it, and that it may be sent again."""
        return cls(
            f"{handler.name} ({handler.location}): the actor of mailbox {box!r} has failed and is "
            f"restarted: {shorten(message)} was not taken; send it again, or emit it, which "
            f"outlasts a restart",
            message,
        )


class WrongLoop(BusError):
    """A terminal was used from another thread, or on another loop, than it belongs to."""

    @classmethod
    def of_thread(cls, terminal: str) -> Self:
        """Say which terminal, and how to reach it from another thread."""
        return cls(
            f"terminal {terminal!r} belongs to another thread: use the verbs of `bus.from_thread`, "
            f"as in bus.from_thread.emit(event)"
        )

    @classmethod
    def of_loop(cls, terminal: str) -> Self:
        """Say which terminal, and that each loop needs one of its own."""
        return cls(
            f"terminal {terminal!r} belongs to another loop of this thread: open a terminal on "
            f"each loop that uses one"
        )

    @classmethod
    def of_own_thread(cls, terminal: str) -> Self:
        """Say that a verb for other threads would wait for itself."""
        return cls(
            f"terminal {terminal!r} belongs to this very thread: use the verbs of the bus itself, "
            f"not those of `from_thread`"
        )

    @classmethod
    def of_none(cls, terminal: str) -> Self:
        """Say that a terminal has no loop yet."""
        return cls(
            f"terminal {terminal!r} has not been opened, so it has no loop that another thread "
            f"could reach: `await terminal.open()` on its loop first"
        )


class HandlerTimeout(TimeoutError):
    """A handler has taken longer than the `timeout` that it was registered with.

    `handler` is what it was registered as, `seconds` the timeout.
    """

    def __init__(self, handler: HandlerSpec, seconds: float) -> None:
        super().__init__(
            f"{handler.name} ({handler.location}) has taken longer than its timeout, {seconds:g} s"
        )
        self.handler = handler
        self.seconds = seconds


class ScopeClosed(BusError):
    """A bus was used after its scope had ended."""

    @classmethod
    def of(cls, name: Hashable, message: object) -> Self:
        """Say which scope, and which bus to use instead."""
        scope = "the scope" if name is None else f"the scope {name!r}"
        return cls(
            f"{scope} of this bus has ended: {shorten(message)} was not taken; "
            f"use the bus of a scope that is open, or `terminal.bus`"
        )

    @classmethod
    def of_held(cls) -> Self:
        """Say why a message that was held back will never be handled."""
        return cls(
            "the block of a scope with hold_emits=True has failed, and with it the messages that "
            "it had emitted were forgotten"
        )

    @classmethod
    def while_building(cls) -> Self:
        """Say that what was being built is of no use any more."""
        return cls(
            "the scope ended while something was being built in it: await what you start in a "
            "scope before you leave it"
        )


class AskTimeout(BusError, TimeoutError):
    """A command was not replied to in time; whether it was, or will be, carried out is unknown."""

    @classmethod
    def before_start(cls, command: object) -> Self:
        """Say which command nobody has begun to carry out."""
        return cls(f"{shorten(command)} was not started in the time that its caller had")

    @classmethod
    def of(cls, command: object, timeout: float) -> Self:
        """Say which command, and how long it was waited for."""
        return cls(
            f"no reply to {shorten(command)} came within {timeout} s; if its handler has been "
            f"started it goes on, so the outcome is unknown"
        )


class DeadlockError(BusError):
    """A wait could never end, because it waits for itself."""

    @classmethod
    def itself(cls, handler: HandlerSpec, box: Hashable) -> Self:
        """Say which actor would have to handle two messages at once."""
        return cls(
            f"{handler.name} ({handler.location}): the actor of mailbox {box!r} is handling a "
            f"message and publishes to itself, which it could never finish; emit instead"
        )

    @classmethod
    def of_held(cls, event: object) -> Self:
        """Say which event is held back by the very block that waits for it."""
        return cls(
            f"{shorten(event)} is held back until the scope's block has ended, and the block waits "
            f"for it: wait when the block has ended"
        )

    @classmethod
    def of(cls, waits: Sequence[object]) -> Self:
        """Say who waits for whom, from the wait that would close the circle on."""
        advice = "send the command, or emit an event, and do not wait for it"
        if len(waits) == 1:
            return cls(f"{waits[0]}, which starts nothing before this has ended; {advice}")
        chain = "".join(f"\n  {wait}" for wait in waits)
        return cls(
            f"each of these would wait for the next, and the last for the first:{chain}\n{advice}"
        )


class DeliveryFailed(BusError):
    """A message came to its end, but not all of its handlers did."""

    def __init__(self, dead_letters: Sequence[DeadLetter]) -> None:
        super().__init__("; ".join(str(letter) for letter in dead_letters))
        self.dead_letters: tuple[DeadLetter, ...] = tuple(dead_letters)


class SinkUnset(BusError):
    """Something was sunk on a terminal that has no sink."""

    @classmethod
    def of(cls, terminal: str) -> Self:
        """Say which terminal, and how to give it a sink."""
        return cls(
            f"terminal {terminal!r} has no sink: give it one, as in "
            f'BusTerminal(registry, sink=SqliteSink("events.db"))'
        )

    @classmethod
    def of_type(cls, terminal: str, kind: type, mapped: Iterable[type]) -> Self:
        """Say which type no sink of a terminal takes, and which ones are taken."""
        names = ", ".join(each.__name__ for each in mapped)
        return cls(
            f"terminal {terminal!r} has no sink for {kind.__module__}.{kind.__qualname__}: its "
            f"sinks are for {names}; add one for this type, or for a class that it is derived from"
        )


class SinkError(BusError):
    """The store has not confirmed; no event of `records` counts as saved.

    They keep their ids, so that `await bus.sink(*error.records)` saves each once.
    """

    def __init__(self, text: str, records: Sequence[Record]) -> None:
        super().__init__(text)
        self.records: tuple[Record, ...] = tuple(records)

    @classmethod
    def of(cls, sink: object, error: BaseException, records: Sequence[Record]) -> Self:
        """Say which sink has failed, and how."""
        failure = f"{type(error).__name__}: {error}".removesuffix(": ")
        return cls(f"{type(sink).__qualname__} has failed, {failure}", records)


class SourceError(BusError):
    """A store could not be read, or was not told what became of a message."""


class Undecodable(BusError):
    """What a store has kept is not a message that this program knows. `raw` is what was read."""

    def __init__(self, text: str, raw: bytes) -> None:
        super().__init__(text)
        self.raw = raw

    @classmethod
    def of(cls, raw: bytes, error: Exception) -> Self:
        """Say what is wrong, and with what."""
        return cls(f"{shorten(raw)} cannot be decoded: {error}", raw)
