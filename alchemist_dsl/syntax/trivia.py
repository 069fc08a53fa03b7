"""Tokens -> rows as they were written: statements and elements with their comments, blank lines and brackets.

Nothing is left out but what has no meaning: newlines inside brackets, commas between statements. The formatter prints
it. What it leaves to the writer (blank lines, what stands on one line) is settled here for the form that diffs compare.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.ast import Comment
from alchemist_dsl.syntax.grammar import Tables

# --- tokens ----------------------------------------------------------------------------------------------------------

END: Final = "$END"
_OPEN_TEXT: Final = r'(?:jinja)?"{3,}'
#: After the end of a line: what shows that a statement is over.
_READS_ON: Final = re.compile(
    r"\n+[ \t]*(?:\}|\]|#|$|(?:set|keep|drop|expect)\b|[A-Za-z_][\w.]*[ \t]*=|\w+[ \t]*\{[ \t]*$)", re.MULTILINE
)
_NEAR: Final = 4000  # characters; bounds what is read ahead
_CLOSERS: Final[dict[int, re.Pattern[str]]] = {}


@dataclass(slots=True)
class Tokens:
    """Parallel columns; the last token is the end of the file. `docs`: start of a token -> the `##` lines above it."""

    source: SourceFile
    kinds: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    docs: dict[int, str] = field(default_factory=dict)
    problems: list[Diagnostic] = field(default_factory=list)
    unclosed: set[int] = field(default_factory=set)  # lengths of quotes that close nowhere further on

    def text(self, i: int) -> str:
        return self.source.text[self.starts[i] : self.ends[i]]

    def add(self, kind: str, start: int, end: int) -> None:
        self.kinds.append(kind)
        self.starts.append(start)
        self.ends.append(end)

    def insert(self, at: int, kind: str, offset: int) -> None:
        """Put a token of no width before token `at`."""
        self.kinds.insert(at, kind)
        self.starts.insert(at, offset)
        self.ends.insert(at, offset)


@cache
def _scanner(patterns: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """One alternative a terminal, longest spelling first; what begins no terminal is `odd`."""
    by_name = dict(patterns)
    ahead = ["NEWLINE", "COMMENT", "NAME", "STRING", "NUMBER"]
    marks = sorted(by_name.keys() - {*ahead, "SPACE", "TEXT_BLOCK"}, key=lambda n: (-len(by_name[n]), n))
    parts = [("text", _OPEN_TEXT), ("odd", "//"), *((n, by_name[n]) for n in (*ahead, *marks))]
    parts += [("odd", r"(?s:.)"), (END, r"\Z")]
    expression = "|".join(f"({regex})" for _, regex in parts)
    return re.compile(f"(?:{by_name['SPACE']})?(?:{expression})"), ("", *(n for n, _ in parts))


def _odd(out: Tokens, start: int) -> int:
    from alchemist_dsl.syntax import lex_errors  # only where something is wrong

    return lex_errors.odd(out, start)


def _broken_text(out: Tokens, start: int, opened: int, quotes: int) -> int:
    from alchemist_dsl.syntax import lex_errors

    return lex_errors.broken_text(out, start, opened, quotes)


def _lacks_a_quote(text: str, end: int) -> bool:
    """Whether `""` at the end of a line stands where a text block was meant to open: its closing quotes come alone."""
    if text[end : end + 1] != "\n" or _READS_ON.match(text, end):
        return False
    closer = _closer(3).search(text, end, end + _NEAR)
    return closer is not None and not _swallows(text, end, closer.start(), 3)


def _two_quotes(out: Tokens, start: int) -> int:
    from alchemist_dsl.syntax import lex_errors

    closer = _closer(3).search(out.source.text, start)
    assert closer is not None
    return lex_errors.two_quotes(out, start, closer.end())


def _closer(quotes: int) -> re.Pattern[str]:
    """The closing line of a text block."""
    return _CLOSERS.setdefault(quotes, re.compile(rf'^[ \t]*"{{{quotes}}}(?!")', re.MULTILINE))


def scan(source: SourceFile, tables: Tables) -> Tokens:
    """Cut a text into tokens. Never fails: what is no token is reported and left out or replaced by a bad value."""
    out = Tokens(source)
    pattern, groups = _scanner(tuple(tables.patterns.items()))
    text, words = source.text, tables.words
    kinds, starts, ends = out.kinds, out.starts, out.ends
    match = pattern.scanner(text).match  # type: ignore[attr-defined]
    doc: list[str] = []
    while True:
        m = match()
        i = m.lastindex
        kind = groups[i]
        start, end = m.span(i)
        if kind == "COMMENT":
            first = not kinds or kinds[-1] == "NEWLINE"
            out.comments.append(Comment(source.span(start, end), text[start:end]))
            if first and text.startswith("##", start):
                doc.append(text[start + 2 : end].removeprefix(" ").rstrip())
            continue
        if kind == "NAME":
            kind = words.get(m[i], kind)
        elif kind == "text" or kind == "odd":
            end = _text_block(out, start, end) if kind == "text" else _odd(out, start)
            match = pattern.scanner(text, end).match  # type: ignore[attr-defined]
            kind = ""
        elif kind == "STRING" and end == start + 2 and _lacks_a_quote(text, end):
            end = _two_quotes(out, start)
            match = pattern.scanner(text, end).match  # type: ignore[attr-defined]
            kind = ""
        if doc and kind and kind != "NEWLINE":
            out.docs[start] = "\n".join(doc)
            doc = []
        if kind:
            kinds.append(kind)
            starts.append(start)
            ends.append(end)
            if kind == END:
                return out


def _text_block(out: Tokens, start: int, opened: int) -> int:
    """Add the text block whose quotes open at `start`; the offset where scanning goes on."""
    text = out.source.text
    quotes = opened - start - (5 if text.startswith("jinja", start) else 0)
    line_end = text.find("\n", opened)
    closer = _closer(quotes)
    found = None
    if line_end >= 0 and quotes not in out.unclosed and not text[opened:line_end].strip(" \t"):
        found = closer.search(text, line_end + 1)
        if found is None:
            out.unclosed.add(quotes)
    if found is None or _swallows(text, opened, found.start(), quotes):
        return _broken_text(out, start, opened, quotes)
    out.add("TEXT_BLOCK", start, found.end())
    return found.end()


def _swallows(text: str, start: int, end: int, quotes: int) -> bool:
    """Whether a text block holds the first line of another one: then its own closing quotes are missing."""
    line = rf'^[ \t]*(?:set[ \t]+)?[A-Za-z_][\w.]*[ \t]*=[ \t]*(?:jinja)?"{{{quotes},}}[ \t]*$'
    return re.compile(line, re.MULTILINE).search(text, text.find("\n", start), end) is not None


# --- trivia ----------------------------------------------------------------------------------------------------------

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
