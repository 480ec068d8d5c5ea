"""What a full mailbox does, by the type of the message that comes."""

import asyncio
import copy
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import BusTerminal, DeadLetter, Event, MailboxPolicy, MessageRegistry
from runtime.errors import DeliveryFailed, MailboxFull
from runtime.policies import Overflow


class Tick(Event):
    number: int


class Trade(Event):
    number: int


class LargeTrade(Trade):
    pass


class Held:
    """Handlers that wait until they are let go, and what they have handled."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.handled: list[Event] = []

    async def tick(self, tick: Tick) -> None:
        await self.gate.wait()
        self.handled.append(tick)

    async def trade(self, trade: Trade) -> None:
        await self.gate.wait()
        self.handled.append(trade)


async def held_terminal(**options: Any) -> tuple[BusTerminal[Event], Held]:
    """Return a terminal whose mailbox "box" handles its first message until it is let go."""
    held = Held()
    terminal = terminal_with(held.tick, held.trade, **options)
    terminal.bus.emit(Tick(0), key="box")
    await asyncio.sleep(0)
    return terminal, held


@pytest.mark.parametrize(
    ("overflow", "left"), [("drop_oldest", [0, 3, 4]), ("drop_newest", [0, 1, 2])]
)
async def test_a_full_mailbox_drops(
    overflow: Overflow, left: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """The oldest or the newest goes, ends as dropped, and says so to whoever waits for it."""
    policy = MailboxPolicy(capacity=2, overflow=overflow)
    terminal, held = await held_terminal(mailbox=policy)
    deliveries = [terminal.bus.emit(Tick(number), key="box") for number in range(1, 5)]
    dropped = [each for each in deliveries if each.done()]
    assert len(dropped) == 2
    for each in dropped:
        with pytest.raises(DeliveryFailed, match="overflow: MailboxFull") as caught:
            await each.wait()
        assert isinstance(caught.value.__cause__, MailboxFull)
        assert caught.value.__cause__.capacity == 2
    held.gate.set()
    await terminal.drain()
    assert [each.number for each in held.handled if isinstance(each, Tick)] == left
    stats = terminal.stats()
    assert (stats.emitted, stats.handled, stats.dropped, stats.dead_letters) == (5, 3, 2, 2)
    assert caplog.text.count("was not handled (overflow)") == 2
    await terminal.close()


class Dear(Event):
    """A message that takes long to write."""

    def __repr__(self) -> str:
        written.append(self)
        return "Dear()"


written: list[Dear] = []


async def test_a_refusal_is_written_when_it_is_read() -> None:
    """Whoever sends too much is refused at no more than the price of an exception."""
    written.clear()
    async with terminal_with(mailbox=MailboxPolicy(capacity=1)) as terminal:
        terminal.bus.emit(Dear(), key="box")
        with pytest.raises(MailboxFull) as caught:
            terminal.bus.emit(Dear(), key="box")
        assert written == []
        assert str(caught.value) == (
            "the mailbox 'box' holds 1 messages that have not been started, and its capacity is 1: "
            "Dear() was not queued; `await bus.offer(...)` waits for room"
        )
        assert written == [caught.value.message]
        assert "Dear()" in repr(caught.value)
        copied = copy.copy(caught.value)
        assert (str(copied), copied.capacity) == (str(caught.value), 1)


async def test_the_nearest_class_has_its_own_policy() -> None:
    """A mapping bounds the whole queue by the type of what comes; others have the default."""
    policies = {Event: MailboxPolicy(3), Trade: MailboxPolicy(1, "drop_newest")}
    terminal, held = await held_terminal(mailbox=policies)
    terminal.bus.emit(Trade(1), key="box")
    terminal.bus.emit(LargeTrade(2), key="box")
    terminal.bus.emit(Tick(3), key="box")
    terminal.bus.emit(Tick(4), key="box")
    with pytest.raises(MailboxFull, match="capacity is 3"):
        terminal.bus.emit(Tick(5), key="box")
    held.gate.set()
    await terminal.drain()
    assert held.handled == [Tick(0), Trade(1), Tick(3), Tick(4)]
    assert terminal.stats().dropped == 1
    await terminal.close()


async def test_a_type_that_no_policy_names_has_the_default() -> None:
    """A mapping need not name every type."""
    terminal, held = await held_terminal(mailbox={Trade: MailboxPolicy(1)})
    for number in range(1024):
        terminal.bus.emit(Tick(number), key="box")
    with pytest.raises(MailboxFull, match="capacity is 1024"):
        terminal.bus.emit(Tick(5), key="box")
    held.gate.set()
    await terminal.drain()
    await terminal.close()


async def test_the_oldest_of_another_type_makes_room() -> None:
    """Capacity is measured on the whole queue, and so the oldest is the queue's."""
    policies = {Tick: MailboxPolicy(1), Trade: MailboxPolicy(1, "drop_oldest")}
    terminal, held = await held_terminal(mailbox=policies)
    first = terminal.bus.emit(Tick(1), key="box")
    terminal.bus.emit(Trade(2), key="box")
    assert first.done()
    held.gate.set()
    await terminal.drain()
    assert held.handled == [Tick(0), Trade(2)]
    await terminal.close()


