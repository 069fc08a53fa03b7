"""Checks `test` blocks: the step, the rows that enter it, the mock answers, and what is expected."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema.attributes import UNITS
from alchemist_runtime.schema.expressions import walk
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.rows import HISTORY, IDENTITY, MESSAGES, ORIGIN, nullable, optional, required

from alchemist_dsl import ir
from alchemist_dsl.checker.block_checker import Building, checks
from alchemist_dsl.checker.columns import read_rules
from alchemist_dsl.checker.context import UNKNOWN, Stream
from alchemist_dsl.checker.expressions import column_type
from alchemist_dsl.checker.problems import article, did_you_mean, either, listed
from alchemist_dsl.checker.types import ANY, NULL, element, family, fields, noun
from alchemist_dsl.diagnostics.model import Label
from alchemist_dsl.ir import Block, BoolV, ListV, NullV, Qty, RecordV, RefV, RowSchema, TextV, Value
from alchemist_dsl.source import Span

TESTED: Final = tuple(name for name, kind in KINDS.items() if kind.counts)


@checks("test")
def test(b: Building) -> None:
    """A unit test of one step."""
    step = b.attribute("step")
    b.rest()
    target = b.context.decls.get(step.target) if isinstance(step, ir.RefV) else None
    if target is None or not isinstance(step, ir.RefV):
        b.ok = False
        return
    if target.kind not in TESTED:
        b.error(
            "A110",
            f"a test needs a step, and `{target.name}` is {article(target.kind)}",
            step.span,
            help="steps are " + listed(TESTED, "and"),
        )
        return
    block = b.context.blocks.get(step.target)
    _expectations(b, step, target.kind)
    if block is None or block.poisoned:
        return
    found = inlets(block)
    _reply(b, block)
    _given(b, block, found)
    if b.ok:
        _offline(b, block, found)
    if b.ok:
        _reachable(b, block, found)


# --- expect -----------------------------------------------------------------------------------------------------------


def _expectations(b: Building, step: ir.RefV, kind: str) -> None:
    rules = [
        r.stmt.name.name if r.stmt.name else b.context.slice(r.stmt.condition.span)
        for r in b.context.bodies[step.target].rules
        if r.stmt.verb != "expect"
    ]
    b.env = replace(
        b.env,
        stream=b.context.streams.get((step.target, "rows"), UNKNOWN),
        totals=(*rules, *KINDS[kind].refuses),
        rules_lost=b.context.bodies[step.target].lost,
        counts=KINDS[kind].counts or ("rows",),
        streams=True,
    )
    b.extra["rules"] = read_rules(b, b.env, b.env)
    block = b.context.blocks.get(step.target)
    reads = set() if block is None else {i.ref.target for i in inlets(block)}
    for ref in b.env.refs:
        if ref.target != step.target and not (kind == "mixture" and ref.target in reads):
            b.error(
                "A111",
                f"this test carries out `{step.target}` alone, so `{ref.target}` cannot be counted",
                ref.span,
                help=f"count `{step.target}` and its ports, or write a test of `{ref.target}`",
            )
    if not b.extra["rules"] and not b.body.rules and not b.incomplete and b.ok:
        b.error("A106", f"{b.title} expects nothing", b.header, help="for example `expect rows == 1`")


# --- given ------------------------------------------------------------------------------------------------------------


def _given(b: Building, block: ir.Block, found: tuple[Inlet, ...]) -> None:
    """Rows enter an input that the step has, with columns and types that its rows could have."""
    provided = b.get("given")
    named = by_name(provided)
    labels = [i.label for i in found]
    for label in named.fields if named is not None else ():
        if label not in labels and named is not None:
            span = named.places.get(label, named.span)
            text, edit = did_you_mean(label, labels, span)
            help_ = text or f"it reads {listed(labels)}"
            b.error("A103", f"`{block.name}` reads no `{label}`", span, help=help_, edit=edit)
    if named is None and block.kind == "mixture" and len(found) > 1 and rows_of(provided):
        b.error(
            "A201",
            f"`{block.name}` takes from {listed(labels)}, so `given` names where each row stands",
            provided.span if provided is not None else b.header,
            help=f"write `given = {{ {labels[0]} = [ … ], {labels[1]} = [ … ] }}`",
        )
        return
    for label, rows in rows_by_label(provided, found).items():
        inlet = next((i for i in found if i.label == label), None)
        for row in rows if inlet is not None else ():
            assert inlet is not None
            _row(b, row, _stream(b, inlet), inlet)


def _stream(b: Building, inlet: Inlet) -> Stream:
    block = b.context.blocks.get(inlet.ref.target)
    if block is not None and block.kind == "suite":
        return Stream(suite_columns(block), open=True, name=f"`{block.name}`")
    return b.context.stream(inlet.ref)


def _row(b: Building, row: ir.RecordV, stream: Stream, inlet: Inlet) -> None:
    for name, value in row.fields.items():
        span = row.places.get(name, value.span)
        type_ = stream.columns.get(name) or _standing(stream, name)
        if identity(name):
            b.error("A511", f"`{name}` carries the identity of the row, which a test makes up itself", span)
        elif type_ is None and not stream.open and name not in stream.conflicts:
            text, edit = did_you_mean(name, [*stream.columns, ORIGIN], span)
            b.error(
                "A503",
                f"rows of {stream.name or f'`{inlet.ref.target}`'} have no column `{name}`",
                span,
                help=text or "columns: " + ", ".join(stream.columns),
                edit=edit,
            )
        elif type_ is not None:
            _fits(b, value, type_, name)


def _standing(stream: Stream, name: str) -> str | None:
    """The type of a column that every row may have beside those of its stream."""
    if name == ORIGIN:
        return "text"
    return column_type(stream, name) if name == MESSAGES else None


def _fits(b: Building, value: ir.Value, type_: str, name: str) -> None:
    if family(type_) in (ANY, "id"):
        return
    try:
        plain(value, type_, name)
    except Unfit as unfit:
        b.error("A504", unfit.headline, unfit.span)


# --- reply ------------------------------------------------------------------------------------------------------------


def _reply(b: Building, block: ir.Block) -> None:
    """A teacher step has mock answers, and each has the fields of the prompt's output; a text is sent as it is."""
    reply = b.get("reply")
    if not block.declared.asks:
        if reply is not None:
            b.error("A111", f"`{block.name}` asks no teacher, so it needs no `reply`", b.attrs["reply"].name_span)
        return
    ref = block.get("prompt")
    prompt = b.context.blocks.get(ref.target) if isinstance(ref, ir.RefV) else None
    if prompt is None or prompt.poisoned:
        return
    if reply is None:
        if "reply" not in b.body.attrs and not b.incomplete:
            example = ", ".join(f"{f.name} = {_example(f.type)}" for f in prompt.output_fields)
            b.error(
                "A106",
                f"{b.title} needs `reply`: `{block.name}` asks a teacher",
                b.header,
                help=f"what a mock teacher answers, for example `reply = {{ {example} }}`",
            )
        return
    for record in reply.items if isinstance(reply, ir.ListV) else (reply,):
        if isinstance(record, ir.RecordV):
            _answer(b, record, prompt)


