"""What a test gives to a step: which of its inputs rows enter, and values as the rows of a stream hold them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from alchemist_runtime.schema.rows import HISTORY, IDENTITY, MESSAGES, ORIGIN, optional, required

from alchemist_dsl.check.types import ANY, NULL, element, family, fields, noun
from alchemist_dsl.ir import Block, BoolV, ListV, NullV, Qty, RecordV, RefV, RowSchema, TextV, Value
from alchemist_dsl.source import Span

#: Roles under which a step reads rows; models and tokenizers are none.
_ROLES: Final = ("from", "learn", "sound", "against", "examples")
#: Inputs that rows enter where a test does not say which.
MAIN: Final = ("from", "learn", "take")
#: Columns that hold lists of records, so that a row of them alone is not taken for streams by name.
_TURNS: Final = frozenset({MESSAGES, HISTORY})
_WHOLE: Final = frozenset({"int", "rows", "packs", "tokens", "chars", "words", "lines", "calls", "steps", "bytes"})


class Unfit(Exception):
    """A value that its column does not take: where, and why."""

    def __init__(self, span: Span, headline: str) -> None:
        super().__init__(headline)
        self.span, self.headline = span, headline


@dataclass(frozen=True, slots=True)
class Inlet:
    """An input of a step, under the name by which a test gives its rows."""

    label: str
    ref: RefV
    role: str


# --- which input ------------------------------------------------------------------------------------------------------


def inlets(block: Block) -> tuple[Inlet, ...]:
    """The inputs of a step: by the name of the block; of several ports of one block, by the name of the port or the
    source.
    """
    found = [(e.name, e.stream, "take") for e in block.entries]
    if block.kind != "mixture":
        pairs = zip(block.inputs, block.roles, strict=True)
        found = [(".", r, role) for r, role in pairs if role in _ROLES]
    often = Counter(r.target for _, r, _ in found)
    return _labelled(
        (_short(ref, often[ref.target] > 1) if "." in name else name, ref, role) for name, ref, role in found
    )


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _short(ref: RefV, shared: bool) -> str:
    if shared and ref.origin is not None:
        return _last(ref.origin)
    return ref.port if shared and ref.port != "rows" else _last(ref.target)


def _labelled(found: Iterable[tuple[str, RefV, str]]) -> tuple[Inlet, ...]:
    """Labels made unique: of two with one name the second has its whole name, with `_` for `.`."""
    seen: dict[str, Inlet] = {}
    for label, ref, role in found:
        whole = "_".join(filter(None, (ref.target.replace(".", "_"), ref.port, ref.origin)))
        name = label if label not in seen else whole
        seen[name] = Inlet(name, ref, role)
    return tuple(seen.values())


def by_name(given: Value | None) -> RecordV | None:
    """`{ clean = [...], evolved = [...] }`: rows for each input; None where `given` is rows."""
    if not isinstance(given, RecordV) or not given.fields or _TURNS & set(given.fields):
        return None
    lists = all(isinstance(v, ListV) and all(isinstance(i, RecordV) for i in v.items) for v in given.fields.values())
    return given if lists else None


def rows_of(value: Value | None) -> tuple[RecordV, ...]:
    """The rows of a list of records; a single record is one row."""
    items = value.items if isinstance(value, ListV) else (value,)
    return tuple(i for i in items if isinstance(i, RecordV))


def rows_by_label(given: Value | None, found: tuple[Inlet, ...]) -> dict[str, tuple[RecordV, ...]]:
    """The given rows of each input that the test names; without names all of them enter the first main input."""
    named = by_name(given)
    if named is not None:
        return {label: rows_of(rows) for label, rows in named.fields.items()}
    first = next((i.label for i in found if i.role in MAIN), None)
    return {} if first is None or given is None else {first: rows_of(given)}


# --- the columns of an input ------------------------------------------------------------------------------------------


def suite_columns(suite: Block) -> dict[str, str]:
    """The columns of a benchmark's items that are looked at: texts, and what names an item."""
    value = suite.get("text")
    texts = value.items if isinstance(value, ListV) else (value,)
    named = (suite.get("id"), suite.get("entry_point"))
    return {v.value: "text?" for v in (*texts, *named) if isinstance(v, TextV)}


def column_types(schema: RowSchema, rows: Iterable[RecordV]) -> dict[str, str]:
    """Types of all columns: the known ones, and what the rows bring beside them. All may be null."""
    types = {n: optional(t) for n, t in schema.columns.items() if required(t) not in (ANY, NULL)}
    new: dict[str, list[Value]] = {}
    for row in rows:
        for name, value in row.fields.items():
            if name not in types and name not in (MESSAGES, ORIGIN):
                new.setdefault(name, []).append(value)
    types |= {name: inferred(values) for name, values in new.items()}
    return {**types, **{n: "text?" for n, t in schema.columns.items() if required(t) == NULL and n not in types}}


