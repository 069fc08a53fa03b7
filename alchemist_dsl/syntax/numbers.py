"""Reads a number with its unit: `5%`, `50_000`, `1.5M`, `200M tokens`, `$1.2k`, `512MiB`, `15m`, `500/min`, `1e-4`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from alchemist_runtime.schema.units import BYTES, COUNTS, DURATIONS, Amount

_SHAPE: Final = re.compile(
    r"(?P<money>\$)?(?P<digits>[0-9]+(?:_[0-9]+)*(?:\.[0-9]+(?:_[0-9]+)*)?)(?P<exp>[eE][+-]?[0-9]+)?"
    r"(?P<suffix>[A-Za-z%]*)(?:[ \t]+(?P<unit>[a-z]+))?(?:/(?P<time>s|min|h))?"
)
_SCALES: Final = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9}
_TIMES: Final = {"s": 1, "min": 60, "h": 3600}
#: What people write for a unit, and how the language writes it.
_SPELLINGS: Final = {
    "K": "k",
    "m": "M",
    "b": "B",
    "g": "B",
    "G": "B",
    "mil": "M",
    "mio": "M",
    "bn": "B",
    "T": "000B",
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "min": "m",
    "mins": "m",
    "minute": "m",
    "minutes": "m",
    "hr": "h",
    "hrs": "h",
    "hour": "h",
    "hours": "h",
    "day": "d",
    "days": "d",
    "msec": "ms",
    "kb": "KB",
    "mb": "MB",
    "gb": "GB",
    "tb": "TB",
    "kB": "KB",
    "kib": "KiB",
    "mib": "MiB",
    "gib": "GiB",
    "X": "x",
}
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class BadNumber:
    """Why a number cannot be read. `start`: where in its text the trouble begins. `better`: what to write instead."""

    headline: str
    code: str = "A011"
    better: str | None = None
    help: str | None = None


@lru_cache(maxsize=4096)
def read_number(text: str) -> Amount | BadNumber:
    """The exact value of a number as written, in base units, or what is wrong with it."""
    m = _SHAPE.fullmatch(text)
    if len(text) > _LONGEST or (m is None and len(text) > 40):
        return BadNumber(f"this number is too long ({len(text)} characters)")
    if m is None:
        return _no_shape(text)
    exponent, suffix, unit, time = m["exp"], m["suffix"], m["unit"], m["time"]
    if exponent and abs(int(exponent[1:])) > 300:
        return BadNumber(f"`{text}` is beyond what a number can hold")
    value = Fraction(m["digits"].replace("_", "") + (exponent or ""))
    fractional = "." in m["digits"]
    if suffix not in _SCALES and (unit or time or m["money"]):
        return _bad_suffix(text, m)
    if m["money"]:
        if unit or time or exponent:
            return BadNumber(f"`{text}` is not an amount of money", help="write for example `$1.2k`")
        return Amount("money", value * _SCALES[suffix])
    if exponent and (suffix or unit or time):
        return BadNumber(f"`{text}` is not a number", help="an exponent stands alone; write for example `50k rows`")
    if unit and unit.startswith("part"):
        if time or suffix:
            return BadNumber(f"`{text}` is not a number of parts", help="write for example `14.3 parts`")
        return Amount("parts", value)
    if suffix in _SCALES:
        return _count(text, value * _SCALES[suffix], unit, time, bool(exponent or (fractional and not suffix)))
    if suffix == "%":
        return Amount("percent", value / 100)
    if suffix == "x":
        return Amount("multiplier", value)
    if suffix in BYTES:
        amount = value * BYTES[suffix]
        return Amount("bytes", amount) if amount.denominator == 1 else _not_whole(text, "bytes", amount)
    if suffix in DURATIONS:
        return Amount("duration", value * DURATIONS[suffix])
    return _bad_suffix(text, m)


def _count(text: str, value: Fraction, unit: str | None, time: str | None, real: bool) -> Amount | BadNumber:
    plural = unit if unit is None or unit.endswith("s") else f"{unit}s"
    kind = plural if plural in COUNTS else None
    if time:
        if kind not in (None, "tokens", "calls"):
            return BadNumber(
                f"`{text}` is not a rate", help="a rate counts calls, `500/min`, or tokens, `2M tokens/min`"
            )
        return Amount("rate", value / _TIMES[time], kind or "calls")
    if kind is None:
        if real:
            return Amount("real", value)
        return Amount("int", value) if value.denominator == 1 else _not_whole(text, "", value)
    return Amount(kind, value) if value.denominator == 1 else _not_whole(text, kind, value)


def _not_whole(text: str, what: str, value: Fraction) -> BadNumber:
    exact = "" if text.startswith(f"{float(value):g}") else f", it is {float(value):.12g}"
    return BadNumber(f"`{text}` is not a whole number{' of ' + what if what else ''}{exact}", code="A206")


def _bad_suffix(text: str, m: re.Match[str]) -> BadNumber:
    suffix, digits = m["suffix"], (m["money"] or "") + m["digits"] + (m["exp"] or "")
    rest = text[m.end("suffix") :]
    glued = re.fullmatch(r"([kMB]?)(rows?|packs?|tokens?|chars?|words?|lines?|steps?|calls?|parts?)", suffix)
    if glued and not m["unit"]:
        better = f"{digits}{glued[1]} {glued[2]}{rest}"
        return BadNumber(f"`{text}` is not a number", better=better, help=f"put a space before the unit: `{better}`")
    known = _SPELLINGS.get(suffix)
    if known and not isinstance(read_number(digits + known + rest), BadNumber):
        better = digits + known + rest
        return BadNumber(f"`{text}` is not a number", better=better, help=f"write `{better}`")
    if m["unit"] and suffix:
        return BadNumber(
            f"`{text}` mixes two units", help=f"a count is written without `{suffix}`, for example `50k rows`"
        )
    return BadNumber(
        f"`{text}` is not a number",
        help=(
            f"`{suffix}` is not a unit; numbers are scaled by `k`, `M`, `B`, units are for example `%`, `x`, `s`, "
            "`m`, `h`, `MiB`, ` rows`, ` tokens`"
        ),
    )


def _no_shape(text: str) -> BadNumber:
    """A number-like word that no form fits: stray underscores, two points, letters between digits."""
    digits = re.match(r"\$?[0-9_.]*", text)
    head = digits[0] if digits else ""
    tail = text[len(head) :]
    if "_" in head:
        better = re.sub(r"_+", "_", head).strip("_") + tail
        if _SHAPE.fullmatch(better) and not isinstance(read_number(better), BadNumber):
            return BadNumber(
                f"`{text}` is not a number", better=better, help=f"`_` stands between two digits: `{better}`"
            )
    if head.count(".") > 1:
        return BadNumber(f"`{text}` is not a number", help="a version or a name like this is text: put it into quotes")
    return BadNumber(f"`{text}` is not a number", help="text is put into quotes; a name starts with a letter")


#: What may follow a count, a number at once, and a slash: for editors and docs.
UNITS: Final = tuple(word for plural in (*COUNTS, "parts") for word in (plural.removesuffix("s"), plural))
SUFFIXES: Final = (*filter(None, _SCALES), "%", "x", *BYTES, *DURATIONS)
TIMES: Final = tuple(_TIMES)
