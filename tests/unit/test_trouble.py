"""User code that fails, re-enters or comes at a bad moment takes nothing else down."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import pytest

from runtime import (
    BusTerminal,
    Command,
    Event,
    EventBus,
    MailboxPolicy,
    MessageRegistry,
    Record,
    run,
)
from runtime._publication import Publication
from runtime.errors import (
    DeadlockError,
    DeliveryFailed,
    ScopeClosed,
    SinkError,
    TerminalClosed,
    WrongLoop,
)
from runtime.sinks import SqliteSink


class Ping(Event):
    number: int = 0


class Go(Event):
    pass


class Session:
    pass


def terminal_with(*handlers: Any, **options: Any) -> BusTerminal[Event]:
    registry = MessageRegistry(event_base=Event)
    for handler in handlers:
        registry.register(handler, lifetime="actor" if isinstance(handler, type) else None)
    return BusTerminal(registry, **options)


def balanced(terminal: BusTerminal[Event]) -> bool:
    stats = terminal.stats()
    return stats.pending == 0 and stats.emitted == (
        stats.handled + stats.failed + stats.rejected_at_close
    )


async def test_an_asynchronous_callback_is_refused() -> None:
    """A coroutine function as callback would never be awaited; it says what to do instead."""

    async def callback(delivery: object) -> None: ...

    async with terminal_with() as terminal:
        with pytest.raises(TypeError, match=r"use `await delivery.wait\(\)`"):
            terminal.bus.emit(Ping(), callback=callback)
        assert terminal.stats().emitted == 0


async def test_a_logging_filter_that_raises_changes_no_outcome() -> None:
    """The message has failed, its waiter knows, the loop is told, and the rest goes on."""
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, details: reported.append(details))

    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            msg = "log full"
            raise OSError(msg)

    async def handler(event: Ping) -> None:
        if event.number == 1:
            raise LookupError

    broken = Broken()
    logging.getLogger("runtime").addFilter(broken)
    try:
        async with terminal_with(handler) as terminal:
            with pytest.raises(DeliveryFailed, match="LookupError"):
                await terminal.bus.emit(Ping(1)).wait()
            await terminal.bus.emit(Ping(2)).wait()
            assert balanced(terminal)
    finally:
        logging.getLogger("runtime").removeFilter(broken)
    assert [str(each["exception"]) for each in reported] == ["log full"]


async def test_a_key_that_changes_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A mutable key is logged as what it is; the terminal goes on, and its mailbox is gone."""

    @dataclass(unsafe_hash=True)
    class Key:
        number: int

    key = Key(1)

    async def handler(event: Ping) -> None:
        key.number += 1

    async with terminal_with(handler) as terminal:
        await terminal.bus.emit(Ping(), key=key).wait()
        await terminal.bus.emit(Ping()).wait()
        async with terminal.scope(key) as scope:
            assert scope.bus is not None
            key.number += 1
        assert terminal._core.mailbox_names() == ()
        assert balanced(terminal)
    assert "has changed while it named a mailbox" in caplog.text or not caplog.records


async def test_a_worker_that_breaks_down_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """If the runtime itself fails under a message, that message has failed and others go on."""

    async def handler(event: Ping) -> None:
        if event.number == 1:
            raise LookupError

    async with terminal_with(handler) as terminal:
        host = terminal._host
        good, host.bury = host.bury, None  # type: ignore[assignment, method-assign]  # pyright: ignore[reportAttributeAccessIssue]
        broken = terminal.bus.emit(Ping(1), key="box")
        after = terminal.bus.emit(Ping(2), key="box")
        with pytest.raises(DeliveryFailed, match="TypeError"):
            await broken.wait()
        await after.wait()
        host.bury = good  # type: ignore[method-assign]
        assert balanced(terminal)
    assert "a worker of the runtime has failed" in caplog.text


async def test_a_worker_that_breaks_down_answers_who_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By the error that it broke down with; in the caller's turn and in its own."""

    class Ask(Command[int]):
        pass

    async def handler(command: Ask) -> int:
        return 1

    registry: MessageRegistry[Event] = MessageRegistry(event_base=Event)
    registry.register(handler, timeout=5)
    async with BusTerminal(registry) as terminal:
        host = terminal._host
        good, host.run_attempts = host.run_attempts, None  # type: ignore[assignment, method-assign]  # pyright: ignore[reportAttributeAccessIssue]
        for _ in range(3):
            with pytest.raises(TypeError, match="NoneType"):
                await terminal.bus.ask(Ask(), key="box")
        host.run_attempts = good  # type: ignore[method-assign]
        assert await terminal.bus.ask(Ask(), key="box") == 1
        assert balanced(terminal)
    assert "a worker of the runtime has failed" in caplog.text