def _example(type_: str) -> str:
    if required(type_).startswith("enum("):
        return required(type_)[5:-1].partition(",")[0]
    kinds = {"number": "1", "bool": "true", "list": "[]", "record": "{}", "messages": "[]"}
    return kinds.get(family(type_), '"…"')


def _answer(b: Building, record: ir.RecordV, prompt: ir.Block) -> None:
    known = {f.name: f.type for f in prompt.output_fields}
    good = True
    for name, value in record.fields.items():
        if name not in known:
            text, edit = did_you_mean(name, known, record.places.get(name))
            good = False
            b.error(
                "A406",
                f"the reply of `{prompt.name}` has no field `{name}`",
                record.places.get(name, value.span),
                help=text or f"it has {listed(list(known))}",
                edit=edit,
            )
            continue
        why = _misfit(value, known[name], name)
        if why is not None:
            good = False
            b.error("A504", why.headline, why.span, help=_HOW_RAW)
    lacking = [n for n, t in known.items() if n not in record.fields and not nullable(t)]
    if lacking and good:
        b.error(
            "A406",
            f"the reply lacks {either(lacking)}, which `{prompt.name}` wants",
            record.span,
            labels=(Label(prompt.name_span, "declared here"),),
            help=_HOW_RAW,
        )


_HOW_RAW: Final = 'to see what happens to an unreadable answer, write it as a text: `reply = "…"`'


