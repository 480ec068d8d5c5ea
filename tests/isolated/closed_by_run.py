"""Leave a `run` without closing the terminal: it is closed, and there is nothing to say."""

from runtime import BusTerminal, Event, MessageRegistry, run

registry = MessageRegistry(event_base=Event)
heard: list[object] = []


class Ping(Event):
    """An event."""


@registry.register
async def hear(event: Ping) -> None:
    """Hear it."""
    heard.append(event)


async def main() -> BusTerminal[Event]:
    """Use a terminal and walk away."""
    terminal = BusTerminal(registry)
    await terminal.bus.emit(Ping()).wait()
    terminal.bus.emit(Ping())
    return terminal


if __name__ == "__main__":
    stats = run(main()).stats()
    assert (len(heard), stats.handled, stats.pending) == (2, 2, 0)
