"""Callables as the runtime reads them: parameters, result, and where they are written."""

from __future__ import annotations

import msgspec
from mypy.nodes import (
    ARG_NAMED,
    ARG_NAMED_OPT,
    ArgKind,
    Argument,
    Context,
    Decorator,
    FuncDef,
    LambdaExpr,
    OverloadedFuncDef,
    TypeInfo,
)
from mypy.types import (
    AnyType,
    CallableType,
    Type,
    TypeOfAny,
    get_proper_type,
)

from runtime.mypy_plugin.modules import ModuleView
from runtime.mypy_plugin.values import Method, Object, Partial, Value

__all__ = ("Called", "Parameter", "callable_of", "method_of", "of_decorated")


class Parameter(msgspec.Struct, frozen=True, gc=False):
    """One parameter."""

    name: str
    kind: ArgKind
    type: Type | None
    """None if it is not annotated."""
    written: Argument | None = None
    """None if it is written in another module."""

    @property
    def has_default(self) -> bool:
        """Whether it may be left out."""
        return self.kind.is_optional()


class Called(msgspec.Struct, frozen=True, gc=False):
    """A function that will be called, as it is seen by who registers it."""

    name: str
    identity: object
    function: FuncDef | None
    parameters: tuple[Parameter, ...]
    result: Type | None
    """What it is annotated to return; None if it is not."""
    written: FuncDef | None = None
    """The function itself, if it is written in this module."""
    flaw: str = ""
    """Why nothing of this kind can be a handler."""
    decorated: Type | None = None
    """Its type, if decorators may have changed what it returns."""

    @property
    def is_async(self) -> bool:
        """Whether calling it gives a coroutine."""
        return self.function is not None and self.function.is_coroutine

    def at(self, parameter: Parameter | None, site: Context) -> Context:
        """Return where a parameter, or else the function, is written: here, or `site`."""
        if parameter is not None and parameter.written is not None:
            return parameter.written
        return self.written or site

    def at_result(self, site: Context) -> Context:
        """Return where the annotation of the result is written: here, or `site`."""
        if self.written is None:
            return site
        typ = self.written.unanalyzed_type
        result = typ.ret_type if isinstance(typ, CallableType) else None
        return result if result is not None and result.line > 0 else self.written


def callable_of(view: ModuleView, value: Value | None) -> Called | None:
    """Return a value as something to call; None if that is not certain, or if it is a class."""
    if isinstance(value, LambdaExpr):
        return Called("the lambda", value, None, (), None, flaw="a lambda has no annotations")
    if isinstance(value, FuncDef):
        return of_function(view, value, value, skip=0)
    if isinstance(value, Decorator):
        return of_decorated(view, value, value, value.var.type, skip=0)
    if isinstance(value, OverloadedFuncDef):
        return built_in(value, value.fullname)
    if isinstance(value, Method):
        skip = 1 if value.is_bound else 0
        if isinstance(value.function, FuncDef):
            found = of_function(view, value.function, value, skip=skip)
        elif isinstance(value.function, Decorator):
            found = of_decorated(view, value.function, value, value.function.var.type, skip=skip)
        else:
            return None
        if value.is_bound or found is None or not misses_self(found):
            return found
        flaw = "it is a method without its object"
        return Called(found.name, value, found.function, (), None, found.written, flaw)
    if isinstance(value, Object):
        method = value.info.get_method("__call__")
        return method_of(view, method, value.identity)
    if isinstance(value, Partial):
        return of_partial(view, value)
    return None


def misses_self(called: Called) -> bool:
    """Say whether a function of a class has a first parameter that nobody gives."""
    first = called.parameters[0] if called.parameters else None
    written = None if first is None else first.written
    return (
        first is not None
        and first.name == "self"
        and (written is None or written.type_annotation is None)
    )


def method_of(view: ModuleView, method: object, identity: object) -> Called | None:
    """Return a method that is called on its object or class."""
    if isinstance(method, Decorator):
        skip = 0 if method.func.is_static else 1
        return of_decorated(view, method, identity, method.var.type, skip=skip)
    if isinstance(method, FuncDef):
        return of_function(view, method, identity, skip=0 if method.is_static else 1)
    return None


def of_function(
    view: ModuleView, function: FuncDef, identity: object, *, skip: int
) -> Called | None:
    """Return a function as it is written, without its first parameters."""
    if function.fullname.startswith("builtins."):
        return built_in(identity, function.fullname)
    here = view.is_here(function)
    view.depend_on(function)
    typ = get_proper_type(function.type)
    typed = typ if isinstance(typ, CallableType) else None
    types = None if typed is None else typed.arg_types
    parameters = tuple(
        [
            Parameter(
                function.arg_names[number] or "",
                function.arg_kinds[number],
                None if types is None or is_missing(types[number]) else types[number],
                function.arguments[number] if here else None,
            )
            for number in range(skip, len(function.arg_kinds))
        ]
    )
    result = None if typed is None or is_missing(typed.ret_type) else typed.ret_type
    name = f"{function.info.name}.{function.name}" if function.info else function.name
    return Called(name, identity, function, parameters, result, function if here else None)


def is_missing(typ: Type) -> bool:
    """Say whether a type stands for an annotation that is not there."""
    return isinstance(typ, AnyType) and typ.type_of_any == TypeOfAny.unannotated


def of_decorated(
    view: ModuleView, decorated: Decorator, identity: object, typ: Type | None, *, skip: int
) -> Called | None:
    """Return a function that its decorators have given a type; None if they change parameters."""
    found = of_function(view, decorated.func, identity, skip=skip)
    if found is None or not decorated.decorators:
        return found
    original = get_proper_type(decorated.func.type)
    now = None if typ is None else get_proper_type(typ)
    if now is original and original is not None:
        return found
    if not isinstance(now, CallableType):
        return None
    if isinstance(original, CallableType):
        same = (original.arg_names, original.arg_kinds) == (now.arg_names, now.arg_kinds)
        if not same or original.arg_types != now.arg_types:
            return None
    return Called(
        found.name,
        identity,
        found.function,
        found.parameters,
        found.result,
        found.written,
        decorated=now.ret_type,
    )


def of_partial(view: ModuleView, partial: Partial) -> Called | None:
    """Return what is left of a callable when some of its arguments are given."""
    inner = partial.inner
    if isinstance(inner, TypeInfo):
        found = method_of(view, inner.get_method("__init__"), partial.identity)
    else:
        found = callable_of(view, inner)
    if found is None or found.flaw:
        return found
    parameters: list[Parameter] = []
    after_named = False
    for number, each in enumerate(found.parameters):
        if number < partial.positional and each.kind.is_positional():
            continue
        if each.name in partial.names:
            # What follows can only be given by its name.
            after_named = after_named or each.kind.is_positional()
            continue
        kind = each.kind
        if after_named and kind.is_positional():
            kind = ARG_NAMED_OPT if each.has_default else ARG_NAMED
        parameters.append(Parameter(each.name, kind, each.type, each.written))
    return Called(
        found.name,
        partial.identity,
        found.function,
        tuple(parameters),
        found.result,
        found.written,
        decorated=found.decorated,
    )


def built_in(identity: object, fullname: str) -> Called | None:
    """Return a function that is not written in Python."""
    if not fullname.startswith("builtins."):
        return None
    flaw = "it is built in and has no annotations"
    return Called(fullname.rpartition(".")[2], identity, None, (), None, flaw=flaw)
