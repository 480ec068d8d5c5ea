"""The run: every row becomes events, which are published, and then sunk in batches."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Final

from runtime import BusTerminal, Event, MessageRegistry, Stats
from runtime.sinks import SqliteSink

from . import handlers
from .data import Flight
from .events import FlightArrived, FlightCancelled, FlightDeparted, FlightEvent
from .findings import CarrierDelays, EventCounts, Findings, Fleet

__all__ = ("Outcome", "Seconds", "make_terminal", "replay")

BATCH_ROWS: Final = 500
"""A row emits two messages at most: what a batch emits fits one mailbox, which holds 1,024."""


@dataclass(slots=True)
class Seconds:
    """Where the time went."""

    reading: float = 0.0
    publishing: float = 0.0
    sinking: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay has found out, what the terminal has counted, and how long it took."""

    flights: int
    findings: Findings
    ledger: Stats
    seconds: Seconds


async def replay(
    flights: Iterable[Flight], database: Path, advance: Callable[[int], None]
) -> Outcome:
    """Send the events of all flights through the bus; `advance` hears of each batch of rows."""
    findings = Findings()
    seconds = Seconds()
    replayed = 0
    began = mark = perf_counter()

    def lap() -> float:
        nonlocal mark
        since, mark = mark, perf_counter()
        return mark - since

    rows = enumerate(flights, 1)
    async with make_terminal(findings, database) as terminal:
        bus = terminal.bus
        lap()
        while batch := list(islice(rows, BATCH_ROWS)):
            events = [event for row, flight in batch for event in events_of(row, flight)]
            seconds.reading += lap()
            for event in events:
                await bus.publish(event)
            seconds.publishing += lap()
            await bus.sink(events)
            # Publishing never lets the loop go, so the mailboxes have filled up until here. They
            # work while the store is awaited; the next batch finds them empty.
            await terminal.drain()
            seconds.sinking += lap()
            replayed += len(batch)
            advance(len(batch))
    seconds.total = perf_counter() - began
    return Outcome(replayed, findings, terminal.stats(), seconds)


def make_terminal(
    findings: Findings | None = None, database: Path | None = None
) -> BusTerminal[Event]:
    """Return a terminal with the findings of a run; one that is only checked needs neither."""
    provided = provide(Findings() if findings is None else findings)
    sink = None if database is None else SqliteSink(database)
    return BusTerminal(handlers.registry, provided, sink=sink)


def provide(findings: Findings) -> MessageRegistry[Event]:
    """Return a registry that gives the handlers the findings of this run to work on."""
    registry = MessageRegistry(event_base=Event)
    registry.factory(lambda: findings.counts, provides=EventCounts, lifetime="singleton")
    registry.factory(lambda: findings.delays, provides=CarrierDelays, lifetime="singleton")
    registry.factory(lambda: findings.fleet, provides=Fleet, lifetime="singleton")
    return registry


def events_of(row: int, flight: Flight) -> Iterator[FlightEvent]:
    """Yield what a row of the file tells, in the order in which it happened."""
    facts = (row, flight.carrier, flight.flight, flight.tailnum, flight.origin, flight.dest)
    if flight.dep_time is None:
        yield FlightCancelled(*facts, flight.sched_dep_time)
        return
    yield FlightDeparted(*facts, flight.dep_time, flight.dep_delay)
    if flight.arr_time is not None:
        yield FlightArrived(*facts, flight.arr_time, flight.arr_delay)
