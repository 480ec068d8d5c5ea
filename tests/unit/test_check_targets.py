"""From a name on the command line to a terminal: what is one, and what is said if it is none."""

import json
import sys
from pathlib import Path

import pytest
from unit.checks import check, run, write

APP = """\
from runtime import BusTerminal, Event, MessageRegistry

print("imported")
registry = MessageRegistry(event_base=Event)


@registry.register
def handle(event: Event) -> None: ...


terminal = BusTerminal(registry)
number = 3


class Service:
    terminal = terminal

    def make(self) -> BusTerminal[Event]:
        print("made")
        return BusTerminal(registry)

    @property
    def broken(self):
        raise LookupError("no service today")


service = Service()


def make_terminal(name: str = "made") -> BusTerminal[Event]:
    return BusTerminal(registry, name=name)


def make_with(name: str) -> BusTerminal[Event]:
    return BusTerminal(registry, name=name)


async def make_later() -> BusTerminal[Event]:
    return BusTerminal(registry)


def make_nothing() -> None: ...


def fail() -> BusTerminal[Event]:
    raise OSError("no disk")


def misregister() -> BusTerminal[Event]:
    registry.register(make_nothing)
    return terminal
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, {"shop/__init__.py": "", "shop/app.py": APP})
    return tmp_path


@pytest.mark.parametrize(
    "attribute",
    ["terminal", "service.terminal", "Service.terminal", "make_terminal", "service.make"],
)
def test_a_terminal_or_what_makes_one(folder: Path, attribute: str) -> None:
    """A terminal, a function with defaults, a method, something in something."""
    checked = check(folder, f"shop.app:{attribute}", "--format", "json")
    assert checked.code == 0
    assert checked.report["findings"] == []
    # What the program prints is not in the document.
    assert checked.err.startswith("imported\n")


NO_TERMINAL = {
    "shop.app": "'shop.app' names no terminal: write it as package.module:terminal",
    "shop.app:": "'shop.app:' names no terminal: write it as package.module:terminal",
    ":terminal": "':terminal' names no terminal: write it as package.module:terminal",
    "shop/app.py:terminal": "'shop/app.py:terminal' names no terminal",
    ".app:terminal": "'.app:terminal' names no terminal",
    "shop.app:make()": "'shop.app:make()' names no terminal",
    "shop.nowhere:terminal": "there is no module 'shop.nowhere' in {folder} or among the installed",
    "nowhere.app:terminal": "there is no module 'nowhere' in {folder} or among the installed",
    "shop.app:termnal": (
        "shop.app:termnal: there is no 'termnal' in the module shop.app; "
        "its terminals are: terminal"
    ),
    "shop:terminal": "there is no 'terminal' in the module shop; no name in it is a terminal's",
    "shop.app:service.nothing": "there is no 'nothing' in a Service; its terminals are: terminal",
    "shop.app:number": (
        "shop.app:number is an int, not a terminal; name a BusTerminal, or a function without "
        "arguments that returns one"
    ),
    "shop.app:registry": (
        "shop.app:registry is a MessageRegistry, not a terminal; give it to one, as in "
        "terminal = BusTerminal(registry)"
    ),
    "shop:app": "shop:app is the module shop.app, not a terminal; name a BusTerminal",
    "shop.app:make_nothing": "shop.app:make_nothing returns a NoneType, not a terminal",
    "shop.app:make_later": "shop.app:make_later returns a coroutine, not a terminal; name a plain",
    "shop.app:make_with": (
        "shop.app:make_with cannot be called without arguments: missing a required argument: "
        "'name'; give them defaults, or name a function that calls it"
    ),
    "shop.app:service.broken": (
        "shop.app:service.broken cannot be read: LookupError: no service today"
    ),
    # Something in C, which does not say what it takes.
    "builtins:dict": "builtins:dict returns a dict, not a terminal",
    "shop.app:fail": "shop.app:fail has failed: OSError: no disk",
}


@pytest.mark.parametrize("target", NO_TERMINAL)
def test_what_leads_to_no_terminal_says_why(folder: Path, target: str) -> None:
    """The reason is on stderr, with what to do; nothing is on stdout; exit code 2."""
    write(folder, {"shop/__init__.py": "" if target != "shop:app" else "from shop import app\n"})
    checked = check(folder, target)
    assert (checked.code, checked.out) == (2, "")
    said = checked.err.removeprefix("imported\n")
    assert said.startswith("runtime check: ")
    assert NO_TERMINAL[target].format(folder=folder) in said
    assert "Traceback" not in said


IMPORTS = {
    "import missing_module\n": [
        (
            "runtime check: app cannot be imported: ModuleNotFoundError: "
            "No module named 'missing_module'"
        ),
        '  File "{folder}/app.py", line 1, in <module>',
        "    import missing_module",
    ],
    "def f():\n    return 1 / 0\nf()\n": [
        "runtime check: app cannot be imported: ZeroDivisionError: division by zero",
        '  File "{folder}/app.py", line 3, in <module>',
        "    f()",
        '  File "{folder}/app.py", line 2, in f',
        "    return 1 / 0",
    ],
    "import sys\nsys.exit(0)\n": [
        "runtime check: app cannot be imported: SystemExit: 0",
        '  File "{folder}/app.py", line 2, in <module>',
        "    sys.exit(0)",
    ],
    "from runtime import BusTerminal\nBusTerminal(concurrency=0)\n": [
        (
            "runtime check: app cannot be imported: ValueError: concurrency must be at least 1 "
            "and less than 2**31, not 0"
        ),
        '  File "{folder}/app.py", line 2, in <module>',
        "    BusTerminal(concurrency=0)",
    ],
}


@pytest.mark.parametrize("source", IMPORTS)
def test_a_module_that_does_not_import_says_where(tmp_path: Path, source: str) -> None:
    """The lines of the program are shown, and nobody else's."""
    write(tmp_path, {"app.py": source})
    checked = check(tmp_path, "app:terminal")
    assert (checked.code, checked.out) == (2, "")
    expected = [each.format(folder=tmp_path) for each in IMPORTS[source]]
    # Later interpreters underline what has failed.
    assert [each for each in checked.err.splitlines() if each.strip("~^ ")] == expected


