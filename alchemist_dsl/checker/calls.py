"""Types calls: functions over the row by the table of functions, and counts of streams in checks."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from alchemist_runtime.schema.attributes import Amount, AttrType, Default, Signature
from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS, Function, Param
from alchemist_runtime.schema.kinds import METHODS
from alchemist_runtime.schema.rows import optional, required

from alchemist_dsl import ir
from alchemist_dsl.checker.names import Place, path_of
from alchemist_dsl.checker.problems import did_you_mean, either
from alchemist_dsl.checker.types import ANY, BAD, NULL, Typed, family, fits, join, noun
from alchemist_dsl.diagnostics.model import Edit
from alchemist_dsl.syntax import ast

if TYPE_CHECKING:
    from alchemist_runtime.schema.registry import Family

    from alchemist_dsl.checker.expressions import Typer
    from alchemist_dsl.checker.values import Values

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
        return typer.fail("A122", "`any(…)` stands for several runs and belongs in a `variant`", span)
    known = [*FUNCTIONS, *(AGGREGATES if typer.env.streams else ())]
    text, edit = did_you_mean(name, known, span)
    is_column = typer.env.stream is not None and name in typer.env.stream.columns
    if is_column:
        text = f"`{name}` is a column; write it without parentheses"
    return typer.fail("A119", f"there is no function `{name}`", span, help=text, edit=None if is_column else edit)


def bind(typer: Typer, expr: ast.Call, function: Function) -> dict[str, list[ast.Expr]] | None:
    """Arguments by parameter, in the order of the table; None where the call does not fit (reported)."""
    provided: dict[str, list[ast.Expr]] = {}
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
            if param.name in provided and not param.variadic:
                typer.fail("A208", f"`{param.name}` is given twice", argument.name.span)
                good = False
                continue
        else:
            free = [p for p in free if p.variadic or p.name not in provided]
            if not free:
                typer.fail(
                    "A208",
                    f"`{function.name}` takes {len(params)} argument{'s' * (len(params) != 1)}, not {len(expr.args)}",
                    argument.span,
                    help=usage(function),
                )
                return None
            param = free[0]
        provided.setdefault(param.name, []).append(argument.value)
    for param in function.params:
        if param.name not in provided and param.default is ... and good:
            typer.fail("A208", f"`{function.name}` needs `{param.name}`", expr.span, help=usage(function))
            good = False
    return {n: provided[n] for n in params if n in provided} if good else None


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
            result = typer.type(value)
            _argument(typer, function, param, result, value)
            typed.append(result)
            null = null or required(result.type) != result.type or result.type == NULL
            if param.type in ("T", "number") or function.name == "coalesce":
                unknown = unknown or result.unknown
                variable = join(variable, result.type) if variable is not None else None
                units.add(result.unit)
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


def _argument(typer: Typer, function: Function, param: Param, result: Typed, value: ast.Expr) -> None:
    if param.type in _UNITS:
        if result.unit != param.type and result != BAD:
            typer.fail(
                "A202",
                f"`{param.name}` of `{function.name}` is a"
                f" {'duration' if param.type == 'duration' else 'size in bytes'}",
                value.span,
                help=f"for example `{param.name} = {_UNITS[param.type]}`",
            )
        return
    if function.name == "turns" and family(result.type) in ("number", "bool"):
        typer.fail("A210", f"`turns` takes a conversation, but this is {noun(result.type)}", value.span)
        return
    if param.type in ("any", "T") or fits(result.type, param.type):
        return
    wanted = noun(param.type) if param.type != "ordered" else "a number or text"
    if param.type == "int":
        wanted = "a whole number"
    written = typer.env.context.slice(value.span)
    cast = {"text": "text", "number": "real"}.get(family(param.type))
    help_, edit = None, None
    if family(result.type) == "json" and cast:
        help_, edit = f"cast it: `{cast}({written})`", Edit(value.span, f"{cast}({written})")
    elif family(result.type) in ("list", "messages") and param.type == "text":
        help_ = f"take one element, for example `{written}[0]`"
    elif param.type == "messages":
        help_, edit = f"write `turns({written})`", Edit(value.span, f"turns({written})")
    typer.fail(
        "A210", f"`{function.name}` takes {wanted}, but this is {noun(result.type)}", value.span, help=help_, edit=edit
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


# --- methods ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a method, from either table."""

    name: str
    type: AttrType
    default: Any = ...  # in plan form; ... = required


def method(values: Values, expr: ast.Expr, type_: AttrType, attribute: str) -> ir.MethodV | None:
    """The method that a name or a call stands for; None where an error was reported."""
    name = expr.name if isinstance(expr, ast.Name) else None
    arguments: tuple[ast.Argument, ...] = ()
    name_span = expr.span
    if isinstance(expr, ast.Call):
        name, arguments, name_span = expr.function.name, expr.args, expr.function.span
    assert name is not None
    params = parameters(name, type_)
    if params is None:
        _unknown_method(values, ast.Ident(name_span, name), type_, attribute)
        return None
    provided = _bind(values, expr, name, arguments, params)
    if provided is None:
        return None
    args: dict[str, Any] = {}
    for param in params:
        if param.name not in provided:
            args[param.name] = param.default
            continue
        result = _method_argument(values, provided[param.name], param, name)
        if result is _WRONG:
            return None
        args[param.name] = result
    return ir.MethodV(expr.span, name, args, frozenset(provided))


