"""Typed code needs no `Any`, no cast and no silenced checker, and it does what its types say."""

import importlib.util
import re
import tokenize
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from checkers import mypy, pyright

from runtime import run

PATH = Path(__file__).with_name("warehouse.py")
STRICT = (
    "--strict",
    "--warn-unreachable",
    "--disallow-any-expr",
    "--disallow-any-explicit",
    "--disallow-any-decorated",
    "--disallow-any-unimported",
    "--enable-error-code=redundant-expr",
    "--enable-error-code=truthy-bool",
    "--enable-error-code=possibly-undefined",
    "--enable-error-code=unused-awaitable",
)
# What asyncio calls a coroutine says nothing of what it yields, and a handler takes anything.
HARMLESS = re.compile(
    r'^Expression type contains "Any" \(has type '
    r'(overloaded function|"Coroutine\[Any, Any, [^"]+"|"Callable\[\[([FGH])\], \2\]")\)$'
)


@pytest.fixture
def main() -> Callable[[Path], Coroutine[Any, Any, Sequence[str]]]:
    """Return the program's main function."""
    spec = importlib.util.spec_from_file_location("warehouse", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[[Path], Coroutine[Any, Any, Sequence[str]]] = module.main
    return function


def test_it_runs(
    main: Callable[[Path], Coroutine[Any, Any, Sequence[str]]], tmp_path: Path
) -> None:
    """Every handler has done what it should."""
    lines = run(main(tmp_path))
    assert len(lines) == 10
    assert "dead: 2, failed, a negative price" in lines


def test_it_is_written_without_a_way_out() -> None:
    """Nowhere does it say `Any` or `cast`, nor anything to a checker."""
    with PATH.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    names = {each.string for each in tokens if each.type == tokenize.NAME}
    assert names & {"Any", "cast", "EventBus"} == {"EventBus"}
    comments = [each.string for each in tokens if each.type == tokenize.COMMENT]
    assert [each for each in comments if re.search("ignore|pyright|mypy", each)] == []


def test_mypy(tmp_path: Path) -> None:
    """No expression is of type `Any`, and none has it in it but where it says nothing."""
    found = mypy(PATH, *STRICT, cache=tmp_path / "cache")
    assert [each for each in found if not HARMLESS.match(each.text)] == []
    assert len(found) > 20


def test_pyright(tmp_path: Path) -> None:
    """Nothing is unknown to the strict mode."""
    assert pyright(PATH, "strict", tmp_path) == []
