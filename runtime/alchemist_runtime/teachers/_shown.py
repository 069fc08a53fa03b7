"""The code that a response shows: its fenced blocks, all of it, or what is left without the lines that read as sentences."""

from __future__ import annotations

from alchemist_runtime.operators import _grammars, _languages
from alchemist_runtime.operators import code as code_functions


def shown(response: str, lang: str) -> str:
    """The code of a language in a response; the whole response where no part of it parses."""
    blocks = [c for tag, c in code_functions.blocks(response) if tag in (lang, None)]
    if blocks:
        return "\n\n".join(blocks)
    if lang not in _grammars.PARSED or _grammars.parses(response.strip("\n"), lang):
        return response
    kept = without_prose(response)
    return kept if kept and _grammars.parses(kept, lang) else response


def without_prose(text: str) -> str:
    lines = [line for line in text.split("\n") if not _languages.prose(line) and not _label(line)]
    return "\n".join(lines).strip("\n")


def _label(line: str) -> bool:
    """`Corrected code:`, a line that only announces code."""
    words = line.strip().rstrip(":").split()
    return (
        line.strip().endswith(":")
        and 0 < len(words) <= 6
        and all(w.isalpha() for w in words)
        and words[0].istitle()
        and words[0] != "Else"
    )
