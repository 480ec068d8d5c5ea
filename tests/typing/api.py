"""How typed code uses the runtime. Read by type checkers, never run.

A line that must be an error carries a ``type: ignore`` with the code; checkers report one that is
not needed.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Hashable,
    Iterator,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Generic, Protocol, TypeVar, assert_type

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
from runtime.sources import Received, Source, SqliteSource
from runtime.sources.sqlite import Buried
from runtime.testing import Tracked, track
from runtime.threads import ThreadBus
from runtime.wire import CloudEvents

T = TypeVar("T")


class UserEvent(Event):
    user_id: int


class UserCreated(UserEvent):
    name: str


class OrderEvent(Event):
    order_id: int


class GetUser(Command[str]):
    user_id: int


class CountUsers(Command[int]):
    least: int


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
def count(command: CountUsers) -> int:
    return command.least


# A decorated handler keeps its own type.
assert_type(count(command=CountUsers(1)), int)


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


# Variance


def narrower(bus: EventBus[UserEvent]) -> EventBus[UserCreated]:
    return bus


def wider(bus: EventBus[UserEvent]) -> EventBus[Event]:
    return bus  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def narrower_scope(scope: Scope[UserEvent]) -> Scope[UserCreated]:
    return scope


def wider_scope(scope: Scope[UserEvent]) -> Scope[Event]:
    return scope  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def wider_registry(registry: MessageRegistry[UserEvent]) -> MessageRegistry[Event]:
    return registry


def narrower_registry(registry: MessageRegistry[UserEvent]) -> MessageRegistry[UserCreated]:
    return registry  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def narrower_thread_bus(bus: ThreadBus[UserEvent]) -> ThreadBus[UserCreated]:
    return bus


def wider_thread_bus(bus: ThreadBus[UserEvent]) -> ThreadBus[Event]:
    return bus  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def wider_terminal(terminal: BusTerminal[UserEvent]) -> BusTerminal[Event]:
    return terminal  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def narrower_terminal(terminal: BusTerminal[UserEvent]) -> BusTerminal[UserCreated]:
    return terminal  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def either_bus(bus: EventBus[UserEvent | OrderEvent]) -> EventBus[OrderEvent]:
    return bus


# Several registries: mypy joins their bases, pyright unites them.

users, orders = MessageRegistry(event_base=UserEvent), MessageRegistry(event_base=OrderEvent)
both = BusTerminal(users, orders)
assert_type(both, BusTerminal[Event])  # pyright: ignore[reportAssertTypeFailure]
assert_type(both, BusTerminal[UserEvent | OrderEvent])  # type: ignore[assert-type]
assert_type(both.bus, EventBus[Event])  # pyright: ignore[reportAssertTypeFailure]
assert_type(both.bus, EventBus[UserEvent | OrderEvent])  # type: ignore[assert-type]
assert_type(BusTerminal(users, registry), BusTerminal[UserEvent])
assert_type(BusTerminal(users, MessageRegistry(event_base=UserCreated)), BusTerminal[UserEvent])
assert_type(
    BusTerminal[UserEvent | OrderEvent](users, orders).bus, EventBus[UserEvent | OrderEvent]
)
unrelated = BusTerminal(MessageRegistry(event_base=int), MessageRegistry(event_base=str))
assert_type(unrelated, BusTerminal[object])  # pyright: ignore[reportAssertTypeFailure]
assert_type(unrelated, BusTerminal[int | str])  # type: ignore[assert-type]
both.include(users)
BusTerminal(users).include(orders)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def publish_to_both(order: OrderEvent) -> None:
    await both.bus.publish(UserCreated(1, "Ada"))
    await both.bus.publish(order)
    await both.bus.publish("order")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# Replies


class GetAdmin(GetUser):
    level: int


class GetAll(Command[list[T]], Generic[T]):
    kind: type[T]


class GetMailers(GetAll[Mailer]): ...


class GetName(Command[str]):
    user_id: int


class Delete(Command[None]):
    user_id: int


async def replies(
    scope: Scope[UserEvent],
    bus: EventBus[UserEvent],
    either: GetUser | GetMailers,
    same: GetUser | GetName,
) -> None:
    assert_type(await bus.send(GetAdmin(1, 2)), str)
    assert_type(await bus.ask(GetAdmin(1, 2), key=1), str)
    assert_type(await bus.send(GetAll(int)), list[int])
    assert_type(await scope.bus.ask(GetAll(Mailer)), list[Mailer])
    assert_type(await scope.bus.send(GetMailers(Mailer)), list[Mailer])
    assert_type(await bus.send(Delete(1)), None)
    # Of either command mypy joins the replies, pyright unites them.
    assert_type(await bus.send(either), Sequence[object])  # pyright: ignore[reportAssertTypeFailure]
    assert_type(await bus.ask(either), str | list[Mailer])  # type: ignore[assert-type]
    assert_type(await bus.ask(same), str)
    assert_type(bus.from_thread.send(GetAdmin(1, 2)), str)
    assert_type(bus.from_thread.ask(GetMailers(Mailer)), list[Mailer])
    asked = [bus.ask(GetUser(number)) for number in range(3)]
    assert_type(await asyncio.gather(*asked), list[str])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bus.send(GetUser(1)))
    assert_type(task.result(), str)
    await bus.send(UserEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await bus.ask(UserEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    number: int = await bus.send(GetUser(1))  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    print(number)


async def reply_of(bus: EventBus[UserEvent], command: Command[T]) -> T:
    assert_type(await bus.send(command), T)
    return await bus.ask(command)


def wider_command(command: Command[bool]) -> Command[int]:
    return command


# A base's events, by every verb


async def own_events(bus: EventBus[UserEvent], scope: Scope[UserCreated]) -> None:
    await bus.publish(UserCreated(1, "Ada"))
    bus.emit(UserCreated(1, "Ada"))
    await bus.offer(UserCreated(1, "Ada"))
    await bus.sink(UserCreated(1, "Ada"))
    await bus.publish(OrderEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bus.emit(OrderEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await bus.offer(OrderEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await bus.sink(OrderEvent(1))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await bus.sink([OrderEvent(1)])  # type: ignore[list-item]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await bus.publish(GetUser(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bus.from_thread.publish(OrderEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bus.from_thread.offer(OrderEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bus.from_thread.sink(OrderEvent(1))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await scope.bus.publish(UserEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    scope.bus.emit(UserEvent(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# What is decorated keeps its own type


@users.register(timeout=1)
async def get_user(command: GetUser, mailer: Mailer) -> str:
    return mailer.host


@registry.factory(lifetime="scoped")
class Clock:
    def now(self) -> float:
        return 0.0


@registry.factory(provides=Mailer)
def make_other_mailer(clock: Clock, host: str = "here") -> Iterator[Mailer]:
    yield Mailer(host)


@registry.factory
@asynccontextmanager
async def open_clock() -> AsyncGenerator[Clock]:
    yield Clock()


async def keep_their_types(terminal: BusTerminal[UserEvent]) -> None:
    assert_type(await get_user(GetUser(1), mailer=Mailer("here")), str)
    assert_type(Clock().now(), float)
    assert_type(next(make_other_mailer(Clock(), host="there")), Mailer)
    assert_type(await registry.register(get_user)(GetUser(1), mailer=Mailer("here")), str)
    assert_type(
        registry.guard(allow)(UserEvent(1), MessageContext(), proceed=nothing).close(), None
    )
    assert_type(registry.register(Account), type[Account])
    assert_type(registry.factory(Clock), type[Clock])
    async with open_clock() as clock:
        assert_type(clock, Clock)
    await allow(UserEvent(1), MessageContext(), nothing)
    allow(UserEvent(1), MessageContext(), nothing)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    overridden = terminal.override({Mailer: Mailer("fake"), AbstractClock: Clock()})
    with overridden as nobody:
        assert_type(nobody, None)
    async with track(terminal, delayed=True) as tracked:
        assert_type(tracked, Tracked)
        assert_type(tracked.sent(GetUser), list[GetUser])
    registry.register(42)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    registry.guard(get_text)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    registry.factory("text")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    use("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def get_text(event: UserEvent, ctx: MessageContext, proceed: Callable[[], Awaitable[None]]) -> str:
    return "text"


async def nothing() -> None: ...


# Abstract classes and protocols are asked for like others.


class AbstractClock(ABC):
    @abstractmethod
    def now(self) -> float: ...


class HasHost(Protocol):
    host: str


async def resolve(scope: Scope[UserEvent]) -> None:
    assert_type(await scope.resolve(AbstractClock), AbstractClock)
    assert_type(await scope.resolve(HasHost), HasHost)
    assert_type(await scope.resolve(EventBus[UserEvent]), EventBus[UserEvent])
    assert_type(await scope.resolve(Annotated[int, use(make_number)]), int)
    async with AsyncExitStack() as stack:
        entered = await stack.enter_async_context(both.scope())
        assert_type(entered.name, Hashable | None)


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


def received_as(source: Source[Mailer], plain: Source, received: Received[Mailer]) -> None:
    assert_type(received.receipt, Mailer)
    assert_type(Received("1", b"", receipt=Mailer("here")), Received[Mailer])
    assert_type(plain, Source[object])
    anything: Received = received
    print(anything, source)


async def consume() -> None:
    async with BusTerminal(registry) as terminal:
        source = SqliteSource("events.db", group="mailers")
        await terminal.consume(source, max_attempts=3)
        assert_type(await source.dead_letters(), list[Buried])
        received = await source.receive(1)
        assert_type(received[0].receipt, tuple[int, int])
        await source.put_back(received[0], delay=1, failed=False)
        await source.acknowledge([Received("1", b"", receipt=Mailer("here"))])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await terminal.consume(SqliteSink("events.db"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
