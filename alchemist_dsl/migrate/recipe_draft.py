"""The one form between every tool's configuration and a recipe: sources with amounts, a mixture, a training,
remarks.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Final

from alchemist_dsl.kinds import RESERVED, TAKEN

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Names of ports and of what is read here as a word of its own.
_SPOKEN_FOR: Final = RESERVED | TAKEN | {"dropped", "trace", "sft", "dataset", "rows"}


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment in a block, above one of its attributes or, without one, at its end."""

    text: str
    at: str = ""


@dataclass(slots=True)
class Source:
    """A source: `attrs` and `sets` as data of a recipe; `amount` is how much of it is taken, None is all."""

    name: str
    attrs: dict[str, Any] = field(default_factory=dict)
    sets: dict[str, Any] = field(default_factory=dict)
    amount: str | None = None
    remarks: list[Remark] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """A recipe to be. `train` is None where the configuration names no model: then the data is exported."""

    title: str
    seed: int | None = None
    sources: list[Source] = field(default_factory=list)
    mixture: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] | None = None
    train_name: str = "model"
    remarks: dict[str, list[Remark]] = field(default_factory=dict)  # of recipe, mixture, train

    def remark(self, block: str, text: str, at: str = "") -> None:
        self.remarks.setdefault(block, []).append(Remark(text, at))


def named(text: str, taken: Container[str]) -> str:
    """A name for a block after a text, one that is not taken: `allenai/tulu-3` gives `tulu_3`."""
    last = [p for p in re.split(r"[\\/]", text) if p.strip(".")] or ["data"]
    stem = re.sub(r"\.(jsonl?|ndjson|csv|tsv|parquet|arrow)(\.gz|\.zst)?$", "", last[-1].lower())
    name = re.sub(r"[^a-z0-9]+", "_", stem).strip("_")[:40].strip("_") or "data"
    name = name if _WORD.fullmatch(name) else f"data_{name}"
    name = f"{name}_set" if name in _SPOKEN_FOR else name
    number, found = 2, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def column(name: str) -> str:
    """A column in an expression."""
    if _WORD.fullmatch(name) and name not in RESERVED | {"param", "out", "row"}:
        return name
    import json

    return f"row[{json.dumps(name, ensure_ascii=False)}]"
