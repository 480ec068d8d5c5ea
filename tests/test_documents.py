"""What the documents show runs, and what they claim exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Of ididi 1.8.4, on CPython 3.13 and later.
TYPE_PARAMS = "ignore:Failing to pass a value:DeprecationWarning:ididi.utils.typing_utils"
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")


def snippets(path: Path) -> str:
    """Return the Python of a document, as one program that a reader would type in."""
    return "\n".join(PYTHON.findall(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if snippets(path)], ids=lambda path: path.name
)
def test_snippets_run(path: Path, tmp_path: Path) -> None:
    """The code of a document runs from top to bottom, without a warning."""
    program = tmp_path / "program.py"
    program.write_text(snippets(path), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-W", TYPE_PARAMS, str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if path.name == "README.md":
        assert done.stdout == "seen: Ordered(order_id=42)\nseen: Billed(order_id=42)\n"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Relative links name files that are there."""
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
