"""A document to print: blocks of marked text, built once and written for a terminal or as GitHub Markdown.

Text out of recipes and data is never read as markup: the writers escape it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal, TypeAlias

from alchemist_dsl.document.text import (
    SIGNS,
    TONES,
    Mark,
    Piece,
    Sign,
    Text,
    cells,
    clip,
    format_table,
    joined,
    pieces_of,
    plain_text,
    safe,
    style,
    styled_line,
    wrap_pieces,
)

# --- blocks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heading:
    text: Text


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph. One in `strong` sums up and comes first in Markdown; one in `error` is a quote there."""

    text: Text
    mark: Mark | None = None
    hanging: int = 0  # columns that the lines after the first are indented by


@dataclass(frozen=True, slots=True)
class Small:
    """Facts in small print: a line each on a terminal, one paragraph in Markdown."""

    texts: Sequence[Text]
    indent: int = 0  # columns, on a terminal


@dataclass(frozen=True, slots=True)
class Alert:
    """What a reader must see: a line with `!` on a terminal, a box in Markdown."""

    text: Text
    kind: Literal["caution", "warning"] = "caution"


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a list: its sign and what it is about, what is said of it, and what belongs below it."""

    text: Text
    head: Text = ""
    sign: Sign | None = None
    mark: Mark | None = None  # colour of sign and head, of the text where there is no head
    blocks: Sequence[Block] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A name and its value, and the lines of a text in which the value differs."""

    name: str
    text: Text
    lines: Sequence[Text] = ()


@dataclass(frozen=True, slots=True)
class Fields:
    fields: Sequence[Field]


@dataclass(frozen=True, slots=True)
class Record:
    """A row of data with its columns, each cut to a few lines."""

    text: Text
    sign: Sign
    columns: Sequence[tuple[str, Text]]


@dataclass(frozen=True, slots=True)
class Table:
    head: Sequence[str]
    rows: Sequence[Sequence[Text]]
    right: frozenset[int] = frozenset()  # columns of numbers


@dataclass(frozen=True, slots=True)
class Code:
    """Lines as they are. `most`: how many of them a terminal shows."""

    lines: Sequence[Text]
    language: Literal["text", "diff"] = "text"
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """Details, folded in Markdown. `titled`: a terminal shows the summary above them."""

    summary: str
    blocks: Sequence[Block]
    is_open: bool = False
    titled: bool = True


Block: TypeAlias = Heading | Paragraph | Small | Alert | Item | Fields | Record | Table | Code | Fold


# --- terminal ---------------------------------------------------------------------------------------------------------

#: Lines that one value of a record takes at most.
MOST_LINES: Final = 6


def terminal(blocks: Sequence[Block], width: int, color: bool = False) -> list[str]:
    """Write blocks as lines of at most `width` columns where words can be wrapped."""
    return _Terminal(color).blocks(blocks, width)


_DIFF: Final[dict[str, Mark]] = {"+": "green", "-": "red"}


