"""From ``package.module:attribute`` to a terminal."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import CoroutineType, ModuleType, TracebackType
from typing import Any, Final, TypeGuard, TypeVar

from runtime.errors import BusError
from runtime.findings import Place
from runtime.registry import MessageRegistry
from runtime.terminal import BusTerminal

__all__ = ("TargetError", "load", "registration", "top_package")

T = TypeVar("T")

PACKAGE: Final = Path(__file__).parents[1]
IMPORTLIB: Final = Path(importlib.__file__).parent
FORM: Final = "write it as package.module:terminal, as in shop.app:terminal"


class TargetError(Exception):
    """A target leads to no terminal; the text says why, and what to do."""


def load(target: str) -> BusTerminal[Any]:
    """Import a module, and return the terminal that an attribute of it is or makes.

    What is printed meanwhile goes to stderr. Raises `TargetError`, or the `BusError` of a
    registration that has failed, with its findings.
    """
    name, _, attribute = target.partition(":")
    names = attribute.split(".")
    if not all(each.isidentifier() for each in (*name.split("."), *names)):
        msg = f"{target!r} names no terminal: {FORM}"
        raise TargetError(msg)
    module = attempt(f"{name} cannot be imported", lambda: import_module(name))
    found = attempt(f"{target} cannot be read", lambda: find(target, module, names))
    if is_callable(found) and not is_terminal(found):
        return as_terminal(target, "returns", call(target, found))
    return as_terminal(target, "is", found)


def top_package(target: str) -> str:
    """Return the top-level package, or the module, that a target is in."""
    return target.partition(":")[0].partition(".")[0]


def import_module(name: str) -> ModuleType:
    """Import a module as ``python -m`` would find it."""
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # What it imports itself may be missing, too: that is another matter.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        msg = (
            f"there is no module {error.name!r} in {folder} or among the installed packages: run "
            f"this in the folder that it is in, or name that in PYTHONPATH"
        )
        raise TargetError(msg) from error


def find(target: str, module: ModuleType, names: Iterable[str]) -> object:
    """Return an attribute of a module, or of something in it."""
    found: object = module
    for name in names:
        try:
            found = getattr(found, name)
        except AttributeError as error:
            terminals = [key for key, each in vars(module).items() if is_terminal(each)]
            listed = f"its terminals are: {', '.join(terminals)}"
            hint = listed if terminals else "no name in it is a terminal's"
            msg = f"{target}: there is no {name!r} in {kind_of(found)}; {hint}"
            raise TargetError(msg) from error
    return found


def call(target: str, factory: Callable[..., object]) -> object:
    """Return what a function makes."""
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        msg = (
            f"{target} cannot be called without arguments: {error}; give them defaults, or name a "
            f"function that calls it"
        )
        raise TargetError(msg) from error
    except ValueError:
        # Something in C, without a signature.
        pass
    return attempt(f"{target} has failed", factory)


def as_terminal(target: str, verb: str, found: object) -> BusTerminal[Any]:
    """Return what has been found, if it is a terminal."""
    if is_terminal(found):
        return found
    kind = kind_of(found)
    advice = "name a BusTerminal, or a function without arguments that returns one"
    if isinstance(found, CoroutineType):
        found.close()
        advice = "name a plain function, which makes the terminal and does not open it"
    elif isinstance(found, MessageRegistry):
        advice = "give it to one, as in terminal = BusTerminal(registry)"
    msg = f"{target} {verb} {kind}, not a terminal; {advice}"
    raise TargetError(msg)


def is_callable(found: object) -> TypeGuard[Callable[..., object]]:
    """Say whether something can be called."""
    return callable(found)


def is_terminal(found: object) -> TypeGuard[BusTerminal[Any]]:
    """Say whether something is a terminal."""
    return isinstance(found, BusTerminal)


def kind_of(found: object) -> str:
    """Write down what something is."""
    if isinstance(found, ModuleType):
        return f"the module {found.__name__}"
    kind = type(found).__qualname__
    return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"


def attempt(what: str, function: Callable[[], T]) -> T:
    """Run what belongs to the program; what it prints must not mix with the report."""
    try:
        with redirect_stdout(sys.stderr):
            return function()
    except TargetError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, BusError) and error.findings:
            raise
        raise TargetError("\n".join([f"{what}: {last_line(error)}", *essence(error)])) from error


def last_line(error: BaseException) -> str:
    """Return the line that says what has happened."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def essence(error: BaseException) -> Iterator[str]:
    """Yield the lines of a traceback that are the program's own."""
    for frame in traceback.extract_tb(error.__traceback__):
        if is_program(frame.filename):
            yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
            if frame.line:
                yield f"    {frame.line}"
    if isinstance(error, SyntaxError):
        yield from (line.rstrip() for line in traceback.format_exception_only(error)[:-1])


def is_program(file: str) -> bool:
    """Say whether a line of a traceback is neither the runtime's nor the import system's."""
    path = Path(file)
    is_foreign = any(path.is_relative_to(each) for each in (PACKAGE, IMPORTLIB))
    return not is_foreign and not file.startswith("<frozen ") and path.suffix != ".pyx"


def registration(error: BaseException) -> Place | None:
    """Return where the program has called what has raised an error."""
    found: Place | None = None
    following: TracebackType | None = error.__traceback__
    while following is not None:
        code = following.tb_frame.f_code
        if is_program(code.co_filename):
            found = Place(code.co_name, code.co_filename, following.tb_lineno)
        following = following.tb_next
    return found
