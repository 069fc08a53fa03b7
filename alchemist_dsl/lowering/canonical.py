"""Canonical form: what is written in a block as JSON values that formatting, order and defaults do not move."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from alchemist_runtime.schema.plan import canonical, text_digest

from alchemist_dsl.check import methods
from alchemist_dsl.check.attrtypes import AttrType, attr_type
from alchemist_dsl.check.context import default_value
from alchemist_dsl.ir import (
    Attr,
    Block,
    BoolV,
    ChoiceV,
    ExprV,
    IntervalV,
    ListV,
    MethodV,
    NullV,
    Qty,
    RecordV,
    RefV,
    SelectV,
    TemplateV,
    TextV,
    Value,
)
from alchemist_dsl.kinds import KINDS, Attribute
from alchemist_dsl.lowering.scope import rule_name
from alchemist_dsl.syntax import ast

Ingredients = dict[str, Any]  # path -> JSON value

#: Attributes that stand in other ingredients.
_ELSEWHERE: Final = frozenset({"extends", "salt", "seed", "teacher", "prompt", "schema", "tokenizer", "select", "best"})
#: Units that may stand side by side in one attribute's type.
_UNITS: Final = frozenset({"percent", "rows", "tokens", "multiplier", "steps", "money", "bytes", "duration"})
#: Units that stand for the sequences of a training: which of the two is right, its packing says, so keys have one word.
_SAME: Final = {"packs": "rows"}


def canon_value(value: Value, type_: str = "text") -> Any:
    """A value as canonical JSON. Numbers are exact; a unit stands beside one only where the type leaves a choice of
    units.
    """
    match value:
        case Qty():
            return _number(value, type_)
        case TextV(value=text):
            return text
        case BoolV(value=truth):
            return truth
        case NullV():
            return None
        case ChoiceV(name=name):
            return name
        case RefV():
            return {"port": value.port, "origin": value.origin}
        case TemplateV(text=text):
            return text_digest(text)
        case IntervalV(low=low, high=high):
            return {"from": _number(low, type_), "to": _number(high, type_)}
        case MethodV():
            return {"method": value.name, **_written_args(value, type_)}
        case ExprV(tree=tree):
            return tree
        case SelectV():
            return canon_select(value)
        case ListV(items=items):
            return [canon_value(item, type_) for item in items]
        case RecordV(fields=fields):
            return {name: canon_value(item, type_) for name, item in fields.items()}


def _number(value: Qty, type_: str) -> str:
    exact = value.value / value.per[1] if value.per else value.value
    kind, *units = (_SAME.get(n, n) for n in (value.kind, *(a.name for a in _alternatives(type_))))
    if value.unit is not None:
        return f"{exact} {value.unit}"
    return f"{exact} {kind}" if len(_UNITS.intersection(units)) > 1 and kind in _UNITS else str(exact)


def _alternatives(type_: str) -> tuple[AttrType, ...]:
    found = attr_type(type_)
    return found.of[0].alternatives if found.name == "list" else found.alternatives


def _written_args(value: MethodV, type_: str) -> dict[str, Any]:
    """Arguments that differ from the method's defaults, so that a new parameter moves no key."""
    defaults = method_defaults(type_, value.name)
    return {k: v for k, v in sorted(value.args.items()) if k not in defaults or defaults[k] != v}


def canon_select(value: SelectV) -> dict[str, Any]:
    parts = {
        "share": None if value.share is None else str(value.share),
        "count": value.count,
        "where": None if value.where is None else value.where.tree,
        "per": list(value.per) or None,
        "best": [e.tree for e in value.best] or None,
    }
    return {name: part for name, part in parts.items() if part is not None}


# --- defaults ---------------------------------------------------------------------------------------------------------


@cache
def method_defaults(type_: str, name: str) -> Mapping[str, Any]:
    """Defaults of a method's parameters in plan form, from the kind table or from the component."""
    params = _parameters(type_, name)
    return {p.name: p.default for p in params.values() if p.default is not ...}


def _parameters(type_: str, name: str) -> dict[str, methods.Parameter]:
    for t in _alternatives(type_):
        found = methods.parameters(name, t) if t.name == "method" else None
        if found is not None:
            return {p.name: p for p in found}
    return {}