@dataclass(frozen=True, slots=True)
class _Terminal:
    color: bool

    def blocks(self, blocks: Sequence[Block], width: int) -> list[str]:
        out: list[str] = []
        last: Block | None = None
        for bare, run in groupby(blocks, key=lambda b: isinstance(b, Item) and bool(b.head) and not b.blocks):
            group = list(run)
            wide = max((cells(plain_text(b.head)) for b in group if isinstance(b, Item)), default=0) if bare else 0
            for block in group:
                lines = self._block(block, width, wide)
                if last is not None and lines and not _tight(last, block):
                    out.append("")
                out += lines
                last = block if lines else last
        return out

    def _block(self, block: Block, width: int, wide: int) -> list[str]:
        match block:
            case Heading(text):
                return self._wrap(text, width, tone="strong")
            case Paragraph(text, mark, hanging):
                return self._wrap(text, width, tone=mark, hanging=hanging)
            case Small(texts, indent):
                lines = [line for t in texts for line in self._wrap(t, width - indent, tone="dim", hanging=2)]
                return _indented(lines, " " * indent)
            case Alert(text):
                return self._wrap([("same", "! "), *pieces_of(text)], width, tone="red", hanging=2)
            case Item():
                return self._item(block, width, wide)
            case Fields(fields):
                return self._fields(fields, width)
            case Record(text, sign, columns):
                return self._record(text, sign, columns, width)
            case Table(head, rows, right):
                return format_table(head, [[plain_text(cell) for cell in row] for row in rows], width, right)
            case Code():
                return self._code(block, width)
            case Fold(summary, blocks, _, titled):
                if not titled:
                    return self.blocks(blocks, width)
                title = self._wrap(safe(summary), width, tone="strong", hanging=2)
                return [*title, *_indented(self.blocks(blocks, width - 2), "  ")]

    def _item(self, item: Item, width: int, wide: int) -> list[str]:
        """`wide`: columns to which the heads of neighbouring items are filled up."""
        head = (f"{SIGNS[item.sign][0]} " if item.sign else "") + plain_text(item.head)
        pad = max(wide - cells(plain_text(item.head)), 0) + 2 if item.head and item.text else 0
        text: list[Piece] = [(item.mark or "strong", head), ("same", " " * pad), *pieces_of(item.text)]
        hanging = min(cells(head) + pad, 40) if wide else 4 if head else 2
        lines = self._wrap(text if head else item.text, width, tone=None if head else item.mark, hanging=hanging)
        return [*lines, *_indented(self.blocks(item.blocks, width - 4), "    ")]

    def _fields(self, fields: Sequence[Field], width: int) -> list[str]:
        wide = min(24, max((cells(f.name) for f in fields), default=0))
        out: list[str] = []
        for f in fields:
            text: list[Piece] = [("same", f"{f.name}{' ' * (wide - cells(f.name) + 2)}"), *pieces_of(f.text)]
            out += self._wrap(text, width, hanging=wide + 2)
            out += _indented(self._code(Code(f.lines), width - 2), "  ")
        return out

    def _record(self, text: Text, sign: Sign, columns: Sequence[tuple[str, Text]], width: int) -> list[str]:
        out = [f"  {style(TONES.get(sign), SIGNS[sign][0], self.color)} {plain_text(text)}"]
        for name, value in columns:
            pieces: list[Piece] = [("dim", f"{name}: "), *pieces_of(value)]
            lines = wrap_pieces(pieces, width - 7, color=self.color, hanging=2, break_words=True, most=MOST_LINES)
            out += _indented(lines, "      ")
        return out

    def _code(self, block: Code, width: int) -> list[str]:
        out = []
        for line in block.lines[: block.most]:
            if isinstance(line, str):
                tone = _DIFF.get(line[:1]) if block.language == "diff" else None
                out.append(style(tone, safe(line)[:width] if block.most else safe(line), self.color))
            else:
                out.append(styled_line(clip(line, width), self.color))
        if block.most is not None and len(block.lines) > block.most:
            out.append(f"… {len(block.lines) - block.most} more lines (`--all`)")
        return out

    def _wrap(self, text: Text, width: int, tone: Mark | None = None, hanging: int = 0) -> list[str]:
        return wrap_pieces(pieces_of(text), width, color=self.color, tone=tone, hanging=hanging)


def _tight(before: Block, after: Block) -> bool:
    """Return whether no blank line stands between two blocks of a terminal."""
    if isinstance(before, Heading) or isinstance(after, (Record, Fields)):
        return True
    if isinstance(after, Small):
        return not _titled(before) and (
            not isinstance(before, Paragraph) or before.mark == "strong" or after.indent > 0
        )
    listed = (Item, Alert, Record, Fields, Fold)
    return isinstance(before, listed) and isinstance(after, listed) and not _titled(before) and not _titled(after)


def _titled(block: Block) -> bool:
    return isinstance(block, Fold) and block.titled


def _indented(lines: Iterable[str], by: str) -> list[str]:
    return [by + line if line else line for line in lines]


# --- Markdown ---------------------------------------------------------------------------------------------------------

_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~#])")