def _misfit(value: ir.Value, type_: str, name: str) -> Unfit | None:
    if isinstance(value, ir.NullV):
        return None if nullable(type_) or family(type_) == ANY else Unfit(value.span, f"`{name}` is never null")
    try:
        plain(value, type_, name)
    except Unfit as unfit:
        return unfit
    if isinstance(value, ir.Qty) and not _within(value.value, type_):
        bounds = required(type_).partition("(")[2][:-1] or "0..1"
        return Unfit(value.span, f"`{name}` lies in {bounds}; this is {value.text}")
    options = _options(type_)
    if isinstance(value, ir.TextV) and options and value.value not in options:
        return Unfit(value.span, f"`{name}` is one of {either(options)}")
    if isinstance(value, ir.RecordV):
        for field, of in fields(type_).items():
            inner = value.fields.get(field)
            if inner is None:
                if not nullable(of):
                    return Unfit(value.span, f"`{name}` lacks `{field}`")
            elif (found := _misfit(inner, of, f"{name}.{field}")) is not None:
                return found
    return None


_BOUNDS: Final = re.compile(r"\w+\(\s*(-?[\d._]*)\s*\.\.\s*(-?[\d._]*)\s*\)")


def _within(value: Fraction, type_: str) -> bool:
    base = required(type_)
    found = _BOUNDS.fullmatch("prob(0..1)" if base == "prob" else base)
    if found is None:
        return True
    low, high = (Fraction(t.replace("_", "")) if t else None for t in found.groups())
    return (low is None or value >= low) and (high is None or value <= high)


def _options(type_: str) -> list[str]:
    base = required(type_)
    return re.findall(r'"((?:[^"\\]|\\.)*)"', base) if base.startswith("enum(") else []


# --- what a test needs to be carried out ------------------------------------------------------------------------------


def _offline(b: Building, block: ir.Block, found: tuple[Inlet, ...]) -> None:
    """A decontamination compares with something that is at hand: given items, or a local file of the suite."""
    against = [i for i in found if i.role == "against"]
    provided = set(by_name(b.get("given")).fields) if by_name(b.get("given")) else set()  # type: ignore[union-attr]
    if not against or any(i.label in provided or _local(b, i) for i in against):
        return
    label = against[0].label
    main = next((i.label for i in found if i.role == "from"), "rows")
    b.error(
        "A106",
        f"the items of {listed([i.ref.target for i in against][:3])} are not at hand, and a test fetches nothing",
        b.attrs["given"].name_span if "given" in b.attrs else b.header,
        help=f"give some of them by name: `given = {{ {main} = [ … ], {label} = [ … ] }}`",
    )


def _local(b: Building, inlet: Inlet) -> bool:
    block = b.context.blocks.get(inlet.ref.target)
    return block is not None and block.kind == "suite" and block.get("files") is not None and block.get("hub") is None


# --- what can never be true -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Range:
    """The least and the most that a count of a step can be, given these rows."""

    low: int
    high: int | None


