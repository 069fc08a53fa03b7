"""Export as JSON lines, one row a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemist_runtime.registry import exporter

if TYPE_CHECKING:
    import pyarrow as pa


@exporter()
def jsonl(tables: Iterable[pa.Table], folder: Path, split: str) -> list[str]:
    """JSON lines with every column. Returns the file's name inside the folder."""
    import orjson

    name = f"data/{split}.jsonl"
    with (folder / name).open("wb") as file:
        for table in tables:
            for batch in table.to_batches(max_chunksize=4096):
                file.writelines(orjson.dumps(_plain(row)) + b"\n" for row in batch.to_pylist())
    return [name]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Columns that hold JSON as the values that they are."""
    import orjson

    for name in ("history", "_tail", "_extra", "tools", "template_args"):
        if isinstance(row.get(name), str):
            row[name] = orjson.loads(row[name])
    return row
