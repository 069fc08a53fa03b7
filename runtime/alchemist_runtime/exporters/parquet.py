"""Export as Parquet shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from alchemist_runtime.schema.registry import exporter

if TYPE_CHECKING:
    import pyarrow as pa


#: Rows of a row group: what a reader holds at a time.
GROUP_ROWS = 16_384
#: Bytes of a value up to which a column is worth a dictionary.
SHORT = 24


@exporter(version=2)
def parquet(tables: Iterable[pa.Table], folder: Path, split: str, types: Mapping[str, str]) -> list[str]:
    """Parquet files, 65,536 rows each. Returns their names inside the folder."""
    import pyarrow.parquet as pq

    names: list[str] = []
    for table in tables:
        name = f"data/{split}-{len(names):05d}.parquet"
        pq.write_table(
            table,
            folder / name,
            row_group_size=GROUP_ROWS,
            compression="zstd",
            compression_level=3,
            use_dictionary=_repeated(table) or False,
        )
        names.append(name)
        del table  # the next one is made before the loop would let go of it
    return names


def _repeated(table: pa.Table) -> list[str]:
    """Columns that may repeat their values: a dictionary of long texts is built for nothing."""
    pairs = zip(table.column_names, table.columns, strict=True)
    return [name for name, column in pairs if column.nbytes <= SHORT * table.num_rows]
