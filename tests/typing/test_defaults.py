"""What the checkers find without any configuration: a forgotten await, and no forgotten emit."""

from pathlib import Path

import pytest
from checkers import mypy, pyright

HEAD = """\
from runtime import BusTerminal, Command, DeadLetter, Delivery, Event, EventBus, Scope


class Created(Event):
    number: int


class Get(Command[str]):
    number: int


async def use(
    terminal: BusTerminal[Created],
    scope: Scope[Created],
    bus: EventBus[Created],
    delivery: Delivery,
    letter: DeadLetter,
) -> None:
"""
FORGOTTEN = (
    "bus.publish(Created(1))",
    "bus.offer(Created(1), key=1)",
    "bus.send(Get(1))",
    "bus.ask(Get(1), timeout=1)",
    "bus.sink(Created(1))",
    "bus.sink([Created(1), Created(2)])",
    "scope.bus.publish(Created(1))",
    "scope.bus.offer(Created(1))",
    "scope.bus.send(Get(1))",
    "scope.bus.ask(Get(1))",
    "scope.bus.sink(Created(1))",
    "terminal.bus.publish(Created(1))",
    "terminal.bus.offer(Created(1))",
    "terminal.bus.send(Get(1))",
    "terminal.bus.ask(Get(1))",
    "terminal.bus.sink(Created(1))",
    "scope.resolve(int)",
    "delivery.wait()",
    "terminal.open()",
    "terminal.drain()",
    "terminal.close()",
)
FINE = (
    "bus.emit(Created(1))",
    "bus.emit(Created(1), key=1, callback=print)",
    "scope.bus.emit(Created(1))",
    "terminal.bus.emit(Created(1))",
    "terminal.redeliver(letter)",
    "bus.from_thread.emit(Created(1))",
    "bus.from_thread.offer(Created(1))",
    "bus.from_thread.publish(Created(1))",
    "bus.from_thread.send(Get(1))",
    "bus.from_thread.sink(Created(1))",
    *(f"await {each}" for each in FORGOTTEN),
)
LINES = (*FORGOTTEN, *FINE)
FIRST = HEAD.count("\n") + 1


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return a file that forgets to await, and one line after the other is said to be fine."""
    path = tmp_path / "program.py"
    path.write_text(HEAD + "".join(f"    {line}\n" for line in LINES), encoding="utf-8")
    return path


def expected(code: str) -> list[tuple[int, str]]:
    """Return the lines on which the code must be."""
    return [(FIRST + number, code) for number in range(len(FORGOTTEN))]


@pytest.mark.parametrize("options", [(), ("--enable-error-code=unused-awaitable",)], ids=str)
def test_mypy(program: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Its defaults find each; what looks for any awaitable finds no more, not even an emit."""
    found = mypy(program, *options, cache=tmp_path / "cache")
    assert [(each.line, each.code) for each in found] == expected("unused-coroutine")


@pytest.mark.parametrize("mode", ["basic", "standard"])
def test_pyright(program: Path, tmp_path: Path, mode: str) -> None:
    """So do the modes that are not strict."""
    found = pyright(program, mode, tmp_path)
    assert [(each.line, each.code) for each in found] == expected("reportUnusedCoroutine")
