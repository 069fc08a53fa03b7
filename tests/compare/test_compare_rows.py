"""Two streams compared: counts equal those of a naive comparison, whatever the rows lie in; samples are stable and
true.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from alchemist_runtime.engine.compare.model import PortDiff
from alchemist_runtime.engine.compare.rows import Comparison
from alchemist_runtime.engine.compare.values import unequal
from alchemist_runtime.engine.streams import Segment, Stream, arrow_type
from alchemist_runtime.storage.columns import Constant, Held
from hypothesis import given
from hypothesis import strategies as st
from naive import Row, compared

TYPES = {
    "_id": "id",
    "origin": "text",
    "response": "text?",
    "score": "real?",
    "n": "int?",
    "history": "messages?",
    "tags": "list<text>?",
}
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "tool"]), "content": st.none() | st.text("ab", max_size=2), "extra": st.none()}
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "_id": st.integers(0, 9).map(lambda n: n.to_bytes(16, "big")),
            "origin": st.sampled_from(["web", "book"]),
            "response": st.none() | st.text("ab é", max_size=3),
            "score": st.none() | st.sampled_from([0.0, 1.5, float("nan")]),
            "n": st.none() | st.integers(-2, 2),
            "history": st.none() | st.lists(TURN, max_size=2),
            "tags": st.none() | st.lists(st.none() | st.text("xy", max_size=1), max_size=2),
        }
    ),
    max_size=14,
)


def held(rows: Sequence[Row], types: dict[str, str]) -> Stream:
    arrays = {n: pa.array([r[n] for r in rows], arrow_type(t)) for n, t in types.items()}
    return Stream((Segment(len(rows), {n: Held(a) for n, a in arrays.items()}),), types)


@st.composite
def streams(draw: st.DrawFn, copies: bool) -> tuple[list[Row], Stream]:
    """Rows, and a stream of them: in one or several segments, patched, and in another order than they lie in."""
    rows: list[dict[str, Any]] = list(draw(ROWS))
    types = dict(TYPES)
    if copies:
        types["_copy"] = "int"
        rows = [{**r, "_copy": draw(st.integers(0, 2))} for r in rows]
    cut = draw(st.integers(0, len(rows)))
    stream = Stream.concat([held(rows[:cut], types), held(rows[cut:], types)])
    if rows and draw(st.booleans()):
        at = np.array(draw(st.lists(st.integers(-1, 0), min_size=len(rows), max_size=len(rows))))
        stream = stream.patched(at, {"response": Held(pa.array(["patched"]))}, {})
        rows = [r if a < 0 else {**r, "response": "patched"} for r, a in zip(rows, at, strict=True)]
    if draw(st.booleans()):
        order = draw(st.permutations(range(len(rows))))
        stream, rows = stream.select(np.array(order, np.int64)), [rows[i] for i in order]
        if draw(st.booleans()):  # a column that came after the order
            stream = stream.with_columns({"n": Constant(pa.scalar(7, pa.int64()), len(rows))}, {})
            rows = [{**r, "n": 7} for r in rows]
    return rows, stream


def figures(diff: PortDiff) -> dict[str, Any]:
    return {
        "added": diff.added,
        "removed": diff.removed,
        "changed": diff.changed,
        "columns": {c.name: c.changed for c in diff.columns if c.before and c.after},
        "reordered": diff.reordered,
        "origins": {o.name: (o.before, o.after, o.added, o.removed, o.changed) for o in diff.origins},
    }


@given(st.data(), st.booleans())
def test_counts_equal_those_of_a_naive_comparison(tmp_path: Path, data: st.DataObject, copies: bool) -> None:
    (old, before), (new, after) = data.draw(streams(copies)), data.draw(streams(copies))
    diff = Comparison(2, tmp_path).port("rows", before, after).diff
    columns = [c for c in before.types if c not in ("_id", "_copy")]
    found = figures(diff)
    assert found == compared(old, new, columns)
    for kind, most in (("added", diff.added), ("removed", diff.removed), ("changed", diff.changed)):
        assert len(diff.samples.get(kind, ())) == min(2, most)
    for sample in diff.samples.get("changed", ()):
        assert sample.before is not None and sample.after is not None
        assert sample.before.keys() == sample.after.keys() <= found["columns"].keys()
        assert any(r["_id"].hex() == sample.id for r in new)


@given(st.data())
def test_a_result_is_the_same_as_itself(tmp_path: Path, data: st.DataObject) -> None:
    rows, stream = data.draw(streams(False))
    diff = Comparison(2, tmp_path).port("rows", stream, held(rows, TYPES)).diff
    assert diff.same and not diff.samples


def row(i: int, **more: Any) -> dict[str, Any]:
    said = {"_id": i.to_bytes(16, "big"), "origin": "web", "response": f"answer {i}", "n": i}
    return {**said, **more}


SMALL = {"_id": "id", "origin": "text", "response": "text", "n": "int"}


def diff_of(tmp_path: Path, before: Stream, after: Stream, samples: int = 3) -> PortDiff:
    return Comparison(samples, tmp_path).port("rows", before, after).diff


def test_samples_do_not_depend_on_what_else_is_there(tmp_path: Path) -> None:
    few = [row(i) for i in range(40)]
    many = [row(i) for i in range(400)]
    changed = {5, 17, 21, 30}
    edit = [r if i not in changed else {**r, "response": "new"} for i, r in enumerate(many)]
    one = diff_of(tmp_path, held(few, SMALL), held(edit[:40], SMALL))
    other = diff_of(tmp_path, held(many[::-1], SMALL), held(edit, SMALL))
    assert one.samples["changed"] == other.samples["changed"]
    assert [s.after for s in one.samples["changed"]] == [{"response": "new"}] * 3
    two = diff_of(tmp_path, held(few, SMALL), held(edit[:40], SMALL), samples=2)
    assert two.samples["changed"] == one.samples["changed"][:2]


def test_a_column_that_one_side_lacks_is_named_and_counts_no_row_as_changed(tmp_path: Path) -> None:
    rows = [row(i) for i in range(5)]
    without = {n: t for n, t in SMALL.items() if n != "n"}
    diff = diff_of(tmp_path, held(rows, SMALL), held(rows, without))
    assert [(c.name, c.before, c.after, c.changed) for c in diff.columns] == [("n", "int", None, 0)]
    assert diff.changed == 0 and not diff.same


@pytest.mark.parametrize(
    ("old_type", "old", "new_type", "new", "changed"),
    [
        ("int", [1, 2, None], "text", ["1", "two", None], 1),
        ("int", [1, 2, None], "real", [1.0, 2.5, 3.0], 2),
        ("list<int>", [[1], [], None], "text", ["[1]", "[2]", None], 1),
        ("bool", [True, False, None], "text", ["true", "false", None], 0),
    ],
)
def test_a_column_that_changed_its_type_is_compared_by_value(
    tmp_path: Path, old_type: str, old: list[Any], new_type: str, new: list[Any], changed: int
) -> None:
    before = held([row(i, n=v) for i, v in enumerate(old)], {**SMALL, "n": f"{old_type}?"})
    after = held([row(i, n=v) for i, v in enumerate(new)], {**SMALL, "n": f"{new_type}?"})
    diff = diff_of(tmp_path, before, after)
    [column] = diff.columns
    assert (column.before, column.after, column.changed) == (old_type, new_type, changed)
    assert diff.changed == changed and not diff.same


def test_empty_results(tmp_path: Path) -> None:
    none, some = held([], SMALL), held([row(1), row(2)], SMALL)
    assert diff_of(tmp_path, none, none).same
    assert (diff_of(tmp_path, none, some).added, diff_of(tmp_path, some, none).removed) == (2, 2)
    assert diff_of(tmp_path, none, some).samples["added"][0].after == {
        "response": diff_of(tmp_path, some, none).samples["removed"][0].before["response"]  # type: ignore[index]
    }


def test_ids_that_repeat_are_paired_by_occurrence(tmp_path: Path) -> None:
    before = held([row(1), row(1, response="again"), row(2)], SMALL)
    after = held([row(1), row(2), row(1, response="otherwise"), row(1, response="third")], SMALL)
    diff = diff_of(tmp_path, before, after)
    assert (diff.added, diff.removed, diff.changed, diff.reordered) == (1, 0, 1, True)
    assert diff.samples["changed"][0].before == {"response": "again"}
    assert diff.samples["added"][0].after == {"response": "third"}


def test_a_far_order_is_read_by_way_of_files(tmp_path: Path) -> None:
    """Rows of one side in an order that has nothing to do with the other's: more than a window of each."""
    n = 150_000
    ids = np.arange(n, dtype=np.uint64)
    halves = np.stack([ids, ids], axis=1).astype(">u8")
    array = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), n, [None, pa.py_buffer(halves)])
    text = pa.array(ids).cast(pa.string())
    before = Stream.of({"_id": array, "response": text}, {"_id": "id", "response": "text"})
    mixed = np.random.default_rng(1).permutation(n)
    changed = text.to_pylist()
    for i in (3, 70_000, n - 1):
        changed[i] += "!"
    take = pa.array(mixed)
    after = Stream.of(
        {"_id": array.take(take), "response": pa.array(changed).take(take)}, {"_id": "id", "response": "text"}
    )
    diff = diff_of(tmp_path, before, after)
    assert (diff.added, diff.removed, diff.changed, diff.reordered) == (0, 0, 3, True)
    assert {s.after["response"] for s in diff.samples["changed"]} == {"3!", "70000!", f"{n - 1}!"}
    assert not list(tmp_path.iterdir())


LEAVES = st.none() | st.integers(0, 2)
NESTED = pa.list_(pa.struct([("a", pa.int64()), ("b", pa.list_(pa.int64()))]))
RECORDS = st.none() | st.lists(
    st.none() | st.fixed_dictionaries({"a": LEAVES, "b": st.none() | st.lists(LEAVES, max_size=2)}), max_size=2
)


@given(st.lists(st.tuples(RECORDS, RECORDS), max_size=8), st.integers(0, 3))
def test_nested_values_differ_where_python_says_so(pairs: list[tuple[Any, Any]], cut: int) -> None:
    one = pa.array([a for a, _ in pairs], NESTED)[cut:]
    other = pa.array([b for _, b in pairs], NESTED)[cut:]
    assert unequal(one, other).tolist() == [a != b for a, b in pairs[cut:]]
