"""What unit tests build things with."""

from dataclasses import fields
from typing import Any

from runtime import BusTerminal, Event, MessageRegistry
from runtime.reports import Counters, TypeCounters

LEDGER = [each.name for each in fields(TypeCounters)]


def registry_with(*handlers: Any) -> MessageRegistry[Event]:
    """Return a registry with handlers."""
    registry = MessageRegistry(event_base=Event)
    for handler in handlers:
        registry.register(handler)
    return registry


def terminal_with(*handlers: Any, **options: Any) -> BusTerminal[Event]:
    """Return a terminal with a registry of these handlers."""
    return BusTerminal(registry_with(*handlers), **options)


def check_counters(terminal: BusTerminal[Any]) -> Counters:
    """Return the counters of a terminal, which add up to its ledger."""
    counters, stats = terminal.counters(), terminal.stats()
    for each in counters.by_type.values():
        ended = each.handled + each.failed + each.dropped + each.expired + each.rejected_at_close
        assert each.emitted == ended + each.pending
        assert min(getattr(each, name) for name in LEDGER) >= 0
    for name in LEDGER:
        total = sum(getattr(each, name) for each in counters.by_type.values())
        assert total == getattr(stats, name), name
    return counters
