"""Leave a program without closing its terminal: no hang, no traceback."""

from runtime import BusTerminal, Event, MessageRegistry, run


class Ping(Event):
    """An event that nobody hears."""


async def main() -> None:
    """Use a terminal and walk away."""
    terminal = BusTerminal(MessageRegistry(event_base=Event))
    terminal.bus.emit(Ping())
    await terminal.bus.emit(Ping()).wait()
    terminal.bus.emit(Ping())


if __name__ == "__main__":
    run(main())
