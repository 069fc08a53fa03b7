"""Marked text: styles, signs, wrapping and aligned tables for a terminal.

Nothing of a text steers a terminal: control characters of recipes and data are replaced.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import IO, Final, Literal, TypeAlias

#: What a piece of text is. `name` is code in Markdown and bare on a terminal; `code` stands in backticks on both; the
#: text of a `sign` is a `Sign`. `red`, `green` and `yellow` say nothing where there are no colours.
Mark = Literal[
    "same", "added", "removed", "name", "code", "sign", "strong", "dim", "red", "green", "yellow",
    "error", "warning", "place", "fix",
]  # fmt: skip
Piece: TypeAlias = tuple[Mark, str]
Text: TypeAlias = str | Sequence[Piece]
Sign = Literal["added", "removed", "changed", "same", "none", "moved", "unknown"]

_STYLES: Final[dict[Mark, str]] = {
    "added": "32",
    "removed": "31",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "strong": "1",
    "dim": "2",
    "error": "1;31",
    "warning": "1;33",
    "place": "1;34",
    "fix": "36",
}
#: A sign on a terminal and in Markdown.
SIGNS: Final[dict[Sign, tuple[str, str]]] = {
    "added": ("+", "➕"),
    "removed": ("-", "➖"),
    "changed": ("~", "✏️"),
    "same": ("=", ""),
    "none": (" ", ""),
    "moved": (">", "↪"),
    "unknown": ("?", "❔"),
}
TONES: Final[dict[str, Mark]] = {"added": "green", "removed": "red", "changed": "yellow"}


_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """Return a text that may go to a terminal: control characters of data are replaced."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def code_in(text: str) -> list[Piece]:
    """Split a sentence of ours into text and what stands in backticks."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return [("same", text)]
    return [("code" if i % 2 else "same", part) for i, part in enumerate(parts) if part]


def names(found: Iterable[str]) -> list[Piece]:
    """Join names by commas."""
    return [piece for i, name in enumerate(found) for piece in ((("same", ", "),) if i else ()) + (("name", name),)]


def joined(texts: Iterable[Text], separator: str = " · ") -> list[Piece]:
    """Join the texts that are not empty."""
    out: list[Piece] = []
    for text in texts:
        pieces = pieces_of(text)
        out += [("same", separator), *pieces] if out and pieces else pieces
    return out


def plural(n: int, noun: str, nouns: str = "") -> str:
    """Count things: `1 row`, `2,000 rows`."""
    return f"{n:,} {noun if n == 1 else nouns or noun + 's'}"


def pieces_of(text: Text) -> list[Piece]:
    if isinstance(text, str):
        return [("same", text)] if text else []
    return [(mark, part) for mark, part in text if part]


def cells(text: str) -> int:
    """Return the columns that a text takes on a terminal: two for a wide sign, none for one that joins another."""
    return len(text) if text.isascii() else sum(map(cell, text))


def cell(sign: str) -> int:
    """Return the columns of one code point."""
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def changed_lines(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Return the lines of a text in which a word was added or removed."""
    rows: list[list[Piece]] = [[]]
    for mark, text in pieces:
        first, *rest = text.split("\n")
        rows[-1].append((mark, first))
        rows += [[(mark, line)] for line in rest]
    return [row for row in rows if any(mark != "same" and text for mark, text in row)]


def colored(stream: IO[str]) -> bool:
    """Return whether to colour what goes to a stream: a terminal, and `NO_COLOR` not set."""
    return stream.isatty() and "NO_COLOR" not in os.environ


def style(mark: Mark | None, text: str, color: bool = True) -> str:
    """Colour a text as its mark says, where colours are on."""
    return f"\x1b[{_STYLES[mark]}m{text}\x1b[0m" if color and text and mark in _STYLES else text


def wrap(text: str, width: int) -> list[str]:
    """Break a text into lines of at most `width` columns, at spaces where it can be."""
    return wrap_pieces([("same", text)], width, break_words=True)


