"""What message types are called outside of the process, and which class a name stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

__all__ = ("TypeNames", "Unheard", "type_name")


class Unheard(msgspec.Struct, frozen=True):
    """Stands for an event of one of several classes that have the same name and no handlers."""


def type_name(kind: type) -> str:
    """Return the name of a message type: its `__type_name__`, if it has one, else the class's own.

    No module is in it, so that a class may move. A `__type_name__` is not inherited.
    Raises `TypeError` if it is not a text that says something.
    """
    given: object = vars(kind).get("__type_name__")
    if given is None:
        return kind.__name__
    if not isinstance(given, str) or not given:
        msg = f"{place(kind)}.__type_name__ is the name of the type as a str, not {given!r}"
        raise TypeError(msg)
    return given


class TypeNames:
    """The classes that names may stand for: some, and everything derived from them.

    `heard` are the classes that somebody handles, `known` those that may be sent. What is heard
    comes first: a name is looked up among the others only if no class that is heard has it.
    Classes that are defined later are found, too.
    """

    def __init__(self, heard: Iterable[type], known: Iterable[type] = ()) -> None:
        self._heard = tuple(heard)
        self._known = tuple(known)
        self._found: dict[str, type] = {}

    def find(self, name: str) -> type:
        """Return the class of a name.

        Raises `LookupError` if there is none, or more than one.
        """
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._search(name)
        return found

    def _search(self, name: str) -> type:
        found = by_place(self._heard, name)
        if not found:
            found = by_place(self._known, name)
            if len(found) > 1 and object not in self._heard:
                # Which one it is makes no difference.
                return Unheard
        if len(found) > 1:
            msg = (
                f"{name!r} is the name of {' and of '.join(sorted(found))}: give one of them a "
                f"name of its own, as in __type_name__: ClassVar[str] = 'shop.{name}'"
            )
            raise LookupError(msg)
        if not found:
            msg = (
                f"no class is called {name!r} here: import the module that defines it, or give the "
                f"class that replaces it this name, as in __type_name__: ClassVar[str] = {name!r}"
            )
            raise LookupError(msg)
        return next(iter(found.values()))


def by_place(roots: Iterable[type], name: str) -> dict[str, type]:
    """Return the classes of a name by where they are defined.

    A class that was made again, as by `dataclass(slots=True)`, is one: the last.
    """
    return {place(each): each for each in family(roots) if type_name(each) == name}


def family(roots: Iterable[type]) -> Iterator[type]:
    """Yield classes and what is derived from them, each once, in the order of their definition.

    `object` stands for nothing: everything is derived from it.
    """
    seen: set[type] = {object}
    rest = list(roots)
    while rest:
        each = rest.pop(0)
        if each not in seen:
            seen.add(each)
            yield each
            rest += type.__subclasses__(each)


def place(kind: type) -> str:
    """Say where a class is defined."""
    return f"{kind.__module__}.{kind.__qualname__}"
