"""Which messages `runtime check` expects somebody to handle."""

import sys
from pathlib import Path
from typing import Any

import pytest
from unit.checks import check, marked, write

from runtime import BusTerminal, Command, Event, MessageRegistry
from runtime.checking import examine
from runtime.checking.program import Libraries

HEAD = """\
import abc
from dataclasses import dataclass
from typing import Generic, TypeVar

from runtime import BusTerminal, Command, DeadLetter, Event, MessageRegistry

T = TypeVar("T")
registry = MessageRegistry(event_base=Event)


def handled(*classes):
    for each in classes:
        def handler(message): ...
        handler.__annotations__["message"] = each
        registry.register(handler)


terminal = BusTerminal(registry)


"""
PROGRAMS = {
    "a command without a handler": """
class Get(Command[int]):  # E: bus-no-handler
    pass
""",
    "an event that nobody hears": """
class Told(Event):  # E: bus-unheard
    pass
""",
    "a handler of a parent is enough": """
class Base(Command[int]): ...
class Get(Base): ...
class Topic(Event): ...
class Told(Topic): ...
handled(Base, Topic)
""",
    "a handler of each child is enough": """
class Base(Command[int]): ...
class Get(Base): ...
class Topic(Event): ...
class Told(Topic): ...
handled(Get, Told)
""",
    "the children are named, not what they are derived from": """
class Base(Command[int]): ...
class Get(Base): ...
class Set(Base): ...  # E: bus-no-handler
class Topic(Event): ...
class Told(Topic): ...
class Lost(Topic): ...  # E: bus-unheard
handled(Get, Told)
""",
    "a generic message is one class": """
class Get(Command[T], Generic[T]): ...  # E: bus-no-handler
class Changed(Event, Generic[T]): ...
handled(Changed[int])
""",
    "a handler of all events": """
class Told(Event): ...
class Get(Command[int]): ...  # E: bus-no-handler
handled(Event)
""",
    "a local class counts as long as it lives": """
def make():
    class Told(Event): ...  # E: bus-unheard
    return Told
told = make()
make()
""",
    "dead letters and their kin are nobody's duty": """
class Letter(DeadLetter): ...
""",
}


