"""The same recipe in another layout: line breaks, spaces, blank lines and last commas by chance, every token and
comment kept.
"""

from __future__ import annotations

from random import Random

from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.grammar import load
from alchemist_dsl.syntax.trivia import END, scan

_OPENERS = {"LBRACE": "{", "LSQB": "[", "LPAR": "("}
_CLOSERS = {"RBRACE", "RSQB", "RPAR"}


def relaid(text: str, chance: Random) -> str:
    """The tokens of a recipe that parses, laid out anew. A gap that holds a comment stays as it is."""
    tokens = scan(SourceFile("r.recipe", text), load())
    pieces = [
        (kind, text[start:end]) for kind, start, end in zip(tokens.kinds, tokens.starts, tokens.ends, strict=True)
    ]
    out = text[: tokens.starts[0]]
    stack: list[str] = []
    before = "#"  # the gap before a token
    for i, (kind, spelled) in enumerate(pieces[:-1]):
        if kind in _OPENERS:
            stack.append(kind)
        elif kind in _CLOSERS:
            stack.pop()
        after = pieces[i + 1][0]
        gap = text[tokens.ends[i] : tokens.starts[i + 1]]
        loose = bool(stack) and stack[-1] != "LBRACE"
        if kind == "NEWLINE" and "#" not in before + gap:
            again = i > 0 and pieces[i - 1][0] == "NEWLINE"
            spelled = chance.choice(["\n", "\n\n", "" if again or loose else "\n \n\n"])
        elif kind == "COMMA" and after == "RSQB":
            spelled = chance.choice(["", ","])
        if "#" not in gap:
            gap = _space(kind, after, loose, chance)
        out += spelled + gap
        before = gap
    return out + text[tokens.starts[-1] :]


def _space(kind: str, after: str, loose: bool, chance: Random) -> str:
    if kind == "NEWLINE" or after == "NEWLINE" or after == END:
        return chance.choice(["", "  ", "\t"])
    if loose:
        return chance.choice([" ", "  ", "\n", "\n\n  "])
    if kind == "LBRACE" or after == "RBRACE":
        return chance.choice([" ", "\n", "\n\n"])
    return chance.choice([" ", "   "])
