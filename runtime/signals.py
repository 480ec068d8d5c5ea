"""What SIGINT and SIGTERM do to a program while its loop runs."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Final, Self, TypeAlias

__all__ = ("Interruption",)

Usual: TypeAlias = signal.Handlers | Callable[[int, FrameType | None], object]

USUAL: Final[Mapping[signal.Signals, Usual]] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
"""What the signals do in a program that has not said otherwise."""


class Interruption:
    """A block in which the first SIGINT or SIGTERM cancels a task, once.

    The next signal of the same kind does what it always does: it raises `KeyboardInterrupt`, or
    ends the process. Signals that the program handles in a way of its own are left alone, and so
    are all of them outside the main thread. `received` is the signal that has cancelled the task.
    """

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.received: signal.Signals | None = None
        self._task = task
        self._alarm: Alarm | None = None

    def __enter__(self) -> Self:
        for number, usual in USUAL.items():
            if signal.getsignal(number) == usual:
                # Only the main thread of the main interpreter may.
                with suppress(ValueError):
                    signal.signal(number, self._receive)
                    # On Windows the loop has an alarm of its own.
                    if self._alarm is None and sys.platform != "win32":
                        self._alarm = Alarm(self._task.get_loop())
        return self

    def __exit__(self, *error: object) -> None:
        if self._alarm is not None:
            self._alarm.close()
        for number, usual in USUAL.items():
            if signal.getsignal(number) == self._receive:
                signal.signal(number, usual)

    # A plain signal handler, not one of the loop's: a second signal gets through to a program
    # that keeps its loop busy.
    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        kind = signal.Signals(number)
        signal.signal(kind, USUAL[kind])
        if self._task.done():
            signal.raise_signal(kind)
        elif self.received is None:
            self.received = kind
            self._task.cancel()
            # The loop may be asleep, and would not notice.
            self._task.get_loop().call_soon_threadsafe(lambda: None)


class Alarm:
    """Wakes a loop when a signal comes.

    A Python handler runs between two instructions of the interpreter. A signal that comes just
    before the loop begins to wait would be noticed only when something else wakes it; but what the
    system writes to the wake-up descriptor ends the wait at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ears, self._bell = socket.socketpair()
        self._ears.settimeout(0)
        self._bell.settimeout(0)
        loop.add_reader(self._ears, self._hear)
        self._previous = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)

    def close(self) -> None:
        """Leave the descriptor to whoever had it before."""
        current = signal.set_wakeup_fd(self._previous)
        if current != self._bell.fileno():
            # Somebody has taken it over meanwhile.
            signal.set_wakeup_fd(current)
        self._loop.remove_reader(self._ears)
        self._ears.close()
        self._bell.close()

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            self._ears.recv(4096)
