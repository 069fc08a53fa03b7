"""Types calls: functions over the row by the table of functions, and counts of streams in checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS, Function, Param
from alchemist_runtime.schema.rows import optional, required

from alchemist_dsl.checker.names import path_of
from alchemist_dsl.checker.problems import did_you_mean
from alchemist_dsl.checker.types import ANY, BAD, NULL, Typed, family, fits, join, noun
from alchemist_dsl.diagnostics.model import Edit
from alchemist_dsl.syntax import ast

if TYPE_CHECKING:
    from alchemist_dsl.checker.expressions import Typer

#: Parameters that take a number of one thing only, and an example of it.
_UNITS = {"duration": "10s", "bytes": "4GB"}


def call(typer: Typer, expr: ast.Call) -> Typed:
    """A call of a function or of a count."""
    name = expr.function.name
    env = typer.env
    if env.streams and name in AGGREGATES and _names_stream(typer, expr):
        return _aggregate(typer, expr, AGGREGATES[name])
    function = FUNCTIONS.get(name)
    if function is None or (env.stream is None and name in AGGREGATES):
        return _unknown(typer, expr)
    if function.only is not None and function.only != env.attribute:
        return typer.fail(
            "A119",
            f"`{name}(…)` says nothing about a single row; it stands in `{function.only} = …`",
            expr.function.span,
        )
    bound = bind(typer, expr, function)
    if bound is None:
        for argument in expr.args:
            typer.type(argument.value)
        return BAD
    return _apply(typer, expr, function, bound)


def _unknown(typer: Typer, expr: ast.Call) -> Typed:
    name, span = expr.function.name, expr.function.span
    if name in AGGREGATES:
        return typer.fail("A119", f"`{name}(…)` counts a stream; it stands in `check` blocks and in `expect`", span)
    if name == "any":
        return typer.fail("A122", "`any(…)` stands for several runs and belongs into a `variant`", span)
    known = [*FUNCTIONS, *(AGGREGATES if typer.env.streams else ())]
    text, edit = did_you_mean(name, known, span)
    is_column = typer.env.stream is not None and name in typer.env.stream.columns
    if is_column:
        text = f"`{name}` is a column; write it without parentheses"
    return typer.fail("A119", f"there is no function `{name}`", span, help=text, edit=None if is_column else edit)


def bind(typer: Typer, expr: ast.Call, function: Function) -> dict[str, list[ast.Expr]] | None:
    """Arguments by parameter, in the order of the table; None where the call does not fit (reported)."""
    given: dict[str, list[ast.Expr]] = {}
    params = {p.name: p for p in function.params}
    free = list(function.params)
    good = True
    for argument in expr.args:
        param: Param | None
        if argument.name is not None:
            param = params.get(argument.name.name)
            if param is None:
                text, edit = did_you_mean(argument.name.name, params, argument.name.span)
                typer.fail(
                    "A208",
                    f"`{function.name}` has no parameter `{argument.name.name}`",
                    argument.name.span,
                    help=text or usage(function),
                    edit=edit,
                )
                good = False
                continue
            if param.name in given and not param.variadic:
                typer.fail("A208", f"`{param.name}` is given twice", argument.name.span)
                good = False
                continue
        else:
            free = [p for p in free if p.variadic or p.name not in given]
            if not free:
                typer.fail(
                    "A208",
                    f"`{function.name}` takes {len(params)} argument{'s' * (len(params) != 1)}, not {len(expr.args)}",
                    argument.span,
                    help=usage(function),
                )
                return None
            param = free[0]
        given.setdefault(param.name, []).append(argument.value)
    for param in function.params:
        if param.name not in given and param.default is ... and good:
            typer.fail("A208", f"`{function.name}` needs `{param.name}`", expr.span, help=usage(function))
            good = False
    return {n: given[n] for n in params if n in given} if good else None


def usage(function: Function) -> str:
    """How a function is called: `head(x, n)`."""
    parts = []
    for p in function.params:
        name = p.name + (", …" if p.variadic else "")
        parts.append(name if p.default is ... else f"{name} = {_shown(p.default)}")
    return f"`{function.name}({', '.join(parts)})`"


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _apply(typer: Typer, expr: ast.Call, function: Function, bound: dict[str, list[ast.Expr]]) -> Typed:
    params = {p.name: p for p in function.params}
    trees: dict[str, Any] = {}
    variable: str | None = NULL
    null, unknown, units = False, False, set()
    for name, values in bound.items():
        param = params[name]
        typed = []
        for value in values:
            made = typer.type(value)
            _argument(typer, function, param, made, value)
            typed.append(made)
            null = null or required(made.type) != made.type or made.type == NULL
            if param.type in ("T", "number") or function.name == "coalesce":
                unknown = unknown or made.unknown
                variable = join(variable, made.type) if variable is not None else None
                units.add(made.unit)
        trees[name] = ["list", [t.tree for t in typed]] if param.variadic else typed[0].tree
        if function.name == "coalesce" and any(required(t.type) == t.type != NULL for t in typed):
            variable = required(variable) if variable else variable
    if variable is None:
        types = ", ".join(noun(typer.type(v).type) for vs in bound.values() for v in vs)
        return typer.fail("A210", f"the values of `{function.name}` have no common type: {types}", expr.span)
    tree = ["call", function.name, trees]
    if function.result == "T":
        type_ = ANY if unknown else variable
        if null and not function.null_aware and type_ != ANY:
            type_ = optional(type_)
        return Typed(tree, type_, units.pop() if len(units) == 1 else None)
    type_ = function.result
    if null and not function.null_aware:
        type_ = optional(type_)
    return Typed(tree, type_, function.unit)


def _argument(typer: Typer, function: Function, param: Param, made: Typed, value: ast.Expr) -> None:
    if param.type in _UNITS:
        if made.unit != param.type and made != BAD:
            typer.fail(
                "A202",
                f"`{param.name}` of `{function.name}` is a"
                f" {'duration' if param.type == 'duration' else 'size in bytes'}",
                value.span,
                help=f"for example `{param.name} = {_UNITS[param.type]}`",
            )
        return
    if function.name == "turns" and family(made.type) in ("number", "bool"):
        typer.fail("A210", f"`turns` takes a conversation, but this is {noun(made.type)}", value.span)
        return
    if param.type in ("any", "T") or fits(made.type, param.type):
        return
    wanted = noun(param.type) if param.type != "ordered" else "a number or text"
    if param.type == "int":
        wanted = "a whole number"
    written = typer.env.context.slice(value.span)
    cast = {"text": "text", "number": "real"}.get(family(param.type))
    help_, edit = None, None
    if family(made.type) == "json" and cast:
        help_, edit = f"cast it: `{cast}({written})`", Edit(value.span, f"{cast}({written})")
    elif family(made.type) in ("list", "messages") and param.type == "text":
        help_ = f"take one element, for example `{written}[0]`"
    elif param.type == "messages":
        help_, edit = f"write `turns({written})`", Edit(value.span, f"turns({written})")
    typer.fail(
        "A210", f"`{function.name}` takes {wanted}, but this is {noun(made.type)}", value.span, help=help_, edit=edit
    )


# --- counts of streams ------------------------------------------------------------------------------------------------


def _names_stream(typer: Typer, expr: ast.Call) -> bool:
    """`tokens(x)` counts a text in a row and a stream in a check."""
    if typer.env.stream is None or expr.function.name not in FUNCTIONS:
        return True
    first = path_of(expr.args[0].value) if expr.args else None
    return first is not None and first[0].name not in typer.env.stream.columns


def _aggregate(typer: Typer, expr: ast.Call, function: Function) -> Typed:
    from alchemist_dsl.checker.streams import stream_ref

    bound = bind(typer, expr, function)
    if bound is None:
        return BAD
    trees: dict[str, Any] = {}
    for name, values in bound.items():
        ref = stream_ref(values[0], typer.env.context, typer.env.scope, f"{function.name}(…)")
        if ref is None:
            typer.bad()
            continue
        typer.env.refs.append(ref)
        trees[name] = ["ref", ref.target, ref.port, ref.origin]
    return Typed(["call", function.name, trees], function.result, function.unit)
