"""`bus-dependency`: parameters that nothing can provide, and factories of another type."""

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Sequence,
)
from typing import Annotated, Any, Generic, NewType, Protocol, TypeAlias, TypeVar

import msgspec
import shop
from shop import (
    Connection,
    Mailer,
    UserCreated,
    UserEvent,
    borrow_connection,
    make_mailer,
    open_connection,
    read_name,
    read_rate,
)

from runtime import BusTerminal, EventBus, MessageContext, MessageRegistry, Scope, use

T = TypeVar("T")

registry = MessageRegistry(event_base=UserEvent)


# --- Nothing provides what is built in.


@registry.register
async def text(event: UserCreated, host: str) -> None: ...  # E: bus-dependency: host


@registry.register
async def number(event: UserCreated, ctx: MessageContext, port: int) -> None: ...  # E: bus-dependency: port


@registry.register
async def data(event: UserCreated, data: bytes) -> None: ...  # E: bus-dependency: bytes


@registry.register
async def ratio(event: UserCreated, rate: float) -> None: ...  # E: bus-dependency: float


@registry.register
async def flag(event: UserCreated, flag: bool) -> None: ...  # E: bus-dependency: bool


@registry.register
async def items(event: UserCreated, names: list[str]) -> None: ...  # E: bus-dependency: names


@registry.register
async def mapping(event: UserCreated, names: dict[str, int]) -> None: ...  # E: bus-dependency: names


@registry.register
async def pair(event: UserCreated, pair: tuple[int, str]) -> None: ...  # E: bus-dependency: pair


@registry.register
async def distinct(event: UserCreated, names: set[str]) -> None: ...  # E: bus-dependency: names


@registry.register
async def keyword_only(event: UserCreated, *, host: str) -> None: ...  # E: bus-dependency: host


@registry.register
async def in_a_string(event: UserCreated, host: "str") -> None: ...  # E: bus-dependency: host


@registry.register
async def annotated(event: UserCreated, host: Annotated[str, "of the server"]) -> None: ...  # E: bus-dependency: host


@registry.register
async def two(
    event: UserCreated,
    host: str,  # E: bus-dependency: host
    port: int,  # E: bus-dependency: port
    mailer: Mailer,
) -> None: ...


@registry.register
async def two_on_a_line(event: UserCreated, host: str, port: int) -> None: ...  # E: bus-dependency: host | bus-dependency: port


Host: TypeAlias = str


@registry.register
async def alias(event: UserCreated, host: Host) -> None: ...  # E: bus-dependency: host


@registry.register  # P: reportUnknownArgumentType
async def unannotated(event: UserCreated, ctx: MessageContext, mailer) -> None: ...  # E: bus-dependency: mailer  # mypy: no-untyped-def  # P: reportUnknownParameterType, reportMissingParameterType


# --- What has a default is that, or what a factory provides.


@registry.register
async def default(event: UserCreated, host: str = "localhost") -> None: ...


@registry.register
async def perhaps(event: UserCreated, host: str | None = None) -> None: ...


@registry.register
async def keyword_default(event: UserCreated, *, port: int = 80) -> None: ...


# --- `use` provides anything.


@registry.register
async def used(event: UserCreated, name: Annotated[str, use(read_name)]) -> None: ...


@registry.register
async def used_singleton(
    event: UserCreated, rate: Annotated[float, use(read_rate, lifetime="singleton")]
) -> None: ...


@registry.register
async def used_with_more(event: UserCreated, name: Annotated[str, "text", use(read_name)]) -> None: ...


def read_names() -> list[str]:
    return []


UserName = Annotated[str, use(read_name)]


@registry.register
async def used_by_alias(event: UserCreated, name: UserName, names: Annotated[list[str], use(read_names)]) -> None: ...


# --- What may be provided elsewhere, or builds itself.


class Clock(Protocol):
    def now(self) -> float: ...


class Store(ABC):
    @abstractmethod
    async def save(self) -> None: ...


class Cache(Generic[T]):
    pass


class Settings(msgspec.Struct, frozen=True):
    retries: int = 3


class Repository:
    def __init__(self, mailer: Mailer, settings: Settings) -> None: ...


Port = NewType("Port", int)
Level = NewType("Level", int)


class Reader(Protocol):
    def read(self) -> str: ...


class Vault(ABC):
    @abstractmethod
    async def lock(self) -> None: ...


@registry.register
async def built(event: UserCreated, repository: Repository, settings: Settings) -> None: ...


