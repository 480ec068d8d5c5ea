"""Write a program with many messages and handlers: what a plugin for type checkers is measured on.

Each domain of it is a package with 35 messages and 75 handlers: events and commands, factories of
every kind, handlers that are functions, methods and actors, and some that hear what other domains
say. Nothing in it is wrong. Run as a script, it needs nothing but the standard library.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ("HANDLERS", "MESSAGES", "write")

MESSAGES: Final = 35
"""Messages of a domain."""
HANDLERS: Final = 75
"""Handlers of a domain."""

BASE = '''\
"""What all domains share."""

from collections.abc import AsyncIterator
from typing import Annotated, ClassVar, Protocol

import msgspec

from runtime import Event, MessageRegistry, use


class ShopEvent(Event):
    """Base of everything that happens."""

    __key__: ClassVar[str] = "entity_id"
    entity_id: int


class Clock(Protocol):
    def now(self) -> float: ...


class WallClock:
    def now(self) -> float:
        return 0.0


class Settings(msgspec.Struct, frozen=True):
    path: str
    retries: int = 3


class Database:
    def __init__(self, path: str) -> None:
        self.path = path
        self.rows: dict[str, dict[int, str]] = {}

    async def write(self, table: str, number: int, text: str) -> None:
        self.rows.setdefault(table, {})[number] = text

    async def read(self, table: str, number: int) -> str | None:
        return self.rows.get(table, {}).get(number)


class Session:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.written = 0

    async def save(self, table: str, number: int, text: str) -> None:
        self.written += 1
        await self.database.write(table, number, text)


class Mailer:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    async def send(self, receiver: int, text: str) -> bool:
        return bool(text) and receiver > 0


base = MessageRegistry(event_base=ShopEvent)
base.factory(WallClock, provides=Clock, lifetime="singleton")
base.factory(Mailer, lifetime="singleton")


@base.factory(lifetime="singleton")
def read_settings() -> Settings:
    return Settings("shop.db")


@base.factory(lifetime="singleton")
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    yield Database(settings.path)


@base.factory
async def open_session(database: Database) -> AsyncIterator[Session]:
    yield Session(database)


def read_currency(settings: Settings) -> str:
    return settings.path[:3]


Currency = Annotated[str, use(read_currency, lifetime="singleton")]
'''

EVENTS = '''\
"""What happens in domain {n}."""

from shop.base import ShopEvent


class D{n}Event(ShopEvent):
    """Base of the domain's events."""


{classes}'''

EVENT = """\
class D{n}Event{i}({base}):
    name: str
    amount: int = {i}
    tags: tuple[str, ...] = ()


"""

COMMANDS = '''\
"""What domain {n} is told to do."""

from typing import ClassVar

import msgspec

from runtime import Command


class D{n}State(msgspec.Struct, frozen=True):
    entity_id: int
    name: str
    amount: int


{classes}'''

COMMAND = """\
class D{n}Command{i}(Command[{reply}]):
    __key__: ClassVar[str] = "entity_id"
    entity_id: int
    name: str = ""


"""

SERVICES = '''\
"""What the handlers of domain {n} need."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated, Generic, TypeVar

from runtime import MessageRegistry, use
from shop.base import Clock, Database, Session, ShopEvent

from .commands import D{n}State

T = TypeVar("T")


class D{n}Repository:
    def __init__(self, session: Session, clock: Clock) -> None:
        self.session = session
        self.clock = clock

    async def find(self, entity_id: int) -> D{n}State | None:
        found = await self.session.database.read("d{n}", entity_id)
        return None if found is None else D{n}State(entity_id, found, len(found))

    async def save(self, state: D{n}State) -> None:
        await self.session.save("d{n}", state.entity_id, state.name)


class D{n}Cache(Generic[T]):
    def __init__(self) -> None:
        self.items: dict[int, T] = {{}}

    def get(self, number: int) -> T | None:
        return self.items.get(number)


class D{n}Lock:
    def __init__(self, clock: Clock) -> None:
        self.taken_at = clock.now()


class D{n}Counter:
    def __init__(self, database: Database) -> None:
        self.count = len(database.rows)

    def add(self, amount: int) -> int:
        self.count += amount
        return self.count


services = MessageRegistry(event_base=ShopEvent)
services.factory(D{n}Repository)
services.factory(D{n}Counter, lifetime="singleton")


@services.factory(lifetime="singleton")
def make_cache() -> D{n}Cache[D{n}State]:
    return D{n}Cache()


async def open_lock(clock: Clock) -> AsyncIterator[D{n}Lock]:
    yield D{n}Lock(clock)


@contextmanager
def measure(clock: Clock) -> Iterator[float]:
    yield clock.now()


Lock = Annotated[D{n}Lock, use(open_lock)]
'''

RULES_HEAD = '''\
"""The rules of domain {n}: no wiring, only what is done with what it has."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from .commands import D{n}State
from .events import D{n}Event0


