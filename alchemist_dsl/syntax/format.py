"""Recipe text -> the same recipe in its one layout: same tree, same comments, same order, other spaces and line breaks.

What does not parse stays as it is, byte for byte, and a file of another edition or in the middle of a merge altogether.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.decode import dedent
from alchemist_dsl.syntax.grammar import load
from alchemist_dsl.syntax.parse import parse
from alchemist_dsl.syntax.trivia import Bracket, Break, Note, Part, Piece, Row, Tokens, flat, read, scan

WIDTH: Final = 80
_INDENT: Final = "  "
_OPENERS: Final = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
_CLOSERS: Final = frozenset(_OPENERS.values())
#: Wrong, but it parses: no edition line, an empty interval.
PARSES: Final = frozenset({"A012", "A209"})
#: Not ours to lay out: another edition, an unfinished merge.
_PLACES: Final = frozenset({"span", "header", "op_span", "line_offsets", "trailing_comma"})
_LEFT_ALONE: Final = frozenset({"A013", "A015", "A019"})


def format_text(source: SourceFile) -> tuple[str, tuple[Diagnostic, ...]]:
    """The text of a recipe in its layout, and its syntax problems. Never raises; formatting twice changes nothing
    more.
    """
    file, problems = parse(source)
    if any(p.code in _LEFT_ALONE for p in problems):
        return source.text, problems
    if _parses(file, problems):
        return _clean(source), problems
    text = _around(source, file, problems)
    after = SourceFile(source.path, text)
    again, still = parse(after)
    # What was skipped over may read otherwise when its neighbours move: then nothing moves.
    kept = (
        _shape(file) == _shape(again)
        and [p.code for p in problems] == [p.code for p in still]
        and _around(after, again, still) == text
    )
    return (text if kept else source.text), problems


def canonical(source: SourceFile) -> str:
    """The text of a recipe in the layout that diffs compare: as `format_text`, but nothing about layout is left to the
    writer.

    Texts that differ in layout alone are equal here. One with mistakes of form is that of `format_text`.
    """
    file, problems = parse(source)
    if any(p.code in _LEFT_ALONE for p in problems) or not _parses(file, problems):
        return format_text(source)[0]
    return _clean(source, settled=True)


def one_line(text: str) -> str:
    """A value on one line, without its comments: the same for every layout of it, but for text blocks and what is
    broken.
    """
    tokens = scan(SourceFile("", text), load())
    reported = [i for i, kind in enumerate(tokens.kinds) if kind != "NEWLINE"]
    reported = [
        i for i, after in pairwise([*reported, -1]) if tokens.kinds[i] != "COMMA" or tokens.kinds[after] not in _CLOSERS
    ]
    bare = Tokens(
        tokens.source,
        [tokens.kinds[i] for i in reported],
        [tokens.starts[i] for i in reported],
        [tokens.ends[i] for i in reported],
    )
    parts = [p for row in read(bare) for p in row.parts] if _balanced(bare.kinds) else []
    return flat(parts) or " ".join(text.split())


def _balanced(kinds: Iterable[str]) -> bool:
    waiting: list[str] = []
    for kind in kinds:
        if kind in _OPENERS:
            waiting.append(_OPENERS[kind])
        elif kind in _CLOSERS and (not waiting or waiting.pop() != kind):
            return False
    return not waiting


def _clean(source: SourceFile, *, settled: bool = False) -> str:
    """The layout of a text that parses."""
    rows = read(scan(source, load()), settled=settled)
    printed = [_printed(row) for row in rows]
    last = -1  # the statement before
    for i, row in enumerate(rows):
        if not row.parts:
            continue
        tall = last >= 0 and (len(printed[last]) > 1 or len(printed[i]) > 1)
        if tall and not any(r.blank for r in rows[last + 1 : i + 1]):
            rows[last + 1].blank = True
        last = i
    lines: list[str] = []
    for row, some in zip(rows, printed, strict=True):
        lines += ["", *some] if row.blank else some
    return "".join(f"{line}\n" for line in lines)


def _printed(row: Row) -> list[str]:
    writer = _Writer()
    writer.rows([Row(False, row.parts, row.comment)], 0, "")
    return writer.lines


class _Writer:
    """Lines as they grow; `level` is the indentation of the one that is being written."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.line = ""
        self.level = 0

    def end(self, level: int) -> None:
        """End the line and begin one at a level."""
        self.lines.append(_INDENT * self.level + self.line)
        self.line = ""
        self.level = level

    def rows(self, rows: Iterable[Row], level: int, comma: str) -> None:
        for row in rows:
            if row.blank:
                self.lines.append("")
            self.level = level
            if row.parts:
                self.parts(row.parts, level + 1)
                self.line += comma
            if row.comment is not None:
                self.note(row.comment)
            self.end(level)

    def note(self, text: str) -> None:
        self.line += f"  {text}" if self.line else text

    def parts(self, parts: Iterable[Part], further: int) -> None:
        """Parts from here on; `further` is the level of the lines after a break."""
        for part in parts:
            if isinstance(part, Break):
                self.end(further)
            elif isinstance(part, Note):
                self.note(part.text)
            else:
                space = " " if part.space and self.line else ""
                if isinstance(part, Bracket):
                    self.bracket(part, space)
                elif part.kind == "TEXT_BLOCK":
                    self.text_block(part, space)
                else:
                    self.line += space + part.text

    def bracket(self, bracket: Bracket, space: str) -> None:
        level = self.level
        if bracket.flat is not None:
            line = self.line + space + bracket.flat
            if bracket.form != "block" or 2 * level + len(line) <= WIDTH or bracket.flat == "{}":
                self.line = line
                return
        self.line += space + bracket.open
        if bracket.form == "group":
            self.parts(bracket.parts, level + 1)
            if not self.line:
                self.level = level
        else:
            if bracket.head is not None:
                self.note(bracket.head)
            self.end(level + 1)
            self.rows(bracket.rows, level + 1, "," if bracket.form == "list" else "")
            self.level = level
        self.line += bracket.close

    def text_block(self, piece: Piece, space: str) -> None:
        """A text block, moved as a whole to one level below the line that it opens on."""
        opened = piece.text.index("\n")
        opening = piece.text[:opened].rstrip(" \t")
        quotes = opening.count('"')
        margin = _INDENT * (self.level + 1)
        block = dedent(piece.text, quotes)
        self.line += space + opening
        self.end(self.level + 1)
        if block.offsets:
            self.lines += [line and margin + line for line in block.value.split("\n")]
        self.line = '"' * quotes


