"""The verbs for other threads.

Whose thread a verb is for stands in test_whose_thread.py; what many threads do at once is a
scenario of its own (H1).
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, TypeVarTuple

import pytest
from unit.support import terminal_with

from runtime import (
    Command,
    Delivery,
    Event,
    EventBus,
    MailboxPolicy,
    MessageContext,
    Record,
)
from runtime.errors import MailboxFull, NoHandler, ScopeClosed, TerminalClosed, WrongLoop

current: ContextVar[str] = ContextVar("current", default="unset")


class Tick(Event):
    number: int = 0


class Add(Command[int]):
    left: int
    right: int


class Missing(Command[int]):
    pass


class Heard:
    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.threads: set[int] = set()
        self.values: list[str] = []

    async def tick(self, tick: Tick) -> None:
        self.numbers.append(tick.number)
        self.threads.add(threading.get_ident())
        self.values.append(current.get())
        if tick.number < 0:
            raise LookupError(tick.number)

    async def add(self, add: Add) -> int:
        return add.left + add.right


async def in_thread(function: Callable[..., Any], *arguments: object) -> Any:
    """Run a function in a thread while the loop goes on."""
    return await asyncio.to_thread(function, *arguments)


async def test_emit_is_accepted_when_it_returns() -> None:
    """It is counted, takes a place, and is handled on the loop, in the thread's order."""
    heard = Heard()
    async with terminal_with(heard.tick) as terminal:
        emitted: list[int] = []

        def work() -> None:
            for number in range(100):
                assert not terminal.bus.from_thread.emit(Tick(number), key="box").done()
                emitted.append(terminal.stats().emitted)

        # The loop does not come round before the thread has ended.
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert emitted == list(range(1, 101))
        assert terminal.stats().pending == 100
        await terminal.drain()
        assert terminal.stats().handled == 100
    assert heard.numbers == list(range(100))
    assert heard.threads == {threading.get_ident()}


Ts = TypeVarTuple("Ts")


class CountingLoop(asyncio.SelectorEventLoop):
    """A loop that counts how often it is woken; it may be interrupted instead."""

    woken = 0
    interrupt: BaseException | None = None

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self.woken += 1
        if self.interrupt is not None:
            interrupt, self.interrupt = self.interrupt, None
            raise interrupt
        return super().call_soon_threadsafe(callback, *args, context=context)


def run_counting(main: Callable[[CountingLoop], Any]) -> None:
    """Run a coroutine on a loop that counts."""
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, CountingLoop)
        runner.run(main(loop))


def test_the_loop_is_woken_once_for_a_batch() -> None:
    """However many messages gather before the loop looks, it is called once."""
    heard = Heard()

    async def main(loop: CountingLoop) -> None:
        async with terminal_with(heard.tick) as terminal:

            def work(first: int) -> None:
                for number in range(first, first + 10):
                    terminal.bus.from_thread.emit(Tick(number))

            for first in (0, 10):
                Result(partial(work, first)).join()
            assert loop.woken == 1
            await terminal.drain()
            Result(lambda: work(20)).join()
            assert loop.woken == 2

    run_counting(main)
    assert heard.numbers == list(range(30))


def test_an_interrupt_does_not_put_the_loop_to_sleep() -> None:
    """If the call that wakes the loop is interrupted, the next one wakes it."""
    heard = Heard()

    async def main(loop: CountingLoop) -> None:
        async with terminal_with(heard.tick) as terminal:
            bus = terminal.bus.from_thread
            loop.interrupt = KeyboardInterrupt()
            with pytest.raises(KeyboardInterrupt):
                Result(lambda: bus.emit(Tick(1))).join()
            assert terminal.stats().pending == 1
            Result(lambda: bus.emit(Tick(2))).join()
            await terminal.drain()

    run_counting(main)
    assert heard.numbers == [1, 2]


