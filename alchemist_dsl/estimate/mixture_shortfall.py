"""Mixtures that cannot be filled whatever the run brings: found before anything is built or paid for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Final

from alchemist_runtime.schema.plan import MixtureSpec, Node, Plan, Take

from alchemist_dsl.diagnostics.model import Diagnostic, Severity
from alchemist_dsl.estimate.figures import Figures, offered
from alchemist_dsl.estimate.ranges import Range
from alchemist_dsl.ir import EntryV, Program

#: What `on_short = repeat` without a number allows (language.md, section 6).
_REPEAT: Final = Fraction(4)


def shortages(plan: Plan, known: Mapping[str, Figures], program: Program) -> list[Diagnostic]:
    """An error for each mixture with an entry that has too few rows even at best; a warning where tokens are
    estimated.
    """
    found = []
    for node in plan.nodes:
        block = program.blocks.get(node.id)
        entries = {} if block is None else {e.name: e for e in block.entries}
        short = [s for s in _short(node, known) if s[0].name in entries]
        if short:
            take, wanted, stock = max(short, key=lambda s: s[1] / max(s[2].high or 0, Fraction(1)))
            found.append(_problem(node, entries[take.name], take, wanted, stock))
    return found


def _short(node: Node, known: Mapping[str, Figures]) -> Iterator[tuple[Take, Fraction, Range]]:
    """Entries with what they should give at least and what there is at most, in the mixture's unit."""
    spec = node.spec
    if not isinstance(spec, MixtureSpec) or spec.on_short == "shrink" or spec.weights is not None:
        return
    if spec.unit == "tokens" and spec.tokenizer is not None and spec.tokenizer.get("bytes"):
        return  # a token is a byte: the range of an estimate does not reach so far
    stock, wanted = offered(node, spec, known)
    times = _times(spec)
    for take in spec.take:
        if take.missing or take.amount in ("all", "multiplier"):
            continue
        least, most = wanted[take.name].low, stock[take.name].high
        if least is not None and most is not None and least > most * times:
            yield take, least, stock[take.name]


def _problem(node: Node, entry: EntryV, take: Take, wanted: Fraction, stock: Range) -> Diagnostic:
    spec = node.spec
    assert isinstance(spec, MixtureSpec) and stock.high is not None
    exact = spec.unit == "rows" and stock.basis in ("exact", "last_run")
    has = f"{'has' if exact else 'has at most'} {int(stock.high):,}"
    share = take.amount == "share" and spec.total is not None
    of = f"{_percent(Fraction(take.value or 0))} of {spec.total:,} {spec.unit}" if share else ""
    return Diagnostic(
        "A602",
        f"`{take.name}` should give {_whole(wanted):,} {spec.unit} but {has}",
        entry.span,
        label=of,
        note="tokens are estimated from characters" if spec.unit == "tokens" else None,
        help=_ways_out(spec, take, wanted, stock.high, _times(spec)),
        severity=Severity.WARNING if spec.unit == "tokens" else None,
    )


def _times(spec: MixtureSpec) -> Fraction:
    """How often a mixture may take a row."""
    return Fraction(spec.repeat_max or _REPEAT) if spec.on_short == "repeat" else Fraction(1)


def _ways_out(spec: MixtureSpec, take: Take, wanted: Fraction, has: Fraction, times: Fraction) -> str:
    ways = []
    if take.amount == "share" and spec.total:
        ways.append(f"lower it to {_percent(_down(has * times / spec.total))}")
    elif take.amount in ("rows", "tokens"):
        ways.append(f"lower it to {int(has * times):,} {take.amount}, or write `all`")
    if spec.total is not None:
        ways.append("lower `total`")
    if has:
        ways.append(f"`on_short = repeat(max = {max(2, -(-wanted // has))}x)`")
    ways.append("`on_short = shrink`")
    return f"{', '.join(ways[:-1])} or {ways[-1]}"


def _down(share: Fraction) -> Fraction:
    """A tenth of a percent down, so that it is surely reached; finer where that is nothing."""
    steps = next((s for s in (1_000, 10_000, 100_000, 1_000_000) if share * s >= 1), 1_000)
    return Fraction(int(share * steps), steps)


def _percent(share: Fraction) -> str:
    return f"{float(100 * share):.6g}%"


def _whole(value: Fraction) -> int:
    return int((2 * value + 1) // 2)
