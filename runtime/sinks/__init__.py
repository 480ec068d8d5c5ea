"""Where events are persisted: one module for each kind of store, imported when it is used."""

from typing import TYPE_CHECKING

from runtime.sinks.base import Record, Sink

if TYPE_CHECKING:
    from runtime.sinks.sqlite import SqliteSink

__all__ = ("Record", "Sink", "SqliteSink")


def __getattr__(name: str) -> object:
    if name == "SqliteSink":
        from runtime.sinks.sqlite import SqliteSink

        return SqliteSink
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
