"""Canonical form: what is written in a block as JSON values that formatting, order and defaults do not move."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from alchemist_runtime.schema.attributes import TEXT, UNITS, Amount, Attribute, AttrType, Call, Default
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import canonical, text_digest

from alchemist_dsl.checker import calls
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
from alchemist_dsl.lowering.scope import rule_name

Ingredients = dict[str, Any]  # path -> JSON value

#: Attributes that stand in other ingredients.
_ELSEWHERE: Final = frozenset({"extends", "salt", "seed", "teacher", "prompt", "schema", "tokenizer", "select", "best"})
#: What an amount without a unit is.
_BARE: Final = frozenset({"int", "real"})
#: Units that stand for the sequences of a training: which of the two is right, its packing says, so keys have one word.
_SAME: Final = {"packs": "rows"}


def canon_value(value: Value, type_: AttrType = TEXT) -> Any:
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


def _number(value: Qty | Amount, type_: AttrType) -> str:
    exact = value.value / value.per[1] if isinstance(value, Qty) and value.per else value.value
    kind, *units = (_SAME.get(n, n) for n in (value.kind, *(a.name for a in _alternatives(type_))))
    if value.unit is not None:
        return f"{exact} {value.unit}"
    return f"{exact} {kind}" if len({n for n in units if n in UNITS} - _BARE) > 1 and kind not in _BARE else str(exact)


def _alternatives(type_: AttrType) -> tuple[AttrType, ...]:
    return type_.of[0].alternatives if type_.name == "list" else type_.alternatives


def _written_args(value: MethodV, type_: AttrType) -> dict[str, Any]:
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
def method_defaults(type_: AttrType, name: str) -> Mapping[str, Any]:
    """Defaults of a method's parameters in plan form, from the kind table or from the component."""
    params = _parameters(type_, name)
    return {p.name: p.default for p in params.values() if p.default is not ...}


def _parameters(type_: AttrType, name: str) -> dict[str, calls.Parameter]:
    for t in _alternatives(type_):
        found = calls.parameters(name, t) if t.name == "method" else None
        if found is not None:
            return {p.name: p for p in found}
    return {}


@cache
def frozen_default(kind: str, name: str) -> Any:
    """The first published default of an attribute in canonical form, None where there is none."""
    spec = KINDS[kind].attributes[name]
    return None if spec.frozen_default is None else _ordered(_canon_default(spec.frozen_default, spec.type), spec)


def _canon_default(value: Default, type_: AttrType) -> Any:
    match value:
        case Amount():
            return _number(value, type_)
        case Call(name=name, args=args):
            params, defaults = _parameters(type_, name), method_defaults(type_, name)
            planned = {n: calls.plan_default(v, params[n].type) for n, v in sorted(args)}
            return {"method": name, **{n: v for n, v in planned.items() if defaults.get(n) != v}}
        case tuple():
            return [_canon_default(v, type_.of[0]) for v in value]
        case str() if type_.name == "expr":
            return ["col", value]
        case _:
            return value


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
    if value is None or spec.type.name != "list":
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
