"""What a user declares and receives: events, the context of a message, dead letters."""

from __future__ import annotations

from typing import Literal, dataclass_transform

import msgspec

from runtime._bus import MessageContext
from runtime._mailbox import Delivery

__all__ = ("DeadLetter", "DeadLetterReason", "Delivery", "Event", "MessageContext")

DeadLetterReason = Literal["failed", "closed"]


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, frozen=True):
    """Something that has happened: a ready base for messages with any number of handlers.

    Subclasses are immutable structs, declared like dataclasses. A subclass may name the field
    that its mailbox is chosen by: `__key__: ClassVar[str] = "order_id"`.
    """


class DeadLetter(msgspec.Struct, frozen=True):
    """One handler's failure to handle one message, or one message's failure to be handled."""

    message: object
    handler: str | None
    """The qualified name of the handler; None if the message reached none."""
    reason: DeadLetterReason
    error: BaseException

    def __str__(self) -> str:
        """Say what failed, where and why, in one line."""
        where = f"{self.handler} of " if self.handler is not None else ""
        error = f"{type(self.error).__name__}: {self.error}"
        return f"{where}{type(self.message).__name__}: {self.reason}: {error}"
