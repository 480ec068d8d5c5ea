"""How findings are printed, left out and counted; what a pipeline makes of them."""

import os
from pathlib import Path

import pytest
from unit.checks import check, write

import runtime.cli
from runtime.checking.formats import as_github
from runtime.checking.report import Entry, Report, make_report
from runtime.findings import Finding, Place

APP = """\
from runtime import BusTerminal, Command, Event, MessageRegistry


class Lost(Event): ...


class Get(Command[int]): ...


class Mailer:
    def __init__(self, host: str) -> None: ...


registry = MessageRegistry(event_base=Event)


@registry.register
def one(command: Get, mailer: Mailer) -> int: ...


@registry.register
def two(command: Get) -> int: ...


terminal = BusTerminal(registry)
warned = BusTerminal(MessageRegistry(event_base=Event))
clean = BusTerminal(MessageRegistry(event_base=Lost, command_base=Get))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    write(folder, {"shop/app.py": APP, "elsewhere/note.txt": ""})
    return folder


UNHEARD = (
    "shop.app.Lost: no handler hears this event; register one, unless it is only for a store or "
    "for another program"
)
UNPROVIDED = (
    "shop.app.one → Mailer.host: str: nothing provides str; register a factory that returns it"
)
DOUBLE = (
    "shop.app.Get: has 2 handlers, but a command has one: shop.app.one, shop.app.two; remove all "
    "but one"
)


def test_text_is_what_compilers_print(folder: Path) -> None:
    """A line for each finding, in the order of the lines, then one that sums up."""
    checked = check(folder, "shop.app:terminal")
    assert (checked.code, checked.err) == (1, "")
    assert checked.out.splitlines() == [
        f"shop/app.py:4: warning: {UNHEARD} [bus-unheard]",
        f"shop/app.py:11: error: {UNPROVIDED} [bus-dependency]",
        "shop/app.py:18: note: shop.app.one needs it",
        f"shop/app.py:22: error: {DOUBLE} [bus-duplicate-handler]",
        "shop/app.py:18: note: `one` handles it, too",
        "found 2 errors and 1 warning in 1 terminal",
    ]


def test_paths_outside_of_the_folder_are_in_full(folder: Path) -> None:
    """From elsewhere, files are named so that they are found."""
    checked = check(folder / "elsewhere", "shop.app:terminal", PYTHONPATH=str(folder))
    assert f"{folder}/shop/app.py:22: error: {DOUBLE} [bus-duplicate-handler]\n" in checked.out


def test_json_is_one_document_with_stable_keys(folder: Path) -> None:
    """Every key is there in every document, in this order."""
    checked = check(folder, "shop.app:terminal", "--format", "json")
    assert list(checked.report) == ["version", "targets", "errors", "warnings", "findings"]
    assert checked.report["version"] == 1
    assert (checked.report["errors"], checked.report["warnings"]) == (2, 1)
    assert checked.of("bus-dependency") == [
        {
            "code": "bus-dependency",
            "severity": "error",
            "subject": "shop.app.one",
            "file": "shop/app.py",
            "line": 11,
            "path": ["shop.app.one", "Mailer.host: str"],
            "message": "nothing provides str",
            "advice": "register a factory that returns it",
            "related": [
                {"file": "shop/app.py", "line": 18, "message": "shop.app.one needs it"},
            ],
            "targets": ["shop.app:terminal"],
        }
    ]
    assert len({tuple(each) for each in checked.report["findings"]}) == 1


def test_json_of_nothing(folder: Path) -> None:
    """A document is there if nothing is wrong, too."""
    checked = check(folder, "shop.app:clean", "--format", "json")
    assert checked.code == 0
    assert checked.report == {
        "version": 1,
        "targets": ["shop.app:clean"],
        "errors": 0,
        "warnings": 0,
        "findings": [],
    }


def test_github_gets_commands(folder: Path) -> None:
    """One for each finding, with what is related in the same annotation."""
    checked = check(folder, "shop.app:terminal", "--format", "github")
    assert checked.code == 1
    assert checked.out.splitlines() == [
        f"::warning file=shop/app.py,line=4,title=bus-unheard::{UNHEARD}",
        (
            f"::error file=shop/app.py,line=11,title=bus-dependency::{UNPROVIDED}"
            "%0Ashop/app.py:18: note: shop.app.one needs it"
        ),
        (
            f"::error file=shop/app.py,line=22,title=bus-duplicate-handler::{DOUBLE}"
            "%0Ashop/app.py:18: note: `one` handles it, too"
        ),
        "found 2 errors and 1 warning in 1 terminal",
    ]


def test_github_names_files_from_the_root_of_the_repository(folder: Path) -> None:
    """A step may run in a sub-folder; annotations are relative to the workspace."""
    checked = check(
        folder / "shop", "app:warned", "--format", "github", GITHUB_WORKSPACE=str(folder)
    )
    assert checked.out.startswith("::warning file=shop/app.py,line=4,title=bus-unheard::app.Lost:")


def test_what_means_something_to_github_is_escaped() -> None:
    """Percent signs, line ends, and in properties colons and commas."""
    entry = Entry(
        "bus-dependency",
        "error",
        "100%",
        "C:\\a,b.py" if os.name == "nt" else "a:b,50%.py",
        None,
        (),
        "first\r\nsecond",
        "",
        (),
        ("app:terminal",),
    )
    (command, _) = as_github(Report(1, ("app:terminal",), 1, 0, (entry,)))
    assert command == (
        "::error file=a%3Ab%2C50%25.py,title=bus-dependency::100%25: first second"
        if os.name != "nt"
        else "::error file=C%3A/a%2Cb.py,title=bus-dependency::100%25: first second"
    )


def test_a_finding_without_a_file_is_an_annotation_without_a_place() -> None:
    """Nothing is invented where nothing is known."""
    finding = Finding("bus-unheard", "app.Lost", "", "nobody", places=(Place("Lost", None),))
    report = make_report(["app:terminal"], {"app:terminal": [finding]})
    assert next(iter(as_github(report))) == "::warning title=bus-unheard::app.Lost: nobody"


def test_codes_may_be_ignored(folder: Path) -> None:
    """Ignored findings are neither printed nor counted."""
    ignore = ("--ignore", "bus-dependency", "--ignore", "bus-duplicate-handler")
    checked = check(folder, "shop.app:terminal", *ignore)
    assert checked.code == 0
    assert checked.out.splitlines() == [
        f"shop/app.py:4: warning: {UNHEARD} [bus-unheard]",
        "found 0 errors and 1 warning in 1 terminal",
    ]
    everything = (*ignore, "--ignore", "bus-unheard", "--strict")
    checked = check(folder, "shop.app:terminal", *everything)
    assert (checked.code, checked.out) == (0, "no problems found in 1 terminal\n")


def test_an_unknown_code_is_refused(folder: Path) -> None:
    """A misspelt code would ignore nothing, and nobody would see it."""
    checked = check(folder, "shop.app:terminal", "--ignore", "bus-unherd")
    assert (checked.code, checked.out) == (2, "")
    assert "invalid choice: 'bus-unherd'" in checked.err


def test_warnings_count_when_they_shall(folder: Path) -> None:
    """A warning is not an error, unless it is said to be one."""
    assert check(folder, "shop.app:warned").code == 1
    checked = check(folder, "shop.app:terminal", "--format", "json", "--strict")
    assert checked.code == 1


def test_only_warnings(folder: Path) -> None:
    """With nothing but warnings the exit code is 0, and with --strict 1."""
    arguments = ("shop.app:warned", "--ignore", "bus-no-handler")
    checked = check(folder, *arguments)
    assert checked.code == 0
    assert checked.out.endswith("found 0 errors and 1 warning in 1 terminal\n")
    assert check(folder, *arguments, "--strict").code == 1


def test_an_output_without_arrows_gets_the_rest(folder: Path) -> None:
    """What an encoding does not have is written as an escape, and stops nothing."""
    checked = check(folder, "shop.app:terminal", PYTHONIOENCODING="ascii")
    assert checked.code == 1
    assert "shop.app.one \\u2192 Mailer.host: str: nothing provides str" in checked.out


def test_the_command_needs_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to do is wrong usage; help and version are there."""
    for arguments, code, said in (
        ([], 2, "COMMAND"),
        (["chek"], 2, "invalid choice: 'chek'"),
        (["check"], 2, "package.module:terminal"),
        (["--help"], 0, "find mistakes in the wiring"),
        (["--version"], 0, "message-runtime "),
        (["check", "--help"], 0, "--ignore CODE"),
    ):
        with pytest.raises(SystemExit) as ended:
            runtime.cli.main(arguments)
        captured = capsys.readouterr()
        assert ended.value.code == code
        assert said in captured.out + captured.err
