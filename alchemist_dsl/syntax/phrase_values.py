"""What to say where a value or a condition is wrong."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Final

from alchemist_runtime.schema.attributes import COUNTS

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, near
from alchemist_dsl.source import Span
from alchemist_dsl.syntax.decode import BadNumber, read_number
from alchemist_dsl.syntax.repair import VERBS, Place
from alchemist_dsl.syntax.trivia import END

_UNITS: Final = (*COUNTS, "parts")
_SYNONYMS: Final = {
    "row": "rows",
    "sample": "rows",
    "samples": "rows",
    "examples": "rows",
    "example": "rows",
    "items": "rows",
    "records": "rows",
    "sequences": "packs",
    "characters": "chars",
    "char": "chars",
    "toks": "tokens",
    "requests": "calls",
}


def single_equals(m: Mistake) -> Diagnostic | None:
    """`=` inside a condition."""
    if m.here != "EQ" or m.i <= m.first + 1:
        return None
    if m.kinds[m.first] in VERBS or m.assigns() >= 0:
        if m.kind(m.i + 1) == "EQ" or m.before in COMPARE:
            return None
        if m.before == "EQ":
            return Diagnostic(
                "A002", "`=` stands twice", m.span(m.i), "again", help="delete one", edit=Edit(m.span(m.i), "")
            )
        if m.kind(m.i + 1) == "MORE":
            span = m.span(m.i, m.i + 1)
            return Diagnostic("A002", "`=>` is written `>=`", span, help="write `>=`", edit=Edit(span, ">="))
        return Diagnostic(
            "A002", "`=` sets a value; `==` compares", m.span(m.i), help="write `==`", edit=Edit(m.span(m.i), "==")
        )
    return None


def unit(m: Mistake) -> Diagnostic | None:
    """`50 samples`, `90 s`."""
    if m.before != "NUMBER" or m.here != "NAME":
        return None
    number, word = m.text(m.i - 1), m.text(m.i)
    read = read_number(number)
    if isinstance(read, BadNumber) or read.kind not in ("int", "real"):
        return None
    whole = m.span(m.i - 1, m.i)
    if word in ("s", "m", "h", "d", "ms", "k", "M", "B", "x", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"):
        return Diagnostic(
            "A011",
            f"`{number} {word}` is not a number",
            whole,
            help=f"write `{number}{word}`, without a space",
            edit=Edit(whole, number + word),
        )
    better = _SYNONYMS.get(word) or next(iter(near(word, _UNITS, 1)), None)
    if better is None and m.kinds[m.first] in VERBS and m.kind(m.i + 1) in ENDS:
        return _missing_as(m)
    if better is None and not (m.kind(m.i + 1) in ENDS or m.kind(m.i + 1) == "PER"):
        return None
    return Diagnostic(
        "A011",
        f"`{word}` is not a unit",
        m.span(m.i),
        note=f"what can be counted: {', '.join(_UNITS)}",
        help=f"write `{number} {better}`" if better else None,
        edit=Edit(m.span(m.i), better, safe=False) if better else None,
    )


def word_operator(m: Mistake) -> Diagnostic | None:
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
            "A002",
            f"there is no `is`; `{sign}` compares",
            m.span(m.i, last),
            help=f"write `{sign}`",
            edit=Edit(m.span(m.i, last), sign),
        )
    if word in ("contains", "matches", "startswith", "like"):
        right = m.text(m.i + 1) if m.kind(m.i + 1) else "…"
        name = word if word in ("contains", "matches") else "matches"
        return Diagnostic("A002", f"`{word}` is not an operator", m.span(m.i), help=f"write `{name}({left}, {right})`")
    if word in ("if", "when", "unless", "where"):
        return Diagnostic(
            "A002",
            f"there is no `{word}`",
            m.span(m.i),
            help="a choice between values is made by two rules, or with `coalesce(…)`",
        )
    if word == "between":
        low, high = m.text(m.i + 1), m.text(m.i + 3) if m.kind(m.i + 2) == "AND" else "…"
        return Diagnostic("A002", "there is no `between`", m.span(m.i), help=f"write `{left} in {low}..{high}`")
    if word == "for":
        return Diagnostic(
            "A002",
            "there is no `for`: a recipe has no loops",
            m.span(m.i),
            help="rules and `set` go over the rows by themselves; `alchemist docs` lists the functions over lists",
        )
    if word in ("AND", "OR", "NOT", "IN"):
        return Diagnostic(
            "A002",
            f"`{word}` is written in small letters",
            m.span(m.i),
            help=f"write `{word.lower()}`",
            edit=Edit(m.span(m.i), word.lower()),
        )
    return None


def chained(m: Mistake) -> Diagnostic | None:
    if m.here not in COMPARE or "AND" not in m.expected or m.before in OPERATORS:
        return None
    return Diagnostic(
        "A002",
        "comparisons do not chain",
        m.span(m.i),
        help="join two by `and`, or ask for an interval: `x in 50..8000`",
    )


def missing_comma(m: Mistake) -> Diagnostic | None:
    if "COMMA" not in m.expected or m.here not in VALUES or m.around() not in ("LSQB", "LPAR", "LBRACE"):
        return None
    if m.here == "LPAR":
        return None
    inside = {"LSQB": "the next element of this list", "LPAR": "the next argument of this call"}
    return missing_comma_before(m, inside.get(m.around(), ""))


def named_value(m: Mistake) -> Diagnostic | None:
    if m.here == "AS" and m.kinds[m.first] not in VERBS and not m.top:
        return Diagnostic(
            "A002",
            "only rules have a name after `as`",
            m.span(m.i),
            help="rules are `keep`, `drop` and `expect`; delete the rest of the line otherwise",
        )
    return None


def line_breaks(m: Mistake) -> Diagnostic | None:
    """A line that ends with an operator, or starts with one."""
    if m.here in ("NEWLINE", END) and m.before in OPERATORS:
        return Diagnostic(
            "A002",
            f"the line ends after `{m.text(m.i - 1)}`",
            m.span(m.i - 1),
            help="an expression over several lines goes into parentheses",
        )
    if m.i == m.first and m.here in OPERATORS - {"MINUS", "NOT", "DOT"} | {"PER", "AS"}:
        return Diagnostic(
            "A002",
            f"`{m.text(m.i)}` cannot start a line",
            m.span(m.i),
            help="an expression over several lines goes into parentheses",
        )
    return None


def method_call(m: Mistake) -> Diagnostic | None:
    if m.here != "LPAR" or m.before not in ("NAME", "RPAR", "RSQB", "STRING"):
        return None
    if m.before == "NAME" and m.kind(m.i - 2) == "DOT":
        name = m.text(m.i - 1)
        subject = m.text(m.i - 3) if m.kind(m.i - 3) == "NAME" and m.kind(m.i - 4) != "DOT" else "x"
        more = "" if m.kind(m.i + 1) == "RPAR" else ", …"
        return Diagnostic(
            "A002", "functions are called by their bare name", m.span(m.i - 1), help=f"write `{name}({subject}{more})`"
        )
    return None


def extra_comma(m: Mistake) -> Diagnostic | None:
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


def half_number(m: Mistake) -> Diagnostic | None:
    """`.5`"""
    if m.here == "DOT" and m.where.tokens.kinds[m.i + 1] == "NUMBER" and "NUMBER" in m.expected:
        number = m.text(m.i + 1)
        span = m.span(m.i, m.i + 1)
        return Diagnostic(
            "A011", f"`.{number}` is not a number", span, help=f"write `0.{number}`", edit=Edit(span, f"0.{number}")
        )
    return None


def twice(m: Mistake) -> Diagnostic | None:
    """`total = 5 rows 5 rows`: the same word again."""
    if m.here != m.before or m.here not in VALUES or m.text(m.i) != m.text(m.i - 1):
        return None
    return Diagnostic(
        "A002",
        f"`{m.shown(m.i, m.i)}` stands twice",
        m.span(m.i),
        "again",
        help="delete one",
        edit=Edit(m.span(m.i - 1, m.i), m.text(m.i)),
    )


def _missing_as(m: Mistake) -> Diagnostic:
    at = m.after(m.i - 1)
    return Diagnostic(
        "A002",
        f"`as` is missing before `{m.text(m.i)}`",
        m.span(m.i),
        "the name of the rule?",
        help=f"write `as {m.text(m.i)}`",
        edit=Edit(at, " as"),
    )


_BARE: Final = re.compile(r"[~./]*[A-Za-z][\w.\-/:@+*~]*")


def bare_text(m: Mistake) -> Diagnostic | None:
    """`base = Qwen/Qwen2.5-0.5B`, `files = ./data/*.jsonl`: a name or path without quotes."""
    equals = m.assigns()
    if equals < 0 or m.i <= equals or m.kinds[m.first] == "SET" or m.kind(equals + 1) == "":
        return None
    tokens = m.where.tokens
    start = tokens.starts[equals + 1]
    found = _BARE.match(tokens.source.text, start)
    if found is None or not re.search(r"[/@:~\-]|\.\w", found[0]) or tokens.starts[m.i] > found.end():
        return None
    rest = tokens.source.text[found.end() :].split("\n", 1)[0].strip()
    if rest and not rest.startswith(("#", "}", ",")):
        return None
    span = tokens.source.span(start, found.end())
    return Diagnostic(
        "A002",
        f"`{found[0]}` is text and needs quotes",
        span,
        help="put it into double quotes",
        edit=Edit(span, f'"{found[0]}"'),
    )


def decimal_comma(m: Mistake) -> Diagnostic | None:
    """`0,7`"""
    tokens, i = m.where.tokens, m.i
    if m.here != "NUMBER" or i < 2 or tokens.kinds[i - 2 : i] != ["NUMBER", "COMMA"]:
        return None
    if tokens.ends[i - 2] != tokens.starts[i - 1] or tokens.ends[i - 1] != tokens.starts[i]:
        return None
    better = f"{tokens.text(i - 2)}.{tokens.text(i)}"
    span = m.span(i - 2, i)
    return Diagnostic(
        "A011",
        f"`{tokens.text(i - 2)},{tokens.text(i)}` is not a number",
        span,
        help=f"decimals follow a point, thousands go by `_`: `{better}`",
        edit=Edit(span, better, safe=False),
    )


def prefixed_text(m: Mistake) -> Diagnostic | None:
    """`f"Say {x}"`, `r"…"`."""
    if m.here not in ("STRING", "TEXT_BLOCK") or m.before != "NAME":
        return None
    prefix = m.text(m.i - 1)
    if m.where.tokens.ends[m.i - 1] != m.where.tokens.starts[m.i] or len(prefix) > 2:
        return None
    span = m.span(m.i - 1, m.i)
    if "f" in prefix.lower():
        return Diagnostic(
            "A002",
            "a text with values in it is a template, not an f-string",
            span,
            help='write `jinja"""`, the text with `{{ name }}` on lines of its own, `"""`; or join texts by `+`',
        )
    return Diagnostic(
        "A002",
        f"a text has no `{prefix}` before its quotes",
        m.span(m.i - 1),
        help="delete it",
        edit=Edit(m.span(m.i - 1), ""),
        note='''a raw text stands between lines of `"""`''',
    )


def missing_operator(m: Mistake) -> Diagnostic | None:
    """`expect rows(a) 500 rows`: two values of a condition with nothing between them."""
    if m.kinds[m.first] not in VERBS or m.here not in VALUES - {"LBRACE", "LPAR", "LSQB", "NOT"}:
        return None
    if ("EQUAL" not in m.expected and "AND" not in m.expected) or m.around():
        return None
    if m.here == "NAME" and m.kind(m.i + 1) in ENDS:
        return _missing_as(m)
    left, right = m.shown(m.i - 1, m.i - 1), m.shown(m.i, m.i)
    return Diagnostic(
        "A002",
        f"an operator is missing before `{right}`",
        m.span(m.i),
        help="write how the two go together: `==`, `<`, `>=`, `in`, `and` …" if left != right else None,
    )


def after_block(m: Mistake) -> Diagnostic | None:
    """Something behind the `}` of a block or the end of a value."""
    if m.before == "RBRACE" and "NEWLINE" in m.expected and m.here in VALUES:
        return Diagnostic(
            "A002",
            f"`{m.shown(m.i, m.i)}` stands behind a closed bracket",
            m.span(m.i),
            help="start a new line before it",
        )
    return None


def ternary(m: Mistake) -> Diagnostic | None:
    if m.here == "QUESTION":
        return Diagnostic(
            "A002",
            "`?` only stands after a type",
            m.span(m.i),
            help="a value that may be null is replaced with `coalesce(x, other)`",
        )
    return None


# --- mistake ---------------------------------------------------------------------------------------------------------

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
