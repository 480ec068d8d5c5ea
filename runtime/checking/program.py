"""What belongs to the program that is checked, and what to its libraries."""

from __future__ import annotations

import inspect
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

__all__ = ("Libraries", "Program")


class Program:
    """A program: some packages, and everything else that is not installed as a library."""

    def __init__(self, packages: Iterable[str] = ()) -> None:
        self._packages = frozenset(packages)
        self._libraries = Libraries()

    def defines(self, kind: type) -> bool:
        """Say whether a class is the program's own."""
        top = kind.__module__.partition(".")[0]
        if top == "runtime":
            return False
        if top in self._packages:
            return True
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        return file is not None and not self._libraries.have(file)

    def is_last(self, kind: type) -> bool:
        """Say whether a class can have instances, and no other one is derived from it."""
        derived: list[type] = type.__subclasses__(kind)
        return (
            not any(is_current(each) for each in derived)
            and not inspect.isabstract(kind)
            and is_current(kind)
        )


def is_current(kind: type) -> bool:
    """Say whether a class has not been replaced by another one in its place."""
    found: object = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return not isinstance(found, type) or found is kind or found.__qualname__ != kind.__qualname__


class Libraries:
    """The standard library, and the packages that are installed."""

    def __init__(self) -> None:
        paths = sysconfig.get_paths()
        names = [paths[each] for each in ("stdlib", "platstdlib", "purelib", "platlib")]
        names += [*site.getsitepackages(), site.getusersitepackages()]
        self._folders = tuple(dict.fromkeys(Path(each).resolve() for each in names))
        self._known: dict[str, bool] = {}

    def have(self, file: str) -> bool:
        """Say whether a file belongs to one of them."""
        if file not in self._known:
            path = Path(file).resolve()
            self._known[file] = any(path.is_relative_to(folder) for folder in self._folders)
        return self._known[file]
