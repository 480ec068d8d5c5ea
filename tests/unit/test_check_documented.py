"""What the documentation says of `runtime check` is so: each code, each option, each key."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from unit.checks import check, run, write

import runtime.cli
from runtime.checking.report import Entry, Report
from runtime.findings import Code

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "typing.md").read_text(encoding="utf-8")
GUIDE = DOCUMENT.partition("## What only the whole program knows\n")[2].partition("\n## ")[0]
REFERENCE = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
SECTION = re.compile(
    r"^### `runtime check`: `(bus-[a-z-]+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL
)
EXAMPLE = re.compile(r'^```python title="app.py(, wrong)?"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SECTIONS = SECTION.findall(GUIDE)
EXAMPLES = [
    (code, bool(wrong), text) for code, body in SECTIONS for wrong, text in EXAMPLE.findall(body)
]


def test_every_code_has_a_section_with_both_examples() -> None:
    """Each code once, with at least one example of each kind."""
    assert sorted(code for code, _ in SECTIONS) == sorted(get_args(Code))
    for code in get_args(Code):
        assert {is_wrong for each, is_wrong, _ in EXAMPLES if each == code} == {True, False}


@pytest.mark.parametrize(("code", "is_wrong", "text"), EXAMPLES)
def test_examples_are_what_they_are_called(
    tmp_path: Path, code: str, is_wrong: bool, text: str
) -> None:
    """A wrong one has findings of its code and no other, a right one none at all."""
    write(tmp_path, {"app.py": text})
    ignore = () if code == "bus-unheard" else ("--ignore", "bus-unheard")
    checked = check(tmp_path, "app:terminal", "--format", "json", *ignore)
    assert checked.err == ""
    found = {each["code"] for each in checked.report["findings"]}
    assert found == ({code} if is_wrong else set())


def options_of(text: str) -> set[str]:
    return set(re.findall(r"--[a-z]+", text))


def test_options_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    """The reference has every option, and none that is not there."""
    with pytest.raises(SystemExit):
        runtime.cli.main(["check", "--help"])
    offered = options_of(capsys.readouterr().out) - {"--help"}
    assert options_of(REFERENCE) == offered
    assert options_of(GUIDE) <= offered


def test_keys_are_described() -> None:
    """The table of the reference has the keys of the document, in their order."""
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", REFERENCE, re.MULTILINE)
    described = [key for row in rows for key in re.findall(r"`(\w+)`", row)]
    fields: list[Any] = [*Report.__struct_fields__, *Entry.__struct_fields__]
    assert described == fields


def test_the_examples_are_clean(tmp_path: Path) -> None:
    """The programs that come with the runtime have no problem, not even a warning."""
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=skipped)
    targets = ("examples.flights.replay:make_terminal", "examples.flightboard.app:make_terminal")
    # ididi 1.8.4 warns on CPython 3.13 and later.
    command = [sys.executable, "-m", "runtime"]
    checked = run(tmp_path, command, (*targets, "--strict"), {})
    assert (checked.code, checked.out) == (0, "no problems found in 2 terminals\n"), checked.err
