"""Tokens -> rows as they were written: statements and elements with their comments, blank lines and brackets.

Nothing is left out but what has no meaning: newlines inside brackets, commas between statements. The formatter prints
it. What it leaves to the writer (blank lines, what stands on one line) is settled here for the form that diffs compare.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from alchemist_dsl.syntax.tokens import END, Tokens

NAMES: Final = frozenset({"NAME", "EDITION", "IMPORT", "PARAM"})
_OPERANDS: Final = NAMES | {"NUMBER", "STRING", "TEXT_BLOCK", "TRUE", "FALSE", "NULL", "RPAR", "RSQB", "RBRACE"}
_TIGHT_BEFORE: Final = frozenset({"COMMA", "DOT", "DOTS", "COLON", "QUESTION"})
_TIGHT_AFTER: Final = frozenset({"", "DOT", "DOTS", "SIGN"})
_ENDS: Final = frozenset({"NEWLINE", "COMMA", "COMMENT", "RBRACE", END})

#: `block` and `record` stand in braces, one row a statement or an entry; a `list` has a row for each element; a `group`
#: (parentheses around an expression, an index, the bounds of a type) keeps its line breaks.
Form = Literal["block", "record", "list", "group"]


@dataclass(slots=True)
class Piece:
    """A token. `space`: one stands before it, unless it begins a line."""

    kind: str
    text: str
    space: bool


@dataclass(slots=True)
class Break:
    """A line break that stays."""


@dataclass(slots=True)
class Note:
    """A comment in the middle of an expression; a break follows."""

    text: str


@dataclass(slots=True)
class Bracket:
    """`{…}`, `[…]` or `(…)`. `flat`: all of it on one line, None where it takes several."""

    form: Form
    open: str
    close: str
    space: bool
    kind: str  # of the closing token
    rows: list[Row] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)  # of a group
    head: str | None = None  # the comment behind the opening bracket
    flat: str | None = None


Part = Piece | Break | Note | Bracket


@dataclass(slots=True)
class Row:
    """A statement or an element, with the comment behind it; or, without parts, a comment on a line of its own."""

    blank: bool  # whether a blank line stands before it
    parts: list[Part] = field(default_factory=list)
    comment: str | None = None


def read(tokens: Tokens, *, settled: bool = False) -> list[Row]:
    """The rows of a file that parses, from the tokens of `scan`.

    `settled`: every statement, entry and element on its own line, calls and expressions on one, whatever the writer
    chose.
    """
    return _Reader(tokens, settled).rows(END)[0]


def flat(parts: list[Part]) -> str | None:
    """All parts on one line; None where they take several."""
    out = []
    for i, part in enumerate(parts):
        text = _flat(part)
        if text is None:
            return None
        out.append(f" {text}" if i and part.space else text)  # type: ignore[union-attr]
    return "".join(out)


def _flat(part: Part) -> str | None:
    if isinstance(part, Piece):
        return None if part.kind == "TEXT_BLOCK" else part.text
    return part.flat if isinstance(part, Bracket) else None


class _Reader:
    """Reads tokens and comments in the order of the file."""

    def __init__(self, tokens: Tokens, settled: bool) -> None:
        merged = [*zip(tokens.starts, tokens.kinds, tokens.ends, strict=True)]
        merged += [(c.span.start, "COMMENT", c.span.end) for c in tokens.comments]
        merged.sort()
        self.text = tokens.source.text
        self.items = merged
        self.at = 0
        self.settled = settled

    @property
    def kind(self) -> str:
        return self.items[self.at][1]

    def take(self) -> str:
        start, _, end = self.items[self.at]
        self.at += 1
        return self.text[start:end]

    def comment(self) -> str:
        return self.take().rstrip(" \t")

    # --- statements and entries ---------------------------------------------------------------------------------------

    def rows(self, closer: str) -> tuple[list[Row], str | None, bool, bool]:
        """Rows up to a closing brace; the comment behind the opening one; whether there were newlines; a last comma."""
        rows: list[Row] = []
        head: str | None = None
        newlines = int(closer == END)  # the start of the file is the start of a line
        lines = comma = False
        while (kind := self.kind) != closer:
            if kind == "NEWLINE":
                newlines += 1
                lines = True
                self.at += 1
            elif kind == "COMMA":
                comma = True
                self.at += 1
            elif kind == "COMMENT" and newlines == 0:
                if rows:
                    rows[-1].comment = self.comment()
                else:
                    head = self.comment()
            else:
                blank = self.blank(newlines, rows)
                newlines = 0
                if kind == "COMMENT":
                    rows.append(Row(blank, comment=self.comment()))
                else:
                    rows.append(Row(blank, self.statement()))
                    comma = False
        return rows, head, lines, comma

    def statement(self) -> list[Part]:
        parts: list[Part] = []
        typed = False
        while self.kind not in _ENDS:
            typed = (typed and self.kind != "EQ") or self.kind == "COLON"
            parts.append(self.part(parts, typed, header=_is_header(parts)))
            if len(parts) > 1 and _is_references(parts[-2], parts[-1]):
                parts[-1].flat = None  # type: ignore[union-attr]
        return parts

    def blank(self, newlines: int, rows: list[Row]) -> bool:
        """Whether a blank line stays before what follows these rows."""
        return newlines > 1 and bool(rows) and not self.settled

    # --- brackets -----------------------------------------------------------------------------------------------------

    def part(self, parts: list[Part], typed: bool = False, header: bool = False) -> Part:
        """The next token, or all of the bracket that it opens, behind `parts`."""
        before = _last(parts)
        kind = self.kind
        if kind == "LBRACE":
            return self.braces("block" if header else "record", before not in _TIGHT_AFTER)
        if kind == "LSQB" and before in _OPERANDS:
            return self.group("RSQB", False)
        if kind == "LSQB":
            return self.list_("RSQB", before not in _TIGHT_AFTER)
        if kind == "LPAR" and before in NAMES:
            if typed and self.after_opener() != "STRING":
                return self.group("RPAR", False)
            return self.list_("RPAR", False)
        if kind == "LPAR":
            return self.group("RPAR", before not in _TIGHT_AFTER)
        if kind == "MINUS" and before not in _OPERANDS:
            kind = "SIGN"
        angle = typed and (kind in ("LESS", "MORE") or before == "LESS")
        space = not (kind in _TIGHT_BEFORE or before in _TIGHT_AFTER or angle)
        return Piece(kind, self.take(), space)

    def after_opener(self) -> str:
        """The kind of the first token inside the bracket that opens here."""
        at = self.at + 1
        while self.items[at][1] in ("NEWLINE", "COMMENT"):
            at += 1
        return self.items[at][1]

    def braces(self, form: Form, space: bool) -> Bracket:
        open = self.take()
        rows, head, lines, comma = self.rows("RBRACE")
        out = Bracket(form, open, self.take(), space, "RBRACE", rows, head=head)
        one_line = len(rows) <= 1 if form == "block" else not comma
        if self.settled:
            one_line, lines = form == "record" and len(rows) <= 1, False
        if not rows and head is None:
            out.flat = "{}"
        elif one_line and not lines:
            out.flat = _joined(out, " ")
        return out

    def list_(self, closer: str, space: bool) -> Bracket:
        """Elements between commas: of a list, of a call, the names of an `enum`."""
        open = self.take()
        rows: list[Row] = []
        head: str | None = None
        newlines = 0
        comma = False
        while (kind := self.kind) != closer:
            if kind == "NEWLINE":
                newlines += 1
                self.at += 1
            elif kind == "COMMA":
                newlines, comma = 0, True
                self.at += 1
            elif kind == "COMMENT" and newlines == 0 and not rows:
                head = self.comment()
            elif kind == "COMMENT":
                self.add_comment(rows, self.comment(), newlines)
                newlines = 0
            else:
                rows += self.element(closer, self.blank(newlines, rows))
                newlines, comma = 0, False
        out = Bracket("list", open, self.take(), space, closer, rows, head=head)
        if len(rows) <= 1 or open == "(" if self.settled else not comma:
            out.flat = _joined(out, "")
        return out

    def element(self, closer: str, blank: bool) -> list[Row]:
        """One element, and the comments between it and what follows it."""
        parts: list[Part] = []
        waiting: list[tuple[str, int]] = []
        newlines = 0
        while (kind := self.kind) not in ("COMMA", closer):
            if kind == "NEWLINE":
                newlines += 1
                self.at += 1
            elif kind == "COMMENT":
                waiting.append((self.comment(), newlines))
                newlines = 0
            else:
                for text, own_line in waiting:
                    if own_line and not isinstance(parts[-1], Break):
                        parts.append(Break())
                    parts += [Note(text), Break()]
                waiting, newlines = [], 0
                parts.append(self.part(parts))
        rows = [Row(blank, parts)]
        for text, own_line in waiting:
            self.add_comment(rows, text, min(own_line, 1))
        return rows

    def breaks(self, parts: list[Part]) -> bool:
        """Whether a line break in an expression stays: the writer's, or the one before or after a comment."""
        beside = bool(parts) and isinstance(parts[-1], Note)
        return not self.settled or beside or self.kind == "COMMENT"

    def add_comment(self, rows: list[Row], text: str, newlines: int) -> None:
        """Put a comment behind the last element if it stands on its line, else on a line of its own."""
        if newlines == 0 and rows and rows[-1].parts and rows[-1].comment is None:
            rows[-1].comment = text
        else:
            rows.append(Row(self.blank(newlines, rows), comment=text))

    def group(self, closer: str, space: bool) -> Bracket:
        """An expression in brackets; its line breaks are the writer's."""
        open = self.take()
        parts: list[Part] = []
        while (kind := self.kind) != closer:
            if kind == "NEWLINE":
                self.at += 1
                if not (parts and isinstance(parts[-1], Break)) and self.breaks(parts):
                    parts.append(Break())
            elif kind == "COMMENT":
                parts.append(Note(self.comment()))
            else:
                parts.append(self.part(parts))
        out = Bracket("group", open, self.take(), space, closer, parts=parts)
        inside = flat(parts)
        out.flat = None if inside is None else f"{open}{inside}{out.close}"
        return out


