"""What a terminal does around its messages, by hand."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import fields

from benchmarks.workload import (
    Run,
)
from runtime import Stats


@asynccontextmanager
async def stats_by_hand() -> AsyncGenerator[Run]:
    """Make the dataclass of the counters, which exist already."""
    counts = dict.fromkeys((each.name for each in fields(Stats)), 10_000)

    async def run(n: int) -> None:
        for _ in range(n):
            Stats(**counts)

    yield run


class Place:
    """What a program that keeps something by name would keep: how many hold it, and its queue."""

    __slots__ = ("holders", "name", "queue")

    def __init__(self, name: object) -> None:
        self.name = name
        self.holders = 0
        self.queue = None


class Block:
    """The block in which a place is held; who leaves it last takes the place out."""

    __slots__ = ("name", "place", "places")

    def __init__(self, places: dict[object, Place], name: object) -> None:
        self.places = places
        self.name = name

    async def __aenter__(self) -> Place:
        place = self.places.get(self.name)
        if place is None:
            place = self.places[self.name] = Place(self.name)
        place.holders += 1
        self.place = place
        return place

    async def __aexit__(self, *error: object) -> None:
        self.place.holders -= 1
        if not self.place.holders:
            del self.places[self.name]


@asynccontextmanager
async def hold_by_hand() -> AsyncGenerator[Run]:
    """Enter and leave blocks that hold an object in a dictionary by name."""
    places: dict[object, Place] = {}

    async def run(n: int) -> None:
        for name in range(n):
            async with Block(places, name):
                pass

    yield run
