"""Leaks by name: a row that speaks of the function that a benchmark item asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from alchemist_runtime.operators.leaks import Items, Leaks
from alchemist_runtime.schema.registry import decontaminate

if TYPE_CHECKING:
    import pyarrow as pa


@decontaminate()
def entry_point(texts: list[pa.ChunkedArray | pa.Array], items: Items, *, allow: tuple[str, ...] = ()) -> Leaks:
    """Rows that name the entry point of a benchmark item as a word of its own; names in `allow` may stand.

    The hit of a row is the first such name in the order of its texts.
    """
    import numpy as np

    first: dict[str, int] = {}
    for number, name in enumerate(items.entry_points or ()):
        if name and name not in allow:
            first.setdefault(name, number)
    found: dict[int, str] = {}
    if first:
        # longest first, so that a name never hides a longer one that begins with it
        names = "|".join(re.escape(n) for n in sorted(first, key=lambda n: (-len(n), n)))
        word = re.compile(rf"(?<![\w])(?:{names})(?![\w])")
        for column in texts:
            _search(column, names, word, found)
    rows = sorted(found)
    return Leaks(
        np.array(rows, np.int64), np.array([first[found[r]] for r in rows], np.int64), [found[r] for r in rows]
    )


def _search(column: Any, names: str, word: re.Pattern[str], found: dict[int, str]) -> None:
    """Arrow finds the rows where one of the names may stand; a look at their words decides."""
    import numpy as np
    import pyarrow.compute as pc

    near = pc.fill_null(pc.match_substring_regex(column, names), False)
    for row in np.flatnonzero(near.to_numpy(zero_copy_only=False)).tolist():
        if row not in found:
            hit = word.search(column[row].as_py())
            if hit is not None:
                found[row] = hit.group()
