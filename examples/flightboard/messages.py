"""What is said to an aircraft, which has a mailbox of its own, and what it answers."""

from typing import ClassVar

import msgspec

from runtime import Command, Event

__all__ = ("AircraftLogged", "AircraftState", "DescribeAircraft")


class OfAircraft:
    """What all messages to one aircraft have in common."""

    __slots__ = ()
    __key__: ClassVar[str] = "tailnum"


class AircraftLogged(OfAircraft, Event):
    """An entry in the log of an aircraft; `minutes` is how late it departed or arrived."""

    tailnum: str
    row: int
    kind: str
    origin: str
    dest: str
    minutes: int | None


class AircraftState(msgspec.Struct, frozen=True):
    """What an aircraft knows of itself."""

    tailnum: str
    departed: int
    arrived: int
    cancelled: int
    minutes_late: int
    """The departures' delays that are known, added up."""
    row: int
    """The row that told last of it."""
    where: str


class DescribeAircraft(OfAircraft, Command[AircraftState]):
    """Ask an aircraft how it is, after all that it has been told so far."""

    tailnum: str