# --- files with mistakes ----------------------------------------------------------------------------------------------


def _around(source: SourceFile, file: ast.File, problems: Iterable[Diagnostic]) -> str:
    """The layout of the items that parse; the lines of the others as they are."""
    lines = source.text.split("\n")
    pieces: list[tuple[bool, list[str]]] = []  # whether a blank line stands before it; its lines
    at = 0
    gap = False
    for first, last in [*_bad_lines(source, file, problems), (len(lines), len(lines))]:
        before, some, after = _trimmed(lines[at:first])
        if some:
            pieces.append((gap or before, _laid_out(source.path, some)))
            before = False
        gap = gap or before or after
        if first < len(lines):
            pieces.append((gap, lines[first : last + 1]))
            gap = False
        at = last + 1
    out: list[str] = []
    for blank, some in pieces:
        out += ["", *some] if blank and out else some
    return "\n".join(out) + "\n" * bool(out)


def _trimmed(lines: list[str]) -> tuple[bool, list[str], bool]:
    """Lines without the blank ones at both ends, and whether there were some before and after."""
    full = [i for i, line in enumerate(lines) if line.strip(" \t")]
    if not full:
        return bool(lines), [], False
    return full[0] > 0, lines[full[0] : full[-1] + 1], full[-1] < len(lines) - 1


def _laid_out(path: str, lines: list[str]) -> list[str]:
    part = SourceFile(path, "\n".join(lines) + "\n")
    if not _parses(*parse(part)):
        return lines  # it reads well only together with what does not
    return _clean(part).removesuffix("\n").split("\n")


def _bad_lines(source: SourceFile, file: ast.File, problems: Iterable[Diagnostic]) -> list[tuple[int, int]]:
    """First and last line (from 0) of every run of lines that holds something that does not parse."""
    items = [(*_lines(source, i.span), _is_bad(i)) for i in file.items]
    marks = [(*_lines(source, p.span), True) for p in problems if p.code not in PARSES]
    merged: list[tuple[int, int, bool]] = []
    for first, last, bad in sorted(items + marks):
        if merged and first <= merged[-1][1]:
            start, end, worse = merged.pop()
            merged.append((start, max(last, end), bad or worse))
        else:
            merged.append((first, last, bad))
    return [(first, last) for first, last, bad in merged if bad]


def _lines(source: SourceFile, span: Span) -> tuple[int, int]:
    first = source.position(span.start)[0] - 1
    return first, max(first, source.position(max(span.start, span.end - 1))[0] - 1)


def _nodes(node: object) -> Iterator[object]:
    """A node and all below it that is not about its place or layout."""
    yield node
    if isinstance(node, tuple):
        for part in node:
            yield from _nodes(part)
    elif is_dataclass(node):
        for field in fields(node):
            if field.name not in _PLACES:
                yield from _nodes(getattr(node, field.name))


def _parses(file: ast.File, problems: Iterable[Diagnostic]) -> bool:
    return all(p.code in PARSES for p in problems) and not any(map(_is_bad, file.items))


def _is_bad(item: ast.Item) -> bool:
    bad = (ast.BadItem, ast.BadStatement, ast.BadExpr)
    return any(isinstance(node, bad) for node in _nodes(item))


def _shape(file: ast.File) -> list[object]:
    """Everything that a tree says, but for places and layout."""
    comments = tuple(c.text.rstrip(" \t") for c in file.comments)
    nodes = _nodes((file.edition, file.items, comments))
    return [type(n) if is_dataclass(n) else len(n) if isinstance(n, tuple) else n for n in nodes]
