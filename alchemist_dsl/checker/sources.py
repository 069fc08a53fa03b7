"""Checks schemas, sources and suites: where rows come from and which columns they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from alchemist_runtime.schema.rows import DROPPED_COLUMNS, MESSAGES, SFT, nullable

from alchemist_dsl import ir
from alchemist_dsl.checker.block_checker import Building, checks
from alchemist_dsl.checker.columns import TURNS, field_columns, read_fields, read_rules, read_sets, with_sets
from alchemist_dsl.checker.context import Context, Stream
from alchemist_dsl.checker.problems import listed
from alchemist_dsl.checker.taint import Taint
from alchemist_dsl.checker.types import ANY, element, family, noun, plain
from alchemist_dsl.diagnostics.model import Label

#: Columns of common sets, by what they usually hold.
_GUESSES: Final = {
    "response": ("output", "answer", "completion", "solution", "code", "target", "canonical_solution", "content"),
    "instruction": ("question", "prompt", "query", "problem", "input", "task", "text"),
}

#: Columns that are part of the request in common sets, beside the instruction.
REQUEST: Final = ("input", "context", "query", "question", "prompt", "passage", "document")


@checks("schema")
def schema(b: Building) -> None:
    """A schema: its fields become the columns that rows must have."""
    placed = b.body.attrs.get("extends")
    base: dict[str, str] = {}
    if placed is not None and "sft" in (b.context.slice(placed.stmt.value.span),):
        base = dict(SFT)
    fields = read_fields(b.body.fields, b)
    b.extra["fields"] = fields
    b.context.schema_types[b.decl.key] = {**base, **field_columns(fields)}
    b.rest()


def recipe_schema(context: Context, ref: ir.Value | None = None) -> dict[str, str]:
    """Columns of the row schema that a block or the recipe names; `sft` without one."""
    if not isinstance(ref, ir.RefV):
        recipe = next((x for x in context.blocks.values() if x.kind == "recipe"), None)
        ref = recipe.get("schema") if recipe is not None else None
    if isinstance(ref, ir.RefV) and ref.target in context.schema_types:
        return context.schema_types[ref.target]
    return dict(SFT)


@checks("source")
def source(b: Building) -> None:
    """A source: its place, the columns of its records, and those of the rows it gives."""
    b.rest()
    _place(b)
    missing = "missing" in b.attrs
    known = None if missing else b.context.columns(b.finish())
    raw = Stream(dict(known or {}), open=known is None, name=f"`{b.decl.key}`")
    env = b.env = replace(b.env, stream=raw)
    sets, types = read_sets(b, env)
    b.extra["sets"] = sets
    totals = replace(b.env, stream=None, totals=())
    b.extra["rules"] = read_rules(b, env, totals)
    wanted = recipe_schema(b.context, b.attribute("schema"))
    columns = _rows(raw.columns, types, wanted, open_=raw.open)
    _required(b, raw, types, columns, wanted)
    lost = b.incomplete
    b.stream = Stream(
        {},
        open=raw.open or lost or not b.ok,
        origins=frozenset({b.decl.key}),
        missing=missing,
        taints=() if missing else (Taint(b.decl.key, (), others=True),),
    )
    b.publish("rows", columns)
    b.publish("dropped", {"record": "text", "place": "text", **DROPPED_COLUMNS}, open=False)


def _rows(
    raw: Mapping[str, str], types: Mapping[str, str], wanted: Mapping[str, str], *, open_: bool
) -> dict[str, str]:
    """Columns of a source's rows: those of the record, what is set, and the nullable ones of the schema."""
    columns = dict(raw)
    given = dict(types)
    if MESSAGES in columns and MESSAGES not in given:
        given[MESSAGES] = "messages"
    columns.pop(MESSAGES, None)
    columns = with_sets(columns, given)
    for name, type_ in wanted.items():
        if nullable(type_) or open_:
            columns.setdefault(name, type_)
    if "instruction" in columns:
        for name, type_ in TURNS.items():
            if nullable(type_):
                columns.setdefault(name, type_)
    return columns


def _place(b: Building) -> None:
    places: list[str] = [n for n in ("hub", "python", "missing") if n in b.body.attrs]
    if "files" in b.body.attrs and "hub" not in places:
        places.append("files")
    if (b.incomplete or b.meant & {"hub", "files", "python", "missing"}) and not places:
        return
    if not places:
        b.error(
            "A301",
            f"{b.title} does not say where its rows come from",
            b.header,
            help='write one of `hub = "owner/name"`, `files = "data/*.jsonl"`, `python = "module"`, `missing = "why"`',
        )
    elif len(places) > 1:
        first, second = (b.body.attrs[n].stmt for n in places[:2])
        b.error(
            "A301",
            f"{b.title} has two places: {listed(places)}",
            second.path[0].span,
            labels=(Label(first.path[0].span, "first"),),
            help="make two sources of it and read both: `from = [a, b]`",
        )


