"""Text -> tokens: one regular expression made from the grammar's terminals, comments aside, mistakes of spelling
reported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.ast import Comment
from alchemist_dsl.syntax.grammar import Tables

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
