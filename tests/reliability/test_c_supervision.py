"""C: actors that fail, and what is queued behind them."""

import asyncio
import random
from contextlib import suppress
from typing import ClassVar

import pytest
from reliability.support import FAILURES, Boom, Work, assert_ledger, turns

from runtime import BusTerminal, DeadLetter, Event, MessageRegistry
from runtime.errors import ActorRestarting, DeliveryFailed, TerminalClosed
from runtime.signature import OnFailure
from runtime.testing import SimulatedLoop

STOPPED = r"is stopped, "
UNWELL = r"could not be stopped well"


def registry_of(actor: type, on_failure: OnFailure) -> MessageRegistry[Event]:
    registry = MessageRegistry(event_base=Event)
    registry.register(actor, lifetime="actor", on_failure=on_failure)
    return registry


@pytest.mark.parametrize("leftovers", [0, 10])
async def test_c7_six_failures_in_five_seconds_stop_an_actor(
    leftovers: int, expected_logs: list[str]
) -> None:
    """The sixth does; what is queued then becomes dead letters, and nothing is lost.

    The scenario fails at the start of an actor; the design's rule is the same for a message.
    """
    expected_logs += [FAILURES, STOPPED]
    instances: list[object] = []
    heard: list[DeadLetter] = []

    class Failing:
        def __init__(self) -> None:
            instances.append(self)

        async def work(self, work: Work) -> None:
            await asyncio.sleep(0.5)
            raise Boom

    def hear(letter: DeadLetter) -> None:
        heard.append(letter)

    registry = registry_of(Failing, "restart")
    registry.register(hear)
    terminal = BusTerminal(registry)
    async with terminal:
        for number in range(6 + leftovers):
            terminal.bus.emit(Work(number), key="a")
        await terminal.drain()
        assert len(instances) == 6
        assert asyncio.get_running_loop().time() == pytest.approx(3)
        assert [each.message for each in heard] == [Work(number) for number in range(6 + leftovers)]
        reasons = [each.reason for each in heard]
        assert reasons == ["failed"] * 6 + ["closed"] * leftovers
        async with terminal.scope("a") as scope:
            with pytest.raises(TerminalClosed):
                await scope.bus.publish(Work(-1))
    count = 6 + leftovers
    assert_ledger(terminal.stats(), emitted=count, failed=count, pending=0, dead_letters=count)


async def test_c8_queue_outlasts_a_restart_in_order(expected_logs: list[str]) -> None:
    """100 events behind a failure are handled in order by the new instance.

    The scenario queues asks, too; there are none yet. Publishes that wait fail at once.
    """
    expected_logs += [FAILURES]
    handled: list[tuple[int, int]] = []
    alive: list[int] = []

    class Actor:
        count: ClassVar[int] = 0

        def __init__(self) -> None:
            type(self).count += 1
            self.id = self.count

        async def __aenter__(self) -> None:
            await asyncio.sleep(0.1)
            alive.append(self.id)
            assert alive == [self.id]

        async def __aexit__(self, *error: object) -> None:
            await asyncio.sleep(0.1)
            alive.remove(self.id)

        async def work(self, work: Work) -> None:
            await asyncio.sleep(0)
            if work.number == 0:
                raise Boom
            handled.append((self.id, work.number))

    terminal = BusTerminal(registry_of(Actor, "restart"))
    async with terminal, terminal.scope("a") as scope:
        deliveries = [terminal.bus.emit(Work(0), key="a")]
        publishes: list[asyncio.Task[None]] = []
        for number in range(1, 101):
            deliveries.append(terminal.bus.emit(Work(number), key="a"))
            if number % 10 == 0:
                publishes.append(asyncio.create_task(scope.bus.publish(Work(-number))))
        outcomes = await asyncio.gather(*publishes, return_exceptions=True)
        assert [type(each) for each in outcomes] == [ActorRestarting] * 10
        messages = [each.message for each in outcomes if isinstance(each, ActorRestarting)]
        assert messages == [Work(-number) for number in range(10, 101, 10)]
        with pytest.raises(DeliveryFailed):
            await deliveries[0].wait()
        for delivery in deliveries[1:]:
            await delivery.wait()
        assert handled == [(2, number) for number in range(1, 101)]
    assert_ledger(terminal.stats(), emitted=101, handled=100, failed=1, pending=0)


