"""What a terminal tells about itself; data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = (
    "Counters",
    "HandlerCounters",
    "ShutdownReport",
    "Stats",
    "StuckHandler",
    "TypeCounters",
)


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
class TypeCounters:
    """What has become of the messages of one class, those derived from it not included.

    `emitted == handled + failed + dropped + expired + rejected_at_close + pending`, as in `Stats`.
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


@dataclass(frozen=True, slots=True)
class HandlerCounters:
    """What one handler has done."""

    started: int
    """How often it was called, by any verb; each attempt of a retry counts."""
    failed: int
    """Messages from a mailbox, dead letters too, that it has failed at in the end."""
    slow: int
    """How often it has blocked the loop for more than 100 ms."""
    longest: float
    """For how many seconds at most it did; 0.0 if it never has."""


@dataclass(frozen=True, slots=True)
class Counters:
    """The ledger of each message class that has been sent, and what each handler has done.

    Handlers are named as in the log, by name and place, in registration order. A handler whose
    name and place an earlier one has, such as the method of another object, is followed by a
    number: `#2`.
    """

    by_type: Mapping[type, TypeCounters]
    by_handler: Mapping[str, HandlerCounters]


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
