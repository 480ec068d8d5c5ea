"""What is inferred: replies of commands, the base of a bus, and a decorated thing's own type."""

from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Annotated, Any, Generic, TypeVar, assert_type

import shop
from shop import (
    Admin,
    CountUsers,
    ForgetUser,
    GetName,
    GetUser,
    Mailer,
    OrderEvent,
    OrderPaid,
    User,
    UserCreated,
    UserEvent,
    logged,
    make_mailer,
    named,
    orders,
    users,
)

from runtime import (
    BusTerminal,
    Command,
    Delivery,
    Event,
    EventBus,
    MessageContext,
    MessageRegistry,
    Scope,
    use,
)
from runtime.testing import track

T = TypeVar("T")


class GetPage(Command[list[T]], Generic[T]):
    of: type[T]


class GetUsers(GetPage[User]):
    pass


class GetAdmin(Command[Admin]):
    pass


class GetHandler(Command[Callable[[int], str]]):
    pass


class Described(Command[str]):
    user_id: int


class DescribedAtLength(Described):
    words: int


# --- Replies.


async def replies(terminal: BusTerminal[UserEvent], bus: EventBus[UserEvent]) -> None:
    assert_type(await terminal.bus.send(GetUser(1)), User)
    assert_type(await terminal.bus.ask(GetUser(1)), User)
    assert_type(await bus.send(GetName(1)), str)
    assert_type(await bus.ask(GetName(1), key=1), str)
    assert_type(await bus.ask(GetName(1), MessageContext(), key="ada", timeout=1), str)
    assert_type(await bus.send(GetName(1), context=None), str)
    assert_type(await bus.send(CountUsers()), int)
    assert_type(await bus.send(ForgetUser(1)), None)
    assert_type(await bus.send(command=GetUser(1)), User)
    assert_type(await bus.send(GetPage(int)), list[int])
    assert_type(await bus.send(GetUsers(User)), list[User])
    assert_type(await bus.send(GetAdmin()), Admin)
    assert_type(await bus.send(DescribedAtLength(1, 2)), str)
    assert_type((await bus.send(GetHandler()))(1), str)
    assert_type((await bus.send(GetUser(1))).name, str)
    waiting = bus.send(GetUser(1))
    assert_type(waiting, Coroutine[Any, Any, User]).close()
    assert_type(await bus.send(GetUser(1)), User)
    assert_type([await bus.send(GetName(n)) for n in range(3)], list[str])
    assert_type({n: await bus.ask(GetUser(n)) for n in range(3)}, dict[int, User])


async def replies_in_scopes(terminal: BusTerminal[UserEvent], scope: Scope[UserEvent]) -> None:
    assert_type(await scope.bus.send(GetUser(1)), User)
    assert_type(await scope.bus.ask(GetUser(1)), User)
    assert_type(await scope.resolve(Mailer), Mailer)
    async with terminal.scope() as anonymous:
        assert_type(anonymous, Scope[UserEvent])
        assert_type(await anonymous.bus.send(GetName(1)), str)
    async with terminal.scope("ada", hold_emits=True) as held, terminal.scope(1) as other:
        assert_type(await held.bus.ask(CountUsers()), int)
        assert_type(await other.bus.ask(CountUsers()), int)
    async with track(terminal):
        assert_type(await terminal.bus.send(GetName(1)), str)


def replies_on_other_threads(bus: EventBus[UserEvent]) -> None:
    assert_type(bus.from_thread.send(GetUser(1)), User)
    assert_type(bus.from_thread.ask(GetName(1), timeout=1), str)


async def replies_through_generics(bus: EventBus[UserEvent], command: Command[T]) -> T:
    assert_type(await bus.send(command), T)
    return await bus.ask(command)


async def replies_of_either(bus: EventBus[Any], command: GetName | Described) -> None:
    assert_type(await bus.send(command), str)
    assert_type(await replies_through_generics(bus, GetUser(1)), User)


# --- Terminals of one, of several, of none.


async def terminals() -> None:
    assert_type(BusTerminal(users), BusTerminal[UserEvent])
    assert_type(BusTerminal(users).bus, EventBus[UserEvent])
    assert_type(BusTerminal(users, MessageRegistry(event_base=UserEvent)), BusTerminal[UserEvent])
    async with BusTerminal(users, orders) as both:
        # For mypy of their join, for pyright of their union: both take both.
        await both.bus.publish(UserCreated(1, "Ada"))
        await both.bus.publish(OrderPaid(1, 2.0))
        both.bus.emit(OrderPaid(1, 2.0), key=1)
        await both.bus.publish(1)  # mypy: arg-type  # P: reportArgumentType
        assert_type(await both.bus.send(GetUser(1)), User)
        async with both.scope("ada") as scope:
            assert_type(await scope.bus.ask(GetName(1)), str)
            await scope.bus.publish(OrderPaid(1, 2.0))
    async with BusTerminal[UserEvent | OrderEvent](users, orders) as either:
        assert_type(either, BusTerminal[UserEvent | OrderEvent])
        await either.bus.publish(OrderPaid(1, 2.0))
        assert_type(await either.bus.send(CountUsers()), int)
    assert_type(BusTerminal(MessageRegistry()).bus, EventBus[Event])
    registries = [MessageRegistry(event_base=UserEvent), users]
    assert_type(BusTerminal(*registries), BusTerminal[UserEvent])