async def test_an_actors_stop_iteration_reaches_the_publisher() -> None:
    """A publish that an actor failed is never reported as a success."""

    class Actor:
        def on(self, event: Ping) -> None:
            msg = "lost"
            raise StopIteration(msg)

    async with terminal_with(Actor) as terminal, terminal.scope("home") as scope:
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            await scope.bus.publish(Ping())


async def test_an_actor_never_has_two_messages_at_once() -> None:
    """Inline runs on one turn wait for each other, and the next message for all of them."""
    overlaps: list[str] = []
    kept: list[asyncio.Task[None]] = []

    class Actor:
        busy = False

        async def on(self, event: Ping) -> None:
            if self.busy:
                overlaps.append(f"ping {event.number}")
            self.busy = True
            for _ in range(5):
                await asyncio.sleep(0)
            self.busy = False

    async def go(event: Go, bus: EventBus[Event]) -> None:
        await asyncio.gather(bus.publish(Ping(1)), bus.publish(Ping(2)))
        kept.append(asyncio.create_task(bus.publish(Ping(3))))
        await asyncio.sleep(0)

    async with terminal_with(Actor, go) as terminal:
        terminal.bus.emit(Go(), key="home")
        terminal.bus.emit(Ping(4), key="home")
        terminal.bus.emit(Go(), key="home")
        await terminal.drain()
        await asyncio.gather(*kept)
        assert balanced(terminal)
    assert overlaps == []


async def test_closing_a_running_publish_is_an_error() -> None:
    """A publish cannot be closed, sent to or awaited from inside itself."""
    errors: list[str] = []
    pending: Any = None

    def inside(event: Ping) -> None:
        for step in (pending.close, lambda: pending.send(None), lambda: pending.throw(KeyError())):
            try:
                step()
            except ValueError as error:
                errors.append(str(error))
        try:
            pending.__await__()
        except RuntimeError as error:
            errors.append(str(error))

    async def after(event: Ping, session: Session) -> None:
        errors.append("after")

    async with terminal_with(inside, after) as terminal:
        pending = terminal.bus.publish(Ping())
        await pending
    assert errors == [
        *["publish() is executing already"] * 3,
        "publish() is being awaited already",
        "after",
    ]


async def test_half_made_objects_are_refused() -> None:
    """What is made around the constructor does not crash the interpreter."""
    with pytest.raises(TypeError, match="comes from publish"):
        Publication()
    bus: EventBus[Event] = EventBus.__new__(EventBus)  # pyright: ignore[reportUnknownVariableType]
    for verb in (bus.publish, bus.emit):
        with pytest.raises(TypeError, match="has no terminal"):
            verb(Ping())
    with pytest.raises(TypeError, match="has no terminal"):
        bus.send(Command[None]())  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]


async def test_everybody_in_line_is_woken_by_a_close() -> None:
    """Also those who came to stand in line while the terminal was closing."""

    async def work(event: Go, bus: EventBus[Event]) -> None:
        await asyncio.Event().wait()

    async def inline(event: Ping, bus: EventBus[Event]) -> None:
        await bus.offer(Go(), key="full")

    terminal = terminal_with(work, inline, mailbox=MailboxPolicy(capacity=1))
    terminal.bus.emit(Go(), key="full")
    await asyncio.sleep(0)
    terminal.bus.emit(Go(), key="full")
    publishes = [asyncio.create_task(terminal.bus.publish(Ping(n))) for n in range(3)]
    closing = asyncio.create_task(terminal.close(timeout=0))
    results = await asyncio.gather(*publishes, return_exceptions=True)
    assert [type(each) for each in results] == [TerminalClosed] * 3
    await closing
    assert balanced(terminal)


async def test_one_bad_record_does_not_stop_the_writer(tmp_path: Any) -> None:
    """Text that no database takes fails its own call, and the next one works."""
    async with terminal_with(sink=SqliteSink(tmp_path / "events.db")) as terminal:
        record = msgspec.structs.replace(Record.of(Ping()), key="\ud800")
        with pytest.raises(SinkError, match="surrogates"):
            await terminal.bus.sink(record)
        await terminal.bus.sink(Ping())
        assert terminal.stats().sunk == 1


