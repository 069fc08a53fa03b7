"""Gives every parameter its value: default, variant, or one from outside, each checked against the declared type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from alchemist_runtime.schema.attributes import AttrType
from alchemist_runtime.schema.units import UNITS

from alchemist_dsl import ir
from alchemist_dsl.checker.context import Context
from alchemist_dsl.checker.names import Param, Place, Scope
from alchemist_dsl.checker.problems import Problems, article, did_you_mean, listed
from alchemist_dsl.checker.value_messages import NOUNS
from alchemist_dsl.checker.values import Values
from alchemist_dsl.diagnostics.model import Label
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.parse import parse_value

TYPES: Final = ("text", "bool", *(n for n, u in UNITS.items() if u.param), "prob", "json", "list", "enum")
_PLACES: Final = {"set": "--set", "environment": "environment", "file": "--params"}


def resolve(context: Context, outside: Mapping[str, tuple[str, str]]) -> dict[str, ir.ParamValue]:
    """Values of all parameters by name; those of imports under their prefix."""
    lines = _outside_lines(context, outside)
    found: dict[str, ir.ParamValue] = {}
    known: dict[str, Param] = {}
    for scope in context.loader.scopes.values():
        for param in scope.params.values():
            known[scope.prefix + param.name] = param
    for name, line in lines.items():
        if name not in known:
            _unknown(context, name, line, known)
    for name, param in known.items():
        value = _value(context, param, lines.get(name))
        if value is not None:
            found[name] = replace(value, name=name)
    return found


class Line:
    """A value from outside with its place in the file that stands for the command line or the environment."""

    def __init__(self, text: str, origin: str, name_span: Span, span: Span, shown: str) -> None:
        self.text, self.origin, self.name_span, self.span, self.shown = (text, origin, name_span, span, shown)


def _outside_lines(context: Context, outside: Mapping[str, tuple[str, str]]) -> dict[str, Line]:
    texts: dict[str, str] = {}
    lines: dict[str, Line] = {}
    for name, (text, origin) in outside.items():
        path = _PLACES.get(origin, origin)
        before = texts.get(path, "")
        lead = {"--set": "--set ", "environment": "ALCHEMIST_PARAM_"}.get(path, "")
        shown_name = name.upper() if path == "environment" else name
        written = text.replace("\n", " ")
        line = f"{lead}{shown_name}={written}"
        at = len(before) + len(lead)
        name_span = Span(path, at, at + len(shown_name))
        span = Span(path, name_span.end + 1, name_span.end + 1 + len(written))
        lines[name] = Line(text, origin, name_span, span, line)
        texts[path] = before + line + "\n"
    for path, text in texts.items():
        context.loader.files[path] = SourceFile(path, text)
    return lines


def _unknown(context: Context, name: str, line: Line, known: Mapping[str, Param]) -> None:
    text, _ = did_you_mean(name, known)
    note = "parameters: " + listed(list(known)) if known and not text else None
    context.problems.add(
        "A116",
        f"the recipe has no parameter `{name}`",
        line.name_span,
        help=text or (None if known else "it declares none"),
        note=note,
    )


def _value(context: Context, param: Param, line: Line | None) -> ir.ParamValue | None:
    decl = param.decl
    type_ = declared_type(decl.type)
    if type_ is None:
        unknown_type(decl.type, context.problems, TYPES)
        return None
    expr, origin = param.expr, param.origin
    if expr is None:
        expr, origin = decl.default, "default"
    if expr is not None and not (line is not None and origin == "variant"):
        value = _checked(context, param.scope, expr, type_, decl)
        if value is None:
            param.expr = None
            return None
    if line is not None:
        expr = _from_outside(context, param, line, type_)
        origin = line.origin
        if expr is None:
            param.expr = None
            return None
        value = _checked(context, param.scope, expr, type_, decl)
    elif expr is None:
        value = _without(context, decl)
        expr = ast.Null(decl.span)
        if value is None:
            param.expr = None
            return None
    assert value is not None and expr is not None
    param.expr, param.value, param.origin = expr, value, origin
    return ir.ParamValue(decl.name.name, decl.type.text, value, origin, value_text(expr), expr.span)


def _without(context: Context, decl: ast.ParamDecl) -> ir.Value | None:
    if decl.type.nullable:
        return ir.NullV(decl.span)
    example = _example(decl.type)
    context.problems.add(
        "A212",
        f"the parameter `{decl.name.name}` has no default and got no value",
        decl.name.span,
        help=f"pass one, for example `--set {decl.name.name}={example}`",
    )
    return None


def _checked(context: Context, scope: Scope, expr: ast.Expr, type_: AttrType, decl: ast.ParamDecl) -> ir.Value | None:
    if isinstance(expr, ast.Null) and decl.type.nullable:
        return ir.NullV(expr.span)
    place = Place(decl.name.name, expr.span, from_param="")
    return Values(context, scope).read(expr, type_, place)


def _from_outside(context: Context, param: Param, line: Line, type_: AttrType) -> ast.Expr | None:
    """The value of a text from outside: by the same grammar; a text needs no quotes."""
    expr: ast.Expr | None
    quoted = line.text.startswith('"')
    if type_.name in ("text", "choice") and not quoted:
        expr = ast.Text(line.span, line.text)
    else:
        expr, problems = parse_value(line.text, "value")
        if problems:
            expr = None
    if expr is not None:
        from alchemist_dsl.checker.value_messages import relocated

        expr = relocated(expr, line.span)
        scratch = Problems()
        value = _checked(replace(context, problems=scratch), param.scope, expr, type_, param.decl)
        if value is not None:
            return expr
    _bad_override(context, param.decl, line, type_)
    return None


def _bad_override(context: Context, decl: ast.ParamDecl, line: Line, type_: AttrType) -> None:
    example = _example(decl.type)
    name = decl.name.name
    shown = f"--set {name}={example}" if line.origin == "set" else f"{name} = {example}"
    what = decl.type.text
    named = (
        article(what) if what in ("percent", "multiplier", "duration", "rate") else NOUNS.get(type_.name, (what,))[0]
    )
    if decl.type.low is not None or decl.type.high is not None:
        named += f" of `{what}`"
    if type_.name == "choice":
        named = "one of " + ", ".join(type_.names)
    context.problems.add(
        "A207",
        f"`{line.shown}` is not {named}",
        line.span,
        labels=(Label(decl.type.span, "declared here"),),
        help=f"for example `{shown}`",
    )


def _example(type_: ast.TypeExpr) -> str:
    if type_.base == "enum" and type_.values:
        return type_.values[0]
    found = {"list": "[1, 2]", "prob": "0.5", "json": "{ a = 1 }", "text": "hello"}.get(type_.base)
    return found or NOUNS.get(type_.base, ("", "1"))[1]


def declared_type(type_: ast.TypeExpr) -> AttrType | None:
    """The attribute type of a parameter's declared type; None where nothing is called so."""
    if type_.base in TYPES and type_.base in ("text", "bool", *UNITS):
        return AttrType(type_.base, low=type_.low, high=type_.high)
    if type_.base == "prob":
        return AttrType("real", low=Fraction(0), high=Fraction(1))
    if type_.base == "enum":
        return AttrType("choice", names=type_.values)
    if type_.base == "json":
        return AttrType("literal")
    if type_.base == "list" and type_.args:
        inner = declared_type(type_.args[0])
        return None if inner is None else AttrType("list", (inner,))
    return None


