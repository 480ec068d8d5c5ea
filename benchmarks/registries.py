"""Make the registries that subjects register with."""

from typing import Any

from runtime import Event, MessageRegistry


def registry_of(*handlers: Any) -> MessageRegistry[Event]:
    """Return a registry with handlers."""
    registry = MessageRegistry(event_base=Event)
    for handler in handlers:
        registry.register(handler)
    return registry
