"""Markers of an unfinished merge: reported once each, and our side read on, so that they hide nothing else."""

from __future__ import annotations

import re
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic, Label
from alchemist_dsl.source import SourceFile

_CONFLICT: Final = re.compile(
    r"^(?P<ours><{7}(?: [^\n]*)?)\n(?P<mine>(?:(?![<>=|]{7})[^\n]*\n)*)"
    r"(?P<rest>(?:\|{7}[^\n]*\n(?:(?![<>=|]{7})[^\n]*\n)*)?={7}[^\n]*\n(?:(?![<>=|]{7})[^\n]*\n)*>{7}(?: [^\n]*)?)$",
    re.MULTILINE,
)


def resolve(source: SourceFile) -> tuple[SourceFile, tuple[Diagnostic, ...]]:
    """The text with markers and the other side blanked out, lines and columns unmoved, and a message for each."""
    if "<<<<<<<" not in source.text:
        return source, ()
    found: list[Diagnostic] = []

    def blank(m: re.Match[str]) -> str:
        end = source.span(m.end() - len(m[0].rsplit("\n", 1)[1]), m.end())
        found.append(
            Diagnostic(
                "A015",
                "the file holds an unfinished merge",
                source.span(m.start("ours"), m.end("ours")),
                "from here",
                (Label(end, "to here"),),
                help="keep one of the two sides and delete the three marker lines",
            )
        )
        return _blank(m["ours"]) + "\n" + m["mine"] + _blank(m["rest"])

    text = _CONFLICT.sub(blank, source.text)
    return SourceFile(source.path, text), tuple(found)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
