"""What a module says without types: its functions, what its names are bound to, where it calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mypy.checker import TypeChecker
from mypy.nodes import (
    AssignmentExpr,
    AssignmentStmt,
    Block,
    CallExpr,
    ClassDef,
    ConditionalExpr,
    Decorator,
    Expression,
    ForStmt,
    FuncDef,
    IfStmt,
    LambdaExpr,
    MatchStmt,
    MemberExpr,
    NameExpr,
    Node,
    OperatorAssignmentStmt,
    RefExpr,
    StarExpr,
    SymbolNode,
    TempNode,
    TryStmt,
    TupleExpr,
    TypeInfo,
    Var,
    WhileStmt,
    WithStmt,
)
from mypy.traverser import TraverserVisitor

__all__ = ("REGISTERING", "TERMINAL", "ModuleView", "Place")

REGISTERING: Final = frozenset({"register", "factory", "guard"})
TERMINAL: Final = "runtime.terminal.BusTerminal"


@dataclass(frozen=True)
class Place:
    """Where a statement stands."""

    function: FuncDef | None
    is_conditional: bool
    """Whether it runs only under a condition, or more than once."""


class ModuleView(TraverserVisitor):
    """One walk over a module that is being checked.

    It belongs to a checker, which mypy makes anew whenever it looks at a module again, so it never
    outlives what it has seen.
    """

    def __init__(self, checker: TypeChecker) -> None:
        super().__init__()
        self.checker = checker
        self.tree = checker.tree
        self.functions: dict[FuncDef, FuncDef | None] = {}
        """The functions that are written here, each with the one around it."""
        self.classes: set[TypeInfo] = set()
        self.places: dict[Node, Place] = {}
        self.bindings: dict[Var, list[AssignmentStmt | None]] = {}
        """What binds a name; None for whatever is not a plain assignment."""
        self.locals: dict[FuncDef, dict[str, SymbolNode | None]] = {}
        """The names of functions; None where one has several meanings."""
        self.aliases: dict[str, Expression] = {}
        """What the names of the module are assigned, read as it is written."""
        self.terminals: list[CallExpr] = []
        """Where terminals are made, or are given more registries."""
        self.factories: list[CallExpr | MemberExpr] = []
        self.factory_of: dict[CallExpr | MemberExpr, Decorator | ClassDef] = {}
        self.opening: set[FuncDef] = set()
        """The functions in which a terminal may be opened."""
        self.consulted: set[str] = set()
        """The modules whose types findings depend on."""
        self._function: FuncDef | None = None
        self._conditional = False
        for each in self.tree.defs:
            each.accept(self)

    def is_here(self, node: Node | None) -> bool:
        """Say whether a function or a class is written in this module."""
        return node in self.functions or node in self.classes

    def assignment_of(self, var: Var) -> AssignmentStmt | None:
        """Return the one statement that gives a name its value, if it is the only one."""
        found = self.bindings.get(var, [])
        return found[0] if len(found) == 1 else None

    def is_bound_once(self, var: Var) -> bool:
        """Say whether a name stands for one object, as far as this module shows."""
        return len(self.bindings.get(var, [])) <= 1

    # What is visited, from the outside in.

    def visit_block(self, block: Block, /) -> None:
        """Leave out what never runs."""
        if not block.is_unreachable:
            super().visit_block(block)

    def visit_func_def(self, o: FuncDef, /) -> None:
        """Note a function, and that its body is a place of its own."""
        self.functions[o] = self._function
        if not o.info:
            self._note_local(o.name, o)
        outer = self._function, self._conditional
        self._function, self._conditional = o, False
        for each in o.arguments:
            self._note_local(each.variable.name, each.variable)
        super().visit_func_def(o)
        self._function, self._conditional = outer

    def visit_class_def(self, o: ClassDef, /) -> None:
        """Note a class."""
        self.classes.add(o.info)
        self._note_local(o.name, o.info)
        self._note_decorators(o, o.decorators)
        super().visit_class_def(o)

    def visit_decorator(self, o: Decorator, /) -> None:
        """Note what decorates a function."""
        self._note_decorators(o, o.decorators)
        super().visit_decorator(o)

    def visit_lambda_expr(self, o: LambdaExpr, /) -> None:
        """Nobody knows when a lambda runs."""
        outer = self._begin_conditional()
        super().visit_lambda_expr(o)
        self._conditional = outer

    def visit_if_stmt(self, o: IfStmt, /) -> None:
        """Only one branch runs."""
        outer = self._begin_conditional()
        super().visit_if_stmt(o)
        self._conditional = outer

    def visit_conditional_expr(self, o: ConditionalExpr, /) -> None:
        """Only one side runs."""
        outer = self._begin_conditional()
        super().visit_conditional_expr(o)
        self._conditional = outer

    def visit_match_stmt(self, o: MatchStmt, /) -> None:
        """Only one case runs."""
        outer = self._begin_conditional()
        super().visit_match_stmt(o)
        self._conditional = outer

    def visit_while_stmt(self, o: WhileStmt, /) -> None:
        """A loop may run never, or often."""
        outer = self._begin_conditional()
        super().visit_while_stmt(o)
        self._conditional = outer

    def visit_for_stmt(self, o: ForStmt, /) -> None:
        """A loop binds its name, and may run never, or often."""
        self._bind(o.index, None)
        outer = self._begin_conditional()
        super().visit_for_stmt(o)
        self._conditional = outer

    def visit_try_stmt(self, o: TryStmt, /) -> None:
        """What is tried may stop anywhere."""
        for each in o.vars:
            if each is not None:
                self._bind(each, None)
        outer = self._begin_conditional()
        super().visit_try_stmt(o)
        self._conditional = outer

    def visit_with_stmt(self, o: WithStmt, /) -> None:
        """Note the names of a block; its body runs as a rule."""
        if o.is_async and self._function is not None:
            self.opening.add(self._function)
        for each in o.target:
            if each is not None:
                self._bind(each, None)
        super().visit_with_stmt(o)

    def visit_assignment_stmt(self, o: AssignmentStmt, /) -> None:
        """Note what a name is assigned."""
        # An annotation alone binds nothing.
        if not (isinstance(o.rvalue, TempNode) and o.rvalue.no_rhs):
            for each in o.lvalues:
                self._bind(each, o)
                if self._function is None and isinstance(each, NameExpr):
                    self.aliases[each.name] = o.rvalue
        super().visit_assignment_stmt(o)

    def visit_assignment_expr(self, o: AssignmentExpr, /) -> None:
        """Note a name that is bound inside an expression."""
        self._bind(o.target, None)
        super().visit_assignment_expr(o)

    def visit_operator_assignment_stmt(self, o: OperatorAssignmentStmt, /) -> None:
        """Note a name that is changed."""
        self._bind(o.lvalue, None)
        super().visit_operator_assignment_stmt(o)

    def visit_call_expr(self, o: CallExpr, /) -> None:
        """Note a call that may register something, or that makes or opens a terminal."""
        callee = o.callee
        if isinstance(callee, MemberExpr):
            if callee.name in REGISTERING:
                self._note_place(o)
                if callee.name == "factory":
                    self.factories.append(o)
            elif callee.name == "include":
                self.terminals.append(o)
            elif callee.name == "open" and self._function is not None:
                self.opening.add(self._function)
        elif isinstance(callee, CallExpr):
            self._note_place(o)
        if isinstance(callee, RefExpr) and callee.fullname == TERMINAL:
            self.terminals.append(o)
        super().visit_call_expr(o)

    # What is noted.

    def _begin_conditional(self) -> bool:
        outer, self._conditional = self._conditional, True
        return outer

    def _note_place(self, node: Node) -> None:
        self.places[node] = Place(self._function, self._conditional)

    def _note_decorators(self, node: Decorator | ClassDef, decorators: list[Expression]) -> None:
        self._note_place(node)
        for each in decorators:
            member = each.callee if isinstance(each, CallExpr) else each
            if isinstance(member, MemberExpr) and member.name == "factory":
                site = each if isinstance(each, CallExpr) else member
                self.factory_of[site] = node
                if not isinstance(each, CallExpr):
                    self.factories.append(member)

    def _note_local(self, name: str, node: SymbolNode) -> None:
        if self._function is not None:
            names = self.locals.setdefault(self._function, {})
            names[name] = None if name in names else node

    def _bind(self, target: Expression, statement: AssignmentStmt | None) -> None:
        if isinstance(target, NameExpr):
            if isinstance(target.node, Var):
                self.bindings.setdefault(target.node, []).append(statement)
                self._note_local(target.name, target.node)
        elif isinstance(target, TupleExpr):
            for each in target.items:
                self._bind(each, None)
        elif isinstance(target, StarExpr):
            self._bind(target.expr, None)

