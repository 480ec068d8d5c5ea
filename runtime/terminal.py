"""The terminal: registries frozen together, bound to one loop, opened and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Hashable, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import msgspec

from runtime._bus import EventBus, Scope, root_bus
from runtime._sender import as_seconds
from runtime.building import Resolver, is_owner
from runtime.bus import Host
from runtime.closing import shut_down
from runtime.counters import counters
from runtime.errors import DeadlockError, NoHandler, TerminalClosed, WrongLoop
from runtime.findings import Finding
from runtime.leftovers import Watch
from runtime.lifetimes import Surroundings, Wiring
from runtime.messages import DeadLetter, Delivery
from runtime.names import TypeNames
from runtime.plan import Plans
from runtime.policies import MailboxPolicies, MailboxPolicy, check_count
from runtime.publishers import Publisher, sequential
from runtime.registry import MessageRegistry
from runtime.reports import Counters, ShutdownReport, Stats
from runtime.sinks.base import Sink
from runtime.wired import Wired
from runtime.workers import worker_of

if TYPE_CHECKING:
    from runtime.explain import Explanation
    from runtime.sources.base import Source
    from runtime.wire import CloudEvents

__all__ = ("BusTerminal",)

E = TypeVar("E")
# A mapping's keys are invariant, and a checker may have found a metaclass for them.
K = TypeVar("K", bound=type)
L = TypeVar("L", bound=type)
M = TypeVar("M")


class Override(msgspec.Struct, eq=False):
    """A block that is open, in which some types are served by something else."""

    mapping: Mapping[Any, object]
    plans: Plans


class Examined(msgspec.Struct, eq=False):
    """What the registries of a terminal come to, right or wrong."""

    registries: tuple[MessageRegistry[Any], ...]
    plans: Plans
    findings: tuple[Finding, ...]


class BusTerminal(Generic[E]):
    """Registries frozen together with the mailboxes, workers and sink that serve them.

    It freezes when it is opened or at its first message, and belongs to the loop of that moment.
    `mailbox` bounds every mailbox, or maps message types to policies, of which the nearest in a
    message's MRO counts; `sink` is where events are persisted, or a mapping of the same kind.
    `concurrency` is how many messages of the root bus may be in flight at
    once, besides those whose handlers wait for room in its pool, or are to be tried again. A chain
    of more than `max_hops` causes, each emitted by the handler of the one before, becomes a dead
    letter; None lets it go on. Actors whose mailbox has had nothing to do for `idle_timeout`
    seconds are stopped, and made anew at the next message; with None they stay.

    Raises, when it freezes, `ProviderError` or `LifetimeError` listing everything that is wrong
    with the wiring.
    """

    def __init__(
        self,
        *registries: MessageRegistry[E],
        sink: Sink | Mapping[K, Sink] | None = None,
        publisher: Publisher = sequential,
        mailbox: MailboxPolicy | Mapping[L, MailboxPolicy] = MailboxPolicy(),  # noqa: B008 -- immutable
        concurrency: int = 100,
        resolver: Resolver | None = None,
        max_hops: int | None = 10_000,
        idle_timeout: float | None = None,
        name: str = "runtime",
    ) -> None:
        check_count("concurrency", concurrency, 1)
        if max_hops is not None:
            check_count("max_hops", max_hops, 0)
        if idle_timeout is not None:
            idle_timeout = as_seconds("idle_timeout", idle_timeout)
        self.name = name
        self._policies = MailboxPolicies(mailbox)
        self._registries = registries
        self._publisher = None if publisher is sequential else publisher
        self._resolver = resolver
        self._plans: Plans | None = None
        self._overrides: list[Override] = []
        self._host = Host(
            name,
            concurrency=concurrency,
            max_hops=max_hops,
            idle_timeout=idle_timeout,
            sink=sink,
            begin=self._begin,
            find_provider=self._find_provider,
        )
        self._core = self._host.core
        self._bus: EventBus[E] = root_bus(self._core)
        self._shutdown: asyncio.Task[ShutdownReport] | None = None
        self._watch: Watch | None = None
        self._named: tuple[Plans, TypeNames] | None = None

    @property
    def bus(self) -> EventBus[E]:
        """The root bus: each publish opens a scope of its own, emits go to a pool."""
        return self._bus

    @property
    def resolver(self) -> Resolver | None:
        """The foreign container that serves what the registries do not know.

        An integration may set it on a terminal that was made without one. Setting it raises
        `RuntimeError` once the terminal has frozen.
        """
        return self._resolver

    @resolver.setter
    def resolver(self, resolver: Resolver | None) -> None:
        if self._plans is not None:
            msg = (
                f"terminal {self.name!r} has frozen: its wiring is decided, and a resolver would "
                f"serve nothing; set it before the terminal is opened or gets a message"
            )
            raise RuntimeError(msg)
        self._resolver = resolver

    def scope(self, name: Hashable | None = None, *, hold_emits: bool = False) -> Scope[E]:
        """Return a scope to enter with ``async with``.

        With a `name` it shares the mailbox, and the actors, of that name. With `hold_emits`, what
        is emitted in it is queued when its block has ended well, and forgotten if it fails; room
        is taken at once.
        """
        return Scope(self._core, name, hold_emits=hold_emits)

    async def open(self) -> None:
        """Freeze, bind to the running loop, and open the sink.

        Raises what is wrong with the wiring, `SinkError`, and `TerminalClosed` if it has been
        closed: a terminal is opened once.
        """
        if self._shutdown is not None:
            raise TerminalClosed.of(self.name)
        # What is wrong with the wiring is said before the sink is touched.
        self._current()
        await self._host.outlet.open()
        if self._shutdown is not None:
            # It has been closed meanwhile.
            raise TerminalClosed.of(self.name)
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
            self._core.rebind = getattr(self._resolver, "rebind", None)
            self._plans = self._no_plans().including(self._registries)
        return self._plans

    def _examine(self) -> Examined:
        """Return what freezing would find; nothing has changed then."""
        return Examined(self._registries, *self._no_plans().joined(self._registries))

    def _no_plans(self) -> Plans:
        """Return the plans of a terminal without registries."""
        threads = self._host.threads
        around = Surroundings(self._core, {BusTerminal: self}, self._resolver, threads.wrap)
        return Plans(Wiring(around, {}), self._publisher, self._policies)

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
        if self._plans is not None:
            self._layer(self._plans.including([registry]))
        self._registries = (*self._registries, registry)

    @contextmanager
    def override(self, mapping: Mapping[M, object]) -> Generator[None]:
        """Serve some types by other objects inside a ``with`` block, for tests.

        Values of `mapping` are objects, or factories wrapped in `use`. Singletons that depend on
        an overridden type are built anew inside; messages that are emitted inside keep the
        override. What was before is back after the block, also if it raises.

        Raises what is wrong with the wiring.
        """
        live = Override(mapping, self._current().overriding(dict[object, object](mapping.items())))
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
        # Asked for by people, not by services that start.
        from runtime.explain import explain

        return explain(self._current(), message_type)

    def stats(self) -> Stats:
        """Return the ledger.

        That takes a few microseconds, however many scopes, messages and handlers there are.
        """
        host = self._host
        return Stats(**self._core.ledger(), sunk=host.outlet.sunk, dead_letters=host.failures.count)

    def counters(self) -> Counters:
        """Return the ledger of each message type, and what each handler has done.

        They are counted at all times, and outlast `include` and `override`. The mappings are made
        for the call; before the terminal has been frozen they are empty.
        """
        return Counters({}, {}) if self._plans is None else counters(self._plans)

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The last 1,000 dead letters, the oldest first."""
        return tuple(self._host.failures.kept)

    def redeliver(self, dead_letter: DeadLetter) -> Delivery:
        """Run the handler of a dead letter again, and no other; or all, if none had been reached.

        The message is emitted anew, with its old context, into the mailbox that it came from. A
        letter of another terminal is taken if this one has the handler; its message goes to the
        mailbox of the same name.

        Raises `NoHandler` if the handler is not registered (any more), `ValueError` for a letter
        that no terminal has written or whose message could not be decoded, and `MailboxFull`,
        `TerminalClosed` and `WrongLoop` as `emit` does; then nothing was queued.
        """
        origin, message = dead_letter.origin, dead_letter.message
        if origin is None:
            msg = f"no terminal has written {dead_letter}: there is nothing to redeliver it to"
            raise ValueError(msg)
        if dead_letter.reason == "undecodable":
            msg = f"{dead_letter} is no message; its source keeps it, as in source.revive(id)"
            raise ValueError(msg)
        core = self._core
        self._bus._admit(message)  # noqa: SLF001
        plans = self._current()
        plan = (
            plans.flatten(type(message))
            if origin.handler is None
            else plans.of_one(type(message), origin.handler)
        )
        if plan is None:
            raise NoHandler.of_dead_letter(dead_letter, self.name)
        box = origin.box
        if origin.core is not core:
            box = core.pool if box.name is None else core.find_mailbox(box.name)
        return core.post_again(box, plan, message, origin.context)

    async def drain(self, timeout: float | None = None) -> None:
        """Wait until nothing is queued or running; delays that are not over are not waited for.

        `timeout` is in seconds. Raises `TimeoutError` after it, and `DeadlockError` inside a
        handler, which would wait for itself.
        """
        self._check_loop()
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

        Messages from outside are refused at once and producers that wait for room are woken with
        `TerminalClosed`; handlers may emit until `timeout` seconds have passed. What runs then is
        cancelled, what is queued or delayed is rejected and reported. Open scopes are waited for,
        then what singletons and actors have entered is left, and the sink is closed.

        Every call gets the same report; cancelling one leaves the others alone. A handler that
        awaits it is not waited for, nor is an open scope of the task that does.

        Raises what singletons, actors and the sink raise while they are left, with the report as
        a note, and `DeadlockError` where the close itself would have to wait for the caller: in
        what it leaves.
        """
        timeout = as_seconds("timeout", timeout)
        self._check_loop()
        if (self._shutdown is not None and asyncio.current_task() is self._shutdown) or is_owner(
            self._core
        ):
            msg = "close() inside what the close has to leave would wait for itself"
            raise DeadlockError(msg)
        if self._shutdown is None:
            if self._core.loop is None:
                # Nothing was ever sent, so there is nothing to freeze.
                self._core.open(asyncio.get_running_loop())
            # At once, not when the task below comes to it.
            self._core.begin_closing()
            self._shutdown = asyncio.create_task(self._close(timeout), name=f"{self.name}.close")
        with self._host.excused():
            return await asyncio.shield(self._shutdown)

    async def consume(
        self,
        source: Source[Any],
        *,
        max_attempts: int = 5,
        backoff: float = 1.0,
        max_backoff: float = 60.0,
        concurrency: int = 100,
        window: float | None = 300.0,
        wire: CloudEvents | None = None,
    ) -> None:
        """Hand the events of a source to their handlers, until the terminal closes.

        Each event goes to a mailbox as an `offer` from the root bus would. Events of one key are
        handled in order, those of others at the same time, at most `concurrency` in hand. When all
        handlers have returned, the event is acknowledged. If one has failed, the event is put back,
        and handed out again after a pause that doubles from `backoff` to `max_backoff` seconds, to
        all of its handlers; what is behind it under its key waits. After `max_attempts` it becomes
        a dead letter, in the source too, and so does at once what cannot be decoded. An id that was
        handled within the last `window` seconds is acknowledged and not handled again; None turns
        that off. `wire` reads what the sink's has written.

        Returns when the terminal closes: nothing more is taken then, what is in flight is finished
        and acknowledged within the time of the close, and the rest is put back. Cancelling it does
        the same, but returns at once; `close` waits for the rest.

        Raises `SourceError` if the source cannot be opened; later it is tried until it is well.
        Raises `ValueError` and `TypeError` for options that are wrong, such as a `window` of less
        than two leases, and what `open` raises.
        """
        # A program that consumes nothing does not pay for what that takes.
        from runtime.consuming import Consumer, Consumption

        options = Consumption(source, max_attempts, backoff, max_backoff, concurrency, window, wire)
        self._check_loop()
        await self.open()
        consumer = Consumer(self._host, self._bus, self._names, options)
        task = self._host.intake.start(consumer.run(), consumer.stop)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            consumer.stop()
            raise
        if not task.cancelled():
            task.result()

    def _names(self) -> TypeNames:
        """Return the names of the message types of the current plans."""
        plans = self._current()
        if self._named is None or self._named[0] is not plans:
            bases = [each.event_base for each in self._registries]
            self._named = (plans, TypeNames(plans.heard, bases))
        return self._named[1]

    def _check_loop(self) -> None:
        """Raise `WrongLoop` unless the terminal belongs to the running loop, or to none yet."""
        if self._core.loop is None or self._core.loop is asyncio.get_running_loop():
            return
        if not self._core.is_own_thread:
            raise WrongLoop.of_thread(self.name)
        raise WrongLoop.of_loop(self.name)

    async def _close(self, timeout: float) -> ShutdownReport:
        try:
            return await shut_down(self._host, timeout)
        finally:
            # An interrupt may have struck in the middle of it.
            if self._watch is not None and self._core.has_ended:
                self._watch.end()

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
