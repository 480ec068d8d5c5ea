"""`bus-frozen`: what is registered after a terminal was opened, in the same function."""

from __future__ import annotations

from dataclasses import dataclass, field

from mypy.nodes import (
    AssignmentStmt,
    AwaitExpr,
    Block,
    CallExpr,
    ClassDef,
    Context,
    Decorator,
    Expression,
    ExpressionStmt,
    ForStmt,
    FuncDef,
    IfStmt,
    MatchStmt,
    MemberExpr,
    NameExpr,
    Node,
    RefExpr,
    Statement,
    TryStmt,
    Var,
    WhileStmt,
    WithStmt,
)
from mypy.traverser import TraverserVisitor

from runtime.mypy_plugin.modules import REGISTERING, TERMINAL, ModuleView

__all__ = ("frozen_sites",)


@dataclass
class State:
    """What is known at a statement."""

    given: dict[Var, tuple[Var, ...]] = field(default_factory=dict[Var, tuple[Var, ...]])
    """The registries of each terminal that has a name."""
    open: set[Var] = field(default_factory=set[Var])
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
    uses = Uses()
    function.body.accept(uses)
    return {
        site: registry.name
        for site, (registry, since) in finder.found.items()
        if not any(line >= since for line in uses.lines.get(registry, ()))
    }


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
            return state.given.get(expression.node, ())
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
        if isinstance(member, MemberExpr) and member.name in REGISTERING:
            registry = member.expr
            if isinstance(registry, NameExpr) and isinstance(registry.node, Var):
                if registry.node in state.open:
                    self.found[site] = registry.node, since or member.line + 1


def blocks_of(statement: Statement) -> list[tuple[Block | None, bool]]:
    """Return the blocks of a statement, and whether they may run more than once."""
    if isinstance(statement, IfStmt):
        return [(each, False) for each in (*statement.body, statement.else_body)]
    if isinstance(statement, (ForStmt, WhileStmt)):
        return [(statement.body, True), (statement.else_body, False)]
    if isinstance(statement, TryStmt):
        blocks = (statement.body, *statement.handlers, statement.else_body, statement.finally_body)
        return [(each, False) for each in blocks]
    if isinstance(statement, MatchStmt):
        return [(each, False) for each in statement.bodies]
    return []


class Uses(TraverserVisitor):
    """Where names are used for anything but to register something."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[Var, list[int]] = {}

    def visit_member_expr(self, o: MemberExpr, /) -> None:
        """Leave out the registry that something is registered on."""
        if o.name not in REGISTERING or not isinstance(o.expr, NameExpr):
            super().visit_member_expr(o)

    def visit_name_expr(self, o: NameExpr, /) -> None:
        """Note a use."""
        if isinstance(o.node, Var):
            self.lines.setdefault(o.node, []).append(o.line)