class D{n}Verdict(msgspec.Struct, frozen=True):
    entity_id: int
    allowed: bool
    reasons: tuple[str, ...] = ()

    def also(self, reason: str) -> "D{n}Verdict":
        return D{n}Verdict(self.entity_id, allowed=False, reasons=(*self.reasons, reason))


'''

RULE = '''\
def judge_{i}(
    state: D{n}State, amounts: Sequence[int], limits: Mapping[str, int], *, strict: bool = False
) -> D{n}Verdict:
    """Say whether a change is allowed, and why not."""
    verdict = D{n}Verdict(state.entity_id, allowed=True)
    limit = limits.get(state.name)
    if limit is None:
        return verdict.also(f"{{state.name}} has no limit") if strict else verdict
    total = sum(amount for amount in amounts if amount > {i})
    if total > limit:
        verdict = verdict.also(f"{{total}} is more than {{limit}}")
    for number, amount in enumerate(sorted(amounts, reverse=True)):
        if amount < 0 and number % 2 == 0:
            verdict = verdict.also(f"{{amount}} is negative")
            break
    return verdict


def group_{i}(events: Iterable[D{n}Event0]) -> dict[str, list[int]]:
    """Collect the amounts of events by name, the largest first."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        if event.amount >= {i}:
            found[event.name.strip().lower()].append(event.amount)
    return {{name: sorted(amounts, reverse=True) for name, amounts in sorted(found.items())}}


'''

HEAD = '''\
"""{title} of domain {n}."""

import functools
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from runtime import DeadLetter, EventBus, MessageContext, MessageRegistry, Retry, Scope, use
from shop.base import Currency, Mailer, Session, ShopEvent

from .commands import *
from .events import *
from .services import D{n}Cache, D{n}Counter, D{n}Repository, Lock, measure

registry = MessageRegistry(event_base={base})


'''

REACTION = """\
@registry.register
async def react_{i}(event: D{n}Event{i}, ctx: MessageContext, repository: D{n}Repository) -> None:
    state = await repository.find(event.entity_id)
    if state is not None and state.amount != event.amount:
        tags = {{tag.lower(): len(tag) for tag in event.tags}}
        await repository.save(D{n}State(state.entity_id, event.name, sum(tags.values())))


"""

COUNTING = """\
@registry.register(in_thread=True)
def count_{i}(event: D{n}Event{i}, counter: D{n}Counter, currency: Currency) -> None:
    for number, tag in enumerate(event.tags):
        if tag.startswith(currency):
            counter.add(number + event.amount)


"""

TELLING = """\
@registry.register(retry=Retry(attempts=3), timeout=5)
async def tell_{i}(
    event: D{n}Event{i},
    bus: EventBus[D{n}Event],
    mailer: Mailer,
    lock: Lock,
    started: Annotated[float, use(measure)],
    retries: int = 3,
) -> None:
    if lock.taken_at < started and await mailer.send(event.entity_id, event.name):
        bus.emit(D{n}Event{j}(event.entity_id, event.name, retries))
        state = await bus.send(D{n}Command0(event.entity_id))
        await bus.publish(D{n}Event{j}(state.entity_id, state.name, state.amount))


"""

STATE_COMMAND = """\
@registry.register
async def carry_out_{i}(command: D{n}Command{i}, cache: D{n}Cache[D{n}State]) -> D{n}State:
    found = cache.get(command.entity_id)
    return found if found is not None else D{n}State(command.entity_id, command.name, {i})


