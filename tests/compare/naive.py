"""The comparison of two results in plain Python, row by row: what the vectorised one must agree with."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def keyed(rows: Sequence[Row]) -> dict[tuple[bytes, int, int], Row]:
    seen: Counter[tuple[bytes, int]] = Counter()
    out = {}
    for row in rows:
        key = (row["_id"], row.get("_copy") or 0)
        out[(*key, seen[key])] = row
        seen[key] += 1
    return out


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    return bool(type(a) is type(b) and a == b)


def compared(before: Sequence[Row], after: Sequence[Row], columns: Sequence[str]) -> dict[str, Any]:
    """Counts as the comparison gives them, over these columns that both have."""
    old, new = keyed(before), keyed(after)
    both = [k for k in old if k in new]
    by_column = {c: n for c in columns if (n := sum(not equal(old[k][c], new[k][c]) for k in both))}
    changed = [k for k in both if any(not equal(old[k][c], new[k][c]) for c in columns)]
    places = {k: i for i, k in enumerate(new)}
    order = [places[k] for k in both]
    origins: dict[str, list[int]] = defaultdict(lambda: [0] * 5)
    for where, keys, side in (
        (0, list(old), old),
        (1, list(new), new),
        (2, [k for k in new if k not in old], new),
        (3, [k for k in old if k not in new], old),
        (4, changed, new),
    ):
        for k in keys:
            origins[side[k]["origin"]][where] += 1
    return {
        "added": len(new) - len(both),
        "removed": len(old) - len(both),
        "changed": len(changed),
        "columns": by_column,
        "reordered": order != sorted(order),
        "origins": {o: tuple(n) for o, n in sorted(origins.items())},
    }
