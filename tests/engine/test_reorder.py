"""Rows in a far order are the same whether they are gathered batch by batch or laid out by way of files."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from alchemist_runtime.engine.streams import Segment, Stream
from alchemist_runtime.engine.views import filled, hex_ids, tables
from alchemist_runtime.storage.columns import GROUP_ROWS, Shards, Stored
from alchemist_runtime.storage.store import write_parquet

TYPES = {"text": "text", "number": "int", "nothing": "text?"}


def stored(folder, name: str, rows: int) -> Stream:
    texts = [f"{name} {i} " + "x" * (i % 40) for i in range(rows)]
    table = pa.table({"text": texts, "number": range(rows), "nothing": pa.nulls(rows, pa.string())})
    path = folder / f"{name}.parquet"
    write_parquet(path, table)
    shards = Shards((path,), (rows,))
    columns = {c: Stored(shards, c) for c in table.column_names}
    return Stream((Segment(rows, columns),), TYPES)


def both(stream: Stream, columns, size: int, folder):
    plain = pa.Table.from_batches(list(stream.batches(columns, size)))
    spooled = list(stream.spooled(columns, size, folder))
    assert all(b.num_rows == size for b in spooled[:-1])
    return plain, pa.Table.from_batches(spooled)


@pytest.fixture
def shuffled(tmp_path) -> Stream:
    whole = Stream.concat([stored(tmp_path, "a", 2 * GROUP_ROWS + 5), stored(tmp_path, "b", 777)])
    index = np.random.default_rng(1).integers(0, whole.n, 30_000)  # some twice, some never
    return whole.select(index)


@pytest.mark.parametrize("size", [40_000, 7_000, 50])
def test_spooled_rows_are_the_same_rows(shuffled, tmp_path, size):
    plain, spooled = both(shuffled, ["text", "number", "nothing"], size, tmp_path)
    assert plain == spooled
    assert not list(tmp_path.glob("order-*"))


def test_a_choice_among_shuffled_rows_and_columns_that_came_later(shuffled, tmp_path):
    later = pa.array([f"new {i}" for i in range(shuffled.n)])
    stream = shuffled.with_columns({"number": pa.array(range(shuffled.n)), "late": later}, {"late": "text"})
    patch = np.full(shuffled.n, -1)
    patch[5:9] = range(4)
    stream = stream.patched(
        patch, {"late": Stream.of({"late": pa.array(list("abcd"))}, {}).segments[0].columns["late"]}, {}
    )
    some = stream.select(np.arange(0, shuffled.n, 3))
    plain, spooled = both(some, ["late", "text", "number"], 4_000, tmp_path)
    assert plain == spooled
    assert plain.column("late").to_pylist()[:3] == ["new 0", "new 3", "b"]
    assert plain.column("number").to_pylist()[:3] == [0, 3, 6]


def test_rows_in_stored_order_need_no_file(tmp_path):
    stream = stored(tmp_path, "a", 100)
    assert list(stream.spooled(["text"], 30, tmp_path / "absent")) == list(stream.batches(["text"], 30))


def test_an_early_end_leaves_no_file(shuffled, tmp_path):
    batches = shuffled.spooled(["text"], 1_000, tmp_path)
    next(batches)
    batches.close()
    assert not list(tmp_path.glob("order-*"))


def test_tables_of_an_export(shuffled, tmp_path):
    made = list(tables(shuffled, ["text", "number"], tmp_path))
    assert pa.concat_tables(made) == shuffled.table(["text", "number"])
    assert filled(shuffled, ["text", "nothing", "absent"], always=()) == ["text"]


def test_hex_digits_of_ids():
    draw = random.Random(2)
    ids = pa.array([draw.randbytes(16) if i % 3 else None for i in range(50)], pa.binary(16))
    for array in (ids, ids[7:31], ids[:0], pa.nulls(3, pa.binary(16))):
        made = hex_ids(array)
        made.validate(full=True)
        assert made.to_pylist() == [v and v.hex() for v in array.to_pylist()]
