"""One mistake: the token that does not fit, what could stand there, and short words for looking around it."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic, Edit
from alchemist_dsl.source import Span
from alchemist_dsl.syntax.repair import Place
from alchemist_dsl.syntax.tokens import END

RESERVED: Final = frozenset(
    {"SET", "KEEP", "DROP", "EXPECT", "AS", "PER", "AND", "OR", "NOT", "IN", "TRUE", "FALSE", "NULL"}
)
LITERALS: Final = frozenset({"NUMBER", "STRING", "TEXT_BLOCK", "TRUE", "FALSE", "NULL", "BAD_VALUE"})
VALUES: Final = LITERALS | {"NAME", "LSQB", "LPAR", "MINUS", "NOT", "LBRACE"}
ENDS: Final = frozenset({"NEWLINE", END, "RBRACE", "COMMA", ""})
COMPARE: Final = frozenset({"EQUAL", "UNEQUAL", "LESS", "LESSEQ", "MORE", "MOREEQ"})
OPERATORS: Final = COMPARE | {"PLUS", "MINUS", "STAR", "SLASH", "AND", "OR", "NOT", "IN", "DOTS", "DOT"}


class Mistake:
    """A place with what could stand there, and short words for looking around it."""

    def __init__(self, where: Place, expected: Set[str]) -> None:
        self.where = where
        self.expected = expected
        self.i = where.error
        self.first = where.first
        self.kinds = where.tokens.kinds
        self.here = self.kinds[self.i]
        self.before = self.kinds[self.i - 1] if self.i > where.first else ""
        self.top = where.opener < 0

    def kind(self, i: int) -> str:
        """The kind of a token of the statement, its end included; "" outside."""
        return self.kinds[i] if self.first <= i < self.where.stop else ""

    def text(self, i: int) -> str:
        return self.where.tokens.text(i)

    def shown(self, first: int, last: int) -> str:
        """A stretch of the recipe as a message quotes it."""
        tokens = self.where.tokens
        text = " ".join(tokens.source.text[tokens.starts[first] : tokens.ends[last]].split())
        return text if len(text) <= 50 else text[:49] + "…"

    def source(self, first: int, last: int) -> str:
        tokens = self.where.tokens
        return tokens.source.text[tokens.starts[first] : tokens.ends[last]]

    def span(self, first: int, last: int | None = None) -> Span:
        tokens = self.where.tokens
        return tokens.source.span(tokens.starts[first], tokens.ends[first if last is None else last])

    def after(self, i: int) -> Span:
        """The empty place right after a token."""
        end = self.where.tokens.ends[i]
        return self.where.tokens.source.span(end, end)

    def around(self) -> str:
        """The kind of the bracket right around the token; "" in a block."""
        opener = self.where.nest.around[self.i]
        if self.kinds[self.i] in ("RSQB", "RPAR", "RBRACE"):
            opener = self.where.nest.partner.get(self.i, opener)
        return self.kinds[opener] if opener != self.where.opener and opener >= 0 else ""

    def path_end(self) -> int:
        """One past the dotted name that opens the statement (after `set`); `first` where there is none."""
        i = self.first + (self.kind(self.first) == "SET")
        if self.kind(i) != "NAME":
            return self.first
        i += 1
        while self.kind(i) == "DOT" and self.kind(i + 1) == "NAME":
            i += 2
        return i

    def value_end(self) -> int:
        return max(self.where.stop - 1, self.first)

    def assigns(self) -> int:
        """The number of the statement's own `=`, or -1."""
        i = self.path_end()
        return i if self.kind(i) == "EQ" and i > self.first else -1


def missing_comma_before(m: Mistake, label: str = "") -> Diagnostic:
    return Diagnostic(
        "A002",
        f"a comma is missing before `{m.shown(m.i, m.i)}`",
        m.span(m.i),
        label,
        help="write `,` between the two",
        edit=Edit(m.after(m.i - 1), ","),
    )