@cache
def frozen_default(kind: str, name: str) -> Any:
    """The first published default of an attribute in canonical form, None where there is none."""
    spec = KINDS[kind].attributes[name]
    expr = None if spec.frozen_default is None else default_value(spec.frozen_default)
    return None if expr is None else _ordered(_canon_syntax(expr, spec.type), spec)


def _canon_syntax(expr: ast.Expr, type_: str) -> Any:
    """The canonical form of a default, which is plain: numbers, names, texts, methods, lists of these."""
    match expr:
        case ast.Quantity():
            return _number(_quantity(expr), type_)
        case ast.Text(value=text):
            return text
        case ast.Bool(value=truth):
            return truth
        case ast.Name(name=name):
            return ["col", name] if "expr" in {t.name for t in _alternatives(type_)} else name
        case ast.ListExpr(items=items):
            return [_canon_syntax(item, type_) for item in items]
        case ast.Call(function=function, args=args):
            return {"method": function.name, **_given(function.name, args, type_)}
        case _:
            raise ValueError(f"a default that is no plain value: {expr}")


def _quantity(q: ast.Quantity) -> Qty:
    return Qty(q.span, q.kind, q.value, q.text, q.unit)


def _given(name: str, args: tuple[ast.Argument, ...], type_: str) -> dict[str, Any]:
    """Arguments of a default that differ from the method's own defaults, in plan form."""
    params, defaults = _parameters(type_, name), method_defaults(type_, name)
    out: dict[str, Any] = {}
    for arg in args:
        if arg.name is not None and isinstance(arg.value, ast.Quantity):
            param = params[arg.name.name]
            out[param.name] = methods.plan_value(_quantity(arg.value), param.type)
    return {k: v for k, v in sorted(out.items()) if defaults.get(k) != v}


# --- attributes and statements ----------------------------------------------------------------------------------------


def data_attributes(block: Block, leave: frozenset[str] = frozenset()) -> Ingredients:
    """Attributes that affect data and differ from their first published default, without references to blocks."""
    out: Ingredients = {}
    for name, attr in block.attrs.items():
        spec = KINDS[block.kind].attributes.get(name)
        if spec is None or spec.affects != "data" or name in _ELSEWHERE | leave or _refers(attr):
            continue
        value = _ordered(canon_value(attr.value, spec.type), spec)
        if value is not None and value != frozen_default(block.kind, name):
            out[f"attribute.{name}"] = value
    return out


def _refers(attr: Attr) -> bool:
    """Streams and blocks are inputs: their keys stand among the ingredients, not their names."""
    first = attr.value.items[0] if isinstance(attr.value, ListV) and attr.value.items else attr.value
    return isinstance(first, RefV)


def _ordered(value: Any, spec: Attribute) -> Any:
    """A list where the type takes several; sorted where their order says nothing."""
    if value is None or attr_type(spec.type).name != "list":
        return value
    listed = value if isinstance(value, list) else [value]
    return sorted(listed, key=canonical) if spec.order == "set" else listed


def statements(block: Block) -> Ingredients:
    """Assignments by column and rules in their order. Expectations change no byte: they are not here."""
    out: Ingredients = {f"set.{s.column}": s.expr.tree for s in block.sets}
    rules = [r for r in block.rules if r.verb != "expect"]
    out |= _by_name([(rule_name(r), [r.verb, r.expr.tree]) for r in rules])
    if len(rules) > 1:
        out["rules.order"] = [rule_name(r) for r in rules]
    for name, expr in block.prompt_inputs.items():
        if expr.tree != ["col", name]:
            out[f"prompt_input.{name}"] = expr.tree
    for c in block.classes:
        out[f"class.{c.name}"] = sorted(c.rules)
    if len(block.classes) > 1:
        out["classes.order"] = [c.name for c in block.classes]
    return out


def _by_name(rules: list[tuple[str, list[Any]]]) -> Ingredients:
    """Rules by name; of several with the same text the later ones are numbered."""
    out: Ingredients = {}
    for name, rule in rules:
        path, number = f"rule.{name}", 1
        while path in out:
            number += 1
            path = f"rule.{name} ({number})"
        out[path] = rule
    return out


def selection(block: Block) -> Ingredients:
    """What `select` says, part by part."""
    value = block.get("select")
    found = canon_select(value) if isinstance(value, SelectV) else {}
    return {f"select.{name}": part for name, part in found.items()}
