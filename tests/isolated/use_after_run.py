"""Leave an `asyncio.run` without closing the terminal: one line, no hang, no traceback."""

import asyncio

from runtime import BusTerminal, Event, MessageRegistry


class Ping(Event):
    """An event that nobody hears."""


async def main() -> None:
    """Use a terminal and walk away."""
    terminal = BusTerminal(MessageRegistry(event_base=Event))
    terminal.bus.emit(Ping())
    await terminal.bus.emit(Ping()).wait()
    terminal.bus.emit(Ping())


if __name__ == "__main__":
    asyncio.run(main())
