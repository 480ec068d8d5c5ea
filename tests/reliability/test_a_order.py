"""A: the order of messages, and fairness between mailboxes."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from reliability.scenarios import BATCH, always, overtakings
from reliability.support import FAILURES, Boom, Work, assert_ledger, proven

from runtime import BusTerminal, DeadLetter, Event, EventBus, MailboxPolicy

PRODUCERS = range(8)
COUNT = 10_000
PROMISE = Path(__file__).parents[2] / "docs" / "delivery.md"


async def produce(terminal: BusTerminal[Event], producer: int, verb: str) -> None:
    """Send numbered messages to one scope, by its name or from a block of it."""
    async with terminal.scope("hot") as scope:
        bus, key = (scope.bus, None) if producer % 2 else (terminal.bus, "hot")
        for number in range(COUNT):
            if verb == "offer":
                await bus.offer(Work(number, producer), key=key)
            else:
                bus.emit(Work(number, producer), key=key)
            if number % 101 == producer:
                await asyncio.sleep(0)


@pytest.mark.parametrize("verb", ["emit", "offer"])
async def test_a1_every_producer_is_handled_in_its_order(verb: str) -> None:
    """Of 8 producers to one scope each is handled in order, everything once."""
    handled: dict[int, list[int]] = defaultdict(list)
    running = 0

    async def handle(work: Work) -> None:
        nonlocal running
        running += 1
        if work.number % 50 == 0:
            await asyncio.sleep(0)
        handled[work.producer].append(work.number)
        assert running == 1
        running -= 1

    capacity = len(PRODUCERS) * COUNT if verb == "emit" else 500
    async with proven(handle, mailbox=MailboxPolicy(capacity=capacity)) as terminal:
        async with asyncio.TaskGroup() as group:
            for producer in PRODUCERS:
                group.create_task(produce(terminal, producer, verb))
        await terminal.drain()
        assert handled == {each: list(range(COUNT)) for each in PRODUCERS}
        total = len(PRODUCERS) * COUNT
        assert_ledger(terminal.stats(), emitted=total, handled=total)


async def test_a2_failures_leave_the_order_alone(
    runtime_seed: int, expected_logs: list[str]
) -> None:
    """Where 1 % of the messages fail, each producer's order is kept, and each failure told once.

    The scenario restarts the actor; the design's default is that whatever failed stays as it is.
    """
    expected_logs.append(FAILURES)
    drawn = random.Random(runtime_seed)
    messages = [(producer, number) for producer in PRODUCERS for number in range(COUNT)]
    failing = set(drawn.sample(messages, len(messages) // 100))
    started: dict[int, list[int]] = defaultdict(list)
    failed: list[tuple[int, int]] = []

    async def handle(work: Work) -> None:
        started[work.producer].append(work.number)
        if work.number % 50 == 0:
            await asyncio.sleep(0)
        if (work.producer, work.number) in failing:
            raise Boom

    def hear(letter: DeadLetter) -> None:
        assert isinstance(letter.message, Work)
        assert letter.reason == "failed"
        assert isinstance(letter.error, Boom)
        failed.append((letter.message.producer, letter.message.number))

    async with proven(handle, hear, mailbox=MailboxPolicy(capacity=500)) as terminal:
        async with asyncio.TaskGroup() as group:
            for producer in PRODUCERS:
                group.create_task(produce(terminal, producer, "offer"))
        await terminal.drain()
        assert started == {each: list(range(COUNT)) for each in PRODUCERS}
        assert sorted(failed) == sorted(failing)
        total = len(messages)
        assert_ledger(
            terminal.stats(),
            emitted=total,
            handled=total - len(failing),
            failed=len(failing),
            dead_letters=len(failing),
        )


async def test_a3_two_paths_have_no_common_order() -> None:
    """What takes two paths may come in either order, as the docs say; each path keeps its own."""
    sentence = "There is no promise about order across two paths."
    assert sentence in " ".join(PROMISE.read_text(encoding="utf-8").split())
    paths: dict[tuple[int, str], list[int]] = defaultdict(list)
    log: dict[int, list[tuple[str, int]]] = defaultdict(list)

    class Direct(Work):
        """What A sends to C."""

    class Indirect(Work):
        """What A sends to B."""

    class Forwarded(Work):
        """What B sends to C."""

    def receive(work: Direct | Forwarded) -> None:
        kind = type(work).__name__
        paths[work.producer, kind].append(work.number)
        log[work.producer].append((kind, work.number))

    async def forward(work: Indirect, bus: EventBus[Event]) -> None:
        paths[work.producer, "Indirect"].append(work.number)
        await bus.offer(Forwarded(work.number, work.producer), key="c")

    async def produce_both(producer: int) -> None:
        # Odd ones send a message that is delayed for no time at all on the first path.
        delay = 0.0 if producer % 2 else None
        for number in range(100):
            await terminal.bus.offer(Direct(number, producer), key="c", delay=delay)
            await terminal.bus.offer(Indirect(number, producer), key="b")
            await asyncio.sleep(0.001 * (number % 3))

    async with proven(receive, forward, mailbox=MailboxPolicy(capacity=5)) as terminal:
        async with asyncio.TaskGroup() as group:
            for producer in PRODUCERS:
                group.create_task(produce_both(producer))
        await asyncio.sleep(1)
        await terminal.drain()
        assert paths == {
            (producer, kind): list(range(100))
            for producer in PRODUCERS
            for kind in ("Direct", "Indirect", "Forwarded")
        }
        assert {
            events.index(("Direct", number)) < events.index(("Forwarded", number))
            for events in log.values()
            for number in range(100)
        } == {True, False}
        assert_ledger(terminal.stats(), emitted=2_400, handled=2_400)


def seldom(work: Work) -> bool:
    """Say which messages of the hot mailbox take longer."""
    return work.producer == 0 and work.number % 40 == 0


@pytest.mark.parametrize(
    "pauses",
    [
        pytest.param(None, id="synchronous"),
        pytest.param(always, id="suspends"),
        pytest.param(seldom, id="seldom"),
    ],
)
async def test_a8_hot_mailbox_lets_the_others_go_first(
    pauses: Callable[[Work], bool] | None,
) -> None:
    """Nobody waits for more than one batch of a mailbox that has 20,000 messages."""
    waited = await overtakings(20_000, pauses=pauses)
    assert max(waited) <= BATCH
