"""H1: real threads beside the loop."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from reliability.support import Other, Work, assert_ledger, make_terminal, proven

from runtime import BusTerminal, Command, Delivery, Event, MailboxPolicy, MessageRegistry
from runtime.errors import MailboxFull, TerminalClosed

THREADS = 8
MESSAGES = 2_000
LARGE = MailboxPolicy(capacity=THREADS * MESSAGES + 1)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Return what runs a coroutine in debug mode, which complains of calls from other threads."""
    factory = asyncio.new_event_loop
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop", reason="no uvloop here").new_event_loop

    def run(main: Coroutine[Any, Any, None]) -> None:
        async def patient() -> None:
            # How long a callback takes depends on the machine.
            asyncio.get_running_loop().slow_callback_duration = 1e9
            async with asyncio.timeout(30):
                await main

        with asyncio.Runner(debug=True, loop_factory=factory) as runner:
            runner.run(patient())

    return run


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Return the foreign threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


async def everybody(
    threads: ThreadPoolExecutor, work: Callable[[int], None], count: int = THREADS
) -> None:
    """Have the threads do something at the same time, and wait for all of them."""
    together = threading.Barrier(count)

    def begin(number: int) -> None:
        together.wait()
        work(number)

    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.run_in_executor(threads, begin, number) for number in range(count)))


@pytest.mark.parametrize("key", [None, "box"], ids=["pool", "mailbox"])
def test_h1_emit_from_threads(
    run: Callable[..., None], threads: ThreadPoolExecutor, key: str | None
) -> None:
    """All are handled once, in the order of each thread, and the loop is not woken for each.

    The scenario has 100,000 from each thread, which is for the stress tests.
    """
    handled: dict[int, list[int]] = defaultdict(list)
    wakes: list[int] = []

    async def handle(work: Work) -> None:
        handled[work.producer].append(work.number)

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def wake_counted(*call: Any, **options: Any) -> Any:
            wakes.append(threading.get_ident())
            return wake(*call, **options)

        async with proven(handle, mailbox=LARGE, concurrency=1) as terminal:
            bus = terminal.bus.from_thread

            def emit(producer: int) -> None:
                for number in range(MESSAGES):
                    bus.emit(Work(number, producer), key=key)

            loop.call_soon_threadsafe = wake_counted
            await everybody(threads, emit)
            await terminal.drain()
            assert_ledger(terminal.stats(), handled=THREADS * MESSAGES, pending=0)
            assert handled == {producer: list(range(MESSAGES)) for producer in range(THREADS)}
            # Each thread that ends wakes the loop as well.
            assert len(wakes) <= THREADS * MESSAGES + THREADS
            wakes.clear()
            # The loop waits in this very line: it is woken once for all that gathers meanwhile.
            for each in [threads.submit(emit, producer) for producer in range(THREADS)]:
                each.result()
            assert len(wakes) == 1
            await terminal.drain()

    run(main())
    assert handled == {producer: 2 * [*range(MESSAGES)] for producer in range(THREADS)}


class Double(Command[int]):
    """A command."""

    number: int


class Slow:
    """A sink that takes two turns."""

    def __init__(self) -> None:
        self.events: list[object] = []

    async def sink(self, records: Any) -> None:
        """Keep records."""
        await asyncio.sleep(0)
        self.events += [each.event for each in records]


