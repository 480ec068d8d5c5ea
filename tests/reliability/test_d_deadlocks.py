"""D1 to D3: waits that close a circle, told as the closing one begins."""

import asyncio
import random
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from reliability.support import Boom, Work, assert_ledger, proven, turns
from reliability.visits import (
    LONG,
    Call,
    Filler,
    Traveller,
    Visit,
    assert_usable,
    terminal_of,
)

from runtime import (
    BusTerminal,
    Event,
    EventBus,
    MailboxPolicy,
    MessageContext,
    MessageRegistry,
    Retry,
)
from runtime.errors import AskTimeout, DeadlockError, DeliveryFailed
from runtime.publishers import Listener


async def test_d1_actor_asks_itself() -> None:
    """The error comes at the call, and the actor stays usable."""
    errors: list[DeadlockError] = []

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        try:
            await bus.ask(Visit())
        except DeadlockError as error:
            errors.append(error)

    async def visit(visit: Visit) -> int:
        return 0

    async with proven(handle, visit) as terminal:
        for number in range(10):
            terminal.bus.emit(Work(number), key=(Call, "a"))
        await terminal.drain()
        assert asyncio.get_running_loop().time() == 0
        assert len(errors) == 10
        assert "asks its own mailbox" in str(errors[0])
        await assert_usable(terminal, "a")
    assert_ledger(terminal.stats(), emitted=11, handled=11)


@pytest.mark.parametrize("length", [1, 2, 3, 7])
async def test_d2_cycles_of_asks(length: int) -> None:
    """The last hop raises, naming every mailbox; those before fail by it; all go on."""
    traveller = Traveller()
    names = "abcdefg"[:length]
    terminal = terminal_of(traveller)
    await terminal.open()
    with pytest.raises(DeadlockError) as caught:
        await terminal.bus.ask(Visit((*names[1:], "a")), key=(Call, "a"), timeout=LONG)
    assert traveller.errors == [caught.value]
    for name in names:
        assert f"'{name}'" in str(caught.value)
    assert str(caught.value).count("asks") == length
    assert "Traveller.visit" in str(caught.value)
    assert "visits.py" in str(caught.value)
    await assert_usable(terminal, *names)
    assert asyncio.get_running_loop().time() == 0
    await terminal.close()
    assert_ledger(terminal.stats(), emitted=2 * length, handled=length, failed=length)


WAYS = ["ask", "gather", "nested", "delivery", "actor"]


@pytest.mark.parametrize(("first", "second"), list(product(WAYS, WAYS)))
async def test_d2_every_kind_of_wait(first: str, second: str, expected_logs: list[str]) -> None:
    """A cycle of two, each hop by another kind of wait: told at once, and all go on."""
    expected_logs += ["failed to handle"]
    traveller = Traveller()
    terminal = terminal_of(traveller)
    await terminal.open()
    with pytest.raises(DeadlockError):
        await terminal.bus.ask(Visit(("b", "a"), (first, second)), key=(Call, "a"), timeout=LONG)
    assert traveller.errors
    await assert_usable(terminal, "a", "b")
    assert asyncio.get_running_loop().time() == 0
    await terminal.close()
    assert_ledger(terminal.stats(), pending=0)


async def test_d2_offers_to_full_mailboxes() -> None:
    """Each of two mailboxes is full and handles a message that offers to the other."""
    errors: list[DeadlockError] = []
    holding = asyncio.Event()

    async def offer(work: Work, bus: EventBus[Event]) -> None:
        await holding.wait()
        try:
            await bus.offer(Filler(), key="ba"[work.number])
        except DeadlockError as error:
            errors.append(error)

    async def hear(filler: Filler) -> None:
        """Have a handler."""

    async with proven(offer, hear, mailbox=MailboxPolicy(2)) as terminal:
        for number, key in enumerate("ab"):
            terminal.bus.emit(Work(number), key=key)
        await turns(5)
        for key in "aabb":
            terminal.bus.emit(Filler(), key=key)
        holding.set()
        await terminal.drain()
    assert len(errors) == 1
    assert "which is full" in str(errors[0])
    assert asyncio.get_running_loop().time() == 0
    assert_ledger(terminal.stats(), emitted=7, handled=7)


async def test_d3_chains_that_cross() -> None:
    """X asks Y while Y asks X, from two roots: exactly one of them fails, at once."""
    met = asyncio.Barrier(2)

    async def visit(visit: Visit, bus: EventBus[Event]) -> int:
        if not visit.path:
            return 0
        await met.wait()
        return await bus.ask(Visit(), key=(Call, visit.path[0]), timeout=LONG) + 1

    async with proven(visit) as terminal:
        outcomes = await asyncio.gather(
            terminal.bus.ask(Visit(("y",)), key=(Call, "x"), timeout=LONG),
            terminal.bus.ask(Visit(("x",)), key=(Call, "y"), timeout=LONG),
            return_exceptions=True,
        )
        assert [type(each) for each in outcomes if each != 1] == [DeadlockError]
        assert outcomes.count(1) == 1
        await assert_usable(terminal, "x", "y")
        assert asyncio.get_running_loop().time() == 0
    assert_ledger(terminal.stats(), emitted=5, handled=4, failed=1)


