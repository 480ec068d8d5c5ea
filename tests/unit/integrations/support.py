"""What the tests of the integrations share: messages, a session of a graph, and a server."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import uvicorn

from runtime import Event


class Ping(Event):
    number: int = 0


class Pong(Event):
    number: int = 0


class Session:
    """Notes how it was left."""

    def __init__(self) -> None:
        self.end = "open"


async def open_session() -> AsyncGenerator[Session, None]:
    """Open a session, and leave it as the scope ends."""
    session = Session()
    try:
        yield session
    except BaseException as error:
        session.end = type(error).__name__
        raise
    session.end = "well"


@asynccontextmanager
async def serve(app: Any) -> AsyncGenerator[httpx2.AsyncClient]:
    """Serve an application over HTTP on the running loop, and return a client for it."""
    config = uvicorn.Config(app, lifespan="on", log_config=None, reset_contextvars=True)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.startup([listener])
        host, port = listener.getsockname()
        try:
            async with httpx2.AsyncClient(base_url=f"http://{host}:{port}") as client:
                yield client
        finally:
            await server.shutdown([listener])
