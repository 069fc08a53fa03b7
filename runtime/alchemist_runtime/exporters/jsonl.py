"""Export as JSON lines, one row a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from alchemist_runtime.schema.registry import exporter
from alchemist_runtime.schema.sealed import dumps

if TYPE_CHECKING:
    import pyarrow as pa


@exporter(version=2)
def jsonl(tables: Iterable[pa.Table], folder: Path, split: str, types: Mapping[str, str]) -> list[str]:
    """JSON lines with every column. Returns the file's name inside the folder."""
    from alchemist_runtime.engine.views import records

    name = f"data/{split}.jsonl"
    with (folder / name).open("wb") as file:
        file.writelines(dumps(row) + b"\n" for row in records(tables, types))
    return [name]
