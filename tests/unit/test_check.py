"""`runtime check`: every kind of finding, all in one report, on its line and with its path."""

from pathlib import Path
from typing import Any

import pytest
from unit.checks import Checked, check, marked, write

FILES = {
    "shop/__init__.py": "",
    "shop/messages.py": """\
from dataclasses import dataclass
from typing import ClassVar

from runtime import Command, Event


class Ordered(Event):
    order_id: int


class Paid(Event):
    pass


class Lost(Event):  # E: bus-unheard
    pass


class GetOrder(Command[int]):
    order_id: int


class Cancel(Command[None]):  # E: bus-no-handler
    order_id: int


class Keyed(Event):
    __key__: ClassVar[int] = 3  # E: bus-handler-signature
""",
    "shop/parts.py": """\
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import msgspec

from runtime import use


class Settings:
    def __init__(
        self,
        host: str,  # E: bus-dependency
    ) -> None: ...


class Mailer:
    def __init__(self, settings: Settings) -> None: ...


@dataclass
class Limits:
    least: float  # E: bus-dependency


class Options(msgspec.Struct):
    level: bytes  # E: bus-dependency


class Clock(Protocol):
    def now(self) -> float: ...


class Store(ABC):
    @abstractmethod
    def save(self) -> None: ...


class Hen:
    def __init__(self, egg: Egg) -> None: ...


class Egg:
    def __init__(self, hen: Hen) -> None: ...  # E: bus-cycle


class Session: ...


class Pool:
    def __init__(self, session: Session) -> None: ...  # E: bus-lifetime


async def open_session() -> AsyncIterator[Session]:
    yield Session()


class Cache: ...


def make_cache(
    session: Annotated[Session, use(open_session)],  # E: bus-lifetime
) -> Cache:
    return Cache()


class Report: ...


def make_report(*parts: str) -> Report:  # E: bus-dependency
    return Report()


class Unknown:
    def __init__(self, nothing: Nowhere) -> None: ...  # E: bus-dependency
""",
    "shop/handlers.py": """\
import functools

from runtime import Event, MessageRegistry

from shop.messages import GetOrder, Keyed, Ordered, Paid
from shop.parts import (
    Cache,
    Clock,
    Hen,
    Limits,
    Mailer,
    Options,
    Pool,
    Report,
    Session,
    Store,
    Unknown,
    make_cache,
    make_report,
    open_session,
)

registry = MessageRegistry(event_base=Event)


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


registry.factory(open_session)
registry.factory(Pool, lifetime="singleton")
registry.factory(make_cache, lifetime="singleton")
registry.factory(make_report)


@registry.register
async def greet(
    ordered: Ordered,
    mailer: Mailer,
    clock: Clock,  # E: bus-dependency
    store: Store,  # E: bus-dependency
) -> None: ...


@registry.register(retry=None)
@decorated
def count(paid: Paid, limits: Limits, options: Options, hen: Hen) -> None: ...


@registry.register
class Keeper:
    def __init__(self, pool: Pool, name: str) -> None: ...  # E: bus-dependency

    async def keep(self, paid: Paid, cache: Cache) -> None: ...


async def first(command: GetOrder) -> int:
    return 1


async def second(command: GetOrder) -> int:  # E: bus-duplicate-handler
    return 2


async def tell(keyed: Keyed, report: Report, unknown: Unknown) -> None: ...


registry.register(first, second, tell)


@registry.register
async def bare(
    paid: Paid,
    context,
    nothing,  # E: bus-dependency
) -> None: ...
""",
    "shop/app.py": """\
from runtime import BusTerminal

from shop.handlers import registry

terminal = BusTerminal(registry)
""",
}
PATHS = {
    "Settings.host": "shop.handlers.greet → Mailer → Settings.host: str",
    "Clock": "shop.handlers.greet.clock: Clock",
    "Store": "shop.handlers.greet.store: Store",
    "Limits": "shop.handlers.count → Limits.least: float",
    "Options": "shop.handlers.count → Options.level: bytes",
    "Hen": "shop.handlers.count → Hen → Egg → Hen",
    "Pool": "Keeper → Pool → Session",
    "Keeper": "Keeper.name: str",
    "make_cache": "shop.handlers.Keeper.keep → Cache → shop.parts.open_session",
    "Report": "shop.handlers.tell → Report",
    "Unknown": "shop.handlers.tell → Unknown",
    "bare": "shop.handlers.bare.nothing",
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    folder = tmp_path_factory.mktemp("program")
    write(folder, FILES)
    return check(folder, "shop.app:terminal", "--format", "json")


def test_everything_is_found_at_once_on_its_line(checked: Checked) -> None:
    """Missing providers, cycles, lifetimes, duplicates, and what nobody handles: one report."""
    assert checked.found == marked(FILES)
    assert (checked.code, checked.err) == (1, "")
    assert checked.report["errors"] == len(checked.found) - 1
    assert checked.report["warnings"] == 1


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_the_path_leads_from_the_handler(checked: Checked, path: str) -> None:
    """What is wrong with a dependency comes with the way to it."""
    found = [" → ".join(each["path"]) for each in checked.report["findings"]]
    assert found.count(path) == 1


def test_nothing_else_has_a_path(checked: Checked) -> None:
    """No path is there that the list above does not have."""
    found = {" → ".join(each["path"]) for each in checked.report["findings"]}
    assert found - {""} == set(PATHS.values())


def find(checked: Checked, path: str) -> Any:
    (found,) = [each for each in checked.report["findings"] if " → ".join(each["path"]) == path]
    return found


def test_a_missing_provider_names_handler_type_and_cure(checked: Checked) -> None:
    """The handler is named with its own line, besides the line of what is wrong."""
    found = find(checked, PATHS["Settings.host"])
    assert found["subject"] == "shop.handlers.greet"
    assert found["message"] == "nothing provides str"
    assert found["advice"] == "register a factory that returns it"
    line = FILES["shop/handlers.py"].splitlines().index("    mailer: Mailer,") + 1
    assert found["related"] == [
        {"file": "shop/handlers.py", "line": line, "message": "shop.handlers.greet needs it"}
    ]


def test_the_handler_is_not_named_twice(checked: Checked) -> None:
    """What is wrong with a handler's own parameter has no second line."""
    assert find(checked, PATHS["Clock"])["related"] == []


def test_a_handler_class_is_named_in_full(checked: Checked) -> None:
    """What a class needs is its own matter, whichever of its methods handles something."""
    assert find(checked, PATHS["Keeper"])["subject"] == "shop.handlers.Keeper"


def test_a_cycle_says_how_to_break_it(checked: Checked) -> None:
    """A cycle is a code of its own."""
    found = find(checked, PATHS["Hen"])
    assert found["code"] == "bus-cycle"
    assert found["message"] == "it needs itself to be built"
    assert "scope.resolve" in found["advice"]


def test_what_cannot_be_read_is_found_with_its_path(checked: Checked) -> None:
    """A factory with `*args`, and an annotation that leads nowhere."""
    assert find(checked, PATHS["Report"])["message"].startswith("parameter `*parts")
    assert "name 'Nowhere' is not defined" in find(checked, PATHS["Unknown"])["message"]


def test_two_handlers_are_named_with_both_lines(checked: Checked) -> None:
    """The last one is one too many; the first is shown as well."""
    (found,) = checked.of("bus-duplicate-handler")
    assert found["subject"] == "shop.messages.GetOrder"
    assert found["message"] == (
        "has 2 handlers, but a command has one: shop.handlers.first, shop.handlers.second"
    )
    assert [each["message"] for each in found["related"]] == ["`first` handles it, too"]


def test_a_registration_that_fails_is_a_finding(tmp_path: Path) -> None:
    """The import ends there, on the parameter that is wrong; other targets are still checked."""
    files = {
        "broken.py": """\
from runtime import BusTerminal, Event, MessageRegistry

registry = MessageRegistry(event_base=Event)


def handle(
    event: Event,
    *others: str,  # E: bus-handler-signature
) -> None: ...


def register_all() -> None:
    registry.register(handle)


register_all()
terminal = BusTerminal(registry)
""",
        "sound.py": """\
from runtime import BusTerminal, Event, MessageRegistry


class Alone(Event):  # E: bus-unheard
    pass


terminal = BusTerminal(MessageRegistry(event_base=Event))
""",
    }
    write(tmp_path, files)
    targets = ("broken:terminal", "broken:registry", "sound:terminal")
    checked = check(tmp_path, *targets, "--format", "json")
    assert (checked.code, checked.err) == (1, "")
    assert checked.found == marked(files)
    (found,) = checked.of("bus-handler-signature")
    assert found["subject"] == "broken.handle"
    assert found["targets"] == ["broken:terminal", "broken:registry"]
    assert found["related"] == [
        {
            "file": "broken.py",
            "line": 13,
            "message": "the import has ended here: what follows was not checked",
        }
    ]


FAULTS = {
    "bus-handler-signature": [
        "def f(\n    event,  # E\n): ...\nregistry.register(f)",
        "def f(\n    event: int,  # E\n): ...\nregistry.register(f)",
        "def f(\n    event: None,  # E\n): ...\nregistry.register(f)",
        "def f(\n    self,  # E\n    event: Event,\n): ...\nregistry.register(f)",
        "def f(): ...  # E\nregistry.register(f)",
        "def f(event: Event):  # E\n    yield\nregistry.register(f)",
        "@registry.register\nasync def f(event: 'Nothing'): ...  # E",
        "@registry.register(in_thread=True)\nasync def f(event: Event): ...  # E",
        "@registry.register(timeout=1)\ndef f(event: Event): ...  # E",
        "@registry.register(timeout=-1)\nasync def f(event: Event): ...  # E",
        "@registry.register\nclass Nothing:  # E\n    pass",
        "@registry.guard\nasync def f(event: Event): ...  # E",
        "@registry.guard\ndef f(event: Event, ctx, proceed): ...  # E",
        "registry.register(\n    lambda event: None  # E\n)",
    ],
    "bus-dependency": [
        "@registry.factory\ndef f(): ...  # E",
        "@registry.factory(lifetime='forever')\ndef f() -> int: ...  # E",
        "@registry.factory\ndef f(\n) -> 'Nothing': ...  # E",
        "def f(): ...  # E\nuse(f, lifetime='forever')",
    ],
}


@pytest.mark.parametrize(
    ("code", "source"), [(code, each) for code, several in FAULTS.items() for each in several]
)
def test_every_registration_that_raises_is_found(tmp_path: Path, code: str, source: str) -> None:
    """Whatever `register`, `guard`, `factory` and `use` refuse is on its line."""
    text = "from runtime import Event, MessageRegistry, use\nregistry = MessageRegistry()\n"
    write(tmp_path, {"app.py": text + source})
    checked = check(tmp_path, "app:terminal", "--format", "json")
    (line,) = [
        number
        for number, each in enumerate((text + source).splitlines(), 1)
        if each.endswith("# E")
    ]
    assert (checked.code, checked.found, checked.err) == (1, [("app.py", line, code)], "")


def test_what_is_installed_is_not_blamed(tmp_path: Path) -> None:
    """A class of a library that cannot be built is shown where the program asks for it."""
    files = {
        "app.py": """\
from contextlib import closing

from runtime import BusTerminal, Event, MessageRegistry

registry = MessageRegistry(event_base=Event)


class Runner:
    def __init__(self, end: closing) -> None: ...  # E: bus-dependency


@registry.register
def handle(event: Event, runner: Runner) -> None: ...


terminal = BusTerminal(registry)
"""
    }
    write(tmp_path, files)
    checked = check(tmp_path, "app:terminal", "--format", "json")
    assert checked.found == marked(files)


def test_a_problem_of_several_terminals_is_told_once(tmp_path: Path) -> None:
    """Terminals that share a registry share what is wrong with it."""
    source = """\
from runtime import BusTerminal, Event, MessageRegistry

registry = MessageRegistry(event_base=Event)


@registry.register
def handle(event: Event, name: str) -> None: ...  # E: bus-dependency


one, two = BusTerminal(registry), BusTerminal(registry)
"""
    write(tmp_path, {"app.py": source})
    checked = check(tmp_path, "app:one", "app:two", "--format", "json")
    assert checked.found == marked({"app.py": source})
    assert checked.report["findings"][0]["targets"] == ["app:one", "app:two"]


def test_what_stands_in_no_file_is_told_with_its_terminal(tmp_path: Path) -> None:
    """Code that was made at run time has no line."""
    source = """\
from runtime import BusTerminal, Event, MessageRegistry

registry = MessageRegistry(event_base=Event)
names = {"Event": Event, "__name__": __name__}
exec("def handle(event: Event, name: str) -> None: ...", names)
registry.register(names["handle"])
terminal = BusTerminal(registry)
"""
    write(tmp_path, {"app.py": source})
    checked = check(tmp_path, "app:terminal")
    assert checked.code == 1
    assert checked.out.splitlines() == [
        (
            "app:terminal: error: app.handle.name: str: nothing provides str; register a factory "
            "that returns it [bus-dependency]"
        ),
        "found 1 error and 0 warnings in 1 terminal",
    ]
