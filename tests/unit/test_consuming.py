"""Consuming a source: what is handled, how often, in what order, and what the source is told."""

import asyncio
import datetime as dt
import logging
from itertools import pairwise
from typing import Any

import pytest
from memory_source import MemorySource
from unit.consuming import Boom, Other, Step, consuming
from unit.support import registry_with

from runtime import (
    BusTerminal,
    DeadLetter,
    Event,
    EventBus,
    MessageContext,
    MessageRegistry,
    Record,
    Retry,
)
from runtime.errors import HandlerTimeout, NoActorKey, Undecodable

SIMULATED = True


async def test_events_are_handled_and_then_acknowledged() -> None:
    """Every event reaches its handlers with the context that it was sunk with."""
    seen: list[Any] = []
    context = MessageContext(headers={"tenant": "north"})
    caused = Record.of(Other(3))
    caused = Record(
        caused.id, caused.type, caused.time, None, {"causation_id": context.id}, caused.event
    )

    async def handle(event: Step | Other, ctx: MessageContext) -> None:
        seen.append((event, ctx.id, ctx.time, dict(ctx.headers), ctx.causation_id))
        assert source.states()[0] == "held"

    source = MemorySource(Record.of(Step("a", 1), context), caused)
    async with consuming(BusTerminal(registry_with(handle)), source):
        await source.settled()
    assert seen == [
        (Step("a", 1), context.id, context.time, {"tenant": "north"}, None),
        (Other(3), caused.id, caused.time, {}, context.id),
    ]
    assert source.states() == ["done", "done"]
    assert source.calls[0] == "open"
    assert source.calls[-1] == "close"


async def test_what_a_handler_emits_is_caused_by_the_event() -> None:
    """The chain of causes goes on across the store."""
    contexts: list[MessageContext] = []

    async def first(event: Step, bus: EventBus[Event], ctx: MessageContext) -> None:
        contexts.append(ctx)
        bus.emit(Other())

    async def second(event: Other, ctx: MessageContext) -> None:
        contexts.append(ctx)

    source = MemorySource(Step("a"))
    async with consuming(BusTerminal(registry_with(first, second)), source):
        await source.settled()
    assert contexts[1].causation_id == contexts[0].id == source.entries[0].id


async def test_an_id_that_is_no_uuid_has_a_context_id_all_the_same() -> None:
    """It is the same whenever the event comes."""
    ids: list[str] = []

    async def handle(event: Other, ctx: MessageContext) -> None:
        ids.append(ctx.id)

    made = Record.of(Other())
    foreign = [
        Record(name, made.type, made.time, None, {}, made.event)
        for name in ("order-1", "order-2", made.id.upper(), "0" * 8 + made.id[8:], f"{0:032}")
    ]
    source = MemorySource(*foreign)
    async with consuming(BusTerminal(registry_with(handle)), source):
        await source.settled()
        source.add(foreign[0])
        source.entries[-1].id = "again"
        await source.settled()
    assert len(set(ids)) == 5
    assert ids[5] == ids[0]


async def test_keys_are_in_order_and_beside_each_other() -> None:
    """One event of a key at a time; others do not wait for it."""
    seen: list[tuple[str | None, int]] = []
    running: set[str | None] = set()

    async def handle(event: Step) -> None:
        assert event.order is None or event.order not in running
        running.add(event.order)
        await asyncio.sleep(10 if event.order == "slow" else 0.1)
        running.discard(event.order)
        seen.append((event.order, event.number))

    source = MemorySource(*(Step(order, n) for n in range(5) for order in ("slow", "fast", None)))
    async with consuming(BusTerminal(registry_with(handle)), source):
        await source.settled()
    assert [n for order, n in seen if order == "slow"] == list(range(5))
    assert [n for order, n in seen if order == "fast"] == list(range(5))
    assert [order for order, _ in seen[-4:]] == ["slow"] * 4


