"""Each checker says about the golden files what their marks say, and nothing else."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkers import ROOT, Finding, pyright
from goldens import FILES, GOLDEN, Mypy, differences, expected

CODES = {
    "bus-dependency",
    "bus-duplicate-handler",
    "bus-frozen",
    "bus-handler-signature",
    "bus-lifetime",
    "bus-publish-type",
    "bus-reply-type",
}


@pytest.fixture(scope="session")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Mypy:
    """Return mypy with the plugin; what one test has cached of the libraries the next finds."""
    return Mypy(tmp_path_factory.mktemp("plugin"))


def test_marks_are_read() -> None:
    """The files have findings of every code, and of nothing that is no code."""
    assert {each.code for each in expected("E")} == CODES
    assert len(expected("E")) > 150
    assert len(expected("mypy")) > 30
    assert len(expected("P")) > 30


def test_plugin_cold_and_warm(tmp_path: Path) -> None:
    """With the plugin mypy finds what is marked; so it does when it reads its own cache."""
    mypy = Mypy(tmp_path)
    cold = mypy.run(GOLDEN, *FILES)
    assert differences(expected("E", "mypy"), cold) == []
    assert sorted(mypy.run(GOLDEN, *FILES)) == sorted(cold)


def test_findings_depend_on_no_order(mypy: Mypy) -> None:
    """Files that are checked one at a time, or after others, have the same findings."""
    for name in ("postponed.py", "lifetime.py"):
        alone = [each for each in expected("E", "mypy") if each.file == name]
        assert differences(alone, mypy.run(GOLDEN, name)) == []
    assert differences(expected("E", "mypy"), mypy.run(GOLDEN, *reversed(FILES))) == []


def test_without_plugin(tmp_path: Path) -> None:
    """Without the plugin mypy says what it says by itself."""
    assert differences(expected("mypy"), Mypy(tmp_path, plugin=False).run(GOLDEN, *FILES)) == []


def test_pyright(tmp_path: Path) -> None:
    """Pyright, in strict mode, infers the same, and has nothing against what is right."""
    found = pyright(
        GOLDEN, "strict", tmp_path, extraPaths=[str(GOLDEN)], reportMissingModuleSource=False
    )
    assert differences(expected("P"), found) == []


def test_each_finding_is_silenced_by_its_code(tmp_path: Path, mypy: Mypy) -> None:
    """A `type: ignore` with the code, on the line of the finding, is enough, and is used."""
    for name in FILES:
        text = (GOLDEN / name).read_text(encoding="utf-8")
        silenced = re.sub(r"# E: ([^#\n]*)", ignore, text)
        (tmp_path / name).write_text(silenced, encoding="utf-8")
    assert differences(expected("mypy", folder=tmp_path), mypy.run(tmp_path, *FILES)) == []


def test_codes_are_disabled_by_the_settings(tmp_path: Path) -> None:
    """The settings know each code."""
    mypy = Mypy(tmp_path, settings=f"disable_error_code = {', '.join(sorted(CODES))}\n")
    assert differences(expected("mypy"), mypy.run(GOLDEN, *FILES)) == []


def test_codes_are_disabled_in_a_file(tmp_path: Path, mypy: Mypy) -> None:
    """A comment at the head of a file knows each code."""
    comment = f'# mypy: disable-error-code="{", ".join(sorted(CODES))}"\n'
    for name in FILES:
        text = (GOLDEN / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(comment + text, encoding="utf-8")
    below = [each._replace(line=each.line + 1) for each in expected("mypy")]
    assert differences(below, mypy.run(tmp_path, *FILES)) == []


UNKNOWN = """\
from typing import Annotated, Any

from nothing import Thing, make  # type: ignore[import-not-found]

from runtime import BusTerminal, Command, Event, EventBus, MessageRegistry, use


class Happened(Event):
    pass


class Derived(Thing):  # type: ignore[misc]
    def on(self, event: int) -> None: ...


class Order(Command[Thing]):
    pass


known = MessageRegistry(event_base=Happened)
unknown = MessageRegistry(event_base=Thing)
bus: EventBus[Any] = BusTerminal(unknown).bus


@known.register
async def hear(event: Thing, ctx: Thing, thing: "Thing | None") -> Thing: ...


@known.register
async def hear_either(event: Thing | Happened) -> None: ...


@known.register
async def hear_derived(event: Derived) -> None: ...


@known.register
async def carry_out(command: Order) -> int:
    return 1


@known.register
async def ask(
    event: Happened,
    a: Annotated[Thing, use(make)],
    b: Annotated[int, use(make)],
    c: Annotated[Thing, use(Derived)],
) -> None: ...


@unknown.register
async def hear_on_unknown(event: Happened) -> None: ...


known.factory(make)
known.factory(Thing)
known.factory(make, provides=Derived)
known.factory(Derived, provides=Happened)
known.register(make, Thing, Derived, make(), Thing.method)


async def publish(thing: Thing) -> None:
    await bus.publish(1)
    await bus.publish(thing)
    async with BusTerminal(unknown):
        pass
"""


def test_unknown_types_are_not_judged(tmp_path: Path, mypy: Mypy) -> None:
    """What a checker cannot import may be anything."""
    (tmp_path / "unknown.py").write_text(UNKNOWN, encoding="utf-8")
    assert mypy.run(tmp_path, "unknown.py") == []


def ignore(mark: re.Match[str]) -> str:
    """Return what silences the findings of a mark."""
    codes = {each.partition(":")[0].strip() for each in mark[1].split(" | ")}
    return f"# type: ignore[{', '.join(sorted(codes))}] "


def test_nothing_is_found_in_the_examples(tmp_path: Path, mypy: Mypy) -> None:
    """The programs of the repository are right."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    assert mypy.run(tmp_path, "examples") == []


