"""What a source is, and what it hands out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, Protocol

import msgspec

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # With defaults, so that sources which need no receipt do not speak of one.
    R = TypeVar("R", default=object)
    R_co = TypeVar("R_co", covariant=True, default=object)
else:
    from typing import TypeVar

    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)

__all__ = ("Received", "Source")


class Received(msgspec.Struct, Generic[R_co], frozen=True):
    """One event as its store has it, handed out to one consumer."""

    id: str
    """What duplicates are known by."""
    raw: bytes
    """The event in its wire form."""
    key: str | None = None
    """Events of one key are handled in order, one at a time; those without one in any order."""
    failures: int = 0
    """How often its handling has failed before."""
    losses: int = 0
    """How often its consumer has not been heard of again."""
    # Left out by those whose receipts are of no type.
    receipt: R_co = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    """What the source knows this handing out by; opaque to everybody else."""


class Source(Protocol[R]):
    """Anything that events can be read from, each until it is settled.

    What has been received is settled by `acknowledge`, `put_back` or `bury`. If that does not
    happen within `lease` seconds, nor `extend`, it is handed out again, here or to another consumer
    of the same group, with one more loss; then the old receipt settles nothing any more.

    Each method raises `SourceError` if the store does not confirm; it is called again then. A
    source may also have ``async open()`` and ``async close()``; the close puts back what has not
    been settled.
    """

    @property
    def lease(self) -> float:
        """How many seconds what has been received is kept from others."""
        ...

    async def receive(self, limit: int, /) -> Sequence[Received[R]]:
        """Wait until there is something, and return at most `limit` events, in their order.

        An event whose key has an earlier one that is not settled is handed out only to the consumer
        that has the earlier one, and not while that waits to be handed out again. This is called
        again when it has returned, and cancelled only if nothing more will be received.
        """
        ...

    async def acknowledge(self, received: Sequence[Received[R]], /) -> None:
        """Note that events have been handled: they are not handed out again."""
        ...

    async def put_back(self, received: Received[R], /, *, delay: float, failed: bool) -> None:
        """Hand an event out again after a delay in seconds; `failed` counts as a failure."""
        ...

    async def bury(self, received: Received[R], /, reason: str, error: str) -> None:
        """Keep an event that will not be handled, with its bytes, and do not hand it out again."""
        ...

    async def extend(self, received: Sequence[Received[R]], /) -> None:
        """Begin the lease of events anew: they are still being handled."""
        ...
