"""Everything that is wrong with some terminals of one program."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping
from typing import Any

from runtime.checking.program import Program
from runtime.errors import BusError
from runtime.findings import Code, Finding
from runtime.messages import Command, Event
from runtime.plan import Plans, key_of, with_subclasses
from runtime.registry import MessageRegistry
from runtime.signature import written
from runtime.terminal import BusTerminal

__all__ = ("examine",)


def examine(
    terminals: Mapping[str, BusTerminal[Any]], packages: Iterable[str] = ()
) -> dict[str, list[Finding]]:
    """Return everything that is wrong with each of some terminals, by the same names.

    A message that one of them handles is not missed by another. `packages` are the top-level
    packages of the program, whose messages count whatever they derive from. No terminal is opened,
    and none is changed.

    Raises what a foreign container raises when it is asked what it provides.
    """
    # A class that a decorator has replaced goes on as a sub-class until it is collected.
    gc.collect()
    program = Program(packages)
    examined = {
        name: each._examine()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        for name, each in terminals.items()
    }
    heard = {kind for each in examined.values() for kind in each.plans.heard}
    return {
        name: [
            *each.findings,
            *bad_keys(each.plans),
            *unhandled(each.registries, heard, program),
        ]
        for name, each in examined.items()
    }


def bad_keys(plans: Plans) -> list[Finding]:
    """Return a finding for each class that names no field as its key."""
    found: dict[str, Finding] = {}
    for kind in with_subclasses(plans.heard):
        try:
            key_of(kind)
        except BusError as error:
            found |= {each.text: each for each in error.findings}
    return list(found.values())


def unhandled(
    registries: Iterable[MessageRegistry[Any]], heard: set[type], program: Program
) -> list[Finding]:
    """Return a finding for each message of the registries that nobody handles."""
    registries = tuple(registries)
    commands: list[type] = [each.command_base for each in registries]
    events = [each.event_base for each in registries]
    found: list[Finding] = []
    for kind in last_of(commands, program):
        if heard.isdisjoint(kind.__mro__):
            what = "no handler is registered for this command, nor for a class that it derives from"
            advice = (
                "register one, or give the registries a `command_base` that it does not derive from"
            )
            found.append(about(kind, "bus-no-handler", what, advice))
    # Of a base from elsewhere, such as `object`, nobody knows which classes are meant as events.
    declared = [each for each in events if each is Event or program.defines(each)]
    for kind in last_of(declared, program):
        if heard.isdisjoint(kind.__mro__) and Command not in kind.__mro__:
            what = "no handler hears this event"
            advice = "register one, unless it is only for a store or for another program"
            found.append(about(kind, "bus-unheard", what, advice))
    return found


def last_of(bases: Iterable[type], program: Program) -> list[type]:
    """Return the classes that nothing is derived from, of those that count below some bases.

    A class that others derive from may be there for them alone.
    """
    found: dict[type, None] = {}
    for base in bases:
        is_own = program.defines(base)
        for kind in with_subclasses([base]):
            counts = is_own or program.defines(kind)
            if kind is not base and counts and program.is_last(kind):
                found[kind] = None
    return sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__))


def about(kind: type, code: Code, what: str, advice: str) -> Finding:
    """Say something about a message class."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    text = f"{name}: {what}; {advice}"
    return Finding(code, name, text, what, advice, places=(written(kind),))
