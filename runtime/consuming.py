"""Consume a source: hand its events to handlers, and tell it what has become of them."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from runtime._bus import EventBus
from runtime.bus import Host
from runtime.errors import DeliveryFailed, SourceError, TerminalClosed, Undecodable
from runtime.failures import report, write
from runtime.incoming import context_of, mailbox_key, unknown_context
from runtime.messages import DeadLetter, DeadLetterReason, Origin
from runtime.names import TypeNames
from runtime.policies import Retry, check_count, check_seconds
from runtime.sinks.base import Record
from runtime.sources.base import Received, Source
from runtime.wire import CloudEvents

__all__ = ("Consumer", "Consumption")

MOST_LOSSES: Final = 20
"""How often an event may be lost with its consumer: as RabbitMQ limits deliveries by default."""
PAUSE: Final = Retry(backoff=0.1, max_backoff=5.0)
"""Pauses of a consumer whose source fails."""


@dataclass(frozen=True, slots=True)
class Consumption:
    """How a source is consumed; see `BusTerminal.consume`."""

    source: Source[Any]
    max_attempts: int
    backoff: float
    max_backoff: float
    concurrency: int
    window: float | None
    wire: CloudEvents | None

    def __post_init__(self) -> None:
        check_count("max_attempts", self.max_attempts, 1)
        check_seconds("backoff", self.backoff)
        check_seconds("max_backoff", self.max_backoff)
        check_count("concurrency", self.concurrency, 1)
        if self.window is not None:
            check_seconds("window", self.window)
            if self.window < 2 * self.source.lease:
                msg = (
                    f"window must be at least twice the lease of the source, "
                    f"{self.source.lease:g} s, not {self.window:g}: what is handed out again after "
                    f"that would not be known any more"
                )
                raise ValueError(msg)

    @property
    def pauses(self) -> Retry:
        """The pauses between attempts."""
        return Retry(attempts=self.max_attempts, backoff=self.backoff, max_backoff=self.max_backoff)


class Work:
    """One event in the hands of a consumer; `received` is how it was handed out last."""

    __slots__ = ("received",)

    def __init__(self, received: Received) -> None:
        self.received: Received = received


class Consumer:
    """One run of a terminal over a source.

    Events of one key stand in a line of this consumer's: the next is given to its mailbox when the
    one before has been handled, because that may have to be handled again.
    """

    def __init__(
        self,
        host: Host,
        bus: EventBus[Any],
        names: Callable[[], TypeNames],
        options: Consumption,
    ) -> None:
        self._host = host
        self._bus = bus
        self._names = names
        self._options = options
        self._source = options.source
        self._pauses = options.pauses
        self._wire = CloudEvents() if options.wire is None else options.wire
        self._loop = asyncio.get_running_loop()
        self._random = random.Random(getattr(self._loop, "seed", None))  # noqa: S311
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._receiving: asyncio.Task[Sequence[Received]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_hand: dict[str, Work] = {}
        self._lines: dict[str, deque[Work]] = {}
        # Keys whose next events may be on their way to here, ahead of one that waits for its next
        # attempt; and those of them that the next receive does not bring any more.
        self._parked: set[str] = set()
        self._put_back: set[str] = set()
        self._to_acknowledge: list[Work] = []
        self._is_acknowledging = False
        self._handled: dict[str, float] = {}
        self._bug: BaseException | None = None

    def stop(self) -> None:
        """Take nothing more; what has not been started is put back."""
        self._stopping.set()
        self._changed.set()
        if self._receiving is not None:
            self._receiving.cancel()

    async def run(self) -> None:
        """Consume until stopped, and then until what is in hand has been settled."""
        opener = getattr(self._source, "open", None)
        if opener is not None:
            await opener()
        try:
            renewing = asyncio.create_task(self._renew())
            try:
                await self._take()
                while self._tasks:
                    await asyncio.wait(tuple(self._tasks))
                if self._bug is not None:
                    raise self._bug
            finally:
                await cancel_all((renewing, *self._tasks))
        finally:
            await self._close()

    async def _close(self) -> None:
        closer = getattr(self._source, "close", None)
        if closer is not None:
            try:
                await closer()
            except SourceError as error:
                report("what was not handled is not put back before its lease ends: %s", error)

    # Taking

    async def _take(self) -> None:
        failures = 0
        while True:
            while len(self._in_hand) >= self._options.concurrency:
                self._changed.clear()
                await self._changed.wait()
            if self._stopping.is_set():
                return
            self._parked -= self._put_back
            self._put_back.clear()
            room = self._options.concurrency - len(self._in_hand)
            self._receiving = asyncio.create_task(receive(self._source, room))
            await asyncio.wait([self._receiving])
            if self._receiving.cancelled():
                return
            try:
                batch = self._receiving.result()
            except SourceError as error:
                failures += 1
                if failures == 1:
                    report("nothing can be received; trying again: %s", error)
                await self._pause(failures)
                continue
            failures = 0
            for each in batch:
                self._accept(each)

    async def _pause(self, failures: int) -> None:
        """Pause after some failures in a row, unless stopped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE.pause_after(failures, self._random)):
                await self._stopping.wait()

    def _accept(self, received: Received) -> None:
        """Put an event where it belongs."""
        known = self._in_hand.get(received.id)
        if known is not None:
            # Handed out again while it is being handled: that goes for both.
            known.received = received
            return
        work = self._in_hand[received.id] = Work(received)
        if self._was_handled(received.id):
            self._acknowledge(work)
        elif received.key is None:
            self._start(self._handle(work))
        elif received.key in self._lines:
            self._lines[received.key].append(work)
        else:
            self._lines[received.key] = deque([work])
            self._start(self._follow(received.key))

    def _was_handled(self, name: str) -> bool:
        if self._options.window is None:
            return False
        oldest = self._loop.time() - self._options.window
        while self._handled:
            first = next(iter(self._handled))
            if self._handled[first] > oldest:
                break
            del self._handled[first]
        return name in self._handled

    def _start(self, step: Coroutine[Any, Any, object]) -> None:
        async def run() -> None:
            await step

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Not what a handler has raised, but a source or a wire form that is wrong.
            self._bug = error
            self.stop()

    def _let_go(self, work: Work) -> None:
        del self._in_hand[work.received.id]
        self._changed.set()

    # Handling

    async def _follow(self, key: str) -> None:
        """Handle the events of one key, one after the other."""
        line = self._lines[key]
        try:
            while line:
                if key in self._parked:
                    await self._return(line.popleft())
                elif not await self._handle(line.popleft()):
                    self._put_back.add(key)
        finally:
            del self._lines[key]

    async def _handle(self, work: Work) -> bool:
        """Handle an event; say whether the next one of its key may be handled now."""
        received = work.received
        if self._stopping.is_set():
            await self._return(work)
            return True
        if received.losses >= MOST_LOSSES:
            await self._give_up(work, lost(received))
            return True
        try:
            record = self._wire.decode(received.raw, self._names().find)
        except Undecodable as error:
            await self._give_up(work, error)
            return True
        try:
            letters = await self._attempt(record)
        except TerminalClosed:
            await self._return(work)
            return True
        if not letters:
            if self._options.window is not None:
                self._handled[received.id] = self._loop.time()
            self._acknowledge(work)
            return True
        if self._stopping.is_set() and all(each.reason == "closed" for each in letters):
            # Cut off: that says nothing about the event.
            await self._return(work)
            return True
        attempts = received.failures + 1
        if attempts < self._options.max_attempts:
            if received.key is not None:
                self._parked.add(received.key)
            delay = self._pauses.pause_after(attempts, self._random)
            await self._settle(
                lambda: self._source.put_back(work.received, delay=delay, failed=True)
            )
            self._let_go(work)
            return False
        first = letters[0]
        await self._bury(work, first.reason, first.error)
        for each in letters:
            if each.origin is not None:
                self._host.failures.record(each, each.origin)
        return True

    async def _attempt(self, record: Record) -> tuple[DeadLetter, ...]:
        """Let the handlers of an event run, and return the failures.

        Raises `TerminalClosed` if they have not been started.
        """
        context = context_of(record)
        provisional = self._host.failures.provisional
        provisional.add(context)
        try:
            delivery = await self._bus.offer(record.event, context, key=mailbox_key(record))
            await delivery.wait()
        except DeliveryFailed as error:
            return error.dead_letters
        except TerminalClosed:
            raise
        except Exception as error:  # noqa: BLE001 -- returned
            # It has no mailbox, for one.
            core = self._host.core
            origin = Origin(core, core.pool, None, context)
            return (write(record.event, None, "failed", error, origin, 0),)
        finally:
            provisional.discard(context)
        return ()

    # Settling

    def _acknowledge(self, work: Work) -> None:
        """Acknowledge an event, together with others that are handled meanwhile."""
        self._to_acknowledge.append(work)
        if not self._is_acknowledging:
            self._is_acknowledging = True
            self._start(self._acknowledge_all())

    async def _acknowledge_all(self) -> None:
        try:
            while self._to_acknowledge:
                batch, self._to_acknowledge = self._to_acknowledge, []
                await self._settle(partial(self._note_handled, batch))
                for each in batch:
                    self._let_go(each)
        finally:
            self._is_acknowledging = False

    async def _note_handled(self, batch: Sequence[Work]) -> None:
        await self._source.acknowledge([each.received for each in batch])

    async def _return(self, work: Work) -> None:
        """Put an event back that was not started."""
        await self._settle(lambda: self._source.put_back(work.received, delay=0, failed=False))
        self._let_go(work)

    async def _give_up(self, work: Work, error: Exception) -> None:
        """Bury an event that no handler is given."""
        reason: DeadLetterReason = "undecodable" if isinstance(error, Undecodable) else "timeout"
        received = work.received
        await self._bury(work, reason, error)
        context = unknown_context(received.id)
        self._host.core.accept_failed(received.raw, context, reason, error)

    async def _bury(self, work: Work, reason: str, error: BaseException) -> None:
        text = f"{type(error).__name__}: {error}"
        await self._settle(lambda: self._source.bury(work.received, reason, text))
        self._let_go(work)

    async def _settle(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Tell the source something, again and again until it has confirmed."""
        failures = 0
        while True:
            try:
                await step()
            except SourceError as error:
                failures += 1
                if failures == 1:
                    report("what became of an event is not noted yet; trying again: %s", error)
                await asyncio.sleep(PAUSE.pause_after(failures, self._random))
            else:
                return

    async def _renew(self) -> None:
        """Extend the leases of what is in hand, three times in each."""
        is_well = True
        while True:
            await asyncio.sleep(self._source.lease / (3 if is_well else 9))
            held = [each.received for each in self._in_hand.values()]
            if held:
                try:
                    await self._source.extend(held)
                except SourceError as error:
                    if is_well:
                        report("leases are not extended; trying again: %s", error)
                    is_well = False
                else:
                    is_well = True


async def receive(source: Source[Any], limit: int) -> Sequence[Received]:
    """Receive, as a coroutine that a task can be made of."""
    return await source.receive(limit)


async def cancel_all(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for each in tasks:
        each.cancel()
    await asyncio.wait(tasks)


def lost(received: Received) -> TimeoutError:
    """Return the error for an event that takes its consumers down with it."""
    return TimeoutError(
        f"{received.id} was handed out {received.losses} times to consumers that have not been "
        f"heard of again"
    )
