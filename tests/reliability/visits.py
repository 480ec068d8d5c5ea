"""Visits that go from mailbox to mailbox, and wait for each."""

import asyncio
from typing import Any, ClassVar

from reliability.support import Work

from runtime import (
    BusTerminal,
    Command,
    Event,
    EventBus,
    MessageRegistry,
)
from runtime.errors import DeadlockError, DeliveryFailed

LONG = 1000.0
"""Seconds that no scenario takes."""


class Visit(Command[int]):
    """Go from mailbox to mailbox, waiting for each in one of the ways; reply how many."""

    path: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()


class Nested(Event):
    """What a handler publishes inline, for another handler to go on with the visit."""

    visit: Visit


class Call(Event):
    """An actor's event: go on with the visit."""

    __key__: ClassVar[str] = "key"
    key: str
    visit: Visit


class Filler(Event):
    """What makes a mailbox full."""


class Traveller:
    """Handlers that go on with a visit, and what they have met."""

    def __init__(self) -> None:
        self.errors: list[DeadlockError] = []
        self.ended = 0
        self.gates: dict[tuple[str, ...], asyncio.Event] = {}

    async def visit(self, visit: Visit, bus: EventBus[Event]) -> int:
        return await self.go_on(visit, bus)

    async def nested(self, nested: Nested, bus: EventBus[Event]) -> None:
        await self.go_on(nested.visit, bus)

    async def work(self, work: Work) -> None:
        self.ended += 1

    async def go_on(self, visit: Visit, bus: EventBus[Event]) -> int:
        if not visit.path:
            return 0
        key, *path = visit.path
        way, *ways = visit.ways or ("ask",)
        rest = Visit(tuple(path), tuple(ways))
        try:
            return await self.wait(key, way, rest, bus) + 1
        except DeadlockError as error:
            if not any(error is each for each in self.errors):
                self.errors.append(error)
            raise

    async def wait(self, name: str, way: str, rest: Visit, bus: EventBus[Event]) -> int:
        key = (Call, name)
        if way == "nested":
            await bus.publish(Nested(Visit((name, *rest.path), ("ask", *rest.ways))))
            return 0
        if way == "gather":
            replies = await asyncio.gather(*(bus.ask(rest, key=key, timeout=LONG) for _ in "ab"))
            return max(replies)
        if way == "delivery":
            try:
                await bus.emit(Nested(rest), key=key).wait()
            except DeliveryFailed as error:
                raise error.dead_letters[0].error from None
            return 0
        if way == "actor":
            await bus.publish(Call(name, rest))
            return 0
        return await bus.ask(rest, key=key, timeout=LONG)


class Actor:
    """An actor that goes on with a visit; it has the traveller by a factory."""

    def __init__(self, traveller: Traveller) -> None:
        self.traveller = traveller

    async def call(self, call: Call, bus: EventBus[Event]) -> None:
        await self.traveller.go_on(call.visit, bus)


def terminal_of(traveller: Traveller, **options: Any) -> BusTerminal[Event]:
    registry = MessageRegistry(event_base=Event)

    def the_traveller() -> Traveller:
        return traveller

    registry.factory(the_traveller, lifetime="singleton")
    registry.register(traveller.visit, traveller.nested, traveller.work)
    registry.register(Actor, lifetime="actor")
    return BusTerminal(registry, **options)


async def assert_usable(terminal: BusTerminal[Event], *keys: Any) -> None:
    """Every mailbox still answers."""
    for key in keys:
        assert await terminal.bus.ask(Visit(), key=(Call, key), timeout=LONG) == 0
