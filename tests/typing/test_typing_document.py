"""The examples of `docs/typing.md`: mypy says about each what stands beside it."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from checkers import ROOT, Finding
from goldens import Mypy, differences

TEXT = (ROOT / "docs" / "typing.md").read_text(encoding="utf-8")
PART = re.compile(r'^### `(bus-[\w-]+)`$|^```(python(?: title="wrong")?)\n(.*?)^```$', re.M | re.S)
ERROR = re.compile(r"# error: ([\w, -]+)$")


class Wrong(NamedTuple):
    """An example that is wrong: what comes before it, itself, and the code of its section."""

    before: str
    text: str
    section: str | None


def wrong_examples() -> list[Wrong]:
    """Return the examples that are wrong, each after those of the document that are right."""
    found = list[Wrong]()
    section: str | None = None
    before = ""
    for heading, kind, text in PART.findall(TEXT):
        if heading:
            section = heading
        elif kind == "python":
            before += text
        else:
            found.append(Wrong(before, text, section))
    return found


def right_examples() -> str:
    """Return all examples that are right, as one module."""
    # What stands for one thing in two sections has one name there.
    return "".join(text for _, kind, text in PART.findall(TEXT) if kind == "python")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """Return what mypy finds in the examples, each a module of its own."""
    folder: Path = tmp_path_factory.mktemp("document")
    modules = {"right.py": right_examples()}
    for number, example in enumerate(wrong_examples()):
        modules[f"wrong_{number}.py"] = example.before + example.text
    for name, text in modules.items():
        (folder / name).write_text(text, encoding="utf-8")
    return Mypy(folder / "mypy").run(folder, *modules)


def test_right_examples_are_clean(found: list[Finding]) -> None:
    """Nothing is found in what is shown as right."""
    assert [each for each in found if each.file == "right.py"] == []


def test_wrong_examples_have_their_finding(found: list[Finding]) -> None:
    """In each that is shown as wrong there is just what its comment says, of its section's code."""
    wanted = list[Finding]()
    for number, example in enumerate(wrong_examples()):
        first = example.before.count("\n") + 1
        said = list[str]()
        for line, text in enumerate(example.text.splitlines(), first):
            codes = ERROR.search(text)
            for code in codes[1].split(", ") if codes else ():
                said.append(code)
                wanted.append(Finding(f"wrong_{number}.py", line, code))
        assert said
        assert example.section is None or example.section in said
    assert differences(wanted, found) == []


def test_every_code_is_shown() -> None:
    """Each code of the plugin has a section, with a wrong example and a right one."""
    shown = {example.section for example in wrong_examples()} - {None}
    assert shown == {
        "bus-dependency",
        "bus-duplicate-handler",
        "bus-frozen",
        "bus-handler-signature",
        "bus-lifetime",
        "bus-publish-type",
        "bus-reply-type",
    }
    for code in shown:
        section = TEXT.partition(f"### `{code}`\n")[2].partition("\n### ")[0]
        assert "```python\n" in section
        assert '```python title="wrong"\n' in section
