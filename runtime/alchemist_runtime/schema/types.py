"""Column types taken apart: `list<record<role: text>>?` as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from alchemist_runtime.schema.rows import nullable, required
from alchemist_runtime.schema.sealed import loads

_CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_NUMBERS: Final = ("real", "percent", "prob", "money", "duration", "rate", "multiplier")
_COUNTS: Final = ("int", "rows", "tokens", "bytes")


@dataclass(frozen=True, slots=True)
class Type:
    """A column type taken apart."""

    name: str  # text | int | real | bool | enum | list | record | json | messages
    optional: bool = False
    low: float | None = None
    high: float | None = None
    options: tuple[str, ...] = ()
    element: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()


#: What every turn of `messages` holds.
TURN: Final = (("role", Type("text")), ("content", Type("text")))


@cache
def type_of(text: str) -> Type:
    """A column type, as `list<int(0..10)>?`, taken apart."""
    name, optional = required(text.strip()).strip(), nullable(text.strip())
    if name.startswith("list<"):
        return Type("list", optional, element=type_of(name[5:-1]))
    if name.startswith("record<"):
        parts = [p.partition(":") for p in _split(name[7:-1])]
        fields = tuple((p[0].strip(), type_of(p[2])) for p in parts)
        return Type("record", optional, fields=fields)
    call = _CALL.fullmatch(name)
    if call is None:
        return _plain(name, optional)
    if call[1] == "enum":
        return Type("enum", optional, options=tuple(loads(f"[{call[2]}]")))
    low, _, high = call[2].replace("_", "").partition("..")
    return Type(_plain(call[1], False).name, optional, float(low) if low else None, float(high) if high else None)


def _plain(name: str, optional: bool) -> Type:
    if name in ("prob", "percent"):
        return Type("real", optional, 0.0, 1.0 if name == "prob" else None)
    if name in _NUMBERS:
        return Type("real", optional)
    return Type("int" if name in _COUNTS else name, optional)


def _split(text: str) -> list[str]:
    """Parts at the commas of the top level."""
    parts, depth, quoted, start = [], 0, False, 0
    for i, c in enumerate(text):
        quoted ^= c == '"'
        if not quoted:
            depth += (c in "<(") - (c in ">)")
            if c == "," and depth == 0:
                parts.append(text[start:i])
                start = i + 1
    return [p for p in (*parts, text[start:]) if p.strip()]
