"""The parts of statements and expressions. mypy's own visitors take no visitor of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from mypy.nodes import (
    AssertStmt,
    AssertTypeExpr,
    AssignmentExpr,
    AssignmentStmt,
    AwaitExpr,
    Block,
    CallExpr,
    CastExpr,
    ClassDef,
    ComparisonExpr,
    ConditionalExpr,
    Decorator,
    DelStmt,
    DictExpr,
    DictionaryComprehension,
    Expression,
    ExpressionStmt,
    ForStmt,
    FuncDef,
    GeneratorExpr,
    IfStmt,
    IndexExpr,
    LambdaExpr,
    ListComprehension,
    ListExpr,
    MatchStmt,
    MemberExpr,
    Node,
    OperatorAssignmentStmt,
    OpExpr,
    OverloadedFuncDef,
    RaiseStmt,
    ReturnStmt,
    RevealExpr,
    SetComprehension,
    SetExpr,
    SliceExpr,
    StarExpr,
    Statement,
    TryStmt,
    TupleExpr,
    UnaryExpr,
    WhileStmt,
    WithStmt,
    YieldExpr,
    YieldFromExpr,
)

__all__ = ("blocks_of", "nodes_in")

Parts = Iterable[Node | None]

PARTS: Final[dict[type[Node], Callable[[Any], Parts]]] = {
    # Statements.
    AssertStmt: lambda o: (o.expr, o.msg),
    AssignmentStmt: lambda o: (*o.lvalues, o.rvalue),
    Block: lambda o: () if o.is_unreachable else o.body,
    ClassDef: lambda o: (*o.decorators, *o.base_type_exprs, *o.keywords.values(), o.defs),
    Decorator: lambda o: (*o.decorators, o.func),
    DelStmt: lambda o: (o.expr,),
    ExpressionStmt: lambda o: (o.expr,),
    ForStmt: lambda o: (o.index, o.expr, o.body, o.else_body),
    FuncDef: lambda o: (*(each.initializer for each in o.arguments), o.body),
    IfStmt: lambda o: (*o.expr, *o.body, o.else_body),
    MatchStmt: lambda o: (o.subject, *o.guards, *o.bodies),
    OperatorAssignmentStmt: lambda o: (o.lvalue, o.rvalue),
    OverloadedFuncDef: lambda o: (*o.items, o.impl),
    RaiseStmt: lambda o: (o.expr, o.from_expr),
    ReturnStmt: lambda o: (o.expr,),
    TryStmt: lambda o: (o.body, *o.types, *o.handlers, o.else_body, o.finally_body),
    WhileStmt: lambda o: (o.expr, o.body, o.else_body),
    WithStmt: lambda o: (*o.expr, *o.target, o.body),
    # Expressions.
    AssertTypeExpr: lambda o: (o.expr,),
    AssignmentExpr: lambda o: (o.target, o.value),
    AwaitExpr: lambda o: (o.expr,),
    CallExpr: lambda o: (o.callee, *o.args),
    CastExpr: lambda o: (o.expr,),
    ComparisonExpr: lambda o: o.operands,
    ConditionalExpr: lambda o: (o.cond, o.if_expr, o.else_expr),
    DictExpr: lambda o: (part for pair in o.items for part in pair),
    DictionaryComprehension: lambda o: (o.key, o.value, *o.sequences, *flat(o.condlists)),
    GeneratorExpr: lambda o: (o.left_expr, *o.sequences, *flat(o.condlists)),
    IndexExpr: lambda o: (o.base, o.index),
    LambdaExpr: lambda o: (*(each.initializer for each in o.arguments), o.body),
    ListComprehension: lambda o: (o.generator,),
    ListExpr: lambda o: o.items,
    MemberExpr: lambda o: (o.expr,),
    OpExpr: lambda o: (o.left, o.right),
    RevealExpr: lambda o: (o.expr,),
    SetComprehension: lambda o: (o.generator,),
    SetExpr: lambda o: o.items,
    SliceExpr: lambda o: (o.begin_index, o.end_index, o.stride),
    StarExpr: lambda o: (o.expr,),
    TupleExpr: lambda o: o.items,
    UnaryExpr: lambda o: (o.expr,),
    YieldExpr: lambda o: (o.expr,),
    YieldFromExpr: lambda o: (o.expr,),
}


def flat(conditions: list[list[Expression]]) -> Iterator[Expression]:
    """Return the conditions of all the loops of a comprehension."""
    return (each for inner in conditions for each in inner)


def nodes_in(nodes: Iterable[Node]) -> Iterator[Node]:
    """Return the nodes and everything inside them that may run."""
    rest: list[Node | None] = [*nodes]
    while rest:
        node = rest.pop()
        if node is not None:
            yield node
            parts = PARTS.get(type(node))
            if parts is not None:
                rest += parts(node)


def blocks_of(statement: Statement) -> list[tuple[Block | None, bool]]:
    """Return the blocks of which some run, and whether one may run more than once."""
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
