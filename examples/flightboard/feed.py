"""Report flights to the service over HTTP, as an airport would."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from itertools import islice

import msgspec

from examples.flights.data import Flight

from .app import Reports

__all__ = ("feed", "post")

PAUSE = 0.2
"""Seconds between two reports."""


async def feed(host: str, port: int, flights: Iterator[Flight], done: int, rate: int) -> None:
    """Post the rows after those that are done, so many each second."""
    size = max(1, round(rate * PAUSE))
    with closing(HTTPConnection(host, port, timeout=30)) as connection:
        skipped = await asyncio.to_thread(lambda: sum(1 for _ in islice(flights, done)))
        first_row = skipped + 1
        while batch := list(islice(flights, size)):
            await asyncio.to_thread(post, connection, Reports(first_row, batch))
            first_row += len(batch)
            await asyncio.sleep(PAUSE)


def post(connection: HTTPConnection, reports: Reports) -> None:
    """Post some rows. Raises `OSError` if they have not been taken."""
    body = msgspec.json.encode(reports)
    connection.request("POST", "/flights", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        msg = f"POST /flights: {response.status} {response.reason}: {answer.decode()}"
        raise OSError(msg)
