"""Where a mistake stands and what the parser could take there: the facts that recovery and messages work from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alchemist_dsl.syntax.brackets import CLOSERS, OPENERS, Pairs
from alchemist_dsl.syntax.grammar import Tables
from alchemist_dsl.syntax.tokens import END, Tokens

VERBS: Final = frozenset({"KEEP", "DROP", "EXPECT"})
_AFTER_NAME: Final = frozenset({"EQ", "COLON", "LBRACE"})


@dataclass(frozen=True, slots=True)
class Place:
    """Token numbers: the statement runs from `first` to before `stop`; `error` does not fit; `opener` is the `{`
    around.
    """

    tokens: Tokens
    nest: Pairs
    opener: int
    first: int
    error: int
    stop: int

    def kind(self, i: int) -> str:
        """The kind of a token of the statement; "" outside of it."""
        return self.tokens.kinds[i] if self.first <= i < self.stop else ""

    def text(self, i: int) -> str:
        return self.tokens.text(i)


def place(tokens: Tokens, nest: Pairs, opener: int, error: int) -> Place:
    """The statement around a token, at the level right inside `opener` (-1: the top level)."""
    kinds, around, partner = tokens.kinds, nest.around, nest.partner
    end = partner[opener] if opener >= 0 else len(kinds) - 1
    separators = ("NEWLINE", "COMMA") if opener >= 0 else ("NEWLINE",)
    stop = first = error
    while stop < end and around[stop] != opener:
        stop = partner[around[stop]] + 1
    while stop < end and kinds[stop] not in separators:
        stop = partner[stop] + 1 if kinds[stop] in OPENERS else stop + 1
    while first != end and around[first] != opener:
        first = around[first]
    while first - 1 > opener and kinds[first - 1] not in separators:
        first = partner[first - 1] if kinds[first - 1] in CLOSERS else first - 1
    return Place(tokens, nest, opener, first, error, min(stop, end))


def begins_statement(tokens: Tokens, i: int) -> bool:
    """Whether what stands at a token reads like the start of a statement: `NAME =`, `NAME {`, `keep …`, `set …`."""
    kinds = tokens.kinds
    kind = kinds[i]
    if kind in VERBS or kind == "SET":
        return True
    if kind not in ("NAME", "PARAM", "IMPORT", "EDITION"):
        return False
    at = i + 1
    while kinds[at] == "DOT" and kinds[at + 1] == "NAME":
        at += 2
    if kinds[at] in _AFTER_NAME:
        return True
    return at == i + 1 and kinds[at] in ("NAME", "STRING") and kinds[at + 1] == "LBRACE"


def accepts(tables: Tables, states: list[int], kind: str) -> bool:
    """Whether the automaton would take a token of this kind now (its rows alone promise more than it keeps)."""
    stack = list(states[-24:]) if len(states) > 24 else list(states)
    full = len(stack) == len(states)
    while True:
        action = tables.actions[stack[-1]].get(kind)
        if action is None:
            return False
        if action >= 0:
            return True
        length, origin, _ = tables.rules[-action - 1]
        if length >= len(stack):
            if full:
                return kind == END
            stack, full = list(states), True
            continue
        if length:
            del stack[-length:]
        state = tables.gotos[stack[-1]].get(origin)
        if state is None or state in tables.ends.values():
            return kind == END
        stack.append(state)
