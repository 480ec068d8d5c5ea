"""What a sink is, and what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from runtime._context import MessageContext
from runtime.names import type_name

__all__ = ("Record", "Sink")


class Record(msgspec.Struct, frozen=True):
    """One event on its way to a store. It keeps its id when it is sunk again."""

    id: str
    type: str
    time: datetime
    key: str | None
    headers: Mapping[str, str]
    event: object

    @classmethod
    def of(cls, event: object, context: MessageContext | None = None) -> Record:
        """Make the record of an event that is sunk now."""
        context = MessageContext() if context is None else context
        kind = type(event)
        field: str | None = getattr(kind, "__key__", None)
        key: object = None if field is None else getattr(event, field)
        cause = context.causation_id
        headers = context.headers
        if cause is not None:
            ids = {"causation_id": cause, "correlation_id": context.correlation_id}
            headers = {**headers, **ids}
        return cls(
            context.id,
            type_name(kind),
            context.time,
            None if key is None else str(key),
            headers,
            event,
        )


class Sink(Protocol):
    """Anything that can persist records.

    A sink may also have ``async open()`` and ``async close()``: the terminal calls them when it
    opens, or before the first record, and when it closes. An open that has failed is called again
    before the next record. A close is cancelled when the terminal's time to close is over.
    """

    async def sink(self, records: Sequence[Record], /) -> None:
        """Persist all records, or raise `SinkError` and let none of them count as saved.

        Returns once the store has confirmed. May be called again while it runs. A record whose id
        the store has already changes nothing.
        """
