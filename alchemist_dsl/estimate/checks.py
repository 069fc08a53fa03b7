"""Verdicts of `check` blocks over estimates: pass, fail or unknown. What is spent counts at the high end of its
range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any, Literal

from alchemist_runtime.schema.attributes import decimal
from alchemist_runtime.schema.mixtures import percent, times_allowed, ways_out
from alchemist_runtime.schema.plan import Check, Expr, MixtureSpec, Node, Plan, Take

from alchemist_dsl.diagnostics.model import Diagnostic, Severity
from alchemist_dsl.estimate.figures import CHARS_PER_TOKEN, Figures, offered, rows_of, total_of
from alchemist_dsl.estimate.ranges import UNKNOWN, Range, exactly
from alchemist_dsl.ir import EntryV, Program

Verdict = Literal["pass", "fail", "unknown"]
#: `plan.NAME` -> the total it means.
PLAN_TOTALS: Mapping[str, str] = {
    "cost": "usd",
    "calls": "calls",
    "tokens": "tokens",
    "tokens_in": "tokens_in",
    "tokens_out": "tokens_out",
}
_SPENT = ("cost", "calls")


@dataclass(frozen=True, slots=True)
class Counts:
    """What expressions of a check may look at."""

    plan: Plan
    figures: Mapping[str, Figures]


def with_verdicts(plan: Plan, figures: Mapping[str, Figures]) -> Plan:
    """The plan with a verdict and the value that was compared for every check."""
    counts = Counts(plan, figures)
    checks = [replace(c, **_judged(c, counts)) for c in plan.checks]
    return replace(plan, checks=checks)


def _judged(check: Check, counts: Counts) -> dict[str, Any]:
    truth = _holds(check.expr, counts)
    verdict: Verdict = "unknown" if truth is None else "pass" if truth else "fail"
    return {"verdict": verdict, "value": _value(check.expr, counts)}


# --- truth: True, False, or None for unknown --------------------------------------------------------------------------


def _holds(e: Expr, counts: Counts) -> bool | None:
    match e:
        case ["cmp", op, a, b]:
            return _compared(op, _number(a, counts), _number(b, counts))
        case ["and", parts]:
            return _all([_holds(p, counts) for p in parts])
        case ["or", parts]:
            found = _all([_not(_holds(p, counts)) for p in parts])
            return _not(found)
        case ["not", inner]:
            return _not(_holds(inner, counts))
        case ["in", a, ["interval", low, high]]:
            x = _number(a, counts)
            ends = (_compared(">=", x, _number(low, counts)), _compared("<=", x, _number(high, counts)))
            return _all(list(ends))
        case ["lit", "bool", truth]:
            return bool(truth)
        case _:
            return None


def _not(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def _all(parts: list[bool | None]) -> bool | None:
    if False in parts:
        return False
    return None if None in parts else True


def _compared(op: str, a: Range, b: Range) -> bool | None:
    """Whether a comparison holds for the whole of both ranges, for nothing of them, or nobody can say."""
    if None in (a.low, a.high, b.low, b.high):
        return _by_bounds(op, a, b)
    assert a.low is not None and a.high is not None and b.low is not None and b.high is not None
    match op:
        case "<=":
            return True if a.high <= b.low else False if a.low > b.high else None
        case "<":
            return True if a.high < b.low else False if a.low >= b.high else None
        case ">=" | ">":
            return _compared("<=" if op == ">=" else "<", b, a)
        case "==":
            if a.low == a.high == b.low == b.high:
                return True
            return False if a.high < b.low or a.low > b.high else None
        case _:
            return _not(_compared("==", a, b))


def _by_bounds(op: str, a: Range, b: Range) -> bool | None:
    """What one known bound already decides: a cost that is too high whatever the rest comes to."""
    match op:
        case "<=" | "<":
            over = a.low is not None and b.high is not None and a.low > b.high
            under = a.high is not None and b.low is not None and a.high < b.low
            return False if over else True if under else None
        case ">=" | ">":
            return _by_bounds("<=" if op == ">=" else "<", b, a)
        case _:
            return None


# --- numbers ----------------------------------------------------------------------------------------------------------


def _number(e: Expr, counts: Counts) -> Range:
    match e:
        case ["lit", _, value] if isinstance(value, str | int | float) and not isinstance(value, bool):
            return exactly(Fraction(str(value)))
        case ["plan", name]:
            return _spent(_plan_total(name, counts))
        case ["call", name, args]:
            found = _aggregate(name, args, counts)
            return _spent(found) if name in _SPENT else found
        case ["neg", a]:
            x = _number(a, counts)
            low, value, high = (None if v is None else -v for v in (x.high, x.value, x.low))
            return Range(low, value, high, x.basis)
        case ["num", op, a, b]:
            return _arithmetic(op, _number(a, counts), _number(b, counts))
        case _:
            return UNKNOWN


def _spent(r: Range) -> Range:
    """A promise on what is spent must hold at the high end."""
    return r if r.high is None else Range(r.high, r.high, r.high, r.basis)


def _plan_total(name: str, counts: Counts) -> Range:
    known = PLAN_TOTALS.get(name)
    if known == "tokens":
        both = [total_of(counts.figures, n) for n in ("tokens_in", "tokens_out")]
        return _arithmetic("+", *both)
    return UNKNOWN if known is None else total_of(counts.figures, known)


def _aggregate(name: str, args: Mapping[str, Expr], counts: Counts) -> Range:
    ref = args.get("x")
    match ref:
        case ["ref", node, port, origin]:
            f = counts.figures.get(node)
        case _:
            return UNKNOWN
    rows = rows_of(counts.figures, node, port, origin)
    match name:
        case "rows":
            return rows
        case "tokens":
            chars = None if f is None else f.chars
            return UNKNOWN if chars is None else rows.times(chars / CHARS_PER_TOKEN)
        case "calls":
            return UNKNOWN if f is None else f.calls
        case "cost":
            return UNKNOWN if f is None else f.usd
        case "drop_share":
            return _ratio(rows_of(counts.figures, node, "dropped", None), _read(node, counts))
        case "share":
            return _share(node, rows, args.get("of"), counts)
        case _:
            return UNKNOWN


def _read(node: str, counts: Counts) -> Range:
    """The rows that came into a step."""
    parts = [rows_of(counts.figures, node, port, None) for port in ("rows", "dropped")]
    return _arithmetic("+", *parts)


def _share(node: str, rows: Range, of: Expr | None, counts: Counts) -> Range:
    """Share of a stream's rows that come in by an entry of the mixture, or from a source."""
    match of:
        case ["ref", other, port, origin]:
            f = counts.figures[node]
        case _:
            return UNKNOWN
    result = counts.plan.node(node)
    entries = {t.name: result.inputs[t.edge] for t in getattr(result.spec, "take", [])}
    for name, edge in entries.items():
        if (edge.node, edge.port, edge.origin) == (other, port, origin):
            return _ratio(f.entries.get(name, UNKNOWN), rows)
    return _ratio(f.origins.get(other, UNKNOWN), rows)


