"""Types operators: arithmetic, comparison, logic, membership, and the units of what they compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alchemist_runtime.schema.rows import optional, required

from alchemist_dsl.checker.problems import did_you_mean
from alchemist_dsl.checker.types import ANY, BAD, NULL, Typed, element, family, join, noun, split_top
from alchemist_dsl.diagnostics.model import Edit
from alchemist_dsl.syntax import ast

if TYPE_CHECKING:
    from alchemist_dsl.checker.expressions import Typer


def unary(typer: Typer, expr: ast.Unary) -> Typed:
    """`not x`, `-x`."""
    made = typer.type(expr.operand)
    kind = family(made.type)
    if expr.op == "not":
        if kind not in ("bool", ANY, NULL):
            return typer.fail("A210", f"`not` takes a condition, but this is {noun(made.type)}", expr.operand.span)
        return Typed(["not", made.tree], made.type if kind == "bool" else "bool")
    if kind not in ("number", ANY):
        return typer.fail("A210", f"`-` takes a number, but this is {noun(made.type)}", expr.operand.span)
    if made.tree[0] == "lit" and kind == "number":
        value = made.tree[2]
        minus: Any = -value if isinstance(value, int) else value[1:] if value.startswith("-") else "-" + value
        return Typed(["lit", made.tree[1], minus], made.type, made.unit)
    return Typed(["neg", made.tree], made.type, made.unit)


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
        made = typer.type(part)
        if family(made.type) not in ("bool", ANY, NULL):
            typer.fail("A210", f"`{expr.op}` joins conditions, but this is {noun(made.type)}", part.span)
        trees.append(made.tree)
        null = null or required(made.type) != made.type
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
        made = typer.type(item)
        if not (left.unknown or made.unknown) and family(made.type) not in (family(left.type), NULL):
            typer.fail("A210", f"{noun(left.type)} is never {noun(made.type)}", item.span)
        elif family(left.type) == "number" and family(made.type) == "number":
            _units_meet(typer, ast.Binary(expr.span, "==", expr.left, item, expr.op_span), left, made)
        else:
            _known_choice(typer, left, made, item)
        trees.append(made.tree)
    return ["list", trees]


def _named_list(typer: Typer, expr: ast.Binary) -> list[Any]:
    """A parameter that holds a list; a column of lists is no set that a plan can hold."""
    made = typer.type(expr.right)
    if made.tree[0] == "list" or made.unknown:
        return made.tree
    if element(made.type) is not None or family(made.type) in ("text", "json"):
        inside = typer.env.context.slice(expr.left.span)
        whole = typer.env.context.slice(expr.right.span)
        text = f"for a part of a text write `contains({whole}, {inside})`" if family(made.type) == "text" else None
        typer.fail("A210", "`in` takes a list of values or an interval", expr.right.span, help=text)
    else:
        typer.fail("A210", f"`in` takes a list or an interval, not {noun(made.type)}", expr.right.span)
    return ["list", []]


def met(types: list[str]) -> str:
    """The type of several values; unknown where they have none in common."""
    found: str | None = NULL
    for type_ in types:
        found = join(found, type_) if found is not None else None
    return found or ANY
