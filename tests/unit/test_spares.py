"""Messages and contexts that are used again: none of it shows."""

import asyncio
from contextvars import ContextVar, copy_context

from runtime import BusTerminal, Delivery, Event, MessageContext, MessageRegistry

number_var: ContextVar[int] = ContextVar("number", default=-1)


class Numbered(Event):
    number: int


async def test_variables_of_a_message_end_with_it() -> None:
    """What a handler sets is not there for the next message, nor what its emitter had set."""
    registry = MessageRegistry(event_base=Event)
    seen: list[tuple[int, int]] = []

    @registry.register
    async def handle(event: Numbered) -> None:
        seen.append((event.number, number_var.get()))
        number_var.set(1_000 + event.number)

    async with BusTerminal(registry) as terminal:
        for number in range(600):
            if number % 3 == 0:
                copied = copy_context()
                copied.run(number_var.set, number)
                copied.run(terminal.bus.emit, Numbered(number))
            else:
                terminal.bus.emit(Numbered(number))
            if number % 5 == 0:
                await asyncio.sleep(0)
        await terminal.drain()
    assert seen == [(n, n if n % 3 == 0 else -1) for n in range(600)]


async def test_what_a_handler_keeps_stays_as_it_was() -> None:
    """A context, its variables and a delivery that somebody holds are not used again."""
    registry = MessageRegistry(event_base=Event)
    contexts: list[MessageContext] = []
    callbacks: list[tuple[int, int]] = []
    called_last = asyncio.Event()

    @registry.register
    async def handle(event: Numbered, context: MessageContext) -> None:
        number_var.set(event.number)
        if event.number % 7 == 0:
            contexts.append(context)
            # It keeps the variables until it runs.
            asyncio.get_running_loop().call_later(0, note, event.number)

    def note(number: int) -> None:
        callbacks.append((number, number_var.get()))
        if number == 595:
            called_last.set()

    async with BusTerminal(registry) as terminal:
        kept: list[Delivery] = []
        for number in range(600):
            delivery = terminal.bus.emit(Numbered(number))
            if number % 11 == 0:
                kept.append(delivery)
            if number % 50 == 0:
                await terminal.drain()
        await terminal.drain()
        await called_last.wait()
        assert len({context.id for context in contexts}) == len(contexts) == 86
        assert callbacks == [(n, n) for n in range(0, 600, 7)]
        assert len({id(delivery) for delivery in kept}) == len(kept) == 55
        for delivery in kept:
            await delivery.wait()
