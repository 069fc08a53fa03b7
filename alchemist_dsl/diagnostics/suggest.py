"""Near names: exact but for case first, then by edit distance with transpositions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_ENOUGH: Final = 0.6
_LONGEST: Final = 64


def near(name: str, candidates: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """The candidates that a person who typed `name` most likely meant, best first; often none."""
    unique = dict.fromkeys(c for c in candidates if c != name)
    folded = name.casefold()
    same = [c for c in unique if c.casefold() == folded]
    if same:
        return tuple(same[:limit])
    if len(name) > _LONGEST:
        return ()
    scored = [(_similarity(folded, c.casefold()), c) for c in unique]
    good = [(s, c) for s, c in scored if s >= _ENOUGH]
    best = max((s for s, _ in good), default=0.0)
    # Beside a very near name a faint one only distracts.
    good = [(s, c) for s, c in good if s >= best - 0.2]
    good.sort(key=lambda sc: (-sc[0], sc[1]))
    return tuple(c for _, c in good[:limit])


def _similarity(a: str, b: str) -> float:
    longest = max(len(a), len(b))
    if longest == 0 or abs(len(a) - len(b)) > (1 - _ENOUGH) * longest or len(b) > _LONGEST:
        return 0.0
    return 1 - _distance(a, b) / longest


def _distance(a: str, b: str) -> int:
    """Optimal string alignment: insert, delete, replace, or swap two neighbours."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
