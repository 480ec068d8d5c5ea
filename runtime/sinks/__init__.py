"""Where events are persisted: one module for each kind of store."""

from runtime.sinks.base import Record, Sink
from runtime.sinks.sqlite import SqliteSink

__all__ = ("Record", "Sink", "SqliteSink")
