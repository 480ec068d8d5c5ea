"""Who hears what: the board, and an actor for each aircraft."""

from examples.flights.events import FlightArrived, FlightCancelled, FlightDeparted, FlightEvent
from runtime import Event, EventBus, MessageContext, MessageRegistry

from .board import Board, minutes_late
from .messages import AircraftLogged, AircraftState, DescribeAircraft

__all__ = ("RESTORED", "make_registry")

RESTORED = "restored"
"""The header of what is told again after a restart."""


def make_registry(board: Board) -> MessageRegistry[Event]:
    """Return the handlers, with this board."""
    registry = MessageRegistry(event_base=Event)
    registry.factory(lambda: board, provides=Board, lifetime="singleton")
    registry.register(show, tell_aircraft)
    registry.register(Aircraft, lifetime="actor")
    return registry


def show(event: FlightEvent, ctx: MessageContext, board: Board) -> None:
    """Show every movement on the board."""
    board.show(event, restored=RESTORED in ctx.headers)


async def tell_aircraft(event: FlightEvent, bus: EventBus[AircraftLogged]) -> None:
    """Queue an entry for the aircraft's log, and wait for room if it has much to do."""
    if event.tailnum is not None:
        await bus.offer(
            AircraftLogged(
                event.tailnum,
                event.row,
                type(event).__name__,
                event.origin,
                event.dest,
                minutes_late(event),
            )
        )


class Aircraft:
    """One aircraft: the mailbox of its tail number hands it one message at a time."""

    def __init__(self) -> None:
        self.departed = self.arrived = self.cancelled = self.minutes_late = self.row = 0
        self.where = ""

    def log(self, entry: AircraftLogged) -> None:
        """Take an entry into the log; what comes late does not move the aircraft back."""
        if entry.kind == FlightCancelled.__name__:
            self.cancelled += 1
            where = self.where or f"at {entry.origin}"
        elif entry.kind == FlightDeparted.__name__:
            self.departed += 1
            self.minutes_late += entry.minutes or 0
            where = f"between {entry.origin} and {entry.dest}"
        else:
            assert entry.kind == FlightArrived.__name__
            self.arrived += 1
            where = f"at {entry.dest}" if entry.minutes is not None else "diverted"
        if entry.row >= self.row:
            self.row, self.where = entry.row, where

    def describe(self, query: DescribeAircraft) -> AircraftState:
        """Answer with what the log says."""
        return AircraftState(
            query.tailnum,
            self.departed,
            self.arrived,
            self.cancelled,
            self.minutes_late,
            self.row,
            self.where,
        )
