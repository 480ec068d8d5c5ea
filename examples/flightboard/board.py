"""The board: the last movements, how many there were, and how many there are each second."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable
from time import monotonic
from typing import Final

import msgspec

from examples.flights.events import FlightArrived, FlightDeparted, FlightEvent

__all__ = ("Board", "BoardState", "Movement")

SHOWN: Final = 20
RATE_SECONDS: Final = 5
PAUSE: Final = 0.25
"""Seconds between two looks at the board, for each page that is open."""


class Movement(msgspec.Struct, frozen=True):
    """A line of the board."""

    row: int
    kind: str
    flight: str
    tailnum: str | None
    origin: str
    dest: str
    minutes: int | None

    @classmethod
    def of(cls, event: FlightEvent) -> "Movement":
        """Write an event as a line."""
        return cls(
            event.row,
            type(event).__name__.removeprefix("Flight"),
            f"{event.carrier} {event.flight}",
            event.tailnum,
            event.origin,
            event.dest,
            minutes_late(event),
        )


class BoardState(msgspec.Struct, frozen=True):
    """The board as it is now."""

    totals: dict[str, int]
    aircraft: int
    last_row: int
    per_second: float
    movements: list[Movement]
    """The latest first."""


class Board:
    """Keep the last movements, and count all of them."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.tailnums: set[str] = set()
        self.last_row = 0
        self.closed = False
        self._clock = clock
        self._totals: Counter[str] = Counter()
        self._movements: deque[Movement] = deque(maxlen=SHOWN)
        self._seconds: Counter[int] = Counter()

    def show(self, event: FlightEvent, *, restored: bool) -> None:
        """Add a movement; one that is restored says nothing about the rate."""
        movement = Movement.of(event)
        self._movements.appendleft(movement)
        self._totals[movement.kind] += 1
        self.last_row = max(self.last_row, event.row)
        if event.tailnum is not None:
            self.tailnums.add(event.tailnum)
        if not restored:
            self._seconds[int(self._clock())] += 1

    def state(self) -> BoardState:
        """Return what is to be seen now."""
        return BoardState(
            dict(sorted(self._totals.items())),
            len(self.tailnums),
            self.last_row,
            self._per_second(),
            list(self._movements),
        )

    async def follow(self) -> AsyncGenerator[BoardState]:
        """Yield the board, and again whenever it has changed, until it is closed."""
        last: BoardState | None = None
        while not self.closed:
            state = self.state()
            if state != last:
                yield state
                last = state
            await asyncio.sleep(PAUSE)

    def _per_second(self) -> float:
        # The second that is under way would count too little.
        now = int(self._clock())
        for second in [each for each in self._seconds if each < now - RATE_SECONDS]:
            del self._seconds[second]
        return (self._seconds.total() - self._seconds[now]) / RATE_SECONDS


def minutes_late(event: FlightEvent) -> int | None:
    """Return how late a flight departed or arrived, if it did and that is known."""
    if isinstance(event, FlightDeparted):
        return event.dep_delay
    return event.arr_delay if isinstance(event, FlightArrived) else None