async def test_an_actor_is_found_by_its_key() -> None:
    """The event goes to the mailbox that it would be emitted to."""
    registry = MessageRegistry(event_base=Event)
    counts: dict[str | None, int] = {}

    @registry.register(lifetime="actor")
    class Order:
        def __init__(self) -> None:
            self.count = 0

        async def step(self, event: Step) -> None:
            self.count += 1
            counts[event.order] = self.count

    terminal = BusTerminal(registry)
    source = MemorySource(Step("a"), Step("b"), Step("a"))
    async with consuming(terminal, source):
        await source.settled()
        assert set(terminal._core.mailbox_names()) == {(Step, "a"), (Step, "b")}
    assert counts == {"a": 2, "b": 1}


async def test_a_record_with_a_key_of_its_own_goes_there() -> None:
    """An explicit key wins over that of the event."""
    names: list[Any] = []

    async def handle(event: Other) -> None:
        names.extend(terminal._core.mailbox_names())

    made = Record.of(Other())
    source = MemorySource(Record(made.id, made.type, made.time, "k", {}, made.event))
    terminal = BusTerminal(registry_with(handle))
    async with consuming(terminal, source):
        await source.settled()
    assert names == ["k"]


@pytest.mark.parametrize("error", [Boom("no"), BaseExceptionGroup("group", [Boom()])])
async def test_g9_a_failure_is_handed_out_again_with_pauses(error: Exception) -> None:
    """The pauses double, jitter only lengthens, and no dead letter is written meanwhile."""
    times: list[float] = []
    heard: list[DeadLetter] = []
    loop = asyncio.get_running_loop()

    async def handle(event: Step) -> None:
        times.append(loop.time())
        assert not terminal.dead_letters
        if len(times) < 4:
            raise error

    async def hear(letter: DeadLetter) -> None:
        heard.append(letter)

    terminal = BusTerminal(registry_with(handle, hear))
    source = MemorySource(Step("a"))
    async with consuming(terminal, source, backoff=1.0, max_backoff=3.0):
        await source.settled()
    pauses = [after - before for before, after in pairwise(times)]
    assert len(pauses) == 3
    assert all(least <= pause < 2 * least + 0.1 for least, pause in enumerate(pauses, 1))
    assert source.states() == ["done"]
    assert (heard, terminal.stats().dead_letters) == ([], 0)
    assert (terminal.stats().failed, terminal.stats().handled) == (3, 1)


async def test_what_fails_for_ever_becomes_a_dead_letter(caplog: pytest.LogCaptureFixture) -> None:
    """After so many attempts it is buried in the source, told once, and its key goes on."""
    seen: list[Any] = []
    heard: list[DeadLetter] = []

    async def handle(event: Step) -> None:
        seen.append((event.order, event.number))
        if event.number == 1:
            raise Boom("never")  # noqa: EM101

    async def also(event: Step) -> None:
        pass

    async def hear(letter: DeadLetter) -> None:
        heard.append(letter)

    terminal = BusTerminal(registry_with(handle, also, hear))
    source = MemorySource(Step("a", 1), Step("a", 2), Step("b", 1), Step("b", 2))
    async with consuming(terminal, source, max_attempts=3):
        await source.settled()
        await terminal.drain()
    assert source.states() == ["dead", "done", "dead", "done"]
    assert [each for each in seen if each[0] == "a"] == [("a", 1)] * 3 + [("a", 2)]
    assert (source.entries[0].reason, source.entries[0].error) == ("failed", "Boom: never")
    assert sorted(letter.message_id for letter in heard) == sorted(
        source.entries[n].id for n in (0, 2)
    )
    assert [(each.reason, str(each.error)) for each in heard] == [("failed", "never")] * 2
    assert terminal.dead_letters == tuple(heard)
    assert terminal.stats().dead_letters == 2
    assert [
        record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR
    ] == [
        f"{heard[n].handler} ({heard[n].origin.handler.location}) failed to handle Step "  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
        f"{heard[n].message_id}"
        for n in range(2)
    ]
    # It can be handled again, like any other.
    assert heard[0].mailbox in [(Step, "a"), (Step, "b")]


async def test_a_dead_letter_of_a_consumed_event_can_be_redelivered() -> None:
    """It has its handler, its mailbox and its context."""
    mended: list[str] = []

    async def handle(event: Step, ctx: MessageContext) -> None:
        if terminal.dead_letters:
            mended.append(ctx.id)
            return
        raise Boom

    terminal = BusTerminal(registry_with(handle))
    source = MemorySource(Step("a"))
    async with consuming(terminal, source, max_attempts=1):
        await source.settled()
        await terminal.redeliver(terminal.dead_letters[0]).wait()
    assert mended == [source.entries[0].id]