"""

NONE_COMMAND = """\
@registry.register(own_task=True)
async def carry_out_{i}(
    command: D{n}Command{i}, session: Session, *, scope: Scope[ShopEvent]
) -> None:
    await session.save(str(scope.name), command.entity_id, command.name)


"""

PROJECTION_HEAD = '''\
@registry.register
class D{n}Projection{k}:
    """Keep a view up to date."""

    def __init__(self, session: Session, counter: D{n}Counter) -> None:
        self.session = session
        self.counter = counter

    def describe(self, *names: str) -> str:
        return ", ".join(names)

'''

PROJECTION = """\
    async def on_{i}(self, event: D{n}Event{i}, ctx: MessageContext) -> None:
        await self.session.save(self.describe(event.name, ctx.id), event.entity_id, event.name)

"""

ACTOR_HEAD = '''\
@registry.register(lifetime="actor", on_failure="restart")
class D{n}Actor{k}:
    """One entity: its mailbox hands it one message at a time."""

    def __init__(self, counter: D{n}Counter) -> None:
        self.counter = counter
        self.total = 0

    async def __aenter__(self) -> "D{n}Actor{k}":
        return self

    async def __aexit__(self, *error: object) -> None: ...

    def ask_{k}(self, command: D{n}Command{c}) -> int:
        return self.total + len(command.name)

'''

ACTOR = """\
    def take_{i}(self, event: D{n}Event{i}) -> None:
        self.total += self.counter.add(event.amount)

"""

NOTICE = """\
@registry.register
async def notice_{m}_{i}(event: D{m}Event{i}, mailer: Mailer, bus: EventBus[ShopEvent]) -> None:
    if await mailer.send(event.entity_id, " ".join(event.tags)):
        bus.emit(D{n}Event{i}(event.entity_id, event.name), key=("d{n}", event.entity_id))


"""

NOTICES_TAIL = """\
def relay(channel: str, event: D{n}Event | D{m}Event, mailer: Mailer) -> None: ...


registry.register(functools.partial(relay, "mail"))


@registry.register(own_task=True)
async def bury(letter: DeadLetter) -> None: ...


@registry.guard
async def only_positive(
    event: D{n}Event, ctx: MessageContext, proceed: Callable[[], Awaitable[None]]
) -> None:
    if event.entity_id >= 0:
        await proceed()


def record(registry: MessageRegistry[ShopEvent], seen: list[Any]) -> None:
    @registry.register
    def keep(event: D{n}Event) -> None:
        seen.append(event)
