"""Scenarios that run at two sizes: in every test run, and as stress."""

import asyncio
import gc
from collections.abc import Callable, Hashable
from typing import Any

from reliability.support import Work, assert_ledger, make_terminal, proven, turns

from runtime import MailboxPolicy, Scope

BATCH = 64
"""After so many messages in a row a mailbox lets the others go first."""

HOT = 0
QUIET = range(1, 100)
"""The producers of `overtakings`, which are mailboxes too."""


def always(work: Work) -> bool:
    """Let every message take longer."""
    return True


async def overtakings(hot: int, *, pauses: Callable[[Work], bool] | None) -> list[int]:
    """Return how many messages a hot mailbox ran while each of 99 others waited with one.

    Some are emitted behind all of the hot messages, some in between from outside, and some by the
    hot mailbox's own handlers. `pauses` says which messages' handlers suspend; None stands for a
    handler that is synchronous.
    """
    ran = 0
    emitted: dict[int, int] = {}
    waited: dict[int, int] = {}

    def run(work: Work) -> None:
        nonlocal ran
        if work.producer != HOT:
            return
        ran += 1
        if work.number in from_inside:
            emit_quiet(from_inside[work.number])

    def end(work: Work) -> None:
        if work.producer != HOT:
            waited[work.producer] = ran - emitted[work.producer]

    def handle(work: Work) -> None:
        run(work)
        end(work)

    async def handle_later(work: Work) -> None:
        run(work)
        if pauses is not None and pauses(work):
            await asyncio.sleep(0)
        end(work)

    def emit_quiet(producer: int) -> None:
        emitted[producer] = ran
        terminal.bus.emit(Work(0, producer), key=producer)

    # Numbers that stand at different places of a batch.
    from_inside = {61 * each: each for each in QUIET if each % 3 == 1}
    capacity = MailboxPolicy(capacity=hot)
    async with proven(handle if pauses is None else handle_later, mailbox=capacity) as terminal:
        for number in range(hot):
            terminal.bus.emit(Work(number, HOT), key=HOT)
        for producer in QUIET:
            if producer % 3 == 0:
                emit_quiet(producer)
        for producer in QUIET:
            if producer % 3 == 2:
                await asyncio.sleep(0)
                emit_quiet(producer)
        await terminal.drain()
        assert_ledger(terminal.stats(), emitted=hot + 99, handled=hot + 99)
        assert ran == hot
    return [waited[each] for each in QUIET]


async def overload(count: int, capacity: int) -> tuple[int, float]:
    """Offer messages ten times as fast as they are handled: the greatest depth, and how long."""
    offered = started = depth = 0

    async def handle(work: Work) -> None:
        nonlocal started
        assert work.number == started
        started += 1
        await asyncio.sleep(0.01)

    async with proven(handle, mailbox=MailboxPolicy(capacity=capacity)) as terminal:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(count):
            await terminal.bus.offer(Work(number), key="slow")
            offered += 1
            depth = max(depth, offered - started)
            await asyncio.sleep(0.001)
        seconds = loop.time() - began
        await terminal.drain()
        assert_ledger(terminal.stats(), emitted=count, handled=count, dropped=0)
    return depth, seconds


class Name:
    """A scope's name that counts how often it is looked up."""

    def __init__(self) -> None:
        self.looked_up = 0

    def __hash__(self) -> int:
        """Be looked up."""
        self.looked_up += 1
        return id(self) >> 4

    def __eq__(self, other: object) -> bool:
        """Be nobody else."""
        return self is other


async def enter_all(terminal: Any, names: list[Any], scopes: list[Any]) -> None:
    """Enter the scopes of some names into a list that is long enough."""
    for index, name in enumerate(names):
        scopes[index] = await terminal.scope(name).__aenter__()


async def leave_all(scopes: list[Scope[Any]]) -> None:
    """Leave scopes."""
    for scope in scopes:
        await scope.__aexit__(None, None, None)


async def emit_many(count: int, *, measure: Callable[[], int]) -> tuple[int, int]:
    """Emit many messages in bursts: by how much a measure and the collected objects have grown.

    A tenth of them comes before the measurement. They go to mailboxes that come and go, to one
    that stays, and to the pool, through handlers that suspend now and then.
    """

    async def handle(work: Work) -> None:
        if work.number % BATCH == 0:
            await asyncio.sleep(0)

    terminal = make_terminal(handle)
    async with terminal:

        async def burst(start: int, size: int) -> None:
            for number in range(start, start + size):
                key: Hashable = (number, "hot", None)[number % 3]
                terminal.bus.emit(Work(number), key=key)
            await terminal.drain()

        async def look() -> tuple[int, int]:
            # Workers that have found nothing more to do end in a turn or two.
            await turns(20)
            gc.collect()
            return measure(), len(gc.get_objects())

        before = await look()
        for start in range(0, count + count // 10, 200):
            if start == count // 10:
                before = await look()
            await burst(start, 200)
        after = await look()
        assert terminal._core.mailbox_names() == ()
        handled = count + count // 10
    assert_ledger(terminal.stats(), emitted=handled, handled=handled, pending=0, scopes=0)
    return after[0] - before[0], after[1] - before[1]