async def test_a_key_waits_for_its_failure() -> None:
    """What is behind an event that is tried again comes after it, also if it was at hand."""
    seen: list[Any] = []
    failures = 0

    async def handle(event: Step) -> None:
        nonlocal failures
        await asyncio.sleep(0.01)
        if event == Step("a", 1) and failures < 3:
            failures += 1
            raise Boom
        seen.append((event.order, event.number))

    source = MemorySource(*(Step("a", number) for number in range(5)), Step("b"))

    async def produce() -> None:
        for number in range(5, 50):
            source.add(Step("a", number))
            await asyncio.sleep(0.05)

    async with consuming(BusTerminal(registry_with(handle)), source, backoff=0.3):
        await produce()
        await source.settled()
    assert [n for order, n in seen if order == "a"] == list(range(50))
    assert seen.index(("b", 0)) < 5


async def test_a_handlers_own_retry_comes_first() -> None:
    """It is tried again alone; only then is the event put back."""
    calls: list[str] = []
    registry = MessageRegistry(event_base=Event)

    @registry.register(retry=Retry(attempts=2, backoff=0.1))
    async def flaky(event: Step) -> None:
        calls.append("flaky")
        if len(calls) < 5:
            raise Boom

    @registry.register
    async def steady(event: Step) -> None:
        calls.append("steady")

    source = MemorySource(Step("a"))
    async with consuming(BusTerminal(registry), source):
        await source.settled()
    assert calls == [*("flaky", "flaky", "steady"), *("flaky", "flaky", "steady")]


async def test_a_timeout_is_the_reason_of_its_letter() -> None:
    """The reason is that of the handler's failure."""
    registry = MessageRegistry(event_base=Event)

    @registry.register(timeout=1.0)
    async def hang(event: Step) -> None:
        await asyncio.Event().wait()

    terminal = BusTerminal(registry)
    source = MemorySource(Step("a"))
    async with consuming(terminal, source, max_attempts=2):
        await source.settled()
    assert (source.entries[0].reason, terminal.dead_letters[0].reason) == ("timeout", "timeout")
    assert isinstance(terminal.dead_letters[0].error, HandlerTimeout)


async def test_g16_what_cannot_be_decoded_is_kept_at_once() -> None:
    """It is a dead letter with its bytes, in the source too; what follows is handled."""
    heard: list[DeadLetter] = []

    async def handle(event: Other) -> None:
        pass

    async def hear(letter: DeadLetter) -> None:
        heard.append(letter)

    terminal = BusTerminal(registry_with(handle, hear))
    source = MemorySource(b"\xff nonsense", Other(1))
    async with consuming(terminal, source):
        await source.settled()
        await terminal.drain()
        (letter,) = heard
        assert (letter.message, letter.handler, letter.reason) == (
            b"\xff nonsense",
            None,
            "undecodable",
        )
        assert isinstance(letter.error, Undecodable)
        with pytest.raises(ValueError, match="is no message; its source keeps it"):
            terminal.redeliver(letter)
    assert source.states() == ["dead", "done"]
    assert (source.entries[0].reason, source.entries[0].raw) == ("undecodable", b"\xff nonsense")
    assert (terminal.stats().failed, terminal.stats().handled) == (1, 1)


@pytest.mark.parametrize("year", [1, 1969, 9999])
async def test_a_time_far_away_is_as_near_as_can_be(year: int) -> None:
    """A context counts nanoseconds in 64 bits; what does not fit stops nothing."""
    times: list[dt.datetime] = []

    async def handle(event: Other, ctx: MessageContext) -> None:
        times.append(ctx.time)

    made = Record.of(Other())
    moment = dt.datetime(year, 6, 1, tzinfo=dt.UTC)
    source = MemorySource(Record(made.id, made.type, moment, None, {}, made.event))
    async with consuming(BusTerminal(registry_with(handle)), source):
        await source.settled()
    assert [each.year for each in times] == [{1: 1677, 9999: 2262}.get(year, year)]


