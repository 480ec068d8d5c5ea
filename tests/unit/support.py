"""What unit tests build things with."""

from typing import Any

from runtime import BusTerminal, Event, MessageRegistry


def registry_with(*handlers: Any) -> MessageRegistry[Event]:
    """Return a registry with handlers."""
    registry = MessageRegistry(event_base=Event)
    for handler in handlers:
        registry.register(handler)
    return registry


def terminal_with(*handlers: Any, **options: Any) -> BusTerminal[Event]:
    """Return a terminal with a registry of these handlers."""
    return BusTerminal(registry_with(*handlers), **options)
