"""Commands that are carried out from a mailbox, and replied to."""

import asyncio
import gc
import traceback
import weakref
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import (
    BusTerminal,
    Command,
    DeadLetter,
    Event,
    EventBus,
    MailboxPolicy,
    MessageContext,
    MessageRegistry,
    Retry,
    Stats,
)
from runtime.errors import (
    AskTimeout,
    DeadlockError,
    MailboxFull,
    NoHandler,
    ScopeClosed,
    TerminalClosed,
)

SIMULATED = True


class Add(Command[int]):
    left: int
    right: int


class Sleep(Command[str]):
    seconds: float = 1.0


class Fail(Command[int]):
    pass


class Missing(Command[int]):
    pass


class Tick(Event):
    number: int = 0


async def add(command: Add) -> int:
    return command.left + command.right


class Sleeper:
    def __init__(self) -> None:
        self.began: list[Sleep] = []

    async def sleep(self, command: Sleep) -> str:
        self.began.append(command)
        await asyncio.sleep(command.seconds)
        return f"slept {command.seconds}"


class Boom(LookupError):
    pass


async def fail(command: Fail) -> int:
    await asyncio.sleep(0)
    raise Boom


def assert_balanced(stats: Stats, **counts: int) -> None:
    ends = stats.handled + stats.failed + stats.dropped + stats.expired + stats.rejected_at_close
    assert stats.emitted == ends + stats.pending, stats
    assert {name: getattr(stats, name) for name in counts} == counts


async def test_a_reply_comes_from_the_mailbox() -> None:
    """Whatever kind of handler: asynchronous, synchronous, suspending, wired, of an actor."""
    registry = MessageRegistry(event_base=Event)
    left: list[str] = []

    class Twice(Command[int]):
        number: int

    class Session:
        factor = 2

    class Count(Command[int]):
        pass

    @registry.factory
    async def session() -> AsyncIterator[Session]:
        yield Session()
        left.append("session")

    @registry.register
    async def twice(command: Twice, session: Session, context: MessageContext) -> int:
        await asyncio.sleep(0)
        return command.number * session.factor

    @registry.register
    def plain(command: Add, bus: EventBus[Event]) -> int:
        return command.left + command.right

    @registry.register(lifetime="actor")
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def count_one(self, command: Count) -> int:
            self.count += 1
            return self.count

    async with BusTerminal(registry) as terminal:
        bus = terminal.bus
        assert await bus.ask(Twice(21)) == 42
        assert left == ["session"]
        assert await bus.ask(Add(1, 2)) == 3
        assert [await bus.ask(Count(), key="a") for _ in range(3)] == [1, 2, 3]
        assert await bus.ask(Count(), key="b") == 1
        async with terminal.scope("a") as scope:
            assert await scope.bus.ask(Count()) == 4
        assert_balanced(terminal.stats(), emitted=7, handled=7, asked=7)


async def test_replies_may_be_anything() -> None:
    """None, something falsy, an exception that is returned: each comes back as it is."""

    class Echo(Command[object]):
        value: object

    async def echo(command: Echo) -> object:
        return command.value

    async with terminal_with(echo) as terminal:
        values: tuple[object, ...] = (None, 0, "", [], LookupError("a value"))
        for value in values:
            assert await terminal.bus.ask(Echo(value)) is value


async def test_commands_of_one_mailbox_are_carried_out_in_turn() -> None:
    """Together with the events that it has, in the order in which they came."""
    sleeper = Sleeper()
    order: list[int] = []

    async def tick(tick: Tick) -> None:
        order.append(len(sleeper.began))

    loop = asyncio.get_running_loop()
    async with terminal_with(sleeper.sleep, tick) as terminal:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(terminal.bus.ask(Sleep(), key="box"))
                await asyncio.sleep(0)
                terminal.bus.emit(Tick(), key="box")
        await terminal.drain()
        assert loop.time() == 3
    assert order == [1, 2, 3]


