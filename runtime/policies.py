"""How mailboxes behave, and how often a handler is tried; data only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast, get_args

if TYPE_CHECKING:
    import random

__all__ = ("MailboxPolicies", "MailboxPolicy", "Overflow", "Retry")

LIMIT: Final = 1 << 31
"""What the core counts to."""

MOST_DOUBLINGS: Final = 1000
"""As far as a float can double 1 without an overflow, about."""

Overflow = Literal["reject", "drop_oldest", "drop_newest"]


@dataclass(frozen=True, slots=True)
class MailboxPolicy:
    """The bound of a mailbox, and what happens to the message that comes when it is reached.

    `capacity` is the number of messages that may be queued and not yet started. A mailbox that
    holds so many rejects (`emit` raises `MailboxFull`), drops the message that has been queued
    longest, or drops the new one; what is dropped becomes a dead letter. `offer` waits for room,
    whatever the policy.

    Raises `TypeError` or `ValueError` unless `capacity` is a positive number and `overflow` one of
    the three.
    """

    capacity: int = 1024
    overflow: Overflow = "reject"

    def __post_init__(self) -> None:
        check_count("capacity", self.capacity, 1)
        if self.overflow not in get_args(Overflow):
            msg = f"overflow must be one of {get_args(Overflow)}, not {self.overflow!r}"
            raise ValueError(msg)


def check_count(name: str, value: object, least: int) -> None:
    """Raise `TypeError` or `ValueError` unless something is a number from `least` on."""
    if not isinstance(value, int) or isinstance(value, bool):
        msg = f"{name} is a whole number, not {value!r}"
        raise TypeError(msg)
    if not least <= value < LIMIT:
        msg = f"{name} must be at least {least} and less than 2**31, not {value}"
        raise ValueError(msg)


def check_seconds(name: str, value: object) -> None:
    """Raise `TypeError` or `ValueError` unless something is a finite span of time from 0 on."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        msg = f"{name} is a number of seconds, not {value!r}"
        raise TypeError(msg)
    if not 0 <= value < math.inf:
        msg = f"{name} is a finite number of seconds from 0 on, not {value!r}"
        raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a handler of an emitted message is tried, and how long it pauses in between.

    `attempts` counts the first. The pause after attempt n is ``min(max_backoff, backoff *
    2**(n - 1))`` seconds; with `jitter` it is up to twice as long, so that what has failed
    together does not come back together. Only an exception of one of the classes in `on` is tried
    again; any other ends the message's handler at once, and so does a cancellation.

    Raises `TypeError` or `ValueError` unless `attempts` is a positive number, the pauses are finite
    and not negative, and `on` is a tuple of subclasses of `Exception`.
    """

    attempts: int = 4
    backoff: float = 0.05
    max_backoff: float = 5.0
    jitter: bool = True
    on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        check_count("attempts", self.attempts, 1)
        check_seconds("backoff", self.backoff)
        check_seconds("max_backoff", self.max_backoff)
        jitter, on = cast("object", self.jitter), cast("object", self.on)
        if not isinstance(jitter, bool):
            msg = f"jitter is True or False, not {jitter!r}"
            raise TypeError(msg)
        if not isinstance(on, tuple) or not on:
            msg = f"on= is a tuple of exception classes, as in on=(OSError,), not {on!r}"
            raise TypeError(msg)
        for each in cast("tuple[object, ...]", on):
            if not isinstance(each, type) or not issubclass(each, Exception):
                msg = (
                    f"on= holds subclasses of Exception, not {each!r}; a cancellation or an "
                    f"interrupt is never tried again"
                )
                raise TypeError(msg)

    def pause_after(self, attempt: int, drawn: random.Random) -> float:
        """Return how many seconds to pause after an attempt, the first being number 1.

        `drawn` is asked for the jitter. That only ever lengthens, as AWS's and Wolverine's rules
        for backoff have it: the pause that was asked for is always given.
        """
        pause = min(self.max_backoff, self.backoff * 2.0 ** min(attempt - 1, MOST_DOUBLINGS))
        return pause * drawn.uniform(1.0, 2.0) if self.jitter else pause


DEFAULT: Final = MailboxPolicy()

# A mapping's keys are invariant: those of a variable may be some base's classes.
K = TypeVar("K", bound=type)


class MailboxPolicies:
    """The policy of every message type: one for all, or that of the nearest class in the MRO.

    Raises `TypeError` if it is given something else.
    """

    def __init__(self, given: MailboxPolicy | Mapping[K, MailboxPolicy]) -> None:
        check(given)
        self._default = given if isinstance(given, MailboxPolicy) else DEFAULT
        self._by_type: dict[type, MailboxPolicy] = {}
        if not isinstance(given, MailboxPolicy):
            self._by_type.update(given.items())

    def of(self, message_type: type) -> MailboxPolicy:
        """Return the policy of a message type."""
        if self._by_type:
            for base in message_type.__mro__:
                if base in self._by_type:
                    return self._by_type[base]
        return self._default


def check(given: object) -> None:
    """Raise `TypeError` unless something is a policy, or maps message types to policies."""
    wanted = "mailbox= is a MailboxPolicy, or maps message types to such"
    if isinstance(given, MailboxPolicy):
        return
    if not isinstance(given, Mapping):
        msg = f"{wanted}, not {given!r}"
        raise TypeError(msg)
    for kind, policy in cast("Mapping[object, object]", given).items():
        if not isinstance(kind, type) or not isinstance(policy, MailboxPolicy):
            msg = f"{wanted}, not {kind!r} to {policy!r}"
            raise TypeError(msg)
