"""A source that is declared but not available."""

from __future__ import annotations

from collections.abc import Iterator

from alchemist_runtime.formats.records import Chunk, Where
from alchemist_runtime.schema.registry import source


@source()
def missing(where: Where) -> Iterator[Chunk]:
    """A source that is declared but not available: no rows."""
    return iter(())
