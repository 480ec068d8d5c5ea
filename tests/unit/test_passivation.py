"""Actors that have had nothing to do for long are stopped, and made anew when they are needed."""

import asyncio
from typing import Any, ClassVar

import pytest

from runtime import BusTerminal, Event, MessageRegistry
from runtime.errors import DeadlockError

SIMULATED = True


class Work(Event):
    number: int = 0


class Actor:
    """An actor whose stop takes a second."""

    log: ClassVar[list[str]] = []
    count: ClassVar[int] = 0
    stop_seconds: ClassVar[float] = 1.0

    def __init__(self) -> None:
        type(self).count += 1
        self.id = self.count

    async def __aenter__(self) -> None:
        self.log.append(f"{self.id} starts")

    async def __aexit__(self, *error: object) -> None:
        await asyncio.sleep(self.stop_seconds)
        self.log.append(f"{self.id} stops at {asyncio.get_running_loop().time():.0f}")

    async def work(self, work: Work) -> None:
        """Take as many seconds as the message says."""
        await asyncio.sleep(work.number)
        self.log.append(f"{self.id} works")


class Plain:
    """An actor with nothing to leave."""

    count: ClassVar[int] = 0

    def __init__(self) -> None:
        type(self).count += 1

    def work(self, work: Work) -> None: ...


@pytest.fixture(autouse=True)
def _fresh_actors() -> None:
    Actor.log, Actor.count, Actor.stop_seconds, Plain.count = [], 0, 1.0, 0


def terminal_of(actor: type, **options: Any) -> BusTerminal[Event]:
    registry = MessageRegistry(event_base=Event)
    registry.register(actor, lifetime="actor")
    options.setdefault("idle_timeout", 10)
    return BusTerminal(registry, **options)


async def test_idle_actor_is_stopped_and_its_mailbox_forgotten() -> None:
    """It counts from the last message, and the next one starts another instance."""
    async with terminal_of(Actor) as terminal:
        terminal.bus.emit(Work(), key="a")
        await asyncio.sleep(9)
        terminal.bus.emit(Work(), key="a")
        await asyncio.sleep(12)
        assert Actor.log == ["1 starts", "1 works", "1 works", "1 stops at 20"]
        assert terminal._core.mailbox_names() == ()
        terminal.bus.emit(Work(), key="a")
        await terminal.drain()
    assert Actor.log[4:] == ["2 starts", "2 works", "2 stops at 22"]


async def test_busy_actor_is_not_idle() -> None:
    """A handler that takes longer than that is left in peace."""
    async with terminal_of(Actor) as terminal:
        await terminal.bus.emit(Work(), key="a").wait()
        await asyncio.sleep(5)
        await terminal.bus.emit(Work(15), key="a").wait()
        assert Actor.log == ["1 starts", "1 works", "1 works"]
        await asyncio.sleep(11.5)
        assert Actor.log[3:] == ["1 stops at 31"]


async def test_those_that_are_idle_longest_are_stopped_first() -> None:
    """One that has worked since stands behind the others."""
    async with terminal_of(Actor) as terminal:
        await terminal.bus.emit(Work(), key="a").wait()
        await asyncio.sleep(1)
        await terminal.bus.emit(Work(), key="b").wait()
        await asyncio.sleep(4)
        await terminal.bus.emit(Work(), key="a").wait()
        await asyncio.sleep(20)
        assert Actor.log[-2:] == ["2 stops at 12", "1 stops at 16"]


async def test_message_during_passivation_waits_for_the_next_instance() -> None:
    """It is handled once, after the old instance has been left; a publish is, too."""
    async with terminal_of(Actor) as terminal:
        await terminal.bus.emit(Work(), key="a").wait()
        await asyncio.sleep(10.5)
        async with terminal.scope("a") as scope:
            terminal.bus.emit(Work(), key="a")
            await scope.bus.publish(Work())
        assert Actor.log[2:] == ["1 stops at 11", "2 starts", "2 works", "2 works"]