# --- Variance.


def narrower(bus: EventBus[UserEvent]) -> EventBus[UserCreated]:
    return bus


def wider(bus: EventBus[UserCreated]) -> EventBus[UserEvent]:
    return bus  # mypy: return-value  # P: reportReturnType


def narrower_scope(scope: Scope[UserEvent]) -> Scope[UserCreated]:
    return scope


def wider_scope(scope: Scope[UserCreated]) -> Scope[UserEvent]:
    return scope  # mypy: return-value  # P: reportReturnType


def wider_registry(registry: MessageRegistry[UserCreated]) -> MessageRegistry[UserEvent]:
    return registry


def narrower_registry(registry: MessageRegistry[UserEvent]) -> MessageRegistry[UserCreated]:
    return registry  # mypy: return-value  # P: reportReturnType


def wider_command(command: Command[Admin]) -> Command[User]:
    return command


async def include(terminal: BusTerminal[Event]) -> None:
    terminal.include(users)
    terminal.include(orders)


async def include_other(terminal: BusTerminal[UserEvent]) -> None:
    terminal.include(orders)  # mypy: arg-type  # P: reportArgumentType


# --- Forgotten awaits, and an emit that may be forgotten.


async def forgotten(bus: EventBus[UserEvent]) -> None:
    bus.publish(UserCreated(1, "Ada"))  # mypy: unused-coroutine  # P: reportUnusedCoroutine
    bus.offer(UserCreated(1, "Ada"))  # mypy: unused-coroutine  # P: reportUnusedCoroutine
    bus.send(GetUser(1))  # mypy: unused-coroutine  # P: reportUnusedCoroutine
    bus.ask(GetUser(1))  # mypy: unused-coroutine  # P: reportUnusedCoroutine
    bus.sink(UserCreated(1, "Ada"))  # mypy: unused-coroutine  # P: reportUnusedCoroutine
    bus.sink([UserCreated(1, "Ada")])  # mypy: unused-coroutine  # P: reportUnusedCoroutine
    bus.emit(UserCreated(1, "Ada"))
    await bus.offer(UserCreated(1, "Ada"))
    assert_type(bus.emit(UserCreated(1, "Ada")), Delivery)


# --- What is decorated keeps its type.

registry = MessageRegistry(event_base=UserEvent)


@registry.register
async def get_user(command: GetUser, mailer: Annotated[Mailer, use(make_mailer)]) -> User:
    return User(command.user_id, "Ada")


@registry.register(own_task=True)
async def get_name(command: GetName) -> str:
    return "Ada"


@registry.register
@logged
def count(command: CountUsers) -> int:
    return 1


@logged
@registry.register(in_thread=True)
@named("forget")
@logged
def forget(command: ForgetUser, mailer: Mailer) -> None: ...


@users.register
@registry.register
@registry.register(own_task=True)
async def created(event: UserCreated) -> None: ...


@registry.register(lifetime="actor", on_failure="restart")
class Account:
    balance: int = 0

    def __init__(self, mailer: Mailer) -> None:
        self.mailer = mailer

    async def created(self, event: UserCreated) -> None: ...


@registry.factory
async def open_pool() -> AsyncIterator[shop.Pool]:
    yield shop.Pool()


@registry.factory(lifetime="singleton")
class Clock:
    def now(self) -> float:
        return 0.0


async def use_them() -> None:
    assert_type(await get_user(GetUser(1), mailer=Mailer()), User)
    assert_type(await get_name(command=GetName(1)), str)
    assert_type(count(CountUsers()), int)
    assert_type(await created(UserCreated(1, "Ada")), None)
    assert_type(Account(Mailer()), Account)
    assert_type(Account(mailer=Mailer()).balance, int)
    assert_type(open_pool(), AsyncIterator[shop.Pool])
    assert_type(Clock().now(), float)
    forget(ForgetUser(1), mailer=Mailer())
    await get_user(1, Mailer())  # mypy: arg-type  # P: reportArgumentType
    Account()  # mypy: call-arg  # P: reportCallIssue
    assert_type(registry.register(Account), type[Account])
    assert_type(registry.register(count, created), None)
    registry.register(partial(get_name))
    registry.guard(guard)


async def guard(
    event: UserEvent, ctx: MessageContext, proceed: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    await proceed()