def test_a_module_with_wrong_syntax_shows_the_line(tmp_path: Path) -> None:
    """It is in no traceback, and shown all the same."""
    write(tmp_path, {"app.py": "x = 1\ndef f(:\n"})
    checked = check(tmp_path, "app:terminal")
    assert (checked.code, checked.out) == (2, "")
    lines = checked.err.splitlines()
    assert lines[0].startswith("runtime check: app cannot be imported: SyntaxError: ")
    assert lines[1:3] == [f'  File "{tmp_path}/app.py", line 2', "    def f(:"]


def test_one_wrong_target_does_not_hide_the_others(folder: Path) -> None:
    """The report has what could be checked; the exit code is the worse one."""
    write(folder, {"other.py": APP.replace("event: Event", "event: Event, name: str")})
    arguments = ("shop.app:number", "shop.app:terminal", "other:terminal", "--format", "json")
    checked = check(folder, *arguments)
    assert checked.code == 2
    assert checked.report["targets"] == ["shop.app:terminal", "other:terminal"]
    assert [each["code"] for each in checked.report["findings"]] == ["bus-dependency"]
    assert "shop.app:number is an int" in checked.err


def test_a_function_that_registers_wrongly_is_a_finding(folder: Path) -> None:
    """A terminal that is made when asked for may be wrong as one that is imported."""
    checked = check(folder, "shop.app:misregister", "--format", "json")
    assert checked.code == 1
    (found,) = checked.report["findings"]
    assert (found["code"], found["subject"]) == (
        "bus-handler-signature",
        "shop.app.make_nothing",
    )


RESOLVER = """\
from runtime import BusTerminal, Event, MessageRegistry

class Resolver:
    def provides(self, tp):
        raise ConnectionError("nobody there")
    def scope(self): ...

registry = MessageRegistry(event_base=Event)

@registry.register
def handle(event: Event, name: str) -> None: ...

terminal = BusTerminal(registry, resolver=Resolver())
"""


def test_a_container_that_fails_is_told(tmp_path: Path) -> None:
    """What a foreign container raises is no finding."""
    write(tmp_path, {"app.py": RESOLVER})
    checked = check(tmp_path, "app:terminal")
    assert (checked.code, checked.out) == (2, "")
    assert "the check has failed: ConnectionError: nobody there" in checked.err
    assert 'app.py", line 5, in provides' in checked.err


UNTOUCHED = """\
import asyncio
import threading
from pathlib import Path

from runtime import BusTerminal, Event, MessageRegistry


def refuse(*arguments, **options):
    raise AssertionError("a loop")


asyncio.new_event_loop = asyncio.run = asyncio.Runner = refuse
asyncio.events.new_event_loop = refuse
threading.Thread.start = refuse


class Sink:
    async def open(self):
        Path("opened").touch()

    async def sink(self, records):
        Path("sunk").touch()

    async def close(self):
        Path("closed").touch()


class Pool:
    def __init__(self):
        Path("built").touch()


registry = MessageRegistry(event_base=Event)
registry.factory(Pool, lifetime="singleton")


@registry.register
class Actor:
    def __init__(self, pool: Pool) -> None:
        Path("made").touch()

    def handle(self, event: Event, pool: Pool) -> None: ...


@registry.register(in_thread=True)
def work(event: Event) -> None: ...


terminal = BusTerminal(registry, sink=Sink())
"""


def test_nothing_is_opened_or_built(tmp_path: Path) -> None:
    """No loop, no thread, no sink, no object of a factory: only the import has effects."""
    write(tmp_path, {"app.py": UNTOUCHED})
    checked = check(tmp_path, "app:terminal", PYTHONDONTWRITEBYTECODE="1")
    assert (checked.code, checked.out, checked.err) == (0, "no problems found in 1 terminal\n", "")
    assert [each.name for each in tmp_path.iterdir()] == ["app.py"]


def test_no_database_is_touched(tmp_path: Path) -> None:
    """The store that comes with the runtime is not opened either."""
    source = """\
from runtime import BusTerminal
from runtime.sinks import SqliteSink

terminal = BusTerminal(sink=SqliteSink("events.db"))
"""
    write(tmp_path, {"app.py": source})
    assert check(tmp_path, "app:terminal", PYTHONDONTWRITEBYTECODE="1").code == 0
    assert [each.name for each in tmp_path.iterdir()] == ["app.py"]


def test_the_installed_command_finds_the_current_folder(folder: Path) -> None:
    """The script beside the interpreter does as `python -m runtime`."""
    script = Path(sys.executable).with_name("runtime")
    checked = run(folder, [str(script)], ("shop.app:terminal", "--format", "json"), {})
    assert (checked.code, json.loads(checked.out)["targets"]) == (0, ["shop.app:terminal"])
    assert run(folder, [str(script)], ("shop.nowhere:terminal",), {}).code == 2
