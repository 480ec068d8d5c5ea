"""What factories give, and what of the built-in types may be provided to anybody."""

from __future__ import annotations

from typing import Final

from mypy.nodes import (
    CallExpr,
    ClassDef,
    Decorator,
    Expression,
    IndexExpr,
    LambdaExpr,
    NameExpr,
    RefExpr,
    StarExpr,
    TypeAlias,
    TypeApplication,
    TypeInfo,
    Var,
)
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    NoneType,
    ProperType,
    TupleType,
    Type,
    UnionType,
    get_proper_type,
)
from mypy.typevars import fill_typevars_with_any

from runtime.mypy_plugin.bases import REGISTRY
from runtime.mypy_plugin.callables import Called, callable_of
from runtime.mypy_plugin.modules import ModuleView
from runtime.mypy_plugin.replies import supertype
from runtime.mypy_plugin.values import Partial, Value, Values

__all__ = ("Providers", "argument", "is_built_in", "made_by_call")

MANAGERS: Final = frozenset(
    {"contextlib.AbstractContextManager", "contextlib.AbstractAsyncContextManager"}
)
CALLABLE: Final = frozenset({"typing.Callable", "collections.abc.Callable"})
WRAPPED: Final = frozenset(
    {"contextlib._GeneratorContextManager", "contextlib._AsyncGeneratorContextManager"}
)


class Providers:
    """Find out what factories give, and whether a built-in type may be provided."""

    def __init__(self, view: ModuleView, values: Values) -> None:
        self._view = view
        self._values = values
        self._known: list[ProperType | None] | None = None

    def made_by(self, value: Value | None) -> ProperType | None:
        """Return the type of what a factory gives; None if that is not certain."""
        if isinstance(value, TypeInfo):
            return get_proper_type(fill_typevars_with_any(value))
        if isinstance(value, Partial) and isinstance(value.inner, TypeInfo):
            return self.made_by(value.inner)
        called = callable_of(self._view, value)
        return None if called is None else made_by_call(called)

    def made_by_lambda(self, function: LambdaExpr) -> ProperType | None:
        """Return the type of what a lambda gives, which mypy has found out."""
        typ = self._view.checker.lookup_type_or_none(function)
        found = None if typ is None else get_proper_type(typ)
        return known(found.ret_type) if isinstance(found, CallableType) else None

    def type_of(self, expression: Expression) -> ProperType | None:
        """Return the type that an expression such as that of `provides=` stands for."""
        if isinstance(expression, IndexExpr) and isinstance(expression.analyzed, TypeApplication):
            base = expression.analyzed.expr
            if isinstance(base, RefExpr) and isinstance(base.node, TypeInfo):
                return Instance(base.node, list(expression.analyzed.types))
        if isinstance(expression, RefExpr):
            if isinstance(expression.node, TypeInfo):
                return get_proper_type(fill_typevars_with_any(expression.node))
            if isinstance(expression.node, TypeAlias):
                return get_proper_type(expression.node.target)
        return None

    def may_provide(self, typ: Type) -> bool:
        """Say whether something may provide a built-in type, as far as this module shows.

        Whoever sees only a module does not see all factories. What is seen must be all of it: the
        factories of all registries that are made here, no registry of another module, none that is
        given away, and no other container.
        """
        if self._known is None:
            # One that is not known stands for anything.
            self._known = [*self._factories(), *([None] if self._has_strangers() else [])]
        found = get_proper_type(typ)
        wanted = found.items if isinstance(found, UnionType) else [found]
        heads = {head_of(get_proper_type(each)) for each in wanted}
        for each in self._known:
            if each is None:
                return True
            # A list of one thing is no list of another.
            if head_of(each) in heads and (not args_of(each) or args_of(each) == args_of(found)):
                return True
        return False

    def is_made_here(self, registry: Expression) -> bool:
        """Say whether a registry is made in this module, under a name of its own."""
        if not isinstance(registry, NameExpr) or not isinstance(registry.node, Var):
            return False
        made = self._view.assignment_of(registry.node)
        return made is not None and isinstance(made.rvalue, CallExpr)

    def _factories(self) -> list[ProperType | None]:
        found: list[ProperType | None] = []
        for each in self._view.calls.factories:
            given: Decorator | ClassDef | Expression | None = self._view.decorated.get(each)
            provides: Expression | None = None
            if isinstance(each, CallExpr):
                provides = argument(each, "provides")
                if given is None and each.args:
                    given = each.args[0]
            if provides is not None:
                if not is_function_type(provides):
                    found.append(self.type_of(provides))
            elif given is not None:
                found += self._made_by_registered(given)
        return found

    def _made_by_registered(
        self, given: Decorator | ClassDef | Expression
    ) -> list[ProperType | None]:
        value: Value | None
        if isinstance(given, ClassDef):
            value = given.info
        elif isinstance(given, Decorator):
            value = given.func
        else:
            value = self._values.of(given)
        if isinstance(value, LambdaExpr):
            return []
        called = callable_of(self._view, value)
        if called is not None and called.function is not None and called.result is None:
            # It is refused when it is registered.
            return []
        return [self.made_by(value)]

    def _has_strangers(self) -> bool:
        for call in self._view.calls.terminals:
            if argument(call, "resolver") is not None:
                return True
            for kind, each in zip(call.arg_kinds, call.args, strict=True):
                if kind.is_star() or (kind.is_positional() and not self.is_made_here(each)):
                    return True
        return any(
            self._is_registry(each.expr if isinstance(each, StarExpr) else each)
            for call in self._view.calls.others
            for each in call.args
        )

    def _is_registry(self, expression: Expression) -> bool:
        """Say whether a registry of this module is handed to somebody who may add to it."""
        if not isinstance(expression, NameExpr) or not self.is_made_here(expression):
            return False
        typ = expression.node.type if isinstance(expression.node, Var) else None
        found = None if typ is None else get_proper_type(typ)
        return isinstance(found, Instance) and supertype(found, REGISTRY) is not None


