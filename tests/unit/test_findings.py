"""Errors carry what is wrong as data, besides their text."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import Command, Event, MessageRegistry
from runtime.checking.lines import Lines
from runtime.errors import (
    BusError,
    DuplicateHandler,
    HandlerSignatureError,
    LifetimeError,
    ProviderError,
)
from runtime.findings import Place
from runtime.signature import written


class Told(Event):
    pass


class Get(Command[int]):
    pass


class Ended: ...


class Keeper:
    def __init__(self, ended: Ended) -> None: ...


def needy(told: Told, port: int, keeper: Keeper) -> None: ...


def one(command: Get) -> int:
    return 1


def two(command: Get) -> int:
    return 2


def caught(kind: type[BusError], *handlers: Any) -> BusError:
    terminal = terminal_with(*handlers)
    with pytest.raises(kind) as caught:
        terminal.explain(Told)
    return caught.value


def test_an_error_of_freezing_has_its_findings() -> None:
    """All problems are one exception of the first one's class, and a finding each."""
    error = caught(ProviderError, needy, one, two)
    assert [each.code for each in error.findings] == ["bus-dependency", "bus-duplicate-handler"]
    assert str(error) == "\n".join(each.text for each in error.findings)
    first = error.findings[0]
    assert first.subject == f"{__name__}.needy"
    assert first.path == (f"{__name__}.needy.port: int",)
    assert first.places[0].file == __file__
    assert first.severity == "error"


def test_two_handlers_are_an_error_of_their_own() -> None:
    """Its text names both, as it always has."""
    error = caught(DuplicateHandler, one, two)
    names = [f"{each.__module__}.{each.__qualname__}" for each in (one, two)]
    lines = [each.__code__.co_firstlineno for each in (one, two)]
    assert str(error) == (
        f"{__name__}.Get has 2 handlers, but a command has one: "
        f"{names[0]} ({__file__}:{lines[0]}), {names[1]} ({__file__}:{lines[1]})"
    )


def test_a_lifetime_is_a_finding_of_its_own() -> None:
    """A captive dependency keeps its class of error."""
    registry = MessageRegistry(event_base=Event)
    registry.factory(Ended)
    registry.register(needy)
    registry.factory(Keeper, lifetime="singleton")
    registry.factory(lambda: 1, provides=int)
    terminal = terminal_with()
    terminal.include(registry)
    with pytest.raises(LifetimeError) as error:
        terminal.explain(Told)
    assert [each.code for each in error.value.findings] == ["bus-lifetime"]


def test_a_registration_that_fails_has_a_finding() -> None:
    """The error says what `runtime check` prints about it."""

    def tell(event: str) -> None: ...  # type: ignore[bus-handler-signature]

    with pytest.raises(HandlerSignatureError) as error:
        MessageRegistry(event_base=Event).register(tell)
    (found,) = error.value.findings
    assert found.code == "bus-handler-signature"
    assert found.text == str(error.value)
    assert found.what in found.text
    assert found.advice in found.text


def test_errors_about_anything_else_have_none() -> None:
    """Only handlers and wiring are told of like this."""
    assert BusError("something").findings == ()


def test_errors_can_be_sent_to_other_processes() -> None:
    """A finding is data: it holds no function, and no class."""

    def local(told: Told, port: int) -> None: ...

    error = caught(ProviderError, local)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.findings) == (str(error), error.findings)


def deeply(told: Told) -> None: ...


def test_lines_of_what_is_not_there(tmp_path: Path) -> None:
    """A file that is gone, or is no Python, has the lines that are known, or none."""
    lines = Lines()
    assert lines.of(Place("f", "/nowhere/app.py", 7, "x")) == 7
    assert lines.of(Place("C", "/nowhere/app.py")) is None
    assert lines.of(Place("f", None, 7)) is None
    assert lines.of(Place("print", None)) is None
    template = tmp_path / "template.txt"
    template.write_text("Dear {name},\n", encoding="utf-8")
    assert lines.of(Place("f", str(template), 1)) == 1
    found = written(deeply, "no such parameter")
    assert lines.of(found) == deeply.__code__.co_firstlineno


def test_deep_expressions_do_not_stop_the_search(tmp_path: Path) -> None:
    """Generated code may nest deeper than the interpreter calls."""
    file = tmp_path / "deep.py"
    total = "+".join(["1"] * 2_000)
    file.write_text(f"x = {total}\nclass C:\n    field: int\n", encoding="utf-8")
    assert Lines().of(Place("C", str(file), 0, "field")) == 3
