"""Reads methods, `minhash(ngram = 5)`: their parameters come from the kind table or from the components' signatures."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from alchemist_runtime.schema.attributes import AttrType, Default, Signature
from alchemist_runtime.schema.kinds import METHODS
from alchemist_runtime.schema.units import Amount

from alchemist_dsl import ir
from alchemist_dsl.checker.names import Place
from alchemist_dsl.checker.problems import did_you_mean, either
from alchemist_dsl.syntax import ast

if TYPE_CHECKING:
    from alchemist_runtime.schema.registry import Family

    from alchemist_dsl.checker.values import Values


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
        _unknown(values, ast.Ident(name_span, name), type_, attribute)
        return None
    given = _bind(values, expr, name, arguments, params)
    if given is None:
        return None
    args: dict[str, Any] = {}
    for param in params:
        if param.name not in given:
            args[param.name] = param.default
            continue
        made = _argument(values, given[param.name], param, name)
        if made is _WRONG:
            return None
        args[param.name] = made
    return ir.MethodV(expr.span, name, args, frozenset(given))


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


def _argument(values: Values, expr: ast.Expr, param: Parameter, method_name: str) -> Any:
    if isinstance(expr, ast.Null) and param.default is None:
        return None
    made = values.read(expr, param.type, Place(param.name, expr.span))
    return _WRONG if made is None else plan_value(made, param.type)


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
    given: dict[str, ast.Expr] = {}
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
        elif key in given:
            problems.add("A208", f"`{key}` is given twice", span)
            good = False
        else:
            given[key] = argument.value
    for param in params:
        if param.default is ... and param.name not in given and good:
            problems.add("A208", f"`{name}` needs `{param.name}`", expr.span, help=_usage(name, params))
            good = False
    return given if good else None


def _usage(name: str, params: tuple[Parameter, ...]) -> str:
    if not params:
        return f"write `{name}()`"
    return f"`{name}({', '.join(p.name + (' = …' if p.default is not ... else '') for p in params)})`"


def _unknown(values: Values, name: ast.Ident, type_: AttrType, attribute: str) -> None:
    names = method_names(type_)
    text, edit = did_you_mean(name.name, names, name.span)
    values.context.problems.add(
        "A120",
        f"`{attribute}` knows no method `{name.name}`",
        name.span,
        help=text or (f"it knows {either(names)}" if names else None),
        edit=edit,
    )
