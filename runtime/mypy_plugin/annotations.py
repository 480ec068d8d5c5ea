"""What an annotation says that its type does not: `Annotated`, and the `use` in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from mypy.nodes import Context, Expression, FuncDef, IndexExpr, MemberExpr, NameExpr, TypeAlias
from mypy.types import Type, UnboundType, UnionType

from runtime.mypy_plugin.modules import ModuleView
from runtime.mypy_plugin.values import Values

__all__ = ("PLAIN", "Annotation", "Annotations", "Use")

USE: Final = "runtime.lifetimes.use"
LIFETIMES: Final = frozenset({"singleton", "actor", "scoped", "transient"})


class Use(msgspec.Struct, frozen=True):
    """A `use(...)` in an annotation."""

    factory: ast.expr
    lifetime: str | None
    """None if it is not written out."""

    @property
    def text(self) -> str:
        """How the factory is written."""
        return ast.unparse(self.factory)


class Annotation(msgspec.Struct, frozen=True):
    """What is known of an annotation besides its type."""

    is_certain: bool = True
    """Whether nothing that may provide the parameter is hidden in it."""
    is_annotated: bool = False
    """Whether it is an `Annotated`."""
    use: Use | None = None


PLAIN: Final = Annotation()
HIDDEN: Final = Annotation(is_certain=False)


class Annotations:
    """Read the annotations of functions that are written in a module."""

    def __init__(self, view: ModuleView, values: Values) -> None:
        self._view = view
        self._values = values
        self._lines: list[bytes] | None = None

    def of(self, written: Type | None, function: FuncDef) -> Annotation:
        """Return what an annotation of a function's signature says."""
        if isinstance(written, UnionType):
            return self._of_all(written.items, function)
        if not isinstance(written, UnboundType):
            return PLAIN if written is None else HIDDEN
        if is_annotated(written.name):
            return self._parsed(written.original_str_expr or self._source(written), function)
        symbol = self._view.tree.names.get(written.name.partition(".")[0])
        if symbol is not None and isinstance(symbol.node, TypeAlias):
            return self._of_alias(written.name, symbol.node, function)
        if "." in written.name:
            # It may be an alias of another module.
            return Annotation(is_certain=self._is_class(written.name))
        return self._of_all(written.args, function) if written.args else PLAIN

    def _of_all(self, written: tuple[Type, ...] | list[Type], function: FuncDef) -> Annotation:
        # What is inside something else provides nothing, but may not be what it looks like.
        inner = [self.of(each, function) for each in written if isinstance(each, UnboundType)]
        plain = all(each.is_certain and not each.is_annotated for each in inner)
        return PLAIN if plain else HIDDEN

    def _of_alias(self, name: str, alias: TypeAlias, function: FuncDef) -> Annotation:
        value = self._view.values.get(name)
        if value is None or alias.fullname != f"{self._view.tree.fullname}.{name}":
            return HIDDEN
        return self._of_value(value, function)

    def _of_value(self, value: Expression, function: FuncDef) -> Annotation:
        if isinstance(value, NameExpr):
            return HIDDEN if isinstance(value.node, TypeAlias) else PLAIN
        if isinstance(value, IndexExpr) and isinstance(value.base, (NameExpr, MemberExpr)):
            if is_annotated(value.base.name):
                return self._parsed(self._source(value), function)
            return HIDDEN
        return HIDDEN

    def _is_class(self, name: str) -> bool:
        return name.startswith(("builtins.", "collections."))

    def _source(self, node: Context) -> str:
        """Return how something is written."""
        if self._lines is None:
            try:
                self._lines = Path(self._view.tree.path).read_bytes().splitlines()
            except OSError:
                # Given on the command line.
                self._lines = []
        last = node.end_line or node.line
        lines = self._lines[node.line - 1 : last]
        if not lines or node.end_column is None:
            return ""
        lines[-1] = lines[-1][: node.end_column]
        lines[0] = lines[0][node.column :]
        return b"\n".join(lines).decode(errors="replace")

    def _parsed(self, text: str, function: FuncDef) -> Annotation:
        try:
            expression = ast.parse(f"({text})", mode="eval").body
        except (SyntaxError, ValueError):
            return HIDDEN
        if not isinstance(expression, ast.Subscript) or not isinstance(expression.slice, ast.Tuple):
            return HIDDEN
        extras = expression.slice.elts[1:]
        certain = all(isinstance(each, ast.Constant) for each in extras)
        use = next(self._uses(extras, function), None)
        return Annotation(is_certain=certain, is_annotated=True, use=use)

    def _uses(self, extras: list[ast.expr], function: FuncDef) -> Iterator[Use]:
        for each in extras:
            if not isinstance(each, ast.Call) or not each.args:
                continue
            called = self._values.read(each.func, function)
            if isinstance(called, FuncDef) and called.fullname == USE:
                yield Use(each.args[0], lifetime_of(each.keywords))


def is_annotated(name: str) -> bool:
    """Say whether a name is that of `Annotated`."""
    return name == "Annotated" or name.endswith(".Annotated")


def lifetime_of(keywords: list[ast.keyword]) -> str | None:
    """Return the lifetime that `use` was told, if it is written out."""
    if not keywords:
        return "scoped"
    value = keywords[0].value
    if len(keywords) == 1 and keywords[0].arg == "lifetime" and isinstance(value, ast.Constant):
        return value.value if value.value in LIFETIMES else None
    return None
