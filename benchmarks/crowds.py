"""Many of everything: message types, handlers, scopes, and messages that have gone by."""

import gc
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import cycle, islice
from typing import Any

from benchmarks.growth import (
    LOOKUP,
    STEP,
    Held,
    Point,
    Run,
    Series,
    flat,
    growth_of,
    linear,
    side_by_side,
    uncollected,
)
from benchmarks.workload import BURST, Context
from runtime import BusTerminal, Event, MessageRegistry, Scope

TYPES_EACH = 10
"""Message types that one handler hears: the one that it names, and its sub-types."""
FEW = 10
"""Message types that are in use, among all that are known."""
ACTIVE = 1_000
"""Scopes that have something to do, among all that have not."""


class Ping(Event):
    number: int


PING = Ping(1)


def ignore(event: Ping) -> None:
    """Handle nothing, synchronously."""


def types_of(count: int) -> list[type[Event]]:
    """Return so many message types, in families of one parent and its children."""
    found: list[type[Event]] = []
    for number in range(max(1, count // TYPES_EACH)):
        parent = type(f"Type{number}", (Event,), {})
        found.append(parent)
        found += [type(f"Type{number}_{child}", (parent,), {}) for child in range(1, TYPES_EACH)]
    return found


def handler_of(event_type: type[Event]) -> Any:
    """Return a handler of its own for a message type and its sub-types."""

    async def handle(event: Any, ctx: Any) -> None:
        pass

    handle.__annotations__["event"] = event_type
    return handle


def registry_of(types: Sequence[type[Event]]) -> MessageRegistry[Event]:
    """Return a registry with a handler for each family of message types."""
    registry = MessageRegistry(event_base=Event)
    registry.register(*(handler_of(each) for each in types[::TYPES_EACH]))
    return registry


def sizes(smallest: int, largest: int) -> list[int]:
    """Return the powers of ten between two."""
    found = [smallest]
    while found[-1] < largest:
        found.append(found[-1] * STEP)
    return found


def points_of(counts: Sequence[int], times: Sequence[Sequence[float]]) -> list[Point]:
    """Return the medians of some sizes' rounds."""
    return [
        Point(count, statistics.median(mine)) for count, mine in zip(counts, times, strict=True)
    ]


async def freezing(largest: int, rounds: int) -> Series:
    """Freeze terminals of many message types, a tenth as many handlers."""
    counts = sizes(1_000, largest)
    crowds = [types_of(count) for count in counts]
    registries = [registry_of(types) for types in crowds]
    held: list[float | None] = []
    times: list[list[float]] = [[] for _ in counts]
    async with AsyncExitStack() as stack:
        for count, registry in zip(counts, registries, strict=True):
            with Held() as memory:
                await stack.enter_async_context(BusTerminal(registry))
            held.append(memory.by(count))
        for _ in range(rounds):
            for count, registry, mine in zip(counts, registries, times, strict=True):
                with uncollected():
                    terminal = BusTerminal(registry)
                    began = time.process_time_ns()
                    await terminal.open()
                    mine.append((time.process_time_ns() - began) / count)
                await terminal.close()
    return linear(
        "freeze",
        "message type, with a tenth of a handler",
        [
            Point(count, statistics.median(mine), each)
            for count, mine, each in zip(counts, times, held, strict=True)
        ],
        times,
    )


async def looking_up(largest: int, rounds: int) -> list[Series]:
    """Publish where there are many message types: a few of them in turn, then all in turn."""
    counts = sizes(10, largest)
    fixed: list[Run] = []
    turns: list[Run] = []
    by_hand: list[Run] = []
    async with AsyncExitStack() as stack:
        for count in counts:
            types = types_of(count)
            terminal = BusTerminal(registry_of(types))
            await stack.enter_async_context(terminal)
            # Of one family each, as far as there are so many.
            few = types[:: max(1, count // FEW)][:FEW]
            fixed.append(publishing(terminal, [each() for each in few]))
            # In no order that the memory has, too.
            events = [each() for each in types]
            random.Random(count).shuffle(events)
            turns.append(publishing(terminal, events))
            by_hand.append(calling(types, events))
        once = await side_by_side(fixed, 1_000, rounds * 4)
        scattered = await side_by_side([*turns, *by_hand], 10_000, rounds)
    found, plain = scattered[: len(counts)], scattered[len(counts) :]
    return [
        flat(
            "look up",
            f"publish of {FEW} in turn, of so many types",
            points_of(counts, once),
            growth_of(once),
            LOOKUP,
        ),
        Series(
            "look up any",
            "publish of each of so many types in turn",
            tuple(points_of(counts, found)),
            "reported",
            growth_of(found),
        ),
        Series(
            "look up any, by hand",
            "the same with a dict of handlers",
            tuple(points_of(counts, plain)),
            "reported",
            growth_of(plain),
        ),
    ]


def publishing(terminal: BusTerminal[Event], events: Sequence[Event]) -> Run:
    """Publish events in turn, going on where the last run has ended."""
    turn = cycle(events)
    publish = terminal.bus.publish

    async def run(n: int) -> None:
        for event in islice(turn, n):
            await publish(event)

    return run


def calling(types: Sequence[type[Event]], events: Sequence[Event]) -> Run:
    """Call the handlers of events in turn, each found in a dictionary by the event's type."""
    turn = cycle(events)
    handlers: dict[type[Event], Any] = {}
    for number, each in enumerate(types):
        handlers[each] = handlers[types[number - 1]] if number % TYPES_EACH else handler_of(each)

    async def run(n: int) -> None:
        for event in islice(turn, n):
            await handlers[type(event)](event, Context())

    return run


async def publishing_to_many(largest: int, rounds: int) -> Series:
    """Publish one event to many handlers."""
    counts = sizes(10, largest)
    runs: list[Run] = []
    async with AsyncExitStack() as stack:
        for count in counts:
            registry = MessageRegistry(event_base=Event)
            registry.register(*(handler_of(Ping) for _ in range(count)))
            terminal = await stack.enter_async_context(BusTerminal(registry))
            runs.append(publishing_to(terminal, count))
        times = await side_by_side(runs, max(10_000, largest), rounds)
    # Beyond some thousands the handlers themselves do not fit into the caches: no bound.
    return linear("publish to many", "handler of the event", points_of(counts, times), times, None)


def publishing_to(terminal: BusTerminal[Event], handlers: int) -> Run:
    """Publish an event with so many handlers, until so many have been called."""
    publish = terminal.bus.publish

    async def run(n: int) -> None:
        for _ in range(n // handlers):
            await publish(PING)

    return run


async def idle_scopes(largest: int, rounds: int) -> list[Series]:
    """Open many scopes, and let messages go through a few of them."""
    counts = sizes(ACTIVE, largest)
    registry = MessageRegistry(event_base=Event)
    registry.register(ignore)
    opened: list[Point] = []
    runs: list[Run] = []
    crowds: list[list[Scope[Event]]] = []
    async with AsyncExitStack() as stack:
        for count in counts:
            terminal = await stack.enter_async_context(BusTerminal(registry))
            names = [f"user:{number}" for number in range(count)]
            scopes: list[Any] = [None] * count
            with Held() as memory:
                gc.disable()
                began = time.process_time_ns()
                for number, name in enumerate(names):
                    scopes[number] = await terminal.scope(name).__aenter__()
                elapsed = time.process_time_ns() - began
                gc.enable()
            opened.append(Point(count, elapsed / count, memory.by(count)))
            crowds.append(scopes)
            middle = (count - ACTIVE) // 2
            runs.append(activating(terminal, scopes[middle : middle + ACTIVE]))
        times = await side_by_side(runs, ACTIVE, rounds)
        for scopes in crowds:
            for scope in scopes:
                await scope.__aexit__(None, None, None)
    return [
        Series("open scopes", "idle named scope", tuple(opened), "reported"),
        flat(
            "activate scopes",
            f"event through one of {ACTIVE:,} scopes that work, among so many",
            points_of(counts, times),
            growth_of(times),
        ),
    ]


def activating(terminal: BusTerminal[Event], scopes: Sequence[Scope[Event]]) -> Run:
    """Let an event go through each of some scopes."""

    async def run(n: int) -> None:
        for scope in scopes:
            scope.bus.emit(PING)
        await terminal.drain()

    return run


async def emits(largest: int, rounds: int) -> Series:
    """Emit very many events, and compare the terminal then with one that is new."""
    registry = MessageRegistry(event_base=Event)
    registry.register(ignore)
    points: list[Point] = []
    async with BusTerminal(registry) as aged, BusTerminal(registry) as fresh:
        old, new = emitting(aged), emitting(fresh)
        done = 1_000
        await old(done)
        for count in sizes(done * 10, largest):
            with Held() as memory:
                began = time.process_time_ns()
                await old(count - done)
                elapsed = time.process_time_ns() - began
            points.append(Point(count, elapsed / (count - done), memory.grown / (count - done)))
            done = count
        times = await side_by_side([new, old], 1_000, rounds)
    return flat("emit", "emit to handled, after so many", points, growth_of(times))


def emitting(terminal: BusTerminal[Event]) -> Run:
    """Emit bursts to one key, and wait for each."""
    emit = terminal.bus.emit

    async def run(n: int) -> None:
        for _ in range(n // BURST):
            for _ in range(BURST):
                emit(PING, key="one")
            await terminal.drain()

    return run
