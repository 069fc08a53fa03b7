"""Findings that need no Python tree: of style in any language, and of other languages."""

from __future__ import annotations

import re

from alchemist_runtime.operators import _clarity, _grammars
from alchemist_runtime.teachers._findings import Finding


def of_style(code: str, lang: str) -> list[Finding]:
    """What costs points in `clarity`, said in words."""
    out = []
    names, comments, lines = _clarity.remarks(code, lang)
    if names:
        out.append(Finding(None, f"Give {_quoted(names)} a name that says what it holds."))
    if comments:
        out.append(
            Finding(
                None,
                f"Comment the steps: {lines} lines of code come without a word of explanation.",
            )
        )
    if lang in _clarity.BRACES:
        rows = code.split("\n")
        bad = [
            i
            for i, row in enumerate(rows, 1)
            if re.search(r"[;}]\s*\}\s*;?\s*$", row) and "{" not in row
        ]
        if bad:
            out.append(Finding(bad[0], "Put the closing brace on a line of its own.", unclear=1))
    return out


def _quoted(names: list[str]) -> str:
    return " and ".join(f"`{n}`" for n in names[:2])


def in_others(code: str, lang: str) -> list[Finding]:
    out = (
        []
        if _grammars.parses(code, lang)
        else [Finding(_error_line(code, lang), "The code does not parse.", wrong=9)]
    )
    long = [i for i, row in enumerate(code.split("\n"), 1) if len(row) > 100]
    if long and lang not in ("html", "json"):
        out.append(
            Finding(
                long[0],
                f"The line has {len(code.splitlines()[long[0] - 1])} characters; break it up.",
                unclear=0,
            )
        )
    if lang in ("javascript", "typescript"):
        rows = [i for i, row in enumerate(code.split("\n"), 1) if re.match(r"\s*var\s", row)]
        if rows:
            out.append(Finding(rows[0], "Use `const` or `let` in the place of `var`.", unclear=1))
        loose = [
            i
            for i, row in enumerate(code.split("\n"), 1)
            if re.search(r"(?<![=!<>])[=!]=(?!=)\s*[^=\s]", row)
            and re.search(r"[^=!<>][=!]=[^=]", row)
        ]
        if loose:
            out.append(
                Finding(loose[0], "Compare with `===` or `!==`, which convert nothing.", unclear=1)
            )
    if lang == "cpp" and (
        rows := [i for i, row in enumerate(code.split("\n"), 1) if "using namespace std;" in row]
    ):
        out.append(
            Finding(
                rows[0],
                "Name what you use of `std` in the place of taking in the whole namespace.",
                unclear=0,
            )
        )
    if lang == "c" and (
        rows := [i for i, row in enumerate(code.split("\n"), 1) if re.search(r"\bgets\s*\(", row)]
    ):
        out.append(
            Finding(rows[0], "`gets` cannot know the size of its buffer; use `fgets`.", wrong=2)
        )
    if lang == "sql" and re.search(r"(?i)\bselect\s+\*", code):
        out.append(
            Finding(None, "Name the columns that are needed in the place of `*`.", unclear=0)
        )
    return out


def _error_line(code: str, lang: str) -> int | None:
    if lang not in _grammars._MODULES:
        return None
    root = _grammars.parser(lang).parse(_grammars.encoded(code)).root_node
    lines, todo = [], [root]
    while todo:
        node = todo.pop()
        if node.is_error or node.is_missing:
            lines.append(node.start_point[0] + 1)
        elif node.has_error:
            todo.extend(node.children)
    return min(lines, default=None)
