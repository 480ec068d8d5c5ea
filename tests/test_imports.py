"""Imports go down: each module may import only those above it in this list."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Leaves first. A module may import what stands before it.
ORDER = [
    "errors",
    "findings",
    "policies",
    "reports",
    "signals",
    "loops",
    "_capi",
    "_tally",
    "_wiring",
    "_dispatch",
    "_publication",
    "_mailbox",
    "_context",
    "_spares",
    "_deadlines",
    "_stopwatch",
    "_core",
    "_lines",
    "_waits",
    "_inbox",
    "_actors",
    "_worker",
    "_sender",
    "_asks",
    "_bus",
    "_givens",
    "messages",
    "names",
    "scope",
    "publishers",
    "building",
    "signature",
    "wired",
    "lifetimes",
    "unrolled",
    "registry",
    "plan",
    "explain",
    "counters",
    "running",
    "sinks.base",
    "sinks.routing",
    "wire",
    "diagnosis",
    "database",
    "sinks.sqlite",
    "sinks",
    "sources.base",
    "sources.tables",
    "sources.sqlite",
    "sources",
    "workers",
    "threads",
    "executor",
    "delays",
    "deadlines",
    "blocks",
    "failures",
    "slowness",
    "retries",
    "outlet",
    "intake",
    "supervision",
    "waiting",
    "passivation",
    "bus",
    "closing",
    "incoming",
    "consuming",
    "leftovers",
    "terminal",
    "",
    "testing.relays",
    "testing.tasks",
    "testing.loops",
    "testing.running",
    "testing.tracking",
    "testing",
    "testing.pytest_plugin",
    "checking.program",
    "checking.lines",
    "checking.targets",
    "checking.examination",
    "checking",
    "checking.report",
    "checking.formats",
    "checking.command",
    "cli",
    "__main__",
    "integrations",
    "integrations.ididi",
    "integrations.lihil",
    "mypy_plugin.walking",
    "mypy_plugin.modules",
    "mypy_plugin.findings",
    "mypy_plugin.values",
    "mypy_plugin.callables",
    "mypy_plugin.bases",
    "mypy_plugin.annotations",
    "mypy_plugin.signatures",
    "mypy_plugin.replies",
    "mypy_plugin.providers",
    "mypy_plugin.dependencies",
    "mypy_plugin.frozen",
    "mypy_plugin.registrations",
    "mypy_plugin.publishing",
    "mypy_plugin",
]

FROM_CYTHON = re.compile(r"^\s*from (runtime[.\w]*) c?import", re.MULTILINE)


def name_of(path: Path, top: Path) -> str:
    parts = path.relative_to(top).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def python_imports(path: Path) -> set[str]:
    """Return what a module imports when it runs; annotations may look up."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and ast.unparse(test.test) == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def sources() -> dict[str, set[str]]:
    found = {
        name_of(path, ROOT / "runtime"): python_imports(path)
        for path in (ROOT / "runtime").rglob("*.py")
    }
    for path in (ROOT / "src_ext" / "runtime").iterdir():
        found.setdefault(path.stem, set()).update(FROM_CYTHON.findall(path.read_text()))
    return found


SOURCES = sources()


def test_every_module_has_its_place() -> None:
    """The list is complete, so that no new module escapes the rule."""
    assert sorted(SOURCES) == sorted(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_go_down(name: str) -> None:
    """A module imports only what is below it."""
    allowed = ORDER[: ORDER.index(name)]
    ours = {each for each in SOURCES[name] if each.split(".")[0] == "runtime"}
    names = {each.removeprefix("runtime").removeprefix(".") for each in ours}
    # A .pyx imports the names of its own .pxd.
    assert names - {name} <= {*allowed}


@pytest.mark.parametrize("name", [name for name in ORDER if name != "_capi"])
def test_module_imports_alone(name: str) -> None:
    """Any module can be the first one imported, without a warning."""
    module = f"runtime.{name}".rstrip(".")
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", f"import {module}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["sqlite3", "runtime.checking", "runtime.cli", "mypy"])
def test_what_is_not_always_needed_is_not_imported(module: str) -> None:
    """A service does not pay for a store that it does not use, nor for what checks it."""
    code = f"import runtime, sys; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-I", "-c", code], check=False).returncode == 0
