"""Estimates as ranges of exact numbers with the basis that they rest on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Final, Literal

from alchemist_runtime.schema.attributes import decimal
from alchemist_runtime.schema.plan import Estimate

Basis = Literal["exact", "last_run", "scaled", "sampled", "declared", "unknown"]
_WORSE: Final[tuple[Basis, ...]] = ("exact", "last_run", "scaled", "sampled", "declared", "unknown")


@dataclass(frozen=True, slots=True)
class Range:
    """`low <= value <= high`. Of an unknown figure all three are None, or only what bounds it is there."""

    low: Fraction | None = None
    value: Fraction | None = None
    high: Fraction | None = None
    basis: Basis = "unknown"

    @property
    def known(self) -> bool:
        return self.value is not None

    def times(self, other: Range | Fraction | int) -> Range:
        """The product; of two ranges of numbers that are not negative."""
        o = other if isinstance(other, Range) else exactly(other)
        return Range(
            _product(self.low, o.low), _product(self.value, o.value), _product(self.high, o.high), worse(self, o)
        )

    __mul__ = times

    def __add__(self, other: Range) -> Range:
        return total([self, other])

    def minus(self, other: Range) -> Range:
        """The difference of a whole and a part of it: never below zero."""
        return Range(
            _least(self.low, other.high),
            _least(self.value, other.value),
            _least(self.high, other.low),
            worse(self, other),
        )

    __sub__ = minus

    def ends(self) -> tuple[Fraction | None, Fraction | None, Fraction | None]:
        return self.low, self.value, self.high

    def at_most(self, most: Fraction | int) -> Range:
        cut = Fraction(most)
        low, value, high = (None if x is None else min(x, cut) for x in self.ends())
        if high is None:
            return Range(Fraction(0), None, cut, self.basis)
        return Range(low, value, high, self.basis)


def exactly(value: Fraction | int, basis: Basis = "exact") -> Range:
    exact = Fraction(value)
    return Range(exact, exact, exact, basis)


def between(low: Fraction | int, value: Fraction | int, high: Fraction | int, basis: Basis = "declared") -> Range:
    return Range(Fraction(low), Fraction(value), Fraction(high), basis)


UNKNOWN: Final = Range()
NOTHING: Final = exactly(0)


def worse(*ranges: Range) -> Basis:
    return max((r.basis for r in ranges), key=_WORSE.index, default="exact")


def total(ranges: Iterable[Range]) -> Range:
    """The sum; unknown where one of them is, but what is known of its bounds stays."""
    listed = list(ranges)
    return Range(
        sum((r.low or Fraction(0) for r in listed), Fraction(0)),
        _sum([r.value for r in listed]),
        _sum([r.high for r in listed]),
        worse(*listed),
    )


def part(whole: Range, share: Fraction) -> Range:
    """Rows that a draw by hash takes: expected, with three standard deviations of the binomial to both sides."""
    if whole.value is None or share in (0, 1):
        return whole.times(share)
    value = whole.value * share
    spread = _spread(whole.high if whole.high is not None else whole.value, share)
    low = None if whole.low is None else max(Fraction(0), whole.low * share - spread)
    high = None if whole.high is None else min(whole.high, whole.high * share + spread)
    return Range(low, value, high, "declared" if whole.basis == "exact" else whole.basis)


def _spread(n: Fraction, share: Fraction) -> Fraction:
    return Fraction(3 * (isqrt(int(n * share * (1 - share))) + 1))


def estimate(r: Range, *, whole: bool = True) -> Estimate:
    """As the plan has it: rows, calls and tokens as whole numbers, money as it is."""
    if r.value is None and r.high is None:
        return Estimate()
    low, value, high = (_exact_text(x, whole) for x in (r.low, r.value, r.high))
    return Estimate(low=low, value=value, high=high, basis=r.basis)


def _exact_text(value: Fraction | None, whole: bool) -> str | None:
    if value is None:
        return None
    return str((value + Fraction(1, 2)) // 1) if whole else decimal(value)


def _product(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    return None if a is None or b is None else a * b


def _least(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    return None if a is None or b is None else max(Fraction(0), a - b)


def _sum(values: list[Fraction | None]) -> Fraction | None:
    known = [v for v in values if v is not None]
    return sum(known, Fraction(0)) if len(known) == len(values) else None
