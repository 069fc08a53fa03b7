"""Units of amounts: one table for reading numbers, messages, JSON Schemas, editors and column types."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_NUMBER: Final = r"[0-9]+(_[0-9]+)*(\.[0-9]+)?"
_COUNT: Final = f"{_NUMBER}[kMB]?"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of amounts, or `int` and `real`, which have none."""

    noun: str  # what an amount of it is, in a sentence
    example: str
    #: How a bare number is written with it; empty where a number alone does not say what is meant.
    form: str = ""
    pattern: str = ""  # of an amount as a recipe writes it, where an attribute takes it
    doc: str = ""  # what it measures
    whole: bool = False
    counts: bool = False  # written as a word behind the number: `500 rows`
    param: bool = False  # a parameter may be declared with it


def _counting(name: str, doc: str = "", *, attribute: bool = False, param: bool = False, example: str) -> Unit:
    pattern = f"{_COUNT} {name}?" if attribute else ""
    noun = f"a number of {'characters' if name == 'chars' else name}"
    form = f"{{}} {name}" if attribute else ""
    return Unit(noun, example, form, pattern, doc or name, whole=True, counts=True, param=param)


UNITS: Final[dict[str, Unit]] = {
    "int": Unit("a whole number", "2", whole=True, param=True),
    "real": Unit("a number", "0.5", param=True),
    "percent": Unit("a share", "5%", "{}%", f"{_NUMBER}%", "a share", param=True),
    "multiplier": Unit("a multiplier", "3x", "{}x", f"{_NUMBER}x", "times its own size", param=True),
    "parts": Unit("a weight", "3 parts", doc="a weight beside the other parts"),
    "money": Unit("money", "$20", "${}", rf"\${_COUNT}", "dollars", param=True),
    "price": Unit(
        "a price", "$30 per 1M tokens", "${} per 1M tokens", rf"\${_COUNT} per {_COUNT} tokens", "dollars per tokens"
    ),
    "bytes": Unit("a size in bytes", "512MiB", "", f"{_NUMBER}[KMGT]i?B", "bytes", whole=True, param=True),
    "duration": Unit("a duration", "90s", "{}s", f"{_NUMBER}(ms|s|m|h|d)", "seconds", param=True),
    "rate": Unit("a rate", "500/min", "{}/min", f"{_COUNT}( tokens| calls)?/(s|min|h)", param=True),
    "rows": _counting("rows", attribute=True, param=True, example="500 rows"),
    "packs": _counting("packs", "packs of rows", attribute=True, param=True, example="16 packs"),
    "tokens": _counting("tokens", attribute=True, param=True, example="2k tokens"),
    "chars": _counting("chars", "characters", example="800 chars"),
    "words": _counting("words", example="60 words"),
    "lines": _counting("lines", example="12 lines"),
    "steps": _counting("steps", "optimiser steps", attribute=True, example="100 steps"),
    "calls": _counting("calls", "teacher calls", example="4 calls"),
}
#: Words that may stand behind a number.
COUNTS: Final = tuple(name for name, unit in UNITS.items() if unit.counts)
#: Sizes and times by the letters that stand behind a number, in bytes and in seconds.
BYTES: Final = {f"{p}{i}B": (1024 if i else 1000) ** n for i in ("", "i") for n, p in enumerate("KMGT", 1)}
DURATIONS: Final = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}


@dataclass(frozen=True, slots=True)
class Amount:
    """An exact number in base units: 5% is 1/20, 2k rows 2000, 15m 900 seconds, a rate is per second.

    `kind`: a name of `UNITS`. `unit`: what a rate counts, `calls` or `tokens`."""

    kind: str
    value: Fraction
    unit: str | None = None

    def __str__(self) -> str:
        """As a recipe writes it."""
        match self.kind:
            case "percent":
                return f"{_decimal(self.value * 100)}%"
            case "duration":
                name = next(n for n in ("h", "m", "s", "ms") if (self.value / DURATIONS[n]).denominator == 1)
                return f"{_decimal(self.value / DURATIONS[name])}{name}"
            case "bytes" if self.value:
                name = next((n for n in ("GB", "GiB", "MB", "MiB") if self.value % BYTES[n] == 0), "")
                return f"{self.value / BYTES.get(name, 1)}{name}"
            case _:
                return (UNITS[self.kind].form or "{}").format(_decimal(self.value))


def _decimal(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else f"{float(number):g}"


def decimal(value: Fraction) -> str:
    """A real or a sum of money: as a decimal where there is a finite one, else in lowest terms."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return str(value)
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    text = digits if places == 0 else f"{digits[:-places]}.{digits[-places:]}"
    return f"-{text}" if value < 0 else text
