"""A program with a bit of everything: nothing in it is wrong."""

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

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
    Scope,
    concurrent,
    run,
    use,
)
from runtime.sinks import SqliteSink
from runtime.testing import track

logger = logging.getLogger(__name__)
T = TypeVar("T")


class ShopEvent(Event):
    __key__: ClassVar[str] = "order_id"
    order_id: int


class Ordered(ShopEvent):
    sku: str
    amount: int = 1


class Paid(ShopEvent):
    cents: int


class Changed(ShopEvent, Generic[T]):
    before: T
    after: T


class Stock(msgspec.Struct, frozen=True):
    sku: str
    left: int


class ShopCommand(Command[T], Generic[T]):
    """What this shop is told."""


class GetStock(ShopCommand[Stock]):
    sku: str


class Reserve(ShopCommand[bool]):
    sku: str
    amount: int


class Close(Command[None]):
    pass


class Clock(Protocol):
    def now(self) -> float: ...


class WallClock:
    def now(self) -> float:
        return 0.0


class Database:
    def __init__(self, path: str) -> None:
        self.path = path

    async def __aenter__(self) -> "Database":
        return self

    async def __aexit__(self, *error: object) -> None: ...


class Session:
    def __init__(self, database: Database) -> None:
        self.database = database


class Repository(Generic[T]):
    def __init__(self, session: Session) -> None:
        self.session = session

    async def find(self, sku: str) -> T | None:
        return None


shop = MessageRegistry(event_base=ShopEvent)
notices = MessageRegistry(event_base=ShopEvent)
letters = MessageRegistry(event_base=object)

shop.factory(WallClock, provides=Clock, lifetime="singleton")
shop.factory(Repository, provides=Repository[Stock])


@shop.factory(lifetime="singleton")
async def open_database() -> AsyncIterator[Database]:
    async with Database("shop.db") as database:
        yield database


@shop.factory
async def open_session(database: Database, clock: Clock) -> AsyncIterator[Session]:
    yield Session(database)


@shop.factory(lifetime="singleton")
def currency() -> str:
    return "EUR"


def read_rate(clock: Clock) -> float:
    return clock.now()


Rate = Annotated[float, use(read_rate)]


@shop.register(retry=Retry(attempts=3), timeout=5)
async def reserve_stock(
    ordered: Ordered,
    ctx: MessageContext,
    session: Session,
    bus: EventBus[ShopEvent],
    currency: str,
    rate: Rate,
    *,
    scope: Scope[ShopEvent],
    terminal: BusTerminal[ShopEvent],
    precision: int = 2,
) -> None:
    if await bus.send(Reserve(ordered.sku, ordered.amount)):
        bus.emit(Paid(ordered.order_id, round(rate * 100, precision).__int__()))


@shop.register
async def reserve(command: Reserve, session: Session) -> bool:
    return command.amount < 10


@shop.register
def log_change(changed: Changed[int] | Changed[str], ctx: Any) -> None:
    logger.info("changed: %r", changed)


@shop.register(in_thread=True)
def write_bill(paid: Paid, ctx: MessageContext) -> None: ...


@shop.register(lifetime="actor", on_failure="restart")
class Warehouse:
    """Keep what is left of each article."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.left: dict[str, int] = {}

    async def __aenter__(self) -> "Warehouse":
        return self

    async def __aexit__(self, *error: object) -> None: ...

    async def ordered(self, event: Ordered) -> None:
        self.take(event.sku, event.amount)

    async def stock(self, command: GetStock) -> Stock:
        return Stock(command.sku, self.left.get(command.sku, 0))

    def take(self, sku: str, amount: int) -> int:
        self.left[sku] = self.left.get(sku, 0) - amount
        return self.left[sku]

    @property
    def articles(self) -> int:
        return len(self.left)

    @staticmethod
    def describe(*skus: str) -> str:
        return ", ".join(skus)


@shop.guard
async def only_positive(
    ordered: Ordered, ctx: MessageContext, proceed: Callable[[], Awaitable[None]]
) -> None:
    if ordered.amount > 0:
        await proceed()


@letters.register(own_task=True)
async def bury(letter: DeadLetter) -> None:
    logger.error("dead: %s", letter)


@letters.register
def hear_all(event: object) -> None: ...


def notify(channel: str, event: Paid | Ordered) -> None: ...


notices.register(functools.partial(notify, "mail"))
notices.register(functools.partial(notify, "text"))


class Closing:
    def __init__(self, registry: MessageRegistry[ShopEvent]) -> None:
        self.closed = False
        registry.register(self.close)

    async def close(self, command: Close) -> None:
        self.closed = True


def make_terminal(*extra: MessageRegistry[ShopEvent]) -> BusTerminal[ShopEvent]:
    own = MessageRegistry(event_base=ShopEvent)
    Closing(own)
    return BusTerminal(
        shop,
        notices,
        own,
        *extra,
        sink=SqliteSink("shop.db"),
        publisher=concurrent,
        mailbox={Ordered: MailboxPolicy(10), ShopEvent: MailboxPolicy(overflow="drop_oldest")},
    )


async def main() -> None:
    seen = list[object]()
    recording = MessageRegistry(event_base=ShopEvent)

    @recording.register
    def record(event: ShopEvent) -> None:
        seen.append(event)

    async with make_terminal(recording) as terminal:
        await terminal.bus.publish(Ordered(1, "tea"))
        terminal.bus.emit(Paid(1, 250), delay=1, ttl=10)
        async with terminal.scope("order:1") as scope:
            stock = await scope.bus.ask(GetStock("tea"), key=(ShopEvent, 1))
            logger.info("left: %d", stock.left)
            await scope.bus.sink(Paid(1, 250), Changed(1, before=1, after=2))
        async with track(terminal) as tracked:
            await terminal.bus.send(Close())
        assert tracked.sent(Close)
        with terminal.override({Clock: WallClock(), Session: use(open_session)}):
            await terminal.bus.publish(Changed(1, before="a", after="b"))
        late = MessageRegistry(event_base=ShopEvent)
        late.register(record)
        terminal.include(late)


if __name__ == "__main__":
    run(main())
