"""Resolves references to streams and joins several streams into one: columns, origins, what may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.rows import optional, required

from alchemist_dsl import ir
from alchemist_dsl.checker import taint
from alchemist_dsl.checker.context import UNKNOWN, Context, Stream, shown
from alchemist_dsl.checker.names import (
    Found,
    Missing,
    Scope,
    dotted,
    find,
    path_of,
    report_missing,
    span_of,
    stream_kinds,
    wrong_kind,
)
from alchemist_dsl.checker.problems import did_you_mean, listed
from alchemist_dsl.checker.types import ANY, BAD, NULL, Typed, element, family, join, noun, split_top
from alchemist_dsl.diagnostics.model import Edit
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

if TYPE_CHECKING:
    from alchemist_dsl.checker.expressions import Typer


def stream_ref(expr: ast.Expr, context: Context, scope: Scope, what: str) -> ir.RefV | None:
    """The stream that an expression names; None where an error was reported."""
    if isinstance(expr, ast.BadExpr):
        return None
    path = path_of(expr)
    if path is None:
        context.problems.add("A201", f"`{what}` needs the name of a stream", expr.span, help="for example `clean`")
        return None
    return stream_at(path, expr.span, context, scope, what)


def stream_at(path: Sequence[ast.Ident], span: Span, context: Context, scope: Scope, what: str) -> ir.RefV | None:
    """The stream of a path of names: a block, a port of it, or the part that came from one source."""
    found = find(path, scope)
    if isinstance(found, Missing):
        report_missing(found, stream_kinds(), context.problems)
        return None
    kind = KINDS[found.decl.kind]
    if not kind.stream:
        named = path[: len(path) - len(found.rest)]
        wrong_kind(what, stream_kinds(), found.decl, span_of(named), context.problems)
        return None
    return _port(found, span, context, scope)


def _port(found: Found, span: Span, context: Context, scope: Scope) -> ir.RefV | None:
    key, rest = found.decl.key, list(found.rest)
    ports = KINDS[found.decl.kind].ports
    port = "rows"
    if rest and rest[0].name in ports and (rest[0].name != "rest" or _sets_aside(key, context)):
        port = rest.pop(0).name
    if not rest:
        return ir.RefV(span, key, port)  # type: ignore[arg-type]
    origin = _origin(rest, scope) or _origin(rest, found.decl.scope)
    stream = context.streams.get((key, port), UNKNOWN)
    if stream.lost or (origin is not None and origin in stream.origins):
        return ir.RefV(span, key, port, origin or dotted(rest))  # type: ignore[arg-type]
    _no_port(found, rest, stream, context)
    return None


def _sets_aside(key: str, context: Context) -> bool:
    """Whether a step selects, so that it has the port `rest`; yes where it is not known yet."""
    return (key, "rest") in context.streams or (key, "rows") not in context.streams


def _origin(rest: Sequence[ast.Ident], scope: Scope) -> str | None:
    found = find(rest, scope)
    if isinstance(found, Found) and not found.rest and found.decl.kind == "source":
        return found.decl.key
    return None


def _no_port(found: Found, rest: Sequence[ast.Ident], stream: Stream, context: Context) -> None:
    kind, name = found.decl.kind, dotted(rest)
    ports = [p for p in KINDS[kind].ports if p not in ("rows", "rest")]
    known = [*ports, *sorted(stream.origins)]
    span = span_of(rest)
    text, edit = did_you_mean(name, known, span)
    note = None
    if name in ("dropped", "trace", "rest"):
        note = {
            "dropped": "only steps that refuse rows have `.dropped`",
            "trace": "only teacher steps have `.trace`",
            "rest": "only steps with `select` have `.rest`",
        }[name]
    elif known:
        note = f"it has {listed(known[:8])}"
    context.problems.add(
        "A117",
        f"`{found.decl.name}` ({kind}) has no port and no source `{name}`",
        span,
        help=text,
        edit=edit,
        note=note,
    )


def joined(refs: Sequence[ir.RefV], context: Context) -> Stream:
    """What is known of the rows of several streams, one after the other."""
    if not refs:
        return UNKNOWN
    if len(refs) == 1:
        return replace(context.stream(refs[0]), name=f"`{shown(refs[0])}`")
    every = [context.stream(r) for r in refs]
    # What is not available gives no rows, so its columns matter only where nothing else is there.
    there = [(r, s) for r, s in zip(refs, every, strict=True) if not s.missing]
    refs, streams = [r for r, _ in there] or list(refs), [s for _, s in there] or every
    columns: dict[str, str] = {}
    conflicts: dict[str, tuple[tuple[str, str], ...]] = {}
    open_ = any(s.open for s in streams)
    for ref, stream in zip(refs, streams, strict=True):
        conflicts.update(stream.conflicts)
        for name, type_ in stream.columns.items():
            _add_column(columns, conflicts, name, type_, shown(ref), refs, streams)
    for name in list(columns):
        if any(name not in s.columns for s in streams):
            columns[name] = optional(columns[name]) if columns[name] != ANY else ANY
    return Stream(
        columns,
        open=open_,
        origins=frozenset[str]().union(*(s.origins for s in every)),
        conflicts=conflicts,
        missing=all(s.missing for s in every),
        taints=taint.joined(s.taints for s in every),
        name=listed([shown(r) for r in refs][:3]) + ("…" if len(refs) > 3 else ""),
        lost=any(s.lost for s in every),
    )


def _add_column(
    columns: dict[str, str],
    conflicts: dict[str, tuple[tuple[str, str], ...]],
    name: str,
    type_: str,
    stream: str,
    refs: Sequence[ir.RefV],
    streams: Sequence[Stream],
) -> None:
    if name not in columns:
        columns[name] = type_
        return
    met = join(columns[name], type_)
    if met is not None:
        columns[name] = met
        return
    first = next((shown(r), s.columns[name]) for r, s in zip(refs, streams, strict=True) if name in s.columns)
    conflicts.setdefault(name, (first, (stream, type_)))
    columns[name] = ANY


# --- operators -------------------------------------------------------------------------------------------------------


def unary(typer: Typer, expr: ast.Unary) -> Typed:
    """`not x`, `-x`."""
    result = typer.type(expr.operand)
    kind = family(result.type)
    if expr.op == "not":
        if kind not in ("bool", ANY, NULL):
            return typer.fail("A210", f"`not` takes a condition, but this is {noun(result.type)}", expr.operand.span)
        return Typed(["not", result.tree], result.type if kind == "bool" else "bool")
    if kind not in ("number", ANY):
        return typer.fail("A210", f"`-` takes a number, but this is {noun(result.type)}", expr.operand.span)
    if result.tree[0] == "lit" and kind == "number":
        value = result.tree[2]
        minus: Any = -value if isinstance(value, int) else value[1:] if value.startswith("-") else "-" + value
        return Typed(["lit", result.tree[1], minus], result.type, result.unit)
    return Typed(["neg", result.tree], result.type, result.unit)


def binary(typer: Typer, expr: ast.Binary) -> Typed:
    """Any operator with two sides."""
    match expr.op:
        case "and" | "or":
            return _logic(typer, expr)
        case "in" | "not in":
            return _membership(typer, expr)
        case "+" | "-" | "*" | "/":
            return _arithmetic(typer, expr)
        case _:
            return _comparison(typer, expr)


def _logic(typer: Typer, expr: ast.Binary) -> Typed:
    """A chain of the same operator is one list, however long."""
    parts: list[ast.Expr] = []
    at: ast.Expr = expr
    while isinstance(at, ast.Binary) and at.op == expr.op:
        parts.append(at.right)
        at = at.left
    parts.append(at)
    trees, null = [], False
    for part in reversed(parts):
        result = typer.type(part)
        if family(result.type) not in ("bool", ANY, NULL):
            typer.fail("A210", f"`{expr.op}` joins conditions, but this is {noun(result.type)}", part.span)
        trees.append(result.tree)
        null = null or required(result.type) != result.type
    return Typed([expr.op, trees], "bool?" if null else "bool")


def _arithmetic(typer: Typer, expr: ast.Binary) -> Typed:
    left, right = typer.type(expr.left), typer.type(expr.right)
    if left.unknown and right.unknown:
        return Typed(["num", expr.op, left.tree, right.tree], ANY)
    kinds = {family(t.type) for t in (left, right)} - {ANY, NULL}
    null = any(required(t.type) != t.type or t.type == NULL for t in (left, right))
    if expr.op == "+" and kinds == {"text"}:
        return Typed(["cat", left.tree, right.tree], "text?" if null else "text")
    if kinds and kinds != {"number"}:
        return _no_arithmetic(typer, expr, left, right)
    if not _units_meet(typer, expr, left, right) and expr.op in "+-":
        return BAD
    type_ = _number_type(expr.op, left.type, right.type)
    tree = ["num", expr.op, left.tree, right.tree]
    return Typed(tree, optional(type_) if null and type_ != ANY else type_, _unit(expr.op, left, right))


def _no_arithmetic(typer: Typer, expr: ast.Binary, left: Typed, right: Typed) -> Typed:
    texts = [s for s in (left, right) if family(s.type) == "text"]
    help_ = None
    if expr.op == "+" and len(texts) == 1:
        other = expr.right if texts[0] is left else expr.left
        written = typer.env.context.slice(other.span)
        help_ = f"write `text({written})`"
        return typer.fail(
            "A210",
            f"`+` joins two texts or adds two numbers; this is {noun(left.type)} and {noun(right.type)}",
            expr.op_span,
            help=help_,
            edit=Edit(other.span, f"text({written})") if written else None,
        )
    if "json" in (family(left.type), family(right.type)):
        help_ = "cast json first: `int(…)`, `real(…)` or `text(…)`"
    return typer.fail(
        "A210", f"`{expr.op}` takes numbers; this is {noun(left.type)} and {noun(right.type)}", expr.op_span, help=help_
    )


def _number_type(op: str, a: str, b: str) -> str:
    one, two = required(a), required(b)
    if ANY in (one, two):
        return ANY
    if "money" in (one, two):
        return "real" if op == "/" and one == two else "money"
    if op == "/":
        return "real"
    return "int" if one == two == "int" else "real"


def _unit(op: str, left: Typed, right: Typed) -> str | None:
    if op == "/":
        return left.unit if right.unit is None else None
    if op == "*" and left.unit and right.unit:
        return None
    return left.unit or right.unit


def _units_meet(typer: Typer, expr: ast.Binary, left: Typed, right: Typed) -> bool:
    """Whether two numbers may be compared or added; reports where they count different things."""
    if expr.op in ("*", "/"):
        return True
    slice_ = typer.env.context.slice
    if left.unit and right.unit and left.unit != right.unit:
        typer.fail(
            "A202",
            f"`{slice_(expr.left.span)}` is in {left.unit}, but `{slice_(expr.right.span)}` is in {right.unit}",
            expr.right.span,
            label=right.unit,
            help=f"compare {left.unit} with {left.unit}",
        )
        return False
    for one, other, place in ((left, right, expr.right), (right, left, expr.left)):
        if one.unit and required(other.type) in ("percent", "money"):
            typer.fail("A202", f"this is in {one.unit} on one side and {_a(other.type)} on the other", place.span)
            return False
        if required(one.type) == "money" and required(other.type) in ("int", "real", "percent", "prob"):
            written = slice_(place.span)
            literal = other.tree[0] == "lit" and required(other.type) != "percent"
            typer.fail(
                "A202",
                "one side is money and the other is not",
                place.span,
                help=f"write `${written}`" if literal else None,
                edit=Edit(place.span, f"${written}") if literal else None,
            )
            return False
    return True


def _a(type_: str) -> str:
    return {"percent": "a percent", "money": "money"}.get(required(type_), noun(type_))


def _comparison(typer: Typer, expr: ast.Binary) -> Typed:
    if isinstance(expr.left, ast.Binary) and expr.left.op in ("<", "<=", ">", ">=", "==", "!="):
        return typer.fail(
            "A210", "comparisons cannot be chained", expr.op_span, help="write `a < b and b < c`, or `b in a..c`"
        )
    left, right = typer.type(expr.left), typer.type(expr.right)
    tree = ["cmp", expr.op, left.tree, right.tree]
    if NULL in (left.type, right.type):
        if expr.op in ("==", "!="):
            return Typed(tree, "bool")
        return typer.fail("A210", f"`{expr.op}` says nothing about null", expr.op_span, help="ask `x == null`")
    null = any(required(t.type) != t.type for t in (left, right))
    result = Typed(tree, "bool?" if null else "bool")
    if left.unknown or right.unknown:
        return result
    a, b = family(left.type), family(right.type)
    if a != b:
        return _no_comparison(typer, expr, left, right)
    if expr.op not in ("==", "!=") and a not in ("number", "text"):
        return typer.fail("A210", f"`{expr.op}` orders numbers and texts, not {noun(left.type)}", expr.op_span)
    if a == "number":
        return result if _units_meet(typer, expr, left, right) else BAD
    if a == "text":
        _known_choice(typer, left, right, expr.right)
        _known_choice(typer, right, left, expr.left)
    return result


def _no_comparison(typer: Typer, expr: ast.Binary, left: Typed, right: Typed) -> Typed:
    help_ = None
    for one, other, place in ((left, right, expr.left), (right, left, expr.right)):
        cast = {"number": "int", "text": "text"}.get(family(other.type))
        if family(one.type) == "json" and cast:
            help_ = f"cast it: `{cast}({typer.env.context.slice(place.span)})`"
        elif family(one.type) == "text" and cast == "int":
            help_ = f"for its length write `chars({typer.env.context.slice(place.span)})`"
    return typer.fail("A210", f"{noun(left.type)} cannot be compared with {noun(right.type)}", expr.op_span, help=help_)


def _known_choice(typer: Typer, column: Typed, literal: Typed, place: ast.Expr) -> None:
    """An enum column equals none of the names that it does not take."""
    base = required(column.type)
    if not base.startswith("enum(") or literal.tree[0] != "lit" or not isinstance(place, ast.Text):
        return
    names = [n.strip('"') for n in split_top(base[5:-1])]
    if place.value not in names:
        text, _ = did_you_mean(place.value, names)
        typer.fail(
            "A213",
            f'it is never "{place.value}"',
            place.span,
            help=text or "it is one of " + ", ".join(f'"{n}"' for n in names),
        )


def _membership(typer: Typer, expr: ast.Binary) -> Typed:
    left = typer.type(expr.left)
    match expr.right:
        case ast.Interval(low=low, high=high):
            right = _interval(typer, expr, left, low, high)
        case ast.ListExpr(items=items):
            right = _choices(typer, expr, left, items)
        case _:
            right = _named_list(typer, expr)
    null = required(left.type) != left.type
    tree: list[Any] = ["in", left.tree, right]
    if expr.op == "not in":
        tree = ["not", tree]
    return Typed(tree, "bool?" if null else "bool")


def _interval(typer: Typer, expr: ast.Binary, left: Typed, low: ast.Expr, high: ast.Expr) -> list[Any]:
    one, two = typer.type(low), typer.type(high)
    for side, place in ((one, low), (two, high)):
        if family(side.type) not in ("number", ANY):
            typer.fail("A210", f"an interval is of numbers, but this is {noun(side.type)}", place.span)
    if family(left.type) not in ("number", ANY):
        help_ = None
        if family(left.type) == "text":
            help_ = f"for its length write `chars({typer.env.context.slice(expr.left.span)})`"
        typer.fail("A210", f"an interval holds numbers, but this is {noun(left.type)}", expr.left.span, help=help_)
    elif typer.ok:
        # `50..800 chars` gives its unit to both ends.
        unit = one.unit or two.unit
        _units_meet(
            typer, ast.Binary(expr.span, "<=", expr.left, high, expr.op_span), left, Typed(two.tree, two.type, unit)
        )
    empty_interval(typer, expr.right, low, high)
    return ["interval", one.tree, two.tree]


def empty_interval(typer: Typer, whole: ast.Expr, low: ast.Expr, high: ast.Expr) -> None:
    """Report an interval whose start is above its end."""
    if isinstance(low, ast.Quantity) and isinstance(high, ast.Quantity) and low.value > high.value:
        turned = f"{high.text}..{low.text}"
        typer.fail(
            "A209",
            "this interval is empty; its start is above its end",
            whole.span,
            help=f"write `{turned}`",
            edit=Edit(whole.span, turned),
        )


def _choices(typer: Typer, expr: ast.Binary, left: Typed, items: tuple[ast.Expr, ...]) -> list[Any]:
    trees = []
    for item in items:
        result = typer.type(item)
        if not (left.unknown or result.unknown) and family(result.type) not in (family(left.type), NULL):
            typer.fail("A210", f"{noun(left.type)} is never {noun(result.type)}", item.span)
        elif family(left.type) == "number" and family(result.type) == "number":
            _units_meet(typer, ast.Binary(expr.span, "==", expr.left, item, expr.op_span), left, result)
        else:
            _known_choice(typer, left, result, item)
        trees.append(result.tree)
    return ["list", trees]


def _named_list(typer: Typer, expr: ast.Binary) -> list[Any]:
    """A parameter that holds a list; a column of lists is no set that a plan can hold."""
    result = typer.type(expr.right)
    if result.tree[0] == "list" or result.unknown:
        return result.tree
    if element(result.type) is not None or family(result.type) in ("text", "json"):
        inside = typer.env.context.slice(expr.left.span)
        whole = typer.env.context.slice(expr.right.span)
        text = f"for a part of a text write `contains({whole}, {inside})`" if family(result.type) == "text" else None
        typer.fail("A210", "`in` takes a list of values or an interval", expr.right.span, help=text)
    else:
        typer.fail("A210", f"`in` takes a list or an interval, not {noun(result.type)}", expr.right.span)
    return ["list", []]


def met(types: list[str]) -> str:
    """The type of several values; unknown where they have none in common."""
    found: str | None = NULL
    for type_ in types:
        found = join(found, type_) if found is not None else None
    return found or ANY
