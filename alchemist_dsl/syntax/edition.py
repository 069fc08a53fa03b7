"""The `edition` line: that it is there, comes first, and is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic, Edit, Label
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax import ast

EDITIONS: Final = (2026,)


def check(
    source: SourceFile, items: Sequence[ast.Item | ast.Edition], report: Callable[[Diagnostic], None]
) -> ast.Edition | None:
    """The edition of a file; reports where the line is missing, misplaced, repeated or unknown."""
    found = [i for i in items if isinstance(i, ast.Edition)]
    newest = EDITIONS[-1]
    if not found:
        first = items[0] if items else None
        if not (isinstance(first, ast.BadItem) and _opens(source, first)):
            start = first.span.start if first else 0
            end = source.text.find("\n", start)
            span = source.span(start, len(source.text) if end < 0 else end)
            report(
                Diagnostic(
                    "A012",
                    "the file does not say which edition of the language it is written in",
                    span if first else source.span(0, 0),
                    help=f"write `edition {newest}` as the first line",
                    edit=Edit(source.span(0, 0), f"edition {newest}\n"),
                )
            )
        return None
    edition = found[0]
    for other in found[1:]:
        label = Label(edition.span, "first")
        report(Diagnostic("A012", "the edition is given twice", other.span, "again", (label,), help="keep one"))
    if items[0] is not edition and not isinstance(items[0], ast.Edition):
        report(
            Diagnostic(
                "A012",
                "the edition line comes first in a file",
                edition.span,
                labels=(Label(_first_line(source, items[0]), "this stands before it"),),
                help="move it to the top",
            )
        )
    if edition.year not in EDITIONS:
        _unknown(edition, newest, source, report)
    return edition


def _unknown(edition: ast.Edition, newest: int, source: SourceFile, report: Callable[[Diagnostic], None]) -> None:
    written = source.text[edition.span.start : edition.span.end].removeprefix("edition").strip()
    later = edition.year > newest
    report(
        Diagnostic(
            "A013",
            f"this version does not know the edition `{written}`",
            edition.span,
            note=f"known: {', '.join(map(str, EDITIONS))}",
            help="a newer version of alchemist may know it" if later else f"write `edition {newest}`",
            edit=None if later else Edit(edition.span, f"edition {newest}", safe=False),
        )
    )


def _opens(source: SourceFile, item: ast.BadItem) -> bool:
    """Whether a bad first item was an attempt at the edition line, which was reported then."""
    text = source.text[item.span.start : item.span.end]
    return text.startswith("edition") or text[:1].isdigit()


def _first_line(source: SourceFile, item: ast.Item | ast.Edition) -> Span:
    end = source.text.find("\n", item.span.start, item.span.end)
    return source.span(item.span.start, item.span.end if end < 0 else end)
