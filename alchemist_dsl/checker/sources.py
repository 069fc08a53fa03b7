"""Checks schemas, sources and suites: where rows come from and which columns they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from alchemist_runtime.schema.rows import DROPPED_COLUMNS, MESSAGES, SFT, nullable

from alchemist_dsl import ir
from alchemist_dsl.checker import taint
from alchemist_dsl.checker.block_checker import Building, checks
from alchemist_dsl.checker.columns import (
    TURNS,
    columns_of_one_type,
    field_columns,
    read_fields,
    read_rules,
    read_sets,
    rule_names,
    with_sets,
)
from alchemist_dsl.checker.context import Context, Stream
from alchemist_dsl.checker.expressions import Env, called
from alchemist_dsl.checker.problems import listed
from alchemist_dsl.checker.taint import Taint
from alchemist_dsl.checker.types import ANY, element, family, noun, plain
from alchemist_dsl.diagnostics.model import Edit, Label

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
    provided = dict(types)
    if MESSAGES in columns and MESSAGES not in provided:
        provided[MESSAGES] = "messages"
    columns.pop(MESSAGES, None)
    columns = with_sets(columns, provided)
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
    displayed = ", ".join(f"{n} ({plain(t)})" if family(t) != "text" else n for n, t in raw.columns.items())
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
        note=f"its columns: {displayed}" if displayed else "its records have no columns",
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


# --- steps -----------------------------------------------------------------------------------------------------------


def totals_env(b: Building, *more: str) -> Env:
    """What `expect` of a step reads: its own totals."""
    totals = (*rule_names(b), *more)
    return replace(b.env, stream=None, out=None, totals=totals, rules_lost=b.incomplete)


def selected(b: Building) -> ir.SelectV | None:
    """`select` with `best` joined in."""
    select = b.attribute("select")
    best = b.attribute("best")
    parts = tuple(i for i in best.items if isinstance(i, ir.ExprV)) if isinstance(best, ir.ListV) else ()
    if not isinstance(select, ir.SelectV):
        if parts and "select" not in b.body.attrs and not b.incomplete:
            b.error(
                "A106",
                "`best` needs a `select` that says how many rows",
                b.attrs["best"].name_span,
                help="for example `select = 10%`",
            )
        return None
    for part in parts:
        if family(part.type) not in ("number", "bool", ANY):
            b.error("A210", f"`best` takes a number, but this is {noun(part.type)}", part.span)
    covering = [p for p in parts if "coverage" in called(p.tree)]
    if covering and (len(parts) > 1 or covering[0].tree[:2] != ["call", "coverage"]):
        b.error(
            "A210", "`coverage(…)` chooses the rows by itself; nothing stands beside it in `best`", covering[0].span
        )
    if parts and select.where is not None:
        b.error("A210", "`best` goes with a share or a count, and `select` is a condition", b.attrs["best"].name_span)
    if parts:
        select = replace(select, best=parts)
        b.attrs["select"] = replace(b.attrs["select"], value=select)
    return select


@checks("map")
def map_(b: Building) -> None:
    """New or changed columns."""
    b.read_from()
    b.rest()
    select = selected(b)
    sets, types = read_sets(b, b.env)
    b.extra["sets"] = sets
    b.extra["rules"] = read_rules(b, b.env, totals_env(b))
    if not b.body.sets and not b.incomplete:
        b.error("A106", f"{b.title} sets no column", b.header, help="for example `set lang = lang(response)`")
    mode = b.attribute("mode")
    partly = isinstance(mode, ir.ChoiceV) and (mode.name == "add" or (mode.name == "replace" and select is not None))
    if partly:
        columns_of_one_type(b, sets)
    taints = taint.set_by(b.stream.taints, sets, b.stream.columns, partly=partly)
    b.publish("rows", with_sets(b.stream.columns, types, partly=partly), taints=taints)
    set_aside(b, select)


@checks("filter")
def filter_(b: Building) -> None:
    """Ordered rules that refuse rows."""
    b.read_from()
    b.rest()
    select = selected(b)
    b.extra["rules"] = read_rules(b, b.env, totals_env(b))
    if not b.body.rules and select is None and not b.incomplete and "select" not in b.body.attrs:
        b.error("A106", f"{b.title} has no rule", b.header, help="for example `drop chars(response) < 80 as too_short`")
    b.publish("rows", b.stream.columns)
    b.publish("dropped", {**b.stream.columns, **DROPPED_COLUMNS})
    set_aside(b, select)


def set_aside(b: Building, select: ir.SelectV | None, accept: ir.Value | None = None) -> None:
    """The port `rest` of a step that selects, or stops when it has enough."""
    if select is not None or accept is not None or not b.ok or b.incomplete:
        b.publish("rest", b.stream.columns)


@checks("dedup")
def dedup(b: Building) -> None:
    """One row of each group of duplicates."""
    b.read_from()
    b.rest()
    b.extra["rules"] = read_rules(b, b.env, totals_env(b, "duplicate"))
    _texts(b, "on")
    prefer = b.attribute("prefer")
    if isinstance(prefer, ir.ExprV) and family(prefer.type) not in ("number", "bool", ANY):
        b.error("A210", f"`prefer` takes a number, but this is {noun(prefer.type)}", prefer.span)
    b.publish("rows", b.stream.columns)
    more = {"kept": "id", "similarity": "real"}
    b.publish("dropped", {**b.stream.columns, **DROPPED_COLUMNS, **more})


@checks("decontaminate")
def decontaminate(b: Building) -> None:
    """Refuses rows that leak a benchmark."""
    b.read_from()
    b.read_streams("against", "against")
    b.rest()
    b.extra["rules"] = read_rules(b, b.env, totals_env(b))
    _texts(b, "on")
    _entry_points(b)
    b.publish("rows", b.stream.columns, taints=taint.searched(b.stream.taints, _searched(b)))
    leaks = (taint.Taint(b.decl.key, (), others=True),)
    more = {"suite": "text", "item": "text", "method": "text", "match": "text?"}
    b.publish("dropped", {**b.stream.columns, **DROPPED_COLUMNS, **more}, taints=leaks)


@checks("split")
def split(b: Building) -> None:
    """Two parts of a stream."""
    b.read()
    share = b.get("eval")
    if isinstance(share, ir.Qty) and not 0 < share.value < 1:
        b.error(
            "A203",
            f"one of the parts would be empty: {share.text}",
            share.span,
            help="write a smaller share, for example `eval = 5%`",
        )


def _searched(b: Building) -> frozenset[str]:
    """The columns that a decontamination reads."""
    on = b.get("on")
    items = on.items if isinstance(on, ir.ListV) else ()
    reads = [i.reads for i in items if isinstance(i, ir.ExprV)]
    return frozenset[str]().union(*reads) if reads else taint.TURNS


def _entry_points(b: Building) -> None:
    """A search for entry points needs a suite that has some."""
    method = b.attribute("method")
    wanted = [
        m
        for m in (method.items if isinstance(method, ir.ListV) else ())
        if isinstance(m, ir.MethodV) and m.name == "entry_point"
    ]
    refs = [r for r, role in zip(b.inputs, b.roles, strict=True) if role == "against"]
    suites = [b.context.blocks.get(r.target) for r in refs]
    if not wanted or not refs or any(s is None or s.poisoned for s in suites):
        return
    without = [r for r, s in zip(refs, suites, strict=True) if s and s.get("entry_point") is None]
    if len(without) < len(refs):
        for ref in without:
            b.problem(
                "A514",
                f"`entry_point()` looks for nothing of `{ref.target}`, which says of no column that it holds entry"
                " points",
                ref.span,
                help=(
                    'write it into the suite, for example `entry_point = "entry_point"`, or let another method guard'
                    " against it"
                ),
            )
    else:
        b.error(
            "A106",
            "`entry_point()` finds nothing: no suite here says which column holds entry points",
            wanted[0].span,
            labels=(Label(refs[0].span, "searched for"),),
            help='write it into the suite, for example `entry_point = "entry_point"`',
        )


def _texts(b: Building, name: str) -> None:
    """What is compared or searched is text."""
    value = b.attribute(name)
    items = value.items if isinstance(value, ir.ListV) else ()
    for item in items:
        if isinstance(item, ir.ExprV) and item.tree[:2] == ["lit", "text"]:
            column = str(item.tree[2])
            known = b.stream.open or column in b.stream.columns
            b.error(
                "A210",
                f"`{name}` takes columns, and this text is the same for every row",
                item.span,
                help=f"write it without quotes: `{column}`" if known and column.isidentifier() else None,
                edit=Edit(item.span, column) if column in b.stream.columns else None,
            )
            continue
        if isinstance(item, ir.ExprV) and family(item.type) not in ("text", "messages", ANY):
            b.error(
                "A210",
                f"`{name}` takes texts, but this is {noun(item.type)}",
                item.span,
                help=f"write `text({item.text})`",
            )
