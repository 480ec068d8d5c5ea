"""The command: serve until told to stop, and meanwhile feed the service with flights."""

import argparse
import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

import uvicorn

from examples.flights.data import DataError, Flight, find_flights, read_flights

from .app import Service, make_service
from .feed import feed

DATABASE = "flightboard.db"


class Options(argparse.Namespace):
    """What the command line says."""

    host: str
    port: int
    rate: int
    data: Path | None
    output: Path


def main() -> int:
    """Serve, and return the exit code."""
    options = read_options()
    try:
        flights = open_flights(options) if options.rate else iter(())
        options.output.mkdir(parents=True, exist_ok=True)
        listener = socket.create_server((options.host, options.port))
    except (DataError, OSError) as error:
        print(f"flightboard: {error}", file=sys.stderr)
        return 1
    server = Server(make_service(options.output / DATABASE), flights, options.rate)
    # An interrupt is how uvicorn passes one on when it has ended well.
    with listener, suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return 0


def read_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.flightboard", description="Serve the flights over HTTP."
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=8013, help="0 for any (%(default)s)")
    parser.add_argument(
        "--rate",
        type=int,
        default=200,
        metavar="N",
        help="report so many flights each second to itself, 0 for none (%(default)s)",
    )
    parser.add_argument("--data", type=Path, metavar="PATH", help="another flights.csv.zip")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        default=Path("build/flightboard"),
        help=f"where {DATABASE} goes, or is (%(default)s)",
    )
    return parser.parse_args(namespace=Options())


def open_flights(options: Options) -> Iterator[Flight]:
    """Return the rows of the file."""
    return read_flights(find_flights() if options.data is None else options.data)


class Server(uvicorn.Server):
    """A server that says where it is, feeds its service, and lets its live pages go."""

    def __init__(self, service: Service, flights: Iterator[Flight], rate: int) -> None:
        # A later request of a connection must not find the scope of an earlier one.
        config = uvicorn.Config(
            service.app, lifespan="on", log_level="warning", reset_contextvars=True
        )
        super().__init__(config)
        self._service = service
        self._flights = flights
        self._rate = rate
        self._feeder: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and the feeder after it."""
        await super().startup(sockets)
        host, port = (sockets or [])[0].getsockname()[:2]
        print(f"http://{host}:{port}/board", flush=True)
        if self._rate:
            done = self._service.board.last_row
            self._feeder = asyncio.create_task(feed(host, port, self._flights, done, self._rate))
            self._feeder.add_done_callback(tell_trouble)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a page that is followed would hold that up for ever."""
        self._service.board.closed = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the feeder, then the rest."""
        if self._feeder is not None:
            self._feeder.cancel()
            await asyncio.wait([self._feeder])
        await super().shutdown(sockets)


def tell_trouble(feeder: asyncio.Task[None]) -> None:
    """Say why the feeder has ended, unless there is nothing left, or it was told to."""
    if not feeder.cancelled() and (error := feeder.exception()) is not None:
        print(f"flightboard: no more flights: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
