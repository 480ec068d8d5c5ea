"""What a replay finds out, kept up to date by the handlers."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

__all__ = ("CarrierDelays", "Delays", "EventCounts", "Findings", "Fleet")


class EventCounts(Counter[str]):
    """How many events there were of each type."""


@dataclass(slots=True)
class Delays:
    """The departures of one carrier; the minutes are the sum of the delays that are known."""

    departures: int = 0
    known: int = 0
    minutes: int = 0

    @property
    def mean(self) -> float:
        """The mean delay in minutes, below zero if the carrier leaves early."""
        return self.minutes / self.known if self.known else 0.0


class CarrierDelays:
    """The departures of each carrier."""

    def __init__(self) -> None:
        self.by_carrier: defaultdict[str, Delays] = defaultdict(Delays)

    def add(self, carrier: str, minutes: int | None) -> None:
        """Note that a flight has left, and how late."""
        delays = self.by_carrier[carrier]
        delays.departures += 1
        if minutes is not None:
            delays.known += 1
            delays.minutes += minutes


class Fleet:
    """What each aircraft has reported of itself."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.out_of_order = 0

    def report(self, tailnum: str, events: int, *, in_order: bool) -> None:
        """Take an aircraft's own count of its events, and whether the last came in its place."""
        self.events[tailnum] = events
        if not in_order:
            self.out_of_order += 1


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that one replay finds out."""

    counts: EventCounts = field(default_factory=EventCounts)
    delays: CarrierDelays = field(default_factory=CarrierDelays)
    fleet: Fleet = field(default_factory=Fleet)