def _reachable(b: Building, block: ir.Block, found: tuple[Inlet, ...]) -> None:
    """Report expectations that no outcome of the step can meet."""
    by_label = rows_by_label(b.get("given"), found)
    provided = sum(len(by_label.get(i.label, ())) for i in found if i.role in MAIN)
    rules: tuple[ir.RuleV, ...] = b.extra["rules"]
    columns = [r for r in rules if _reads_rows(r.expr.tree)]
    none = next((r for r in rules if r.expr.tree == _NO_ROWS), None)
    for rule in rules:
        why = _never(rule.expr.tree, block, provided)
        if why is None and none is not None and rule in columns:
            why = "the test also expects that no row leaves the step"
        if why is not None:
            b.error("A215", f"this can never be true: `{rule.expr.text}`", rule.expr.span, note=why)


_NO_ROWS: Final = ["cmp", "==", ["total", "rows"], ["lit", "int", 0]]


def _reads_rows(tree: Any) -> bool:
    return any(part[0] in ("col", "template") for part in walk(tree))


def _never(tree: list[Any], block: ir.Block, given: int) -> str | None:
    if tree[0] == "and":
        return next((w for t in tree[1] if (w := _never(t, block, given))), None)
    if tree[0] != "cmp" or tree[2][0] != "total" or tree[3][0] != "lit":
        return None
    span = _counted(str(tree[2][1]), block, given)
    wanted = tree[3][2]
    if span is None or not isinstance(wanted, int):
        return None
    low, high = span.low, span.high
    never = {
        "==": wanted < low or (high is not None and wanted > high),
        "!=": low == high == wanted,
        "<": low >= wanted,
        "<=": low > wanted,
        ">": high is not None and high <= wanted,
        ">=": high is not None and high < wanted,
    }[str(tree[1])]
    if not never:
        return None
    name = str(tree[2][1])
    rows = f"{given} row{'' if given == 1 else 's'} enter{'s' if given == 1 else ''}"
    at = f"is {low}" if low == high else f"lies in {low}..{high if high is not None else ''}"
    return f"{rows} `{block.name}`, so `{name}` {at}"


def _counted(name: str, block: ir.Block, given: int) -> _Range | None:
    """The range of a total, where the kind of step fixes one."""
    kind, mode = block.declared, block.word("mode")
    if kind.keeps and "dropped" in kind.counts:
        one_stays = int("duplicate" in kind.refuses and given > 0)
        return _Range(one_stays if name == "rows" else 0, given if name == "rows" else given - one_stays)
    if kind.changes and not kind.asks and name == "rows":
        return _Range(given * (2 if mode == "add" else 1), given * (2 if mode == "add" else 1))
    if kind.asks:
        samples = block.get("samples")
        answers = given * (int(samples.value) if isinstance(samples, ir.Qty) else 1)
        if name == "calls":
            return _Range(0, None)
        if name != "rows" or mode == "only":
            return _Range(0, answers)
        return _Range(given, given * (2 if mode == "add" else 1))
    return None


# --- test rows -------------------------------------------------------------------------------------------------------

#: Roles under which a step reads rows; models and tokenizers are none.
_ROLES: Final = ("from", "learn", "sound", "against", "examples")
#: Inputs that rows enter where a test does not say which.
MAIN: Final = ("from", "learn", "take")
#: Columns that hold lists of records, so that a row of them alone is not taken for streams by name.
_TURNS: Final = frozenset({MESSAGES, HISTORY})
_WHOLE: Final = frozenset(name for name, unit in UNITS.items() if unit.whole)


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
    result = {n: plain(record.fields[n], t, n) if n in record.fields else None for n, t in types.items()}
    if MESSAGES in record.fields:
        result[MESSAGES] = plain(record.fields[MESSAGES], "messages", MESSAGES)
    written = record.fields.get(ORIGIN)
    result[ORIGIN] = plain(written, "text", ORIGIN) if written is not None else origin
    return result


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
