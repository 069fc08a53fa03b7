"""What a person asks of one compilation beside the recipe itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """`upto`: build only this block and what it reads. `limit`: rows of lowest hash of each source."""

    upto: str | None = None
    limit: int | None = None
    variant: str | None = None