async def test_d3_long_chains_that_cross() -> None:
    """Two unrelated chains that meet in the middle: the wait that closes the circle raises."""
    traveller = Traveller()
    terminal = terminal_of(traveller)
    await terminal.open()
    outcomes = await asyncio.gather(
        terminal.bus.ask(Visit(("b", "c", "d", "e")), key=(Call, "a"), timeout=LONG),
        terminal.bus.ask(Visit(("d", "c", "b", "a")), key=(Call, "e"), timeout=LONG),
        return_exceptions=True,
    )
    failed = [each for each in outcomes if isinstance(each, DeadlockError)]
    assert len(failed) <= 1
    assert len(failed) + outcomes.count(4) == 2
    await assert_usable(terminal, *"abcde")
    await terminal.close()
    assert_ledger(terminal.stats(), pending=0)


async def test_d3_random_visits(runtime_seed: int) -> None:
    """Many visits on few mailboxes: each ends by a reply or a `DeadlockError`, at once."""
    drawn = random.Random(runtime_seed)
    traveller = Traveller()
    terminal = terminal_of(traveller)
    await terminal.open()
    names = "abcdef"
    visits = [
        Visit(
            tuple(drawn.choices(names, k=drawn.randint(0, 4))),
            tuple(drawn.choices(["ask", "gather", "nested"], k=4)),
        )
        for _ in range(100)
    ]
    outcomes = await asyncio.gather(
        *(terminal.bus.ask(each, key=(Call, drawn.choice(names)), timeout=LONG) for each in visits),
        return_exceptions=True,
    )
    assert {type(each) for each in outcomes} <= {int, DeadlockError}
    await assert_usable(terminal, *names)
    assert asyncio.get_running_loop().time() == 0
    await terminal.close()
    assert_ledger(terminal.stats(), pending=0)


async def test_root_handlers_that_ask_do_not_starve_the_pool() -> None:
    """100 handlers with 10 places ask keyless commands: who waits gives its place to those."""
    running: list[int] = []
    most: list[int] = []
    met = asyncio.Event()

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        if work.number == 99:
            met.set()
        await asyncio.gather(*(bus.ask(Visit(), timeout=LONG) for _ in range(3)))

    async def visit(visit: Visit) -> int:
        running.append(1)
        most.append(len(running))
        await met.wait()
        running.pop()
        return 1

    async with proven(handle, visit, concurrency=10) as terminal:
        for number in range(100):
            terminal.bus.emit(Work(number))
        await terminal.drain()
        assert asyncio.get_running_loop().time() == 0
        assert max(most) <= 10
    assert_ledger(terminal.stats(), emitted=400, handled=400)


@pytest.mark.parametrize("key", [None, "box"])
async def test_handler_waits_for_its_own_emit(key: str | None) -> None:
    """In a named mailbox that is a deadlock, in the pool it is not."""
    outcomes: list[object] = []

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        if work.number:
            return
        try:
            await bus.emit(Work(1)).wait()
            outcomes.append(None)
        except DeadlockError as error:
            outcomes.append(type(error))

    async with proven(handle, concurrency=1) as terminal:
        terminal.bus.emit(Work(0), key=key)
        await terminal.drain()
    assert outcomes == [None if key is None else DeadlockError]
    assert_ledger(terminal.stats(), emitted=2, handled=2)


async def test_wait_that_would_close_a_circle_does_so_again() -> None:
    """Whoever awaits it once more is told once more, and does not wait for ever."""
    told: list[DeadlockError] = []

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        if work.number:
            return
        wait = bus.emit(Work(1)).wait()
        for _ in range(2):
            with pytest.raises(DeadlockError) as caught:
                await wait
            told.append(caught.value)

    async with proven(handle) as terminal:
        await terminal.bus.emit(Work(0), key="box").wait()
    assert len(told) == 2


@pytest.mark.parametrize("key", [None, "box"])
async def test_handler_waits_for_itself(key: str | None) -> None:
    """Nothing could be further from an end."""
    deliveries: list[Any] = []
    outcomes: list[object] = []

    async def handle(work: Work) -> None:
        with pytest.raises(DeadlockError):
            await deliveries[0].wait()
        outcomes.append(work)

    async with proven(handle) as terminal:
        deliveries.append(terminal.bus.emit(Work(0), key=key))
        await terminal.drain()
    assert len(outcomes) == 1


