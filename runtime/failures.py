"""What becomes of what was not handled: logged, counted, kept, and told to whoever listens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextvars import Context
from typing import Final

import msgspec

from runtime._context import MessageContext, caused_by
from runtime._core import Core
from runtime.errors import HandlerTimeout
from runtime.messages import DeadLetter, DeadLetterReason, Origin
from runtime.signature import HandlerSpec
from runtime.workers import is_cut_off

__all__ = ("Failures",)

logger: logging.Logger = logging.getLogger("runtime")

KEPT: Final = 1_000
"""How many dead letters a terminal keeps."""

LINES: Final = 10
"""How many failures of one kind are logged in full within a span."""

SPAN: Final = 60.0
"""Seconds of the loop's clock."""

PUBLISHER: Final = "the publisher"

Kind = tuple[HandlerSpec | type, DeadLetterReason]
"""A handler, or the type of a message that reached none, and the reason."""


class Failures:
    """The dead letters of one terminal.

    `count` is how many there have been, `kept` the last of them, `cut_off` how many handlers the
    end of their loop ended.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.count: int = 0
        self.cut_off: int = 0
        self.kept: deque[DeadLetter] = deque(maxlen=KEPT)
        self.provisional: set[MessageContext] = set()
        """Contexts of messages that their source hands out again if they fail: the letters of their
        handlers are written, and count for nothing before they are recorded."""
        self._floods: dict[Kind, Flood] = {}

    def bury(
        self,
        message: object,
        origin: Origin,
        reason: DeadLetterReason,
        error: BaseException,
        attempts: int,
    ) -> DeadLetter:
        """Record that a handler failed, or that a message (handler None) was not handled."""
        handler = origin.handler
        name = handler.name if handler is not None else None
        if name is None and reason == "failed":
            name = PUBLISHER
        if isinstance(error, asyncio.CancelledError) and is_cut_off():
            # Said once, with what else the terminal leaves behind; there is no loop to tell it on.
            self.cut_off += 1
            return self.count_in(message, name, "closed", error, origin, attempts)
        if reason == "failed" and isinstance(error, HandlerTimeout) and error.handler is handler:
            reason = "timeout"
        letter = write(message, name, reason, error, origin, attempts)
        if origin.context not in self.provisional:
            self.record(letter, origin)
        return letter

    def record(self, letter: DeadLetter, origin: Origin) -> None:
        """Count, keep and log a dead letter, and tell those who hear of them."""
        self._count(letter)
        if letter.handler is not None or letter.reason != "closed":
            # What a close turns away is in its report.
            self.log(
                letter.message,
                origin.context,
                origin.handler,
                letter.reason,
                letter.error,
                by_publisher=letter.handler == PUBLISHER,
            )
        self.core.post_notice(letter, caused_by(origin.context))

    def count_in(
        self,
        message: object,
        name: str | None,
        reason: DeadLetterReason,
        error: BaseException,
        origin: Origin,
        attempts: int = 0,
    ) -> DeadLetter:
        """Write a dead letter, count it and keep it."""
        letter = write(message, name, reason, error, origin, attempts)
        self._count(letter)
        return letter

    def _count(self, letter: DeadLetter) -> None:
        self.count += 1
        self.kept.append(letter)
        if self.core.observer is not None:
            self.core.observer.dead(letter)

    def log(
        self,
        message: object,
        context: MessageContext,
        handler: HandlerSpec | None,
        reason: DeadLetterReason,
        error: BaseException,
        *,
        by_publisher: bool = False,
    ) -> None:
        """Log a failure, unless so many of its kind have been logged that it is only counted."""
        if not self._is_to_be_logged((handler or type(message), reason), message):
            return
        if reason == "late_reply":
            report("%s: %s", handler_name(handler), error, error=error.__cause__)
        elif handler is not None or by_publisher:
            report(
                "%s failed to handle %s %s",
                handler_name(handler),
                message_name(message),
                context.id,
                error=error,
            )
        else:
            report(
                "%s %s was not handled (%s): %s", message_name(message), context.id, reason, error
            )

    # Floods

    def _is_to_be_logged(self, kind: Kind, message: object) -> bool:
        loop = self.core.loop or asyncio.get_running_loop()
        flood = self._floods.get(kind)
        if flood is not None and loop.time() >= flood.ends:
            self._tell(kind)
            flood = None
        if flood is None:
            flood = self._floods[kind] = Flood(loop.time() + SPAN)
        if flood.logged < LINES:
            flood.logged += 1
            return True
        flood.silenced += 1
        flood.message = type(message).__name__
        if flood.timer is None:
            # In no message's context.
            flood.timer = loop.call_at(flood.ends, self._tell, kind, context=Context())
        return False

    def _tell(self, kind: Kind) -> None:
        """End the span of a kind of failure; log how many were not logged in it."""
        flood = self._floods.pop(kind)
        if flood.timer is None:
            return
        flood.timer.cancel()
        subject, reason = kind
        if isinstance(subject, HandlerSpec) or reason == "failed":
            report(
                "%s failed to handle %s (%s) %d more times within a minute; that was not logged",
                handler_name(subject if isinstance(subject, HandlerSpec) else None),
                flood.message,
                reason,
                flood.silenced,
            )
        else:
            report(
                "%s was not handled (%s) %d more times within a minute; that was not logged",
                flood.message,
                reason,
                flood.silenced,
            )

    def tell_all(self) -> None:
        """Log now how many failures were not logged, as the terminal ends."""
        for kind in tuple(self._floods):
            self._tell(kind)


class Flood(msgspec.Struct):
    """The failures of one kind within one span of time."""

    ends: float
    logged: int = 0
    silenced: int = 0
    message: str = ""
    """What the last one that was silenced was about."""
    timer: asyncio.TimerHandle | None = None


def write(
    message: object,
    name: str | None,
    reason: DeadLetterReason,
    error: BaseException,
    origin: Origin,
    attempts: int,
) -> DeadLetter:
    """Write a dead letter."""
    context = origin.context
    return DeadLetter(
        message,
        name,
        reason,
        error,
        attempts if origin.handler is not None else 0,
        context.id,
        context.correlation_id,
        origin.box.name,
        max(0.0, time.time() - context.time.timestamp()),
        origin,
    )


def handler_name(handler: HandlerSpec | None) -> str:
    """Name a handler, or the publisher (None), for the log."""
    return PUBLISHER if handler is None else f"{handler.name} ({handler.location})"


def message_name(message: object) -> str:
    """Name a message for the log; for a dead letter, with what it is about."""
    if isinstance(message, DeadLetter):
        return f"the DeadLetter of {message}"
    return type(message).__name__


def report(text: str, *arguments: object, error: BaseException | None = None) -> None:
    """Log a failure; a log that fails itself does not take the message's outcome with it."""
    try:
        if error is not None:
            logger.error(text, *arguments, exc_info=error)
        else:
            logger.warning(text, *arguments)
    except Exception as broken:  # noqa: BLE001 -- reported
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"a failure could not be logged: {text % arguments}", "exception": broken}
        )
