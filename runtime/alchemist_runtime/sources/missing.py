"""A source that is declared but not available."""

from __future__ import annotations

from collections.abc import Iterator

from alchemist_runtime.registry import source
from alchemist_runtime.sources._records import Chunk, Where


@source()
def missing(where: Where) -> Iterator[Chunk]:
    """A source that is declared but not available: no rows."""
    return iter(())