async def test_offer_waits_whatever_the_policy() -> None:
    """Who waits for room loses nothing to a policy that drops."""
    terminal, held = await held_terminal(mailbox=MailboxPolicy(1, "drop_newest"))
    terminal.bus.emit(Tick(1), key="box")
    waiting = asyncio.create_task(terminal.bus.offer(Tick(2), key="box"))
    await asyncio.sleep(0)
    assert not waiting.done()
    held.gate.set()
    await (await waiting).wait()
    assert held.handled == [Tick(0), Tick(1), Tick(2)]
    await terminal.close()


async def test_the_root_pool_has_a_policy_too() -> None:
    """What the root bus emits is bounded, and dropped, like anything else."""
    held = Held()
    policy = MailboxPolicy(1, "drop_oldest")
    async with terminal_with(held.tick, concurrency=1, mailbox=policy) as terminal:
        terminal.bus.emit(Tick(0))
        await asyncio.sleep(0)
        for number in range(1, 4):
            terminal.bus.emit(Tick(number))
        held.gate.set()
    assert held.handled == [Tick(0), Tick(3)]


async def test_a_log_that_emits_does_not_overfill_the_mailbox(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is dropped is told of when the mailbox is in order again."""
    terminal, held = await held_terminal(mailbox=MailboxPolicy(1, "drop_oldest"))
    left = 3

    def emit_again(_: object) -> bool:
        nonlocal left
        left -= 1
        if left > 0:
            terminal.bus.emit(Tick(100 + left), key="box")
        return True

    caplog.handler.addFilter(emit_again)
    try:
        terminal.bus.emit(Tick(1), key="box")
        terminal.bus.emit(Tick(2), key="box")
    finally:
        caplog.handler.removeFilter(emit_again)
    assert terminal.stats().pending == 2
    held.gate.set()
    await terminal.drain()
    stats = terminal.stats()
    assert (stats.emitted, stats.handled, stats.dropped) == (5, 2, 3)
    await terminal.close()


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"capacity": 0}, ValueError, "capacity must be at least 1 and less than .*, not 0"),
        ({"capacity": 10**12}, ValueError, "capacity must be .* less than 2.*31, not 10"),
        ({"capacity": 2.5}, TypeError, "capacity is a whole number, not 2.5"),
        ({"capacity": "5"}, TypeError, "capacity is a whole number, not '5'"),
        (
            {"overflow": "explode"},
            ValueError,
            "overflow must be one of .*drop_oldest.*, not 'explode'",
        ),
    ],
)
def test_a_policy_says_what_is_wrong_with_it(
    options: dict[str, Any], error: type[Exception], problem: str
) -> None:
    """A policy that makes no sense is refused where it is written."""
    with pytest.raises(error, match=problem):
        MailboxPolicy(**options)


@pytest.mark.parametrize("name", ["concurrency", "max_hops"])
@pytest.mark.parametrize("value", [2.5, "4", True])
def test_a_terminal_counts_in_whole_numbers(name: str, value: object) -> None:
    """What is no count is refused where the terminal is made."""
    with pytest.raises(TypeError, match=f"{name} is a whole number, not {value!r}"):
        terminal_with(**{name: value})


def test_a_terminal_says_what_is_wrong_with_its_policies() -> None:
    """Something that is no policy is refused where the terminal is made."""
    registry = MessageRegistry(event_base=Event)
    with pytest.raises(TypeError, match=r"mailbox= .*maps message types to .*, not 'Tick' to 10"):
        BusTerminal(registry, mailbox={"Tick": 10})  # type: ignore[dict-item, type-var]  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"mailbox= .* not 1024"):
        BusTerminal(registry, mailbox=1024)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_dead_letter_tells_its_own_handlers() -> None:
    """What was dropped is heard with its reason, and outside of the ledger."""
    letters: list[DeadLetter] = []

    async def hear(letter: DeadLetter) -> None:
        letters.append(letter)

    held = Held()
    policy = MailboxPolicy(1, "drop_newest")
    async with terminal_with(held.tick, hear, mailbox=policy) as terminal:
        for number in range(3):
            terminal.bus.emit(Tick(number), key="box")
        held.gate.set()
        await terminal.drain()
        assert [(each.message, each.handler, each.reason) for each in letters] == [
            (Tick(1), None, "overflow"),
            (Tick(2), None, "overflow"),
        ]
        assert terminal.stats().emitted == 3
