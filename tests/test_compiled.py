"""The core is compiled, complete and described."""

import importlib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = sorted(path.stem for path in (ROOT / "src_ext" / "runtime").glob("*.pyx"))


def test_the_core_is_what_the_layout_says() -> None:
    """The core modules are those that the documents name."""
    assert CORE == [
        "_actors",
        "_asks",
        "_bus",
        "_context",
        "_core",
        "_deadlines",
        "_dispatch",
        "_givens",
        "_inbox",
        "_lines",
        "_mailbox",
        "_publication",
        "_sender",
        "_spares",
        "_stopwatch",
        "_tally",
        "_waits",
        "_wiring",
        "_worker",
    ]


@pytest.mark.parametrize("name", CORE)
def test_core_module_is_an_extension(name: str) -> None:
    """A core module is machine code, never a Python fallback."""
    module = importlib.import_module(f"runtime.{name}")
    assert module.__file__ is not None
    assert module.__file__.endswith(tuple(EXTENSION_SUFFIXES))


@pytest.mark.parametrize("name", CORE)
def test_core_module_has_declarations_and_a_stub(name: str) -> None:
    """Each Cython source has its fields in a .pxd and its types in a stub."""
    assert (ROOT / "src_ext" / "runtime" / f"{name}.pxd").is_file()
    assert (ROOT / "stubs" / "runtime" / f"{name}.pyi").is_file()


def test_stubs_are_for_core_modules_only() -> None:
    """A stub without a module, or an __init__.pyi, would mislead type checkers."""
    assert sorted(path.stem for path in (ROOT / "stubs" / "runtime").iterdir()) == CORE
