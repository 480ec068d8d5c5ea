"""Where events are read again: one module for each kind of store, imported when it is used."""

from typing import TYPE_CHECKING

from runtime.sources.base import Received, Source

if TYPE_CHECKING:
    from runtime.sources.sqlite import SqliteSource

__all__ = ("Received", "Source", "SqliteSource")


def __getattr__(name: str) -> object:
    if name == "SqliteSource":
        from runtime.sources.sqlite import SqliteSource

        return SqliteSource
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