@registry.register
async def reader(event: UserCreated, reader: Reader) -> None: ...  # raises: ProviderError


@registry.register
async def vault(event: UserCreated, vault: Vault) -> None: ...  # raises: ProviderError


@registry.register
async def of_a_new_type(event: UserCreated, level: Level) -> None: ...  # raises: ProviderError


@registry.register
async def provided_below(event: UserCreated, clock: Clock, store: Store, port: Port) -> None: ...


@registry.register
async def given(
    event: UserCreated,
    bus: EventBus[UserEvent],
    scope: Scope[UserEvent],
    terminal: BusTerminal[UserEvent],
) -> None: ...


# --- Classes that are registered, and factories, have parameters of their own.

building = MessageRegistry(event_base=shop.OrderEvent)


@building.register
class Handler:
    def __init__(self, host: str) -> None: ...  # E: bus-dependency: host

    async def paid(self, event: shop.OrderPaid) -> None: ...


@building.register
class RightHandler:
    def __init__(self, mailer: Mailer, host: str = "localhost") -> None: ...

    async def paid(self, event: shop.OrderPaid, mailer: Mailer) -> None: ...


@building.register(lifetime="actor")
class HandlerOfText:
    async def paid(
        self,
        event: shop.OrderPaid,
        host: str,  # E: bus-dependency: host
    ) -> None: ...


class Server:
    def __init__(self, name: str) -> None: ...


class Client:
    def __init__(self, port: int) -> None: ...  # E: bus-dependency: port


class Proxy:
    def __init__(self, port: int = 80) -> None: ...


@building.factory
def make_server(host: str) -> Server:  # E: bus-dependency: host
    return Server(host)


@building.factory(lifetime="singleton")
def make_proxy(mailer: Mailer, port: int = 80) -> Proxy:
    return Proxy(port)


building.factory(Client)
building.factory(Proxy)


def serve(rate: int) -> Server:  # E: bus-dependency: rate
    return Server(str(rate))


building.factory(serve, lifetime="transient")
building.factory(functools.partial(Server, "here"), provides=Server)


# --- A factory says what it provides.

untyped = MessageRegistry(event_base=UserEvent)


@untyped.factory
def says_nothing():  # E: bus-dependency: says_nothing  # mypy: no-untyped-def
    return Mailer()


@untyped.factory(lifetime="singleton")
async def says_nothing_either():  # E: bus-dependency: says_nothing_either  # mypy: no-untyped-def
    return Mailer()


@untyped.factory(provides=Mailer)
def is_told():  # mypy: no-untyped-def
    return Mailer()


@untyped.factory
def provides_nothing() -> None:  # E: bus-dependency: provides_nothing
    return None


@untyped.factory
def says_it() -> Mailer:
    return Mailer()


untyped.factory(lambda: Mailer())  # E: bus-dependency
untyped.factory(lambda: Mailer(), provides=Mailer)
untyped.factory(make_mailer)


@untyped.register
async def used_untyped(event: UserCreated, mailer: Annotated[Mailer, use(lambda: Mailer())]) -> None: ...


# --- The result of a factory is what it is used for.


class LoudMailer(Mailer):
    pass


def make_loud_mailer() -> LoudMailer:
    return LoudMailer()


async def make_mailer_async() -> Mailer:
    return Mailer()


async def make_text_async() -> str:
    return ""


def open_mailer() -> Iterator[Mailer]:
    yield Mailer()


def generate_mailer() -> Generator[Mailer]:
    yield Mailer()


async def open_mailer_async() -> AsyncGenerator[Mailer]:
    yield Mailer()


@contextlib.contextmanager
def manage_mailer() -> Generator[Mailer]:
    yield Mailer()


@contextlib.asynccontextmanager
async def manage_mailer_async() -> AsyncGenerator[Mailer]:
    yield Mailer()


def enter_mailer() -> contextlib.AbstractContextManager[Mailer]:
    return manage_mailer()


def make_anything() -> Any:
    return Mailer()


def perhaps_make_mailer() -> Mailer | None:
    return None


def promise_mailer() -> Coroutine[Any, Any, Mailer]:
    return make_mailer_async()


class Mailers:
    def make(self) -> Mailer:
        return Mailer()

    @classmethod
    def shared(cls) -> Mailer:
        return Mailer()

    def make_text(self) -> str:
        return ""


results = MessageRegistry(event_base=UserEvent)


