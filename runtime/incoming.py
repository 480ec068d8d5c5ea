"""What a record from a store is as a message: its context, and its mailbox."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

from runtime._context import MessageContext, restored
from runtime.plan import key_of
from runtime.sinks.base import Record

__all__ = ("context_of", "mailbox_key", "unknown_context")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LIMIT: Final = (1 << 63) - 1


def mailbox_key(record: Record) -> str | None:
    """Return the key to send an event with: None if the event chooses the same by itself."""
    field, _ = key_of(type(record.event))
    if field is not None and str(getattr(record.event, field, None)) == record.key:
        return None
    return record.key


def context_of(record: Record) -> MessageContext:
    """Return the context that a record was made in."""
    headers = dict(record.headers)
    cause = headers.pop("causation_id", None)
    correlation = headers.pop("correlation_id", None)
    ids = (as_number(record.id), as_number(cause), as_number(correlation))
    return restored(ids, as_stamp(record.time), headers or None)


def unknown_context(name: str) -> MessageContext:
    """Return the context of an event of which nothing but its id is known."""
    return restored((as_number(name), 0, 0), as_stamp(datetime.now(UTC)), None)


def as_number(name: str | None) -> int:
    """Return an id as the number that a UUID is; one that is no UUID always has the same."""
    if name is None:
        return 0
    try:
        number = uuid.UUID(name)
    except ValueError:
        number = None
    if number is None or str(number) != name or number.int >> 64 == 0:
        number = uuid.uuid5(uuid.NAMESPACE_OID, name)
    return number.int


def as_stamp(moment: datetime) -> int:
    """Return a time in nanoseconds since the epoch, or the nearest that 64 bits can hold."""
    exact = (moment - EPOCH) // timedelta(microseconds=1) * 1000
    return max(-LIMIT, min(exact, LIMIT))