async def test_the_handlers_exception_is_the_callers() -> None:
    """The very object, with the handler's line in its traceback, and no cycle left behind."""
    async with terminal_with(fail) as terminal:
        with pytest.raises(Boom) as caught:
            await terminal.bus.ask(Fail())
        lines = traceback.extract_tb(caught.value.__traceback__)
        assert lines[-1].name == "fail"
        assert_balanced(terminal.stats(), failed=1, dead_letters=0)

        async def ask() -> weakref.ref[BaseException]:
            try:
                await terminal.bus.ask(Fail())
            except Boom as error:
                return weakref.ref(error)
            raise AssertionError

        gc.collect()
        gc.disable()
        try:
            gone = await ask()
            # The step that a future has woken holds it until it ends.
            await asyncio.sleep(0)
            assert gone() is None
        finally:
            gc.enable()


async def test_a_reply_that_does_not_come_in_time() -> None:
    """The caller is told; the handler goes on, and its reply is a notice outside the ledger."""
    sleeper = Sleeper()
    letters: list[DeadLetter] = []

    async def hear(letter: DeadLetter) -> None:
        letters.append(letter)

    loop = asyncio.get_running_loop()
    async with terminal_with(sleeper.sleep, hear) as terminal:
        with pytest.raises(AskTimeout, match=r"no reply to Sleep.* within 5.0 s") as caught:
            await terminal.bus.ask(Sleep(6.0))
        assert isinstance(caught.value, TimeoutError)
        assert loop.time() == 5
        await terminal.drain()
        assert loop.time() == 6
        assert_balanced(terminal.stats(), handled=1)
    assert [(each.message, each.reason) for each in letters] == [(Sleep(6.0), "late_reply")]


async def test_an_error_that_comes_too_late_is_told() -> None:
    """It is the cause of the notice's error, as nobody else has it; the attempts are counted."""
    registry = MessageRegistry(event_base=Event)
    began = 0

    @registry.register(retry=Retry(attempts=2, backoff=1.0, jitter=False))
    async def refuse(command: Sleep) -> str:
        nonlocal began
        began += 1
        if began == 4:
            return "awake"
        raise Boom(began)

    async with BusTerminal(registry) as terminal:
        for _ in range(2):
            with pytest.raises(AskTimeout):
                await terminal.bus.ask(Sleep(), timeout=0.5)
            await terminal.drain()
        failed, replied = terminal.dead_letters
        assert (failed.reason, failed.attempts) == ("late_reply", 2)
        assert isinstance(failed.error.__cause__, Boom)
        assert failed.error.__cause__.args == (2,)
        assert (replied.reason, replied.attempts) == ("late_reply", 2)
        assert replied.error.__cause__ is None
        assert_balanced(terminal.stats(), handled=1, failed=1)


async def test_a_reply_that_comes_as_its_caller_is_cancelled() -> None:
    """Nobody gets it, so it is a late one, although the caller has not had its turn yet."""
    letters: list[DeadLetter] = []
    gate = asyncio.Event()

    async def wait_and_fail(command: Fail) -> int:
        await gate.wait()
        raise Boom

    async def hear(letter: DeadLetter) -> None:
        letters.append(letter)

    async with terminal_with(wait_and_fail, hear) as terminal:
        task = asyncio.create_task(terminal.bus.ask(Fail()))
        await asyncio.sleep(1)
        gate.set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await terminal.drain()
    assert [each.reason for each in letters] == ["late_reply"]


async def test_an_ask_that_is_given_up_before_it_began_never_begins() -> None:
    """Whether its time is over or its caller is cancelled; it has expired."""
    sleeper = Sleeper()
    async with terminal_with(sleeper.sleep) as terminal:
        first = asyncio.create_task(terminal.bus.ask(Sleep(10.0), key="box", timeout=60))
        await asyncio.sleep(0)
        with pytest.raises(AskTimeout):
            await terminal.bus.ask(Sleep(2.0), key="box", timeout=1)
        cancelled = asyncio.create_task(terminal.bus.ask(Sleep(3.0), key="box"))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await terminal.bus.ask(Sleep(4.0), key="box")
        assert await first == "slept 10.0"
        await terminal.drain()
        assert_balanced(terminal.stats(), handled=1, expired=3, asked=4, dead_letters=0)
    assert sleeper.began == [Sleep(10.0)]