def inferred(values: Iterable[Value]) -> str:
    """The type of a column that nobody declares, as a source of such records would have it."""
    kinds = {_own(v) for v in values} - {None}
    if kinds == {"int", "real"}:
        return "real?"
    return f"{kinds.pop()}?" if len(kinds) == 1 else "json?" if kinds else "text?"


def _own(value: Value) -> str | None:
    match value:
        case TextV():
            return "text"
        case BoolV():
            return "bool"
        case Qty(kind=kind):
            return "int" if kind in _WHOLE else "real"
        case NullV():
            return None
        case _:
            return "json"


# --- values -----------------------------------------------------------------------------------------------------------


def plain(value: Value, type_: str, name: str) -> Any:
    """A literal as a row of this column type holds it. Raises Unfit."""
    if isinstance(value, NullV):
        return None
    kind = family(type_)
    match kind, value:
        case ("any", _):
            return literal(value)
        case ("json", _):
            return json.dumps(literal(value), ensure_ascii=False)
        case ("text", TextV(value=text)):
            return text
        case ("bool", BoolV(value=flag)):
            return flag
        case ("number", Qty()):
            return _number(value, required(type_), name)
        case ("messages", ListV(items=items)):
            return [_turn(i, name) for i in items]
        case ("list", ListV(items=items)):
            return [plain(i, element(type_) or ANY, name) for i in items]
        case ("record", RecordV()):
            return _record(value, fields(type_), name)
    raise Unfit(value.span, f"`{name}` is {noun(type_)}, but this is {_what(value)}")


def _number(value: Qty, type_: str, name: str) -> int | float:
    head = type_.partition("(")[0]
    if head == "int":
        if value.kind not in _WHOLE or value.value.denominator != 1:
            raise Unfit(value.span, f"`{name}` is a whole number, but this is {value.text}")
        return int(value.value)
    return float(value.value)


def _record(value: RecordV, types: Mapping[str, str], name: str) -> dict[str, Any]:
    for field in value.fields:
        if types and field not in types:
            raise Unfit(value.places.get(field, value.span), f"`{name}` has no field `{field}`")
    return {f: plain(value.fields[f], t, f"{name}.{f}") if f in value.fields else None for f, t in types.items()}


def _turn(value: Value, name: str) -> dict[str, Any]:
    """A turn with role and content; further keys as JSON."""
    parts = value.fields if isinstance(value, RecordV) else {}
    role, content = parts.get("role"), parts.get("content")
    if not isinstance(role, TextV) or not isinstance(content, TextV | NullV):
        raise Unfit(value.span, f"a turn of `{name}` has a `role` and a `content`")
    more = {k: literal(v) for k, v in parts.items() if k not in ("role", "content")}
    return {
        "role": role.value,
        "content": content.value if isinstance(content, TextV) else None,
        "extra": json.dumps(more, ensure_ascii=False, sort_keys=True) if more else None,
    }


def literal(value: Value) -> Any:
    """A literal as JSON data."""
    match value:
        case TextV(value=text):
            return text
        case BoolV(value=flag):
            return flag
        case Qty(kind=kind, value=number):
            return int(number) if kind in _WHOLE else float(number)
        case ListV(items=items):
            return [literal(i) for i in items]
        case RecordV(fields=parts):
            return {k: literal(v) for k, v in parts.items()}
        case _:
            return None


def answer(record: RecordV) -> dict[str, Any]:
    """A mock answer as the JSON object that a teacher would send."""
    return {name: literal(value) for name, value in record.fields.items()}


def row(record: RecordV, types: Mapping[str, str], origin: str) -> dict[str, Any]:
    """A given row: every column of the stream, `origin`, and `messages` where they are given. Raises Unfit."""
    made = {n: plain(record.fields[n], t, n) if n in record.fields else None for n, t in types.items()}
    if MESSAGES in record.fields:
        made[MESSAGES] = plain(record.fields[MESSAGES], "messages", MESSAGES)
    written = record.fields.get(ORIGIN)
    made[ORIGIN] = plain(written, "text", ORIGIN) if written is not None else origin
    return made


def identity(name: str) -> bool:
    """Whether a column carries the identity of a row, which a test does not write; `origin` it may."""
    return name != ORIGIN and (name in IDENTITY or name.startswith("_"))


def _what(value: Value) -> str:
    match value:
        case RecordV():
            return "a record"
        case ListV():
            return "a list"
        case Qty():
            return "a number"
        case BoolV():
            return "true or false"
        case _:
            return "text"
