"""Checks the steps that work on rows without a teacher: map, filter, dedup, decontaminate."""

from __future__ import annotations

from dataclasses import replace

from alchemist_runtime.schema.rows import DROPPED_COLUMNS

from alchemist_dsl import ir
from alchemist_dsl.checker import taint
from alchemist_dsl.checker.block_checker import Building, checks
from alchemist_dsl.checker.columns import columns_of_one_type, read_rules, read_sets, rule_names, with_sets
from alchemist_dsl.checker.expression_walk import called
from alchemist_dsl.checker.expressions import Env
from alchemist_dsl.checker.types import ANY, family, noun
from alchemist_dsl.diagnostics.model import Edit, Label


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
