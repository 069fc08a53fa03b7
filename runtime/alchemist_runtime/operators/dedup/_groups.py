"""What every dedup method answers: which rows belong together, how similar two of them are, and which one stays for
which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Indices = np.ndarray[Any, np.dtype[np.int64]]
    Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Groups of rows that are linked by likeness; in which order they are preferred is the step's decision."""

    labels: Indices  # for each row the smallest row number of its group
    similarity: Callable[[Indices, Indices], Floats]  # of pairs of rows, 0 to 1
    #: From all rows in the order of preference to the row that stays for each; None where rows of a group are all
    #: alike.
    stars: Callable[[Indices], Indices] | None = None


class Components:
    """Connected components of rows, joined pair by pair."""

    def __init__(self, rows: int) -> None:
        import numpy as np

        self._parent = np.arange(rows, dtype=np.int64)

    def root(self, row: int) -> int:
        """The smallest row of this row's component."""
        parent = self._parent
        while (up := int(parent[row])) != row:
            parent[row] = parent[up]
            row = up
        return row

    def join(self, first: Indices, second: Indices) -> None:
        """Put both rows of each pair into one component."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            a, b = self.root(a), self.root(b)
            self._parent[max(a, b)] = min(a, b)

    def labels(self) -> Indices:
        """The smallest row of each row's component."""
        import numpy as np

        while not np.array_equal(up := self._parent[self._parent], self._parent):
            self._parent = up
        return self._parent
