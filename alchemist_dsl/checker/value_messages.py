"""The shapes of values: which type a written value could be meant for, what both are called, and what would be
right.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from alchemist_runtime.schema.attributes import RESERVED, AttrType, spelled
from alchemist_runtime.schema.units import UNITS

from alchemist_dsl.checker import methods
from alchemist_dsl.checker.names import Place, path_of
from alchemist_dsl.checker.problems import either
from alchemist_dsl.diagnostics.model import Edit
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

#: What a type is called in messages, and an example of it.
NOUNS: Final = {
    "text": ("text", '"…"'),
    "template": ("a template", 'jinja"""…"""'),
    "bool": ("true or false", "true"),
    **{name: (unit.noun, unit.example) for name, unit in UNITS.items()},
    "ref": ("the name of a block", "…"),
    "stream": ("the name of a stream", "clean"),
    "method": ("a method", "exact()"),
    "list": ("a list", "[…]"),
    "record": ("a record", "{ a = 1 }"),
    "name": ("a name", "clean"),
    "choice": ("one of a few names", "…"),
    "literal": ("a value", "1"),
}
NUMBER_WORDS: Final = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}


def alternative(type_: AttrType, expr: ast.Expr, place: Place) -> AttrType | None:
    """The alternative that a value is meant for: one that knows its name, else one of its shape."""
    fitting = [t for t in type_.alternatives if accepts(t, expr, place)]
    if isinstance(expr, ast.Text) and {"template", "text"} <= {t.name for t in fitting}:
        # a plain text is a template where it says so, and else the name of something
        wanted = "template" if any(mark in expr.value for mark in ("{{", "{%")) else "text"
        fitting = [t for t in fitting if t.name == wanted]
    name = choice_name(expr) or (expr.function.name if isinstance(expr, ast.Call) else None)
    if len(fitting) > 1 and name is not None:
        for one in fitting:
            if name in one.names or (one.name == "method" and name in methods.method_names(one)):
                return one
    return fitting[0] if fitting else None


def accepts(type_: AttrType, expr: ast.Expr, place: Place) -> bool:
    """Whether an expression has the shape of a type; ranges and names are looked at later."""
    name = type_.name
    match name:
        case "expr" | "condition" | "select" | "literal":
            return True
        case "text":
            return isinstance(expr, ast.Text) and expr.form != "template"
        case "template":
            return isinstance(expr, ast.Text)
        case "bool":
            return isinstance(expr, ast.Bool)
        case "choice":
            found = choice_name(expr)
            if found is None:
                return False
            if isinstance(expr, ast.Text) and place.from_param is None:
                return found in type_.names and found in RESERVED
            return found in type_.names or isinstance(expr, ast.Name | ast.Text)
        case "ref" | "stream" | "name":
            return path_of(expr) is not None
        case "method":
            return isinstance(expr, ast.Call | ast.Name)
        case "list":
            if isinstance(expr, ast.ListExpr):
                return True
            return accepts_any(type_.of[0], expr, place)
        case "record":
            return isinstance(expr, ast.Record)
    return isinstance(expr, ast.Quantity) and _number_fits(name, expr, place)


def accepts_any(type_: AttrType, expr: ast.Expr, place: Place) -> bool:
    """Whether one of the alternatives accepts the expression."""
    return any(accepts(t, expr, place) for t in type_.alternatives)


def _number_fits(name: str, expr: ast.Quantity, place: Place) -> bool:
    if name == "price":
        return expr.kind == "money" and isinstance(place.per, ast.Quantity)
    if name == "real":
        return expr.kind in ("int", "real")
    return expr.kind == name


def choice_name(expr: ast.Expr) -> str | None:
    """The name that stands for a choice: bare, as a text, or as a call without arguments."""
    match expr:
        case ast.Name(name=name):
            return name
        case ast.Text(value=value):
            return value
        case ast.Call(function=function, args=()):
            return function.name
        case _:
            return None


def unreadable(expr: ast.Expr) -> bool:
    """Whether a part of a calculation could not be read, which was reported."""
    waiting = [expr]
    while waiting:
        match waiting.pop():
            case ast.BadExpr():
                return True
            case ast.Binary(left=left, right=right):
                waiting += [left, right]
            case ast.Unary(operand=operand):
                waiting.append(operand)
            case _:
                pass
    return False


def expr_name(expr: ast.Expr) -> str | None:
    return expr.name if isinstance(expr, ast.Name) else None


def param_name(expr: ast.Expr) -> ast.Ident | None:
    """`x` of `param.x`."""
    if isinstance(expr, ast.Member) and isinstance(expr.base, ast.Name) and expr.base.name == "param":
        return expr.name
    return None


def folded(expr: ast.Expr) -> ast.Expr:
    """`-5` as one number."""
    if isinstance(expr, ast.Unary) and expr.op == "-" and isinstance(expr.operand, ast.Quantity):
        inner = expr.operand
        return replace(inner, span=expr.span, value=-inner.value, text="-" + inner.text)
    return expr


def relocated(expr: ast.Expr, span: Span) -> ast.Expr:
    """A copy of a value whose place is another one: where a parameter is used."""
    if isinstance(expr, ast.ListExpr):
        return replace(expr, span=span, items=tuple(relocated(i, span) for i in expr.items))
    if isinstance(expr, ast.Text):
        return replace(expr, span=span, line_offsets=())
    return replace(expr, span=span)


def nouns(type_: AttrType) -> str:
    """A type in words: "a number of rows or a number of tokens"."""
    if type_.name == "select":
        return "a share, a count of rows or a condition"
    if type_.name == "list":
        return nouns(type_.of[0])
    words: dict[str, None] = {}
    for one in type_.alternatives:
        if one.name == "choice":
            words[either(tuple(map(spelled, one.names)))] = None
        elif one.name == "ref" and one.names not in (("any",), ("same",)):
            words["the name of a " + " or ".join(one.names)] = None
        elif one.name == "int" and any(t.name == "real" for t in type_.alternatives):
            continue
        elif one.name == "list":
            words[nouns(one)] = None
        else:
            words[NOUNS[one.name][0]] = None
    return " or ".join(words)


def describe(expr: ast.Expr) -> str:
    """What an expression is, in words."""
    match expr:
        case ast.Quantity(kind="percent"):
            return "a percent"
        case ast.Quantity(kind=kind):
            return NOUNS[kind][0]
        case ast.Text(form="template"):
            return "a template"
        case ast.Text():
            return "text"
        case ast.Bool():
            return "true or false"
        case ast.Null():
            return "null"
        case ast.Name(name=name):
            return f"the name `{name}`"
        case ast.Member() | ast.Index():
            return "a name"
        case ast.Call(function=function):
            return f"a call of `{function.name}`"
        case ast.ListExpr():
            return "a list"
        case ast.Record():
            return "a record"
        case ast.Interval():
            return "an interval"
        case _:
            return "a calculation"


def range_of(type_: AttrType) -> str:
    if type_.low is None:
        return f"at or below {type_.high}"
    if type_.high is None:
        return f"at or above {type_.low}"
    return f"between {type_.low} and {type_.high}"


def with_unit(expr: ast.Quantity, numeric: list[str]) -> tuple[str | None, Edit | None]:
    """The number as it would be right."""
    if expr.kind == "percent" and "real" in numeric:
        text = f"{float(expr.value):g}"
        return f"write `{text}`", Edit(expr.span, text)
    if expr.kind not in ("int", "real"):
        return f"for example `{NOUNS[numeric[0]][1]}`", None
    whole = expr.value.denominator == 1
    if "percent" in numeric and 0 < expr.value < 1:
        text = f"{float(expr.value * 100):g}%"
        return f"write `{text}`", Edit(expr.span, text)
    usable = [
        UNITS[n].form.format(expr.text)
        for n in numeric
        if UNITS[n].form and (whole or not UNITS[n].whole) and not (n == "percent" and expr.value > 100)
    ]
    if not usable:
        return None, None
    edit = Edit(expr.span, usable[0], safe=False) if len(usable) == 1 else None
    return "write " + either(usable), edit


def example(expr: ast.Expr, type_: AttrType, name: str) -> tuple[str | None, Edit | None]:
    first = type_.of[0] if type_.name == "list" else type_.alternatives[0]
    names = {t.name for t in type_.alternatives} | {first.name}
    if isinstance(expr, ast.Text) and expr.form == "string":
        value = expr.value.strip()
        if names & {"int", "real"}:
            number = NUMBER_WORDS.get(value.lower(), value)
            if re.fullmatch(r"[0-9]+(\.[0-9]+)?", str(number)):
                return f"write `{name} = {number}`", Edit(expr.span, str(number))
        if names & (UNITS.keys() | {"bool", "stream", "ref", "choice"}) and re.fullmatch(
            r"[A-Za-z0-9_.%$/]+( [a-z]+)?", value
        ):
            choices = [n for t in type_.alternatives for n in t.names if t.name == "choice"]
            safe = value in choices or value in ("true", "false")
            return f"write it without quotes: `{value}`", Edit(expr.span, value, safe=safe)
    if isinstance(expr, ast.Name) and names & {"text", "template"}:
        return f'write it in quotes: `"{expr.name}"`', Edit(expr.span, f'"{expr.name}"')
    if names & {"text", "template"} and isinstance(expr, ast.Binary):
        return "text is written in quotes", None
    if first.name == "ref" and isinstance(expr, ast.Text) and first.names not in (("any",), ("same",)):
        kind = first.names[0]
        return f"declare one, `{kind} NAME {{ … }}`, and write its name", None
    if first.name == "choice":
        return f"it is {either(tuple(map(spelled, first.names)))}", None
    example = NOUNS.get(first.name, ("", "…"))[1]
    return (f"for example `{name} = {example}`" if "…" not in example[:1] else None), None
