"""The messages: what happens to flights, and what their aircraft hear of it."""

from typing import ClassVar

from runtime import Event


class FlightEvent(Event):
    """Something that happened to a flight; `row` is its place in the file, from 1."""

    row: int
    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str


class FlightCancelled(FlightEvent):
    """A flight that never left; times are hours and minutes, as in 1504."""

    sched_dep_time: int | None


class FlightDeparted(FlightEvent):
    """A flight that left; delays are minutes, below zero if it was early."""

    dep_time: int
    dep_delay: int | None


class FlightArrived(FlightEvent):
    """A flight that reached an airport; one that was diverted has no delay."""

    arr_time: int
    arr_delay: int | None


class AircraftLogged(Event):
    """An entry in the log of one aircraft, which has a mailbox of its own."""

    __key__: ClassVar[str] = "tailnum"

    tailnum: str
    row: int
    kind: str
