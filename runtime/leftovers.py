"""Say what a terminal leaves behind that nobody has closed."""

from __future__ import annotations

import logging
import weakref

from runtime._core import Core
from runtime.loops import Closable, open_terminals

__all__ = ("Watch",)

logger: logging.Logger = logging.getLogger("runtime")


class Watch:
    """Keeps an eye on a terminal from its opening to its close.

    `run` learns from it what is still open. If the terminal is dropped, or the interpreter exits,
    before it has been closed, one line is logged.
    """

    def __init__(self, terminal: Closable, core: Core) -> None:
        self._terminal = terminal
        self._core = core
        self._run = open_terminals()
        if self._run is not None:
            self._run.add(terminal)
        # It knows the watch weakly, and so keeps nothing alive.
        self._at_exit = weakref.finalize(self, report_at_exit, weakref.ref(self))
        self._over = False

    def end(self) -> None:
        """Take note that the terminal is closed."""
        self._stop()
        if self._core.host.failures.cut_off > 0:
            logger.warning(
                "terminal %r was closed when its loop had ended: %s cut off; "
                "close it before the main coroutine returns",
                self._terminal.name,
                counted(self._core.host.failures.cut_off, "handler", "handlers"),
            )

    def report(self) -> None:
        """Say, once, what was left, and end the handlers that wait for a loop that has gone."""
        if self._over:
            return
        self._stop()
        core = self._core
        ledger = core.ledger()
        logger.warning(
            "terminal %r was never closed: %s pending and never handled, %s cut off, "
            "%s and %s open; use `async with terminal:` or `await terminal.close()`",
            self._terminal.name,
            counted(ledger["pending"], "message", "messages"),
            counted(core.host.failures.cut_off, "handler", "handlers"),
            counted(len(core.mailbox_names()), "mailbox", "mailboxes"),
            counted(ledger["scopes"], "scope", "scopes"),
        )
        if core.loop is not None and not core.loop.is_running():
            core.host.workers.drop()

    def _stop(self) -> None:
        self._over = True
        self._at_exit.detach()
        if self._run is not None:
            self._run.remove(self._terminal)

    def __del__(self) -> None:
        self.report()


def report_at_exit(reference: weakref.ref[Watch]) -> None:
    """Let a watch that is alive when the interpreter exits report."""
    watch = reference()
    if watch is not None:
        watch.report()


def counted(number: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number} {one if number == 1 else many}"
