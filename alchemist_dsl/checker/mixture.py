"""Checks mixtures: entries, amounts, units, and that the shares add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final, Literal

from alchemist_runtime.schema.rows import nullable

from alchemist_dsl import ir
from alchemist_dsl.checker.block_checker import Building, checks
from alchemist_dsl.checker.columns import read_rules
from alchemist_dsl.checker.context import shown
from alchemist_dsl.checker.names import Placed
from alchemist_dsl.checker.problems import either, listed
from alchemist_dsl.checker.sources import recipe_schema
from alchemist_dsl.checker.streams import joined, stream_at
from alchemist_dsl.checker.values import describe, folded, param_name
from alchemist_dsl.diagnostics.model import Label
from alchemist_dsl.syntax import ast

Amount = Literal["share", "parts", "rest", "rows", "tokens", "all", "multiplier"]
_KINDS: Final[dict[str, Amount]] = {
    "percent": "share",
    "parts": "parts",
    "rows": "rows",
    "tokens": "tokens",
    "multiplier": "multiplier",
}
_EXAMPLES: Final = "`5%`, `500 rows`, `2M tokens`, `3x`, `14 parts`, `all` or `rest`"


@checks("mixture")
def mixture(b: Building) -> None:
    """A mixture with its entries."""
    entries = _entries(b)
    b.extra["entries"] = entries
    for entry in entries:
        b.add_input(entry.stream, f"take.{entry.name}")
    whole = b.decl.key not in b.context.cyclic
    b.stream = joined([e.stream for e in entries], b.context) if whole and entries else b.stream
    b.env = replace(b.env, stream=b.stream)
    b.rest()
    b.extra["rules"] = read_rules(b, b.env, replace(b.env, stream=None, totals=()))
    if b.ok and entries:
        _check_sums(b, entries)
        _check_columns(b, entries)
    elif b.ok and not b.incomplete:
        b.error("A608", f"{b.title} takes nothing", b.header, help="for example `take { clean = all }`")
    b.publish("rows", b.stream.columns)


def _entries(b: Building) -> tuple[ir.EntryV, ...]:
    take = b.body.blocks.get("take")
    if take is None:
        return _all_of(b)
    if "from" in b.body.attrs:
        b.error(
            "A111",
            f"{b.title} has both `from` and `take`",
            b.body.attrs["from"].stmt.path[0].span,
            labels=(Label(b.body.block_spans["take"].header, "here"),),
            help="`from` is all of each stream; `take` says how much of each",
        )
        b.done.add("from")
    found = []
    for name, placed in take.items():
        if isinstance(placed.stmt, ast.Assign):
            entry = _entry(b, name, placed)
            if entry is None:
                b.ok = False
            else:
                found.append(entry)
    return tuple(found)


def _all_of(b: Building) -> tuple[ir.EntryV, ...]:
    value = b.attribute("from")
    items = value.items if isinstance(value, ir.ListV) else ()
    return tuple(
        ir.EntryV(shown(r), r, "all", None, r.span, b.context.stream(r).missing)
        for r in items
        if isinstance(r, ir.RefV)
    )


def _entry(b: Building, name: str, placed: Placed[ast.Assign]) -> ir.EntryV | None:
    statement = placed.stmt
    span = statement.path[0].span.to(statement.path[-1].span)
    ref = stream_at(statement.path, span, b.context, placed.scope, "take")
    amount = _amount(b, name, placed)
    if ref is None or amount is None:
        return None
    kind, value = amount
    return ir.EntryV(name, ref, kind, value, span, b.context.stream(ref).missing)


def _amount(b: Building, name: str, placed: Placed[ast.Assign]) -> tuple[Amount, Fraction | None] | None:
    expr = folded(placed.stmt.value)
    used = param_name(expr)
    if used is not None:
        found = b.values(placed.scope)._param(used)
        if found is None:
            return None
        expr = folded(found)
    match expr:
        case ast.BadExpr():
            return None
        case ast.Name(name="all"):
            return "all", None
        case ast.Name(name="rest"):
            return "rest", None
        case ast.Quantity(kind=kind) if kind in _KINDS:
            return _checked_amount(b, name, expr)
        case ast.Quantity(kind="int" | "real"):
            _no_unit(b, name, expr)
        case ast.Call(function=function) if function.name == "any":
            b.values(placed.scope)._any(expr)
        case _:
            b.error("A201", f"the amount of `{name}` is {describe(expr)}", expr.span, help=f"an amount is {_EXAMPLES}")
    return None


def _checked_amount(b: Building, name: str, expr: ast.Quantity) -> tuple[Amount, Fraction] | None:
    kind = _KINDS[expr.kind]
    if expr.value < 0:
        b.error("A204", f"the amount of `{name}` cannot be negative; this is {expr.text}", expr.span)
        return None
    if kind == "share" and expr.value > 1:
        b.error(
            "A203",
            f"a share lies between 0% and 100%; this is {expr.text}",
            expr.span,
            help=f"for more data than there is, write a multiplier: `{float(expr.value):g}x`",
        )
        return None
    if kind in ("rows", "tokens") and expr.value.denominator != 1:
        b.error("A206", f"`{expr.text}` is not a whole number", expr.span)
        return None
    return kind, expr.value


def _no_unit(b: Building, name: str, expr: ast.Quantity) -> None:
    if 0 < expr.value < 1:
        text = f"{float(expr.value * 100):g}%"
        help_, edit = f"for a share write `{text}`, for a part of its own size `{expr.text}x`", None
    else:
        shapes = [f"{expr.text} rows", f"{expr.text} parts"]
        if expr.value <= 100:
            shapes += [f"{expr.text}%", f"{expr.text}x"]
        help_ = f"write {either(shapes)}"
        edit = None
    b.error("A202", f"the amount of `{name}` has no unit", expr.span, help=help_, edit=edit)


# --- arithmetic -------------------------------------------------------------------------------------------------------


def percent(value: Fraction) -> str:
    """A share as people write it."""
    return f"{float(value * 100):.10g}%"


def _check_sums(b: Building, entries: Sequence[ir.EntryV]) -> None:
    by = {k: [e for e in entries if e.amount == k] for k in (*_KINDS.values(), "rest", "all")}
    rests, parts, shares = by["rest"], by["parts"], by["share"]
    if len(rests) > 1:
        b.error(
            "A605",
            "`rest` stands twice",
            rests[1].span,
            labels=(Label(rests[0].span, "first"),),
            help="give all but one an amount, or weigh them against each other: `2 parts` and `1 parts`",
        )
        return
    if rests and parts:
        b.error(
            "A605",
            "`rest` and parts both take what the other entries leave",
            rests[0].span,
            labels=(Label(parts[0].span, "parts here"),),
            help="write `rest` as parts too",
        )
        return
    fixed = [e for e in entries if e.amount in ("rows", "tokens", "all", "multiplier")]
    total = b.get("total")
    _check_unit(b, [*shares, *parts, *rests], fixed)
    if rests and fixed and total is None:
        b.error(
            "A603",
            "`rest` needs a `total` to be the rest of",
            rests[0].span,
            labels=(Label(fixed[0].span, "this amount is no share"),),
            help="for example `total = 200M tokens`",
        )
        return
    _check_shares(b, shares, fixed, bool(rests or parts), total is not None)


def _check_unit(b: Building, relative: Sequence[ir.EntryV], fixed: Sequence[ir.EntryV]) -> None:
    """Shares are of rows or of tokens: said by `total` or `unit`."""
    weighted = "weights" in b.body.attrs
    if (relative or weighted) and b.get("total") is None and b.get("unit") is None:
        at = relative[0].span if relative else b.body.attrs["weights"].stmt.path[0].span
        b.error(
            "A603",
            f"{b.title} has shares, but not of what",
            at,
            label="a share of rows or of tokens?",
            help="write `unit = rows`, `unit = tokens`, or a total such as `total = 200M tokens`",
            edit=None,
        )
    total, unit = b.get("total"), b.get("unit")
    if isinstance(total, ir.Qty) and isinstance(unit, ir.ChoiceV) and total.kind != unit.name:
        b.error(
            "A202",
            f"`total` is in {total.kind} and `unit` says {unit.name}",
            unit.span,
            labels=(Label(total.span, total.text),),
            help="leave out `unit`; the total says it",
        )


def _check_shares(
    b: Building, shares: Sequence[ir.EntryV], fixed: Sequence[ir.EntryV], open_end: bool, total: bool
) -> None:
    here = sum((e.value or Fraction(0) for e in shares), Fraction(0))
    if not shares or any(not _has_value(e) for e in shares):
        return
    reported = " + ".join(percent(e.value or Fraction(0)) for e in shares)
    reported += f" = {percent(here)}" if len(shares) > 1 else ""
    if here > 1 or (here == 1 and fixed and not total) or (here == 1 and open_end):
        why = "more than 100%" if here > 1 else "leave nothing for the other entries"
        b.error(
            "A601",
            (
                f"the shares of {b.title} are {reported}: {why}"
                if here > 1
                else f"the shares of {b.title} are {reported} and {why}"
            ),
            shares[-1].span,
            labels=(Label(shares[0].span, "first share"),) if len(shares) > 1 else (),
            help=f"take {percent(here - 1)} away" if here > 1 else "lower one of them",
        )
    elif here < 1 and not fixed and not open_end:
        b.error(
            "A601",
            f"the shares of {b.title} are {reported}: {percent(1 - here)} is missing",
            shares[-1].span,
            labels=(Label(shares[0].span, "first share"),) if len(shares) > 1 else (),
            help="raise one of them, or write `rest` as the amount of one",
        )


def _has_value(entry: ir.EntryV) -> bool:
    return entry.value is not None


def _check_columns(b: Building, entries: Sequence[ir.EntryV]) -> None:
    """Every entry gives the columns that training reads."""
    wanted = recipe_schema(b.context)
    for entry in entries:
        stream = b.context.stream(entry.stream)
        if stream.open:
            continue
        lacking = [n for n, t in wanted.items() if not nullable(t) and n not in stream.columns]
        if not lacking:
            continue
        port = entry.stream.port
        help_ = None
        if port == "trace":
            help_ = f"a trace is taught by a task: `task … {{ learn = {entry.name} }}`"
        b.error(
            "A503",
            f"rows of `{entry.name}` have no column {listed(lacking, 'or')}",
            entry.span,
            help=help_ or "columns: " + ", ".join(stream.columns),
        )
