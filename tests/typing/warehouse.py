"""A warehouse: a program of the size that services are, without `Any`, a cast or a `type: ignore`.

`test_warehouse` runs it and has it checked as strictly as the checkers can.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Annotated, ClassVar, Generic, Protocol, Self, TypeVar

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
    isolated,
    use,
)
from runtime.errors import DeliveryFailed, MailboxFull, NoHandler
from runtime.publishers import Listener
from runtime.sinks import SqliteSink
from runtime.sources import Received, SqliteSource
from runtime.testing import Tracked, track

T = TypeVar("T")

# --- Messages.


class StockEvent(Event):
    sku: str


class Arrived(StockEvent):
    amount: int


class Left(StockEvent):
    amount: int
    customer: str = "nobody"


class SoldOut(StockEvent): ...


class OrderEvent(Event):
    __key__: ClassVar[str] = "order"
    order: int


class Ordered(OrderEvent):
    sku: str
    amount: int


class Paid(OrderEvent):
    price: float


class Changed(Event, Generic[T]):
    """An event about anything."""

    before: T
    after: T


@dataclass(frozen=True)
class Level:
    sku: str
    amount: int


class GetLevel(Command[Level]):
    sku: str


class GetLevelOf(GetLevel):
    """A command that is derived from another has its reply."""

    shelf: int


class Reserve(Command[bool]):
    sku: str
    amount: int


class Forget(Command[None]):
    sku: str


class Lookup(Command[list[T]], Generic[T]):
    """A command whose reply depends on its argument."""

    kind: type[T]


# --- What handlers need.


@dataclass(frozen=True)
class Settings:
    folder: Path
    currency: str = "EUR"


class Connection:
    def __init__(self) -> None:
        self.statements: list[str] = []
        self.is_open = True

    def execute(self, statement: str) -> None:
        assert self.is_open
        self.statements.append(statement)

    def close(self) -> None:
        self.is_open = False


class Pool:
    """A context manager."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.is_open = False

    async def __aenter__(self) -> Self:
        self.is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_open = False


class Transaction:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection


class Mailer(Protocol):
    async def send(self, to: str, text: str) -> None: ...


class MemoryMailer:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    async def send(self, to: str, text: str) -> None:
        self.sent.append((to, text))


class Clock(ABC):
    @abstractmethod
    def now(self) -> float: ...


