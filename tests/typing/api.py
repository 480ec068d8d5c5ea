"""How typed code uses the runtime. Read by type checkers, never run.

A line that must be an error carries a ``type: ignore`` with the code; checkers report one that is
not needed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Annotated, assert_type

from runtime import (
    BusTerminal,
    Command,
    DeadLetter,
    Delivery,
    Event,
    EventBus,
    MailboxPolicy,
    MessageContext,
    MessageRegistry,
    Record,
    Retry,
    Scope,
    ShutdownReport,
    Stats,
    run,
    use,
)
from runtime.sinks import SqliteSink
from runtime.sources import SqliteSource
from runtime.sources.sqlite import Buried
from runtime.testing import track
from runtime.threads import ThreadBus
from runtime.wire import CloudEvents


class UserEvent(Event):
    user_id: int


class UserCreated(UserEvent):
    name: str


class OrderEvent(Event):
    order_id: int


class GetUser(Command[str]):
    user_id: int


class Mailer:
    def __init__(self, host: str) -> None:
        self.host = host


registry = MessageRegistry(event_base=UserEvent)
assert_type(registry, MessageRegistry[UserEvent])
assert_type(MessageRegistry(), MessageRegistry[Event])


@registry.factory
def make_mailer() -> Mailer:
    return Mailer("localhost")


assert_type(make_mailer(), Mailer)


@registry.factory(lifetime="singleton")
def make_number() -> int:
    return 42


assert_type(make_number(), int)


@registry.register
async def greet(
    event: UserCreated,
    ctx: MessageContext,
    mailer: Annotated[Mailer, use(make_mailer, lifetime="scoped")],
    bus: EventBus[UserEvent],
) -> None:
    assert_type(ctx.causation_id, str | None)
    await bus.publish(UserCreated(event.user_id, mailer.host))
    bus.emit(event)


@registry.register()
def count(event: UserEvent) -> int:  # type: ignore[bus-reply-type]
    return event.user_id


# A decorated handler keeps its own type.
assert_type(count(event=UserEvent(1)), int)


@registry.register(lifetime="actor")
class Account:
    def __init__(self, mailer: Mailer) -> None:
        self.mailer = mailer

    async def created(self, event: UserCreated) -> None: ...


assert_type(Account(Mailer("here")).mailer, Mailer)
registry.register(greet, count)
registry.register(Account, lifetime="actor", on_failure="restart")
registry.register(Account, lifetime="actor", on_failure="explode")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
registry.register(Account, lifetime="forever")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
registry.factory(make_mailer, lifetime="forever")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


@registry.guard
async def allow(
    event: UserEvent, ctx: MessageContext, proceed: Callable[[], Awaitable[None]]
) -> None:
    await proceed()


@registry.factory(lifetime="transient")
async def make_text() -> AsyncIterator[str]:
    yield "text"


UserCreated(1, "Ada").name = "Bob"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
UserCreated(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def narrower(bus: EventBus[UserEvent]) -> EventBus[UserCreated]:
    return bus


def wider(bus: EventBus[UserEvent]) -> EventBus[Event]:
    return bus  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def other_thread(bus: EventBus[UserEvent]) -> None:
    outside = bus.from_thread
    assert_type(outside, ThreadBus[UserEvent])
    assert_type(outside.emit(UserCreated(1, "Ada"), key="ada"), Delivery)
    assert_type(outside.send(GetUser(1)), str)
    assert_type(outside.ask(GetUser(1)), str)
    outside.publish(UserEvent(1))
    outside.sink(UserEvent(1), UserCreated(1, "Ada"))
    outside.emit(OrderEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@registry.register(own_task=True)
async def bury(letter: DeadLetter) -> None:
    assert_type(letter.error, BaseException)
    assert_type(letter.attempts, int)
    assert_type(letter.message_id, str)
    assert_type(letter.mailbox, Hashable)
    assert_type(letter.age, float)


@registry.register(retry=Retry(attempts=2, on=(OSError, ValueError)), timeout=1)
async def insist(event: UserCreated) -> None: ...


registry.register(greet, insist, retry=None, timeout=None)
registry.register(insist, retry=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
Retry(on=(BaseException,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Retry().attempts = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


BusTerminal(
    registry,
    mailbox={UserEvent: MailboxPolicy(10, overflow="drop_oldest"), UserCreated: MailboxPolicy()},
    max_hops=None,
    idle_timeout=300,
)
BusTerminal(registry, mailbox=MailboxPolicy(overflow="explode"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def main() -> ShutdownReport:
    async with BusTerminal(registry, sink=SqliteSink("events.db")) as terminal:
        assert_type(terminal, BusTerminal[UserEvent])
        assert_type(terminal.bus, EventBus[UserEvent])
        async with terminal.scope("user:42") as scope:
            assert_type(scope, Scope[UserEvent])
            assert_type(await scope.bus.publish(UserCreated(42, "Ada")), None)
            assert_type(await scope.bus.send(GetUser(1)), str)
            assert_type(await scope.bus.ask(GetUser(1), key="ada", timeout=1), str)
            scope.bus.ask(GetUser(1))  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
            assert_type(await scope.resolve(Mailer), Mailer)
            scope.bus.send(GetUser(1))  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
            # An ignored delivery is fine.
            scope.bus.emit(UserCreated(42, "Ada"), key="ada")
            assert_type(scope.bus.emit(UserEvent(1)), Delivery)
            assert_type(await scope.bus.offer(UserEvent(1)), Delivery)
            await scope.bus.sink(UserCreated(42, "Ada"), UserEvent(1))
            await scope.bus.sink([UserCreated(42, "Ada")])
            await scope.bus.sink(Record.of(UserEvent(1)))
            # A forgotten await is found.
            scope.bus.publish(UserEvent(1))  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
            scope.bus.offer(UserEvent(1))  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
            scope.bus.sink(UserEvent(1))  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
            # Another base's events are refused by every verb.
            await scope.bus.publish(OrderEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            scope.bus.emit(OrderEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            await scope.bus.offer(OrderEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        async with terminal.scope(hold_emits=True) as held:
            held.bus.emit(UserEvent(1), delay=1, ttl=0.5, callback=print)
            assert_type(await held.bus.offer(UserEvent(1), delay=1, ttl=0.5), Delivery)
        async with track(terminal) as tracked:
            assert_type(tracked.handled(UserCreated), list[UserCreated])
            assert_type(tracked.dead(UserEvent), list[DeadLetter])
        with terminal.override({Mailer: Mailer("fake")}):
            await terminal.bus.publish(UserEvent(1))
        terminal.include(registry)
        print(terminal.explain(UserEvent).handlers[0].name)
        assert_type(terminal.dead_letters, tuple[DeadLetter, ...])
        assert_type(terminal.redeliver(terminal.dead_letters[0]), Delivery)
        assert_type(terminal.stats(), Stats)
        assert_type(terminal.stats().emitted, int)
        return await terminal.close()


assert_type(run(main()), ShutdownReport)


def divide() -> None:
    sinks = {UserCreated: SqliteSink("users.db"), UserEvent: SqliteSink("rest.db")}
    BusTerminal(registry, sink=sinks)
    BusTerminal(registry, sink={UserEvent: SqliteSink("users.db", wire=CloudEvents("/users"))})
    BusTerminal(registry, sink={"UserEvent": SqliteSink("users.db")})  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    BusTerminal(registry, sink="users.db")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def consume() -> None:
    async with BusTerminal(registry) as terminal:
        source = SqliteSource("events.db", group="mailers")
        await terminal.consume(source, max_attempts=3)
        assert_type(await source.dead_letters(), list[Buried])
        await terminal.consume(SqliteSink("events.db"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
