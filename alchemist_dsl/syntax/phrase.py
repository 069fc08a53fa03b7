"""What to say where a token does not fit: hand-written cases first, then a plain sentence in the user's words.

A case is a function from the mistake to a message or None; the first that answers wins. None names a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic, Edit
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax import phrase_blocks as blocks
from alchemist_dsl.syntax import phrase_values as values
from alchemist_dsl.syntax.phrase_values import COMPARE, OPERATORS, VALUES, Mistake, missing_comma_before
from alchemist_dsl.syntax.repair import Place
from alchemist_dsl.syntax.trivia import END

_PLAIN: Final = {
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": "a text in quotes",
    "EQ": "`=`",
    "COLON": "`:`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "RSQB": "`]`",
    "RPAR": "`)`",
    "LPAR": "`(`",
    "LSQB": "`[`",
    "COMMA": "`,`",
    "AS": "`as`",
    "PER": "`per`",
    "NEWLINE": "the end of the line",
    END: "the end of the file",
    "DOT": "`.`",
    "DOTS": "`..`",
    "IN": "`in`",
    "LESS": "`<`",
    "MORE": "`>`",
    "QUESTION": "`?`",
}

Case = Callable[[Mistake], Diagnostic | None]
CASES: Final[tuple[Case, ...]] = (
    blocks.edition,
    blocks.import_,
    blocks.param,
    blocks.reserved,
    blocks.double_equals,
    values.half_number,
    blocks.rule_name,
    blocks.header,
    blocks.top_level,
    blocks.missing_name,
    blocks.missing_type,
    blocks.missing_value,
    values.bare_text,
    values.line_breaks,
    blocks.missing_equals,
    blocks.colon,
    blocks.arrow,
    values.unit,
    values.word_operator,
    values.single_equals,
    values.method_call,
    values.missing_comma,
    values.decimal_comma,
    values.prefixed_text,
    values.twice,
    values.missing_operator,
    values.chained,
    values.extra_comma,
    values.named_value,
    values.ternary,
    values.after_block,
)


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
        return missing_comma_before(m)
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


# --- the plain sentence -----------------------------------------------------------------------------------------------


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
    if m.i > m.first and m.before not in ("", "NEWLINE"):
        headline = f"`{found}` cannot stand after `{m.shown(m.i - 1, m.i - 1)}`"
    return Diagnostic("A002", headline, m.span(m.i), label)


def _wanted(expected: Set[str]) -> str:
    """At most three things in the user's words."""
    words: list[str] = []
    if {"NUMBER", "STRING", "NAME"} <= expected:
        words.append("a value")
        expected = expected - VALUES
    if len(expected & COMPARE) > 2:
        expected = expected - OPERATORS
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
        last = first + 1
        while where.kind(last + 1) == "NAME":
            last += 1
        if where.kind(last + 1) == "LBRACE":  # `filter filter clean {`
            name = where.text(last)
    return ast.BadItem(span, name, kind)