class SlowSink:
    """A sink that is slow to open and to write, and may fail at the end."""

    def __init__(self, error: Exception | None = None) -> None:
        self.log: list[str] = []
        self.gate = asyncio.Event()
        self.error = error

    async def open(self) -> None:
        self.log.append("open")

    async def sink(self, records: Sequence[Record], /) -> None:
        self.log.append("begins")
        await self.gate.wait()
        self.log.append("ends")

    async def close(self) -> None:
        self.log.append("close")
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("opened", [True, False])
async def test_close_waits_for_sinks_under_way(opened: bool) -> None:
    """A sink is not closed under a call, not even one that has only just begun."""
    sink = SlowSink()
    terminal = terminal_with(sink=sink)
    if opened:
        await terminal.open()
    call = asyncio.create_task(terminal.bus.sink(Ping()))
    await asyncio.sleep(0)
    closing = asyncio.create_task(terminal.close())
    for _ in range(5):
        await asyncio.sleep(0)
    sink.gate.set()
    await call
    await closing
    assert sink.log == ["open", "begins", "ends", "close"]


async def test_a_sink_that_cannot_close_is_reported_with_the_report() -> None:
    """The error arrives at every close, and says what became of the messages."""
    terminal = terminal_with(sink=SlowSink(OSError("disk full")))
    await terminal.open()
    terminal.bus.emit(Ping())
    for _ in range(2):
        with pytest.raises(OSError, match="disk full") as caught:
            await terminal.close()
        assert "handled=1" in caught.value.__notes__[0]


async def test_a_self_cancellation_ends_with_its_handler() -> None:
    """The next handler of the same event starts in a task that nobody has cancelled."""
    counts: list[int] = []

    async def one(event: Ping) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if event.number:
            task.uncancel()

    async def two(event: Ping) -> None:
        task = asyncio.current_task()
        assert task is not None
        counts.append(task.cancelling())
        await asyncio.sleep(0)
        counts.append(task.cancelling())

    async with terminal_with(one, two, two) as terminal:
        for number in (0, 1, 0, 1):
            await terminal.bus.emit(Ping(number), key="box").wait()
        assert terminal.stats().handled == 4
    assert counts == [0] * 8


async def test_another_terminals_handler_may_drain_and_close() -> None:
    """Only a handler of the terminal itself would wait for itself."""
    other = terminal_with()

    async def handler(event: Ping) -> None:
        other.bus.emit(Ping())
        await other.drain()
        await other.close()

    async with terminal_with(handler) as terminal:
        await terminal.bus.emit(Ping()).wait()
    assert other.stats().handled == 1


async def test_publish_raises_at_the_await() -> None:
    """What goes wrong before the handler is called surfaces at the await as well."""

    class Broken:
        def __init__(self) -> None:
            msg = "no disk"
            raise OSError(msg)

    registry = MessageRegistry(event_base=Event)
    registry.factory(Broken, lifetime="singleton")

    @registry.register
    async def handler(event: Ping, thing: Broken) -> None: ...

    async with BusTerminal(registry) as terminal:
        pending = terminal.bus.publish(Ping())
        with pytest.raises(OSError, match="no disk"):
            await pending

        class Late(Event):
            __key__: ClassVar[Any] = 7

        pending = terminal.bus.publish(Late())
        with pytest.raises(Exception, match="`__key__` must be the name of a field"):
            await pending
        forgotten = terminal.bus.publish(Ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="a class was sent where a message"):
            await forgotten


async def test_a_closed_publish_to_an_actor_does_not_run() -> None:
    """Whoever gives a publish up before the actor has begun keeps it from beginning."""
    ran: list[int] = []
    gate = asyncio.Event()

    class Actor:
        async def on(self, event: Ping) -> None:
            await gate.wait()
            ran.append(event.number)

    async with terminal_with(Actor) as terminal, terminal.scope("home") as scope:
        scope.bus.emit(Ping(1))
        await asyncio.sleep(0)
        pending = scope.bus.publish(Ping(2))
        pending.send(None)
        pending.close()
        gate.set()
        await terminal.drain()
    assert ran == [1]