def test_h1_every_verb_from_threads(run: Callable[..., None], threads: ThreadPoolExecutor) -> None:
    """The verbs that wait return what they would on the loop, and keep the thread's order."""
    order: dict[int, list[str]] = defaultdict(list)
    on_loop: list[bool] = []
    sink = Slow()
    registry = MessageRegistry(event_base=Event)
    rounds = 50

    @registry.register
    async def emitted(work: Work) -> None:
        on_loop.append(threading.current_thread() is threading.main_thread())
        order[work.producer].append(f"work {work.number}")

    @registry.register
    async def published(other: Other) -> None:
        order[other.number].append("published")
        await asyncio.sleep(0)

    @registry.register
    async def double(command: Double) -> int:
        await asyncio.sleep(0)
        if command.number < 0:
            msg = "a negative number"
            raise ValueError(msg)
        return 2 * command.number

    async def main() -> None:
        terminal = BusTerminal(registry, sink=sink, mailbox=MailboxPolicy(capacity=8))
        async with terminal:
            bus = terminal.bus.from_thread

            def use_all(producer: int) -> None:
                for number in range(0, 2 * rounds, 2):
                    bus.emit(Work(number, producer), key=producer)
                    bus.offer(Work(number + 1, producer), key=producer)
                    bus.publish(Other(producer))
                    assert bus.send(Double(number)) == 2 * number
                    with pytest.raises(ValueError, match="negative"):
                        bus.send(Double(-1))
                    bus.sink(Work(number, producer))

            await everybody(threads, use_all)
            await terminal.drain()
            stats = terminal.stats()
            assert_ledger(stats, handled=2 * rounds * THREADS, published=rounds * THREADS)
            assert (stats.sent, stats.sunk) == (2 * rounds * THREADS, rounds * THREADS)

    run(main())
    assert all(on_loop)
    for producer in range(THREADS):
        works = [each for each in order[producer] if each != "published"]
        assert works == [f"work {number}" for number in range(2 * rounds)]
        assert len(order[producer]) == 3 * rounds
        sunk = [
            each.number
            for each in sink.events
            if isinstance(each, Work) and each.producer == producer
        ]
        assert sunk == list(range(0, 2 * rounds, 2))


def test_h1_full_mailbox_raises_in_the_thread(
    run: Callable[..., None], threads: ThreadPoolExecutor
) -> None:
    """Of all that threads emit exactly what there is room for is taken, and the rest raises."""
    handled: list[object] = []
    refused: list[tuple[object, object, int]] = []

    async def handle(work: Work) -> None:
        handled.append(work)

    async def main() -> None:
        async with proven(handle, mailbox=MailboxPolicy(capacity=100)) as terminal:
            bus = terminal.bus.from_thread

            def emit(producer: int) -> None:
                for number in range(50):
                    work = Work(number, producer)
                    try:
                        bus.emit(work, key="box")
                    except MailboxFull as error:
                        refused.append((work, error.message, error.capacity))

            # Nothing is handled meanwhile: the loop waits.
            for each in [threads.submit(emit, number) for number in range(THREADS)]:
                each.result()
            assert len(refused) == THREADS * 50 - 100
            assert_ledger(terminal.stats(), emitted=100, pending=100)

    run(main())
    assert len(handled) == 100
    assert all(work is message and capacity == 100 for work, message, capacity in refused)
    messages = {*handled, *(work for work, *_ in refused)}
    assert messages == {Work(n, p) for n in range(50) for p in range(THREADS)}


@pytest.mark.parametrize("timeout", [0.0, 30.0])
def test_h1_close_while_threads_emit(
    run: Callable[..., None],
    threads: ThreadPoolExecutor,
    timeout: float,
    expected_logs: list[str],
) -> None:
    """What a thread was told is accepted has one end; what is refused has raised."""
    expected_logs += ["messages undelivered", "failed to handle"]

    async def handle(work: Work) -> None:
        await asyncio.sleep(0)

    async def race(trial: int) -> None:
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()
        accepted: list[Delivery] = []
        refused: list[Any] = []
        terminal = make_terminal(handle, mailbox=MailboxPolicy(capacity=1_000_000))
        await terminal.open()
        bus = terminal.bus.from_thread

        def emit(producer: int) -> None:
            for number in count():
                if (producer, number) == (0, 20 * trial):
                    loop.call_soon_threadsafe(begun.set)
                verb = bus.offer if number % 50 == producer else bus.emit
                try:
                    accepted.append(verb(Work(number, producer), key=producer % 3 or None))
                except TerminalClosed as error:
                    refused.append(error.message)
                    return

        emitting = asyncio.create_task(everybody(threads, emit))
        await begun.wait()
        report = await terminal.close(timeout)
        await emitting
        assert {each.producer for each in refused} == {*range(THREADS)}
        assert all(each.done() for each in accepted)
        assert_ledger(terminal.stats(), emitted=len(accepted), pending=0)
        assert len(report.undelivered) == terminal.stats().rejected_at_close
        assert report.stuck == ()

    async def main() -> None:
        for trial in range(10):
            await race(trial)

    run(main())