async def test_an_event_that_nobody_handles_is_handled() -> None:
    """A class that is known needs no handler; one that is not known is undecodable."""

    class Base(Event):
        pass

    class Silent(Base):
        pass

    class Heard(Base):
        pass

    async def handle(event: Heard) -> None:
        pass

    registry = MessageRegistry(event_base=Base)
    registry.register(handle)
    source = MemorySource(Silent(), Heard(), Other())
    async with consuming(BusTerminal(registry), source):
        await source.settled()
    assert source.states() == ["done", "done", "dead"]
    assert "no class is called 'Other' here" in source.entries[2].error


async def test_what_is_included_later_is_known() -> None:
    """Handlers and names that come while it runs count from then on."""
    seen: list[Event] = []

    class Base(Event):
        pass

    class Late(Event):
        pass

    async def handle(event: Late) -> None:
        seen.append(event)

    terminal: BusTerminal[Any] = BusTerminal(MessageRegistry(event_base=Base))
    source = MemorySource(Base())
    async with consuming(terminal, source):
        await source.settled()
        terminal.include(registry_with(handle))
        source.add(Late())
        await source.settled()
    assert seen == [Late()]


async def test_an_event_without_a_mailbox_fails() -> None:
    """What `emit` would raise is the failure of the event, and tried again: handlers may come."""
    registry = MessageRegistry(event_base=Event)

    @registry.register(lifetime="actor")
    class Actor:
        async def other(self, event: Other) -> None: ...

    terminal = BusTerminal(registry)
    source = MemorySource(Other())
    async with consuming(terminal, source, max_attempts=2):
        await source.settled()
    (letter,) = terminal.dead_letters
    assert isinstance(letter.error, NoActorKey)
    assert (letter.reason, letter.handler, source.states()) == ("failed", None, ["dead"])


async def test_a_poisonous_event_is_given_up() -> None:
    """One that takes its consumers down again and again is not handed to handlers any more."""
    seen: list[Event] = []

    async def handle(event: Other) -> None:
        seen.append(event)

    terminal = BusTerminal(registry_with(handle))
    source = MemorySource()
    source.add(Other(1), losses=20)
    source.add(Other(2), losses=19)
    async with consuming(terminal, source):
        await source.settled()
    assert source.states() == ["dead", "done"]
    assert seen == [Other(2)]
    assert "was handed out 20 times to consumers that have not been heard of" in (
        source.entries[0].error
    )
    assert terminal.dead_letters[0].reason == "timeout"


async def test_g4_a_duplicate_is_handled_once_inside_the_window() -> None:
    """Inside the window it is acknowledged only; after it, it is handled again."""
    seen: list[float] = []
    loop = asyncio.get_running_loop()

    async def handle(event: Other) -> None:
        seen.append(loop.time())

    record = Record.of(Other())
    source = MemorySource(record)
    terminal = BusTerminal(registry_with(handle))
    async with consuming(terminal, source, window=300.0):
        await source.settled()
        await asyncio.sleep(299)
        source.add(record)
        await source.settled()
        assert len(seen) == 1
        await asyncio.sleep(2)
        source.add(record)
        await source.settled()
    assert len(seen) == 2
    assert source.states() == ["done"] * 3


async def test_without_a_window_each_is_handled() -> None:
    """None turns the memory of ids off."""
    seen: list[Event] = []

    async def handle(event: Other) -> None:
        seen.append(event)

    record = Record.of(Other())
    source = MemorySource(record)
    async with consuming(BusTerminal(registry_with(handle)), source, window=None):
        await source.settled()
        source.add(record)
        await source.settled()
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"window": 59.0}, "window must be at least twice the lease of the source, 30 s, not 59"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"concurrency": 0}, "concurrency"),
        ({"backoff": -1}, "backoff"),
        ({"max_backoff": float("inf")}, "max_backoff"),
    ],
)
async def test_options_are_checked(options: Any, text: str) -> None:
    """A mistake is found at the call."""
    async with BusTerminal(registry_with()) as terminal:
        with pytest.raises(ValueError, match=text):
            await terminal.consume(MemorySource(), **options)
