"""The registry collects handlers and factories, and gives back what it was given."""

import pytest

from runtime import Event, MessageContext, MessageRegistry
from runtime.errors import HandlerSignatureError, ProviderError


class Created(Event):
    pass


class Deleted(Event):
    pass


async def first(event: Created, ctx: MessageContext) -> None: ...  # type: ignore[bus-handler-signature]
def second(event: Deleted) -> None: ...


class Keeper:
    def created(self, event: Created) -> None: ...
    async def deleted(self, event: Deleted) -> None: ...
    def helper(self, number: int) -> None: ...  # type: ignore[bus-handler-signature]
    def _private(self, event: Created) -> None: ...


class ElderKeeper(Keeper):
    def both(self, event: Created | Deleted) -> None: ...
    async def deleted(self, event: Deleted) -> None: ...


def names(registry: MessageRegistry[Event]) -> list[str]:
    return [spec.name.rpartition(f"{__name__}.")[2] for spec in registry.handlers]


def test_register_returns_the_handler_and_keeps_order() -> None:
    """Decorating leaves a function as it is; handlers stand in registration order."""
    registry = MessageRegistry()
    assert registry.register(second) is second
    assert registry.register()(first) is first
    assert names(registry) == ["second", "first"]


def test_register_takes_many_at_once() -> None:
    """Several handlers in one call keep the order of the call."""
    registry = MessageRegistry(event_base=Event)
    registry.register(first, second)
    assert names(registry) == ["first", "second"]


def test_register_is_all_or_nothing() -> None:
    """One wrong handler keeps the whole call from registering."""
    registry = MessageRegistry(event_base=Event)
    with pytest.raises(HandlerSignatureError, match="helper"):
        registry.register(first, Keeper.helper)
    assert registry.handlers == ()


def test_an_actor_class_registers_its_public_methods() -> None:
    """Public methods that take an event are handlers, inherited ones first."""
    registry = MessageRegistry(event_base=Event)
    assert registry.register(lifetime="actor")(ElderKeeper) is ElderKeeper
    assert names(registry) == ["Keeper.created", "ElderKeeper.deleted", "ElderKeeper.both"]
    assert {spec.owner for spec in registry.handlers} == {ElderKeeper}


def test_an_actor_class_without_handlers_is_refused() -> None:
    """A class that hears nothing is a mistake, and says what is missing."""

    class Deaf:  # type: ignore[bus-handler-signature]
        def listen(self, number: int) -> None: ...

    with pytest.raises(HandlerSignatureError, match=r"Deaf .* no public method takes an event"):
        MessageRegistry(event_base=Event).register(Deaf, lifetime="actor")


@pytest.mark.parametrize(
    ("handler", "lifetime"), [(Keeper, "forever"), (first, "actor"), (42, None), (first, "scoped")]
)
def test_lifetime_belongs_to_classes(handler: object, lifetime: object) -> None:
    """A class needs a lifetime, a function has none, and anything else is no handler."""
    with pytest.raises(HandlerSignatureError, match="cannot be registered like this"):
        MessageRegistry(event_base=Event).register(handler, lifetime=lifetime)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def test_a_base_of_the_users_own() -> None:
    """Any class can be the base of a registry's events."""

    class Domain:
        pass

    class Moved(Domain):
        pass

    def moved(event: Moved) -> None: ...

    registry = MessageRegistry(event_base=Domain)
    registry.register(moved)
    with pytest.raises(HandlerSignatureError, match="not a subclass of .*Domain"):
        registry.register(first)


class Clock:
    pass


def make_clock() -> Clock:
    return Clock()


def test_factory_returns_what_it_was_given() -> None:
    """A factory can be decorated; a class is its own factory."""
    registry = MessageRegistry()
    assert registry.factory(make_clock) is make_clock
    assert registry.factory(lifetime="singleton")(Clock) is Clock
    assert [(spec.provides, spec.lifetime) for spec in registry.factories] == [
        (Clock, "scoped"),
        (Clock, "singleton"),
    ]


def unnamed():  # type: ignore[bus-dependency, no-untyped-def]
    return Clock()


def nothing() -> None: ...  # type: ignore[bus-dependency]


def test_factory_says_what_it_cannot_use() -> None:
    """A factory that provides nothing, or for no known time, is refused."""
    registry = MessageRegistry(event_base=Event)
    with pytest.raises(ProviderError, match=r"unnamed .*must say what it provides"):
        registry.factory(unnamed)
    with pytest.raises(ProviderError, match=r"nothing .*must say what it provides"):
        registry.factory(nothing)
    with pytest.raises(ProviderError, match="lifetime must be one of the four, not 'forever'"):
        registry.factory(make_clock, lifetime="forever")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    registry.factory(unnamed, provides=Clock)
    assert registry.factories[0].provides is Clock
