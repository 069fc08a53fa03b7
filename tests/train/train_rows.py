"""Rows that the tests of training share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

TURN = pa.struct({"role": pa.string(), "content": pa.string(), "extra": pa.string()})


def row_id(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def table(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Rows as the engine hands them over; what a row does not say is filled in."""
    filled = [
        {
            "system": None,
            "instruction": None,
            "response": None,
            "history": None,
            "_tail": None,
            "tools": None,
            "template_args": None,
            "_id": row_id(f"row {i}"),
            "_root": row_id(f"root {row.get('root', i)}"),
            "origin": "made",
        }
        | {k: v for k, v in row.items() if k != "root"}
        for i, row in enumerate(rows)
    ]
    schema = pa.schema(
        {
            "system": pa.string(),
            "instruction": pa.string(),
            "response": pa.string(),
            "history": pa.list_(TURN),
            "_tail": pa.list_(TURN),
            "tools": pa.string(),
            "template_args": pa.string(),
            "_id": pa.binary(16),
            "_root": pa.binary(16),
            "origin": pa.string(),
        }
    )
    return pa.RecordBatch.from_pylist(filled, schema=schema)


def sums(n: int) -> list[dict[str, Any]]:
    """Rows that a small model learns something from at once."""
    return [
        {
            "instruction": f"Add {i % 17} to the number.",
            "response": f"def add(x):\n    return x + {i % 17}\n" * (1 + i % 4),
            "origin": "odd" if i % 2 else "even",
        }
        for i in range(n)
    ]


def source(rows: Sequence[dict[str, Any]], size: int = 64) -> Callable[[], Iterator[pa.RecordBatch]]:
    """Batches that can be read again and again."""
    whole = table(rows)

    def read() -> Iterator[pa.RecordBatch]:
        for at in range(0, whole.num_rows, size):
            yield whole.slice(at, size)

    return read
