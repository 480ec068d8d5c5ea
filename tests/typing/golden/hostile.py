"""Spellings that are seldom: where nothing is certain, nothing is said."""

import dataclasses
import functools
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

import msgspec
import shop
from shop import (
    CountUsers,
    Mailer,
    OrderEvent,
    OrderPaid,
    UserCreated,
    UserEvent,
    UserRenamed,
    logged,
    read_name,
)

import runtime as library
from runtime import BusTerminal, Command, Event, EventBus, MessageContext, MessageRegistry, Record, use

if TYPE_CHECKING:
    from shop import Pool

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E")
T = TypeVar("T", int, str)

registry = MessageRegistry(event_base=UserEvent)
spare = library.MessageRegistry(event_base=library.Event)


async def created(event: UserCreated) -> None: ...
async def renamed(event: UserRenamed) -> None: ...
async def paid(event: OrderPaid) -> None: ...


# --- Ways to call `register`.

handlers: list[Callable[..., Any]] = [created, renamed]
registry.register(*handlers, created)
options: dict[str, Any] = {"own_task": True}
registry.register(created, **options)
registry.register(created if random.random() < 0.5 else renamed)
for each in (created, created):
    registry.register(each)
registered = [registry.register(each) for each in (created, created)]
put = registry.register
put(created)


@put
async def through_a_name(event: UserCreated) -> None: ...


@functools.partial(registry.register, own_task=True)
async def through_a_partial(event: UserCreated) -> None: ...


decorate = registry.register(own_task=True)


@decorate
async def through_a_decorator(event: UserCreated) -> None: ...


@library.MessageRegistry(event_base=UserEvent).register
async def on_a_new_one(event: UserCreated) -> None: ...


@spare.register
async def of_the_library(event: library.Event, ctx: library.MessageContext) -> None: ...


@spare.register
async def of_the_library_wrong(event: library.MessageContext) -> None: ...  # E: bus-handler-signature


def wire_perhaps(registry: MessageRegistry[UserEvent]) -> None:
    chosen = registry if random.random() < 2 else None
    if chosen is not None:
        chosen.register(created)
        chosen.register(paid if random.random() < 0 else created)


def either_of_two(registry: MessageRegistry[UserEvent] | MessageRegistry[OrderEvent]) -> None:
    registry.register(created)
    registry.register(paid)


# --- Seen more than once by a checker, run once.


class Looped(Command[None]):
    pass


class Cleaned(Command[None]):
    pass


class Expanded(Command[None]):
    pass


async def looped(command: Looped) -> None: ...
async def cleaned(command: Cleaned) -> None: ...


def wire_in_a_loop(registry: MessageRegistry[UserEvent]) -> None:
    last = None
    while True:
        registry.register(looped)
        if last is not None:
            break
        last = created


def wire_in_a_finally(registry: MessageRegistry[UserEvent]) -> None:
    try:
        registry.register(created)
    finally:

        @registry.register
        async def at_the_end(command: Cleaned) -> None: ...


def expanded(registry: MessageRegistry[UserEvent], value: T) -> T:
    @registry.register
    async def inner(command: Expanded) -> None: ...

    @registry.register
    async def inner_wrong(event: OrderPaid) -> None: ...  # E: bus-handler-signature  # raises: nothing

    return value


# --- Decorators that change what they decorate.


