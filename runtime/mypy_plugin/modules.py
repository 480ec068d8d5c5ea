"""What a module says without types: its functions, what its names are bound to, where it calls."""

from __future__ import annotations

from typing import Final

import msgspec
from mypy.checker import TypeChecker
from mypy.nodes import (
    GDEF,
    LDEF,
    AssignmentExpr,
    AssignmentStmt,
    AwaitExpr,
    Block,
    CallExpr,
    ClassDef,
    Decorator,
    Expression,
    ExpressionStmt,
    ForStmt,
    FuncDef,
    ListExpr,
    MemberExpr,
    MypyFile,
    NameExpr,
    Node,
    OperatorAssignmentStmt,
    OverloadedFuncDef,
    RefExpr,
    ReturnStmt,
    StarExpr,
    Statement,
    SymbolNode,
    TempNode,
    TryStmt,
    TupleExpr,
    TypeInfo,
    Var,
    WithStmt,
)
from mypy.server.trigger import make_trigger, make_wildcard_trigger

from runtime.mypy_plugin.walking import blocks_of, nodes_in

__all__ = ("REGISTERING", "TERMINAL", "Calls", "ModuleView", "Place")

REGISTERING: Final = frozenset({"register", "factory", "guard"})
TERMINAL: Final = "runtime.terminal.BusTerminal"


class Place(msgspec.Struct, frozen=True):
    """Where a statement stands."""

    function: FuncDef | None
    is_conditional: bool
    """Whether it runs only under a condition, or more than once."""


