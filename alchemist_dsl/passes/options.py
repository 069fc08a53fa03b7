"""What a person asks of one compilation beside the recipe itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """`upto`: build only these blocks and what they read. `limit`: rows of lowest hash of each source."""

    upto: tuple[str, ...] = ()
    limit: int | None = None
    variant: str | None = None
