"""What to say where a token does not fit: hand-written cases first, then a plain sentence in the user's words."""

from __future__ import annotations

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.recover import Place


def same_line(where: Place) -> Diagnostic:
    tokens, i = where.tokens, where.error
    span = tokens.source.span(tokens.starts[i], tokens.ends[i])
    return Diagnostic("A002", "a statement starts on a line of its own", span)


def unexpected(where: Place, expected: set[str]) -> Diagnostic:
    tokens, i = where.tokens, where.error
    span = tokens.source.span(tokens.starts[i], tokens.ends[i])
    return Diagnostic(
        "A002", f"unexpected {tokens.text(i)!r}", span, help=" ".join(sorted(expected))
    )


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