async def test_nothing_is_kept_of_an_ask_that_is_over() -> None:
    """Neither the reply's future nor a timer outlives it."""
    sleeper = Sleeper()
    async with terminal_with(sleeper.sleep, add) as terminal:
        for number in range(100):
            assert await terminal.bus.ask(Add(number, 1)) == number + 1
            with pytest.raises(AskTimeout):
                await terminal.bus.ask(Sleep(2.0), key=number, timeout=1)
        await terminal.drain()
        gc.collect()
        assert sum(type(each) is asyncio.Future for each in gc.get_objects()) < 25
        assert_balanced(terminal.stats(), handled=200)


@pytest.mark.parametrize("behind", [False, True], ids=["each its own timeout", "behind one"])
async def test_asks_that_have_ended_do_not_gather(behind: bool) -> None:
    """Neither behind one that takes long, nor if no two of them have the same timeout."""
    sleeper = Sleeper()
    async with terminal_with(sleeper.sleep) as terminal:
        first = asyncio.create_task(terminal.bus.ask(Sleep(3_000.0), key="long", timeout=3_600))
        await asyncio.sleep(0)
        for number in range(2_000):
            timeout = 3_600 if behind else 3_000 + number
            await terminal.bus.ask(Sleep(0.0), key="short", timeout=timeout)
        kept = [each for each in gc.get_objects() if type(each).__name__ in {"Ask", "Row"}]
        assert len(kept) < 1_000
        # The one that takes long is waited for as before.
        assert not first.done()
        assert await first == "slept 3000.0"
        with pytest.raises(AskTimeout):
            await terminal.bus.ask(Sleep(3_601.0), key="long", timeout=3_600)


@pytest.mark.parametrize("handed_down", [False, True])
async def test_the_callers_variables_are_not_kept(handed_down: bool) -> None:
    """The timer of asks that come one after the other has none of them."""
    variable: ContextVar[object] = ContextVar("variable")
    sleeper = Sleeper()

    class Request:
        """What a caller's context holds."""

    async def call(command: Fail, bus: EventBus[Event]) -> int:
        await bus.ask(Sleep(1.0), key="sleeper", timeout=60)
        return 0

    async with terminal_with(sleeper.sleep, call) as terminal:

        async def ask() -> weakref.ref[Request]:
            request = Request()
            variable.set(request)
            if handed_down:
                await terminal.bus.ask(Fail(), key="caller", timeout=50)
            else:
                await terminal.bus.ask(Sleep(1.0), key="sleeper", timeout=60)
            return weakref.ref(request)

        gone = await asyncio.create_task(ask())
        await terminal.drain()
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None


async def test_a_full_mailbox_refuses_an_ask() -> None:
    """A command takes a place as a message does; under a policy that drops, its caller is told."""
    sleeper = Sleeper()
    policies = {Sleep: MailboxPolicy(1), Add: MailboxPolicy(1, "drop_newest")}
    async with terminal_with(sleeper.sleep, add, mailbox=policies) as terminal:
        tasks: list[asyncio.Task[str]] = []
        for _ in range(2):
            tasks.append(asyncio.create_task(terminal.bus.ask(Sleep(), key="box")))
            await asyncio.sleep(0.1)
        with pytest.raises(MailboxFull) as caught:
            await terminal.bus.ask(Sleep(5.0), key="box")
        assert caught.value.message == Sleep(5.0)
        with pytest.raises(MailboxFull, match="was dropped"):
            await terminal.bus.ask(Add(1, 2), key="box")
        await asyncio.gather(*tasks)
        assert_balanced(terminal.stats(), handled=2, dropped=1, dead_letters=0)


async def test_a_handler_that_asks_its_own_mailbox_is_told() -> None:
    """At the call, not after five seconds; it goes on, and so does its mailbox."""
    loop = asyncio.get_running_loop()

    async def tick(tick: Tick, bus: EventBus[Event]) -> None:
        with pytest.raises(DeadlockError, match="asks its own mailbox 'box'"):
            await bus.ask(Add(1, 2))
        # Another mailbox will do.
        assert await bus.ask(Add(1, 2), key="other") == 3

    async with terminal_with(tick, add) as terminal:
        await terminal.bus.emit(Tick(), key="box").wait()
        assert await terminal.bus.ask(Add(2, 2), key="box") == 4
        assert loop.time() == 0


