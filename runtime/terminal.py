"""The terminal: registries frozen together, bound to one loop, opened and closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Hashable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from runtime._bus import EventBus, Scope, root_bus
from runtime.building import Resolver
from runtime.bus import Host
from runtime.errors import DeadlockError, TerminalClosed
from runtime.explain import Explanation, explain
from runtime.leftovers import Watch
from runtime.lifetimes import Surroundings, Wired, Wiring
from runtime.plan import Plans
from runtime.policies import MailboxPolicy
from runtime.publishers import Publisher, sequential
from runtime.registry import MessageRegistry
from runtime.sinks.base import Sink
from runtime.workers import worker_of

__all__ = ("BusTerminal", "ShutdownReport", "Stats")

E = TypeVar("E")

UNWIND_SECONDS: Final = 1.0
"""How long a close waits for cancelled handlers to unwind."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What a terminal has done so far.

    `emitted == handled + failed + dropped + expired + rejected_at_close + pending`, at any moment
    in which no code of the runtime is running. `published` and `sent` count inline runs, `sunk`
    events that the store has confirmed, `scopes` the blocks that are open.
    """

    emitted: int
    handled: int
    failed: int
    dropped: int
    expired: int
    rejected_at_close: int
    pending: int
    published: int
    sent: int
    sunk: int
    dead_letters: int
    scopes: int


@dataclass(frozen=True, slots=True)
class ShutdownReport:
    """How a terminal ended: counts since it was opened, and what was left behind.

    `undelivered` are the messages that no handler started; `stuck` names the handlers that went
    on in spite of being cancelled.
    """

    handled: int
    failed: int
    undelivered: tuple[object, ...]
    stuck: tuple[str, ...]
    seconds: float


@dataclass(eq=False, slots=True)
class Override:
    """A block that is open, in which some types are served by something else."""

    mapping: Mapping[Any, object]
    plans: Plans


class BusTerminal(Generic[E]):
    """Registries frozen together with the mailboxes, workers and sink that serve them.

    It freezes when it is opened or at its first message, and belongs to the loop of that moment.
    `concurrency` is how many messages of the root bus may be in flight at once.

    Raises, when it freezes, `ProviderError` or `LifetimeError` listing everything that is wrong
    with the wiring.
    """

    def __init__(
        self,
        *registries: MessageRegistry[E],
        sink: Sink | None = None,
        publisher: Publisher = sequential,
        mailbox: MailboxPolicy = MailboxPolicy(),  # noqa: B008 -- immutable
        concurrency: int = 100,
        resolver: Resolver | None = None,
        name: str = "runtime",
    ) -> None:
        if concurrency < 1:
            msg = f"concurrency must be at least 1, not {concurrency}"
            raise ValueError(msg)
        self.name = name
        self._registries = registries
        self._publisher = None if publisher is sequential else publisher
        self._resolver = resolver
        self._plans: Plans | None = None
        self._overrides: list[Override] = []
        self._host = Host(
            name,
            capacity=mailbox.capacity,
            concurrency=concurrency,
            sink=sink,
            begin=self._begin,
            find_provider=self._find_provider,
        )
        self._core = self._host.core
        self._bus: EventBus[E] = root_bus(self._core)
        self._shutdown: asyncio.Task[ShutdownReport] | None = None
        self._watch: Watch | None = None

    @property
    def bus(self) -> EventBus[E]:
        """The root bus: each publish opens a scope of its own, emits go to a pool."""
        return self._bus

    def scope(self, name: Hashable | None = None) -> Scope[E]:
        """Return a scope to enter with ``async with``.

        With a `name` it shares the mailbox, and the actors, of that name.
        """
        return Scope(self._core, name)

    async def open(self) -> None:
        """Freeze, bind to the running loop, and open the sink.

        Raises what is wrong with the wiring, `SinkError`, and `TerminalClosed` if it has been
        closed: a terminal is opened once.
        """
        if self._shutdown is not None:
            raise TerminalClosed.of(self.name)
        # What is wrong with the wiring is said before the sink is touched.
        self._current()
        await self._host.open_sink()
        if self._core.loop is None:
            self._begin()

    def _begin(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as error:
            msg = (
                f"terminal {self.name!r} opens on the running event loop, and there is none: use "
                f"it inside `async def main()`, started with `runtime.run(main())`"
            )
            raise RuntimeError(msg) from error
        self._use_current()
        self._core.open(loop)
        self._watch = Watch(self, self._core)

    def _freeze(self) -> Plans:
        """Return the plans, made of the registries if they are not there yet."""
        if self._plans is None:
            around = Surroundings(
                self._core, {BusTerminal: self}, self._resolver, self._host.in_thread
            )
            wiring = Wiring(around, {})
            self._plans = Plans(wiring, self._publisher).including(self._registries)
        return self._plans

    def _find_provider(self, wanted: object) -> Wired:
        return self._current().wiring.resolve(wanted)

    def _use_current(self) -> None:
        """Dispatch by the current plans from now on."""
        self._core.freeze(self._current().table())

    def include(self, registry: MessageRegistry[E]) -> None:
        """Add the handlers, guards and factories of a registry, each handler once.

        On a terminal that is frozen the dispatch table is replaced as a whole: what is running
        goes on with the old one.

        Raises what is wrong with the wiring, and `DuplicateHandler`; then nothing has changed.
        """
        if self._plans is None:
            self._registries = (*self._registries, registry)
            return
        self._layer(self._plans.including([registry]))

    @contextmanager
    def override(self, mapping: Mapping[Any, object]) -> Generator[None]:
        """Serve some types by other objects inside a ``with`` block, for tests.

        Values of `mapping` are objects, or factories wrapped in `use`. Singletons that depend on
        an overridden type are built anew inside; messages that are emitted inside keep the
        override. What was before is back after the block, also if it raises.

        Raises what is wrong with the wiring.
        """
        live = Override(mapping, self._current().overriding(mapping))
        self._overrides.append(live)
        self._use_current()
        try:
            yield
        finally:
            innermost = self._overrides[-1] is live
            self._overrides.remove(live)
            if innermost:
                self._use_current()
            else:
                # Blocks that overlap instead of nesting: those that are left, wired without it.
                self._layer(self._freeze())

    def _layer(self, plans: Plans) -> None:
        """Dispatch by new plans, with the overrides that are open wired anew on top of them."""
        base, layers = plans, list[Plans]()
        for each in self._overrides:
            plans = plans.overriding(each.mapping)
            layers.append(plans)
        # Only now, when nothing can go wrong any more.
        self._plans = base
        for each, layer in zip(self._overrides, layers, strict=True):
            each.plans = layer
        self._use_current()

    def _current(self) -> Plans:
        """Return the plans by which messages are dispatched now."""
        return self._overrides[-1].plans if self._overrides else self._freeze()

    def explain(self, message_type: type) -> Explanation:
        """Say what happens to messages of a class: handlers in order, guards, wiring.

        The result is data; its `str` is for a person to read. Raises what is wrong with the
        wiring.
        """
        return explain(self._current(), message_type)

    def stats(self) -> Stats:
        """Return the ledger."""
        # Nothing drops a message or lets it expire yet.
        host = self._host
        return Stats(
            **self._core.ledger(),
            dropped=0,
            expired=0,
            sunk=host.sunk,
            dead_letters=host.dead_letters,
        )

    async def drain(self, timeout: float | None = None) -> None:
        """Wait until nothing is queued or running.

        `timeout` is in seconds. Raises `TimeoutError` after it, and `DeadlockError` inside a
        handler, which would wait for itself.
        """
        if worker_of(self._core) is not None:
            msg = "drain() inside a handler would wait for that handler"
            raise DeadlockError(msg)
        if self._core.loop is not None:
            try:
                async with asyncio.timeout(timeout):
                    await self._core.await_quiet()
            except TimeoutError as error:
                msg = f"{self._core.pending} messages are still queued or running after {timeout} s"
                raise TimeoutError(msg) from error

    async def close(self, timeout: float = 30.0) -> ShutdownReport:
        """Finish what was accepted, then end.

        Messages from outside are refused at once and waiting producers are woken with
        `TerminalClosed`; handlers may emit until `timeout` seconds have passed. What runs then is
        cancelled, what is queued is rejected and reported. Every call gets the same report.

        Raises what singletons and the sink raise while they are left, with the report as a note.
        Raises `DeadlockError` inside a handler, which would wait for itself.
        """
        if self._shutdown is None:
            if worker_of(self._core) is not None:
                msg = "close() inside a handler would wait for that handler"
                raise DeadlockError(msg)
            if self._core.loop is None:
                # Nothing was ever sent, so there is nothing to freeze.
                self._core.open(asyncio.get_running_loop())
            self._shutdown = asyncio.create_task(self._close(timeout), name=f"{self.name}.close")
        return await asyncio.shield(self._shutdown)

    async def _close(self, timeout: float) -> ShutdownReport:
        began = time.monotonic()
        core = self._core
        core.begin_closing()
        core.dismiss_lines()
        await self._quiet_within(timeout)
        core.begin_rejecting()
        # Handlers may have stood in line since.
        core.dismiss_lines()
        stuck = await self._stop_workers()
        errors: list[BaseException] = []
        for step in (
            self._host.leave_terminal(),
            self._host.close_sink(max(UNWIND_SECONDS, began + timeout - time.monotonic())),
        ):
            try:
                await step
            except BaseException as error:  # noqa: BLE001 -- raised below, after the other step
                errors.append(error)
        if self._watch is not None:
            self._watch.end()
        stats = self.stats()
        report = ShutdownReport(
            handled=stats.handled,
            failed=stats.failed,
            undelivered=tuple(core.take_undelivered()),
            stuck=stuck,
            seconds=time.monotonic() - began,
        )
        if errors:
            msg = "the terminal could not be closed well"
            failure = errors[0] if len(errors) == 1 else BaseExceptionGroup(msg, errors)
            failure.add_note(f"the terminal is closed all the same: {report}")
            raise failure
        return report

    async def _stop_workers(self) -> tuple[str, ...]:
        """Cancel the handlers that run, reject what is queued, and name those that go on."""
        workers = self._host.workers
        for task in workers.running():
            task.cancel()
        await self._quiet_within(UNWIND_SECONDS)
        stuck = workers.running()
        for task in stuck:
            task.worker.unblock()
        names = tuple(str(task.worker.handler_name) for task in stuck)
        idle = workers.tasks.difference(stuck)
        while idle:
            for task in idle:
                task.cancel()
            await asyncio.wait(idle)
            idle = workers.tasks.difference(stuck)
        return names

    async def _quiet_within(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._core.await_quiet()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
