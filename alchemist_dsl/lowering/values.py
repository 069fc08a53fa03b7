"""Values of attributes in the plain forms of the plan."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from typing import Any

from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Method

from alchemist_dsl.ir import Block, BoolV, ChoiceV, ExprV, ListV, MethodV, Qty, TextV, Value


def exact(value: Fraction) -> str:
    """A share or price, in lowest terms: `1/20`, `3`."""
    return str(value)


def decimal(value: Fraction) -> str:
    """A real or a sum of money: as a decimal where there is a finite one, else in lowest terms."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return str(value)
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    text = digits if places == 0 else f"{digits[:-places]}.{digits[-places:]}"
    return f"-{text}" if value < 0 else text


def text(block: Block, name: str) -> str | None:
    """A text or the name of a choice, None where it is not set."""
    match block.get(name):
        case TextV(value=value):
            return value
        case ChoiceV(name=value):
            return value
        case _:
            return None


def texts(block: Block, name: str) -> list[str]:
    """A list of texts or choices; a single one is a list of one."""
    return [t for t in map(_text, items(block.get(name))) if t is not None]


def _text(value: Value) -> str | None:
    match value:
        case TextV(value=t) | ChoiceV(name=t):
            return t
        case _:
            return None


def items(value: Value | None) -> tuple[Value, ...]:
    """The elements of a list; a single value is a list of one, nothing is an empty one."""
    match value:
        case None:
            return ()
        case ListV(items=inner):
            return inner
        case _:
            return (value,)


def quantity(block: Block, name: str) -> Qty | None:
    match block.get(name):
        case Qty() as found:
            return found
        case _:
            return None


def whole(block: Block, name: str) -> int | None:
    """A whole number without its unit, None where it is not set."""
    found = quantity(block, name)
    return None if found is None else int(found.value)


def flag(block: Block, name: str) -> bool:
    match block.get(name):
        case BoolV(value=value):
            return value
        case _:
            return False


def trees(block: Block, name: str) -> list[list[Any]]:
    """Expression trees of a list of expressions."""
    return [v.tree for v in items(block.get(name)) if isinstance(v, ExprV)]


def method(block: Block, name: str) -> MethodV:
    """A component with its arguments; a bare name is a component without."""
    match block.get(name):
        case MethodV() as found:
            return found
        case ChoiceV(span=span, name=bare):
            return MethodV(span, bare, {})
        case _:
            raise LookupError(f"{block.kind} {block.name} has no {name}")


def declared(block: Block, spec: type, **special: Any) -> dict[str, Any]:
    """The fields of a spec that are attributes of the block's kind, as the plan writes them by the field's type.

    What is not set has the spec's default. `special`: fields that follow from more than the attribute of their name."""
    types = {f.name: str(f.type) for f in fields(spec)}
    named = types.keys() & KINDS[block.kind].attributes.keys() - special.keys()
    return {n: planned(v, types[n]) for n in named if (v := block.get(n)) is not None} | special


def planned(value: Value, type_: str) -> Any:
    """A value as the plan writes it in a field of this type: exact numbers as texts, amounts with their unit."""
    if type_.startswith("list["):
        return [planned(v, type_[5:]) for v in items(value)]
    match value:
        case MethodV(name=name, args=args):
            return Method(name=name, args=args)
        case TextV(value=name) | ChoiceV(name=name):
            return Method(name=name) if type_.startswith("Method") else name
        case BoolV(value=is_set):
            return is_set
        case ExprV(tree=tree):
            return tree
        case Qty(kind=kind, value=number):
            number_text = exact(number) if kind == "percent" else decimal(number)
            if type_.startswith("dict["):
                is_whole = number.denominator == 1 and kind != "percent"
                return {"unit": kind, "value": int(number) if is_whole else exact(number)}
            return int(number) if type_.startswith("int") else number_text
        case _:
            raise TypeError(f"{value} has no plain form")