async def test_a_publisher_is_not_cancelled_by_a_close() -> None:
    """Whoever waits for an actor that the close cuts off, or never starts, gets TerminalClosed."""

    class Actor:
        async def on(self, event: Ping) -> None:
            await asyncio.Event().wait()

    terminal = terminal_with(Actor)
    async with terminal.scope("home") as scope:
        publishes = [asyncio.create_task(scope.bus.publish(Ping(n))) for n in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await terminal.close(timeout=0)
        results = await asyncio.gather(*publishes, return_exceptions=True)
    assert [type(each) for each in results] == [TerminalClosed] * 2


@pytest.mark.parametrize(
    ("key", "complaint"),
    [([1], r"\[1\] cannot name a mailbox: unhashable"), ({}, "cannot name a mailbox")],
)
async def test_a_key_that_cannot_be_one(key: Any, complaint: str) -> None:
    """A key that is not hashable says so in terms of mailboxes."""
    async with terminal_with() as terminal:
        with pytest.raises(TypeError, match=complaint):
            terminal.bus.emit(Ping(), key=key)


async def test_a_key_field_that_is_not_there() -> None:
    """A `__key__` that names no field says which class names which field."""

    class Wrong(Event):
        __key__: ClassVar[str] = "order"

    async with terminal_with() as terminal:
        with pytest.raises(AttributeError, match="Wrong.__key__ is 'order', but Wrong has no such"):
            terminal.bus.emit(Wrong())


async def test_another_thread_is_refused() -> None:
    """Waking a terminal from another thread raises there, and queues nothing."""
    errors: list[BaseException] = []

    async with terminal_with() as terminal:

        def foreign() -> None:
            try:
                terminal.bus.emit(Ping())
            except WrongLoop as error:
                errors.append(error)

        thread = threading.Thread(target=foreign)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert terminal.stats().emitted == 0
    assert "belongs to another thread" in str(errors[0])


def test_two_terminals_on_two_loops_share_nothing() -> None:
    """Two runtimes in two threads, with one registry, keep to themselves."""
    registry = MessageRegistry(event_base=Event)
    heard: list[tuple[str, int]] = []
    together = threading.Barrier(2)

    @registry.register
    async def handler(event: Ping, session: Session) -> None:
        await asyncio.sleep(0)
        heard.append((threading.current_thread().name, event.number))

    async def main(first: int) -> None:
        async with BusTerminal(registry) as terminal:
            together.wait()
            for number in range(first, first + 200):
                terminal.bus.emit(Ping(number), key=number % 3)
                await terminal.bus.publish(Ping(number))
            await terminal.drain()
            assert terminal.stats().handled == 200

    threads = [
        threading.Thread(target=run, args=(main(first),), name=str(first)) for first in (0, 1_000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 800
    for first in (0, 1_000):
        numbers = [number for thread, number in heard if thread == str(first)]
        assert sorted(numbers) == sorted([*range(first, first + 200)] * 2)


async def test_a_task_born_in_a_scope_outlives_it_well() -> None:
    """It emits through the root bus under its own variables; the scope's bus is over for it."""
    seen: list[tuple[int, str]] = []
    gate = asyncio.Event()
    request: ContextVar[str] = ContextVar("request", default="none")

    def handler(event: Ping) -> None:
        seen.append((event.number, request.get()))

    async def later(bus: EventBus[Event], terminal: BusTerminal[Event]) -> None:
        await gate.wait()
        terminal.bus.emit(Ping(1))
        with pytest.raises(ScopeClosed):
            bus.emit(Ping(2))

    async with terminal_with(handler) as terminal:
        async with terminal.scope() as scope:
            request.set("mine")
            task = asyncio.create_task(later(scope.bus, terminal))
        request.set("other")
        gate.set()
        await task
    assert seen == [(1, "mine")]


async def test_one_function_registered_twice_runs_once() -> None:
    """However often it is registered, a handler is called once for a message."""
    ran: list[int] = []

    def handler(event: Ping) -> None:
        ran.append(event.number)

    one, two = MessageRegistry(event_base=Event), MessageRegistry(event_base=Event)
    one.register(handler)
    one.register(handler)
    two.register(handler)
    async with BusTerminal(one, two) as terminal:
        await terminal.bus.publish(Ping(1))
    assert ran == [1]


async def test_the_log_of_a_failure_has_the_messages_variables() -> None:
    """What a logging filter reads from context variables is the emitter's."""
    trace: ContextVar[str] = ContextVar("trace", default="none")
    seen: list[str] = []

    class Tracing(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            seen.append(trace.get())
            return True

    def handler(event: Ping) -> None:
        raise LookupError

    tracing = Tracing()
    logging.getLogger("runtime").addFilter(tracing)
    try:
        async with terminal_with(handler) as terminal:
            trace.set("mine")
            terminal.bus.emit(Ping())
            trace.set("other")
            await terminal.drain()
    finally:
        logging.getLogger("runtime").removeFilter(tracing)
    assert seen == ["mine"]


async def test_a_wait_of_an_actor_on_itself_is_a_deadlock() -> None:
    """An actor that publishes through its own bus to itself is told so at once."""

    class Actor:
        def __init__(self, bus: EventBus[Event]) -> None:
            self.bus = bus

        async def on(self, event: Ping) -> None:
            if event.number == 0:
                await self.bus.publish(Ping(1))

    async with terminal_with(Actor) as terminal:
        with pytest.raises(DeliveryFailed) as caught:
            await terminal.bus.emit(Ping(), key="home").wait()
    assert isinstance(caught.value.__cause__, DeadlockError)
