"""Coroutines that are cancelled at a chosen suspension, and what they may leave open."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable
from functools import partial
from typing import Any

import pytest
from reliability.support import Other, Work, assert_ledger

from runtime import BusTerminal, Event, MailboxPolicy, MessageRegistry, Record

LIMIT = 500
"""No victim here suspends that often."""


class Victim:
    """Await a coroutine, and cancel the task that does at the suspensions with these numbers.

    It is cancelled at once, or so many turns `later` if it still waits there: what it waits for
    may be ending at the same time.
    """

    def __init__(self, coroutine: Awaitable[Any], *at: int, later: int | None) -> None:
        self.coroutine = coroutine
        self.at = at
        self.later = later
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        """Go on as the coroutine does, and count."""
        inner = self.coroutine.__await__()
        step: Callable[[], Any] = partial(next, inner)
        while True:
            try:
                awaited = step()
            except StopIteration as ended:
                return ended.value
            self.suspensions += 1
            if self.suspensions in self.at:
                task = asyncio.current_task()
                assert task is not None
                if self.later is None:
                    task.cancel()
                else:
                    self.cancel_later(task, self.suspensions, self.later)
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 -- given to the coroutine
                step = partial(inner.throw, error)
            else:
                step = partial(next, inner)

    def cancel_later(self, task: asyncio.Task[Any], suspension: int, turns: int) -> None:
        """Cancel a task after some turns, unless it has gone on."""
        if self.suspensions != suspension:
            return
        if turns == 0:
            task.cancel()
        else:
            asyncio.get_running_loop().call_soon(self.cancel_later, task, suspension, turns - 1)


class Disk:
    """A sink that takes its time, and notes what is done to it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.records: list[Record] = []

    async def open(self) -> None:
        """Open, in two steps."""
        self.calls.append("opening")
        await asyncio.sleep(0)
        self.calls.append("opened")

    async def sink(self, records: Any) -> None:
        """Keep records, in a few steps."""
        for _ in range(30):
            await asyncio.sleep(0)
        self.records += records

    async def close(self) -> None:
        """Close, in two steps, also if it is cancelled in between."""
        self.calls.append("closing")
        try:
            await asyncio.sleep(0)
        finally:
            self.calls.append("closed")


class Stand:
    """A terminal with whatever a cancellation may leave half done."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.entered: list[str] = []
        self.left: list[str] = []
        self.handled: list[int] = []
        self.steps = 1
        self.actors: tuple[object, ...] = ()
        self.persisting: asyncio.Task[None] | None = None
        registry = MessageRegistry(event_base=Event)
        registry.factory(self.shared, lifetime="singleton")
        registry.factory(self.scoped)
        registry.factory(self.kept, lifetime="actor")
        registry.register(self.work, self.other)
        self.terminal = BusTerminal(registry, sink=self.disk, mailbox=MailboxPolicy(capacity=2))

    async def _resource(self, kind: str) -> AsyncIterator[None]:
        for _ in range(self.steps):
            await asyncio.sleep(0)
        self.entered.append(kind)
        try:
            yield
        finally:
            try:
                await asyncio.sleep(0)
            finally:
                self.left.append(kind)

    async def shared(self) -> "AsyncIterator[Shared]":
        """Provide what lives as long as the terminal."""
        async for _ in self._resource("shared"):
            yield Shared()

    async def kept(self) -> "AsyncIterator[Kept]":
        """Provide what lives as long as a mailbox."""
        async for _ in self._resource("kept"):
            yield Kept()

    async def scoped(self) -> "AsyncIterator[Scoped]":
        """Provide what lives as long as a scope."""
        async for _ in self._resource("scoped"):
            yield Scoped()

    async def work(self, work: Work, shared: "Shared", scoped: "Scoped") -> None:
        """Handle a message in a few steps."""
        for _ in range(3):
            await asyncio.sleep(0)
        self.handled.append(work.number)

    async def other(self, other: Other, kept: "Kept") -> None:
        """Handle another message."""

    async def end(self) -> None:
        """Close; then everything is left that was entered, and the ledger adds up."""
        await self.terminal.close()
        assert_ledger(self.terminal.stats(), pending=0, scopes=0)
        assert sorted(self.left) == sorted(self.entered)
        # No place is kept for anybody: a mailbox that is empty is forgotten, unless it has actors.
        assert {*self.terminal._core.mailbox_names()} <= {*self.actors}
        # What was cancelled while it opened was never open.
        assert self.disk.calls in ([], ["opening"], ["opening", "opened", "closing", "closed"])
        assert asyncio.all_tasks() == {asyncio.current_task()}


class Shared:
    """What lives as long as the terminal."""


class Kept:
    """What lives as long as a mailbox."""


class Scoped:
    """What lives as long as a scope."""


async def cancel_everywhere(
    scenario: Callable[[Stand], Coroutine[Any, Any, Any]],
    *,
    again: int = 0,
    laters: Iterable[int | None] = (None, 1),
) -> int:
    """Cancel a scenario at each suspension in turn, until it ends by itself: say how many.

    With `again` it is cancelled a second time that many suspensions later.
    """
    points = 0
    for later in laters:
        for k in range(1, LIMIT):
            stand = Stand()
            at = (k, k + again) if again else (k,)
            victim = Victim(scenario(stand), *at, later=later)
            task = asyncio.ensure_future(await_it(victim))
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
            await stand.end()
            if victim.suspensions < k:
                points += k - 1
                break
        else:
            pytest.fail(f"more than {LIMIT} suspensions")
    return points


async def await_it(victim: Victim) -> Any:
    """Await a victim: a task needs a coroutine."""
    return await victim
