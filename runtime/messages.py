"""What a user declares and receives: events, the context of a message, dead letters."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, dataclass_transform

import msgspec

from runtime._context import MessageContext
from runtime._mailbox import Delivery, Mailbox

if TYPE_CHECKING:
    from runtime._core import Core
    from runtime.signature import HandlerSpec

__all__ = (
    "Command",
    "DeadLetter",
    "DeadLetterReason",
    "Delivery",
    "Event",
    "MessageContext",
    "Origin",
)

R_co = TypeVar("R_co", covariant=True)

DeadLetterReason = Literal[
    "failed", "timeout", "overflow", "expired", "hops", "closed", "undecodable", "late_reply"
]


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, frozen=True):
    """Something that has happened: a ready base for messages with any number of handlers.

    Subclasses are immutable structs, declared like dataclasses. A subclass may name the field
    that its mailbox is chosen by: `__key__: ClassVar[str] = "order_id"`.
    """


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Command(msgspec.Struct, Generic[R_co], frozen=True):
    """Something to be done, by exactly one handler, that is replied to with an `R`.

    Subclasses are immutable structs, declared like dataclasses:
    ``class GetUser(Command[User]): user_id: int``.
    """


class Origin(msgspec.Struct, frozen=True, eq=False):
    """Where a dead letter comes from: what `redeliver` needs to know. Opaque to everybody else."""

    core: Core
    box: Mailbox
    handler: HandlerSpec | None
    context: MessageContext

    def __repr__(self) -> str:
        """Show nothing of what is inside."""
        return object.__repr__(self)


class DeadLetter(msgspec.Struct, frozen=True):
    """One handler's failure to handle one message, or one message's failure to be handled.

    Handlers may be registered for it, in any registry; nobody else hears it. They run outside of
    capacity and ledger, one dead letter at a time, and their own failures are only logged.
    """

    message: object
    handler: str | None
    """The qualified name of the handler; None if the message reached none."""
    reason: DeadLetterReason
    error: BaseException
    attempts: int = 0
    """How often the handler was started; 0 where none ran."""
    message_id: str = ""
    correlation_id: str = ""
    mailbox: Hashable = None
    """The name of the mailbox that the message was in; None for one without, such as the pool."""
    age: float = 0.0
    """Seconds between the time of the message's context and this letter."""
    origin: Origin | None = None
    """What `redeliver` needs; None in a letter that no terminal has written."""

    def __str__(self) -> str:
        """Say what failed, where and why, in one line."""
        where = f"{self.handler} of " if self.handler is not None else ""
        error = f"{type(self.error).__name__}: {self.error}"
        return f"{where}{type(self.message).__name__}: {self.reason}: {error}"
