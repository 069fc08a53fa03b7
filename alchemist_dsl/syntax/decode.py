"""Bytes of a file -> text with LF line ends, or where it is not UTF-8."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

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
