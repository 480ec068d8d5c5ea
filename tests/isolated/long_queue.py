"""Drop a mailbox with very many messages: freeing them must not recurse."""

import asyncio
import gc

from runtime import BusTerminal, Event, MailboxPolicy, MessageRegistry

MESSAGES = 1_000_000


class Ping(Event):
    """What the mailbox is full of."""


async def fill() -> None:
    """Queue messages behind one that never ends, and leave."""
    registry = MessageRegistry(event_base=Event)

    @registry.register
    async def stuck(event: Ping) -> None:
        await asyncio.Event().wait()

    terminal = BusTerminal(registry, mailbox=MailboxPolicy(capacity=MESSAGES))
    async with terminal.scope("long") as scope:
        scope.bus.emit(Ping())
        await asyncio.sleep(0)
        for _ in range(MESSAGES):
            scope.bus.emit(Ping())


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(fill())
    loop.close()
    del loop
    gc.collect()
    print("freed")
