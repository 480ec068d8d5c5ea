"""What an expression stands for: a function, a class, an object, a partial."""

from __future__ import annotations

import ast
from typing import TypeAlias

import msgspec
from mypy.nodes import (
    CallExpr,
    Decorator,
    Expression,
    FuncDef,
    LambdaExpr,
    MemberExpr,
    MypyFile,
    OverloadedFuncDef,
    RefExpr,
    SymbolNode,
    TypeInfo,
    Var,
)
from mypy.nodes import (
    TypeAlias as AliasNode,
)
from mypy.types import Instance, Type, get_proper_type

from runtime.mypy_plugin.modules import ModuleView

__all__ = ("Function", "Method", "Object", "Partial", "Value", "Values")

Function: TypeAlias = FuncDef | Decorator | OverloadedFuncDef


class Method(msgspec.Struct, frozen=True):
    """A method, bound to its object or class unless it is had from the class."""

    function: Function
    of: object
    """What makes the object the same as another."""
    is_bound: bool = True


class Object(msgspec.Struct, frozen=True):
    """An instance of a class."""

    info: TypeInfo
    identity: object


class Partial(msgspec.Struct, frozen=True):
    """A callable with some arguments given."""

    inner: Value
    positional: int
    names: frozenset[str]
    identity: object


Value: TypeAlias = Function | LambdaExpr | TypeInfo | Method | Object | Partial


class Values:
    """Find out what expressions of a module stand for; None where that is not certain."""

    def __init__(self, view: ModuleView) -> None:
        self._view = view

    def of(self, expression: Expression) -> Value | None:
        """Return what an expression stands for, which mypy has looked at."""
        if isinstance(expression, LambdaExpr):
            return expression
        if isinstance(expression, RefExpr) and expression.node is not None:
            node = expression.node
            if isinstance(node, Var):
                return self._object(node.type, node)
            return self._of_node(node, is_bound=False)
        if isinstance(expression, MemberExpr):
            return self._of_member(expression)
        if isinstance(expression, CallExpr):
            return self._of_call(expression)
        return None

    def _of_member(self, expression: MemberExpr) -> Value | None:
        base = expression.expr
        if isinstance(base, RefExpr) and isinstance(base.node, TypeInfo):
            return member_of(base.node, expression.name, base.node, is_class=True)
        typ = self._view.checker.lookup_type_or_none(base)
        found = self._object(typ, base.node if isinstance(base, RefExpr) else base)
        if isinstance(found, Object):
            return member_of(found.info, expression.name, found.identity, is_class=False)
        return None

    def _of_call(self, call: CallExpr) -> Value | None:
        callee = call.callee
        if isinstance(callee, RefExpr) and isinstance(callee.node, TypeInfo):
            if callee.fullname != "functools.partial":
                return self._object(Instance(callee.node, []), call)
            if not call.args or any(kind.is_star() for kind in call.arg_kinds):
                return None
            inner = self.of(call.args[0])
            positional = sum(kind.is_positional() for kind in call.arg_kinds) - 1
            names = frozenset(name for name in call.arg_names if name is not None)
            return None if inner is None else Partial(inner, positional, names, call)
        return self._object(self._view.checker.lookup_type_or_none(call), call)

    def _of_node(self, node: SymbolNode | None, *, is_bound: bool) -> Value | None:
        if isinstance(node, AliasNode):
            target = get_proper_type(node.target)
            return target.type if isinstance(target, Instance) and not target.args else None
        if isinstance(node, (FuncDef, Decorator)):
            function = node.func if isinstance(node, Decorator) else node
            if function.info and not function.is_static and not is_bound:
                return Method(node, function.info, is_bound=False)
            return node
        return node if isinstance(node, (OverloadedFuncDef, TypeInfo)) else None

    def _object(self, typ: Type | None, identity: object) -> Value | None:
        found = None if typ is None else get_proper_type(typ)
        if not isinstance(found, Instance) or found.type.is_protocol:
            return None
        # What the standard library calls in its own way, such as a cache.
        module = self._view.checker.modules.get(found.type.module_name)
        return None if module is None or module.is_stub else Object(found.type, identity)

    # The same for an expression that mypy has not looked at, such as one in an annotation.

    def read(self, expression: ast.expr, function: FuncDef) -> Value | None:
        """Return what an expression in the signature of a function stands for."""
        found = self._read(expression, function)
        return None if isinstance(found, (MypyFile, Var)) else found

    def _read(self, expression: ast.expr, function: FuncDef) -> Value | MypyFile | Var | None:
        if isinstance(expression, ast.Name):
            return self._named(expression.id, function)
        if isinstance(expression, ast.Attribute):
            base = self._read(expression.value, function)
            if isinstance(base, MypyFile):
                symbol = base.names.get(expression.attr)
                return self._value(None if symbol is None else symbol.node)
            if isinstance(base, TypeInfo):
                return member_of(base, expression.attr, base, is_class=True)
            if isinstance(base, Var):
                base = self._object(base.type, base)
            if isinstance(base, Object):
                return member_of(base.info, expression.attr, base.identity, is_class=False)
        if isinstance(expression, ast.Call):
            called = self._read(expression.func, function)
            if not isinstance(called, TypeInfo):
                return None
            if called.fullname != "functools.partial":
                return self._object(Instance(called, []), expression)
            if not expression.args or any(isinstance(a, ast.Starred) for a in expression.args):
                return None
            inner = self.read(expression.args[0], function)
            names = frozenset(each.arg for each in expression.keywords if each.arg is not None)
            if inner is None or len(names) < len(expression.keywords):
                return None
            return Partial(inner, len(expression.args) - 1, names, expression)
        return None

    def _named(self, name: str, function: FuncDef) -> Value | MypyFile | Var | None:
        if function.info and name in function.info.names:
            return None
        around = self._view.functions.get(function)
        while around is not None:
            names = self._view.locals_of(around)
            if name in names:
                return self._value(names[name])
            around = self._view.functions.get(around)
        symbol = self._view.tree.names.get(name)
        return self._value(None if symbol is None else symbol.node)

    def _value(self, node: SymbolNode | None) -> Value | MypyFile | Var | None:
        if isinstance(node, (MypyFile, Var)):
            return node
        return self._of_node(node, is_bound=True)


def member_of(info: TypeInfo, name: str, of: object, *, is_class: bool) -> Value | None:
    """Return what an attribute of a class, or of an instance of it, stands for."""
    symbol = info.get(name)
    node = None if symbol is None else symbol.node
    if not isinstance(node, (FuncDef, Decorator, OverloadedFuncDef)):
        return None
    function = node.func if isinstance(node, Decorator) else node
    if function.is_property or isinstance(function, OverloadedFuncDef):
        return None
    if function.is_static:
        return node
    return Method(node, (of, info), is_bound=function.is_class or not is_class)