MESSAGES = """\
from runtime import Command, Event


class UserEvent(Event):
    user_id: int


class OrderEvent(Event):
    order_id: int


class Created({base}):
    name: str


class GetName(Command[{reply}]):
    user_id: int


class Count(Command[int]):
    pass


{alias}
"""
SERVICES = """\
from typing import Annotated

from messages import Count, Created

from runtime import use


class Mailer:
    def __init__(self, host: str = "localhost") -> None: ...


def make_mailer() -> {made}:
    return {made}()


async def greet({first}) -> None: ...


def read_host() -> str:
    return "localhost"


def read_port() -> int:
    return 80


Host = Annotated[str, use(read_host)]


class Service:
    def __init__(self, host: Host, port: Annotated[int, use(read_port)]) -> None: ...

    async def created(self, event: Created{more}) -> None: ...

    async def count(self, command: Count) -> {answer}:
        return {answer}(1)
"""
HANDLERS = """\
from typing import Annotated, Any

import messages
import services
from messages import Created, GetName, UserEvent
from services import Mailer

from runtime import BusTerminal, EventBus, MessageRegistry, use

registry = MessageRegistry(event_base=UserEvent)


@registry.register
async def created(event: Created, mailer: Annotated[Mailer, use(services.make_mailer)]) -> None: ...


@registry.register
async def get_name(command: GetName, bus: EventBus[UserEvent], host: services.Host) -> str:
    return host


registry.register(services.greet)
registry.register(services.Service)


@registry.factory
def make_text() -> str:
    return "text"


@registry.register
async def texts(event: Created, text: str) -> None: ...


@registry.register
async def get_alias(command: messages.Alias) -> str:
    return "Ada"


loose: EventBus[Any] = BusTerminal(registry).bus


async def publish() -> None:
    await loose.publish(Created(1, "Ada"))
"""
RIGHT = {
    "base": "UserEvent",
    "reply": "str",
    "made": "Mailer",
    "first": "event: Created",
    "more": "",
    "answer": "int",
    "alias": "class Alias(Command[str]): ...",
}
EDITS = {
    "the base of a message": (
        {"base": "OrderEvent"},
        {
            (14, "bus-handler-signature"),
            (22, "bus-handler-signature"),
            (32, "bus-handler-signature"),
            (44, "bus-publish-type"),
        },
    ),
    "the reply of a command": ({"reply": "int"}, {(18, "bus-reply-type")}),
    "the name of a command": ({"alias": "Alias = GetName"}, {(36, "bus-duplicate-handler")}),
    "the result of a factory": ({"made": "Created"}, {(14, "bus-dependency")}),
    "an imported handler": ({"first": ""}, {(22, "bus-handler-signature")}),
    "the reply of an imported class": ({"answer": "str"}, {(23, "bus-reply-type")}),
    "a method of an imported class": ({"more": ", *more: int"}, {(23, "bus-handler-signature")}),
}


class Project:
    """Three modules that import one another, in which something is changed at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = time.time()
        self.files = ("messages.py", "services.py", "handlers.py")

    def write(self, handlers: str = HANDLERS, **changed: str) -> None:
        values = {**RIGHT, **changed}
        texts = (MESSAGES.format(**values), SERVICES.format(**values), handlers)
        for name, text in zip(self.files, texts, strict=True):
            path = self.folder / name
            # What is as it was keeps its time; what is not is a second younger, since a checker
            # may look no closer.
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                self.now += 1
                os.utime(path, (self.now, self.now))


@pytest.fixture(scope="module", params=["cache", "daemon"])
def daemon(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path | None]:
    """Return the status file of a daemon, or None for mypy with its incremental cache."""
    if request.param == "cache":
        yield None
        return
    status = tmp_path_factory.mktemp("daemon") / "status.json"
    yield status
    stop = [sys.executable, "-P", "-m", "mypy.dmypy", "--status-file", str(status), "stop"]
    subprocess.run(stop, check=True, capture_output=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


def check(project: Project, mypy: Mypy, daemon: Path | None) -> list[Finding]:
    return mypy.run(project.folder, *project.files, daemon=daemon)


def test_an_edit_of_the_handlers(project: Project, mypy: Mypy, daemon: Path | None) -> None:
    """What an edit introduces is found, and is gone with the next one."""
    project.write()
    assert check(project, mypy, daemon) == []
    project.write(HANDLERS.replace("created(event: Created,", "created(event: str,"))
    assert {each[:3] for each in check(project, mypy, daemon)} == {
        ("handlers.py", 14, "bus-handler-signature")
    }
    project.write()
    assert check(project, mypy, daemon) == []
    project.write(
        f"{HANDLERS}\n\n@registry.register\nasync def again(command: GetName) -> str: ...\n"
    )
    found = [each for each in check(project, mypy, daemon) if each.code in CODES]
    assert [each[:3] for each in found] == [("handlers.py", 48, "bus-duplicate-handler")]
    project.write()
    assert check(project, mypy, daemon) == []


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_an_imported_module(
    edit: str, project: Project, mypy: Mypy, daemon: Path | None
) -> None:
    """A finding in a module that was not edited comes and goes with what it imports."""
    changed, wanted = EDITS[edit]
    project.write()
    assert check(project, mypy, daemon) == []
    project.write(**changed)
    found = [each for each in check(project, mypy, daemon) if each.code in CODES]
    assert {(each.line, each.code) for each in found if each.file == "handlers.py"} == wanted
    assert {each.file for each in found} == {"handlers.py"}
    project.write()
    assert check(project, mypy, daemon) == []
