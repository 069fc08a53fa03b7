"""Finds the parts of a syntax tree that stand around an offset."""

from __future__ import annotations

from collections.abc import Iterator

from alchemist_runtime.schema.attributes import AttrType
from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

_EXPRESSIONS = frozenset({"expr", "condition", "select"})


def top_block(tree: ast.File, offset: int) -> ast.Block | None:
    """The top-level block around an offset."""
    for item in tree.items:
        if isinstance(item, ast.Block) and within(item.span, offset):
            return item
    return None


def statement_at(block: ast.Block, offset: int) -> tuple[ast.Statement, ast.Block | None] | None:
    """The statement around an offset with the sub-block that it stands in; a sub-block itself at its header."""
    for statement in block.body:
        if within(statement.span, offset):
            if isinstance(statement, ast.Block) and not within(statement.header, offset):
                inner = statement_at(statement, offset)
                return None if inner is None else (inner[0], statement)
            return statement, None
    return None


def enclosing(statement: ast.Statement, offset: int) -> tuple[ast.Expr, ...]:
    """The expressions of a statement around an offset, from outside in."""
    roots: tuple[ast.Expr | None, ...] = ()
    match statement:
        case ast.Assign(value=value, per=per):
            roots = (value, per)
        case ast.RuleStmt(condition=condition):
            roots = (condition,)
    for root in roots:
        if root is not None and within(root.span, offset):
            return (root, *_deeper(root, offset))
    return ()


def _deeper(expr: ast.Expr, offset: int) -> tuple[ast.Expr, ...]:
    for part in parts(expr):
        if within(part.span, offset):
            return (part, *_deeper(part, offset))
    return ()


def parts(expr: ast.Expr) -> Iterator[ast.Expr]:
    """The expressions right inside an expression."""
    match expr:
        case ast.Member(base=base):
            yield base
        case ast.Index(base=base, index=index):
            yield from (base, index)
        case ast.Call(args=args):
            yield from (a.value for a in args)
        case ast.ListExpr(items=items):
            yield from items
        case ast.Record(fields=fields):
            yield from (f.value for f in fields)
        case ast.Interval(low=low, high=high):
            yield from (low, high)
        case ast.Unary(operand=operand):
            yield operand
        case ast.Binary(left=left, right=right):
            yield from (left, right)


def every(expr: ast.Expr) -> Iterator[ast.Expr]:
    """An expression and all of its parts."""
    yield expr
    for part in parts(expr):
        yield from every(part)


def within(span: Span, offset: int) -> bool:
    return span.start <= offset <= span.end


def is_column_name(block: ast.Block, statement: ast.Statement) -> bool:
    """Whether bare names in a statement are columns of the row."""
    if block.kind.name == "check":
        return False
    match statement:
        case ast.RuleStmt(verb=verb):
            return verb != "expect" or block.kind.name == "test"
        case ast.Assign(set=True):
            return block.kind.name != "variant"
        case ast.Assign(path=path):
            kind = KINDS.get(block.kind.name)
            known = kind.attributes.get(path[0].name) if kind is not None else None
            return known is not None and _reads_rows(known.type)
        case _:
            return False


def _reads_rows(type_: AttrType) -> bool:
    return any(t.name in _EXPRESSIONS or (t.name == "list" and _reads_rows(t.of[0])) for t in type_.alternatives)