async def test_a_full_mailbox_raises_in_the_thread() -> None:
    """Nothing is queued then, and the thread may wait for room with `offer`."""
    heard = Heard()
    async with terminal_with(heard.tick, mailbox=MailboxPolicy(2)) as terminal:

        def work() -> list[int]:
            bus = terminal.bus.from_thread
            bus.emit(Tick(0), key="box")
            bus.emit(Tick(1), key="box")
            with pytest.raises(MailboxFull) as caught:
                bus.emit(Tick(2), key="box")
            assert caught.value.message == Tick(2)
            return [terminal.stats().emitted, terminal.stats().pending]

        thread = Result(work)
        assert thread.join() == [2, 2]
        await in_thread(lambda: terminal.bus.from_thread.offer(Tick(3), key="box"))
        await terminal.drain()
    assert heard.numbers == [0, 1, 3]


class Result(threading.Thread):
    """A thread that is waited for without the loop, and whose result or error is its own."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__()
        self._function = function
        self._outcome: list[Any] = []
        self._error: list[BaseException] = []
        self.start()

    def run(self) -> None:
        try:
            self._outcome.append(self._function())
        except BaseException as error:  # noqa: BLE001 -- raised by `join`
            self._error.append(error)

    def join(self, timeout: float | None = None) -> Any:
        super().join(timeout)
        if self._error:
            raise self._error[0]
        return self._outcome[0]


async def test_verbs_that_wait_block_and_return() -> None:
    """The result, or the handler's own exception, is the thread's."""
    heard = Heard()
    sunk: list[Record] = []

    class Sink:
        async def sink(self, records: Sequence[Record]) -> None:
            sunk.extend(records)

    async with terminal_with(heard.tick, heard.add, sink=Sink()) as terminal:
        bus = terminal.bus.from_thread

        def work() -> None:
            assert bus.publish(Tick(1)) is None  # type: ignore[func-returns-value]
            assert heard.numbers == [1]
            assert bus.send(Add(20, 22)) == 42
            bus.sink(Tick(2), Tick(3))
            assert len(sunk) == 2
            with pytest.raises(LookupError, match="-1"):
                bus.publish(Tick(-1))
            with pytest.raises(NoHandler):
                bus.send(Missing())

        await in_thread(work)
        assert heard.threads == {threading.get_ident()}


async def test_one_thread_is_served_in_its_order() -> None:
    """Whatever the verb: each sees what the same thread has sent before."""
    heard = Heard()
    async with terminal_with(heard.tick) as terminal:
        bus = terminal.bus.from_thread

        def work() -> None:
            bus.emit(Tick(1), key="box")
            bus.offer(Tick(2), key="box")
            bus.emit(Tick(3), key="box", ttl=60)
            bus.emit(Tick(4), key="box")

        await in_thread(work)
        await terminal.drain()
    assert heard.numbers == [1, 2, 3, 4]


async def test_what_only_the_loop_can_decide_goes_through_the_loop() -> None:
    """A policy that drops, an unseen type, a chain that is too long, a scope that holds."""
    heard = Heard()

    class Unseen(Tick):
        pass

    policy = {Event: MailboxPolicy(1, "drop_newest")}
    async with terminal_with(heard.tick, mailbox=policy) as terminal:
        async with terminal.scope("held", hold_emits=True) as scope:

            def work() -> list[bool]:
                scope.bus.from_thread.emit(Tick(1))
                assert terminal.stats().emitted == 0
                bus = terminal.bus.from_thread
                return [bus.emit(Unseen(number), key="box").done() for number in (2, 3)]

            await in_thread(work)
        await terminal.drain()
        stats = terminal.stats()
        assert stats.emitted == stats.handled + stats.dropped == 3
    assert {1, 2} <= {*heard.numbers}


async def test_a_handler_in_a_thread_may_emit() -> None:
    """An injected bus works there through `from_thread`, as the cause that it is."""
    heard: list[tuple[int, str | None]] = []

    class Relay(Event):
        pass

    def relay(relay: Relay, context: MessageContext, bus: EventBus[Event]) -> None:
        with pytest.raises(WrongLoop, match=r"use the verbs of `bus\.from_thread`"):
            bus.emit(Tick(0))
        bus.from_thread.emit(Tick(1))
        ids.append(context.id)

    ids: list[str] = []

    async def tick(tick: Tick, context: MessageContext) -> None:
        heard.append((tick.number, context.causation_id))

    terminal = terminal_with(tick)
    terminal._registries[0].register(relay, in_thread=True)
    async with terminal:
        terminal.bus.emit(Relay())
        await terminal.drain()
    assert heard == [(1, ids[0])]


def test_another_loop_of_the_same_thread_is_refused() -> None:
    """Waking a worker from there would leave the message to a loop that sleeps."""
    heard = Heard()
    mine, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    terminal = terminal_with(heard.tick)
    mine.run_until_complete(terminal.open())

    async def emit() -> None:
        terminal.bus.emit(Tick())

    with pytest.raises(WrongLoop, match="belongs to another loop of this thread"):
        other.run_until_complete(emit())
    assert terminal.stats().emitted == 0
    mine.run_until_complete(emit())
    mine.run_until_complete(terminal.close())
    assert heard.numbers == [0]
    mine.close()
    other.close()


def test_another_loop_of_the_same_thread_cannot_ask() -> None:
    """Also not where a worker waits for work, and would do it at once."""
    heard = Heard()
    mine, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    terminal = terminal_with(heard.tick, heard.add)

    async def ask() -> int:
        return await terminal.bus.ask(Add(1, 2), key="box")

    async def warm() -> None:
        assert await ask() == 3
        await asyncio.sleep(0)

    mine.run_until_complete(warm())
    with pytest.raises(WrongLoop, match="belongs to another loop of this thread"):
        other.run_until_complete(ask())
    assert terminal.stats().emitted == 1
    mine.run_until_complete(warm())
    mine.run_until_complete(terminal.close())
    mine.close()
    other.close()


async def test_a_closed_terminal_and_a_left_scope_refuse() -> None:
    """The thread is told what it would be told on the loop."""
    heard = Heard()
    terminal = terminal_with(heard.tick)
    await terminal.open()
    async with terminal.scope("a") as scope:
        pass
    with pytest.raises(ScopeClosed):
        await in_thread(scope.bus.from_thread.emit, Tick())
    await terminal.close()
    for verb in (terminal.bus.from_thread.emit, terminal.bus.from_thread.publish):
        with pytest.raises(TerminalClosed) as caught:
            await in_thread(verb, Tick(5))
        assert caught.value.message == Tick(5)
    assert terminal.stats().emitted == 0


async def test_a_delivery_can_be_awaited_on_another_loop() -> None:
    """The loop that waits is woken, though the message ends on the terminal's."""
    gate = asyncio.Event()

    async def handle(tick: Tick) -> None:
        await gate.wait()

    async with terminal_with(handle) as terminal:
        main = asyncio.get_running_loop()

        async def elsewhere() -> None:
            delivery = terminal.bus.from_thread.emit(Tick(1))
            waiting = asyncio.create_task(delivery.wait())
            await asyncio.sleep(0)
            main.call_soon_threadsafe(gate.set)
            # Nothing else wakes this loop.
            await waiting

        await in_thread(asyncio.run, elsewhere())


