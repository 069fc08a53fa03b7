"""Bytes of a file -> text with LF line ends, or where it is not UTF-8."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from alchemist_runtime.schema.attributes import BYTES, COUNTS, DURATIONS, Amount

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, Label
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax import ast

#: Bytes of a recipe, and characters of one of its lines.
LARGEST: Final = 1 << 20
LONGEST: Final = 100_000
_OTHER_MARKS: Final = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def decode(path: str, data: bytes) -> tuple[SourceFile | None, tuple[Diagnostic, ...]]:
    """A source file without byte-order mark and with LF line ends; None and a message where it is not UTF-8."""
    if len(data) > LARGEST:
        return None, (_too_large(path),)
    for mark, name in _OTHER_MARKS:
        if data.startswith(mark):
            headline = f"the file is {name}, not UTF-8"
            return None, (_not_utf8(path, headline, "save it as UTF-8"),)
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = data.count(b"\n", 0, offset) + 1
        headline = f"the file is not UTF-8: byte 0x{data[offset]:02x} at offset {offset}, on line {line}"
        return None, (
            _not_utf8(path, headline, "save it as UTF-8; an editor shows the present encoding in its status line"),
        )
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return SourceFile(path, text), ()


def too_large(file: SourceFile) -> Diagnostic | None:
    """What is wrong with the size of a text, be it of a file or of an editor; None where nothing is."""
    if len(file.text) > LARGEST:
        return _too_large(file.path)
    starts = (*file.starts, len(file.text) + 1)
    longest = max(range(len(starts) - 1), key=lambda i: starts[i + 1] - starts[i])
    length = starts[longest + 1] - starts[longest] - 1
    if length <= LONGEST:
        return None
    at = starts[longest]
    return Diagnostic(
        "A019",
        f"line {longest + 1} has {length:,} characters, and a line may have {LONGEST:,}",
        Span(file.path, at, at + 1),
        help="break the line; data belongs into a file that a source reads",
    )


def _too_large(path: str) -> Diagnostic:
    return Diagnostic(
        "A019",
        f"the recipe is larger than {LARGEST >> 20} MiB",
        Span(path, 0, 0),
        help="put data into a file that a source reads, and parts of the recipe into files that it imports",
    )


def _not_utf8(path: str, headline: str, help: str) -> Diagnostic:
    return Diagnostic("A014", headline, Span(path, 0, 0), help=help)


# --- merge markers ---------------------------------------------------------------------------------------------------

_CONFLICT: Final = re.compile(
    r"^(?P<ours><{7}(?: [^\n]*)?)\n(?P<mine>(?:(?![<>=|]{7})[^\n]*\n)*)"
    r"(?P<rest>(?:\|{7}[^\n]*\n(?:(?![<>=|]{7})[^\n]*\n)*)?={7}[^\n]*\n(?:(?![<>=|]{7})[^\n]*\n)*>{7}(?: [^\n]*)?)$",
    re.MULTILINE,
)


def resolve(source: SourceFile) -> tuple[SourceFile, tuple[Diagnostic, ...]]:
    """The text with markers and the other side blanked out, lines and columns unmoved, and a message for each."""
    if "<<<<<<<" not in source.text:
        return source, ()
    found: list[Diagnostic] = []

    def blank(m: re.Match[str]) -> str:
        end = source.span(m.end() - len(m[0].rsplit("\n", 1)[1]), m.end())
        found.append(
            Diagnostic(
                "A015",
                "the file holds an unfinished merge",
                source.span(m.start("ours"), m.end("ours")),
                "from here",
                (Label(end, "to here"),),
                help="keep one of the two sides and delete the three marker lines",
            )
        )
        return _blank(m["ours"]) + "\n" + m["mine"] + _blank(m["rest"])

    text = _CONFLICT.sub(blank, source.text)
    return SourceFile(source.path, text), tuple(found)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


# --- texts -----------------------------------------------------------------------------------------------------------

_ESCAPE: Final = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt]|.)')
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_HALF: Final = re.compile("[\ud800-\udfff]")
_SIMPLE: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class BadEscape:
    """An escape that JSON does not know, by its offsets in the literal."""

    start: int
    end: int
    surrogate: bool = False


@dataclass(frozen=True, slots=True)
class BadIndent:
    """Lines of a text block that do not start with the indentation of the closing quotes."""

    start: int  # offsets, in the literal, of the first such line's indentation
    end: int
    tabs: bool  # tabs and spaces differ; else there is simply too little
    lines: int


@dataclass(frozen=True, slots=True)
class Block:
    value: str
    offsets: tuple[int, ...]  # offset in the literal of the first character of every line of `value`
    problem: BadIndent | None = None


def unescape(literal: str) -> tuple[str, BadEscape | None]:
    """The value of a string with its quotes, and the first escape that is wrong."""
    body = literal[1:-1]
    if "\\" not in body:
        return body, None
    bad: list[BadEscape] = []

    def one(m: re.Match[str]) -> str:
        code = m[1]
        if code in _SIMPLE:
            return _SIMPLE[code]
        if len(code) == 5:
            return chr(int(code[1:], 16))
        bad.append(BadEscape(m.start() + 1, m.end() + 1))
        return m[0]

    value = _PAIR.sub(_join, _ESCAPE.sub(one, body))
    alone = None if bad else _HALF.search(value)
    if alone:
        escape = next(m for m in _ESCAPE.finditer(body) if m[1].lower() == f"u{ord(alone[0]):04x}")
        bad.append(BadEscape(escape.start() + 1, escape.end() + 1, surrogate=True))
    return value, bad[0] if bad else None


def _join(m: re.Match[str]) -> str:
    """Two escaped halves make one character."""
    high, low = ord(m[0][0]), ord(m[0][1])
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def dedent(literal: str, quotes: int) -> Block:
    """The text of a block, from its opening to its closing quotes, without the indentation of the latter."""
    first = literal.index("\n") + 1
    last = literal.rindex("\n") + 1
    if last == first:  # nothing between the two lines of quotes
        return Block("", ())
    prefix = literal[last : len(literal) - quotes]
    width = len(prefix)
    lines: list[str] = []
    offsets: list[int] = []
    problem: BadIndent | None = None
    at = first
    for line in literal[first : last - 1].split("\n"):
        strip = width
        if not line.startswith(prefix):
            blank = line.lstrip(" \t")
            strip = min(len(line) - len(blank), width)
            if blank:
                tabs = _columns(line[: len(line) - len(blank)]) >= _columns(prefix)
                problem = BadIndent(
                    problem.start if problem else at,
                    problem.end if problem else at + max(len(line) - len(blank), 1),
                    problem.tabs if problem else tabs,
                    problem.lines + 1 if problem else 1,
                )
        lines.append(line[strip:])
        offsets.append(at + strip)
        at += len(line) + 1
    return Block("\n".join(lines), tuple(offsets), problem)


def _columns(indentation: str) -> int:
    return len(indentation.expandtabs(8))


# --- edition ---------------------------------------------------------------------------------------------------------

EDITIONS: Final = (2026,)


def check(
    source: SourceFile, items: Sequence[ast.Item | ast.Edition], report: Callable[[Diagnostic], None]
) -> ast.Edition | None:
    """The edition of a file; reports where the line is missing, misplaced, repeated or unknown."""
    found = [i for i in items if isinstance(i, ast.Edition)]
    newest = EDITIONS[-1]
    if not found:
        first = items[0] if items else None
        if not (isinstance(first, ast.BadItem) and _opens(source, first)):
            start = first.span.start if first else 0
            end = source.text.find("\n", start)
            span = source.span(start, len(source.text) if end < 0 else end)
            report(
                Diagnostic(
                    "A012",
                    "the file does not say which edition of the language it is written in",
                    span if first else source.span(0, 0),
                    help=f"write `edition {newest}` as the first line",
                    edit=Edit(source.span(0, 0), f"edition {newest}\n"),
                )
            )
        return None
    edition = found[0]
    for other in found[1:]:
        label = Label(edition.span, "first")
        report(Diagnostic("A012", "the edition is given twice", other.span, "again", (label,), help="keep one"))
    if items[0] is not edition and not isinstance(items[0], ast.Edition):
        report(
            Diagnostic(
                "A012",
                "the edition line comes first in a file",
                edition.span,
                labels=(Label(_first_line(source, items[0]), "this stands before it"),),
                help="move it to the top",
            )
        )
    if edition.year not in EDITIONS:
        _unknown(edition, newest, source, report)
    return edition


def _unknown(edition: ast.Edition, newest: int, source: SourceFile, report: Callable[[Diagnostic], None]) -> None:
    written = source.text[edition.span.start : edition.span.end].removeprefix("edition").strip()
    later = edition.year > newest
    report(
        Diagnostic(
            "A013",
            f"this version does not know the edition `{written}`",
            edition.span,
            note=f"known: {', '.join(map(str, EDITIONS))}",
            help="a newer version of alchemist may know it" if later else f"write `edition {newest}`",
            edit=None if later else Edit(edition.span, f"edition {newest}", safe=False),
        )
    )


def _opens(source: SourceFile, item: ast.BadItem) -> bool:
    """Whether a bad first item was an attempt at the edition line, which was reported then."""
    text = source.text[item.span.start : item.span.end]
    return text.startswith("edition") or text[:1].isdigit()


def _first_line(source: SourceFile, item: ast.Item | ast.Edition) -> Span:
    end = source.text.find("\n", item.span.start, item.span.end)
    return source.span(item.span.start, item.span.end if end < 0 else end)


# --- numbers ---------------------------------------------------------------------------------------------------------

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
COUNT_WORDS: Final = tuple(word for plural in (*COUNTS, "parts") for word in (plural.removesuffix("s"), plural))
SUFFIXES: Final = (*filter(None, _SCALES), "%", "x", *BYTES, *DURATIONS)
TIMES: Final = tuple(_TIMES)
