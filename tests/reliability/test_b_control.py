"""B: what an overload does not hold up."""

import asyncio
from typing import ClassVar

import pytest
from reliability.support import Rounds, Work, assert_ledger, make_terminal, proven, turns

from runtime import Event, MailboxPolicy
from runtime.errors import MailboxFull, TerminalClosed

OVERFLOW = r"was not handled \(overflow\)"


class Boxed(Event):
    """A message that goes to the mailbox of its actor."""

    __key__: ClassVar[str] = "box"
    number: int
    box: str = "a"


class Load(Boxed):
    """What overloads an actor."""


class Steer(Boxed):
    """What must reach it all the same."""


class Keeper:
    """An actor that takes its time."""

    handled: ClassVar[list[int]] = []
    steered: ClassVar[list[int]] = []

    async def load(self, load: Load) -> None:
        """Take a second."""
        await asyncio.sleep(1)
        self.handled.append(load.number)

    async def steer(self, steer: Steer) -> None:
        """Take none."""
        self.steered.append(steer.number)


async def test_b4_control_passes_an_overload(expected_logs: list[str]) -> None:
    """A publish to the actor of a full mailbox needs no room, and a close is not held up.

    Control messages keep their place in the queue; and a close goes on with the queue until its
    deadline, where the scenario stops behind the current message.
    """
    expected_logs += [OVERFLOW, "failed to handle Load", "closed with 10 messages undelivered"]
    Keeper.handled, Keeper.steered = [], []
    policy = MailboxPolicy(capacity=10, overflow="drop_newest")
    terminal = make_terminal(Keeper, mailbox=policy)
    await terminal.open()
    loop = asyncio.get_running_loop()

    async def fill_and_steer(first: int) -> list[asyncio.Task[None]]:
        """Emit far more than fits, and publish 10 messages meanwhile."""
        steering: list[asyncio.Task[None]] = []
        for number in range(100):
            terminal.bus.emit(Load(number))
            if number % 10 == 9:
                steer = Steer(first + number // 10)
                steering.append(asyncio.create_task(terminal.bus.publish(steer)))
                await turns(3)
        return steering

    await asyncio.gather(*await fill_and_steer(0))
    assert sorted(Keeper.steered) == list(range(10))
    await terminal.drain()
    accepted = len(Keeper.handled)
    assert_ledger(terminal.stats(), emitted=100, handled=accepted, dropped=100 - accepted)

    steering = await fill_and_steer(10)
    began = loop.time()
    report = await terminal.close(timeout=0.5)
    assert loop.time() - began == 0.5
    answers = await asyncio.gather(*steering, return_exceptions=True)
    assert {type(each) for each in answers} <= {type(None), TerminalClosed}
    assert len(Keeper.steered) == 10 + answers.count(None)
    assert len(report.undelivered) == 10
    assert report.stuck == ()
    stats = terminal.stats()
    assert_ledger(stats, emitted=200, failed=1, rejected_at_close=10, pending=0, scopes=0)
    assert (report.handled, report.failed) == (stats.handled, 1)


async def time_fans(keys: list[str], count: int, pause: int) -> tuple[dict[str, int], int]:
    """Send messages to each of some mailboxes: the round in which each ends, and the refusals.

    `pause` is for how many turns the sender waits after it has sent one to each.
    """
    ended: dict[str, int] = {}
    counts = dict.fromkeys(keys, 0)
    refused = 0

    async def handle(work: Work) -> None:
        key = keys[work.producer]
        await turns(100 if key == "slow" else 1)
        counts[key] += 1
        ended[key] = rounds.count

    async with proven(handle, mailbox=MailboxPolicy(capacity=50)) as terminal:
        rounds = Rounds()
        for number in range(count):
            for producer, key in enumerate(keys):
                try:
                    terminal.bus.emit(Work(number, producer), key=key)
                except MailboxFull:
                    assert key == "slow"
                    refused += 1
            await turns(pause)
        await terminal.drain()
        emitted = count * len(keys) - refused
        assert {each for each in keys if counts[each] != count} <= {"slow"}
        assert_ledger(terminal.stats(), emitted=emitted, handled=emitted)
    return ended, refused


@pytest.mark.parametrize(("count", "pause", "refusals"), [(300, 2, 200), (50, 0, 0)])
async def test_b10_slow_mailbox_holds_up_nobody_else(count: int, pause: int, refusals: int) -> None:
    """Of five mailboxes in a fan-out one is 100 times slower: the others go at their own pace.

    Mailboxes stand for the scenario's sinks. Only the slow one has too much to do.
    """
    others = ["a", "b", "c", "d"]
    alone, _ = await time_fans(others, count, pause)
    together, refused = await time_fans([*others, "slow"], count, pause)
    assert refused >= refusals
    for key in others:
        # A worker more takes a turn or two to start.
        assert together[key] <= alone[key] / 0.95 + 3
    assert together["slow"] > 3 * together["a"]