def _required(
    b: Building, raw: Stream, types: Mapping[str, str], columns: Mapping[str, str], wanted: Mapping[str, str]
) -> None:
    """Report columns that the schema requires and the source does not give, or gives with another type."""
    if raw.open or b.incomplete:
        return
    required = {n: t for n, t in wanted.items() if not nullable(t) and t != ANY}
    lacking = [n for n in required if n not in columns]
    if lacking:
        _lacking(b, raw, types, {n: required[n] for n in lacking})
    for name, type_ in required.items():
        have = columns.get(name, ANY)
        if name not in types and family(have) not in (family(type_), "any"):
            b.error(
                "A504",
                f"`{name}` of `{b.decl.name}` is {noun(have)}, but must be {noun(type_)}",
                b.header,
                help=f"turn it into {noun(type_)}, for example `set {name} = text({name})`",
            )


def _unsaid(base: str, columns: Mapping[str, str]) -> str | None:
    """A column beside `base` that looks like part of the request."""
    return next((n for n in REQUEST if n != base and family(columns.get(n, "")) == "text"), None)


def _lacking(b: Building, raw: Stream, types: Mapping[str, str], lacking: Mapping[str, str]) -> None:
    shown = ", ".join(f"{n} ({plain(t)})" if family(t) != "text" else n for n, t in raw.columns.items())
    what = listed([f"{n}: {t}" for n, t in lacking.items()])
    where = "it comes" if len(lacking) == 1 else "they come"
    guesses = list(dict.fromkeys(_guess(n, raw.columns) for n in lacking))
    more = _unsaid("instruction", raw.columns)
    if "instruction" in raw.columns and "instruction" not in types and more:
        guesses.append(f"set instruction = {joined('instruction', more, raw.columns[more])}")
    b.error(
        "A304",
        f"`{b.decl.name}` must give {what}, but has no such column{'s' * (len(lacking) > 1)}",
        b.header,
        note=f"its columns: {shown}" if shown else "its records have no columns",
        help=f"say where {where} from, for example {listed(guesses)}",
    )


def joined(base: str, column: str, type_: str) -> str:
    """The recipe text that appends a column to a text, with an empty line between, where it is not empty."""
    text = f'coalesce({column}, "")' if nullable(type_) else column
    return f'{base} + pick({text} == "", "", "\\n\\n" + {text})'


def _guess(name: str, columns: Mapping[str, str]) -> str:
    for column in _GUESSES.get(name, ()):
        if column in columns:
            more = _unsaid(column, columns) if name == "instruction" else None
            return f"set {name} = {joined(column, more, columns[more]) if more else column}"
    for column, type_ in columns.items():
        if (element(type_) or "").startswith("record<") and name in TURNS:
            return f"set messages = turns({column})"
    texts = [c for c, t in columns.items() if family(t) == "text" and c not in TURNS]
    return f"set {name} = {texts[0] if texts else '…'}"


@checks("suite")
def suite(b: Building) -> None:
    """A benchmark: its items are a stream as they are."""
    from alchemist_dsl.checker.templates import Variables

    b.variables = Variables({}, open=True)
    b.rest()
    places = [n for n in ("hub", "files", "missing") if n in b.body.attrs]
    if not places and not b.incomplete:
        b.error(
            "A301",
            f"{b.title} does not say where its items are",
            b.header,
            help='write one of `hub = "owner/name"`, `files = "suite/*.jsonl"`, `missing = "why"`',
        )
    known = None if "missing" in b.attrs else b.context.columns(b.finish())
    b.env = replace(b.env, stream=Stream(dict(known or {}), open=known is None, name=b.title))
    b.extra["sets"], types = read_sets(b, b.env)
    b.stream = Stream({}, open=known is None, missing="missing" in b.attrs)
    b.stream = replace(b.stream, taints=(Taint(b.decl.key, (), others=True),))
    b.publish("rows", {**(known or {}), **types})
    if known is None:
        return
    known = {**known, **types}
    text = b.attribute("text")
    items = text.items if isinstance(text, ir.ListV) else ()
    for item in items:
        if isinstance(item, ir.TextV) and item.value not in known:
            b.error(
                "A503",
                f"items of `{b.decl.name}` have no column `{item.value}`",
                item.span,
                help="columns: " + ", ".join(known),
            )