async def test_handlers_of_the_pool_that_ask_do_not_starve_it() -> None:
    """While it waits, one gives its slot back."""
    replies: list[int] = []

    async def tick(tick: Tick, bus: EventBus[Event]) -> None:
        replies.append(await bus.ask(Add(tick.number, 1)))

    async with terminal_with(tick, add, concurrency=2) as terminal:
        for number in range(100):
            terminal.bus.emit(Tick(number))
        await terminal.drain()
        assert_balanced(terminal.stats(), handled=200)
    assert sorted(replies) == list(range(1, 101))


async def test_who_asks_a_terminal_that_closes_is_told() -> None:
    """Before, while and after it does; nobody hangs."""
    sleeper = Sleeper()
    terminal = terminal_with(sleeper.sleep)
    running = asyncio.create_task(terminal.bus.ask(Sleep(60.0), key="box", timeout=100))
    queued = asyncio.create_task(terminal.bus.ask(Sleep(1.0), key="box", timeout=100))
    await asyncio.sleep(0)
    closing = asyncio.create_task(terminal.close(timeout=5))
    await asyncio.sleep(1)
    with pytest.raises(TerminalClosed):
        await terminal.bus.ask(Sleep())
    report = await closing
    for task in (running, queued):
        with pytest.raises(TerminalClosed):
            await task
    assert report.undelivered == (Sleep(1.0),)
    assert_balanced(terminal.stats(), failed=1, rejected_at_close=1, pending=0)


async def test_a_handler_that_outlives_the_close_keeps_nobody_waiting() -> None:
    """Its caller's time is over when it said."""
    gate = asyncio.Event()

    async def stubborn(command: Fail) -> int:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        return 1

    terminal = terminal_with(stubborn)
    task = asyncio.create_task(terminal.bus.ask(Fail(), timeout=30))
    await asyncio.sleep(1)
    report = await terminal.close(timeout=0)
    assert len(report.stuck) == 1
    with pytest.raises(AskTimeout):
        await task
    assert asyncio.get_running_loop().time() == 30
    gate.set()
    await asyncio.sleep(0)


async def test_what_cannot_be_asked_is_refused() -> None:
    """No handler, no time, no scope any more: nothing is queued then."""
    async with terminal_with(add) as terminal:
        with pytest.raises(NoHandler, match="Missing"):
            await terminal.bus.ask(Missing())
        wrong: list[Any] = [None, -1, float("inf"), "5"]
        for timeout in wrong:
            with pytest.raises((TypeError, ValueError), match="timeout is a .*number of seconds"):
                await terminal.bus.ask(Add(1, 2), timeout=timeout)
        async with terminal.scope("a") as scope:
            pass
        with pytest.raises(ScopeClosed):
            await scope.bus.ask(Add(1, 2))
        assert terminal.stats().emitted == 0


async def test_guards_wrap_what_is_asked() -> None:
    """The reply is theirs to change."""
    registry = MessageRegistry(event_base=Event)
    registry.register(add)

    @registry.guard
    async def double(command: Add, context: MessageContext, proceed: Any) -> int:
        reply: int = await proceed()
        return reply * 2

    async with BusTerminal(registry) as terminal:
        assert await terminal.bus.ask(Add(1, 2)) == 6


async def test_an_ask_is_caused_and_counted_like_any_message() -> None:
    """Ids go on, a chain that is too long ends, and the caller is told."""
    causes: list[str | None] = []

    class Again(Command[int]):
        number: int

    async def again(command: Again, context: MessageContext, bus: EventBus[Event]) -> int:
        causes.append(context.causation_id)
        return await bus.ask(Again(command.number + 1), key=command.number + 1)

    async with terminal_with(again, max_hops=3) as terminal:
        with pytest.raises(RecursionError, match="a chain of more than 3 causes"):
            await terminal.bus.ask(Again(0), key=0)
        assert_balanced(terminal.stats(), asked=5, failed=5)
    assert causes[0] is None
    assert all(causes[1:])


async def test_threads_may_ask() -> None:
    """The thread blocks, and has the reply or the error."""
    async with terminal_with(add, fail) as terminal:
        bus = terminal.bus.from_thread
        assert await asyncio.to_thread(bus.ask, Add(20, 22), key="box") == 42
        with pytest.raises(LookupError):
            await asyncio.to_thread(bus.ask, Fail())
