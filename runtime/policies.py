"""How mailboxes behave; data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

__all__ = ("MailboxPolicies", "MailboxPolicy", "Overflow")

LIMIT: Final = 1 << 31
"""What the core counts to."""

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


DEFAULT: Final = MailboxPolicy()


class MailboxPolicies:
    """The policy of every message type: one for all, or that of the nearest class in the MRO.

    Raises `TypeError` if it is given something else.
    """

    def __init__(self, given: MailboxPolicy | Mapping[type, MailboxPolicy]) -> None:
        check(given)
        self._by_type: dict[type, MailboxPolicy] = (
            {object: given} if isinstance(given, MailboxPolicy) else dict(given)
        )

    def of(self, message_type: type) -> MailboxPolicy:
        """Return the policy of a message type."""
        for base in message_type.__mro__:
            if base in self._by_type:
                return self._by_type[base]
        return DEFAULT


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