def with_mailer(function: Callable[Concatenate[E, Mailer, P], R]) -> Callable[Concatenate[E, P], R]:
    @functools.wraps(function)
    def call(event: E, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(event, Mailer(), *args, **kwargs)

    return call


@registry.register
@with_mailer
async def given_a_mailer(event: UserCreated, mailer: Mailer, ctx: MessageContext) -> None: ...


@registry.register
@functools.lru_cache
def cached(event: UserCreated) -> None: ...  # raises: HandlerSignatureError


def unwrapped(function: Callable[P, R]) -> Callable[P, R]:
    def call(*args: P.args, **kwargs: P.kwargs) -> R:  # raises: HandlerSignatureError
        return function(*args, **kwargs)

    return call


@registry.register
@unwrapped
async def not_wrapped(event: UserCreated) -> None: ...


@overload
def overloaded(event: UserCreated) -> None: ...
@overload
def overloaded(event: UserRenamed) -> None: ...
def overloaded(event: UserCreated | UserRenamed) -> None: ...


registry.register(overloaded)


# --- Methods and classes of all kinds.


class Body:
    @registry.register
    @staticmethod
    def static_inside(event: UserCreated) -> None: ...  # raises: HandlerSignatureError

    @staticmethod
    @registry.register
    def static_outside(event: UserCreated) -> None: ...


class Unbound:
    @registry.register
    def method(self, event: UserCreated) -> None: ...  # E: bus-handler-signature: method


@registry.register
@dataclasses.dataclass
class Data:
    mailer: Mailer
    host: str = "localhost"

    async def created(self, event: UserCreated) -> None: ...


@registry.register
class Struct(msgspec.Struct):
    mailer: Mailer

    async def created(self, event: UserCreated) -> None: ...


class Abstract(ABC):
    @abstractmethod
    async def created(self, event: UserCreated) -> None: ...


class Concrete(Abstract):
    async def created(self, event: UserCreated) -> None: ...

    async def also(self: "Concrete", event: UserRenamed) -> None: ...

    another = created


registry.register(Concrete)


@registry.register
class AnEvent(UserEvent):  # E: bus-handler-signature: AnEvent
    pass


@registry.register
class Overrides(shop.Account):
    async def created(self, event: UserEvent) -> None: ...


@registry.register
class Nested:
    class Inner:
        def created(self, event: OrderPaid, *more: int) -> None: ...

    field: Callable[[OrderPaid], None] | None = None

    def created(self, event: UserCreated) -> None: ...

    def __call__(self, event: OrderPaid) -> None: ...


def make_handler(mailer: Mailer) -> Callable[[UserCreated], Awaitable[None]]:
    async def handle(event: UserCreated) -> None: ...

    return handle


registry.register(make_handler(Mailer()))


class Keywords(TypedDict):
    name: str


@registry.register
def with_keywords(event: UserCreated, **options: Unpack[Keywords]) -> None: ...  # E: bus-handler-signature: options


# --- Where a branch is never reached.

if TYPE_CHECKING:
    registry.register(created)

if not TYPE_CHECKING:
    registry.register(created)


def never() -> None:
    raise NotImplementedError


# --- Replies.


class Generally(Command[E], Generic[E]):
    of: E


class Coded(Command["shop.User"]):
    pass


class Called(Command[Callable[[int], str]]):
    pass


class Unsaid(Command):  # mypy: type-arg  # P: reportMissingTypeArgument
    pass


@registry.register
async def generally(command: Generally[int]) -> int:
    return command.of


@registry.register
async def coded(command: Coded) -> shop.Admin:
    return shop.Admin(1, "Ada", 7)


@registry.register
async def called(command: Called) -> Callable[[object], str]:
    return str


@registry.register
async def unsaid(command: Unsaid) -> int:
    return 1


@registry.register
async def in_a_string(command: CountUsers) -> "int":
    return 1


@registry.register
def a_task(event: UserCreated) -> Coroutine[object, None, None]:
    return created(event)


# --- Dependencies.


class Name(str):
    pass


class Sender(Protocol):
    async def send(self, text: str) -> None: ...


@registry.register
async def used(
    event: UserCreated,
    a: Annotated[str, use(read_name)] = "Ada",
    b: library.EventBus[UserEvent] = None,  # type: ignore[assignment]  # P: reportArgumentType
    c: "Annotated[str, library.use(read_name)]" = "Ada",
    d: Annotated[Annotated[str, "inner"], use(read_name)] = "Ada",
    e: Annotated[Sender, use(Mailer)] = Mailer(),
) -> None: ...


@registry.register
async def used_without_a_default(
    event: UserCreated,
    c: "Annotated[str, library.use(read_name)]",
    d: Annotated[Annotated[str, "inner"], use(read_name)],
    e: Annotated[Sender, use(Mailer)],
    *,
    f: Annotated[str, "before", use(factory=read_name), "after"],
    g: Annotated[str, use(read_name, lifetime="transient")],
) -> None: ...


@registry.register
async def own_text(event: UserCreated, name: Name) -> None: ...  # raises: ProviderError


making = MessageRegistry(event_base=UserEvent)


class Made:
    @classmethod
    def make(cls) -> "Made":
        return cls()

    def other(self) -> Mailer:
        return Mailer()


making.factory(Made.make)
making.factory(Made().other)
making.factory(functools.partial(read_name))
making.factory(lifetime="singleton")(shop.make_mailer)
making.factory(logged(shop.make_mailer))


# --- Buses of anything.

terminal = BusTerminal(registry)
loose: EventBus[Any] = terminal.bus
replaced: EventBus[Any] = terminal.bus


def replace() -> None:
    global replaced
    replaced = BusTerminal(shop.orders).bus


async def send_all(buses: list[EventBus[Any]], events: list[UserEvent]) -> None:
    await loose.sink(Record.of(OrderPaid(1, 2.0)))
    await loose.sink([UserCreated(1, "Ada")])
    await loose.sink((UserCreated(1, "Ada"), UserEvent(1)))
    await loose.sink(events)
    await loose.sink(*events)
    await replaced.publish(OrderPaid(1, 2.0))
    for event in events:
        loose.emit(event)
    deliveries = [loose.emit(OrderPaid(1, 2.0)) for loose in buses]
    deliveries += map(lambda loose: loose.emit(OrderPaid(1, 2.0)), buses)
    loose.from_thread.emit(UserEvent(1))
    loose.emit(random.choice([UserCreated(1, "Ada"), OrderPaid(1, 2.0)]))


class Holder:
    loose: EventBus[Any] = BusTerminal(shop.orders).bus

    async def send(self) -> None:
        await self.loose.publish(OrderPaid(1, 2.0))
        await self.loose.publish(UserCreated(1, "Ada"))


# --- Terminals that are closed again.


async def closed() -> None:
    local = MessageRegistry(event_base=UserEvent)
    opened = BusTerminal(local)
    await opened.open()
    await opened.close()
    local.register(created)


async def closed_in_a_loop() -> None:
    local = MessageRegistry(event_base=UserEvent)
    for handler in (created, created):
        local.register(handler)
        async with BusTerminal(local):
            pass


async def with_branches() -> None:
    local = MessageRegistry(event_base=UserEvent)
    if random.random() < 0.5:
        async with BusTerminal(local):
            return
    local.register(created)


async def included_by_a_helper(include: Callable[[MessageRegistry[UserEvent]], None]) -> None:
    local = MessageRegistry(event_base=UserEvent)
    async with BusTerminal(local):
        local.register(created)
        include(local)


def lines() -> Iterator[str]:
    yield ""


def only_for_checkers(pool: "Pool", event: Event) -> None: ...
