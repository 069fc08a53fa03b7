"""Two tables of named values -> the changes between them, on typed values: numbers, sets, sequences, texts."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from alchemist_dsl.comparison.model import Category, Change
from alchemist_dsl.comparison.words import Piece, word_diff
from alchemist_dsl.explain.description import Fact, Facts
from alchemist_dsl.explain.staleness import without

CHARS_PER_TOKEN: Final = 4
#: A change to what decides no byte.
_META: Final = frozenset({"cost", "speed", "doc"})


def changes(before: Facts, after: Facts) -> list[Change]:
    """Every value that differs, in the order of the tables; what a changed method took as arguments stands with it."""
    names = list(dict.fromkeys((*before, *after)))
    found = [n for n in names if _data(before.get(n)) != _data(after.get(n))]
    shown = [n for n in found if not _told(n, found, before, after)]
    return [
        _change(n, before.get(n), after.get(n))
        for n in shown
        if not n.endswith(".order") or _reordered(n, before, after)
    ]


def _told(name: str, found: Sequence[str], before: Facts, after: Facts) -> bool:
    """Whether a part of something stands already in the text of the whole, which changed too."""
    part = any(name in side and side[name].part for side in (before, after))
    return part and name.rpartition(".")[0] in found


def _data(value: Fact | None) -> object:
    return None if value is None else [value.data]


def _change(path: str, before: Fact | None, after: Fact | None) -> Change:
    some = after or before
    assert some is not None
    category: Category = "metadata" if some.affects in _META else "breaking"
    added, removed = _items(before, after)
    words, tokens = _words(before, after)
    return Change(
        path=path,
        before=None if before is None else before.text,
        after=None if after is None else after.text,
        relative=_relative(before, after),
        added=added,
        removed=removed,
        words=words,
        tokens=tokens,
        category=category,
    )


def _relative(before: Fact | None, after: Fact | None) -> str | None:
    old, new = (None if v is None else v.number for v in (before, after))
    if old is None or new is None or old == 0:
        return None
    return str((new - old) / old)


def relative_words(relative: str) -> str:
    """`+25%`, `-3.5%`, or how many times as much where that says more."""
    share = Fraction(relative)
    if share >= 2:
        times = float(share + 1)
        return f"{times:,.3g} times" if times < 1000 else f"{times:,.0f} times"
    text = f"{float(share) * 100:+.1f}".removesuffix(".0")
    return f"{text}%"


def _items(before: Fact | None, after: Fact | None) -> tuple[list[str], list[str]]:
    """What came and went of a set or a sequence; of one that is only in another order, nothing."""
    if (before is None or before.items is None) and (after is None or after.items is None):
        return [], []
    old = list(before.items or ()) if before is not None else []
    new = list(after.items or ()) if after is not None else []
    return without(new, old), without(old, new)


def _words(before: Fact | None, after: Fact | None) -> tuple[list[Piece], tuple[int, int] | None]:
    """A text as words that stayed, came and went. A text of which only a digest is known is no text."""
    old, new = (None if v is None else v.template for v in (before, after))
    if old is None and new is None:
        return [], None
    if (before is not None and old is None) or (after is not None and new is None):
        return [], None
    return word_diff(old or "", new or ""), (tokens(old or ""), tokens(new or ""))


def tokens(text: str) -> int:
    """Tokens of a text, at four characters each."""
    return -(-len(text) // CHARS_PER_TOKEN)


def _reordered(name: str, before: Facts, after: Facts) -> bool:
    """Whether what is on both sides stands in another order. An order that only follows from what came or went is no
    change.
    """
    old, new = (t[name].data if name in t else [] for t in (before, after))
    return [r for r in old if r in new] != [r for r in new if r in old]