def unknown_type(type_: ast.TypeExpr, problems: Problems, known: Sequence[str]) -> None:
    """Report a type that does not exist."""
    base = type_
    while base.base == "list" and base.args:
        base = base.args[0]
    text, edit = did_you_mean(base.base, known, base.span)
    problems.add(
        "A103", f"there is no type `{base.base}`", base.span, help=text or "types: " + ", ".join(known), edit=edit
    )


def value_text(expr: ast.Expr) -> str:
    """A value as it would be written, in one form for equal texts."""
    match expr:
        case ast.Quantity(text=text):
            return text
        case ast.Text(value=value):
            import json

            return json.dumps(value, ensure_ascii=False)
        case ast.Bool(value=flag):
            return "true" if flag else "false"
        case ast.Null():
            return "null"
        case ast.Name(name=name):
            return name
        case ast.ListExpr(items=items):
            return "[" + ", ".join(value_text(i) for i in items) + "]"
        case ast.Record(fields=fields):
            return "{ " + ", ".join(f"{f.name.name} = {value_text(f.value)}" for f in fields) + " }"
        case ast.Unary(op="-", operand=operand):
            return "-" + value_text(operand)
        case ast.Interval(low=low, high=high):
            return f"{value_text(low)}..{value_text(high)}"
        case _:
            return "…"
