"""How mailboxes behave; data only."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("MailboxPolicy",)


@dataclass(frozen=True, slots=True)
class MailboxPolicy:
    """The bounds of every mailbox of a terminal.

    `capacity` is the number of messages that may be queued and not yet started. A full mailbox
    rejects: `emit` raises `MailboxFull`, `offer` waits.

    Raises `ValueError` unless `capacity` is positive.
    """

    capacity: int = 1024

    def __post_init__(self) -> None:
        if self.capacity < 1:
            msg = f"capacity must be at least 1, not {self.capacity}"
            raise ValueError(msg)
