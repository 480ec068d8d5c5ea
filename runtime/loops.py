"""Start an event loop for a program, and close what the program leaves open."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Any, Final, Protocol, TypeVar

from runtime.signals import Interruption

__all__ = ("Closable", "OpenTerminals", "open_terminals", "run")

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("runtime")


class Closable(Protocol):
    """A terminal, as `run` sees it."""

    @property
    def name(self) -> str:
        """What the terminal is called in a log."""
        ...

    async def close(self) -> object:
        """Finish what was accepted, then end; wait for the close that is under way."""


class OpenTerminals:
    """The terminals that are open in one run of a loop, in the order of their opening."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._terminals: list[Closable] = []
        self._abandoned = False

    def add(self, terminal: Closable) -> None:
        """Note a terminal that opens."""
        self._terminals.append(terminal)

    def remove(self, terminal: Closable) -> None:
        """Forget a terminal that is closed."""
        if terminal in self._terminals:
            self._terminals.remove(terminal)

    def abandon(self) -> None:
        """Leave open what is open."""
        self._abandoned = True
        self._terminals.clear()

    async def close(self) -> list[BaseException]:
        """Close them all, the last opened first, and return what went wrong; it is logged.

        A cancellation waits until everything is closed, and is raised then.
        """
        failures: list[BaseException] = []
        cancellation: asyncio.CancelledError | None = None
        while self._terminals:
            terminal = self._terminals.pop()
            closing = asyncio.create_task(terminal.close())
            # An interrupt that strikes inside it leaves the loop by itself.
            closing.add_done_callback(lambda task: task.cancelled() or task.exception())
            while not closing.done():
                try:
                    await asyncio.wait([closing])
                except asyncio.CancelledError as error:
                    if self._abandoned:
                        raise
                    cancellation = error
            failure = asyncio.CancelledError() if closing.cancelled() else closing.exception()
            if failure is not None:
                logger.error(
                    "terminal %r could not be closed well", terminal.name, exc_info=failure
                )
                failures.append(failure)
        if cancellation is not None:
            raise cancellation
        return failures


_OPEN: Final[ContextVar[OpenTerminals]] = ContextVar("runtime.open_terminals")


def open_terminals() -> OpenTerminals | None:
    """Return the open terminals of the run that the caller belongs to, if `run` has started it."""
    found = _OPEN.get(None)
    # A context is copied to other threads, which may run loops of their own.
    return found if found is not None and found.loop is asyncio.get_running_loop() else None


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run a coroutine to its end on uvloop, or on asyncio's own loop where there is no uvloop.

    When it has ended, terminals that are still open are closed, the last opened first. The first
    SIGINT or SIGTERM cancels the coroutine, so that the blocks it is in are left and terminals
    finish what they have accepted; a second signal of the same kind ends the program at once.
    Signals that the program handles itself, and those outside the main thread, are left alone.
    `debug` is asyncio's debug mode.

    Raises what the coroutine raises; if that is the cancellation by a signal, `KeyboardInterrupt`
    after SIGINT and `SystemExit(0)` after SIGTERM. Raises what went wrong with a close if the
    coroutine has ended well, and `RuntimeError` if a loop is running in this thread already.
    """
    if is_running():
        main.close()
        msg = "run() cannot be called while an event loop runs in this thread; await instead"
        raise RuntimeError(msg)
    if sys.platform == "win32":
        return run_on(None, main, debug=debug)
    import uvloop

    return run_on(uvloop.new_event_loop, main, debug=debug)


def run_on(
    make_loop: Callable[[], asyncio.AbstractEventLoop] | None,
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None,
) -> T:
    """Run a coroutine as `run` does, on a loop of a kind; None stands for asyncio's own."""
    with asyncio.Runner(debug=debug, loop_factory=make_loop) as runner:
        loop = runner.get_loop()
        terminals = OpenTerminals(loop)
        context = copy_context()
        context.run(_OPEN.set, terminals)
        task = loop.create_task(attend(main, terminals), context=context)
        with Interruption(task) as interruption:
            try:
                return loop.run_until_complete(task)
            except asyncio.CancelledError as error:
                if interruption.received is signal.SIGINT:
                    raise KeyboardInterrupt from error
                if interruption.received is signal.SIGTERM:
                    raise SystemExit(0) from error
                raise
            except KeyboardInterrupt:
                # In the middle of something: whoever interrupts twice does not want to wait.
                terminals.abandon()
                raise


async def attend(main: Coroutine[Any, Any, T], terminals: OpenTerminals) -> T:
    """Run a coroutine, then close what it has left open."""
    try:
        result = await main
    except BaseException:
        # What has ended the coroutine is what ends the run, whatever comes in between.
        with suppress(asyncio.CancelledError):
            await terminals.close()
        raise
    failures = await terminals.close()
    if len(failures) > 1:
        msg = "terminals could not be closed well"
        raise BaseExceptionGroup(msg, failures)
    if failures:
        raise failures[0]
    return result


def is_running() -> bool:
    """Say whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
