"""Numbers of YAML -> numbers as recipes write them: shares, rows, learning rates."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

#: What is smaller is nothing: numbers of recipes have no exponent below this.
_LEAST = Decimal("1e-100")


def real(number: float) -> str:
    """A real as people write it: `2e-5`, `0.03`, `1.5`."""
    exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    if abs(exact) < _LEAST:
        return "0"
    if exact and abs(exact) < Decimal("0.001"):
        digits, exponent = f"{exact.normalize():e}".split("e")
        return f"{digits}e{int(exponent)}"
    return plain(exact)


def plain(number: Decimal) -> str:
    """A decimal without exponent and without zeros at its end, to twelve places."""
    text = f"{round(number, 12):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float | Fraction) -> str:
    """A share as a percent, exact where decimals can be, else to four places."""
    return f"{plain(_decimal(share, 100))}%"


def times(share: float | Fraction) -> str:
    """A share as a multiplier of a set's own size."""
    return f"{plain(_decimal(share, 1))}x"


def _decimal(share: float | Fraction, factor: int) -> Decimal:
    if isinstance(share, Fraction):
        exact = Decimal(share.numerator * factor) / Decimal(share.denominator)
        return exact if Fraction(exact) == share * factor else round(exact, 4)
    return Decimal(repr(share)) * factor


def counted(number: int, unit: str) -> str:
    """`9_500 rows`, `1 row`."""
    return f"{number:_} {unit.removesuffix('s') if number == 1 else unit}"