def _last(parts: list[Part]) -> str:
    """The kind of the last token of some parts; "" where there is none."""
    for part in reversed(parts):
        if isinstance(part, (Piece, Bracket)):
            return part.kind
    return ""


def _is_header(parts: list[Part]) -> bool:
    """Whether parts are the start of a block: its kind and perhaps its name."""
    kinds = [p.kind if isinstance(p, Piece) else "" for p in parts]
    return 0 < len(kinds) <= 2 and kinds[0] in NAMES and (len(kinds) == 1 or kinds[1] in NAMES or kinds[1] == "STRING")


def _is_references(before: Part, part: Part) -> bool:
    """Whether a value of an attribute is a list of more than one reference."""
    if not (isinstance(before, Piece) and before.kind == "EQ"):
        return False
    if not (isinstance(part, Bracket) and part.form == "list" and part.open == "["):
        return False
    elements = [row.parts for row in part.rows if row.parts]
    return len(elements) > 1 and all(map(_is_reference, elements))


def _is_reference(parts: list[Part]) -> bool:
    return all(
        isinstance(part, Piece) and (part.kind == "DOT" if i % 2 else part.kind in NAMES)
        for i, part in enumerate(parts)
    )


def _joined(bracket: Bracket, padding: str) -> str | None:
    """All rows on one line, between commas; None where one takes several lines or has a comment."""
    if bracket.head is not None:
        return None
    texts = []
    for row in bracket.rows:
        text = None if row.comment is not None else flat(row.parts)
        if text is None:
            return None
        texts.append(text)
    return f"{bracket.open}{padding}{', '.join(texts)}{padding}{bracket.close}"
