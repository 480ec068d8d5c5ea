"""What becomes of an actor that fails: it stays, is restarted, or stops."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from runtime import BusTerminal, Command, Event, EventBus, MessageRegistry, concurrent
from runtime.errors import ActorRestarting, DeliveryFailed, HandlerSignatureError, TerminalClosed
from runtime.signature import OnFailure

SIMULATED = True


class Work(Event):
    number: int = 0


class Ping(Event):
    pass


class Get(Command[int]):
    __key__: ClassVar[str] = "key"
    key: str = "a"
    fails: bool = False


class Boom(Exception):
    """What an actor raises on purpose."""


class Actor:
    """An actor that notes everything, and fails where it is told to."""

    log: ClassVar[list[str]] = []
    count: ClassVar[int] = 0
    fails_at: ClassVar[set[int]] = set()
    fails_to_start: ClassVar[set[int]] = set()
    fails_to_stop: ClassVar[BaseException | None] = None

    def __init__(self) -> None:
        type(self).count += 1
        self.id = self.count

    async def __aenter__(self) -> None:
        if self.id in self.fails_to_start:
            self.log.append(f"{self.id} fails to start")
            raise Boom
        self.log.append(f"{self.id} starts")

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await asyncio.sleep(1)
        self.log.append(f"{self.id} stops after {kind.__name__ if kind else 'nothing'}")
        if self.fails_to_stop is not None:
            raise self.fails_to_stop

    async def work(self, work: Work) -> None:
        """Handle an event, after a moment in which others can be queued."""
        await asyncio.sleep(1)
        if work.number in self.fails_at:
            raise Boom
        self.log.append(f"{self.id} works on {work.number}")

    async def get(self, get: Get) -> int:
        """Reply to a command, or fail at it."""
        if get.fails:
            raise Boom
        return self.id


@pytest.fixture(autouse=True)
def _fresh_actor() -> None:
    Actor.log, Actor.count = [], 0
    Actor.fails_at, Actor.fails_to_start, Actor.fails_to_stop = set(), set(), None


def terminal_of(on_failure: OnFailure, *others: Any, **options: Any) -> BusTerminal[Event]:
    registry = MessageRegistry(event_base=Event)
    registry.register(Actor, lifetime="actor", on_failure=on_failure)
    registry.register(*others)
    return BusTerminal(registry, **options)


def nothing(ping: Ping) -> None: ...
def more(ping: Ping) -> None: ...


EXPECTED: dict[OnFailure, list[str]] = {
    "resume": ["1 starts", "1 works on 1", "1 works on 3", "1 stops after nothing"],
    "restart": [
        "1 starts",
        "1 works on 1",
        "1 stops after Boom",
        "2 starts",
        "2 works on 3",
        "2 stops after nothing",
    ],
    "stop": ["1 starts", "1 works on 1", "1 stops after Boom"],
}


@pytest.mark.parametrize("on_failure", EXPECTED)
async def test_rules_for_an_event_that_fails(on_failure: OnFailure) -> None:
    """The failed message is not handled again; what is queued behind it is, by whoever is there."""
    Actor.fails_at = {2}
    async with terminal_of(on_failure, nothing, more) as terminal:
        deliveries = [terminal.bus.emit(Work(number), key="a") for number in (1, 2, 3)]
        await terminal.drain()
        assert all(delivery.done() for delivery in deliveries)
        stats = terminal.stats()
        failed = 2 if on_failure == "stop" else 1
        assert (stats.emitted, stats.handled, stats.failed) == (3, 3 - failed, failed)
    assert Actor.log == EXPECTED[on_failure]


async def test_old_instance_is_left_before_a_new_one_starts() -> None:
    """The stop takes its second, and others of the mailbox wait for it."""
    Actor.fails_at = {1}
    async with terminal_of("restart", nothing, more) as terminal:
        terminal.bus.emit(Work(1), key="a")
        await terminal.bus.emit(Work(2), key="a").wait()
        assert asyncio.get_running_loop().time() == pytest.approx(3)
    assert Actor.log[:3] == ["1 starts", "1 stops after Boom", "2 starts"]


async def test_publishes_that_wait_fail_over_a_restart() -> None:
    """They are told at once, with their message; what was emitted between them is handled."""
    Actor.fails_at = {1}
    async with terminal_of("restart", nothing, more) as terminal:
        async with terminal.scope("a") as scope:
            terminal.bus.emit(Work(1), key="a")
            await asyncio.sleep(0.5)
            publishes = [asyncio.create_task(scope.bus.publish(Work(n))) for n in (2, 4)]
            await asyncio.sleep(0)
            later = terminal.bus.emit(Work(3), key="a")
            for number, publish in zip((2, 4), publishes, strict=True):
                with pytest.raises(ActorRestarting, match=r"is restarted: Work") as caught:
                    await publish
                assert caught.value.message == Work(number)
            assert asyncio.get_running_loop().time() == pytest.approx(1)
            await later.wait()
            await scope.bus.publish(Work(5))
        assert Actor.log[1:] == ["1 stops after Boom", "2 starts", "2 works on 3", "2 works on 5"]
        assert terminal.stats().emitted == 2


async def test_stopped_actor_takes_nothing() -> None:
    """Publish and send raise TerminalClosed; events are dead letters with the reason `closed`."""
    Actor.fails_at = {1}
    async with terminal_of("stop", nothing, more) as terminal:
        async with terminal.scope("a") as scope:
            terminal.bus.emit(Work(1), key="a")
            await asyncio.sleep(0.5)
            waiting = asyncio.create_task(scope.bus.publish(Work(2)))
            queued = terminal.bus.emit(Work(3), key="a")
            with pytest.raises(TerminalClosed, match=r"mailbox 'a' has failed and is stopped"):
                await waiting
            with pytest.raises(DeliveryFailed) as failed:
                await queued.wait()
            (letter,) = failed.value.dead_letters
            assert (letter.message, letter.reason, letter.attempts) == (Work(3), "closed", 0)
            assert isinstance(letter.error, TerminalClosed)
            with pytest.raises(TerminalClosed) as caught:
                await scope.bus.publish(Work(4))
            assert caught.value.message == Work(4)
            with pytest.raises(DeliveryFailed):
                await terminal.bus.emit(Work(5), key="a").wait()
        # Other keys have actors of their own, and an empty mailbox costs nothing.
        await terminal.bus.emit(Work(6), key="b").wait()
        assert terminal._core.mailbox_names() == ("b",)
        stats = terminal.stats()
        assert (stats.emitted, stats.handled, stats.failed, stats.dead_letters) == (4, 1, 3, 3)
    assert Actor.log[2:] == ["2 starts", "2 works on 6", "2 stops after nothing"]


async def test_publish_to_a_stopped_actor_does_not_wait() -> None:
    """Also where its mailbox has something else to do."""
    Actor.fails_at = {1}

    async def slow(ping: Ping) -> None:
        await asyncio.sleep(60)

    async with terminal_of("stop", slow, nothing) as terminal, terminal.scope("a") as scope:
        terminal.bus.emit(Work(1), key="a")
        await terminal.drain()
        terminal.bus.emit(Ping(), key="a")
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        with pytest.raises(TerminalClosed):
            await scope.bus.publish(Work(2))
        before = terminal.stats()
        with pytest.raises(TerminalClosed, match="is stopped"):
            await scope.bus.ask(Get(), key="a")
        assert terminal.stats() == before
        assert asyncio.get_running_loop().time() == began


async def test_close_that_cancels_a_handler_is_no_failure_of_its_actor(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The close leaves the instance, and nobody says that it was stopped."""
    registry = MessageRegistry(event_base=Event)

    class Hanging(Actor):
        async def work(self, work: Work) -> None:
            await asyncio.sleep(3_600)

    registry.register(Hanging, lifetime="actor", on_failure="stop")
    terminal = BusTerminal(registry)
    terminal.bus.emit(Work(1), key="a")
    report = await terminal.close(timeout=5)
    assert (report.failed, Actor.log) == (1, ["1 starts", "1 stops after nothing"])
    assert not any("is stopped" in each.getMessage() for each in caplog.records)


