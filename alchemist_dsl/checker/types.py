"""Column types as text (`list<record<role: text>>?`): reading their parts, joining two, describing them to people."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from alchemist_runtime.schema.rows import optional, required

#: The type of what is unknown: a column of an open schema, or something already reported. It fits everywhere.
ANY = "any"
NULL = "null"
NUMBERS = frozenset({"int", "real", "percent", "prob", "money"})

#: What `turns(x)` gives, element by element.
TURN = "record<role: text, content: text>"


def split_top(text: str, separator: str = ",") -> list[str]:
    """Split at separators outside all brackets and quotes; parts are stripped, empty ones left out."""
    parts: list[str] = []
    depth, start, quoted = 0, 0, False
    for at, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif char in "<(":
            depth += 1
        elif char in ">)":
            depth -= 1
        elif char == separator and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    parts.append(text[start:].strip())
    return [p for p in parts if p]


@cache
def family(type_: str) -> str:
    """The kind of value: number, text, bool, json, messages, list, record, id, null or any."""
    base = required(type_)
    head = base.partition("<")[0].partition("(")[0]
    if head in NUMBERS:
        return "number"
    if head in ("text", "enum"):
        return "text"
    return head


@cache
def fields(type_: str) -> dict[str, str]:
    """Fields of a record type; empty for other types."""
    base = required(type_)
    if not base.startswith("record<"):
        return {}
    out = {}
    for part in split_top(base[len("record<") : -1]):
        name, _, of = part.partition(":")
        out[name.strip()] = of.strip()
    return out


def record(columns: dict[str, str]) -> str:
    """The record type of these fields."""
    return "record<" + ", ".join(f"{n}: {t}" for n, t in columns.items()) + ">"


@cache
def element(type_: str) -> str | None:
    """Type of an element of a list; None for other types."""
    base = required(type_)
    if base == "messages":
        return TURN
    return base[len("list<") : -1] if base.startswith("list<") else None


@cache
def bounded(type_: str) -> str:
    """The column type without the bounds that a field may declare: `int(0..10)?` is `int?`."""
    base = required(type_)
    head, bracket, _ = base.partition("(")
    if bracket and head in NUMBERS:
        return optional(head) if type_ != base else head
    return type_


def join(a: str, b: str) -> str | None:
    """The type that holds values of both; None where there is none."""
    if a == b:
        return a
    if ANY in (required(a), required(b)):
        return ANY
    if a == NULL:
        return optional(b)
    if b == NULL:
        return optional(a)
    null = required(a) != a or required(b) != b
    one, two = required(a), required(b)
    if one == two:
        met: str | None = one
    elif family(one) == family(two) == "number":
        met = "real"
    elif family(one) == family(two) == "text":
        met = "text"
    elif family(one) == family(two) == "list":
        inner = join(element(one) or ANY, element(two) or ANY)
        met = f"list<{inner}>" if inner else None
    elif family(one) == family(two) == "record" and fields(one).keys() == fields(two).keys():
        shared = {name: join(type_, fields(two)[name]) for name, type_ in fields(one).items()}
        met = record({n: t for n, t in shared.items() if t}) if all(shared.values()) else None
    else:
        met = None
    return None if met is None else optional(met) if null else met


def fits(given: str, wanted: str) -> bool:
    """Whether a value of one type may stand where the other is wanted; null lifts, so it is no obstacle."""
    a, b = required(given), required(wanted)
    if a in (ANY, NULL) or b == ANY:
        return True
    if b == "number":
        return family(a) == "number"
    if b == "ordered":
        return family(a) in ("number", "text")
    if family(a) != family(b):
        # A list of turns as read from a file is a conversation too.
        return family(b) == "messages" and (element(a) or "").startswith("record<")
    if family(a) == "list":
        return fits(element(a) or ANY, element(b) or ANY)
    if b == "int":
        return a == "int"
    return True


_NOUNS = {
    "number": "a number",
    "text": "text",
    "bool": "true or false",
    "json": "json",
    "messages": "a conversation",
    "list": "a list",
    "record": "a record",
    "id": "an id",
    "null": "null",
    "any": "unknown",
}


def plain(type_: str) -> str:
    """A type as people say it: `list of {role, content}`."""
    inner = element(type_)
    if inner is not None and required(type_) != "messages":
        return f"list of {plain(inner)}"
    parts = fields(type_)
    return "{" + ", ".join(parts) + "}" if parts else required(type_)


def noun(type_: str) -> str:
    """A type in words."""
    return _NOUNS.get(family(type_), type_)


# --- typed expressions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Typed:
    """A part of an expression: its tree, its type, and what it counts."""

    tree: list[Any]
    type: str
    unit: str | None = None

    @property
    def unknown(self) -> bool:
        return required(self.type) == ANY


BAD = Typed(["lit", "null", None], ANY)
