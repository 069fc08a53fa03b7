"""Turns offsets into the places of the editor protocol and back: lines from 0, columns in the client's code units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lsprotocol import types as lsp

from alchemist_dsl.source import SourceFile, Span

#: Code units of a character beyond the basic plane, by encoding; UTF-16 unless client and server agree on another.
UTF16: Final = "utf-16"
_CODECS: Final = {UTF16: ("utf-16-le", 2), "utf-8": ("utf-8", 1)}


@dataclass(frozen=True, slots=True)
class Converter:
    """The one place that knows what a client counts."""

    units: str = UTF16

    def width(self, text: str) -> int:
        """Length of a text in code units."""
        codec = _CODECS.get(self.units)
        if codec is None or text.isascii():
            return len(text)
        return len(text.encode(codec[0], "surrogatepass")) // codec[1]

    def position(self, source: SourceFile, offset: int) -> lsp.Position:
        """The place of an offset; one past the end is the end."""
        offset = max(0, min(offset, len(source.text)))
        line, column = source.position(offset)
        return lsp.Position(line - 1, self.width(source.text[offset - column + 1 : offset]))

    def range(self, source: SourceFile, start: int, end: int) -> lsp.Range:
        return lsp.Range(self.position(source, start), self.position(source, max(start, end)))

    def span(self, source: SourceFile, span: Span) -> lsp.Range:
        return self.range(source, span.start, span.end)

    def offset(self, source: SourceFile, position: lsp.Position) -> int:
        """The offset of a place; a column past the end of its line is the end of the line."""
        if position.line >= len(source.starts):
            return len(source.text)
        line = source.line(position.line + 1)
        return source.starts[position.line] + self._column(line, position.character)

    def _column(self, line: str, units: int) -> int:
        if line.isascii() or self.units not in _CODECS:
            return min(units, len(line))
        seen = 0
        for column, char in enumerate(line):
            if seen >= units:
                return column
            seen += self.width(char)
        return len(line)


def changed(source: SourceFile, change: lsp.TextDocumentContentChangeEvent, converter: Converter) -> SourceFile:
    """A text after one change of the client."""
    text = plain(change.text)
    if isinstance(change, lsp.TextDocumentContentChangePartial):
        start = converter.offset(source, change.range.start)
        end = max(start, converter.offset(source, change.range.end))
        text = source.text[:start] + text + source.text[end:]
    return SourceFile(source.path, text)


def plain(text: str) -> str:
    """A client's text as the compiler reads texts: no byte-order mark, LF line ends. Lines and columns stay the
    same.
    """
    text = text.removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