async def test_command_that_fails_is_a_reply() -> None:
    """Its error is its caller's, and the actor stays."""
    async with terminal_of("stop", nothing, more) as terminal:
        with pytest.raises(Boom):
            await terminal.bus.send(Get(fails=True))
        assert await terminal.bus.send(Get()) == 1
    assert Actor.log == ["1 starts", "1 stops after nothing"]


@pytest.mark.parametrize(
    ("on_failure", "log"),
    [
        ("resume", ["1 fails to start", "2 starts", "2 works on 2"]),
        ("restart", ["1 fails to start", "2 starts", "2 works on 2"]),
        ("stop", ["1 fails to start"]),
    ],
)
@pytest.mark.parametrize("by_command", [False, True])
async def test_failed_start_is_a_failure(
    on_failure: OnFailure, log: list[str], by_command: bool
) -> None:
    """It fails its message, an event or a command, and the rule holds for it."""
    Actor.fails_to_start = {1}
    async with terminal_of(on_failure, nothing, more) as terminal:
        if by_command:
            with pytest.raises(Boom):
                await terminal.bus.send(Get())
        else:
            terminal.bus.emit(Work(1), key=(Get, "a"))
        terminal.bus.emit(Work(2), key=(Get, "a"))
        await terminal.drain()
        assert Actor.log == log


