"""Under random traffic the counters of message types add up to the ledger.

Each type's are what became of its messages, and each handler's what it has done.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.support import check_counters

from runtime import (
    BusTerminal,
    Command,
    DeadLetter,
    Delivery,
    Event,
    EventBus,
    MailboxPolicy,
    MessageRegistry,
    Retry,
)
from runtime.errors import AskTimeout, MailboxFull, TerminalClosed
from runtime.testing import simulate


class Boom(Exception):
    pass


class Ping(Event):
    fails: bool = False


class LoudPing(Ping):
    pass


class Pong(Event):
    pass


class Get(Command[int]):
    fails: bool
    seconds: float = 0.0


class Chain(Event):
    """A message that causes others without an end."""


class Clock:
    """A dependency that is overridden."""


KINDS = [Ping, LoudPing, Pong]
FATES = ("handled", "failed", "dropped", "expired", "rejected")
kinds = st.sampled_from(KINDS)
keys = st.sampled_from([None, "red", "blue"])
seconds = st.sampled_from([None, 0.5, 2.0])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), kinds, keys, st.booleans(), seconds, seconds),
        st.tuples(st.sampled_from(["offer", "publish", "thread"]), kinds, keys, st.booleans()),
        st.tuples(st.just("hold"), kinds, keys, st.booleans(), seconds),
        st.tuples(st.sampled_from(["ask", "send"]), keys, st.booleans(), seconds),
        st.tuples(st.just("override"), st.booleans()),
        st.tuples(st.sampled_from(["chain", "redeliver", "include", "turn", "wait", "drain"])),
    ),
    max_size=30,
)


class Traffic:
    """A terminal under random traffic, and what became of each message by its delivery."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[type, Delivery]] = []
        self.calls: Counter[str] = Counter()
        self.published: Counter[type] = Counter()
        self.tasks: list[asyncio.Task[None]] = []
        registry = MessageRegistry(event_base=Event)
        registry.register(self.flaky, retry=Retry(attempts=2, backoff=0.5))
        registry.register(self.wired, self.reply, self.go_on, self.hear)
        registry.register(self.threaded, in_thread=True)
        self.terminal = BusTerminal(
            registry,
            mailbox={
                Event: MailboxPolicy(2),
                Command: MailboxPolicy(2),
                LoudPing: MailboxPolicy(2, "drop_oldest"),
                Pong: MailboxPolicy(2, "drop_newest"),
            },
            concurrency=2,
            max_hops=2,
        )

    async def flaky(self, ping: Ping) -> None:
        self.calls["flaky"] += 1
        await asyncio.sleep(0.5)
        if ping.fails:
            raise Boom

    async def wired(self, event: Ping | Pong, clock: Clock, bus: EventBus[Event]) -> None:
        self.calls["wired"] += 1
        await asyncio.sleep(0)

    async def reply(self, get: Get) -> int:
        self.calls["reply"] += 1
        await asyncio.sleep(get.seconds)
        if get.fails:
            raise Boom
        return 1

    async def go_on(self, chain: Chain, bus: EventBus[Event]) -> None:
        self.calls["go_on"] += 1
        self.emit(chain, bus=bus)

    async def hear(self, letter: DeadLetter) -> None:
        self.calls["hear"] += 1
        raise Boom

    async def included(self, event: Pong) -> None:
        self.calls["included"] += 1

    def threaded(self, pong: Pong) -> None:
        self.calls["threaded"] += 1

    def emit(self, event: Event, *, bus: EventBus[Event] | None = None, **options: Any) -> None:
        with suppress(MailboxFull, TerminalClosed):
            delivery = (bus or self.terminal.bus).emit(event, **options)
            self.deliveries.append((type(event), delivery))

    def make(self, kind: type[Event], fails: bool) -> Event:
        return kind(fails) if issubclass(kind, Ping) else kind()

    async def run(self, program: list[tuple[Any, ...]], hurry: bool) -> None:
        await self.terminal.open()
        with self.terminal.override({}):
            for verb, *arguments in program:
                await getattr(self, f"do_{verb}")(*arguments)
                check_counters(self.terminal)
            if not hurry:
                await self.terminal.drain()
            await self.terminal.close(timeout=0 if hurry else 30)
        await asyncio.gather(*self.tasks)
        self.check_all()

    def check_all(self) -> None:
        """Check what is counted against what was seen."""
        counters = check_counters(self.terminal)
        fates: dict[type, Counter[str]] = {}
        for kind, delivery in self.deliveries:
            # `<Delivery handled at 0x...>`
            fates.setdefault(kind, Counter())[repr(delivery).split()[1]] += 1
        for kind in (*KINDS, Chain):
            found, fate = counters.by_type.get(kind), fates.get(kind, Counter())
            assert fate.total() == sum(fate[each] for each in (*FATES, "forgotten"))
            if found is None:
                assert sum(fate[each] for each in FATES) + self.published[kind] == 0
                continue
            expected = [fate[each] for each in FATES]
            ended = [found.handled, found.failed, found.dropped, found.expired]
            assert [*ended, found.rejected_at_close] == expected
            assert (found.emitted, found.pending) == (sum(expected), 0)
            assert found.published == self.published[kind]
        asked = counters.by_type.get(Get)
        assert asked is None or asked.emitted == asked.asked
        by_name = {
            key.split()[0].rpartition(".")[2]: each for key, each in counters.by_handler.items()
        }
        started = Counter({name: each.started for name, each in by_name.items()})
        # A call that was cut off before its thread had taken it up.
        assert started.pop("threaded") >= self.calls.pop("threaded", 0)
        assert +started == self.calls
        letters = Counter(
            str(each.handler).rpartition(".")[2]
            for each in self.terminal.dead_letters
            if each.handler is not None and each.reason != "late_reply"
        )
        for name in ("flaky", "wired", "threaded", "go_on"):
            assert by_name[name].failed == letters[name]

    # The steps.

    async def do_emit(self, kind: type[Event], key: Any, fails: bool, delay: Any, ttl: Any) -> None:
        self.emit(self.make(kind, fails), key=key, delay=delay, ttl=ttl)

    async def do_offer(self, kind: type[Event], key: Any, fails: bool) -> None:
        async def offer() -> None:
            with suppress(TerminalClosed):
                delivery = await self.terminal.bus.offer(self.make(kind, fails), key=key)
                self.deliveries.append((kind, delivery))

        self.tasks.append(asyncio.create_task(offer()))

    async def do_publish(self, kind: type[Event], _: Any, fails: bool) -> None:
        self.published[kind] += 1
        with suppress(Boom):
            await self.terminal.bus.publish(self.make(kind, fails))

    async def do_thread(self, kind: type[Event], key: Any, fails: bool) -> None:
        def emit() -> None:
            self.emit(self.make(kind, fails), bus=self.terminal.bus.from_thread, key=key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

        await asyncio.to_thread(emit)

    async def do_hold(self, kind: type[Event], key: Any, fails: bool, delay: Any) -> None:
        with suppress(Boom, MailboxFull):
            async with self.terminal.scope("held", hold_emits=True) as scope:
                for _ in range(2):
                    self.emit(self.make(kind, False), bus=scope.bus, key=key, delay=delay)
                if fails:
                    raise Boom

    async def do_ask(self, key: Any, fails: bool, pause: float | None) -> None:
        async def ask() -> None:
            # Whether it is given up before it has begun, or later, depends.
            with suppress(Boom, AskTimeout, MailboxFull, TerminalClosed):
                await self.terminal.bus.ask(Get(fails, pause or 0.0), key=key, timeout=1.0)

        self.tasks.append(asyncio.create_task(ask()))

    async def do_send(self, _: Any, fails: bool, __: Any) -> None:
        with suppress(Boom):
            await self.terminal.bus.send(Get(fails))

    async def do_override(self, stays: bool) -> None:
        with self.terminal.override({Clock: Clock()}):
            self.emit(Ping(), key="red")
            if stays:
                await asyncio.sleep(1)

    async def do_chain(self) -> None:
        self.emit(Chain())

    async def do_redeliver(self) -> None:
        letters = [each for each in self.terminal.dead_letters if not isinstance(each.message, Get)]
        if letters:
            with suppress(MailboxFull):
                delivery = self.terminal.redeliver(letters[-1])
                self.deliveries.append((type(letters[-1].message), delivery))

    async def do_include(self) -> None:
        more = MessageRegistry(event_base=Event)
        more.register(self.included)
        self.terminal.include(more)

    async def do_turn(self) -> None:
        await asyncio.sleep(0)

    async def do_wait(self) -> None:
        await asyncio.sleep(1)

    async def do_drain(self) -> None:
        await self.terminal.drain()


@settings(max_examples=200)
@given(program=steps, hurry=st.booleans(), seed=st.integers(0, 3))
def test_types_add_up_to_the_ledger(program: list[tuple[Any, ...]], hurry: bool, seed: int) -> None:
    """After every step, and at the end each type has what became of its messages."""
    simulate(Traffic().run(program, hurry), seed=seed)
