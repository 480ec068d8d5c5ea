"""Freezing a terminal: many handlers over many classes, and a tenth of both."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.registries import registry_of
from benchmarks.workload import Clock, Mailer, Run
from runtime import BusTerminal, Event, MessageContext, MessageRegistry

HANDLERS = 1_000
CLASSES_EACH = 10
"""What each handler hears: the class that it names, and a line of sub-classes under it."""


def handler_of(event_type: type[Event]) -> Any:
    """Return a handler of its own for a class, with two dependencies."""

    async def handler(event: Any, ctx: MessageContext, clock: Clock, mailer: Mailer) -> None:
        pass

    handler.__annotations__["event"] = event_type
    return handler


def many_handlers(count: int) -> tuple[MessageRegistry[Event], list[type[Event]]]:
    """Return a registry of so many handlers, each over a family of classes, and the classes."""
    registry = registry_of()
    registry.factory(Clock, lifetime="singleton")
    registry.factory(Mailer, lifetime="singleton")
    classes: list[type[Event]] = []
    for number in range(count):
        first = type(f"Event{number}", (Event,), {})
        classes.append(first)
        for generation in range(1, CLASSES_EACH):
            classes.append(type(f"Event{number}_{generation}", (classes[-1],), {}))
        registry.register(handler_of(first))
    return registry, classes


@asynccontextmanager
async def freeze(handlers: int = HANDLERS) -> AsyncGenerator[Run]:
    """Open and close a terminal of many handlers; they have been registered before."""
    # A class knows its sub-classes weakly: somebody has to hold them.
    registry, classes = many_handlers(handlers)

    async def run(n: int) -> None:
        for _ in range(n):
            async with BusTerminal(registry):
                pass

    yield run
    classes.clear()
