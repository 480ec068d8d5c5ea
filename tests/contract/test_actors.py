"""Actors: one instance for each mailbox, touched by one message at a time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from contract.support import Boom, MakeTerminal, RunAsync, Stage, Work, ledger, settle
from hypothesis import given
from hypothesis import strategies as st
from reference import Ledger

from runtime import Event, EventBus
from runtime.errors import DeadlockError, DeliveryFailed, MailboxFull, NoActorKey


class Ask(Event):
    """What an actor's handler publishes in its turn."""


class Answer(Event):
    """What the handler of an `Ask` publishes."""


def make_actor(instances: list[Any], handle: Callable[..., Any]) -> type:
    """Return an actor class that notes its instances and hands its messages to `handle`."""

    class Actor:
        def __init__(self) -> None:
            self.numbers: list[int] = []
            instances.append(self)

        async def work(self, work: Work, bus: EventBus[object]) -> None:
            self.numbers.append(work.number)
            await handle(work, bus)

    return Actor


async def nothing(work: Work, bus: EventBus[object]) -> None:
    """Handle a message without doing anything."""


@given(
    messages=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=20)
)
def test_actor_has_an_instance_for_each_key(
    make_terminal: MakeTerminal, run_async: RunAsync, messages: list[tuple[int, int, bool]]
) -> None:
    """It sees the messages of its key in order, one at a time, emitted or published."""
    instances: list[Any] = []
    busy: set[int] = set()

    async def suspend(work: Work, bus: EventBus[object]) -> None:
        key, suspensions, _ = messages[work.number]
        assert key not in busy
        busy.add(key)
        for _ in range(suspensions):
            await asyncio.sleep(0)
        busy.remove(key)

    async def main() -> None:
        async with make_terminal([make_actor(instances, suspend)]) as terminal:
            for number, (key, _, publish) in enumerate(messages):
                if publish:
                    async with terminal.scope(key) as scope:
                        await scope.bus.publish(Work(number))
                else:
                    terminal.bus.emit(Work(number), key=key)
            await terminal.drain()
            expected = [
                [number for number, message in enumerate(messages) if message[0] == key]
                for key in {message[0] for message in messages}
            ]
            assert sorted(each.numbers for each in instances) == sorted(expected)
            emitted = sum(not publish for _, _, publish in messages)
            assert ledger(terminal) == Ledger(emitted, handled=emitted)

    run_async(main())


async def test_actor_needs_a_key(make_terminal: MakeTerminal) -> None:
    """Where nothing names a mailbox, every verb says so, naming the actor and not its neighbour."""

    def neighbour(work: Work) -> None: ...

    actor = make_actor([], nothing)
    async with make_terminal([neighbour, actor]) as terminal, terminal.scope() as anonymous:
        for bus in (terminal.bus, anonymous.bus):
            with pytest.raises(NoActorKey, match=r"Actor\.work .* is an actor's handler"):
                bus.emit(Work(0))
            with pytest.raises(NoActorKey, match=r"Actor\.work .* is an actor's handler"):
                await bus.offer(Work(0))
            with pytest.raises(NoActorKey, match=r"Actor\.work .* is an actor's handler"):
                await bus.publish(Work(0))
        assert ledger(terminal) == Ledger()


async def test_publish_reaches_an_actor_at_its_place(make_terminal: MakeTerminal) -> None:
    """It waits for the turn of the actor's mailbox, in the order of the event's handlers."""
    stage = Stage(hold={0})
    calls: list[str] = []

    async def work(work: Work, bus: EventBus[object]) -> None:
        await stage.work(work)
        calls.append(f"actor {work.number}")

    def before(work: Work) -> None:
        calls.append(f"before {work.number}")

    def after(work: Work) -> None:
        calls.append(f"after {work.number}")

    async with make_terminal([before, make_actor([], work), after]) as terminal:
        terminal.bus.emit(Work(0), key="a")
        async with terminal.scope("a") as scope:
            await settle()
            publishing = asyncio.create_task(scope.bus.publish(Work(1)))
            await settle()
            assert calls == ["before 0", "before 1"]
            stage.release(0)
            await publishing
        assert calls[2:] == ["actor 0", "after 0", "actor 1", "after 1"]
        assert ledger(terminal) == Ledger(1, handled=1)


async def test_publish_to_an_actor_needs_no_room(make_terminal: MakeTerminal) -> None:
    """It takes none of the capacity, and enters a full mailbox while offers wait outside."""
    stage = Stage(hold={0})

    async def work(work: Work, bus: EventBus[object]) -> None:
        await stage.work(work)

    async with make_terminal([make_actor([], work)], capacity=1) as terminal:
        async with terminal.scope("a") as scope:
            scope.bus.emit(Work(0))
            await settle()
            tasks = [asyncio.create_task(scope.bus.publish(Work(1)))]
            await settle()
            scope.bus.emit(Work(2))
            with pytest.raises(MailboxFull, match="its capacity is 1"):
                scope.bus.emit(Work(99))
            tasks.append(asyncio.create_task(scope.bus.offer(Work(4))))
            await settle()
            tasks.append(asyncio.create_task(scope.bus.publish(Work(3))))
            await settle()
            stage.release(0)
            await asyncio.gather(*tasks)
        await terminal.drain()
        assert stage.started == [0, 1, 2, 3, 4]
        assert ledger(terminal) == Ledger(3, handled=3)


