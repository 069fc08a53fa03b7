"""Pairs brackets and drops the newlines that mean nothing. Where they do not pair, decides what the writer meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alchemist_dsl.syntax.tokens import Tokens

OPENERS: Final = {"LBRACE": "RBRACE", "LSQB": "RSQB", "LPAR": "RPAR"}
CLOSERS: Final = frozenset(OPENERS.values())


@dataclass(frozen=True, slots=True)
class Pairs:
    """For every token: the opener around it (-1 at top level); for every bracket, its partner."""

    around: list[int]
    partner: dict[int, int]


def pair(raw: Tokens) -> Tokens:
    """The tokens with balanced brackets, without newlines inside `[…]` and `(…)`, and one newline for a run."""
    out = _drop_newlines(raw)
    if out is None:
        from alchemist_dsl.syntax.repair import repair  # only where brackets are wrong

        out = _drop_newlines(repair(raw))
        assert out is not None
    return out


def _drop_newlines(raw: Tokens) -> Tokens | None:
    """None if the brackets are not balanced."""
    kinds: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    wanted: list[str] = []
    newline = True  # at the start of the file, and after a newline
    for kind, start, end in zip(raw.kinds, raw.starts, raw.ends, strict=True):
        if kind == "NEWLINE":
            if newline or (wanted and wanted[-1] != "RBRACE"):
                continue
            newline = True
        else:
            newline = False
            if kind in OPENERS:
                wanted.append(OPENERS[kind])
            elif kind in CLOSERS and (not wanted or wanted.pop() != kind):
                return None
        kinds.append(kind)
        starts.append(start)
        ends.append(end)
    if wanted:
        return None
    return Tokens(raw.source, kinds, starts, ends, raw.comments, raw.docs, raw.problems)


def pairs(tokens: Tokens) -> Pairs:
    """Who encloses whom, for balanced tokens."""
    around: list[int] = []
    partner: dict[int, int] = {}
    stack = [-1]
    for i, kind in enumerate(tokens.kinds):
        if kind in CLOSERS:
            opener = stack.pop()
            partner[opener], partner[i] = i, opener
        around.append(stack[-1])
        if kind in OPENERS:
            stack.append(i)
    return Pairs(around, partner)
