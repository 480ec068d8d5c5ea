"""The application: its routes, and the terminal behind them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from lihil import HTML, SSE, Empty, EventStream, HTTPException, Lihil, Route, status

from examples.flights.data import Flight
from examples.flights.replay import events_of
from runtime import BusTerminal, Event
from runtime.integrations.lihil import BusPlugin, PEventBus
from runtime.sinks import SqliteSink

from .board import Board
from .handlers import make_registry
from .history import restore
from .messages import AircraftState, DescribeAircraft

__all__ = ("Reports", "Service", "make_service", "make_terminal")

MOST: Final = 1_000
PAGE: Final = Path(__file__).with_name("board.html")


class Reports(msgspec.Struct, frozen=True):
    """Consecutive rows of the file."""

    first_row: int
    flights: Annotated[list[Flight], msgspec.Meta(max_length=MOST)]


@dataclass(frozen=True, slots=True)
class Service:
    """The application and what it is about."""

    app: Lihil
    board: Board


def make_service(database: Path) -> Service:
    """Return an application that keeps its events in a database, and begins with those there."""
    board = Board()
    terminal = make_terminal(board, database)
    plugin = BusPlugin(terminal)

    @asynccontextmanager
    async def lifespan(app: Lihil) -> AsyncGenerator[None]:
        async with plugin.lifespan(app):
            await restore(database, terminal.bus)
            yield

    routes = (flights_route(plugin), aircraft_route(plugin, board), *board_routes(board))
    return Service(Lihil(*routes, lifespan=lifespan), board)


def make_terminal(board: Board | None = None, database: Path | None = None) -> BusTerminal[Event]:
    """Return a terminal that shows its events on a board; one that is only checked needs none."""
    registry = make_registry(Board() if board is None else board)
    sink = None if database is None else SqliteSink(database)
    return BusTerminal(registry, sink=sink, name="flightboard")


def flights_route(plugin: BusPlugin) -> Route:
    """Take flights: ``POST /flights``."""
    route = Route("/flights", plugins=[plugin])

    @route.post
    async def report(reports: Reports, bus: PEventBus) -> Annotated[Empty, status.OK]:
        """Persist what the rows tell, then tell it; what has been answered is not lost."""
        rows = enumerate(reports.flights, reports.first_row)
        events = [event for row, flight in rows for event in events_of(row, flight)]
        if events:
            await bus.sink(events)
        for event in events:
            await bus.publish(event)

    return route


def aircraft_route(plugin: BusPlugin, board: Board) -> Route:
    """Ask an aircraft: ``GET /aircraft/{tailnum}``."""
    route = Route("/aircraft/{tailnum}", plugins=[plugin])

    @route.get
    async def describe(tailnum: str, bus: PEventBus) -> AircraftState:
        # An actor is made by the first message to it, so the unknown are not asked.
        if tailnum not in board.tailnums:
            msg = f"no flight of {tailnum} has been reported"
            raise HTTPException(msg, status=404)
        return await bus.ask(DescribeAircraft(tailnum))

    return route


def board_routes(board: Board) -> tuple[Route, Route]:
    """Show the board: ``GET /board``, and the events that its page follows."""
    page, events = Route("/board"), Route("/board/events")

    @page.get
    async def show() -> HTML:
        return PAGE.read_text(encoding="utf-8")

    @events.get
    async def follow() -> EventStream:
        async for state in board.follow():
            yield SSE(data=state)

    return page, events