async def test_error_of_an_actor_reaches_its_publisher(make_terminal: MakeTerminal) -> None:
    """It is the very object, later handlers do not run, and the actor goes on."""
    error = Boom()
    instances: list[Any] = []
    calls: list[int] = []

    async def fail_first(work: Work, bus: EventBus[object]) -> None:
        if work.number == 0:
            raise error

    def after(work: Work) -> None:
        calls.append(work.number)

    async with make_terminal([make_actor(instances, fail_first), after]) as terminal:
        async with terminal.scope("a") as scope:
            with pytest.raises(Boom) as caught:
                await scope.bus.publish(Work(0))
            assert caught.value is error
            await scope.bus.publish(Work(1))
        assert calls == [1]
        assert [each.numbers for each in instances] == [[0, 1]]
        assert ledger(terminal) == Ledger()


async def test_publish_to_an_actor_is_withdrawn_with_its_caller(
    make_terminal: MakeTerminal,
) -> None:
    """A caller cancelled before the actor's turn leaves nothing behind; after it, too late."""
    stage = Stage(hold={0})

    async def work(work: Work, bus: EventBus[object]) -> None:
        await stage.work(work)

    async with make_terminal([make_actor([], work)]) as terminal, terminal.scope("a") as scope:
        running, waiting = (
            asyncio.create_task(scope.bus.publish(Work(number))) for number in range(2)
        )
        await settle()
        assert stage.started == [0]
        for task in (running, waiting):
            task.cancel()
        await settle()
        assert running.cancelled()
        assert waiting.cancelled()
        stage.release(0)
        await terminal.drain()
        assert (stage.finished, stage.cancelled) == ([0], [])
        terminal.bus.emit(Work(2), key="a")
        await terminal.drain()
        assert stage.started == [0, 2]
        assert ledger(terminal) == Ledger(1, handled=1)


async def test_failed_start_fails_its_message(make_terminal: MakeTerminal) -> None:
    """An actor that cannot be made is tried again for the next message."""
    error = Boom()
    attempts: list[int] = []

    class Shy:
        def __init__(self) -> None:
            attempts.append(len(attempts))
            if len(attempts) == 1:
                raise error

        def work(self, work: Work) -> None: ...

    async with make_terminal([Shy]) as terminal:
        deliveries = [terminal.bus.emit(Work(number), key="a") for number in range(3)]
        with pytest.raises(DeliveryFailed, match=r"Shy\.work of Work") as caught:
            await deliveries[0].wait()
        assert caught.value.__cause__ is error
        await deliveries[1].wait()
        await deliveries[2].wait()
        assert attempts == [0, 1]
        assert ledger(terminal) == Ledger(3, handled=2, failed=1)


class Asking:
    """An actor that publishes on its own turn, and hears the answer to what it asks."""

    def __init__(self) -> None:
        self.caught: list[str] = []

    async def work(self, work: Work, bus: EventBus[object]) -> None:
        """Publish to the neighbour, or to this very actor."""
        try:
            await bus.publish(Ask() if work.number else Answer())
        except DeadlockError as error:
            LOG.append(str(error))

    def answer(self, answer: Answer) -> None:
        """Hear an answer, which must not happen inside `work`."""
        LOG.append("answer")


class Echoing:
    """A second actor in the same mailbox, that answers at once."""

    async def ask(self, ask: Ask, bus: EventBus[object]) -> None:
        """Publish the answer."""
        LOG.append("ask")
        await bus.publish(Answer())


class Silent:
    """A second actor in the same mailbox, that takes its time and does not answer."""

    async def ask(self, ask: Ask) -> None:
        """Note the beginning and the end."""
        LOG.append("ask")
        await asyncio.sleep(0)
        LOG.append("asked")


LOG: list[str] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


async def test_publish_on_the_own_turn_runs_inline(make_terminal: MakeTerminal) -> None:
    """A neighbour in the same mailbox is reached at once, before what is queued."""

    def note(work: Work) -> None:
        LOG.append(f"work {work.number}")

    async with make_terminal([Asking, Silent, note]) as terminal:
        for number in (1, 2):
            terminal.bus.emit(Work(number), key="a")
        await terminal.drain()
        assert LOG == ["ask", "asked", "work 1", "ask", "asked", "work 2"]
        assert ledger(terminal) == Ledger(2, handled=2)


async def test_plain_handler_on_the_turn_publishes_inline(make_terminal: MakeTerminal) -> None:
    """A function that runs from the mailbox may publish to the actor that lives there."""

    async def ask(work: Work, bus: EventBus[object]) -> None:
        await bus.publish(Ask())
        LOG.append("returned")

    async with make_terminal([ask, Silent]) as terminal:
        await terminal.bus.emit(Work(0), key="a").wait()
        assert LOG == ["ask", "asked", "returned"]
        assert ledger(terminal) == Ledger(1, handled=1)


async def test_actor_does_not_publish_to_itself(make_terminal: MakeTerminal) -> None:
    """It would be inside two messages at once: DeadlockError, and the handler may go on."""
    async with make_terminal([Asking]) as terminal:
        await terminal.bus.emit(Work(0), key="a").wait()
        assert [each.partition(" publishes ")[2] for each in LOG] == [
            "to itself, which it could never finish; emit instead"
        ]
        assert ledger(terminal) == Ledger(1, handled=1)


async def test_actor_is_not_entered_again_through_another(make_terminal: MakeTerminal) -> None:
    """An instance anywhere on the chain of publishes is busy, and the publisher is told so."""
    async with make_terminal([Asking, Echoing]) as terminal:
        await terminal.bus.emit(Work(1), key="a").wait()
        assert LOG[0] == "ask"
        assert [each.partition(" publishes ")[2] for each in LOG[1:]] == [
            "to itself, which it could never finish; emit instead"
        ]
        assert ledger(terminal) == Ledger(1, handled=1)
