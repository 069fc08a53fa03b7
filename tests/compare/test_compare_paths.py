"""Exported folders and plain files compared: parquet and JSON lines, ids of any kind, and what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alchemist_runtime.engine.compare import PortDiff, compare_paths
from alchemist_runtime.schema.codes import RunError
from hypothesis import given
from hypothesis import strategies as st
from naive import equal


def lines(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def rows_of(before: Path, after: Path, samples: int = 3) -> PortDiff:
    diff = compare_paths(before, after, samples=samples)
    [step] = diff.steps
    assert step.kind == "dataset" and (step.before, step.after) == (str(before), str(after))
    [port] = step.ports
    return port


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.just(2**70),
    st.floats(0, 2, width=16).filter(lambda x: x != int(x)),
    st.text("5ab", max_size=2),
    st.lists(st.integers(0, 1), max_size=2),
    st.fixed_dictionaries({"k": st.integers(0, 1)}),
)
FILE = st.dictionaries(st.sampled_from(["one", "two", "three", "7"]), VALUES, min_size=1)


@given(FILE, FILE)
def test_json_lines_of_any_values(tmp_path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    a = lines(tmp_path / "a.jsonl", [{"_id": k, "v": v} for k, v in old.items()])
    b = lines(tmp_path / "b.jsonl", [{"_id": k, "v": v} for k, v in new.items()])
    diff = rows_of(a, b)
    assert diff.added == len(new.keys() - old.keys())
    assert diff.removed == len(old.keys() - new.keys())
    same = all(equal(old[k], new[k]) for k in old.keys() & new.keys())
    retyped = any(c.before != c.after for c in diff.columns)
    assert diff.changed == 0 if same and not retyped else True
    assert diff.changed or retyped if not same else True
    assert {s.id for s in diff.samples.get("added", ())} <= new.keys() - old.keys()


def test_a_number_and_the_same_digits_as_text_differ(tmp_path: Path) -> None:
    a = lines(tmp_path / "a.jsonl", [{"_id": 1, "v": 5}, {"_id": 2, "v": "x"}, {"_id": 3, "v": 7}])
    b = lines(tmp_path / "b.jsonl", [{"_id": 3, "v": 7}, {"_id": 2, "v": "x"}, {"_id": 1, "v": "5"}])
    diff = rows_of(a, b)
    assert (diff.changed, diff.added, diff.removed, diff.reordered) == (1, 0, 0, True)
    assert diff.samples["changed"][0].id == "1"
    assert diff.samples["changed"][0].before == {"v": "5"}
    assert diff.samples["changed"][0].after == {"v": '"5"'}


def test_a_column_that_changes_its_kind_far_down_a_file(tmp_path: Path) -> None:
    n = 9_000  # more than is read at a time
    old = [{"_id": f"r{i}", "v": str(i)} for i in range(n)]
    new = [*old[:-1], {"_id": f"r{n - 1}", "v": n - 1}]
    same = [*old[:-1], {"_id": f"r{n - 1}", "v": 12}]
    a, b = lines(tmp_path / "a.jsonl", same), lines(tmp_path / "b.jsonl", new)
    diff = rows_of(a, b)
    assert (diff.changed, diff.samples["changed"][0].id) == (1, f"r{n - 1}")


def test_parquet_of_foreign_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "_id": pa.array([7, 8, 9], pa.int32()),
            "big": pa.array([2**63, 1, None], pa.uint64()),
            "day": pa.array([1, 2, None], pa.date32()),
            "word": pa.array(["a", "b", "a"]).dictionary_encode(),
            "half": pa.array([0.5, float("nan"), None], pa.float32()),
            "blob": pa.array([b"\xff", b"b", None], pa.binary()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    assert rows_of(tmp_path / "a.parquet", tmp_path / "a.parquet").same
    edit = table.set_column(1, "big", pa.array([2**63 + 1, 1, None], pa.uint64()))
    pq.write_table(edit.take([2, 0, 1]), tmp_path / "b.parquet")
    diff = rows_of(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert [(c.name, c.changed) for c in diff.columns if not c.unread] == [("big", 1)]


def test_parquet_against_json_lines(tmp_path: Path) -> None:
    rows = [{"_id": f"{i:032x}", "text": f"t{i}", "tags": ["a", str(i)]} for i in range(4)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    lines(tmp_path / "b.jsonl", [*rows[:3], {**rows[3], "tags": ["b"]}])
    diff = rows_of(tmp_path / "a.parquet", tmp_path / "b.jsonl")
    assert [(c.name, c.changed) for c in diff.columns] == [("tags", 1)]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    a, b = lines(tmp_path / "a.jsonl", []), lines(tmp_path / "b.jsonl", [{"_id": "x", "t": "y"}])
    assert (rows_of(a, b).added, rows_of(b, a).removed, rows_of(a, a).same) == (1, 1, True)


@pytest.mark.parametrize(
    ("name", "content", "code", "says"),
    [
        ("b.jsonl", '{"_id": 1}\nno json\n', "A312", "b.jsonl:2"),
        ("b.jsonl", '{"text": "x"}\n', "A304", "_id"),
        ("b.jsonl", '{"_id": null}\n', "A304", "null"),
        ("b.parquet", "PAR1 no", "A312", "b.parquet"),
        ("b.csv", "_id\n1\n", "A312", "neither parquet nor jsonl"),
        ("nowhere.jsonl", None, "A312", "no such file"),
    ],
)
def test_what_cannot_be_compared_is_said(tmp_path: Path, name: str, content: str | None, code: str, says: str) -> None:
    a = lines(tmp_path / "a.jsonl", [{"_id": 1, "text": "x"}])
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(RunError) as caught:
        compare_paths(a, tmp_path / name)
    problem = caught.value.problem
    assert problem.code == code and says in problem.headline and problem.help
    assert caught.value.exit_code == 3


def test_a_broken_parquet_file_is_its_owners_matter(tmp_path: Path) -> None:
    """Nobody may be told to delete the folder that their own file lies in."""
    pq.write_table(pa.table({"_id": ["a"] * 9_000, "t": ["x" * 50] * 9_000}), tmp_path / "a.parquet")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[4:60] = b"\0" * 56
    (tmp_path / "b.parquet").write_bytes(data)
    with pytest.raises(RunError) as caught:
        compare_paths(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert caught.value.problem.code == "A312"
    assert "b.parquet" in caught.value.problem.headline
    assert "delete" not in (caught.value.problem.help or "")


def test_folders_that_no_export_wrote(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        compare_paths(tmp_path, tmp_path)
    assert "no `export` wrote" in caught.value.problem.headline
    a = lines(tmp_path / "a.jsonl", [])
    with pytest.raises(RunError) as caught:
        compare_paths(tmp_path, a)
    assert "one is a folder and one a file" in caught.value.problem.headline
