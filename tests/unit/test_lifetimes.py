"""Wiring: what is provided to whom, how long it lives, and what freeze finds wrong."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Protocol

import pytest

from runtime import BusTerminal, Event, EventBus, MessageContext, MessageRegistry, use
from runtime.errors import LifetimeError, ProviderError


class Ping(Event):
    number: int = 0


class Clock:
    pass


class Config:
    pass


class Session:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock


class Counter:
    """Builds numbered things and remembers how many."""

    def __init__(self) -> None:
        self.built = 0

    def session(self, clock: Clock) -> Session:
        self.built += 1
        return Session(clock)


async def publish(registry: MessageRegistry[Event], *events: Event) -> None:
    async with BusTerminal(registry) as terminal:
        for event in events or (Ping(),):
            await terminal.bus.publish(event)


async def test_every_kind_of_parameter_is_served() -> None:
    """Message, context, singletons, scoped objects, defaults, bus, terminal; also by keyword."""
    seen: list[dict[str, Any]] = []
    registry = MessageRegistry(event_base=Event)
    registry.factory(Clock, lifetime="singleton")
    registry.factory(Session)

    @registry.register
    async def on_ping(
        event: Ping,
        ctx: MessageContext,
        clock: Clock,
        retries: int = 3,
        *,
        bus: EventBus[Event],
        session: Session,
        terminal: BusTerminal[Event],
        config: Annotated[Config, use(Config, lifetime="singleton")],
    ) -> None:
        seen.append(locals())

    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Ping(1))
        await terminal.bus.publish(Ping(2))
    one, two = seen
    assert one["event"] == Ping(1)
    assert isinstance(one["ctx"], MessageContext)
    assert one["retries"] == 3
    assert isinstance(one["bus"], EventBus)
    assert one["terminal"] is terminal
    assert one["clock"] is two["clock"]
    assert one["config"] is two["config"]
    assert one["session"] is not two["session"]
    assert one["session"].clock is one["clock"]


async def test_a_scoped_object_is_one_for_the_scope() -> None:
    """Handlers of one publish, nested publishes and repeated publishes in a scope share it."""
    seen: list[Session] = []
    counter = Counter()
    registry = MessageRegistry(event_base=Event)
    registry.factory(Clock, lifetime="singleton")
    registry.factory(counter.session)

    @registry.register
    async def first(event: Ping, session: Session, bus: EventBus[Event]) -> None:
        seen.append(session)
        if event.number == 0:
            await bus.publish(Ping(1))

    @registry.register
    def second(event: Ping, session: Session) -> None:
        seen.append(session)

    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Ping())
        assert len(seen) == 4
        assert len(set(map(id, seen))) == counter.built == 1
        async with terminal.scope() as scope:
            await scope.bus.publish(Ping(1))
            await scope.bus.publish(Ping(1))
        assert len(set(map(id, seen))) == counter.built == 2


async def test_emit_builds_a_scope_for_each_handler() -> None:
    """Nothing scope-bound crosses an emit: each handler has objects of its own."""
    seen: list[Session] = []
    registry = MessageRegistry(event_base=Event)
    registry.factory(Clock, lifetime="singleton")

    @registry.register
    async def first(event: Ping, session: Session) -> None:
        seen.append(session)

    @registry.register
    async def second(event: Ping, session: Session) -> None:
        seen.append(session)

    async with BusTerminal(registry) as terminal, terminal.scope("home") as scope:
        await scope.bus.publish(Ping())
        scope.bus.emit(Ping())
        scope.bus.emit(Ping())
        await terminal.drain()
    assert seen[0] is seen[1]
    assert len(set(map(id, seen))) == 5
    assert len({id(session.clock) for session in seen}) == 1


async def test_falsy_objects_are_built_once() -> None:
    """An empty list is as good a singleton, and as good a scoped object, as any."""

    class Basket(list[int]):
        pass

    class Shelf(list[int]):
        pass

    built: list[str] = []

    def make_basket() -> Basket:
        built.append("basket")
        return Basket()

    def make_shelf() -> Shelf:
        built.append("shelf")
        return Shelf()

    registry = MessageRegistry(event_base=Event)
    registry.factory(make_basket, lifetime="singleton")
    registry.factory(make_shelf)

    @registry.register
    def first(event: Ping, basket: Basket, shelf: Shelf) -> None: ...
    @registry.register
    def second(event: Ping, basket: Basket, shelf: Shelf) -> None: ...

    await publish(registry, Ping(), Ping())
    assert sorted(built) == ["basket", "shelf", "shelf"]


async def test_a_factory_that_fails_is_tried_again() -> None:
    """An error while building reaches the publisher, and is not remembered."""
    tries: list[int] = []

    def make_clock() -> Clock:
        tries.append(1)
        if len(tries) == 1:
            msg = "no quartz"
            raise OSError(msg)
        return Clock()

    registry = MessageRegistry(event_base=Event)
    registry.factory(make_clock, lifetime="singleton")

    @registry.register
    async def on_ping(event: Ping, clock: Clock) -> None: ...

    async with BusTerminal(registry) as terminal:
        with pytest.raises(OSError, match="no quartz"):
            await terminal.bus.publish(Ping())
        await terminal.bus.publish(Ping())
        await terminal.bus.publish(Ping())
    assert len(tries) == 2


async def test_use_shares_by_factory_and_lifetime() -> None:
    """One factory used in two handlers is one provider."""
    seen: list[object] = []

    def make_clock() -> Clock:
        return Clock()

    registry = MessageRegistry(event_base=Event)

    @registry.register
    def first(event: Ping, clock: Annotated[Clock, use(make_clock, lifetime="singleton")]) -> None:
        seen.append(clock)

    @registry.register
    def second(event: Ping, clock: Annotated[Clock, use(make_clock, lifetime="singleton")]) -> None:
        seen.append(clock)

    await publish(registry)
    assert seen[0] is seen[1]


async def test_a_default_gives_way_to_a_provider_only() -> None:
    """A default is replaced by what is registered, never by what could be built unasked."""
    seen: list[object] = []
    registry = MessageRegistry(event_base=Event)
    registry.factory(Clock, lifetime="singleton")

    @registry.register
    def on_ping(event: Ping, clock: Clock | None = None, config: Config | None = None) -> None:
        seen.extend((clock, config))

    @registry.register
    def other(event: Ping, *, clock: Clock = None, config: Config = None) -> None:  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
        seen.extend((clock, config))

    await publish(registry)
    assert seen[0:2] == [None, None]
    assert isinstance(seen[2], Clock)
    assert seen[3] is None


async def test_a_singleton_has_the_root_bus() -> None:
    """A singleton outlives every scope, so its bus belongs to none."""

    class Announcer:
        def __init__(self, bus: EventBus[Event]) -> None:
            self.bus = bus

    seen: list[object] = []
    registry = MessageRegistry(event_base=Event)
    registry.factory(Announcer, lifetime="singleton")

    @registry.register
    async def on_ping(event: Ping, announcer: Announcer, ctx: MessageContext) -> None:
        seen.append(ctx.causation_id)
        if event.number < 1:
            await announcer.bus.publish(Ping(event.number + 1))

    async with BusTerminal(registry) as terminal:
        async with terminal.scope("gone") as scope:
            await scope.bus.publish(Ping())
        await terminal.bus.publish(Ping())
    assert seen == [None] * 4


class SmtpConfig:
    def __init__(self, host: str) -> None:
        self.host = host


class Mailer:
    def __init__(self, config: SmtpConfig) -> None:
        self.config = config


class Hen:
    def __init__(self, egg: "Egg") -> None: ...


class Egg:
    def __init__(self, hen: Hen) -> None: ...


class Abstract(ABC):
    @abstractmethod
    def act(self) -> None: ...


class Shape(Protocol):
    def area(self) -> float: ...


async def greet(event: Ping, mailer: Mailer) -> None: ...
async def brood(event: Ping, hen: Hen) -> None: ...
async def act(event: Ping, thing: Abstract) -> None: ...
async def measure(event: Ping, shape: Shape) -> None: ...
async def nameless(event: Ping, ctx: MessageContext, extra) -> None: ...  # type: ignore[no-untyped-def]  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]


class Vault:
    def __init__(self, session: Session) -> None: ...


async def guard(event: Ping, vault: Vault) -> None: ...


HERE = f"{__name__}."
MISSING: list[tuple[Any, str]] = [
    (
        greet,
        (
            f"{HERE}greet → Mailer → SmtpConfig.host: str: "
            "nothing provides str; register a factory that returns it"
        ),
    ),
    (brood, f"{HERE}brood → Hen → Egg → Hen: it needs itself to be built"),
    (
        act,
        f"{HERE}act.thing: Abstract: nothing provides Abstract; register a factory that returns it",
    ),
    (
        measure,
        f"{HERE}measure.shape: Shape: nothing provides Shape; register a factory that returns it",
    ),
    (nameless, f"{HERE}nameless.extra: it needs an annotation that says what to provide"),
]


@pytest.mark.parametrize(("handler", "finding"), MISSING, ids=lambda v: getattr(v, "__name__", ""))
async def test_freeze_prints_the_whole_path(handler: Any, finding: str) -> None:
    """What cannot be provided is found when the terminal opens, with the path to it."""
    registry = MessageRegistry(event_base=Event)
    registry.register(handler)
    with pytest.raises(ProviderError) as caught:
        await BusTerminal(registry).open()
    assert str(caught.value) == finding


async def test_a_captive_dependency_is_found_at_freeze() -> None:
    """A singleton, or an actor, may not hold what ends before it."""

    class Keeper:
        def __init__(self, session: Session) -> None: ...
        def on(self, event: Ping) -> None: ...

    registry = MessageRegistry(event_base=Event)
    registry.factory(Session)
    registry.factory(Vault, lifetime="singleton")
    registry.register(guard)
    registry.register(Keeper, lifetime="actor")
    with pytest.raises(LifetimeError) as caught:
        await BusTerminal(registry).open()
    first, second = str(caught.value).splitlines()
    assert first == (
        f"{HERE}guard → Vault → Session: "
        "a singleton object cannot depend on a scoped one, which ends before it; "
        "give one of them another lifetime"
    )
    assert second.endswith(
        "Keeper → Session: an actor object cannot depend on a scoped one, which ends before it; "
        "give one of them another lifetime"
    )


async def test_all_findings_come_at_once() -> None:
    """One attempt shows every mistake, and the terminal stays closed to messages."""
    registry = MessageRegistry(event_base=Event)
    registry.register(*(handler for handler, _ in MISSING))
    terminal = BusTerminal(registry)
    with pytest.raises(ProviderError) as caught:
        await terminal.open()
    assert str(caught.value).splitlines() == [finding for _, finding in MISSING]
    with pytest.raises(ProviderError, match="SmtpConfig.host: str"):
        await terminal.bus.publish(Ping())
    with pytest.raises(ProviderError, match="SmtpConfig.host: str"):
        terminal.bus.emit(Ping())