@results.register
async def right(
    event: UserCreated,
    a: Annotated[Mailer, use(make_mailer)],
    b: Annotated[Mailer, use(make_loud_mailer)],
    c: Annotated[Mailer, use(make_mailer_async)],
    d: Annotated[Mailer, use(open_mailer)],
    e: Annotated[Mailer, use(open_mailer_async)],
    f: Annotated[Mailer, use(manage_mailer)],
    g: Annotated[Mailer, use(manage_mailer_async)],
    h: Annotated[Mailer, use(enter_mailer)],
    i: Annotated[Mailer, use(make_anything)],
    j: Annotated[Mailer, use(Mailer)],
    k: Annotated[Mailer, use(LoudMailer)],
    l: Annotated[Mailer, use(functools.partial(make_mailer))],
    m: Annotated[Mailer, use(Mailers().make)],
    n: Annotated[Mailer, use(Mailers.shared)],
    o: Annotated[Connection, use(borrow_connection)],
    p: Annotated[Mailer, use(generate_mailer, lifetime="transient")],
) -> None: ...


@results.register
async def wrong(
    event: UserCreated,
    a: Annotated[Mailer, use(open_connection)],  # E: bus-dependency: Connection  # raises: nothing
    b: Annotated[LoudMailer, use(make_mailer)],  # E: bus-dependency: LoudMailer  # raises: nothing
    c: Annotated[Mailer, use(make_text_async)],  # E: bus-dependency: str  # raises: nothing
    d: Annotated[LoudMailer, use(open_mailer)],  # E: bus-dependency: Mailer  # raises: nothing
    e: Annotated[Connection, use(open_mailer_async)],  # E: bus-dependency: Mailer  # raises: nothing
    f: Annotated[Connection, use(manage_mailer)],  # E: bus-dependency: Mailer  # raises: nothing
    g: Annotated[Connection, use(manage_mailer_async)],  # E: bus-dependency: Mailer  # raises: nothing
    h: Annotated[Connection, use(enter_mailer)],  # E: bus-dependency: Mailer  # raises: nothing
    i: Annotated[Mailer, use(Connection)],  # E: bus-dependency: Connection  # raises: nothing
    j: Annotated[Mailer, use(Mailers().make_text)],  # E: bus-dependency: str  # raises: nothing
    k: Annotated[Mailer, use(perhaps_make_mailer)],  # E: bus-dependency: Mailer  # raises: nothing
    l: Annotated[str, use(read_rate)],  # E: bus-dependency: float  # raises: nothing
) -> None: ...


results.factory(make_loud_mailer, provides=Mailer)
results.factory(make_mailer_async, provides=Mailer, lifetime="singleton")
results.factory(open_mailer, provides=Mailer)
results.factory(open_mailer_async, provides=Mailer)
results.factory(manage_mailer, provides=Mailer)
results.factory(LoudMailer, provides=Mailer)
results.factory(make_anything, provides=Mailer)
results.factory(Store, provides=Store)  # raises: nothing
results.factory(open_connection, provides=Mailer)  # E: bus-dependency: Connection  # raises: nothing
results.factory(make_mailer, provides=LoudMailer)  # E: bus-dependency: Mailer  # raises: nothing
results.factory(make_text_async, provides=Mailer, lifetime="singleton")  # E: bus-dependency: str  # raises: nothing
results.factory(open_mailer, provides=LoudMailer)  # E: bus-dependency: Mailer  # raises: nothing
results.factory(Connection, provides=Mailer)  # E: bus-dependency: Connection  # raises: nothing
results.factory(lambda: Connection(), provides=Mailer)  # E: bus-dependency: Connection  # raises: nothing


@results.factory(provides=Mailer)
def make_connection() -> Connection:  # E: bus-dependency: Connection  # raises: nothing
    return Connection()


@results.factory(provides=Clock)
class SystemClock:
    def now(self) -> float:
        return 0.0


@results.factory(provides=Store)
class MemoryStore(Store):
    async def save(self) -> None: ...


@results.factory(provides=Store)
class NoStore:  # E: bus-dependency: NoStore  # raises: nothing
    pass


@results.factory(provides=Port)
def make_port() -> Port:
    return Port(80)


@results.factory(provides=Callable[[str], Awaitable[None]])
def make_sender() -> Callable[[str], Awaitable[None]]:
    return Mailer().send


@results.factory(provides=Cache[int])
def make_cache() -> Cache[int]:
    return Cache[int]()


@results.factory(provides=Sequence[int])
def make_sequence() -> list[int]:
    return []