class ModuleView:
    """One walk over the statements of a module that is being checked.

    It belongs to a checker, which mypy makes anew whenever it looks at a module again, so it never
    outlives what it has seen.
    """

    def __init__(self, checker: TypeChecker) -> None:
        self.checker = checker
        self.tree: MypyFile = checker.tree
        self.functions: dict[FuncDef, FuncDef | None] = {}
        """The functions that are written here, each with the one around it."""
        self.classes: set[TypeInfo] = set()
        self.places: dict[Node, Place] = {}
        self.values: dict[str, Expression] = {}
        """What the names of the module are assigned, as it is written."""
        self.decorated: dict[Expression, Decorator | ClassDef] = {}
        """What each decorator decorates."""
        self.opening: set[FuncDef] = set()
        """The functions in which a terminal may be opened."""
        self.consulted: set[str] = set()
        """The modules whose types findings depend on."""
        self._bindings: dict[Var, list[AssignmentStmt | None]] = {}
        self._calls: Calls | None = None
        self._locals: dict[FuncDef, dict[str, SymbolNode | None]] = {}
        options = checker.options
        self._is_watched = options.fine_grained_incremental or options.cache_fine_grained
        self._dependencies: set[FuncDef | TypeInfo] = set()
        self._visit(self.tree.defs, None, is_conditional=False)

    @property
    def calls(self) -> Calls:
        """The calls of the module; few findings need a look at every expression."""
        if self._calls is None:
            self._calls = Calls(self)
            for var in self._calls.bound:
                self._bindings.setdefault(var, []).append(None)
        return self._calls

    def is_here(self, node: FuncDef | TypeInfo) -> bool:
        """Say whether a function or a class is written in this module."""
        return node in self.functions if isinstance(node, FuncDef) else node in self.classes

    def assignment_of(self, var: Var) -> AssignmentStmt | None:
        """Return the statement that gives a name its value, if it is the only one of its kind."""
        found = self._bindings.get(var, ())
        return found[0] if len(found) == 1 else None

    def is_bound_once(self, var: Var) -> bool:
        """Say whether a name stands for one object, as far as this module shows."""
        return bool(self.calls) and len(self._bindings.get(var, ())) <= 1

    def locals_of(self, function: FuncDef) -> dict[str, SymbolNode | None]:
        """Return what the names of a function stand for; None where that is not certain."""
        if function not in self._locals:
            names: dict[str, SymbolNode | None] = {}
            self._locals[function] = names
            for each in nodes_in([function.body]):
                node: SymbolNode | None = None
                if isinstance(each, NameExpr) and each.kind == LDEF:
                    node = each.node
                elif isinstance(each, FuncDef) and not each.info:
                    node = each
                elif isinstance(each, ClassDef):
                    node = each.info
                if node is not None:
                    names[node.name] = node if names.get(node.name, node) is node else None
            names.update((each.variable.name, each.variable) for each in function.arguments)
        return self._locals[function]

    def depend_on(self, node: FuncDef | TypeInfo) -> None:
        """Have what is checked now checked again when a function or a class changes."""
        if node in self._dependencies or self.is_here(node):
            return
        owner = node if isinstance(node, TypeInfo) else node.info
        self.consulted.add(owner.module_name if owner else node.fullname.rpartition(".")[0])
        if not self._is_watched:
            self._dependencies.add(node)
            return
        # For the daemon, which looks again at a part of a module only.
        target = self.checker.errors.current_target()
        if target is not None:
            triggers = [make_trigger(node.fullname)]
            if isinstance(node, TypeInfo):
                triggers.append(make_wildcard_trigger(node.fullname))
            for each in triggers:
                self.tree.plugin_deps.setdefault(each, set()).add(target)

    def _visit(
        self, statements: list[Statement], function: FuncDef | None, *, is_conditional: bool
    ) -> None:
        place = Place(function, is_conditional)
        for each in statements:
            if isinstance(each, Decorator):
                self._visit_decorators(each, each.decorators, place)
                self._visit_function(each.func, function)
            elif isinstance(each, FuncDef):
                self._visit_function(each, function)
            elif isinstance(each, OverloadedFuncDef):
                self._visit([*each.items], function, is_conditional=True)
                if each.impl is not None:
                    self._visit([each.impl], function, is_conditional=True)
            elif isinstance(each, ClassDef):
                self.classes.add(each.info)
                self._visit_decorators(each, each.decorators, place)
                self._visit(each.defs.body, function, is_conditional=is_conditional)
            elif isinstance(each, ExpressionStmt):
                self._visit_expression(each.expr, place)
            elif isinstance(each, AssignmentStmt):
                self._visit_assignment(each, place)
            elif isinstance(each, ReturnStmt):
                if each.expr is not None:
                    self._visit_expression(each.expr, place)
            elif isinstance(each, Block):
                self._visit(each.body, function, is_conditional=is_conditional)
            elif isinstance(each, WithStmt):
                self._visit_with(each, place)
            else:
                self._visit_branches(each, function)

    def _visit_function(self, function: FuncDef, around: FuncDef | None) -> None:
        self.functions[function] = around
        self._visit(function.body.body, function, is_conditional=False)

    def _visit_decorators(
        self, node: Decorator | ClassDef, decorators: list[Expression], place: Place
    ) -> None:
        self.places[node] = place
        for each in decorators:
            self.decorated[each] = node

    def _visit_expression(self, expression: Expression, place: Place) -> None:
        if isinstance(expression, CallExpr):
            self.places[expression] = place
        elif isinstance(expression, AwaitExpr) and isinstance(expression.expr, CallExpr):
            callee = expression.expr.callee
            if isinstance(callee, MemberExpr) and callee.name == "open" and place.function:
                self.opening.add(place.function)

    def _visit_assignment(self, statement: AssignmentStmt, place: Place) -> None:
        self._visit_expression(statement.rvalue, place)
        # An annotation alone binds nothing.
        if isinstance(statement.rvalue, TempNode) and statement.rvalue.no_rhs:
            return
        for each in statement.lvalues:
            self._bind(each, statement)
            if isinstance(each, NameExpr) and each.kind == GDEF:
                self.values[each.name] = statement.rvalue

    def _visit_with(self, statement: WithStmt, place: Place) -> None:
        if statement.is_async and place.function is not None:
            self.opening.add(place.function)
        for each in statement.target:
            self._bind(each, None)
        body = statement.body.body
        self._visit(body, place.function, is_conditional=place.is_conditional)

    def _visit_branches(self, statement: Statement, function: FuncDef | None) -> None:
        if isinstance(statement, ForStmt):
            self._bind(statement.index, None)
        elif isinstance(statement, TryStmt):
            for each in statement.vars:
                self._bind(each, None)
        elif isinstance(statement, OperatorAssignmentStmt):
            self._bind(statement.lvalue, None)
        for block, _ in blocks_of(statement):
            if block is not None and not block.is_unreachable:
                self._visit(block.body, function, is_conditional=True)

    def _bind(self, target: Expression | None, statement: AssignmentStmt | None) -> None:
        if isinstance(target, NameExpr):
            if isinstance(target.node, Var):
                self._bindings.setdefault(target.node, []).append(statement)
        elif isinstance(target, (TupleExpr, ListExpr)):
            for each in target.items:
                self._bind(each, None)
        elif isinstance(target, StarExpr):
            self._bind(target.expr, None)


class Calls:
    """The calls of a module that tell what its registries may hold."""

    def __init__(self, view: ModuleView) -> None:
        self.terminals: list[CallExpr] = []
        """Where terminals are made, or are given more registries."""
        self.factories: list[Expression] = []
        """Where factories are registered: calls, and decorators."""
        self.others: list[CallExpr] = []
        self.bound: list[Var] = []
        """The names that are bound inside expressions."""
        for each in nodes_in(view.tree.defs):
            if isinstance(each, CallExpr):
                self._note(each)
            elif isinstance(each, AssignmentExpr) and isinstance(each.target.node, Var):
                self.bound.append(each.target.node)
        self.factories += [
            each
            for each in view.decorated
            if isinstance(each, MemberExpr) and each.name == "factory"
        ]

    def _note(self, call: CallExpr) -> None:
        callee = call.callee
        name = callee.name if isinstance(callee, MemberExpr) else ""
        if name == "include" or (isinstance(callee, RefExpr) and callee.fullname == TERMINAL):
            self.terminals.append(call)
        elif name == "factory":
            self.factories.append(call)
        else:
            self.others.append(call)