def format_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int, right: Collection[int] = ()
) -> list[str]:
    """Align a table without frames. Empty columns are left out; the widest column of text is wrapped to fit."""
    table = [list(head), *map(list, rows)]
    used = [i for i in range(len(head)) if any(r[i] for r in table)]
    widths = {i: max(cells(r[i]) for r in table) for i in used}
    widest = max((i for i in used[1:] if i not in right), key=lambda i: widths[i], default=used[0])
    over = sum(widths.values()) + 2 * (len(used) - 1) - width
    if over > 0:
        widths[widest] = max(12, widths[widest] - over)
    out = []
    for number, row in enumerate(table):
        for k, part in enumerate(wrap(row[widest], widths[widest])):
            displayed = {i: part if i == widest else "" if k else row[i] for i in used}
            fill = {i: " " * (widths[i] - cells(text)) for i, text in displayed.items()}
            out.append(
                "  ".join(fill[i] + displayed[i] if i in right else displayed[i] + fill[i] for i in used).rstrip()
            )
        if number == 0:
            out.append("  ".join("─" * widths[i] for i in used))
    return out


def plain_text(text: Text) -> str:
    """Return a text as a terminal without colours shows it."""
    return styled_line(pieces_of(text), False)


def styled_line(pieces: Iterable[Piece], color: bool) -> str:
    return "".join(style(mark, text, color) for mark, text in _spelled(pieces, color))


def _spelled(pieces: Iterable[Piece], color: bool) -> Iterator[Piece]:
    """Spell marks out: `[-gone-]` and `{+come+}` as git marks them where there are no colours, code in backticks."""
    for mark, text in pieces:
        displayed = safe(text).replace("\n", " ")
        if mark == "sign":
            displayed = f"{SIGNS[text][0]} "  # type: ignore[index]
        elif mark == "code":
            displayed = f"`{displayed}`"
        elif not color and mark == "added":
            displayed = f"{{+{displayed}+}}"
        elif not color and mark == "removed":
            displayed = f"[-{displayed}-]"
        if text:
            yield mark, displayed


def wrap_pieces(
    text: Iterable[Piece],
    width: int,
    *,
    color: bool = False,
    tone: Mark | None = None,
    hanging: int = 0,
    break_words: bool = False,
    most: int | None = None,
) -> list[str]:
    """Wrap pieces, the lines after the first indented by `hanging`; marks and colours take part in no break."""
    lines: list[list[Piece]] = [[]]
    used = 0
    for mark, word in _split(_spelled(text, color)):
        while word:
            room, whole, begun = width - used, cells(word.rstrip()), bool(lines[-1])
            if whole <= room:
                part = word
            elif begun and (not break_words or whole <= width - hanging):
                part = ""  # it has a line of its own
            elif not break_words:
                part = word
            else:
                part = word[: _fitting(word, room)] or ("" if begun else word[:1])
            if part:
                lines[-1].append((mark, part))
                used, word = used + cells(part), word[len(part) :]
            if word:
                if len(lines) == most:
                    lines[-1].append(("dim", "…"))
                    break
                lines.append([])
                used = hanging
        if lines[-1][-1:] == [("dim", "…")]:
            break
    return [" " * (hanging if i else 0) + _finished(line, color, tone) for i, line in enumerate(lines)]


def _finished(line: Sequence[Piece], color: bool, tone: Mark | None) -> str:
    """Colour a line, each run of one mark once and nothing behind the last word."""
    runs = [(mark, "".join(t for _, t in run)) for mark, run in groupby(line, key=lambda piece: piece[0])]
    runs[-1:] = [(mark, text.rstrip()) for mark, text in runs[-1:]]
    return "".join(style(mark if mark in _STYLES else tone, text, color) for mark, text in runs)


def _split(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Words with the white space behind them."""
    for mark, text in pieces:
        for word in re.findall(r"\S+\s*|\s+", text):
            yield mark, word


def _fitting(text: str, room: int) -> int:
    """How many signs of a text fit."""
    for n, sign in enumerate(text):
        room -= cell(sign)
        if room < 0:
            return n
    return len(text)


def clip(row: Sequence[Piece], width: int) -> list[Piece]:
    """Of a long line what stands around the changes."""
    if sum(len(t) for _, t in row) <= width:
        return list(row)
    out: list[Piece] = []
    for i, (mark, text) in enumerate(row):
        if mark == "same" and len(text) > 40:
            text = f"{'' if i == 0 else text[:18]}…{'' if i == len(row) - 1 else text[-18:]}"
        out.append((mark, text))
    return out