def made_by_call(called: Called) -> ProperType | None:
    """Return the type of what a call, awaited or entered, gives."""
    if called.result is None:
        return None
    if called.decorated is not None:
        now = get_proper_type(called.decorated)
        if isinstance(now, Instance) and now.type.fullname in WRAPPED:
            return known(now.args[0])
        if now != get_proper_type(called.result):
            return None
    result = get_proper_type(called.result)
    if not isinstance(result, Instance):
        return known(result)
    function = called.function
    if function is not None and function.is_generator:
        return known(result.args[0]) if result.args else None
    if called.is_async:
        return known(result.args[-1]) if result.args else None
    if result.type.fullname in MANAGERS:
        return known(result.args[0])
    if result.type.has_base("typing.Awaitable"):
        return None
    return known(result)


def is_function_type(expression: Expression) -> bool:
    """Say whether an expression is ``Callable[...]``."""
    base = expression.base if isinstance(expression, IndexExpr) else None
    return isinstance(base, RefExpr) and base.fullname in CALLABLE


def known(typ: Type) -> ProperType | None:
    """Return a type, unless it says nothing."""
    found = get_proper_type(typ)
    return None if isinstance(found, AnyType) else found


def is_built_in(typ: Type) -> bool:
    """Say whether a type is one that is built into Python, which nothing builds unasked."""
    found = get_proper_type(typ)
    if isinstance(found, UnionType):
        items = [get_proper_type(each) for each in found.items]
        rest = [each for each in items if not isinstance(each, NoneType)]
        return bool(rest) and all(is_built_in(each) for each in rest)
    return head_of(found).startswith("builtins.")


def head_of(typ: ProperType) -> str:
    """Return the full name of a type's class."""
    if isinstance(typ, TupleType):
        typ = typ.partial_fallback
    if isinstance(typ, Instance):
        return "" if typ.type.is_newtype else typ.type.fullname
    return ""


def args_of(typ: ProperType) -> list[Type]:
    """Return the arguments of a generic type."""
    if isinstance(typ, TupleType):
        return list(typ.items)
    args = list(typ.args) if isinstance(typ, Instance) else []
    return [] if any(isinstance(get_proper_type(each), AnyType) for each in args) else args


def argument(call: CallExpr, name: str) -> Expression | None:
    """Return a named argument of a call."""
    for given, expression in zip(call.arg_names, call.args, strict=True):
        if given == name:
            return expression
    return None