@pytest.mark.parametrize(("pause", "count"), [(0.0, 6), (3.1, 8)])
async def test_too_many_restarts_stop_an_actor(pause: float, count: int) -> None:
    """Five are allowed in five seconds of the loop's clock; those that are further apart are."""
    Actor.fails_to_start = set(range(1, 100))
    async with terminal_of("restart", nothing, more) as terminal:
        for number in range(8):
            terminal.bus.emit(Work(number), key="a")
            await terminal.drain()
            await asyncio.sleep(pause)
        assert Actor.count == count
        await asyncio.sleep(10)
        terminal.bus.emit(Work(9), key="a")
        await terminal.drain()
        assert Actor.count == (count if count == 6 else 9)
        assert terminal.stats().failed == 9


async def test_failed_stop_is_logged_and_keeps_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The next instance starts all the same."""
    Actor.fails_at = {1}
    Actor.fails_to_stop = OSError("no way out")
    terminal = terminal_of("restart", nothing, more)
    terminal.bus.emit(Work(1), key="a")
    terminal.bus.emit(Work(2), key="a")
    await terminal.drain()
    assert Actor.log == ["1 starts", "1 stops after Boom", "2 starts", "2 works on 2"]
    assert any("could not be stopped well" in each.getMessage() for each in caplog.records)
    Actor.fails_to_stop = None
    await terminal.close()


async def test_restart_renews_what_the_actor_alone_was_built_from() -> None:
    """What another of the mailbox's was built from, too, is still that one's."""
    log: list[str] = []
    registry = MessageRegistry(event_base=Event)

    class Own:
        """What one actor is built from."""

    class Common:
        """What both are built from."""

    @registry.factory(lifetime="actor")
    async def own(common: Common) -> AsyncIterator[Own]:
        log.append("own opens")
        yield Own()
        log.append("own is left")

    @registry.factory(lifetime="actor")
    async def make_common() -> AsyncIterator[Common]:
        log.append("common opens")
        yield Common()
        log.append("common is left")

    class Failing:
        def __init__(self, own: Own) -> None: ...

        def work(self, work: Work) -> None:
            log.append(f"work {work.number}")
            if work.number == 1:
                raise Boom

    class Neighbour:
        def __init__(self, common: Common) -> None: ...

        def work(self, work: Work) -> None: ...

    registry.register(Failing, lifetime="actor", on_failure="restart")
    registry.register(Neighbour, lifetime="actor")
    async with BusTerminal(registry) as terminal:
        for number in range(3):
            terminal.bus.emit(Work(number), key="a")
        await terminal.drain()
    assert log[:4] == ["common opens", "own opens", "work 0", "work 1"]
    # It sees the failure, so it does not come to its last line.
    assert log[4:] == ["own opens", "work 2", "own is left", "common is left"]


async def test_start_that_is_under_way_ends_with_its_message() -> None:
    """A start whose message was cancelled is given up under `restart`: there are never two."""
    log: list[str] = []
    registry = MessageRegistry(event_base=Event)

    @registry.register(lifetime="actor", on_failure="restart")
    class Slow:
        async def __aenter__(self) -> None:
            log.append("start")
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                log.append("cancelled")
                raise

        async def __aexit__(self, *error: object) -> None:
            log.append("stop")

        async def work(self, work: Work) -> None:
            log.append(f"work {work.number}")

    async with BusTerminal(registry) as terminal:
        terminal.bus.emit(Work(1), key="a")
        terminal.bus.emit(Work(2), key="a")
        await asyncio.sleep(1)
        (worker,) = terminal._host.workers.running()
        worker.cancel()
        await terminal.drain()
    assert log == ["start", "cancelled", "start", "work 2", "stop"]


async def test_inline_publish_on_the_turn_is_watched_too() -> None:
    """A handler of the mailbox that publishes to the actor gets the error, and it is restarted."""
    Actor.fails_at = {1}
    caught: list[type] = []

    async def forward(ping: Ping, bus: EventBus[Event]) -> None:
        try:
            await bus.publish(Work(1))
        except Boom as error:
            caught.append(type(error))
            await bus.publish(Work(2))

    async with terminal_of("restart", forward, nothing) as terminal:
        await terminal.bus.emit(Ping(), key="a").wait()
        assert caught == [Boom]
        assert Actor.log == ["1 starts", "1 stops after Boom", "2 starts", "2 works on 2"]


async def test_publisher_of_the_users_own_is_watched_too() -> None:
    """An event that fails under it ends the actor before the next one is handled."""
    Actor.fails_at = {1}
    async with terminal_of("restart", nothing, more, publisher=concurrent) as terminal:
        terminal.bus.emit(Work(1), key="a")
        terminal.bus.emit(Work(2), key="a")
        await terminal.drain()
        assert Actor.log == ["1 starts", "1 stops after Boom", "2 starts", "2 works on 2"]


def wrong_function(registry: MessageRegistry[Event]) -> None:
    registry.register(nothing, on_failure="stop")  # type: ignore[bus-handler-signature]


def wrong_lifetime(registry: MessageRegistry[Event]) -> None:
    registry.register(Actor, lifetime="singleton", on_failure="restart")


def wrong_rule(registry: MessageRegistry[Event]) -> None:
    registry.register(Actor, lifetime="actor", on_failure="explode")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("register", "text"),
    [
        (wrong_function, r"nothing .* on_failure='stop' is for actors, classes registered with"),
        (wrong_lifetime, r"Actor .* on_failure='restart' is for actors"),
        (wrong_rule, r"Actor .* on_failure must be one of .* not 'explode'"),
    ],
)
def test_rule_is_for_actors(register: Any, text: str) -> None:
    """Whoever gives it to something else is told what it is for."""
    with pytest.raises(HandlerSignatureError, match=text):
        register(MessageRegistry(event_base=Event))


def test_rule_is_explained() -> None:
    """It stands with the actor's handlers, and with nobody else's."""
    explanation = terminal_of("restart", nothing, more).explain(Work)
    assert [each.on_failure for each in explanation.handlers] == ["restart"]
    assert "     on failure: restart the actor" in str(explanation).splitlines()
    (one, _) = terminal_of("restart", nothing, more).explain(Ping).handlers
    assert one.on_failure is None
