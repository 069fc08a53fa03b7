"""What to say where a token does not fit: hand-written cases first, then a plain sentence in the user's words.

A case is a function from the place to a message or None; the first that answers wins. None names a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from pathlib import PurePosixPath
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, Label
from alchemist_dsl.diagnostics.suggest import near
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.numbers import BadNumber, read_number
from alchemist_dsl.syntax.recover import VERBS, Place
from alchemist_dsl.syntax.tokens import END

RESERVED: Final = frozenset(
    {
        "SET",
        "KEEP",
        "DROP",
        "EXPECT",
        "AS",
        "PER",
        "AND",
        "OR",
        "NOT",
        "IN",
        "TRUE",
        "FALSE",
        "NULL",
    }
)
_LITERALS: Final = frozenset(
    {"NUMBER", "STRING", "TEXT_BLOCK", "TRUE", "FALSE", "NULL", "BAD_VALUE"}
)
_VALUES: Final = _LITERALS | {"NAME", "LSQB", "LPAR", "MINUS", "NOT", "LBRACE"}
_ENDS: Final = frozenset({"NEWLINE", END, "RBRACE", "COMMA", ""})
_COMPARE: Final = frozenset({"EQUAL", "UNEQUAL", "LESS", "LESSEQ", "MORE", "MOREEQ"})
_OPERATORS: Final = _COMPARE | {
    "PLUS",
    "MINUS",
    "STAR",
    "SLASH",
    "AND",
    "OR",
    "NOT",
    "IN",
    "DOTS",
    "DOT",
}
_UNITS: Final = ("rows", "tokens", "chars", "words", "lines", "steps", "calls", "parts")
_SYNONYMS: Final = {
    "row": "rows", "sample": "rows", "samples": "rows", "examples": "rows", "example": "rows", "items": "rows",
    "records": "rows", "characters": "chars", "char": "chars", "toks": "tokens", "requests": "calls",
}  # fmt: skip
_PLAIN: Final = {
    "NAME": "a name", "NUMBER": "a number", "STRING": 'a text in quotes', "EQ": "`=`", "COLON": "`:`", "LBRACE": "`{`",
    "RBRACE": "`}`", "RSQB": "`]`", "RPAR": "`)`", "LPAR": "`(`", "LSQB": "`[`", "COMMA": "`,`", "AS": "`as`",
    "PER": "`per`", "NEWLINE": "the end of the line", END: "the end of the file", "DOT": "`.`", "DOTS": "`..`",
    "IN": "`in`", "LESS": "`<`", "MORE": "`>`", "QUESTION": "`?`",
}  # fmt: skip

Case = Callable[["Mistake"], Diagnostic | None]


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
        return tokens.source.span(
            tokens.starts[first], tokens.ends[first if last is None else last]
        )

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


def unexpected(where: Place, expected: Set[str]) -> Diagnostic:
    """The message for a token that does not fit."""
    mistake = Mistake(where, expected - {"BAD_LINE", "BAD_VALUE"})
    for case in CASES:
        found = case(mistake)
        if found is not None:
            return found
    return _plain(mistake)


def same_line(where: Place) -> Diagnostic:
    """Two statements, or two fields of a record, on one line with nothing between them."""
    m = Mistake(where, set())
    starts, text = where.tokens.starts, where.tokens.source.text
    line = text.rfind("\n", 0, starts[m.i]) + 1
    if where.opener >= 0 and starts[where.opener] >= line:
        return _comma(m)
    indent = text[line : starts[where.first]]
    gap = where.tokens.source.span(where.tokens.ends[m.i - 1], starts[m.i])
    return Diagnostic(
        "A002",
        f"`{m.text(m.i)}` starts a new statement, which needs a line of its own",
        m.span(m.i),
        help="start a new line before it",
        edit=Edit(gap, "\n" + indent) if not indent.strip() else None,
    )


def brace_on_next_line(where: Place) -> Diagnostic:
    """`filter clean`, and its `{` on the next line."""
    m = Mistake(where, set())
    gap = where.tokens.source.span(where.tokens.ends[m.i - 1], where.tokens.starts[m.i + 1])
    return Diagnostic(
        "A002",
        "the `{` of a block stands on the line of its header",
        m.span(m.i + 1),
        help=f"write `{m.shown(m.first, m.i - 1)} {{`",
        edit=Edit(gap, " "),
    )


def _comma(m: Mistake, label: str = "") -> Diagnostic:
    return Diagnostic(
        "A002",
        f"a comma is missing before `{m.shown(m.i, m.i)}`",
        m.span(m.i),
        label,
        help="write `,` between the two",
        edit=Edit(m.after(m.i - 1), ","),
    )


# --- what files, blocks and headers get wrong -----------------------------------------------------------------------------------


def _edition(m: Mistake) -> Diagnostic | None:
    word = m.text(m.first) if m.first < len(m.kinds) - 1 else ""
    if m.top and m.first == 0 and (word == "edition" or (m.here == "NUMBER" and m.i == 0)):
        return Diagnostic(
            "A012",
            "the first line of a recipe is `edition 2026`",
            m.span(m.first, m.value_end()),
            help="write `edition 2026`",
            edit=Edit(m.span(m.first, m.value_end()), "edition 2026"),
        )
    return None


def _import(m: Mistake) -> Diagnostic | None:
    if not (m.top and m.kinds[m.first] == "IMPORT"):
        return None
    path = m.text(m.first + 1) if m.kind(m.first + 1) == "STRING" else None
    if path is None:
        return Diagnostic(
            "A002",
            "`import` takes a file in quotes",
            m.span(m.i),
            help='write for example `import "std:alchemy" as alchemy`',
        )
    if m.i == m.first + 2 and m.here != "AS":
        stem = re.sub(r"\W+", "_", PurePosixPath(path.strip('"').split(":")[-1]).stem) or "lib"
        return Diagnostic(
            "A002",
            "an import needs a name, `as NAME`",
            m.span(m.first, m.first + 1),
            help=f"write `import {path} as {stem}`",
            edit=Edit(m.after(m.first + 1), f" as {stem}") if m.here in ("NEWLINE", END) else None,
        )
    return None


def _param(m: Mistake) -> Diagnostic | None:
    if not (m.top and m.kinds[m.first] == "PARAM" and m.kind(m.first + 1) == "NAME"):
        return None
    if m.i != m.first + 2 or m.here not in ("EQ", "NEWLINE", END):
        return None
    name = m.text(m.first + 1)
    value = m.text(m.i + 1) if m.here == "EQ" and m.kind(m.i + 1) else ""
    kind = m.kind(m.i + 1) if value else ""
    type = (
        "percent"
        if value.endswith("%")
        else {"STRING": "text", "TRUE": "bool", "FALSE": "bool"}.get(kind, "int")
    )
    return Diagnostic(
        "A002",
        f"the parameter `{name}` needs a type",
        m.span(m.first + 1),
        help=f"write `param {name}: {type}{' = ' + value if value else ''}`",
        edit=Edit(m.after(m.first + 1), f": {type}", safe=False) if value else None,
    )


def _top_level(m: Mistake) -> Diagnostic | None:
    """Attributes and rules outside of any block, headers without braces."""
    if not m.top:
        return None
    end = m.path_end()
    if m.kinds[m.first] in VERBS or m.kinds[m.first] == "SET":
        return Diagnostic(
            "A002",
            f"`{m.text(m.first)}` stands inside a block",
            m.span(m.first),
            help="at the top level stand `edition`, `import`, `param` and blocks `KIND NAME { … }`",
        )
    if m.here == "EQ" and m.i == end and end > m.first:
        return Diagnostic(
            "A002",
            f"`{m.shown(m.first, end - 1)}` is set outside of any block",
            m.span(m.first, end - 1),
            help="attributes stand inside a block; a value for several blocks is a parameter, "
            f"`param {m.text(m.first)}: TYPE = VALUE`",
        )
    if m.here == "COLON" and m.i == m.first + 1 and m.kinds[m.first] == "NAME":
        return Diagnostic(
            "A002",
            f"`{m.text(m.first)}` is declared outside of any block",
            m.span(m.first),
            help=f"a parameter is written `param {m.shown(m.first, m.value_end())}`",
            edit=Edit(
                m.span(m.first).__class__(
                    m.span(m.first).file, m.span(m.first).start, m.span(m.first).start
                ),
                "param ",
            ),
        )
    if m.here in ("NEWLINE", END) and m.kinds[m.first] == "NAME" and 1 <= m.i - m.first <= 2:
        header = m.shown(m.first, m.i - 1)
        return Diagnostic(
            "A002",
            f"`{header}` has no block",
            m.span(m.first, m.i - 1),
            help=f"write `{header} {{ … }}`",
        )
    return None


def _header(m: Mistake) -> Diagnostic | None:
    """`filter clean = {`, `filter my-name {`, `filter a b {`, `filter clean() {`."""
    if m.kinds[m.first] != "NAME" or _body(m) < 0 or m.kind(m.first + 1) == "EQ":
        return None
    brace = _body(m)
    if m.here in ("EQ", "COLON") and m.i == brace - 1:
        return Diagnostic(
            "A002",
            f"a block is opened without `{m.text(m.i)}`",
            m.span(m.i),
            help=f"write `{m.shown(m.first, m.i - 1)} {{`",
            edit=Edit(m.span(m.i), ""),
        )
    if m.here == "COLON" and m.i == m.first + 1:
        return Diagnostic(
            "A002",
            "a block is opened without `:`",
            m.span(m.i),
            help=f"write `{m.text(m.first)} {m.shown(m.i + 1, brace - 1)} {{`",
            edit=Edit(m.span(m.i), ""),
        )
    if m.i > m.first and brace > m.first + 1 and m.i <= brace:
        return _name_form(m, m.first + 1, brace - 1)
    return None


def _body(m: Mistake) -> int:
    """The `{` that ends the first line of a statement that reads like a header; -1 if there is none."""
    stop = m.where.stop
    if m.kinds[stop - 1] != "RBRACE" or stop - 1 <= m.first:
        return -1
    brace = m.where.nest.partner[stop - 1]
    inside = {m.kinds[i] for i in range(m.first, brace)}
    return brace if brace > m.first and not inside & {"LSQB", "LBRACE", "NEWLINE"} else -1


def _name_form(m: Mistake, first: int, last: int) -> Diagnostic:
    """A name that is none: with hyphens, with a digit ahead, of two words."""
    written = m.shown(first, last)
    better = re.sub(r"\W+", "_", written.strip('"')).strip("_")
    if better[:1].isdigit():
        better = "_" + better
    return Diagnostic(
        "A002",
        f"`{written}` is not a name",
        m.span(first, last),
        note="names are letters, digits and `_`, and do not start with a digit",
        help=f"write `{better}`" if better.isidentifier() else None,
        edit=Edit(m.span(first, last), better, safe=False) if better.isidentifier() else None,
    )


# --- what attributes get wrong --------------------------------------------------------------------------------------------------


def _double_equals(m: Mistake) -> Diagnostic | None:
    end = m.path_end()
    if m.i != end or end == m.first or m.top:
        return None
    if m.here == "EQUAL":
        return Diagnostic(
            "A001",
            "an attribute is set with one `=`; `==` compares",
            m.span(m.i),
            help="write `=`",
            edit=Edit(m.span(m.i), "="),
        )
    if m.here in ("PLUS", "MINUS", "STAR") and m.kind(m.i + 1) == "EQ":
        return Diagnostic(
            "A002",
            f"there is no `{m.text(m.i)}=`; a recipe says what a value is, not how it changes",
            m.span(m.i, m.i + 1),
            help="write `=` and the whole value",
        )
    return None


def _arrow(m: Mistake) -> Diagnostic | None:
    if m.here == "MORE" and m.before in ("EQ", "MINUS") and m.i - 1 >= m.path_end():
        span = m.span(m.i - 1, m.i)
        return Diagnostic(
            "A002", "a value is set with `=`", span, help="write `=`", edit=Edit(span, "=")
        )
    return None


def _missing_equals(m: Mistake) -> Diagnostic | None:
    end = m.path_end()
    if m.top or end == m.first or m.kind(end) not in _VALUES or m.i < end:
        return None
    if m.kind(end) == "LBRACE" or (m.kind(end) == "LPAR" and m.kind(m.first) != "SET"):
        return None
    if m.here in _ENDS or m.i == end or m.kind(end) == "NAME":
        path = m.shown(m.first, end - 1)
        value = m.shown(end, m.value_end())
        return Diagnostic(
            "A001",
            f"`{path}` needs `=` before its value",
            m.after(end - 1),
            "here",
            help=f"write `{path} = {value}`",
            edit=Edit(m.after(end - 1), " ="),
        )
    return None


def _colon(m: Mistake) -> Diagnostic | None:
    """`epochs: 2`, `a := 1`, `{ a: 1 }`, `f(n: 5)`."""
    colon = next((j for j in (m.i, m.i - 1) if m.kind(j) == "COLON"), m.first + 1)
    if m.kind(colon) != "COLON" or (m.top and m.kinds[m.first] == "PARAM" and colon == m.first + 2):
        return None
    if m.here == "EQ" and m.before == "COLON":
        span = m.span(m.i - 1, m.i)
        return Diagnostic(
            "A009",
            "attributes are set with `=`, not with `:=`",
            span,
            help="write `=`",
            edit=Edit(span, "="),
        )
    if m.kind(colon - 1) != "NAME" or m.i < colon:
        return None
    name = m.text(colon - 1)
    inside = m.around()
    last = m.value_end() if not inside else colon + 1
    value = m.shown(colon + 1, last) if m.kind(colon + 1) and last > colon else "…"
    what = {"LPAR": "arguments", "LBRACE": "the fields of a record"}.get(inside, "attributes")
    if not inside and m.kinds[m.where.opener] == "LBRACE" and _in_record(m):
        what = "the fields of a record"
    gap = "" if m.where.tokens.ends[colon] < m.where.tokens.starts[colon + 1] else " "
    return Diagnostic(
        "A009",
        f"{what} are set with `=`; `:` declares the type of a field",
        m.span(colon),
        help=f"write `{name} = {value}`",
        edit=Edit(m.span(colon), " =" + gap),
    )


def _in_record(m: Mistake) -> bool:
    """Whether the block around the statement is a record: it stands after `=`, `,` or an opening bracket."""
    opener = m.where.opener
    return opener > 0 and m.kinds[opener - 1] in ("EQ", "COMMA", "LSQB", "LPAR", "NEWLINE")


def _missing_value(m: Mistake) -> Diagnostic | None:
    if m.here not in _ENDS and m.here not in ("RSQB", "RPAR"):
        return None
    if m.before == "EQ":
        name = m.text(m.i - 2) if m.i - 2 >= m.first else ""
        return Diagnostic(
            "A016",
            f"`{name}` has no value",
            m.span(m.i - 1),
            help="write a value after the `=`, or delete the line",
        )
    if m.before in VERBS or m.before == "SET":
        word = m.text(m.i - 1)
        what = "a column and its value" if word == "set" else "a condition"
        example = "set lang = lang(response)" if word == "set" else f"{word} chars(response) < 80"
        return Diagnostic(
            "A016", f"`{word}` needs {what}", m.span(m.i - 1), help=f"for example `{example}`"
        )
    if m.before in ("AS", "PER"):
        word = m.text(m.i - 1)
        what = "a name" if m.before == "AS" else "a column or a count"
        return Diagnostic(
            "A016",
            f"`{word}` needs {what} after it",
            m.span(m.i - 1),
            help=f"write it, or delete `{word}`",
        )
    end = m.path_end()
    if m.i == end and end > m.first and not m.top and m.here != "LPAR":
        path = m.shown(m.first, end - 1)
        return Diagnostic(
            "A016",
            f"`{path}` has no value",
            m.span(m.first, end - 1),
            help=f"write `{path} = …`, or delete the line",
        )
    return None


# --- what names get wrong -------------------------------------------------------------------------------------------------------


def _reserved(m: Mistake) -> Diagnostic | None:
    """A reserved word where a name is needed."""
    at = m.i
    if m.here in ("EQ", "COLON") and m.i == m.first + 1 and m.kinds[m.first] in RESERVED:
        at = m.first
    elif (
        m.here in ("EQ", "COLON")
        and m.before in RESERVED
        and m.kind(m.i - 2) in ("DOT", "COMMA", "LPAR", "SET", "")
    ):
        at = m.i - 1
    elif m.here not in RESERVED or "NAME" not in m.expected:
        return None
    word = m.text(at)
    if (
        at == m.i
        and m.before
        not in ("", "DOT", "EQ", "LPAR", "COMMA", "LSQB", "SET", "AS", "PER", "NAME", "PARAM")
        and (m.before not in _OPERATORS)
    ):
        return None
    if at == m.i and word in ("and", "or", "in") and m.before in ("", "NAME"):
        return None
    read = (
        m.before in _OPERATORS
        or m.before in ("EQ", "LPAR", "COMMA", "LSQB", "PER")
        or m.kinds[m.first] in VERBS
    )
    if at == m.i and m.before == "DOT" and m.i >= 2:
        help = f'a column of this name is read as `{m.text(m.i - 2)}["{word}"]`'
    elif (at == m.i and read and m.assigns() != -1) or (
        m.kinds[m.first] in VERBS and at != m.first
    ):
        help = f'a column of this name is read as `row["{word}"]`'
    else:
        help = f"choose another name, for example `{word}_`"
    return Diagnostic(
        "A017", f"`{word}` is a reserved word and cannot be a name", m.span(at), help=help
    )


def _rule_name(m: Mistake) -> Diagnostic | None:
    """What follows `as`: quotes, hyphens."""
    if m.before == "AS" and m.here in ("STRING", "NUMBER"):
        return _name_form(m, m.i, m.i)
    if m.here in ("MINUS", "DOT") and m.before == "NAME" and m.kind(m.i - 2) == "AS":
        return _name_form(m, m.i - 1, m.value_end())
    return None


# --- what expressions get wrong -------------------------------------------------------------------------------------------------


def _single_equals(m: Mistake) -> Diagnostic | None:
    """`=` inside a condition."""
    if m.here != "EQ" or m.i <= m.first + 1:
        return None
    if m.kinds[m.first] in VERBS or m.assigns() >= 0:
        if m.kind(m.i + 1) == "EQ" or m.before in _COMPARE:
            return None
        if m.kind(m.i + 1) == "MORE":
            span = m.span(m.i, m.i + 1)
            return Diagnostic(
                "A002", "`=>` is written `>=`", span, help="write `>=`", edit=Edit(span, ">=")
            )
        return Diagnostic(
            "A002",
            "`=` sets a value; `==` compares",
            m.span(m.i),
            help="write `==`",
            edit=Edit(m.span(m.i), "=="),
        )
    return None


def _unit(m: Mistake) -> Diagnostic | None:
    """`50 samples`, `90 s`."""
    if m.before != "NUMBER" or m.here != "NAME":
        return None
    number, word = m.text(m.i - 1), m.text(m.i)
    read = read_number(number)
    if isinstance(read, BadNumber) or read.kind not in ("int", "real"):
        return None
    whole = m.span(m.i - 1, m.i)
    if word in (
        "s",
        "m",
        "h",
        "d",
        "ms",
        "k",
        "M",
        "B",
        "x",
        "KB",
        "MB",
        "GB",
        "TB",
        "KiB",
        "MiB",
        "GiB",
        "TiB",
    ):
        return Diagnostic(
            "A011",
            f"`{number} {word}` is not a number",
            whole,
            help=f"write `{number}{word}`, without a space",
            edit=Edit(whole, number + word),
        )
    better = _SYNONYMS.get(word) or next(iter(near(word, _UNITS, 1)), None)
    if better is None and not (m.kind(m.i + 1) in _ENDS or m.kind(m.i + 1) == "PER"):
        return None
    return Diagnostic(
        "A011",
        f"`{word}` is not a unit",
        m.span(m.i),
        note=f"what can be counted: {', '.join(_UNITS)}",
        help=f"write `{number} {better}`" if better else None,
        edit=Edit(m.span(m.i), better, safe=False) if better else None,
    )


def _word_operator(m: Mistake) -> Diagnostic | None:
    """`x is null`, `x contains "y"`, `x like "y"`, `a if b else c`."""
    if m.here != "NAME" or not m.before:
        return None
    word = m.text(m.i)
    left = m.text(m.i - 1)
    if word == "is":
        negative = m.kind(m.i + 1) == "NOT"
        sign = "!=" if negative else "=="
        last = m.i + negative
        return Diagnostic(
            "A002", f"there is no `is`; `{sign}` compares", m.span(m.i, last), help=f"write `{sign}`",
            edit=Edit(m.span(m.i, last), sign),
        )  # fmt: skip
    if word in ("contains", "matches", "startswith", "like"):
        right = m.text(m.i + 1) if m.kind(m.i + 1) else "…"
        name = word if word in ("contains", "matches") else "matches"
        return Diagnostic(
            "A002",
            f"`{word}` is not an operator",
            m.span(m.i),
            help=f"write `{name}({left}, {right})`",
        )
    if word in ("if", "when", "unless", "where"):
        return Diagnostic(
            "A002",
            f"there is no `{word}`",
            m.span(m.i),
            help="a choice between values is made by two rules, or with `coalesce(…)`",
        )
    if word in ("AND", "OR", "NOT", "IN"):
        return Diagnostic(
            "A002", f"`{word}` is written in small letters", m.span(m.i), help=f"write `{word.lower()}`",
            edit=Edit(m.span(m.i), word.lower()),
        )  # fmt: skip
    return None


def _chained(m: Mistake) -> Diagnostic | None:
    if m.here not in _COMPARE or "AND" not in m.expected or m.before in _OPERATORS:
        return None
    return Diagnostic(
        "A002",
        "comparisons do not chain",
        m.span(m.i),
        help="join two by `and`, or ask for an interval: `x in 50..8000`",
    )


def _missing_comma(m: Mistake) -> Diagnostic | None:
    if (
        "COMMA" not in m.expected
        or m.here not in _VALUES
        or m.around() not in ("LSQB", "LPAR", "LBRACE")
    ):
        return None
    if m.here == "LPAR":
        return None
    inside = {"LSQB": "the next element of this list", "LPAR": "the next argument of this call"}
    return _comma(m, inside.get(m.around(), ""))


def _named_value(m: Mistake) -> Diagnostic | None:
    if m.here == "AS" and m.kinds[m.first] not in VERBS and not m.top:
        return Diagnostic(
            "A002",
            "only rules have a name after `as`",
            m.span(m.i),
            help="rules are `keep`, `drop` and `expect`; delete the rest of the line otherwise",
        )
    return None


def _line_breaks(m: Mistake) -> Diagnostic | None:
    """A line that ends with an operator, or starts with one."""
    if m.here in ("NEWLINE", END) and m.before in _OPERATORS:
        return Diagnostic(
            "A002",
            f"the line ends after `{m.text(m.i - 1)}`",
            m.span(m.i - 1),
            help="an expression over several lines goes into parentheses",
        )
    if m.i == m.first and m.here in _OPERATORS - {"MINUS", "NOT", "DOT"} | {"PER", "AS"}:
        return Diagnostic(
            "A002",
            f"`{m.text(m.i)}` cannot start a line",
            m.span(m.i),
            help="an expression over several lines goes into parentheses",
        )
    return None


def _method_call(m: Mistake) -> Diagnostic | None:
    if m.here != "LPAR" or m.before not in ("NAME", "RPAR", "RSQB", "STRING"):
        return None
    if m.before == "NAME" and m.kind(m.i - 2) == "DOT":
        name = m.text(m.i - 1)
        subject = m.text(m.i - 3) if m.kind(m.i - 3) == "NAME" and m.kind(m.i - 4) != "DOT" else "x"
        return Diagnostic(
            "A002",
            "functions are called by their bare name",
            m.span(m.i - 1),
            help=f"write `{name}({subject}, …)`",
        )
    return None


def _extra_comma(m: Mistake) -> Diagnostic | None:
    if m.here != "COMMA":
        return None
    if m.before in ("LSQB", "LPAR", "LBRACE", "COMMA") or m.i == m.first:
        where = "here"
    elif m.top:
        where = "after this" if m.before in ("RBRACE",) else "here"
    else:
        return None
    return Diagnostic(
        "A002",
        f"there is nothing to separate {where}",
        m.span(m.i),
        help="delete the comma",
        edit=Edit(m.span(m.i), ""),
    )


def _half_number(m: Mistake) -> Diagnostic | None:
    """`.5`"""
    if m.here == "DOT" and m.where.tokens.kinds[m.i + 1] == "NUMBER" and "NUMBER" in m.expected:
        number = m.text(m.i + 1)
        span = m.span(m.i, m.i + 1)
        return Diagnostic(
            "A011",
            f"`.{number}` is not a number",
            span,
            help=f"write `0.{number}`",
            edit=Edit(span, f"0.{number}"),
        )
    return None


def _after_block(m: Mistake) -> Diagnostic | None:
    """Something behind the `}` of a block or the end of a value."""
    if m.before == "RBRACE" and "NEWLINE" in m.expected and m.here in _VALUES:
        return Diagnostic(
            "A002",
            f"`{m.shown(m.i, m.i)}` stands behind a closed bracket",
            m.span(m.i),
            help="start a new line before it",
        )
    return None


def _ternary(m: Mistake) -> Diagnostic | None:
    if m.here == "QUESTION":
        return Diagnostic(
            "A002",
            "`?` only stands after a type",
            m.span(m.i),
            help="a value that may be null is replaced with `coalesce(x, other)`",
        )
    return None


CASES: Final[tuple[Case, ...]] = (
    _edition,
    _import,
    _param,
    _reserved,
    _double_equals,
    _half_number,
    _rule_name,
    _header,
    _top_level,
    _missing_value,
    _line_breaks,
    _missing_equals,
    _colon,
    _arrow,
    _unit,
    _word_operator,
    _single_equals,
    _method_call,
    _missing_comma,
    _chained,
    _extra_comma,
    _named_value,
    _ternary,
    _after_block,
)


# --- the plain sentence -----------------------------------------------------------------------------------------------------------


def _plain(m: Mistake) -> Diagnostic:
    wanted = _wanted(m.expected)
    if m.here == "NEWLINE" or m.here == END:
        at = max(m.i - 1, 0)
        end = "the line" if m.here == "NEWLINE" else "the file"
        headline = f"{end} ends too early" + (f"; here should stand {wanted}" if wanted else "")
        return Diagnostic("A002", headline, m.after(at) if m.i > m.first else m.span(m.i))
    found = m.shown(m.i, m.i)
    headline = f"`{found}` cannot stand here"
    label = f"here should stand {wanted}" if wanted else ""
    labels: tuple[Label, ...] = ()
    if m.i > m.first and m.before not in ("", "NEWLINE"):
        headline = f"`{found}` cannot stand after `{m.shown(m.i - 1, m.i - 1)}`"
    return Diagnostic("A002", headline, m.span(m.i), label, labels)


def _wanted(expected: Set[str]) -> str:
    """At most three things in the user's words."""
    words: list[str] = []
    if {"NUMBER", "STRING", "NAME"} <= expected:
        words.append("a value")
        expected = expected - _VALUES
    if len(expected & _COMPARE) > 2:
        expected = expected - _OPERATORS
        operator = True
    else:
        operator = False
    ahead = (
        "EQ",
        "NEWLINE",
        "COMMA",
        "RSQB",
        "RPAR",
        "RBRACE",
        "LBRACE",
        "NAME",
        "COLON",
        "STRING",
        "NUMBER",
        "AS",
        "PER",
    )
    words += [_PLAIN[k] for k in ahead if k in expected]
    words += sorted(_PLAIN[k] for k in expected - set(ahead) if k in _PLAIN)
    if operator:
        words.insert(min(len(words), 2), "an operator")
    words = words[:3]
    if len(words) < 2:
        return words[0] if words else ""
    return ", ".join(words[:-1]) + " or " + words[-1]


def bad_item(where: Place) -> ast.BadItem:
    """The node that stands for what did not parse, with the kind and the name that could be read."""
    tokens, first, stop = where.tokens, where.first, where.stop
    end = tokens.ends[stop - 1] if stop > first else tokens.starts[first]
    span = tokens.source.span(tokens.starts[first], max(end, tokens.starts[first]))
    kind = tokens.text(first) if where.kind(first) in ("NAME", "PARAM", "IMPORT") else None
    name = None
    if kind == "import":
        for i in range(first, stop):
            if where.kind(i) == "AS" and where.kind(i + 1) == "NAME":
                name = where.text(i + 1)
    elif kind and where.kind(first + 1) == "NAME":
        name = where.text(first + 1)
    return ast.BadItem(span, name, kind)
