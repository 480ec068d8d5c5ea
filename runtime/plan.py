"""Registries to a frozen dispatch table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runtime._dispatch import Handler, Plan, Table
from runtime._mailbox import Core
from runtime.errors import HandlerSignatureError
from runtime.lifetimes import Wiring
from runtime.registry import MessageRegistry

__all__ = ("build_table",)


def build_table(
    registries: Iterable[MessageRegistry[object]], core: Core, values: Mapping[type, object]
) -> Table:
    """Wire every handler and flatten every message class that is known by now.

    `values` are dependencies that exist already, by type. A class first seen later is flattened
    when it is first sent.

    Raises `ProviderError` or `LifetimeError` listing everything that is wrong with the wiring.
    """
    registries = tuple(registries)
    wiring = Wiring([each for registry in registries for each in registry.factories], core, values)
    handlers: list[Handler] = []
    heard: dict[type, list[int]] = {}
    for spec in dict.fromkeys(each for registry in registries for each in registry.handlers):
        for key in spec.keys:
            heard.setdefault(key, []).append(len(handlers))
        wired = wiring.handler(spec)
        handlers.append(
            Handler(
                spec,
                wired.call,
                is_async=spec.is_async,
                needs_scope=wired.needs_scope,
                wants_context=wired.wants_context,
                actor=wired.actor,
            )
        )
    wiring.check()

    # Classes that hear the same handlers share the tuple of them.
    shared: dict[tuple[int, ...], tuple[Handler, ...]] = {}

    def flatten(message_type: type) -> Plan:
        numbers = {n for base in message_type.__mro__ for n in heard.get(base, ())}
        order = tuple(sorted(numbers))
        if order not in shared:
            shared[order] = tuple(handlers[number] for number in order)
        return Plan(shared[order], *key_of(message_type))

    return Table({each: flatten(each) for each in with_subclasses(heard)}, flatten)


def key_of(message_type: type) -> tuple[str | None, type | None]:
    """Return the field that a message's mailbox is chosen by, and the class that names it."""
    for base in message_type.__mro__:
        field = vars(base).get("__key__")
        if isinstance(field, str):
            return field, base
        if field is not None:
            msg = (
                f"{base.__module__}.{base.__qualname__}: `__key__` must be the name of a field, "
                f"not {field!r}"
            )
            raise HandlerSignatureError(msg)
    return None, None


def with_subclasses(classes: Iterable[type]) -> set[type]:
    """Return the classes and everything derived from them so far.

    `object` stands for itself: whatever derives from it is flattened on first sight.
    """
    found: set[type] = set()
    rest = list(classes)
    while rest:
        each = rest.pop()
        if each not in found:
            found.add(each)
            if each is not object:
                rest += type.__subclasses__(each)
    return found
