"""Export as Parquet shards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from alchemist_runtime.registry import exporter

if TYPE_CHECKING:
    import pyarrow as pa


@exporter()
def parquet(tables: Iterable[pa.Table], folder: Path, split: str) -> list[str]:
    """Parquet files, 65,536 rows each. Returns their names inside the folder."""
    import pyarrow.parquet as pq

    names = []
    for number, table in enumerate(tables):
        name = f"data/{split}-{number:05d}.parquet"
        pq.write_table(table, folder / name, compression="zstd", compression_level=3)
        names.append(name)
    return names