def _ratio(part: Range, whole: Range) -> Range:
    ends = (*part.ends(), *whole.ends())
    if None in ends or not whole.low:
        return UNKNOWN
    low, value, high, _, middle, _ = ends
    assert low is not None and value is not None and high is not None and middle
    if low == high and whole.low == whole.high:
        return exactly(value / middle, part.basis)
    assert whole.low is not None and whole.high is not None
    return Range(low / whole.high, value / middle, min(Fraction(1), high / whole.low), part.basis)


def _arithmetic(op: str, a: Range, b: Range) -> Range:
    ends = (*a.ends(), *b.ends())
    if None in ends:
        return _bounded_sum(a, b) if op == "+" else UNKNOWN
    al, av, ah, bl, bv, bh = (x for x in ends if x is not None)
    match op:
        case "+":
            return Range(al + bl, av + bv, ah + bh, a.basis)
        case "-":
            return Range(al - bh, av - bv, ah - bl, a.basis)
        case "*":
            corners = [x * y for x in (al, ah) for y in (bl, bh)]
            return Range(min(corners), av * bv, max(corners), a.basis)
        case "/" if bl > 0 or bh < 0:
            corners = [x / y for x in (al, ah) for y in (bl, bh)]
            return Range(min(corners), av / bv, max(corners), a.basis)
        case _:
            return UNKNOWN


