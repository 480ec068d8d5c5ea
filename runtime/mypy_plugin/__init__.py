"""A plugin for mypy that finds mistakes of wiring: `plugins = ["runtime.mypy_plugin"]`.

It sees one module at a time, and reports only what is certain there. What needs the whole program
is found by `runtime check`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from mypy.checker import TypeChecker
from mypy.nodes import CallExpr, ClassDef, Decorator, Expression, MemberExpr, MypyFile
from mypy.options import Options
from mypy.plugin import FunctionContext, MethodContext, Plugin
from mypy.types import CallableType, Type, get_proper_type

from runtime.mypy_plugin.bases import is_registry
from runtime.mypy_plugin.modules import REGISTERING, ModuleView
from runtime.mypy_plugin.publishing import check_publish, is_of_anything
from runtime.mypy_plugin.registrations import Registrations

__all__ = ("RuntimePlugin", "plugin")

# mypy keeps what it has found for as long as this is the same.
__version__: Final = hashlib.sha256(
    b"".join(each.read_bytes() for each in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()

METHODS: Final = tuple(f".{name}" for name in REGISTERING)
APPLIED: Final = " of MessageRegistry"
"""How mypy names a method whose object it does not tell, as in a class decorator."""
APPLICATIONS: Final = frozenset(f"{name}{APPLIED}" for name in REGISTERING)
VERBS: Final = frozenset(
    f"runtime._bus.EventBus.{verb}" for verb in ("publish", "emit", "offer", "sink")
)
MODULES_KEPT: Final = 16
"""In a cycle of imports, mypy goes back and forth between modules."""


class RuntimePlugin(Plugin):
    """Check registrations and publishes as mypy comes to them."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._seen: dict[TypeChecker, Registrations] = {}

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """Look at the methods of registries, and at the verbs of a bus."""
        # mypy names the class of the object, which may be derived from the registry's.
        if fullname.endswith(METHODS):
            return self._on_register
        return self._on_verb if fullname in VERBS else None

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """Look at what decorates a class, and at what the methods of registries return."""
        return self._on_applied if fullname in APPLICATIONS else None

    def get_additional_indirect_deps(self, file: MypyFile) -> set[str]:
        """Return the modules whose types the findings of a module depend on."""
        for each in self._seen.values():
            if each.view.tree is file:
                return each.view.consulted
        return set()

    def _of(self, context: FunctionContext | MethodContext) -> Registrations:
        """Return what checks the module at hand."""
        checker = cast("TypeChecker", context.api)
        known = self._seen.get(checker)
        if known is None:
            if len(self._seen) >= MODULES_KEPT:
                del self._seen[next(iter(self._seen))]
            known = self._seen[checker] = Registrations(ModuleView(checker))
        return known

    def _on_register(self, context: MethodContext) -> Type:
        node = context.context
        if not is_registry(context.type):
            return context.default_return_type
        if isinstance(node, Decorator):
            decorator = decorator_of(context, node)
            if decorator is not None:
                typ = context.arg_types[0][0]
                self._of(context).decorated(decorator, node, context.type, typ)
        elif isinstance(node, CallExpr) and isinstance(node.callee, MemberExpr):
            if any(kind.is_positional() for kind in node.arg_kinds):
                self._of(context).called(node, context.type)
            else:
                # So that mypy asks again when it is applied.
                found = get_proper_type(context.default_return_type)
                if isinstance(found, CallableType):
                    named = f"{node.callee.name}{APPLIED}"
                    return found.copy_modified(name=named)  # pyright: ignore[reportUnknownMemberType]
        return context.default_return_type

    def _on_applied(self, context: FunctionContext) -> Type:
        node = context.context
        applied: Expression | None = None
        if isinstance(node, (Decorator, ClassDef)):
            applied = decorator_of(context, node)
        elif isinstance(node, CallExpr):
            applied = node.callee
        member = applied.callee if isinstance(applied, CallExpr) else applied
        checker = cast("TypeChecker", context.api)
        if isinstance(member, MemberExpr) and applied is not None:
            registry = checker.lookup_type_or_none(member.expr)
            if registry is None or not is_registry(registry):
                return context.default_return_type
            if isinstance(node, CallExpr):
                self._of(context).called(node, registry)
            elif isinstance(node, (Decorator, ClassDef)):
                typ = context.arg_types[0][0]
                self._of(context).decorated(applied, node, registry, typ)
        return context.default_return_type

    def _on_verb(self, context: MethodContext) -> Type:
        if is_of_anything(context.type) and isinstance(context.context, CallExpr):
            check_publish(self._of(context).view, context.context)
        return context.default_return_type


def decorator_of(
    context: FunctionContext | MethodContext, node: Decorator | ClassDef
) -> Expression | None:
    """Return which of its decorators something is given to: it has the place of that."""
    given = context.args[0][0] if context.args and context.args[0] else None
    for each in node.decorators:
        if given is not None and (each.line, each.column) == (given.line, given.column):
            return each
    return None


def plugin(version: str) -> type[Plugin]:
    """Return the plugin: what mypy asks for, whatever its version."""
    del version
    return RuntimePlugin
