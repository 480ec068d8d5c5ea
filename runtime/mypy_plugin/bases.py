"""Which classes a registry takes messages of, and which messages an annotation stands for."""

from __future__ import annotations

from typing import Final

import msgspec
from mypy.maptype import map_instance_to_supertype
from mypy.nodes import CallExpr, Expression, NameExpr, RefExpr, TypeInfo, Var
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    LiteralType,
    NoneType,
    ProperType,
    TupleType,
    Type,
    TypeAliasType,
    TypedDictType,
    TypeOfAny,
    TypeType,
    TypeVarType,
    UnionType,
    get_proper_type,
)

from runtime.mypy_plugin.findings import any_of
from runtime.mypy_plugin.modules import ModuleView

__all__ = ("COMMAND", "CONTEXT", "REGISTRY", "Bases", "bases_of", "is_registry", "message_types")

COMMAND: Final = "runtime.messages.Command"
DEAD_LETTER: Final = "runtime.messages.DeadLetter"
CONTEXT: Final = "runtime._context.MessageContext"
REGISTRY: Final = "runtime.registry.MessageRegistry"


class Bases(msgspec.Struct, frozen=True):
    """The classes that a registry's messages derive from."""

    events: tuple[TypeInfo, ...]
    """The base of its events, or each of several; none if it is not known."""
    commands: str = COMMAND

    @property
    def text(self) -> str:
        """The base of its events, for a person to read."""
        return any_of([each.name for each in self.events]) or "Event"

    @property
    def is_anything(self) -> bool:
        """Whether any class will do."""
        return any(each.fullname == "builtins.object" for each in self.events)

    def take(self, typ: ProperType) -> bool | None:
        """Say whether a class is one of messages; None if that is not certain."""
        if isinstance(typ, TypeVarType):
            return False
        if isinstance(typ, Instance):
            info = typ.type
            if info.has_base(DEAD_LETTER) or info.has_base(self.commands):
                return True
            if any(info.has_base(each.fullname) for each in self.events):
                return True
            if not self.events or info.fallback_to_any or info.is_newtype:
                return None
            return False
        if not self.events or self.is_anything:
            return None
        if isinstance(typ, AnyType):
            return False if typ.type_of_any == TypeOfAny.explicit else None
        refused = (NoneType, TypeType, CallableType, LiteralType, TupleType, TypedDictType)
        return False if isinstance(typ, refused) else None


def bases_of(view: ModuleView, registry: Expression | None, typ: Type) -> Bases | None:
    """Return what a registry takes; None if it is none."""
    found = get_proper_type(typ)
    if not isinstance(found, Instance):
        return None
    info = next((each for each in found.type.mro if each.fullname == REGISTRY), None)
    if info is None:
        return None
    base = get_proper_type(map_instance_to_supertype(found, info).args[0])
    items = (
        [get_proper_type(each) for each in base.items] if isinstance(base, UnionType) else [base]
    )
    events = [each.type for each in items if isinstance(each, Instance)]
    known = len(events) == len(items) and not any(each.is_protocol for each in events)
    return Bases(tuple(events) if known else (), command_base(view, registry))


def is_registry(typ: Type) -> bool:
    """Say whether something is a registry."""
    found = get_proper_type(typ)
    return isinstance(found, Instance) and found.type.has_base(REGISTRY)


def command_base(view: ModuleView, registry: Expression | None) -> str:
    """Return the base of a registry's commands, as far as this module shows it."""
    if isinstance(registry, NameExpr) and isinstance(registry.node, Var):
        made = view.assignment_of(registry.node)
        if made is not None and isinstance(made.rvalue, CallExpr):
            given = dict(zip(made.rvalue.arg_names, made.rvalue.args, strict=True))
            base = given.get("command_base")
            if isinstance(base, RefExpr) and isinstance(base.node, TypeInfo):
                return base.node.fullname if view.is_bound_once(registry.node) else COMMAND
    return COMMAND


def message_types(typ: Type) -> list[ProperType] | None:
    """Return the types that an annotation stands for; None if that is not certain."""
    alias = typ.alias if isinstance(typ, TypeAliasType) else None
    if alias is not None and alias.python_3_12_type_alias:
        # The runtime sees the alias, not what it stands for.
        return None
    found = get_proper_type(typ)
    if not isinstance(found, UnionType):
        return [found]
    items: list[ProperType] = []
    for each in found.items:
        more = message_types(each)
        if more is None:
            return None
        items += more
    return items
