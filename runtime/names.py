"""What message types are called outside of the process, and which class a name stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ("TypeNames", "type_name")


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
        self._roots = (tuple(heard), tuple(known))
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
        for roots in self._roots:
            # A class that was made again, as by `dataclass(slots=True)`, is one: the last.
            by_place = {place(each): each for each in family(roots) if type_name(each) == name}
            if len(by_place) > 1:
                msg = (
                    f"{name!r} is the name of {' and of '.join(sorted(by_place))}: give one of "
                    f"them a name of its own, as in __type_name__: ClassVar[str] = 'shop.{name}'"
                )
                raise LookupError(msg)
            if by_place:
                return next(iter(by_place.values()))
        msg = (
            f"no class is called {name!r} here: import the module that defines it, or give the "
            f"class that replaces it this name, as in __type_name__: ClassVar[str] = {name!r}"
        )
        raise LookupError(msg)


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