class Odd(BaseException):
    """What is no Exception, and no interrupt either."""


def cancel_this_task() -> None:
    """Cancel the task that calls."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def suffer(trouble: type[BaseException] | None) -> None:
    """Raise something, or with None have this task cancelled."""
    await asyncio.sleep(0)
    if trouble is not None:
        raise trouble
    cancel_this_task()
    await asyncio.sleep(1)


class Fragile:
    """An actor of which the first instance suffers something, at some point of its life."""

    trouble: ClassVar[type[BaseException] | None]
    where: ClassVar[str]
    log: ClassVar[list[str]]
    count: ClassVar[int]

    def __init__(self) -> None:
        type(self).count += 1
        self.id = self.count

    async def reach(self, point: str) -> None:
        """Note a point, and suffer there what is meant for it."""
        self.log.append(f"{self.id} {point}")
        if self.id == 1 and (point == self.where or (self.where, point) == ("stop", "work")):
            await suffer(Boom if point != self.where else type(self).trouble)

    async def __aenter__(self) -> None:
        await self.reach("start")

    async def __aexit__(self, *error: object) -> None:
        await self.reach("stop")

    async def work(self, work: Work) -> None:
        """Handle a message."""
        await self.reach("work")


TROUBLES: dict[str, type[BaseException] | None] = {
    "Boom": Boom,
    "Odd": Odd,
    "CancelledError": asyncio.CancelledError,
    "cancel_this_task": None,
}
AFTERWARDS: dict[tuple[str, OnFailure], list[str]] = {
    ("start", "resume"): ["1 start", "2 start", "2 work", "2 stop"],
    ("start", "restart"): ["1 start", "2 start", "2 work", "2 stop"],
    ("start", "stop"): ["1 start"],
    ("work", "resume"): ["1 start", "1 work", "1 work", "1 stop"],
    ("work", "restart"): ["1 start", "1 work", "1 stop", "2 start", "2 work", "2 stop"],
    ("work", "stop"): ["1 start", "1 work", "1 stop"],
    ("stop", "restart"): ["1 start", "1 work", "1 stop", "2 start", "2 work", "2 stop"],
    ("stop", "stop"): ["1 start", "1 work", "1 stop"],
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize(("where", "on_failure"), AFTERWARDS, ids=str)
async def test_c9_start_handle_and_stop_fail_in_one_way(
    trouble: str, where: str, on_failure: OnFailure, expected_logs: list[str]
) -> None:
    """Whatever is raised, and where: the message fails, and the rule says what comes next."""
    expected_logs += [FAILURES, STOPPED, UNWELL]
    Fragile.trouble, Fragile.where, Fragile.log, Fragile.count = TROUBLES[trouble], where, [], 0
    terminal = BusTerminal(registry_of(Fragile, on_failure))
    async with terminal:
        if (where, on_failure) == ("work", "resume"):
            # The first message fails, and so would the second: let it be another's turn.
            terminal.bus.emit(Work(), key="a")
            await terminal.drain()
            Fragile.where = "nowhere"
        else:
            terminal.bus.emit(Work(), key="a")
        terminal.bus.emit(Work(), key="a")
        await terminal.drain()
        failed = 2 if on_failure == "stop" else 1
        assert_ledger(terminal.stats(), emitted=2, failed=failed, handled=2 - failed)
    assert Fragile.log == AFTERWARDS[where, on_failure]
    assert_ledger(terminal.stats(), emitted=2, failed=failed, pending=0, scopes=0)
    await turns(3)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["start", "work", "stop"])
def test_c9_interrupt_leaves_the_loop(
    where: str, interrupt: type[BaseException], runtime_seed: int, expected_logs: list[str]
) -> None:
    """It is raised by whoever runs the loop, from a start, a handler and a stop alike."""
    expected_logs += [FAILURES, STOPPED, UNWELL, "never closed", "closed when its loop"]
    Fragile.trouble, Fragile.where, Fragile.log, Fragile.count = interrupt, where, [], 0
    terminal = BusTerminal(registry_of(Fragile, "restart"))
    loop = SimulatedLoop(seed=runtime_seed)

    async def fail() -> None:
        terminal.bus.emit(Work(), key="a")
        await asyncio.sleep(60)

    async def finish() -> None:
        await turns(5)
        await terminal.close()

    try:
        task = loop.create_task(fail())
        with pytest.raises(interrupt):
            loop.run_until_complete(task)
        if where == "work":
            # Nothing is awaited before it goes on.
            assert Fragile.log == ["1 start", "1 work"]
        # The message is told how it ended as soon as anybody runs the loop again.
        for _ in range(3):
            try:
                loop.run_until_complete(asyncio.wait_for(finish(), 60))
                break
            except interrupt:
                continue
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        assert_ledger(terminal.stats(), emitted=1, failed=1, pending=0)
    finally:
        loop.close()


@pytest.mark.parametrize("on_failure", ["resume", "restart", "stop"])
async def test_c11_each_actor_answers_or_is_stopped(
    on_failure: OnFailure, runtime_seed: int, expected_logs: list[str]
) -> None:
    """500 actors that fail at random are each alive or deliberately stopped at the end.

    The scenario has a tree of supervisors; the design has none, so every actor is on its own.
    """
    expected_logs += [FAILURES, STOPPED]
    drawn = random.Random(runtime_seed)
    alive: set[tuple[int, int]] = set()
    pings: list[int] = []

    class Actor:
        count: ClassVar[int] = 0

        def __init__(self) -> None:
            type(self).count += 1
            self.id = self.count
            self.key = -1

        async def __aenter__(self) -> None:
            await turns(drawn.randrange(3))

        async def __aexit__(self, *error: object) -> None:
            await turns(drawn.randrange(3))
            alive.discard((self.key, self.id))

        async def work(self, work: Work) -> None:
            self.key = work.producer
            alive.add((self.key, self.id))
            assert [each for each in alive if each[0] == self.key] == [(self.key, self.id)]
            await turns(drawn.randrange(3))
            if work.number < 0:
                raise Boom
            if work.number == 1:
                pings.append(work.producer)

    terminal = BusTerminal(registry_of(Actor, on_failure))
    loop = asyncio.get_running_loop()
    async with terminal:
        failures = dict.fromkeys(range(500), 0)
        for _ in range(2_000):
            key = drawn.randrange(500)
            fails = drawn.random() < 0.3
            failures[key] += fails
            terminal.bus.emit(Work(-1 if fails else 0, producer=key), key=key)
            if drawn.random() < 0.1:
                await asyncio.sleep(drawn.random())
        await terminal.drain()
        began = loop.time()
        answers: dict[int, bool] = {}
        for key in range(500):
            delivery = terminal.bus.emit(Work(1, producer=key), key=key)
            with suppress(DeliveryFailed):
                await delivery.wait()
            answers[key] = not delivery.dead_letters
            assert {each.reason for each in delivery.dead_letters} <= {"closed"}
        assert loop.time() == began
        assert pings == [key for key, answered in answers.items() if answered]
        if on_failure == "stop":
            assert answers == {key: count == 0 for key, count in failures.items()}
        elif on_failure == "resume":
            assert all(answers.values())
        else:
            assert all(answers[key] for key, count in failures.items() if count <= 5)
        assert_ledger(terminal.stats(), emitted=2_500, pending=0, dropped=0, expired=0)
    assert alive == set()
    assert asyncio.all_tasks() == {asyncio.current_task()}