@pytest.mark.parametrize("source", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_what_counts_below_the_ready_bases(tmp_path: Path, source: str) -> None:
    """Of the classes below `Event` and `Command` those that nothing is derived from."""
    files = {"app.py": HEAD + source}
    write(tmp_path, files)
    checked = check(tmp_path, "app:terminal", "--format", "json")
    assert checked.found == marked(files)
    assert checked.err == ""


BASES = """\
import abc
from dataclasses import dataclass

from runtime import BusTerminal, Command, MessageRegistry


class Topic: ...


class Order(Command[None]): ...


class Other(Command[None]): ...


class Abstract(Topic, abc.ABC):
    @abc.abstractmethod
    def say(self): ...


@dataclass(slots=True)
class Told(Topic):  # E: bus-unheard
    number: int


class Cancel(Order): ...  # E: bus-no-handler


terminal = BusTerminal(MessageRegistry(event_base=Topic, command_base=Order))
"""


def test_bases_of_ones_own_say_what_belongs_to_them(tmp_path: Path) -> None:
    """What derives from another base is another terminal's; a class that was replaced is gone."""
    write(tmp_path, {"app.py": BASES})
    checked = check(tmp_path, "app:terminal", "--format", "json")
    assert checked.found == marked({"app.py": BASES})


@pytest.mark.parametrize("base", ["object", "Struct"])
def test_of_a_base_from_elsewhere_nobody_knows_the_events(tmp_path: Path, base: str) -> None:
    """Not each class is an event where any class may be one."""
    source = f"""\
from msgspec import Struct
from runtime import BusTerminal, MessageRegistry

class Config(Struct): ...

terminal = BusTerminal(MessageRegistry(event_base={base}))
"""
    write(tmp_path, {"app.py": source})
    assert check(tmp_path, "app:terminal").code == 0
    assert check(tmp_path, "app:terminal", "--strict").code == 0


SHARED = {
    "users.py": """\
from runtime import BusTerminal, Command, Event, MessageRegistry

class GetUser(Command[int]): ...
class UserSeen(Event): ...

registry = MessageRegistry(event_base=Event)

@registry.register
def get_user(command: GetUser) -> int:
    return 1

@registry.register
def see(event: UserSeen) -> None: ...

terminal = BusTerminal(registry)
""",
    "orders.py": """\
from runtime import BusTerminal, Command, Event, MessageRegistry
from users import GetUser

class GetOrder(Command[int]): ...  # E: bus-no-handler

terminal = BusTerminal(MessageRegistry(event_base=Event))
""",
}


def test_what_another_terminal_handles_is_not_missed(tmp_path: Path) -> None:
    """Terminals that share `Command` are checked together; one alone misses the other's."""
    write(tmp_path, SHARED)
    together = check(tmp_path, "users:terminal", "orders:terminal", "--format", "json")
    assert together.found == marked(SHARED)
    assert together.of("bus-no-handler")[0]["targets"] == ["users:terminal", "orders:terminal"]
    alone = check(tmp_path, "orders:terminal", "--format", "json")
    assert [each["subject"] for each in alone.of("bus-no-handler")] == [
        "orders.GetOrder",
        "users.GetUser",
    ]


LIBRARY = """\
from runtime import Command, Event

class Theirs(Command[int]): ...
class Told(Event): ...
"""
APP = """\
import library
from runtime import BusTerminal, Event, MessageRegistry

terminal = BusTerminal(MessageRegistry(event_base=Event))
"""


def test_messages_of_installed_libraries_are_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below `Event` and `Command` only what the program defines counts, wherever that stands."""
    installed = tmp_path / "user"
    packages = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    write(tmp_path, {"app.py": APP, f"user/{packages}/library.py": LIBRARY})
    environment = {"PYTHONUSERBASE": str(installed), "PYTHONPATH": str(installed / packages)}
    theirs = check(tmp_path, "app:terminal", **environment)
    assert (theirs.code, theirs.out) == (0, "no problems found in 1 terminal\n")
    # A program may be installed itself.
    write(tmp_path, {f"user/{packages}/library.py": LIBRARY + APP.replace("import library", "")})
    own = check(tmp_path, "library:terminal", "--format", "json", **environment)
    assert [each["code"] for each in own.report["findings"]] == ["bus-no-handler", "bus-unheard"]


def test_what_is_installed() -> None:
    """The standard library and installed packages are; this test is not."""
    libraries = Libraries()
    assert libraries.have(pytest.__file__)
    assert libraries.have(sys.modules["typing"].__file__ or "")
    assert not libraries.have(__file__)


class Topic(Event):
    pass


class Told(Topic):
    pass


class Order(Command[None]):
    pass


def terminal_of(*handlers: Any) -> BusTerminal[Topic]:
    registry = MessageRegistry(event_base=Topic, command_base=Order)
    registry.register(*handlers)
    return BusTerminal(registry)


def on_told(told: Told, port: int) -> None: ...


def test_examining_changes_nothing() -> None:
    """A terminal that was examined has not frozen; one that has is examined as well."""
    terminal = terminal_of(on_told)
    (found,) = examine({"it": terminal})["it"]
    assert found.path == (f"{__name__}.on_told.port: int",)
    terminal.resolver = None
    more = MessageRegistry(event_base=Topic, command_base=Order)
    more.factory(lambda: 80, provides=int)
    terminal.include(more)
    assert examine({"it": terminal}) == {"it": []}
    terminal.explain(Told)
    assert examine({"it": terminal}) == {"it": []}
    assert terminal.stats().emitted == 0