async def test_a_handler_waits_for_what_a_thread_has_emitted_this_moment() -> None:
    """The delivery can be waited for before the loop has looked."""
    heard = Heard()

    async def add(add: Add, bus: EventBus[Event]) -> int:
        emitted: list[Delivery] = []
        thread = threading.Thread(
            target=lambda: emitted.append(bus.from_thread.emit(Tick(add.left), key="box"))
        )
        thread.start()
        thread.join()
        await emitted[0].wait()
        return len(heard.numbers)

    async with terminal_with(heard.tick, add) as terminal:
        assert await terminal.bus.ask(Add(1, 2), key="adder") == 1
    assert heard.numbers == [1]


async def test_a_handlers_own_cancellation_reaches_the_thread() -> None:
    """It is not the terminal's end."""

    async def handle(tick: Tick) -> None:
        raise asyncio.CancelledError("mine")  # noqa: EM101

    async with terminal_with(handle) as terminal:
        outcome: list[BaseException] = []

        def work() -> None:
            try:
                terminal.bus.from_thread.publish(Tick())
            except BaseException as error:  # noqa: BLE001 -- looked at below
                outcome.append(error)

        await in_thread(work)
        assert [(type(each), str(each)) for each in outcome] == [(asyncio.CancelledError, "mine")]
