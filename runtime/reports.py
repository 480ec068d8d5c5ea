"""What a terminal tells about itself; data only."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("ShutdownReport", "Stats", "StuckHandler")


@dataclass(frozen=True, slots=True)
class Stats:
    """What a terminal has done so far.

    `emitted == handled + failed + dropped + expired + rejected_at_close + pending`, at any moment
    in which no code of the runtime is running. `published` and `sent` count
    inline runs, `asked` the asks among what was emitted, `sunk` events that the store has
    confirmed, `scopes` the blocks that are open.
    """

    emitted: int
    handled: int
    failed: int
    dropped: int
    expired: int
    rejected_at_close: int
    pending: int
    published: int
    sent: int
    asked: int
    sunk: int
    dead_letters: int
    scopes: int


@dataclass(frozen=True, slots=True)
class StuckHandler:
    """A handler that went on in spite of being cancelled, and where it was at that time."""

    name: str
    stack: str

    def __str__(self) -> str:
        """Name the handler, with its stack below."""
        return f"{self.name}\n{self.stack}".rstrip()


@dataclass(frozen=True, slots=True)
class ShutdownReport:
    """How a terminal ended: counts since it was opened, and what was left behind.

    `undelivered` are the messages that no handler started, `stuck` the handlers that would not
    end.
    """

    handled: int
    failed: int
    undelivered: tuple[object, ...]
    stuck: tuple[StuckHandler, ...]
    seconds: float
