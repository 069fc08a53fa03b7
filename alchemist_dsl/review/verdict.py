"""The cost before and after, and a limit -> what the check says: pass, fail, or that it could not be evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any, Literal

Truth = Literal["pass", "fail", "unknown"]


class FormError(ValueError):
    """The comparison is in a form that this program does not know."""


@dataclass(frozen=True, slots=True)
class Increase:
    """By how much making everything anew costs more. None: nobody knows that bound."""

    low: Fraction | None = None
    value: Fraction | None = None
    high: Fraction | None = None

    def above(self, most: Fraction) -> bool | None:
        """Whether it is above a limit; None where it may be or not. What is spent counts at the high end of its
        range.
        """
        if self.low is not None and self.low > most:
            return True
        if self.high is None:
            return None
        if self.high <= most:
            return False
        return True if self.value is not None and self.value > most else None

    @property
    def shown(self) -> str:
        """For people: `$12.50`, with its range where that is one."""
        if self.value is None:
            return "unknown"
        text = _dollars(self.value)
        if self.low == self.value == self.high or self.low is None or self.high is None:
            return text
        return f"{text} ({_dollars(self.low)} to {_dollars(self.high)})"

    @property
    def plain(self) -> str:
        """For other programs: dollars as a decimal number, or `unknown`."""
        return "unknown" if self.value is None else _decimal(self.value)


@dataclass(frozen=True, slots=True)
class Verdict:
    truth: Truth
    text: str  # one sentence


def increase(comparison: Mapping[str, Any]) -> Increase:
    """The rise of the cost from scratch, over all recipes. Raises FormError."""
    pair = comparison.get("totals", {}).get("usd_scratch")
    delta = pair.get("delta") if isinstance(pair, Mapping) else None
    if delta is None:
        return Increase()
    try:
        low, value, high = (
            None if delta.get(end) is None else Fraction(str(delta[end])) for end in ("low", "value", "high")
        )
    except (AttributeError, ValueError) as error:
        raise FormError(f"the cost of the comparison cannot be read: {error}") from None
    return Increase(low, value, high)


def verdict(found: Increase, most: Fraction, allow_unknown: bool) -> Verdict:
    """What a limit says of a rise. Unknown is neither above nor below, and passes only where that is allowed."""
    limit = f"`max-increase` is {_dollars(most)}"
    match found.above(most):
        case True:
            return Verdict("fail", f"The cost from scratch rises by {found.shown}; {limit}.")
        case False:
            return Verdict("pass", f"The cost from scratch changes by {found.shown}; {limit}.")
        case None:
            why = (
                "The change of the cost from scratch is unknown"
                if found.value is None
                else f"The cost from scratch changes by {found.shown}, within the limit or not"
            )
            end = "that is allowed (`allow-unknown`)" if allow_unknown else "the limit could not be evaluated"
            return Verdict("pass" if allow_unknown else "unknown", f"{why}: {end}; {limit}.")


def _dollars(amount: Fraction) -> str:
    cents = Decimal(amount.numerator) / Decimal(amount.denominator)
    rounded = cents.quantize(Decimal("0.01"), ROUND_HALF_UP)
    text = f"{abs(rounded):,.2f}".removesuffix(".00")
    if amount and not rounded:
        text = "0.01"
        return f"less than ${text}" if amount > 0 else f"up to -${text}"
    return f"-${text}" if rounded < 0 else f"${text}"


def _decimal(amount: Fraction) -> str:
    """At most six places, without an exponent."""
    number = (Decimal(amount.numerator) / Decimal(amount.denominator)).quantize(Decimal("0.000001"), ROUND_HALF_UP)
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") or "0"