async def test_task_that_outlives_its_handler_is_nobody() -> None:
    """What it waits for is no wait of the handler's, which has ended: no false alarm."""
    tasks: list[asyncio.Task[int]] = []
    gate = asyncio.Event()

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        if work.number == 0:
            tasks.append(asyncio.create_task(bus.ask(Visit(("a",)), key="b", timeout=LONG)))
            await turns(3)

    async def visit(visit: Visit, bus: EventBus[Event]) -> int:
        if not visit.path:
            return 1
        await gate.wait()
        return await bus.ask(Visit(), key=visit.path[0], timeout=LONG)

    async with proven(handle, visit) as terminal:
        await terminal.bus.emit(Work(0), key="a").wait()
        gate.set()
        assert await tasks[0] == 1
    assert_ledger(terminal.stats(), emitted=3, handled=3)


async def test_task_that_outlives_its_handler_keeps_no_place() -> None:
    """The pool has as many places as before, however tasks and handlers end."""
    tasks: list[asyncio.Task[int]] = []
    gate = asyncio.Event()
    running: list[Work] = []
    most: list[int] = []

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        if work.number < 3:
            tasks.append(asyncio.create_task(bus.ask(Visit(), key=work.number, timeout=LONG)))
            await turns(3)
            return
        running.append(work)
        most.append(len(running))
        await turns(10)
        running.remove(work)

    async def visit(visit: Visit) -> int:
        await gate.wait()
        return 1

    async with proven(handle, visit, concurrency=2) as terminal:
        for number in range(3):
            terminal.bus.emit(Work(number))
        await turns(20)
        for number in range(3, 12):
            terminal.bus.emit(Work(number))
        await turns(20)
        gate.set()
        await terminal.drain()
        for task in tasks:
            assert await task == 1
    assert max(most) == 2


@pytest.mark.parametrize("early", [False, True], ids=["begins late", "begins early"])
async def test_handler_that_its_publisher_does_not_wait_for_is_nobody(early: bool) -> None:
    """The worker that has started it handles another message meanwhile, which is not blamed."""
    tasks: list[asyncio.Task[None]] = []
    gate = asyncio.Event()
    replies: list[int] = []

    async def careless(event: Any, context: MessageContext, listeners: Sequence[Listener]) -> None:
        tasks.extend(asyncio.ensure_future(each(event, context)) for each in listeners)
        if early:
            await turns(2)

    async def handle(work: Work) -> None:
        await gate.wait()
        # By a bus that knows nothing of the handler.
        replies.append(await terminal.bus.ask(Visit(), key="b", timeout=LONG))

    async def visit(visit: Visit) -> int:
        if visit.path:
            gate.set()
            await turns(10)
        return 1

    async with proven(handle, visit, publisher=careless) as terminal:
        await terminal.bus.emit(Work(0), key="a").wait()
        assert await terminal.bus.ask(Visit(("busy",)), key="b", timeout=LONG) == 1
        await asyncio.gather(*tasks)
    assert replies == [1]
    assert_ledger(terminal.stats(), emitted=3, handled=3)


async def test_wait_that_has_ended_is_none(expected_logs: list[str]) -> None:
    """An ask that has just timed out, or been cancelled, closes no circle any more."""
    expected_logs += ["nobody waits for the reply to Visit"]
    outcomes: list[object] = []

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        ask = asyncio.create_task(bus.ask(Visit(("a",)), key="b", timeout=1.0))
        await turns(3)
        if work.number:
            ask.cancel()
        try:
            await ask
        except (AskTimeout, asyncio.CancelledError) as error:
            outcomes.append(type(error))
        await turns(5)

    async def visit(visit: Visit) -> int:
        if visit.path:
            # Due at the very moment at which the ask above times out.
            await asyncio.sleep(1.0)
            # By a bus that does not know that the time of whoever asked is over.
            outcomes.append(await terminal.bus.ask(Visit(), key=visit.path[0], timeout=LONG))
        return 1

    async with proven(handle, visit) as terminal:
        for number in range(2):
            await terminal.bus.emit(Work(number), key="a").wait()
            await asyncio.sleep(2.0)
    assert sorted(map(str, outcomes)) == sorted(
        map(str, [AskTimeout, 1, asyncio.CancelledError, 1])
    )


