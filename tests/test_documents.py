"""What the documents show runs and prints, what they claim exists, and the site has all of it."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^ *```(.*)\n((?:.*\n)*?) *```$", re.MULTILINE)
OUTPUT = 'text title="prints"'
# Programs that are checked, and not run.
CHECKED = {'python title="app.py"', 'python title="app.py, wrong"', 'python title="wrong"'}
# What is not run: a shell's lines, text that is no program, and what is only checked.
NOT_RUN = {"console", "text", "yaml", OUTPUT, *CHECKED}
# Of ididi 1.8.4, on CPython 3.13 and later.
TYPE_PARAMS = "ignore:Failing to pass a value:DeprecationWarning:ididi.utils.typing_utils"
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
DOCUMENTED = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
PUBLIC = (
    "runtime",
    "runtime.errors",
    "runtime.integrations.lihil",
    "runtime.reports",
    "runtime.sinks",
    "runtime.sources",
    "runtime.testing",
)


def name_of(path: Path) -> str:
    """Return the name of a document in the repository."""
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, kind: str) -> list[str]:
    """Return the fenced blocks of a kind, in their order."""
    found = FENCE.findall(path.read_text(encoding="utf-8"))
    return [text for info, text in found if info == kind]


def run(program: str, folder: Path) -> str:
    """Run a program in a folder, without a warning, and return what it prints."""
    file = folder / "program.py"
    file.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-W", TYPE_PARAMS, str(file)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if blocks(path, "python")], ids=name_of
)
def test_snippets_run(path: Path, tmp_path: Path) -> None:
    """The code of a document runs from top to bottom, and prints what is shown."""
    printed = run("\n".join(blocks(path, "python")), tmp_path)
    shown = blocks(path, OUTPUT)
    if shown:
        assert printed == "".join(shown)
    if path.name == "README.md":
        assert printed == "seen: Ordered(order_id=42)\nseen: Billed(order_id=42)\n"


def test_tutorial_ends_in_whole_program(tmp_path: Path) -> None:
    """The last listing of the tutorial is a program by itself."""
    tutorial = DOCS / "tutorial.md"
    printed = run(blocks(tutorial, "python")[-1], tmp_path)
    assert printed == blocks(tutorial, OUTPUT)[-1]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_all_code_is_run(path: Path) -> None:
    """Every block is a snippet, or of a kind that says that it is none."""
    text = path.read_text(encoding="utf-8")
    found = FENCE.findall(text)
    assert {info for info, _ in found} <= {"python", *NOT_RUN}
    assert len(found) * 2 == len(re.findall(r"^ *(?:```|~~~)", text, re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    """Relative links name files that are there, and headings in them."""
    for target, anchor in LINK.findall(path.read_text(encoding="utf-8")):
        file = path.parent / target if target else path
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=name_of)
def test_links_stay_in_site(path: Path) -> None:
    """Pages of the site link to no file outside of it."""
    for target, _ in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).resolve().is_relative_to(DOCS), target


def test_navigation_lists_every_page() -> None:
    """Each page stands in the site's navigation once, and nothing else does."""
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    listed = sorted(pages(site["project"]["nav"]))
    assert listed == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize("module", PUBLIC)
def test_reference_has_every_public_name(module: str) -> None:
    """The reference documents what the modules export."""
    text = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    documented = set(DOCUMENTED.findall(text))
    if module not in documented:
        objects = {id(find(name)) for name in documented}
        exports = import_module(module).__all__
        missing = [each for each in exports if id(find(f"{module}.{each}")) not in objects]
        assert missing == []


def anchors(path: Path) -> set[str]:
    """Return what the headings of a document are linked by."""
    headings = HEADING.findall(path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


Navigation: TypeAlias = "str | dict[str, Navigation] | list[Navigation]"


def pages(navigation: Navigation) -> Iterator[str]:
    """Yield the pages of a navigation."""
    if isinstance(navigation, str):
        yield navigation
    elif isinstance(navigation, dict):
        for each in navigation.values():
            yield from pages(each)
    else:
        for each in navigation:
            yield from pages(each)


def find(name: str) -> object:
    """Return what has a dotted name."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)
