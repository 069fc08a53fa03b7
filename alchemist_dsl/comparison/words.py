"""Two texts to what stayed, went and came, in whole words; white space is kept, so both texts can be put together
again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, Literal, TypeAlias

Piece: TypeAlias = tuple[Literal["same", "added", "removed"], str]

#: A word, one sign of a script without spaces between words, a run of white space, or one other sign.
_WORD: Final = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+|\s+|[^\w\s]"
)
#: Pairs of equal words up to which two texts are matched word by word: beyond, line by line first, then in the lines
#: that differ.
_MOST_PAIRS: Final = 400_000


def word_diff(before: str, after: str) -> list[Piece]:
    """What of two texts is the same, added and removed, in order; a removed piece stands before the one that replaces
    it.

    Joining same and removed gives `before`, joining same and added gives `after`. Adjacent pieces differ in kind."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    if _pairs(old, new) > _MOST_PAIRS:
        pieces = _by_lines(before, after)
    else:
        pieces = _matched(old, new)
    return _joined(pieces)


def _pairs(old: Sequence[str], new: Sequence[str]) -> int:
    """How many pairs of equal words a match has to look at; white space is matched only beside words."""
    count = Counter(new)
    return sum(n * count[word] for word, n in Counter(old).items() if not word.isspace())


def _by_lines(before: str, after: str) -> Iterator[Piece]:
    """Lines first, then words within each run of lines that differs; a run that is too long for that is replaced
    whole.
    """
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if _pairs(old, new) > _MOST_PAIRS:
        yield from _replaced(before, after)
        return
    for kind, a, b in _runs(old, new):
        if kind == "same":
            yield "same", a
            continue
        words = _WORD.findall(a), _WORD.findall(b)
        yield from _replaced(a, b) if _pairs(*words) > _MOST_PAIRS else _matched(*words)


def _matched(old: Sequence[str], new: Sequence[str]) -> Iterator[Piece]:
    for kind, a, b in _runs(old, new):
        if kind == "same":
            yield "same", a
        else:
            yield from _replaced(a, b)


def _runs(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[Literal["same", "changed"], str, str]]:
    first = 0  # equal ends need no search
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    ends = len(old) - last, len(new) - last
    yield "same", "".join(old[:first]), ""
    matcher = SequenceMatcher(str.isspace, old[first : ends[0]], new[first : ends[1]], False)
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        gone = "".join(old[first + a : first + a_end])
        yield "same" if tag == "equal" else "changed", gone, "".join(new[first + b : first + b_end])
    yield "same", "".join(old[ends[0] :]), ""


def _replaced(before: str, after: str) -> Iterator[Piece]:
    yield "removed", before
    yield "added", after


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Runs of changes as at most one removed and one added piece; white space between two changes belongs to them."""
    out: list[Piece] = []
    gone = come = between = ""
    for kind, text in pieces:
        match kind:
            case "removed" if text:
                gone, come, between = gone + between + text, come + between, ""
            case "added" if text:
                gone, come, between = gone + between, come + between + text, ""
            case "same" if (gone or come) and (between + text).isspace() and "\n" not in text:
                between += text
            case "same" if text:
                out += [*_change(gone, come), ("same", between + text)]
                gone = come = between = ""
            case _:
                pass
    return _merged([*out, *_change(gone, come), ("same", between)])


def _change(gone: str, come: str) -> list[Piece]:
    return [("removed", gone), ("added", come)]


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    """Without empty pieces, neighbours of one kind as one."""
    out: list[Piece] = []
    for kind, text in pieces:
        if not text:
            continue
        if out and out[-1][0] == kind:
            out[-1] = (kind, out[-1][1] + text)
        else:
            out.append((kind, text))
    return out
