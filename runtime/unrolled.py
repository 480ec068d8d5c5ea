"""Publishes to several handlers as one coroutine that awaits them by name.

From CPython 3.12 on the interpreter runs a coroutine that a coroutine awaits without leaving its
loop, and calls a Python function likewise. What awaits handlers there is best written in Python,
and without a loop of its own, so that each call is specialised; so it is written for a number of
handlers and the way that each is called, when a terminal freezes, as `dataclasses` does it.
On CPython 3.11 the compiled `Publication` is as fast.
"""

from __future__ import annotations

import functools
import linecache
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from runtime._wiring import Call, ContextArgument, MessageArgument, Provider

__all__ = ("Run", "unrolled")

IS_FASTER: Final = sys.version_info >= (3, 12)

LIMIT: Final = 12
"""More handlers than that take their time anyway."""

Run = Callable[[Any, Any], Coroutine[Any, Any, None]]
Make = Callable[..., Run]

FIRST: Final = 4
"""The number of the line that awaits the first handler; there is one for each."""

LINES: Final = """\
def make(uncount, {names}):
    async def publish(event, context):
        try:
{awaits}
        except BaseException as error:
            uncount(error)
            raise

    return publish
"""


def unrolled(calls: tuple[Call, ...]) -> Run | None:
    """Return a coroutine function that awaits each call, given the event and its context.

    Every call is counted when the coroutine is made; if one fails, those after it are uncounted.
    Returns None if the calls need more than the event and its context, or for one call, for many,
    and where that would not be faster.
    """
    if not IS_FASTER or not 1 < len(calls) <= LIMIT:
        return None
    arguments = tuple(arguments_of(call) for call in calls)
    if None in arguments:
        return None

    def uncount(error: BaseException) -> None:
        # The line that has failed says how many were reached, and costs nothing until one does.
        where = error.__traceback__
        for call in calls[where.tb_lineno - FIRST + 1 :] if where is not None else ():
            call.uncount()

    return maker(arguments)(uncount, *(call.function for call in calls))


def arguments_of(call: Call) -> str | None:
    """Return a call's arguments as they are written in it; None if they have to be provided."""
    first_named = len(call.providers) - len(call.names)
    texts: list[str] = []
    for index, provider in enumerate(call.providers):
        text = text_of(provider)
        if text is None:
            return None
        texts.append(text if index < first_named else f"{call.names[index - first_named]}={text}")
    return ", ".join(texts)


def text_of(provider: Provider) -> str | None:
    """Return what a provider serves as a name in the coroutine; None if it is none of the two."""
    if isinstance(provider, MessageArgument):
        return "event"
    if isinstance(provider, ContextArgument) and provider.wanted is None:
        return "context"
    return None


@functools.cache
def maker(arguments: tuple[str, ...]) -> Make:
    """Return what makes coroutine functions for calls that are written like this."""
    names = [f"handler_{number}" for number, _ in enumerate(arguments, start=1)]
    awaits = (
        f"            await {name}({each})" for name, each in zip(names, arguments, strict=True)
    )
    text = LINES.format(names=", ".join(names), awaits="\n".join(awaits))
    # For tracebacks, which show the line that awaits the handler.
    where = f"<publish to {'; '.join(arguments)}>"
    linecache.cache[where] = (len(text), None, text.splitlines(keepends=True), where)
    found: dict[str, Make] = {}
    exec(compile(text, where, "exec"), found)  # noqa: S102 -- written above, of fixed words
    return found["make"]
