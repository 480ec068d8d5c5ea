"""What becomes of a failure: logged once, counted, and heard by whoever asks for dead letters."""

import asyncio

import pytest
from unit.support import terminal_with

from runtime import (
    BusTerminal,
    DeadLetter,
    Event,
    EventBus,
    MessageContext,
    MessageRegistry,
    isolated,
)
from runtime.errors import DeliveryFailed


class Tick(Event):
    number: int = 0


class Reported(Event):
    number: int = 0


async def fail(tick: Tick) -> None:
    raise LookupError(tick.number)


class Undertaker:
    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.contexts: list[MessageContext] = []

    async def hear(self, letter: DeadLetter, context: MessageContext) -> None:
        await asyncio.sleep(0)
        self.letters.append(letter)
        self.contexts.append(context)

    @property
    def numbers(self) -> list[int]:
        return [each.message.number for each in self.letters if isinstance(each.message, Tick)]


async def test_a_failure_is_heard_logged_and_counted_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its handlers run in order, one at a time, outside of the ledger; `drain` waits for them."""
    undertaker = Undertaker()
    async with terminal_with(fail, undertaker.hear) as terminal:
        for number in range(5):
            terminal.bus.emit(Tick(number))
        await terminal.drain()
        stats = terminal.stats()
        assert (stats.emitted, stats.failed, stats.dead_letters) == (5, 5, 5)
    assert undertaker.numbers == [0, 1, 2, 3, 4]
    letter = undertaker.letters[0]
    assert (letter.reason, type(letter.error)) == ("failed", LookupError)
    assert letter.handler is not None
    assert letter.handler.endswith(".fail")
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 5


async def test_a_dead_letter_is_caused_by_the_message() -> None:
    """Its context points to the message that was not handled."""
    undertaker = Undertaker()
    context = MessageContext()
    async with terminal_with(fail, undertaker.hear) as terminal:
        terminal.bus.emit(Tick(), context)
    assert undertaker.contexts[0].causation_id == context.id


async def test_only_its_own_handlers_hear_it() -> None:
    """Whoever hears every object hears no dead letter; a union that names it does."""
    everything: list[object] = []
    some: list[object] = []
    registry = MessageRegistry(event_base=object)

    @registry.register
    def hear_all(each: object) -> None:
        everything.append(each)

    @registry.register
    def hear_some(each: DeadLetter | Reported) -> None:
        some.append(type(each))

    registry.register(fail)
    async with BusTerminal(registry) as terminal:
        terminal.bus.emit(Tick())
        terminal.bus.emit(Reported())
    assert everything == [Tick(), Reported()] or everything == [Reported(), Tick()]
    assert sorted(each.__name__ for each in some if isinstance(each, type)) == [
        "DeadLetter",
        "Reported",
    ]


async def test_the_failure_to_hear_one_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It makes no dead letter, and does not keep the other handlers from hearing."""
    undertaker = Undertaker()

    async def stumble(letter: DeadLetter) -> None:
        raise ArithmeticError

    async with terminal_with(fail, stumble, undertaker.hear) as terminal:
        terminal.bus.emit(Tick(1))
        await terminal.drain()
        assert terminal.stats().dead_letters == 1
    assert undertaker.numbers == [1]
    assert "stumble" in caplog.text
    assert "failed to handle the DeadLetter of" in caplog.text
    assert len(caplog.records) == 2


async def test_its_handlers_may_emit() -> None:
    """What they emit goes to the root pool, as the dead letter's effect."""
    heard: list[int] = []

    async def report(letter: DeadLetter, bus: EventBus[Event]) -> None:
        assert isinstance(letter.message, Tick)
        bus.emit(Reported(letter.message.number))

    async def hear(reported: Reported) -> None:
        heard.append(reported.number)

    async with terminal_with(fail, report, hear) as terminal:
        terminal.bus.emit(Tick(7), key="box")
        await terminal.drain()
        assert heard == [7]


async def test_an_actor_hears_all_of_them() -> None:
    """A class that lives as long as a mailbox has one instance for dead letters."""
    counts: list[int] = []
    registry = MessageRegistry(event_base=Event)
    registry.register(fail)

    @registry.register(lifetime="actor")
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        async def hear(self, letter: DeadLetter) -> None:
            self.count += 1
            counts.append(self.count)

    async with BusTerminal(registry) as terminal:
        for number in range(3):
            terminal.bus.emit(Tick(number), key=number)
    assert counts == [1, 2, 3]


async def test_what_a_close_turns_away_is_heard() -> None:
    """Rejected messages, and handlers that were cut off, are dead letters with reason closed."""
    undertaker = Undertaker()

    async def hang(tick: Tick) -> None:
        await asyncio.Event().wait()

    terminal = terminal_with(hang, undertaker.hear)
    for number in range(3):
        terminal.bus.emit(Tick(number), key="box")
    terminal.bus.emit(Tick(3), key="box", delay=60)
    await asyncio.sleep(0)
    report = await terminal.close(timeout=0)
    assert sorted(undertaker.numbers) == [0, 1, 2, 3]
    assert {each.reason for each in undertaker.letters} == {"closed"}
    cut_off = [each for each in undertaker.letters if each.handler is not None]
    assert [each.message for each in cut_off] == [Tick(0)]
    assert {*report.undelivered} == {Tick(1), Tick(2), Tick(3)}
    stats = terminal.stats()
    assert (stats.failed, stats.rejected_at_close, stats.dead_letters) == (1, 3, 4)


async def test_a_publisher_does_not_run_its_handlers() -> None:
    """Dead letters are heard in sequence, each handler for itself, whatever the publisher."""
    undertaker = Undertaker()
    async with terminal_with(fail, undertaker.hear, publisher=isolated) as terminal:
        with pytest.raises(DeliveryFailed):
            await terminal.bus.emit(Tick(1)).wait()
        await terminal.drain()
    assert undertaker.numbers == [1]


async def test_an_included_handler_hears_the_next() -> None:
    """A registry may bring handlers of dead letters later."""
    undertaker = Undertaker()
    async with terminal_with(fail) as terminal:
        terminal.bus.emit(Tick(1))
        await terminal.drain()
        registry = MessageRegistry(event_base=Event)
        registry.register(undertaker.hear)
        terminal.include(registry)
        terminal.bus.emit(Tick(2))
        await terminal.drain()
    assert undertaker.numbers == [2]
