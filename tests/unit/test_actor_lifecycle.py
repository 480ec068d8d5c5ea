"""Actors that have something to start and to stop: their owner enters and leaves them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Annotated, Any, Self

import pytest

from runtime import BusTerminal, Event, MessageRegistry, use
from runtime.errors import DeadlockError, DeliveryFailed

SIMULATED = True


class Work(Event):
    number: int = 0


class Boom(Exception):
    """What an actor raises on purpose."""


user: ContextVar[str] = ContextVar("user", default="nobody")


def terminal_of(*actors: type, **options: Any) -> BusTerminal[Event]:
    registry = MessageRegistry(event_base=Event)
    for actor in actors:
        registry.register(actor, lifetime="actor")
    return BusTerminal(registry, **options)


async def test_actor_is_started_and_stopped_by_one_task_of_its_own() -> None:
    """The start sees no message's variables; the stop comes with the close, in the same task."""
    log: list[tuple[str, asyncio.Task[Any] | None]] = []

    class Actor:
        async def __aenter__(self) -> None:
            self.group = asyncio.TaskGroup()
            await self.group.__aenter__()
            self.heart = self.group.create_task(asyncio.sleep(3_600))
            log.append((f"start for {user.get()}", asyncio.current_task()))

        async def __aexit__(self, *error: object) -> None:
            assert error == (None, None, None)
            self.heart.cancel()
            # Only the task that has entered a group may leave it.
            await self.group.__aexit__(None, None, None)
            log.append(("stop", asyncio.current_task()))

        async def work(self, work: Work) -> None:
            log.append((f"work for {user.get()}", asyncio.current_task()))

    async with terminal_of(Actor) as terminal:
        user.set("ada")
        for number in range(2):
            terminal.bus.emit(Work(number), key="a")
        await terminal.drain()
    assert [each for each, _ in log] == ["start for nobody", "work for ada", "work for ada", "stop"]
    owner, worker, _, last = (task for _, task in log)
    assert owner is last
    assert owner is not worker


async def test_synchronous_context_manager_is_an_actor_too() -> None:
    """It is entered before the first message and left at the close."""
    log: list[str] = []

    class Actor:
        def __enter__(self) -> Self:
            log.append("start")
            return self

        def __exit__(self, *error: object) -> None:
            log.append("stop")

        def work(self, work: Work) -> None:
            log.append(f"work {work.number}")

    async with terminal_of(Actor) as terminal, terminal.scope("a") as scope:
        await scope.bus.publish(Work(1))
        await scope.bus.publish(Work(2))
    assert log == ["start", "work 1", "work 2", "stop"]


async def test_slow_start_holds_up_its_own_mailbox_only() -> None:
    """While one actor starts, those of other keys handle their messages."""
    log: list[str] = []

    class Actor:
        async def __aenter__(self) -> None:
            log.append("start")
            await asyncio.sleep(0 if log.count("start") > 1 else 10)

        async def __aexit__(self, *error: object) -> None: ...

        async def work(self, work: Work) -> None:
            log.append(f"work {work.number} at {asyncio.get_running_loop().time():.0f}")

    async with terminal_of(Actor) as terminal:
        for number in range(4):
            terminal.bus.emit(Work(number), key="slow" if number < 2 else "fast")
        await terminal.drain()
    assert log == ["start", "start", "work 2 at 0", "work 3 at 0", "work 0 at 10", "work 1 at 10"]


async def test_failed_start_fails_its_message_and_is_tried_again() -> None:
    """What the start has entered before is left; the next message starts another instance."""
    log: list[str] = []
    boom = Boom()

    class Resource:
        """What an actor is built from."""

    @asynccontextmanager
    async def resource() -> AsyncGenerator[Resource]:
        log.append("open")
        try:
            yield Resource()
        except Boom:
            log.append("roll back")
            raise
        finally:
            log.append("shut")

    class Actor:
        def __init__(
            self, resource: Annotated[Resource, use(resource, lifetime="transient")]
        ) -> None:
            self.resource = resource

        async def __aenter__(self) -> None:
            await asyncio.sleep(1)
            if log.count("open") == 1:
                raise boom

        async def __aexit__(self, *error: object) -> None:
            log.append("stop")

        async def work(self, work: Work) -> None:
            log.append(f"work {work.number}")

    async with terminal_of(Actor) as terminal:
        first, second = (terminal.bus.emit(Work(number), key="a") for number in range(2))
        with pytest.raises(DeliveryFailed) as caught:
            await first.wait()
        assert caught.value.__cause__ is boom
        await second.wait()
        stats = terminal.stats()
        assert (stats.emitted, stats.handled, stats.failed) == (2, 1, 1)
    assert log == ["open", "roll back", "shut", "open", "work 1", "stop", "shut"]


