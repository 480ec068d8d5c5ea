"""Registries become a table: one plan for each class, known or new."""

from typing import ClassVar

import pytest

from runtime import BusTerminal, Event, MessageRegistry
from runtime.errors import HandlerSignatureError
from runtime.plan import key_of, with_subclasses


class Base(Event):
    pass


class Left(Base):
    pass


class Right(Base):
    pass


class Keyed(Event):
    __key__: ClassVar[str] = "order_id"
    order_id: int


class KeyedChild(Keyed):
    pass


def test_key_is_named_by_the_declaring_class() -> None:
    """Subclasses share the key's namespace with the class that declares it."""
    assert key_of(Keyed) == key_of(KeyedChild) == ("order_id", Keyed)
    assert key_of(Base) == (None, None)


def test_key_must_be_a_field_name() -> None:
    """A `__key__` that is no text is a mistake in the class."""

    class Wrong:
        __key__ = 7

    with pytest.raises(
        HandlerSignatureError, match=r"Wrong: `__key__` must be the name of a field"
    ):
        key_of(Wrong)


def test_known_subclasses_are_found_once() -> None:
    """All that derives from the given classes is flattened at freeze, but not from object."""
    assert with_subclasses([Base, Left]) == {Base, Left, Right}
    assert with_subclasses([object]) == {object}
    assert with_subclasses([type]) >= {type}


async def test_a_class_first_seen_later_is_flattened_and_cached() -> None:
    """A class made after freeze hears what its bases hear."""
    heard: list[Event] = []
    registry = MessageRegistry(event_base=Event)

    @registry.register
    def on_base(event: Base) -> None:
        heard.append(event)

    async with BusTerminal(registry) as terminal:

        class Late(Left):
            pass

        await terminal.bus.publish(Late())
        await terminal.bus.publish(Late())
        await terminal.bus.emit(Late()).wait()
    assert heard == [Late()] * 3


async def test_a_handler_of_two_bases_runs_once() -> None:
    """A class under both members of a union reaches the handler once."""
    heard: list[Event] = []
    registry = MessageRegistry(event_base=Event)

    class Both(Left, Right):
        pass

    @registry.register
    def on_either(event: Left | Right) -> None:
        heard.append(event)

    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Both())
    assert heard == [Both()]


async def test_registries_keep_their_order_and_count_once() -> None:
    """Handlers run in the order of the registries; a registry given twice counts once."""
    heard: list[str] = []
    one, two = MessageRegistry(event_base=Event), MessageRegistry(event_base=Event)

    @two.register
    def second(event: Base) -> None:
        heard.append("second")

    @one.register
    def first(event: Left) -> None:
        heard.append("first")

    async with BusTerminal(one, two, one) as terminal:
        await terminal.bus.publish(Left())
    assert heard == ["first", "second"]


async def test_registering_after_freeze_changes_nothing() -> None:
    """A terminal that has opened keeps the handlers that it opened with."""
    heard: list[str] = []
    registry = MessageRegistry(event_base=Event)
    async with BusTerminal(registry) as terminal:

        @registry.register
        def late(event: Base) -> None:
            heard.append("late")

        await terminal.bus.publish(Base())
        async with BusTerminal(registry) as other:
            await other.bus.publish(Base())
    assert heard == ["late"]


async def test_two_terminals_share_a_registry_and_nothing_else() -> None:
    """Each terminal builds singletons of its own."""

    class Clock:
        pass

    seen: list[Clock] = []
    registry = MessageRegistry(event_base=Event)
    registry.factory(Clock, lifetime="singleton")

    @registry.register
    def on_base(event: Base, clock: Clock) -> None:
        seen.append(clock)

    async with BusTerminal(registry) as one, BusTerminal(registry) as two:
        for terminal in (one, two, one):
            await terminal.bus.publish(Base())
    assert seen[0] is seen[2] is not seen[1]
