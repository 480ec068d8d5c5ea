"""`bus-frozen`: what is registered after a terminal was opened, in the same function."""

from __future__ import annotations

import sys

import msgspec
from mypy.nodes import (
    GDEF,
    AssignmentStmt,
    AwaitExpr,
    Block,
    CallExpr,
    ClassDef,
    Decorator,
    Expression,
    ExpressionStmt,
    FuncDef,
    LambdaExpr,
    MemberExpr,
    NameExpr,
    Node,
    RefExpr,
    Statement,
    Var,
    WithStmt,
)
from mypy.traverser import NameAndMemberCollector

from runtime.mypy_plugin.modules import REGISTERING, TERMINAL, ModuleView
from runtime.mypy_plugin.walking import blocks_of, nodes_in

__all__ = ("frozen_sites",)


class State(msgspec.Struct):
    """What is known at a statement."""

    given: dict[Var, tuple[Var, ...]] = msgspec.field(default_factory=dict[Var, tuple[Var, ...]])
    """The registries of each terminal that has a name."""
    open: set[Var] = msgspec.field(default_factory=set[Var])
    """The registries whose terminal is open."""

    def copy(self) -> State:
        """Return what is known at the begin of a branch."""
        return State(dict(self.given), set(self.open))


def frozen_sites(view: ModuleView, function: FuncDef) -> dict[Node, str]:
    """Return what registers something on a registry whose terminal is open, and its name.

    A registry that is used for anything else later, such as an `include`, is left alone.
    """
    finder = Finder(view)
    finder.block(function.body, State(), None)
    if not finder.found:
        return {}
    lines = uses_in(function)
    return {
        site: registry.name
        for site, (registry, since) in finder.found.items()
        if not any(line >= since for line in lines.get(registry, ()))
        and not is_included(view, registry)
    }


def is_included(view: ModuleView, registry: Var) -> bool:
    """Say whether a registry is included somewhere in the module."""
    return any(
        isinstance(each, NameExpr) and each.node is registry
        for call in view.calls.terminals
        if isinstance(call.callee, MemberExpr)
        for each in call.args
    )


class Finder:
    """Follow the statements of a function, from the top down."""

    def __init__(self, view: ModuleView) -> None:
        self._view = view
        self.found: dict[Node, tuple[Var, int]] = {}
        """What registers something, on which registry, and from which line that may happen."""

    def block(self, block: Block | None, state: State, since: int | None) -> None:
        """Follow the statements of a block; `since` is where the loop around it begins."""
        for each in () if block is None or block.is_unreachable else block.body:
            self._statement(each, state, since)

    def _statement(self, statement: Statement, state: State, since: int | None) -> None:
        if isinstance(statement, AssignmentStmt):
            target = statement.lvalues[0]
            if len(statement.lvalues) == 1:
                self._made(target, statement.rvalue, state)
        elif isinstance(statement, ExpressionStmt):
            self._expression(statement.expr, state, since)
        elif isinstance(statement, (Decorator, ClassDef)):
            for each in statement.decorators:
                self._registers(each, each, state, since)
        elif isinstance(statement, WithStmt):
            self._with(statement, state, since)
        else:
            for block, is_loop in blocks_of(statement):
                begin = statement.line if is_loop and since is None else since
                self.block(block, state.copy(), begin)

    def _with(self, statement: WithStmt, state: State, since: int | None) -> None:
        inner = state.copy()
        for expression, target in zip(statement.expr, statement.target, strict=True):
            if statement.is_async:
                inner.open |= {*self._registries(expression, state)}
            if target is not None:
                self._made(target, expression, inner)
        self.block(statement.body, inner, since)

    def _made(self, target: Expression, value: Expression, state: State) -> None:
        """Note that a name stands for a terminal."""
        if isinstance(target, NameExpr) and isinstance(target.node, Var):
            found = self._registries(value, state)
            if found and self._view.is_bound_once(target.node):
                state.given[target.node] = found

    def _registries(self, expression: Expression, state: State) -> tuple[Var, ...]:
        """Return the registries of a terminal."""
        if isinstance(expression, NameExpr) and isinstance(expression.node, Var):
            if expression.node in state.given:
                return state.given[expression.node]
            expression = self._terminal_of_module(expression, expression.node)
        if not isinstance(expression, CallExpr) or not isinstance(expression.callee, RefExpr):
            return ()
        if expression.callee.fullname != TERMINAL:
            return ()
        return tuple(
            each.node
            for each in expression.args
            if isinstance(each, NameExpr)
            and isinstance(each.node, Var)
            and self._view.is_bound_once(each.node)
        )

    def _terminal_of_module(self, name: NameExpr, var: Var) -> Expression:
        """Return what a name of the module stands for, if it is bound once; else the name."""
        made = self._view.assignment_of(var) if name.kind == GDEF else None
        if made is None or len(made.lvalues) > 1 or not self._view.is_bound_once(var):
            return name
        return made.rvalue

    def _expression(self, expression: Expression, state: State, since: int | None) -> None:
        if isinstance(expression, AwaitExpr):
            call = expression.expr
            if isinstance(call, CallExpr) and isinstance(call.callee, MemberExpr):
                found = self._registries(call.callee.expr, state)
                if call.callee.name == "open":
                    state.open |= {*found}
                elif call.callee.name == "close":
                    state.open -= {*found}
        elif isinstance(expression, CallExpr):
            callee = expression.callee
            site = callee if isinstance(callee, CallExpr) else expression
            self._registers(site, expression, state, since)

    def _registers(
        self, expression: Expression, site: Node, state: State, since: int | None
    ) -> None:
        member = expression.callee if isinstance(expression, CallExpr) else expression
        if not isinstance(member, MemberExpr) or member.name not in REGISTERING:
            return
        registry = member.expr.node if isinstance(member.expr, NameExpr) else None
        if isinstance(registry, Var) and registry in state.open:
            self.found[site] = registry, since or member.line + 1


def uses_in(function: FuncDef) -> dict[Var, list[int]]:
    """Return the lines where names are used for anything but to register something."""
    collector = NameAndMemberCollector()
    function.body.accept(collector)
    registering = {each.expr for each in collector.member_exprs if each.name in REGISTERING}
    # Nobody knows when a function inside it runs.
    inner = NameAndMemberCollector()
    for node in nodes_in([function.body]):
        if isinstance(node, (FuncDef, LambdaExpr)):
            node.accept(inner)
    lines: dict[Var, list[int]] = {}
    for each in inner.name_exprs:
        if isinstance(each.node, Var):
            lines.setdefault(each.node, []).append(sys.maxsize)
    for each in collector.name_exprs:
        if isinstance(each.node, Var) and each not in registering:
            lines.setdefault(each.node, []).append(each.line)
    return lines
