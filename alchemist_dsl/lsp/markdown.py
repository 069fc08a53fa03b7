"""The words of completion and hover: kinds, attributes, functions, methods and rows as Markdown, from the tables of the
language.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema import catalog
from alchemist_runtime.schema.attributes import Attribute, AttrType, Kind, spelled, written
from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS, Function
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.registry import Component

_AFFECTS: Final = {
    "cost": "Changes what it costs, not the data: nothing runs again.",
    "speed": "Changes how fast it goes, not the data: nothing runs again.",
    "doc": "Changes no data: nothing runs again.",
}
_PORTS: Final = {
    "dropped": "the rows that it refused, with `rule` and `reason`",
    "trace": "one row per accepted answer: `before`, `out`, `after`",
    "rest": "the rows that `select` did not choose",
    "train": "the rows to learn from",
    "eval": "the rows that are held out",
    "rows": "its rows",
}
#: Rows of a table that are shown before it is cut.
_MOST: Final = 40


def code(text: str) -> str:
    return f"```recipe\n{text}\n```"


def kind_text(name: str, kind: Kind) -> str:
    """What a kind of block is and takes."""
    parts = [code(f"{name} {'NAME ' if kind.name == 'required' else ''}{{ … }}"), kind.doc]
    needed = [f"`{n}`" for n, a in kind.attributes.items() if a.required]
    if needed:
        parts.append("Needs " + ", ".join(needed) + ".")
    ports = [f"`.{p}`: {_PORTS[p]}" for p in kind.ports if p != "rows"]
    if ports:
        parts.append("Ports: " + "; ".join(ports) + ".")
    if not kind.runnable:
        parts.append("This version compiles it and does not run it yet.")
    return "\n\n".join(parts)


def attribute_text(kind: str, name: str, attribute: Attribute) -> str:
    """What an attribute means, takes and defaults to."""
    head = f"{name}: {readable(attribute.type)}"
    if attribute.default is not None:
        head += f" = {attribute.default_text}"
    parts = [code(head), attribute.doc]
    if attribute.required:
        parts.append(f"Every `{kind}` needs it.")
    if attribute.affects in _AFFECTS:
        parts.append(_AFFECTS[attribute.affects])
    return "\n\n".join(parts)


def readable(type_: AttrType) -> str:
    """A type of the kind table in the words of the language."""
    match type_.name:
        case "alt":
            return " | ".join(readable(t) for t in type_.of)
        case "list":
            return f"one or a list of {readable(type_.of[0])}"
        case "choice":
            return " | ".join(map(spelled, type_.names))
        case "ref":
            named = type_.names not in (("any",), ("same",))
            return " or ".join(type_.names) + " block" if named else "block"
        case "record" if type_.fields:
            return "{ " + ", ".join(f"{f.name}: {readable(f.type)}" for f in type_.fields) + " }"
        case "method" if type_.methods:
            return " | ".join(f"{m.name}({', '.join(f.name for f in m.params)})" for m in type_.methods)
        case "method":
            return "method"
        case "select":
            return "share, rows or condition"
        case "int" | "real" if type_.low is not None or type_.high is not None:
            low, high = ("" if b is None else str(b) for b in (type_.low, type_.high))
            return f"{type_.name}({low}..{high})"
        case name:
            return name


# --- functions and methods --------------------------------------------------------------------------------------------


def signature(function: Function) -> str:
    """`head(x: text, n: int) -> text`"""
    params = ", ".join(
        f"{'*' if p.variadic else ''}{p.name}: {p.type}" + ("" if p.default is ... else f" = {plain(p.default)}")
        for p in function.params
    )
    return f"{function.name}({params}) -> {function.result}"


def function_text(name: str, promises: bool = False) -> str | None:
    """What a function computes. `promises`: in `check`, where some count streams."""
    function = (AGGREGATES.get(name) if promises else None) or FUNCTIONS.get(name) or AGGREGATES.get(name)
    if function is None:
        return None
    parts = [code(signature(function)), function.doc]
    if function.unit is not None:
        parts.append(f"Counts {function.unit}: compares with a bare number and with {function.unit}.")
    return "\n\n".join(parts)


def component(type_: AttrType, name: str) -> Component | None:
    """The component behind a method of an attribute; None for methods of the kind table."""
    if type_.family is None or name not in catalog.names(type_.family):  # type: ignore[arg-type]
        return None
    return catalog.find(type_.family, name)


def method_text(type_: AttrType, name: str) -> str | None:
    """What a method of an attribute does, with its parameters."""
    found = component(type_, name)
    if found is not None:
        params = ", ".join(
            p.name + ": " + p.type + ("" if p.default is ... else f" = {plain(p.default)}") for p in found.params
        )
        return "\n\n".join([code(f"{name}({params})"), found.doc])
    for method in type_.methods:
        if method.name == name:
            params = ", ".join(
                f"{f.name}: {readable(f.type)}" + ("" if f.default is None else f" = {written(f.default, f.type)}")
                for f in method.params
            )
            return code(f"{name}({params})")
    return None


def filter_doc(function: Any) -> str:
    """The first line of a jinja filter's documentation."""
    return " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())


def plain(value: Any) -> str:
    """A default of a signature as a recipe writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str() if not value.replace(".", "").replace("/", "").isdigit():
            return f'"{value}"'
        case list():
            return "[" + ", ".join(plain(v) for v in value) + "]"
        case _:
            return str(value)


# --- rows -------------------------------------------------------------------------------------------------------------


def table(columns: Mapping[str, str], open_: bool = False) -> str:
    """Columns and types as a Markdown table."""
    if not columns:
        return "Its columns are known when the data is read." if open_ else "It has no columns."
    lines = ["| column | type |", "|---|---|"]
    some = list(columns.items())[:_MOST]
    lines += [f"| `{name}` | `{type_.replace('|', chr(92) + '|')}` |" for name, type_ in some]
    if len(columns) > len(some):
        lines.append(f"| … | {len(columns) - len(some)} more |")
    if open_:
        lines.append("| … | more, known when the data is read |")
    return "\n".join(lines)


def number(value: Fraction) -> str:
    """An exact number for people."""
    if value.denominator == 1:
        return f"{value.numerator:,}"
    shown = f"{float(value):,.10g}"
    return shown if Fraction(shown.replace(",", "")) == value else f"{value} ≈ {shown}"


def percent(value: Fraction) -> str:
    """A share for people, to a hundredth of a percent."""
    shown = f"{float(value * 100):.2f}".rstrip("0").rstrip(".")
    exact = Fraction(shown) == value * 100
    return f"{'' if exact else '≈ '}{shown}%"


def is_kind(name: str) -> bool:
    return name in KINDS
