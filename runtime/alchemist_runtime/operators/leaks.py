"""What a decontamination method reads (benchmark items) and answers (which row leaks which item, and the words that
show it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Items:
    """Items of one benchmark or stream: the texts to look for and a name for each item."""

    texts: Sequence[Sequence[str | None]]  # for each item its texts, in the order of the suite's columns
    names: Sequence[str]
    suites: Sequence[str]  # for each item the suite or stream it is from
    entry_points: Sequence[str | None] | None = None


@dataclass(frozen=True, slots=True)
class Leaks:
    """Rows that leak, in their order, each with its best hit; and what could not be looked for."""

    row: Indices
    item: Indices
    match: list[str]  # the text as it stands in the row
    unsearchable: tuple[int, ...] = ()  # items too short for this method