async def test_passivation_is_no_work_for_drain_but_for_close() -> None:
    """Draining goes by it; a close waits until the actor has stopped."""
    terminal = terminal_of(Actor)
    await terminal.bus.emit(Work(), key="a").wait()
    await asyncio.sleep(10.5)
    await terminal.drain()
    assert Actor.log == ["1 starts", "1 works"]
    await terminal.close()
    assert Actor.log[2:] == ["1 stops at 11"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_close_cuts_off_a_passivation_that_does_not_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What waits behind it is rejected and reported; the close ends in time."""
    Actor.stop_seconds = 3_600
    terminal = terminal_of(Actor)
    await terminal.bus.emit(Work(), key="a").wait()
    await asyncio.sleep(10.5)
    terminal.bus.emit(Work(7), key="a")
    report = await terminal.close(timeout=5)
    assert report.undelivered == (Work(7),)
    assert asyncio.get_running_loop().time() < 20
    assert any("cut off while they stopped" in each.getMessage() for each in caplog.records)
    stats = terminal.stats()
    assert (stats.emitted, stats.handled, stats.rejected_at_close, stats.pending) == (2, 1, 1, 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_close_does_not_wait_for_a_stop_that_swallows_its_cancellation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What waits behind it is rejected all the same, and the close says so."""

    class Stubborn(Actor):
        async def __aexit__(self, *error: object) -> None:
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                await asyncio.sleep(20)

    terminal = terminal_of(Stubborn)
    await terminal.bus.emit(Work(), key="a").wait()
    await asyncio.sleep(10.5)
    terminal.bus.emit(Work(7), key="a")
    report = await terminal.close(timeout=5)
    assert report.undelivered == (Work(7),)
    assert asyncio.get_running_loop().time() < 20
    assert terminal.stats().pending == 0
    assert any("cut off while they stopped" in each.getMessage() for each in caplog.records)
    await asyncio.sleep(30)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closed_terminal_has_no_timer() -> None:
    """The close leaves the actors that are there, and nothing is due after it."""
    async with terminal_of(Actor) as terminal:
        await terminal.bus.emit(Work(), key="a").wait()
    assert Actor.log[2:] == ["1 stops at 1"]
    loop: Any = asyncio.get_running_loop()
    assert [each for each in loop._scheduled if not each.cancelled()] == []


async def test_idle_mailboxes_share_one_timer_and_have_no_task() -> None:
    """A thousand plain actors are forgotten when their time has come, without a task for any."""
    async with terminal_of(Plain) as terminal:
        for key in range(1_000):
            await terminal.bus.emit(Work(), key=key).wait()
        tasks = len(asyncio.all_tasks())
        loop: Any = asyncio.get_running_loop()
        assert len([each for each in loop._scheduled if not each.cancelled()]) <= 2
        await asyncio.sleep(9)
        assert len(terminal._core.mailbox_names()) == 1_000
        await asyncio.sleep(2)
        assert terminal._core.mailbox_names() == ()
        assert len(asyncio.all_tasks()) == tasks
        await terminal.bus.emit(Work(), key=1).wait()
        assert Plain.count == 1_001


async def test_without_a_timeout_actors_stay() -> None:
    """That is the default."""
    async with terminal_of(Actor, idle_timeout=None) as terminal:
        await terminal.bus.emit(Work(), key="a").wait()
        await asyncio.sleep(100_000)
        assert Actor.log == ["1 starts", "1 works"]


async def test_delayed_message_finds_the_next_instance() -> None:
    """A message that is not due is nothing to do, but its mailbox is kept."""
    async with terminal_of(Actor) as terminal:
        await terminal.bus.emit(Work(), key="a").wait()
        later = terminal.bus.emit(Work(), key="a", delay=60)
        await asyncio.sleep(30)
        assert Actor.log[2:] == ["1 stops at 11"]
        assert terminal._core.mailbox_names() == ("a",)
        await later.wait()
        assert Actor.log[3:] == ["2 starts", "2 works"]


async def test_stop_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The next message is handled all the same."""

    class Stubborn(Actor):
        async def __aexit__(self, *error: object) -> None:
            if self.id == 1:
                raise OSError

    async with terminal_of(Stubborn) as terminal:
        await terminal.bus.emit(Work(), key="a").wait()
        await asyncio.sleep(11)
        assert [each.getMessage() for each in caplog.records] == [
            "the actors of mailbox 'a' could not be left well"
        ]
        await terminal.bus.emit(Work(), key="a").wait()


async def test_actor_does_not_publish_to_itself_while_it_stops() -> None:
    """Its mailbox could not get to that before the stop has ended: DeadlockError."""
    log: list[str] = []

    class Chatty:
        def __init__(self, terminal: BusTerminal[Event]) -> None:
            self.terminal = terminal

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *error: object) -> None:
            async with self.terminal.scope("a") as scope:
                with pytest.raises(DeadlockError, match="publishes .* to its own mailbox 'a'"):
                    await scope.bus.publish(Work(2))
            log.append("told")

        def work(self, work: Work) -> None: ...

    terminal = terminal_of(Chatty)
    await terminal.bus.emit(Work(), key="a").wait()
    await asyncio.sleep(11)
    assert log == ["told"]
    await terminal.close()


@pytest.mark.parametrize("wrong", [-1, float("inf"), "soon"])
def test_idle_timeout_is_a_span_of_time(wrong: Any) -> None:
    """Anything else is refused."""
    with pytest.raises((TypeError, ValueError), match="idle_timeout"):
        BusTerminal(idle_timeout=wrong)