class LoopClock(Clock):
    def now(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass
class Ledger:
    """A singleton that notes what has happened."""

    lines: list[str] = field(default_factory=list[str])
    prices: dict[str, float] = field(default_factory=dict[str, float])

    def note(self, line: str) -> None:
        self.lines.append(line)


stock: MessageRegistry[StockEvent] = MessageRegistry(event_base=StockEvent)
orders = MessageRegistry(event_base=OrderEvent)
general = MessageRegistry()

# --- Factories of every kind.


@stock.factory(lifetime="singleton")
def ledger() -> Ledger:
    return Ledger()


@stock.factory(lifetime="singleton")
async def make_clock() -> Clock:
    await asyncio.sleep(0)
    return LoopClock()


@stock.factory(lifetime="singleton")
def open_pool(settings: Settings) -> AbstractAsyncContextManager[Pool]:
    return Pool(settings)


@stock.factory
async def connect(pool: Pool) -> AsyncIterator[Connection]:
    assert pool.is_open
    connection = Connection()
    yield connection
    connection.close()


@stock.factory
def begin(connection: Connection) -> Generator[Transaction, None, None]:
    connection.execute("BEGIN")
    try:
        yield Transaction(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


stock.factory(MemoryMailer, provides=Mailer, lifetime="singleton")
orders.factory(partial(Settings, Path("nowhere")), provides=Settings, lifetime="singleton")


@contextmanager
def lease(clock: Clock) -> Generator[float]:
    yield clock.now()


@asynccontextmanager
async def session(clock: Clock) -> AsyncGenerator[int]:
    yield int(clock.now())


def numbers() -> Iterator[str]:
    yield "one"


Since = Annotated[float, use(lease)]
Session = Annotated[int, use(session, lifetime="scoped")]
Number = Annotated[str, use(numbers, lifetime="transient")]

# --- Handlers: functions, methods of classes, actors.


@stock.register
async def count_arrival(
    event: Arrived,
    ctx: MessageContext,
    ledger: Ledger,
    since: Since,
    session: Session,
    number: Number,
) -> None:
    assert since <= session + 1
    ledger.note(f"{event.amount} of {event.sku} arrived, {ctx.headers.get('truck', number)}")


@stock.register(retry=Retry(attempts=2, backoff=0.0), timeout=5.0)
async def count_leaving(event: Left, transaction: Transaction, ledger: Ledger) -> None:
    transaction.connection.execute(f"UPDATE {event.sku}")
    ledger.note(f"{event.amount} of {event.sku} left")


@stock.register(in_thread=True)
def price(event: Arrived | Left, settings: Settings, ledger: Ledger) -> None:
    ledger.prices[event.sku] = ledger.prices.get(event.sku, 0.0) + event.amount
    assert settings.currency == "EUR"


@stock.register(own_task=True)
async def tell(event: SoldOut, mailer: Mailer, bus: EventBus[StockEvent | OrderEvent]) -> None:
    await mailer.send("buyer", f"{event.sku} is sold out")
    bus.emit(Arrived(event.sku, 10))


@orders.register(lifetime="actor", on_failure="restart")
class Order:
    """An actor: one for each order."""

    def __init__(self, ledger: Ledger, scope: Scope[OrderEvent]) -> None:
        self.ledger = ledger
        self.name = scope.name
        self.items: list[Ordered] = []

    async def ordered(self, event: Ordered, bus: EventBus[StockEvent]) -> None:
        if not await bus.send(Reserve(event.sku, event.amount)):
            self.ledger.note(f"order {event.order} waits for {event.sku}")
            return
        self.items.append(event)
        await bus.publish(Left(event.sku, event.amount, customer="Ada"))

    def paid(self, event: Paid) -> None:
        if event.price < 0:
            msg = "a negative price"
            raise ValueError(msg)
        self.ledger.note(f"order {event.order}: {len(self.items)} for {event.price}")


class Shelves:
    """A class whose methods carry out commands."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.amounts: dict[str, int] = {}

    def arrived(self, event: Arrived) -> None:
        self.amounts[event.sku] = self.amounts.get(event.sku, 0) + event.amount

    async def level(self, command: GetLevel) -> Level:
        return Level(command.sku, self.amounts.get(command.sku, 0))

    async def reserve(
        self, command: Reserve, ctx: MessageContext, bus: EventBus[StockEvent]
    ) -> bool:
        level = await bus.send(GetLevel(command.sku))
        if level.amount < command.amount:
            bus.emit(SoldOut(command.sku), MessageContext(headers=ctx.headers))
            return False
        self.amounts[command.sku] = level.amount - command.amount
        return True

    def forget(self, command: Forget) -> None:
        self.amounts.pop(command.sku, None)


stock.register(Shelves, lifetime="singleton")


@general.register
async def look_up(command: Lookup[str], ledger: Ledger) -> list[str]:
    return ledger.lines


@general.register
def bury(letter: DeadLetter, ledger: Ledger) -> None:
    about = letter.message.order if isinstance(letter.message, OrderEvent) else 0
    ledger.note(f"dead: {about}, {letter.reason}, {letter.error}")


@general.register
def changed(event: Changed[Level]) -> None:
    assert event.after.amount >= event.before.amount


# --- Guards.


@stock.guard
async def note_events(
    event: StockEvent, ctx: MessageContext, proceed: Callable[[], Awaitable[None]]
) -> None:
    await proceed()


@stock.guard
async def at_least_nothing(
    command: GetLevel, ctx: MessageContext, proceed: Callable[[], Awaitable[Level]]
) -> Level:
    level = await proceed()
    return Level(level.sku, max(0, level.amount))


# --- A publisher, a sink and a source of the program's own.


async def reversed_(event: object, context: MessageContext, listeners: Sequence[Listener]) -> None:
    """Run the handlers in the opposite order."""
    for listener in reversed(listeners):
        await listener(event, context)


class MemorySink:
    def __init__(self) -> None:
        self.records: list[Record] = []

    async def sink(self, records: Sequence[Record], /) -> None:
        self.records.extend(records)

    def events(self, kind: type[T]) -> list[T]:
        return [each.event for each in self.records if isinstance(each.event, kind)]


@dataclass(frozen=True)
class Receipt:
    position: int


class ListSource:
    """A source whose receipts are its own."""

    lease = 30.0

    def __init__(self, raw: Sequence[bytes]) -> None:
        self.waiting = list(enumerate(raw))
        self.done: list[int] = []
        self.finished = asyncio.Event()

    async def receive(self, limit: int, /) -> Sequence[Received[Receipt]]:
        if not self.waiting:
            await asyncio.Event().wait()
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return [Received(str(number), raw, receipt=Receipt(number)) for number, raw in taken]

    async def acknowledge(self, received: Sequence[Received[Receipt]], /) -> None:
        for each in received:
            self.done.append(each.receipt.position)
        self.finished.set()

    async def put_back(self, received: Received[Receipt], /, *, delay: float, failed: bool) -> None:
        await self.acknowledge([received])

    async def bury(self, received: Received[Receipt], /, reason: str, error: str) -> None:
        await self.acknowledge([received])

    async def extend(self, received: Sequence[Received[Receipt]], /) -> None: ...


# --- A service that has a bus, and knows no terminal.


class Desk:
    def __init__(self, bus: EventBus[Ordered | Paid]) -> None:
        self.bus = bus
        self.rejected: list[object] = []

    def order(self, order: int, sku: str, amount: int) -> Delivery | None:
        try:
            return self.bus.emit(Ordered(order, sku, amount), callback=self.ended)
        except MailboxFull as error:
            self.rejected.append(error.message)
            return None

    def ended(self, delivery: Delivery) -> None:
        self.rejected += [letter.message for letter in delivery.dead_letters]


async def reply_of(bus: EventBus[StockEvent], command: Command[T]) -> T:
    """Have any command carried out."""
    return await bus.ask(command)


async def level_of(bus: EventBus[StockEvent], command: GetLevel | GetLevelOf) -> int:
    level = await bus.send(command)
    return level.amount


# --- The program, and tests of it.


def open_terminal(sink: MemorySink) -> BusTerminal[Event]:
    policies = {StockEvent: MailboxPolicy(100), SoldOut: MailboxPolicy(10, overflow="drop_oldest")}
    return BusTerminal[Event](stock, orders, general, sink=sink, mailbox=policies)


async def sell(terminal: BusTerminal[Event]) -> None:
    """Sell with every verb."""
    async with terminal.scope("desk") as scope:
        await scope.bus.publish(Arrived("tea", 5), MessageContext(headers={"truck": "seven"}))
        desk = Desk(scope.bus)
        delivery = desk.order(1, "tea", 2)
        assert delivery is not None
        await delivery.wait()
        level = await scope.bus.send(GetLevelOf("tea", shelf=1))
        assert level == Level("tea", 3)
        assert (await scope.resolve(Ledger)).lines
        assert isinstance(await scope.resolve(Clock), LoopClock)
        assert await level_of(scope.bus, GetLevel("tea")) == 3
        assert (await reply_of(scope.bus, GetLevel("tea"))).amount == 3
    async with asyncio.TaskGroup() as group:
        offers = [
            group.create_task(terminal.bus.offer(Ordered(2, "tea", amount))) for amount in (1, 9)
        ]
    for each in offers:
        await each.result().wait()
    deliveries: list[Delivery] = [terminal.bus.emit(Paid(2, 3.5)), terminal.bus.emit(Paid(2, -1.0))]
    await deliveries[0].wait()
    try:
        await deliveries[1].wait()
    except DeliveryFailed as failed:
        letters = failed.dead_letters
    else:
        letters = ()
    assert [each.reason for each in letters] == ["failed"]
    await terminal.drain()
    await terminal.bus.send(Forget("coffee"))
    lines: list[str] = await terminal.bus.send(Lookup(str))
    assert lines[0] == "5 of tea arrived, seven"
    await terminal.bus.publish(Changed(Level("tea", 1), Level("tea", 2)))
    await terminal.bus.sink(Arrived("tea", 1), *[Left("tea", 1)])
    await terminal.bus.sink([Arrived("tea", 1)])


async def sell_from_threads(terminal: BusTerminal[Event]) -> None:
    """Sell from another thread."""
    levels: list[Level] = []

    def work() -> None:
        bus = terminal.bus.from_thread
        bus.publish(Arrived("rice", 4))
        bus.emit(Arrived("rice", 1))
        bus.offer(Left("rice", 1))
        bus.sink(Arrived("rice", 4))
        levels.append(bus.send(GetLevel("rice")))
        levels.append(bus.ask(GetLevel("rice")))

    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert [each.sku for each in levels] == ["rice", "rice"]


async def check_with_fakes(terminal: BusTerminal[Event]) -> None:
    """Test as users do: something is replaced, and what happens is tracked."""
    fake = MemoryMailer()
    tracked: Tracked
    with terminal.override({Mailer: fake, Ledger: use(Ledger, lifetime="singleton")}):
        async with track(terminal) as tracked:
            terminal.bus.emit(SoldOut("tea"))
    assert tracked.handled(SoldOut) == [SoldOut("tea")]
    assert [each.amount for each in tracked.emitted(Arrived)] == [10]
    assert tracked.dead(StockEvent) == []
    assert fake.sent == [("buyer", "tea is sold out")]


async def consume(folder: Path) -> None:
    """Persist, read it back, and handle it."""
    heard = MessageRegistry(event_base=StockEvent)
    amounts: list[int] = []
    enough = asyncio.Event()

    @heard.register
    def arrived(event: Arrived) -> None:
        amounts.append(event.amount)
        enough.set()

    path = folder / "events.db"
    async with BusTerminal(heard, sink={Arrived: SqliteSink(path)}) as terminal:
        await terminal.bus.sink(Arrived("tea", 7))
    async with BusTerminal(heard) as terminal:
        consumer = asyncio.create_task(terminal.consume(SqliteSource(path, poll=0.001)))
        await enough.wait()
    await consumer
    source = ListSource([b"no event"])
    async with BusTerminal(heard) as terminal:
        consumer = asyncio.create_task(terminal.consume(source))
        await source.finished.wait()
    await consumer
    assert (amounts, source.done) == ([7], [0])


async def publish_in_other_ways() -> None:
    """Run handlers by other publishers, under an exit stack."""
    seen: list[str] = []
    registry = MessageRegistry(event_base=StockEvent)

    def hear(name: str, event: SoldOut) -> None:
        seen.append(name)

    def first(event: SoldOut) -> None:
        hear("first", event)

    def second(event: SoldOut) -> None:
        hear("second", event)

    registry.register(first, second)
    async with AsyncExitStack() as stack:
        for publisher in (reversed_, isolated):
            terminal = await stack.enter_async_context(BusTerminal(registry, publisher=publisher))
            scope = await stack.enter_async_context(terminal.scope())
            await scope.bus.publish(SoldOut("tea"))
            try:
                await scope.bus.send(Reserve("tea", 1))
            except NoHandler:
                seen.append("nobody")
    assert seen == ["second", "first", "nobody", "first", "second", "nobody"]
    terminal = BusTerminal(registry)
    await terminal.open()
    report = await terminal.close()
    assert (report.failed, report.undelivered) == (0, ())


async def main(folder: Path) -> Sequence[str]:
    """Run everything, and return what the ledger has noted."""
    sink = MemorySink()
    async with open_terminal(sink) as terminal:
        await sell(terminal)
        await sell_from_threads(terminal)
        await check_with_fakes(terminal)
        async with terminal.scope() as scope:
            lines = (await scope.resolve(Ledger)).lines
        stats, counters = terminal.stats(), terminal.counters()
        assert stats.emitted == stats.handled + stats.failed
        assert counters.by_type[Paid].failed == 1
        (handler, *_) = terminal.explain(SoldOut).handlers
        assert handler.name.endswith("tell")
    assert len(sink.events(Arrived)) == 3
    await consume(folder)
    await publish_in_other_ways()
    return lines
