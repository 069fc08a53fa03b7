"""Streams give the same rows whatever their segments, selections, patches and batches are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from alchemist_runtime.engine.streams import Segment, Stream, arrow_type, column_type
from alchemist_runtime.engine.turns import join, split
from alchemist_runtime.storage.columns import Constant, Held, Patched, Shards, Stored
from alchemist_runtime.storage.store import Store
from hypothesis import given
from hypothesis import strategies as st

values = st.one_of(st.none(), st.text(max_size=5))


@given(st.lists(st.lists(values, max_size=6), min_size=1, max_size=4), st.data())
def test_select_is_what_a_list_does(parts: list[list[str | None]], data: st.DataObject) -> None:
    streams = [Stream.of({"x": pa.array(part, pa.string())}, {"x": "text?"}) for part in parts]
    whole = Stream.concat(streams)
    plain = [v for part in parts for v in part]
    assert whole.n == len(plain)
    index = data.draw(st.lists(st.integers(0, len(plain) - 1), max_size=12)) if plain else []
    chosen = whole.select(np.array(index, dtype=np.int64))
    assert chosen.column("x").to_pylist() == [plain[i] for i in index]
    again = data.draw(st.lists(st.integers(0, len(index) - 1), max_size=8)) if index else []
    twice = chosen.select(np.array(again, dtype=np.int64))
    assert twice.column("x").to_pylist() == [plain[index[i]] for i in again]


@given(st.lists(values, min_size=1, max_size=20), st.data())
def test_patches_replace_exactly_what_they_name(plain: list[str | None], data: st.DataObject) -> None:
    new = data.draw(st.lists(values, min_size=1, max_size=6))
    at = data.draw(st.lists(st.integers(-1, len(new) - 1), min_size=len(plain), max_size=len(plain)))
    column = Patched(Held(pa.array(plain, pa.string())), np.array(at), Held(pa.array(new, pa.string())))
    wanted = [p if a < 0 else new[a] for p, a in zip(plain, at, strict=True)]
    assert column.read(0, len(plain)).to_pylist() == wanted
    index = data.draw(st.lists(st.integers(0, len(plain) - 1), max_size=10))
    assert column.select(np.array(index, dtype=np.int64)).read(0, len(index)).to_pylist() == [wanted[i] for i in index]


def test_stored_columns_read_across_row_groups_and_shards(tmp_path: Path) -> None:
    n = 150_000
    with Store(tmp_path).building("b2:" + "a" * 64, "x") as out:
        description = out.write_table("t", pa.table({"v": pa.array(range(n), pa.int64())}))
        paths = tuple(out.folder / f"t-{i:05d}.parquet" for i in range(len(description["rows"])))
        assert description["rows"] == [65_536, 65_536, n - 2 * 65_536]
        column = Stored(Shards(paths, tuple(description["rows"])), "v")
        assert column.read(65_530, 65_545).to_pylist() == list(range(65_530, 65_545))
        rng = np.random.default_rng(1)
        for index in (np.sort(rng.choice(n, 5_000)), rng.choice(n, 5_000)):
            chosen = column.select(index)
            assert chosen.read(100, 4_900).to_pylist() == index[100:4_900].tolist()


def test_a_column_that_one_stream_lacks_is_null_there() -> None:
    a = Stream.of({"x": pa.array(["p"])}, {"x": "text"})
    b = Stream.of({"y": pa.array([1])}, {"y": "int"})
    both = Stream.concat([a, b])
    assert dict(both.types) == {"x": "text?", "y": "int?"}
    assert both.table(["x", "y"]).to_pylist() == [{"x": "p", "y": None}, {"x": None, "y": 1}]
    shuffled = both.select(np.array([1, 0, 1]))
    assert shuffled.column("y").to_pylist() == [1, None, 1]


def test_a_constant_knows_its_length() -> None:
    column = Constant(pa.scalar("s"), 3)
    assert column.read(1, 9).to_pylist() == ["s", "s"]
    assert column.select(np.array([0, 2])).n == 2


def test_types_and_arrow_agree() -> None:
    for type_ in ("text", "int", "real", "bool", "id", "messages", "list<text>"):
        assert column_type(arrow_type(type_)) == type_
    record = arrow_type("record<a: text, b: list<int>, c: record<d: real>>")
    assert record == pa.struct(
        [("a", pa.string()), ("b", pa.list_(pa.int64())), ("c", pa.struct([("d", pa.float64())]))]
    )


turn = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant", "tool"]),
        "content": st.text(max_size=4),
        "extra": st.sampled_from([None, '{"name":"f"}', '{"tool_calls":[1]}']),
    }
)


@given(st.lists(turn, max_size=8))
def test_conversations_of_any_shape_survive_the_turn_columns(turns: list[dict[str, Any]]) -> None:
    assert join(split(turns)) == turns


def test_a_missing_column_is_an_error_not_a_null() -> None:
    stream = Stream((Segment(1, {"x": Held(pa.array(["a"]))}),), {"x": "text"})
    with pytest.raises(KeyError):
        stream.table(["y"])
