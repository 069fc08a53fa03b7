"""Reads the attribute types of `kinds.py` ("percent | method(skip(max: int = 0))") into values the checker can match
on.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from alchemist_dsl.check.types import split_top
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.ast import TypeExpr


@dataclass(slots=True)
class Place:
    """Which attribute a value belongs to: for messages."""

    name: str
    span: Span
    per: ast.Expr | None = None
    from_param: str | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record type, or a parameter of a method. `default` is recipe text."""

    name: str
    type: AttrType
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """A method that the kind table itself declares: `cosine(warmup: percent = 0%)`."""

    name: str
    params: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class AttrType:
    """One type, or alternatives (`name` is "alt")."""

    name: str
    of: tuple[AttrType, ...] = ()  # alternatives, or the element of a list
    names: tuple[str, ...] = ()  # of a choice; kinds of a ref
    low: Fraction | None = None
    high: Fraction | None = None
    fields: tuple[Field, ...] = ()  # of a record
    methods: tuple[Signature, ...] = ()
    family: str | None = None  # of a method: where its components live

    @property
    def alternatives(self) -> tuple[AttrType, ...]:
        return self.of if self.name == "alt" else (self,)


@cache
def attr_type(text: str) -> AttrType:
    """Parse the text of an attribute type."""
    parts = split_top(text, "|")
    if len(parts) > 1:
        return AttrType("alt", tuple(attr_type(p) for p in parts))
    name, bracket, rest = parts[0].partition("(")
    inner = rest[:-1] if bracket else ""
    if name in ("int", "real"):
        low, _, high = inner.partition("..")
        return AttrType(name, low=_number(low), high=_number(high))
    if name == "list":
        return AttrType("list", (attr_type(inner),))
    if name in ("choice", "ref"):
        return AttrType(name, names=tuple(split_top(inner)))
    if name == "record":
        return AttrType("record", fields=tuple(_field(p) for p in split_top(inner)))
    if name == "method":
        if "(" not in inner:
            return AttrType("method", family=inner)
        return AttrType("method", methods=tuple(_signature(p) for p in split_top(inner)))
    return AttrType(name)


def _number(text: str) -> Fraction | None:
    return Fraction(text) if text.strip() else None


def _field(text: str) -> Field:
    left, _, default = text.partition("=")
    name, _, of = left.partition(":")
    return Field(name.strip(), attr_type(of.strip()), default.strip() or None)


def _signature(text: str) -> Signature:
    name, _, rest = text.partition("(")
    return Signature(name.strip(), tuple(_field(p) for p in split_top(rest[:-1])))


_PARAM_TYPES = frozenset(
    [
        "text",
        "int",
        "real",
        "bool",
        "percent",
        "money",
        "duration",
        "bytes",
        "rate",
        "rows",
        "packs",
        "tokens",
        "multiplier",
    ]
)


def declared_type(type_: TypeExpr) -> AttrType | None:
    """The attribute type of a parameter's declared type; None where nothing is called so."""
    if type_.base in _PARAM_TYPES:
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
