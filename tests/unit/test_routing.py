"""Several sinks of one terminal, by the type of the event."""

from collections.abc import Sequence
from typing import Any

import pytest

from runtime import BusTerminal, Event, MessageRegistry, Record
from runtime.errors import SinkError, SinkUnset


class UserEvent(Event):
    number: int = 0


class UserCreated(UserEvent):
    pass


class Billed(Event):
    number: int = 0


class Store:
    """A sink that keeps what it is given, or fails."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name = name
        self.calls = calls
        self.records: list[Record] = []
        self.failures: list[Exception] = []

    async def open(self) -> None:
        self.calls.append(f"open {self.name}")
        if self.failures:
            raise self.failures.pop()

    async def close(self) -> None:
        self.calls.append(f"close {self.name}")
        if self.failures:
            raise self.failures.pop()

    async def sink(self, records: Sequence[Record], /) -> None:
        self.calls.append(f"sink {self.name} {len(records)}")
        if self.failures:
            raise self.failures.pop()
        self.records += records


def terminal_with(sink: Any) -> BusTerminal[Event]:
    return BusTerminal(MessageRegistry(event_base=Event), sink=sink, name="shop")


def stores() -> tuple[Store, Store, list[str]]:
    calls: list[str] = []
    return Store("users", calls), Store("rest", calls), calls


async def test_an_event_goes_to_the_sink_of_its_nearest_class() -> None:
    """The mapping's order does not matter; each call writes once to each store."""
    users, rest, calls = stores()
    async with terminal_with({Event: rest, UserEvent: users}) as terminal:
        await terminal.bus.sink(UserCreated(1), Billed(2), UserEvent(3))
        await terminal.bus.sink(Billed(4))
        await terminal.bus.sink(Record.of(UserCreated(5)))
        assert terminal.stats().sunk == 5
    assert [record.event for record in users.records] == [
        UserCreated(1),
        UserEvent(3),
        UserCreated(5),
    ]
    assert [record.event for record in rest.records] == [Billed(2), Billed(4)]
    assert calls == [
        *("open rest", "open users"),
        *("sink users 2", "sink rest 1", "sink rest 1", "sink users 1"),
        *("close users", "close rest"),
    ]


async def test_one_sink_of_several_types_is_one() -> None:
    """It is opened once, and gets its records together."""
    users, _, calls = stores()
    async with terminal_with({Billed: users, UserEvent: users}) as terminal:
        await terminal.bus.sink(UserCreated(1), Billed(2))
    assert calls == ["open users", "sink users 2", "close users"]


async def test_a_type_without_a_sink_is_an_error_before_anything_is_written() -> None:
    """The error names the type, and those that have one."""
    users, _, calls = stores()
    async with terminal_with({UserEvent: users}) as terminal:
        with pytest.raises(
            SinkUnset, match="'shop' has no sink for .*Billed: its sinks are for UserEvent; add one"
        ):
            await terminal.bus.sink(UserCreated(1), Billed(2))
    assert calls == ["open users", "close users"]


async def test_a_failure_carries_what_no_store_has_confirmed() -> None:
    """What one store has saved is not sunk again; what is behind the failure is."""
    users, rest, calls = stores()
    third = Store("third", calls)
    async with terminal_with({UserEvent: users, Billed: rest, Event: third}) as terminal:
        rest.failures = [SinkError("full", ())]
        with pytest.raises(SinkError, match="full") as caught:
            await terminal.bus.sink(UserCreated(1), Billed(2), Event())
        assert [each.event for each in caught.value.records] == [Billed(2), Event()]
        assert third.records == []
        assert terminal.stats().sunk == 1
        await terminal.bus.sink(*caught.value.records)
        assert terminal.stats().sunk == 3
    assert [len(each.records) for each in (users, rest, third)] == [1, 1, 1]
    assert [record.id for record in third.records] == [caught.value.records[1].id]


async def test_an_open_that_fails_is_tried_again() -> None:
    """What was open stays open, once; the rest is opened before the next event."""
    users, rest, calls = stores()
    users.failures = [SinkError("away", ())]
    terminal = terminal_with({Event: rest, UserEvent: users})
    with pytest.raises(SinkError, match="away"):
        await terminal.open()
    await terminal.bus.sink(UserCreated(1))
    await terminal.close()
    assert calls == [
        *("open rest", "open users", "open users", "sink users 1"),
        *("close users", "close rest"),
    ]


@pytest.mark.parametrize("both", [False, True])
async def test_every_sink_is_closed_whatever_another_raises(both: bool) -> None:
    """One failure is raised as it is, several together."""
    users, rest, calls = stores()
    terminal = terminal_with({Event: rest, UserEvent: users})
    await terminal.open()
    users.failures = [OSError("users")]
    rest.failures = [OSError("rest")] if both else []
    with pytest.raises(ExceptionGroup if both else OSError):
        await terminal.close()
    assert calls[2:] == ["close users", "close rest"]


@pytest.mark.parametrize("given", [7, {Event: 7}, {"Event": Store("a", [])}, Event])
def test_what_is_no_sink_is_refused(given: Any) -> None:
    """A mistake is found when the terminal is made."""
    with pytest.raises(TypeError, match=r"sink= has a method `async def sink\(self, records\)`"):
        terminal_with(given)