"""

APP = '''\
"""The program: all domains on one terminal."""

from runtime import BusTerminal, MessageRegistry, run
from shop.base import ShopEvent, base
{imports}

REGISTRIES: list[MessageRegistry[ShopEvent]] = [
    base,
{registries}]


def make_terminal() -> BusTerminal[ShopEvent]:
    return BusTerminal(*REGISTRIES)


async def main() -> None:
    async with make_terminal() as terminal:
        await terminal.bus.publish(D0Event1(1, "Ada"))


if __name__ == "__main__":
    run(main())
'''


def events(n: int) -> str:
    """Write the events of a domain: 25, with their base."""
    classes = "".join(
        EVENT.format(n=n, i=i, base=f"D{n}Event" if i < 18 else f"D{n}Event{i - 18}")
        for i in range(24)
    )
    return EVENTS.format(n=n, classes=classes)


def commands(n: int) -> str:
    """Write the commands of a domain: 10, of which two are for actors."""
    classes = "".join(COMMAND.format(n=n, i=i, reply=reply_of(n, i)) for i in range(10))
    return COMMANDS.format(n=n, classes=classes)


def reply_of(n: int, i: int) -> str:
    """Return what a command is replied to with."""
    return "int" if i >= 8 else f"D{n}State" if i % 2 == 0 else "None"


def rules(n: int) -> str:
    """Write what has nothing to do with wiring, as most of a program has not."""
    return "".join([RULES_HEAD.format(n=n), *(RULE.format(n=n, i=i) for i in range(16))])


def head(n: int, title: str, base: str) -> str:
    """Write the imports and the registry of a module of handlers."""
    text = HEAD.format(n=n, title=title, base=base)
    named = {
        "commands": ["State", *(f"Command{i}" for i in range(10))],
        "events": ["Event", *(f"Event{i}" for i in range(24))],
    }
    for module, names in named.items():
        lines = "".join(f"    D{n}{name},\n" for name in names)
        text = text.replace(f"from .{module} import *", f"from .{module} import (\n{lines})")
    return text


def reactions(n: int) -> str:
    """Write functions that hear events and carry out commands: 32."""
    parts = [head(n, "Reactions", f"D{n}Event")]
    parts += [REACTION.format(n=n, i=i) for i in range(10)]
    parts += [COUNTING.format(n=n, i=i) for i in range(10, 16)]
    parts += [TELLING.format(n=n, i=i, j=i - 8) for i in range(16, 24)]
    parts += [(STATE_COMMAND if i % 2 == 0 else NONE_COMMAND).format(n=n, i=i) for i in range(8)]
    return "".join(parts)


def projections(n: int) -> str:
    """Write classes whose methods hear events: 24, and actors: 7."""
    parts = [head(n, "Projections and actors", f"D{n}Event")]
    for k in range(3):
        parts.append(PROJECTION_HEAD.format(n=n, k=k))
        parts += [PROJECTION.format(n=n, i=i) for i in range(k * 8, k * 8 + 8)]
    for k in range(2):
        parts.append(ACTOR_HEAD.format(n=n, k=k, c=8 + k))
        parts += [ACTOR.format(n=n, i=i) for i in range(k, 5, 2)]
    return "".join(parts)


def notices(n: int, m: int) -> str:
    """Write functions that hear another domain's events: 10, a partial, and one of dead letters."""
    names = "".join(f"    D{m}{name},\n" for name in ["Event", *(f"Event{i}" for i in range(10))])
    above = head(n, "Notices", "ShopEvent").replace(
        "\nregistry =", f"\nfrom shop.d{m}.events import (\n{names})\n\nregistry =", 1
    )
    parts = [above, *(NOTICE.format(n=n, m=m, i=i) for i in range(10))]
    parts.append(NOTICES_TAIL.format(n=n, m=m))
    return "".join(parts)


def modules(domains: int) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each module."""
    yield "shop/__init__.py", '"""A shop with many domains."""\n'
    yield "shop/base.py", BASE
    imports, registries = ["from shop.d0.events import D0Event1\n"], list[str]()
    for n in range(domains):
        yield f"shop/d{n}/__init__.py", f'"""Domain {n}."""\n'
        yield f"shop/d{n}/events.py", events(n)
        yield f"shop/d{n}/commands.py", commands(n)
        yield f"shop/d{n}/services.py", SERVICES.format(n=n)
        yield f"shop/d{n}/rules.py", rules(n)
        yield f"shop/d{n}/reactions.py", reactions(n)
        yield f"shop/d{n}/projections.py", projections(n)
        yield f"shop/d{n}/notices.py", notices(n, (n + 1) % domains)
        imports.append(f"from shop.d{n} import notices as d{n}_notices\n")
        imports.append(f"from shop.d{n} import projections as d{n}_projections\n")
        imports.append(f"from shop.d{n} import reactions as d{n}_reactions\n")
        imports.append(f"from shop.d{n}.services import services as d{n}_services\n")
        registries.append(
            f"    d{n}_services,\n    d{n}_reactions.registry,\n"
            f"    d{n}_projections.registry,\n    d{n}_notices.registry,\n"
        )
    yield "shop/app.py", APP.format(imports="".join(imports), registries="".join(registries))


def write(folder: Path, domains: int = 20) -> None:
    """Write the program into a folder; with 20 domains, 700 messages and 1,500 handlers."""
    for name, text in modules(domains):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main() -> None:
    """Write it where the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--domains", type=int, default=20)
    arguments = parser.parse_args()
    write(arguments.folder, arguments.domains)


if __name__ == "__main__":
    main()
