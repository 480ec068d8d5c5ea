"""What becomes of a message that was not handled: logged once, counted, told to whoever listens."""

from __future__ import annotations

import asyncio
import logging

from runtime._context import MessageContext, caused_by
from runtime._core import Core
from runtime.messages import DeadLetter, DeadLetterReason
from runtime.signature import HandlerSpec
from runtime.workers import is_cut_off

__all__ = ("Failures",)

logger = logging.getLogger("runtime")


class Failures:
    """The dead letters of one terminal.

    `count` is how many there have been, `cut_off` how many handlers the end of their loop ended.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.count = 0
        self.cut_off = 0

    def bury(
        self,
        message: object,
        context: MessageContext,
        handler: HandlerSpec | None,
        reason: DeadLetterReason,
        error: BaseException,
    ) -> DeadLetter:
        """Record that a handler failed, or that a message (handler None) was not handled."""
        name = handler.name if handler is not None else None
        if name is None and reason == "failed":
            name = "the publisher"
        if isinstance(error, asyncio.CancelledError) and is_cut_off():
            # Said once, with what else the terminal leaves behind; there is no loop to tell it on.
            self.cut_off += 1
            return self.count_in(DeadLetter(message, name, "closed", error))
        letter = self.count_in(DeadLetter(message, name, reason, error))
        if reason == "late_reply":
            report("%s: %s", name, error)
        elif reason == "failed" or handler is not None:
            self.log(message, context, handler, error)
        elif reason != "closed":
            # What a close turns away is in its report.
            report(
                "%s %s was not handled (%s): %s", message_name(message), context.id, reason, error
            )
        self.core.post_notice(letter, caused_by(context))
        return letter

    def count_in(self, letter: DeadLetter) -> DeadLetter:
        """Count a dead letter."""
        self.count += 1
        if self.core.observer is not None:
            self.core.observer.dead(letter)
        return letter

    def log(
        self,
        message: object,
        context: MessageContext,
        handler: HandlerSpec | None,
        error: BaseException,
    ) -> None:
        """Log that a handler, or the publisher (None), failed."""
        report(
            "%s%s failed to handle %s %s",
            "the publisher" if handler is None else handler.name,
            "" if handler is None else f" ({handler.location})",
            message_name(message),
            context.id,
            error=error,
        )


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