async def test_actor_that_starts_waits_for_itself(expected_logs: list[str]) -> None:
    """Its start asks a mailbox whose handler publishes to it: told, and it may start again."""
    expected_logs += ["failed to handle"]
    errors: list[DeadlockError] = []
    starts: list[int] = []

    class Starting:
        def __init__(self, bus: EventBus[Event]) -> None:
            self.bus = bus

        async def __aenter__(self) -> None:
            starts.append(1)
            if len(starts) == 1:
                await self.bus.ask(Visit(), key="b", timeout=LONG)

        async def __aexit__(self, *_: object) -> None:
            """Stop."""

        async def call(self, call: Call) -> None:
            """Be called."""

    async def visit(visit: Visit, bus: EventBus[Event]) -> int:
        try:
            await bus.publish(Call("a", visit))
        except DeadlockError as error:
            errors.append(error)
            raise
        return 1

    async with proven(Starting, visit) as terminal:
        with pytest.raises(DeliveryFailed):
            await terminal.bus.emit(Call("a", Visit())).wait()
        assert "an actor, which starts or stops" in str(errors[0])
        await terminal.bus.publish(Call("a", Visit()))
    assert len(starts) == 2
    assert_ledger(terminal.stats(), emitted=2, failed=2)


async def test_handler_that_fails_leaves_no_edge(expected_logs: list[str]) -> None:
    """A handler that raises while a task of its own still waits: the next one is not blamed."""
    expected_logs += ["failed to handle"]
    tasks: list[asyncio.Task[int]] = []
    gate = asyncio.Event()

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        if work.number == 0:
            tasks.append(asyncio.create_task(bus.ask(Visit(), key="b", timeout=LONG)))
            await turns(2)
            raise Boom
        gate.set()
        assert await tasks[0] == 1

    async def visit(visit: Visit, bus: EventBus[Event]) -> int:
        await gate.wait()
        with pytest.raises(AskTimeout):
            # The second handler does wait for this, by a task; but that task is nobody's.
            await bus.ask(Visit(), key="a", timeout=1.0)
        return 1

    async with proven(handle, visit) as terminal:
        terminal.bus.emit(Work(0), key="a")
        terminal.bus.emit(Work(1), key="a")
        await terminal.drain()
    assert_ledger(terminal.stats(), emitted=4, handled=2, failed=1, expired=1)


async def test_attempt_that_fails_leaves_no_edge() -> None:
    """A task of the first attempt still waits: the second is not blamed for it."""
    tasks: list[asyncio.Task[int]] = []
    gate = asyncio.Event()

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        if work.number:
            return
        if not tasks:
            tasks.append(asyncio.create_task(bus.ask(Visit(("a",)), key="b", timeout=LONG)))
            await turns(2)
            raise Boom
        gate.set()
        await turns(10)

    async def visit(visit: Visit, bus: EventBus[Event]) -> int:
        if not visit.path:
            return 0
        await gate.wait()
        return await bus.ask(Visit(), key=visit.path[0], timeout=LONG) + 1

    registry = MessageRegistry(event_base=Event)
    registry.register(handle, retry=Retry(attempts=2, on=(Boom,)))
    registry.register(visit)
    async with BusTerminal(registry) as terminal:
        await terminal.bus.emit(Work(0), key="a").wait()
        assert await tasks[0] == 1
    assert_ledger(terminal.stats(), emitted=3, handled=3)


async def test_attempt_that_fails_keeps_no_place() -> None:
    """The pool starts as many as before, though a task of the first attempt waits all along."""
    tasks: list[asyncio.Task[int]] = []
    running: list[Work] = []
    most: list[int] = []

    async def handle(work: Work, bus: EventBus[Event]) -> None:
        if work.number == 0 and not tasks:
            tasks.append(asyncio.create_task(bus.ask(Visit(), key="b", timeout=LONG)))
            await turns(3)
            raise Boom
        running.append(work)
        most.append(len(running))
        await asyncio.sleep(10 if work.number == 0 else 1)
        running.remove(work)

    async def visit(visit: Visit) -> int:
        await asyncio.sleep(100)
        return 1

    registry = MessageRegistry(event_base=Event)
    registry.register(handle, retry=Retry(attempts=2, on=(Boom,), backoff=1, jitter=False))
    registry.register(visit)
    async with BusTerminal(registry, concurrency=1) as terminal:
        for number in range(30):
            terminal.bus.emit(Work(number))
        await terminal.drain()
        assert await tasks[0] == 1
    # For a moment one more than the limit: the one whose pause is over goes on at once.
    assert max(most) == 2


async def test_an_alarm_is_for_those_that_wait() -> None:
    """A mailbox that is asked by many, and asks others, is in no circle."""
    traveller = Traveller()
    terminal = terminal_of(traveller)
    await terminal.open()
    visit = Visit(("hub", "leaf"))
    asks = [terminal.bus.ask(visit, key=number, timeout=LONG) for number in range(50)]
    replies = await asyncio.gather(*asks)
    assert replies == [2] * 50
    assert traveller.errors == []
    await terminal.close()
    assert_ledger(terminal.stats(), emitted=150, handled=150)