def _bounded_sum(a: Range, b: Range) -> Range:
    low = None if a.low is None or b.low is None else a.low + b.low
    high = None if a.high is None or b.high is None else a.high + b.high
    return Range(low, None, high, "unknown")


# --- what a person reads ----------------------------------------------------------------------------------------------


def _value(e: Expr, counts: Counts) -> str | None:
    """The value of the side that is no literal."""
    match e:
        case ["cmp", _, a, b] | ["in", a, b]:
            side = a if a[0] != "lit" else b
            found = _number(side, counts)
            return None if found.value is None else _text(found, _unit(side))
        case _:
            return None


def _unit(e: Expr) -> str:
    match e:
        case ["plan", "cost"] | ["call", "cost", _]:
            return "money"
        case ["call", "share" | "drop_share", _]:
            return "percent"
        case _:
            return ""


def _text(r: Range, unit: str) -> str:
    ends = [r.value] if r.low == r.high or None in r.ends() else [r.low, r.high]
    return " to ".join(_format_value(x, unit) for x in ends if x is not None)


def _format_value(value: Fraction, unit: str) -> str:
    if unit == "money":
        return "$" + money(value)
    if unit == "percent":
        return f"{rounded(value * 100, 2)}%"
    whole = value.denominator == 1 or abs(value) >= 100
    return f"{round(value):,}" if whole else rounded(value, 2)


def money(value: Fraction) -> str:
    """Dollars to the cent, or to two digits where there are less: 218.90, 0.00042."""
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    if exact == 0 or abs(exact) >= Decimal("0.01"):
        return f"{exact.quantize(Decimal('0.01'), ROUND_HALF_UP):,}"
    return f"{exact:.2g}" if abs(exact) >= Decimal("0.0001") else decimal(Fraction(f"{exact:.1e}"))


def rounded(value: Fraction, places: int) -> str:
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    text = f"{exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# --- mixture shortfall -----------------------------------------------------------------------------------------------


def shortages(plan: Plan, known: Mapping[str, Figures], program: Program) -> list[Diagnostic]:
    """An error for each mixture with an entry that has too few rows even at best; a warning where tokens are
    estimated.
    """
    found = []
    for node, spec in plan.of(MixtureSpec):
        block = program.blocks.get(node.id)
        entries = {} if block is None else {e.name: e for e in block.entries}
        short = [s for s in _short(node, spec, known) if s[0].name in entries]
        if short:
            take, wanted, stock = max(short, key=lambda s: s[1] / max(s[2].high or 0, Fraction(1)))
            found.append(_problem(spec, entries[take.name], take, wanted, stock))
    return found


def _short(node: Node, spec: MixtureSpec, known: Mapping[str, Figures]) -> Iterator[tuple[Take, Fraction, Range]]:
    """Entries with what they should give at least and what there is at most, in the mixture's unit."""
    if spec.on_short == "shrink" or spec.weights is not None:
        return
    if spec.unit == "tokens" and spec.tokenizer is not None and spec.tokenizer.get("bytes"):
        return  # a token is a byte: the range of an estimate does not reach so far
    stock, wanted = offered(node, spec, known)
    times = times_allowed(spec)
    for take in spec.take:
        if take.missing or take.amount in ("all", "multiplier"):
            continue
        least, most = wanted[take.name].low, stock[take.name].high
        if least is not None and most is not None and least > most * times:
            yield take, least, stock[take.name]


def _problem(spec: MixtureSpec, entry: EntryV, take: Take, wanted: Fraction, stock: Range) -> Diagnostic:
    assert stock.high is not None
    exact = spec.unit == "rows" and stock.basis in ("exact", "last_run")
    has = f"{'has' if exact else 'has at most'} {int(stock.high):,}"
    share = take.amount == "share" and spec.total is not None
    of = f"{percent(Fraction(take.value or 0))} of {spec.total:,} {spec.unit}" if share else ""
    return Diagnostic(
        "A602",
        f"`{take.name}` should give {_whole(wanted):,} {spec.unit} but {has}",
        entry.span,
        label=of,
        note="tokens are estimated from characters" if spec.unit == "tokens" else None,
        help=ways_out(spec, take, wanted, stock.high, spec.total),
        severity=Severity.WARNING if spec.unit == "tokens" else None,
    )


def _whole(value: Fraction) -> int:
    return int((2 * value + 1) // 2)
