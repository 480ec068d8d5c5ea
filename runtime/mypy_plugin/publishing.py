"""`bus-publish-type`: what is published through a bus of anything that a typed terminal gave."""

from __future__ import annotations

from mypy.checker import TypeChecker
from mypy.nodes import ARG_POS, CallExpr, Expression, MemberExpr, NameExpr, Var
from mypy.subtypes import is_subtype
from mypy.types import AnyType, Instance, ProperType, Type, UnionType, get_proper_type

from runtime.mypy_plugin.findings import PUBLISH_TYPE, report, show
from runtime.mypy_plugin.modules import TERMINAL, ModuleView
from runtime.mypy_plugin.replies import supertype

__all__ = ("check_publish", "is_of_anything")

RECORD = "runtime.sinks.base.Record"
SCOPE = "runtime._bus.Scope"


def is_of_anything(bus: Type) -> bool:
    """Say whether a bus takes any event."""
    found = get_proper_type(bus)
    return (
        isinstance(found, Instance)
        and bool(found.args)
        and isinstance(get_proper_type(found.args[0]), AnyType)
    )


def check_publish(view: ModuleView, call: CallExpr) -> None:
    """Report events that the terminal behind a bus has no handlers for."""
    callee = call.callee
    if not isinstance(callee, MemberExpr) or not isinstance(callee.expr, NameExpr):
        return
    bus = callee.expr
    base = None if not isinstance(bus.node, Var) else base_of(view, bus.node)
    if base is None:
        return
    for name, kind, each in zip(call.arg_names, call.arg_kinds, call.args, strict=True):
        if not (name == "event" or kind == ARG_POS):
            continue
        typ = view.checker.lookup_type_or_none(each)
        found = None if typ is None else get_proper_type(typ)
        if callee.name == "sink" and is_sequence(found):
            # It may hold the events.
            return
        if found is not None and is_outside(found, base):
            event, expected = show(view.checker, found), show(view.checker, base)
            text = (
                f"`{bus.name}` is the bus of a terminal for {expected}, and {event} is not one: "
                f"nobody there hears it; publish it on its own terminal's bus, or annotate "
                f"`{bus.name}: EventBus[{expected}]` to have every verb checked"
            )
            report(view.checker, text, each, PUBLISH_TYPE)
        if callee.name != "sink":
            return


def is_sequence(typ: ProperType | None) -> bool:
    """Say whether something is a sequence."""
    return isinstance(typ, Instance) and typ.type.has_base("typing.Sequence")


def base_of(view: ModuleView, bus: Var) -> ProperType | None:
    """Return the base of the events of the terminal whose bus a name stands for."""
    made = view.assignment_of(bus)
    if made is None or not isinstance(made.rvalue, MemberExpr) or made.rvalue.name != "bus":
        return None
    found = get_proper_type(type_of(view.checker, made.rvalue.expr))
    if not isinstance(found, Instance):
        return None
    terminal = supertype(found, TERMINAL) or supertype(found, SCOPE)
    base = None if terminal is None else get_proper_type(terminal.args[0])
    return base if isinstance(base, (Instance, UnionType)) else None


def type_of(checker: TypeChecker, expression: Expression) -> Type:
    """Return the type of an expression, also of one that is not checked again now."""
    known = checker.lookup_type_or_none(expression)
    return checker.get_expression_type(expression) if known is None else known


def is_outside(event: ProperType, base: ProperType) -> bool:
    """Say whether a value is certainly none of the base."""
    if isinstance(event, UnionType):
        return all(is_outside(get_proper_type(each), base) for each in event.items)
    if not isinstance(event, Instance) or is_subtype(event, base):
        return False
    if event.type.fallback_to_any or event.type.is_protocol or event.type.fullname == RECORD:
        return False
    bases = base.items if isinstance(base, UnionType) else [base]
    for each in bases:
        found = get_proper_type(each)
        # What is only known to be something more general may well be of the base.
        if not isinstance(found, Instance) or found.type.has_base(event.type.fullname):
            return False
    return True