def method_names(type_: AttrType) -> tuple[str, ...]:
    """Names of the methods that an attribute takes."""
    if type_.family is None:
        return tuple(s.name for s in type_.methods)
    from alchemist_runtime.schema import catalog

    brought = catalog.names(type_.family)  # type: ignore[arg-type]
    return tuple(sorted({*brought, *(s.name for s in _of_the_language(type_.family))}))


def _of_the_language(family: str) -> tuple[Signature, ...]:
    """Methods that the language has and no component of this version brings."""
    return tuple(m for t in METHODS[family].alternatives for m in t.methods) if family in METHODS else ()


def parameters(name: str, type_: AttrType) -> tuple[Parameter, ...] | None:
    """The parameters of a method by the kind table or its component; None if there is no such method."""
    if type_.family is None:
        return _declared(name, type_.methods)
    from alchemist_runtime.schema import catalog

    family: Family = type_.family  # type: ignore[assignment]
    component = catalog.find(family, name)
    if component is None:
        return _declared(name, _of_the_language(type_.family))
    return tuple(Parameter(p.name, _component_type(p.type, p.range), _plain(p.default)) for p in component.params)


def _declared(name: str, methods: tuple[Signature, ...]) -> tuple[Parameter, ...] | None:
    found = next((s for s in methods if s.name == name), None)
    if found is None:
        return None
    return tuple(
        Parameter(f.name, f.type, ... if f.default is None else plan_default(f.default, f.type)) for f in found.params
    )


def _component_type(text: str, range_: Any) -> AttrType:
    low = Fraction(str(range_.low)) if range_ is not None and range_.low is not None else None
    high = Fraction(str(range_.high)) if range_ is not None and range_.high is not None else None
    if text == "list<text>":
        return AttrType("list", (AttrType("text"),))
    if text == "real":
        # `share = 50%` and `share = 0.5` say the same to a component.
        number = AttrType("real", low=low, high=high)
        return AttrType("alt", (number, AttrType("percent", low=low, high=high)))
    return AttrType(text, low=low, high=high)


def _plain(value: Any) -> Any:
    """A default of a component in plan form: exact numbers as strings."""
    return str(Fraction(str(value))) if isinstance(value, float) else value


def plan_default(value: Default, type_: AttrType) -> Any:
    """A default as arguments of methods are written in plans."""
    return _number(value.value, value.kind, type_) if isinstance(value, Amount) else value


def _number(value: Fraction, kind: str, type_: AttrType) -> Any:
    if len({t.name for t in type_.alternatives} - {"real", "int"}) > 1:
        # More than one unit is possible, so the unit is part of the value.
        whole = value.denominator == 1 and kind != "percent"
        return {"unit": kind, "value": int(value) if whole else str(value)}
    if any(t.name == "int" for t in type_.alternatives) and kind == "int":
        return int(value)
    if kind in ("rows", "tokens", "steps"):
        return int(value)
    return str(value)


_WRONG: Final = object()


def _method_argument(values: Values, expr: ast.Expr, param: Parameter, method_name: str) -> Any:
    if isinstance(expr, ast.Null) and param.default is None:
        return None
    result = values.read(expr, param.type, Place(param.name, expr.span))
    return _WRONG if result is None else plan_value(result, param.type)


def plan_value(value: ir.Value, type_: AttrType) -> Any:
    """A value as arguments of methods are written in plans."""
    match value:
        case ir.Qty(kind=kind, value=number):
            return _number(number, kind, type_)
        case ir.TextV(value=text) | ir.ChoiceV(name=text):
            return text
        case ir.BoolV(value=flag):
            return flag
        case ir.ListV(items=items):
            return [plan_value(i, type_.of[0] if type_.of else type_) for i in items]
        case ir.RecordV(fields=fields):
            return {n: plan_value(v, type_) for n, v in fields.items()}
        case ir.RefV(target=target):
            return target
        case _:
            return None


def _bind(
    values: Values, expr: ast.Expr, name: str, arguments: tuple[ast.Argument, ...], params: tuple[Parameter, ...]
) -> dict[str, ast.Expr] | None:
    provided: dict[str, ast.Expr] = {}
    names = [p.name for p in params]
    problems = values.context.problems
    good = True
    for number, argument in enumerate(arguments):
        key = argument.name.name if argument.name else names[number] if number < len(names) else None
        span = argument.name.span if argument.name else argument.span
        if key is None:
            problems.add("A208", f"`{name}` has {len(names)} parameters", span, help=_usage(name, params))
            good = False
        elif key not in names:
            text, edit = did_you_mean(key, names, span)
            problems.add(
                "A208", f"`{name}` has no parameter `{key}`", span, help=text or _usage(name, params), edit=edit
            )
            good = False
        elif key in provided:
            problems.add("A208", f"`{key}` is given twice", span)
            good = False
        else:
            provided[key] = argument.value
    for param in params:
        if param.default is ... and param.name not in provided and good:
            problems.add("A208", f"`{name}` needs `{param.name}`", expr.span, help=_usage(name, params))
            good = False
    return provided if good else None


def _usage(name: str, params: tuple[Parameter, ...]) -> str:
    if not params:
        return f"write `{name}()`"
    return f"`{name}({', '.join(p.name + (' = …' if p.default is not ... else '') for p in params)})`"


def _unknown_method(values: Values, name: ast.Ident, type_: AttrType, attribute: str) -> None:
    names = method_names(type_)
    text, edit = did_you_mean(name.name, names, name.span)
    values.context.problems.add(
        "A120",
        f"`{attribute}` knows no method `{name.name}`",
        name.span,
        help=text or (f"it knows {either(names)}" if names else None),
        edit=edit,
    )
