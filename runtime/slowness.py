"""What is said of handlers that block the loop."""

from __future__ import annotations

from typing import Final

import msgspec

from runtime._core import Core
from runtime.failures import handler_name, message_name, report
from runtime.signature import HandlerSpec

__all__ = ("SlowHandlers",)

SPAN: Final = 60.0
"""Seconds of the loop's clock in which a handler is named once."""


class Span(msgspec.Struct):
    """The time after a report in which there is no other of the same handler."""

    ends: float
    silenced: int = 0


class SlowHandlers:
    """Logs which handlers of one terminal have blocked the loop, each once a minute."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._spans: dict[HandlerSpec | None, Span] = {}

    def report(self, handler: HandlerSpec | None, message: object, seconds: float) -> None:
        """Log that a handler, or the publisher (None), has blocked the loop for so long.

        Within a minute after that it is only counted, and the next report says how often.
        """
        now = self._core.loop.time() if self._core.loop is not None else 0.0
        span = self._spans.get(handler)
        if span is not None and now < span.ends:
            span.silenced += 1
            return
        self._spans[handler] = Span(now + SPAN)
        silenced = 0 if span is None else span.silenced
        report(
            "%s blocked the event loop for %.0f ms while it handled %s; %s%s",
            handler_name(handler),
            seconds * 1000,
            message_name(message),
            advice(handler),
            f" (and {silenced} more times since the last report)" if silenced else "",
        )


def advice(handler: HandlerSpec | None) -> str:
    """Say how a handler can leave the loop to others."""
    if handler is None or handler.is_async:
        return "await what takes long, or move it to a thread with asyncio.to_thread"
    if handler.in_thread:
        return "it runs in a thread, but what is built for it does not"
    return "register it with in_thread=True, or make it await what takes long"