async def test_what_a_plain_actor_was_built_from_is_left_by_its_owner() -> None:
    """A transient context manager lives as long as the actor that has asked for it."""
    log: list[object] = []

    class Resource:
        """What an actor is built from."""

    def resource() -> Iterator[Resource]:
        log.append(asyncio.current_task())
        yield Resource()
        log.append(asyncio.current_task())

    class Actor:
        def __init__(
            self, resource: Annotated[Resource, use(resource, lifetime="transient")]
        ) -> None: ...

        def work(self, work: Work) -> None:
            log.append(work.number)

    async with terminal_of(Actor) as terminal:
        await terminal.bus.emit(Work(1), key="a").wait()
        await terminal.bus.emit(Work(2), key="a").wait()
        assert log[1:] == [1, 2]
    assert log[3] is log[0]
    assert log[0] is not asyncio.current_task()


async def test_start_that_nobody_waits_for_any_more_is_the_mailboxs() -> None:
    """A handler cancelled during the start leaves one instance, which the next message finds."""
    log: list[str] = []

    class Actor:
        async def __aenter__(self) -> None:
            log.append("start")
            await asyncio.sleep(10)
            log.append("started")

        async def __aexit__(self, *error: object) -> None:
            log.append("stop")

        async def work(self, work: Work) -> None:
            log.append(f"work {work.number}")

    async with terminal_of(Actor) as terminal:
        first = terminal.bus.emit(Work(1), key="a")
        await asyncio.sleep(1)
        (worker,) = terminal._host.workers.running()
        worker.cancel()
        with pytest.raises(DeliveryFailed):
            await first.wait()
        await terminal.drain()
        await terminal.bus.emit(Work(2), key="a").wait()
    assert log == ["start", "started", "work 2", "stop"]


async def test_actor_does_not_publish_to_itself_while_it_starts() -> None:
    """Its mailbox could not get to that before the start has ended: DeadlockError."""
    log: list[str] = []

    class Actor:
        def __init__(self, terminal: BusTerminal[Event]) -> None:
            self.terminal = terminal

        async def __aenter__(self) -> None:
            async with self.terminal.scope("a") as scope:
                with pytest.raises(DeadlockError, match="publishes .* to its own mailbox 'a'"):
                    await scope.bus.publish(Work(2))
                log.append("told")

        async def __aexit__(self, *error: object) -> None: ...

        async def work(self, work: Work) -> None:
            log.append(f"work {work.number}")

    async with terminal_of(Actor) as terminal:
        await terminal.bus.emit(Work(1), key="a").wait()
    assert log == ["told", "work 1"]


async def test_actors_are_left_the_last_made_first(caplog: pytest.LogCaptureFixture) -> None:
    """What an actor was built from outlives it, and one that fails to stop keeps nobody."""
    log: list[str] = []
    registry = MessageRegistry(event_base=Event)

    class Store:
        """What lives as long as the mailbox."""

    @registry.factory(lifetime="actor")
    async def store() -> AsyncIterator[Store]:
        try:
            yield Store()
        finally:
            log.append("store")

    @registry.register(lifetime="actor")
    class Actor:
        def __init__(self, store: Store) -> None: ...

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *error: object) -> None:
            log.append("actor")
            raise Boom

        async def work(self, work: Work) -> None: ...

    terminal = BusTerminal(registry)
    await terminal.bus.emit(Work(1), key="a").wait()
    with pytest.raises(Boom):
        await terminal.close()
    assert log == ["actor", "store"]
    assert caplog.records == []