def markdown(blocks: Sequence[Block]) -> list[str]:
    """Write blocks as lines of GitHub Markdown. Nothing of the text is read as markup, and nobody is mentioned."""
    out: list[str] = []
    last: Block | None = None
    for block in sorted(blocks, key=_late):
        if not (lines := _markdown(block)):
            continue
        if last is not None and not (isinstance(last, (Item, Fields)) and isinstance(block, (Item, Fields))):
            out.append("")
        out += lines
        last = block
    return out


def _late(block: Block) -> int:
    """Warnings and sums come first: a page is read from its top, a terminal from its end."""
    return 0 if isinstance(block, Alert) else 1 if isinstance(block, Paragraph) and block.mark == "strong" else 2


def _markdown(block: Block) -> list[str]:
    match block:
        case Heading(text):
            return [f"### {_md(text)}"]
        case Paragraph(text, mark):
            words = _md(text)
            summary = f"**{words[:1].upper()}{words[1:]}**"
            return [{"strong": summary, "error": f"> {words}"}.get(mark or "same", words)]
        case Small(texts):
            return [f"<sub>{_md(joined(texts, '; '))}</sub>"] if texts else []
        case Alert(text, kind):
            return [f"> [!{kind.upper()}]", f"> {_md(text)}"]
        case Item():
            return _md_item(block)
        case Fields(fields):
            return [line for f in fields for line in _md_field(f)]
        case Record(text, sign, columns):
            displayed = [
                f"<b>{html(safe(name))}</b> {''.join(map(_tagged, pieces_of(value)))}" for name, value in columns
            ]
            return [f"{SIGNS[sign][1]} {_md(text)}", "", "<pre>" + "\n".join(displayed) + "</pre>"]
        case Table(head, rows, right):
            ruler = "|".join("---:" if i in right else "---" for i in range(len(head)))
            table = [head, *rows]
            first, *more = ("| " + " | ".join(map(_md, row)) + " |" for row in table)
            return [first, f"|{ruler}|", *more]
        case Code(lines, language):
            displayed = [
                safe(line) if isinstance(line, str) else styled_line(clip(line, _CODE), False) for line in lines
            ]
            fence = "`" * max(3, 1 + max(map(_longest_ticks, displayed), default=0))
            return [f"{fence}{language}", *displayed, fence]
        case Fold(summary, blocks, is_open):
            opened = f"<details{' open' if is_open else ''}><summary>{html(safe(summary))}</summary>"
            return [opened, "", *markdown(blocks), "", "</details>"]


#: Columns of a line of code in which words differ.
_CODE: Final = 100


def _md_item(item: Item) -> list[str]:
    sign = f"{SIGNS[item.sign][1]} " if item.sign else ""
    head = f"**{_md(item.head)}** " if item.head else ""
    return [f"- {sign}{head}{_md(item.text)}".rstrip(), *_indented(markdown(item.blocks), "  ")]


def _md_field(f: Field) -> list[str]:
    code = _indented(_markdown(Code(f.lines)), "  ") if f.lines else []
    return [f"- {_md(f.name)}: {_md(f.text)}", *code]


def _md(text: Text) -> str:
    """Text as Markdown shows it literally."""
    return "".join(_md_piece(mark, part) for mark, part in pieces_of(text))


def _md_piece(mark: Mark, text: str) -> str:
    if mark == "sign":
        sign = SIGNS[text][1]  # type: ignore[index]
        return f"{sign} " if sign else ""
    text = safe(text).replace("\n", " ")
    if mark in ("name", "code"):
        ticks = "`" * (1 + _longest_ticks(text))
        return f"{ticks} {text} {ticks}" if "`" in text else f"{ticks}{text}{ticks}"
    displayed = _SPECIAL.sub(r"\\\1", html(text)).replace("@", "@\u200b")
    return f"**{displayed}**" if mark == "strong" else displayed


def _tagged(piece: Piece) -> str:
    mark, text = piece
    displayed = html(safe(text))
    tag = {"added": "ins", "removed": "del"}.get(mark)
    return f"<{tag}>{displayed}</{tag}>" if tag else displayed


def html(text: str) -> str:
    """Escape what HTML would read as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
