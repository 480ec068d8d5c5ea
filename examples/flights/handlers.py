"""Who hears what: three handlers, and an actor for each aircraft."""

from runtime import Event, EventBus, MessageRegistry

from .events import AircraftLogged, FlightArrived, FlightDeparted, FlightEvent
from .findings import CarrierDelays, EventCounts, Fleet

__all__ = ("registry",)

# What the handlers ask for comes from a second registry, made anew for each run: see `provide`.
registry = MessageRegistry(event_base=Event)


@registry.register
def count_by_type(event: FlightEvent, counts: EventCounts) -> None:
    """Count every flight event: a handler of a base class hears all that derives from it."""
    counts[type(event).__name__] += 1


@registry.register
def note_delay(departed: FlightDeparted, delays: CarrierDelays) -> None:
    """Keep the delay statistics of the carriers."""
    delays.add(departed.carrier, departed.dep_delay)


@registry.register
def tell_aircraft(event: FlightEvent, bus: EventBus[AircraftLogged]) -> None:
    """Queue an entry for the aircraft's log, if it is known which aircraft it was."""
    if event.tailnum is not None:
        bus.emit(AircraftLogged(event.tailnum, event.row, type(event).__name__))


@registry.register(lifetime="actor")
class Aircraft:
    """One aircraft: the mailbox of its tail number hands it one entry at a time."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.events = 0
        self.latest = (0, False)

    def log(self, entry: AircraftLogged) -> None:
        """Count the entry, and check that it comes after the one before it."""
        # Ordered as the file is: by row, and a departure before the arrival of the same row.
        place = (entry.row, entry.kind == FlightArrived.__name__)
        in_order = place > self.latest
        self.latest = place
        self.events += 1
        self.fleet.report(entry.tailnum, self.events, in_order=in_order)
