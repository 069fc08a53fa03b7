"""Values arrive as they are, from files through steps to exports and training text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alchemist_runtime.formats.records import Unheld
from alchemist_runtime.formats.tables import records
from alchemist_runtime.schema.sealed import as_json, dumps, loads
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.cli.main import group

BIG = 123456789012345678901234567890


def run(folder: Path, recipe: str, **files: str | bytes) -> Result:
    """Run a recipe in a folder, in this process; `NAME_jsonl` among the files is `NAME.jsonl`."""
    for name, content in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "r.recipe").write_text("edition 2026\n" + recipe)
    return CliRunner().invoke(group, ["run", str(folder / "r.recipe")])


def made(folder: Path, recipe: str, **files: str | bytes) -> None:
    """Run a recipe to its end."""
    done = run(folder, recipe, **files)
    assert done.exit_code == 0, done.output


def lines(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    """The rows of an exported folder of JSON lines."""
    (file,) = (folder / "data").glob(f"{split}*.jsonl")
    return [json.loads(x) for x in file.read_text().splitlines()]


def test_json_keeps_the_order_of_keys_and_all_digits_in_text_and_in_columns(tmp_path: Path) -> None:
    record = {"reasoning": "7 * 13", "answer": "no", "in": [{"z": 1, "b": None}], "big": BIG}
    recipe = """
source t {
  files = "t.jsonl"
  set response = text(output)
}
map m {
  from = t
  set instruction = text(row["output"].big)
}
export j { data = m, path = "j", format = jsonl, columns = ["output"] }
export c { data = m, path = "c", format = messages }
export p { data = m, path = "p", columns = ["output"] }
"""
    made(tmp_path, recipe, t_jsonl=json.dumps({"instruction": "q", "output": record}))
    written = f'{{"reasoning":"7 * 13","answer":"no","in":[{{"z":1,"b":null}}],"big":{BIG}}}'
    (row,) = lines(tmp_path / "j")
    assert row["response"] == written
    assert row["instruction"] == str(BIG)
    assert json.dumps(row["output"]) == json.dumps(record)  # an object, not the text of one
    (chat,) = lines(tmp_path / "c")
    assert [m["content"] for m in chat["messages"]] == [str(BIG), written]
    assert pq.read_table(tmp_path / "p" / "data").column("output").to_pylist() == [written]


def test_a_record_of_parquet_keeps_the_order_of_its_fields(tmp_path: Path) -> None:
    value = {"reasoning": "r", "answer": "a", "id": 9007199254740993}
    pq.write_table(pa.Table.from_pylist([{"instruction": "q", "o": value}]), tmp_path / "t.parquet")
    recipe = """
source t {
  files = "t.parquet"
  set response = text(o)
}
export j { data = t, path = "j", format = jsonl }
"""
    made(tmp_path, recipe)
    (row,) = lines(tmp_path / "j")
    assert row["response"] == '{"reasoning":"r","answer":"a","id":9007199254740993}'


def test_tools_and_arguments_of_calls_come_back_in_their_order(tmp_path: Path) -> None:
    call = {"function": {"name": "dim", "arguments": {"room": "hall", "at": 1, "id": BIG}}, "id": 1}
    turns = [{"role": "user", "content": "Dim the hall"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    tools = [{"type": "function", "function": {"name": "dim", "description": "d", "a": {}}}]
    recipe = """
source t {
  files = "t.jsonl"
}
export c { data = t, path = "c", format = messages }
export p { data = t, path = "p" }
"""
    made(tmp_path, recipe, t_jsonl=json.dumps({"messages": turns, "tools": tools}))
    (row,) = lines(tmp_path / "c")
    assert json.dumps([row["messages"], row["tools"]]) == json.dumps([turns, tools])
    (stored,) = pq.read_table(tmp_path / "p" / "data").to_pylist()
    assert stored["tools"] == as_json(tools)
    assert stored["_extra"] == as_json({"response": {"tool_calls": [call], "content": None}})


@pytest.mark.parametrize(
    "values",
    [
        [9007199254740993, None, 2**64 - 1, BIG, "007", -BIG],
        [1, BIG],
        [1.5, 2**53 + 1],
        [*[1.5] * 8_200, 2**53 + 1],  # in another chunk of records
        [*[2**53 + 1] * 8_200, 1.5],
    ],
)
def test_numbers_that_no_column_of_numbers_holds_keep_their_digits(tmp_path: Path, values: list[Any]) -> None:
    rows = [{"instruction": f"q{n}", "response": "a", "uid": v} for n, v in enumerate(values)]
    recipe = """
source t {
  files = "t.jsonl"
}
map m {
  from = t
  set shown = text(uid)
}
export j { data = m, path = "j", format = jsonl, columns = ["uid", "shown"] }
"""
    text = "".join(json.dumps(r) + "\n" for r in rows)
    made(tmp_path, recipe, t_jsonl=text)
    got = lines(tmp_path / "j")
    assert [r["uid"] for r in got] == values
    assert [r["shown"] for r in got] == [None if v is None else str(v) for v in values]


def test_a_number_beyond_64_bits_where_small_ones_are_calculated_with_is_a_bad_record(tmp_path: Path) -> None:
    rows = [{"instruction": f"q{n}", "response": "a", "uid": n} for n in range(120)]
    rows.append({"instruction": "big", "response": "a", "uid": BIG})
    recipe = """
source t {
  files = "t.jsonl"
  set next = uid + 1
}
export j { data = t, path = "j", format = jsonl, columns = ["next"] }
"""
    done = run(tmp_path, recipe, t_jsonl="".join(json.dumps(r) + "\n" for r in rows))
    assert done.exit_code == 3
    assert "t.jsonl:121" in done.output
    assert "`uid` is a whole number beyond 64 bits" in done.output


def test_objects_are_equal_whatever_the_order_of_their_keys(tmp_path: Path) -> None:
    pairs = [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"a": 1}, {"a": 2}), ({"a": 1}, {"a": 1, "b": 2})]
    rows = [{"instruction": f"q{n}", "response": "a", "x": x, "y": y} for n, (x, y) in enumerate(pairs)]
    recipe = """
source t {
  files = "t.jsonl"
}
filter same {
  from = t
  keep row["x"] == row["y"] as equal
}
export j { data = same, path = "j", format = jsonl }
"""
    made(tmp_path, recipe, t_jsonl="".join(json.dumps(r) + "\n" for r in rows))
    assert [r["instruction"] for r in lines(tmp_path / "j")] == ["q0"]


def test_another_run_leaves_no_data_of_the_one_before(tmp_path: Path) -> None:
    recipe = """
source t {
  files = "t.jsonl"
}
export j { data = t, path = "j", lineage = sidecar }
"""
    for answer in ("first", "second"):
        made(tmp_path, recipe, t_jsonl=json.dumps({"instruction": "q", "response": answer}))
        assert [p.name for p in (tmp_path / "j/data").iterdir()] == [
            p.name for p in (tmp_path / "j/lineage/data").iterdir()
        ]
        (row,) = pq.read_table(tmp_path / "j/data").to_pylist()
        assert row["response"] == answer


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.text('ab"\\é\n', max_size=4)
    | st.floats(-1e30, 1e30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("zabé"), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    assert json.dumps(loads(dumps(value))) == json.dumps(value)
    assert dumps(loads(dumps(value, sort=True)), sort=True) == dumps(value, sort=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 2000 + "]" * 2000, "nested more than 200 levels deep"),
        ("1" * 5000, "more than 4,300 digits"),
        ("[NaN]", "NaN is no JSON value"),
        ("{", "not JSON: "),
    ],
)
def test_what_is_no_json_is_told(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        loads(text)


# --- typed tables -----------------------------------------------------------------------------------------------------


def whole(values: list[int | None], type_: pa.DataType) -> pa.Array:
    """Times by the whole numbers that stand behind them."""
    return pa.array(values, pa.int64()).cast(type_)


NS = 1_709_208_000_123_456_789  # 29 February 2024, 12:00:00.123456789 UTC
MOMENTS = whole([NS, 1, None], pa.timestamp("ns"))
EXACT_NS = ["2024-02-29T12:00:00.123456789", "1970-01-01T00:00:00.000000001", None]
BROKEN = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\2\0\0\0\5\0\0\0"), pa.py_buffer(b"ok\xffab"))


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (MOMENTS, EXACT_NS),
        (whole([NS // 1000 * 1000, 0], pa.timestamp("ns")), ["2024-02-29T12:00:00.123456", "1970-01-01T00:00:00"]),
        (
            whole([NS, 1], pa.timestamp("ns", "Europe/Berlin")),
            ["2024-02-29T13:00:00.123456789+01:00", "1970-01-01T01:00:00.000000001+01:00"],
        ),
        (whole([10], pa.timestamp("s", "Nowhere/Atall")), ["1970-01-01T00:00:10+00:00"]),
        (
            whole([10**15, -(10**14), 0], pa.timestamp("ms")),
            ["33658-09-27T01:46:40.000", "-1199-02-15T14:13:20.000", "1970-01-01T00:00:00"],
        ),
        (whole([10**15], pa.timestamp("ms", "Asia/Tokyo")), ["33658-09-27T01:46:40.000+00:00"]),
        (pa.array([10**7, 0], pa.int32()).cast(pa.date32()), ["29349-01-26", "1970-01-01"]),
        (whole([3_600_000_000_001, 0], pa.time64("ns")), ["01:00:00.000000001", "00:00:00"]),
        (whole([1, 1_500_000_000, 9_007_199_254_740_993_123], pa.duration("ns")), [1e-9, 1.5, "9007199254.740993123"]),
        (
            pa.StructArray.from_arrays([MOMENTS, pa.array([1, 2, 3])], names=["t", "n"]),
            [{"t": t, "n": n} for n, t in enumerate(EXACT_NS, 1)],
        ),
        (pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), MOMENTS), [EXACT_NS[:2], [None]]),
        (pa.MapArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["k"]), MOMENTS[:1]), [[["k", EXACT_NS[0]]]]),
        (MOMENTS.dictionary_encode(), EXACT_NS),
        (pa.array([b"0123456789abcdef"], pa.uuid()), ["30313233-3435-3637-3839-616263646566"]),
        (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), [[1, 2, 3]]),
        (BROKEN, ["ok", Unheld("`v` is not UTF-8 at byte 1", "{'v': '\ufffdab'}")]),
        (
            pa.StructArray.from_arrays([BROKEN], names=["s"]),
            [{"s": "ok"}, Unheld("`v` is not UTF-8 at byte 1", "{'v': '\ufffdab'}")],
        ),
    ],
)
def test_values_of_tables_are_exact_or_named(array: pa.Array, wanted: list[Any]) -> None:
    found = records(pa.record_batch({"v": array}))
    assert [r["v"] if isinstance(r, dict) else r for r in found] == wanted


@given(st.lists(st.integers(-(2**62), 2**62) | st.none(), max_size=5), st.sampled_from(["s", "ms", "us", "ns"]))
def test_every_moment_is_the_text_that_reads_back(values: list[int | None], unit: str) -> None:
    (*found,) = records(pa.record_batch({"v": whole(values, pa.timestamp(unit))}))
    back = [
        None if r["v"] is None else np.datetime64(r["v"]).astype(f"M8[{unit}]").astype(int)
        for r in found
        if isinstance(r, dict)
    ]
    assert back == values


def test_a_value_that_cannot_be_held_is_a_bad_row_of_its_column(tmp_path: Path) -> None:
    table = pa.table({"instruction": ["q1", "q2"], "response": ["a", "b"], "v": BROKEN})
    pq.write_table(table, tmp_path / "t.parquet")
    recipe = """
source t {
  files = "t.parquet"
}
export j { data = t, path = "j", format = jsonl, columns = ["v"] }
"""
    done = run(tmp_path, recipe)
    assert done.exit_code == 3, done.output
    assert "t.parquet row 2" in done.output
    assert "`v` is not UTF-8 at byte 1" in done.output
    made(tmp_path, recipe.replace('"t.parquet"', '"t.parquet"\n  on_bad_row = skip(max = 1)'))
    assert [(r["instruction"], r["v"]) for r in lines(tmp_path / "j")] == [("q1", "ok")]


def test_a_table_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    table = pa.table([["q"], ["a"], ["b"]], names=["instruction", "response", "response"])
    with pa.ipc.new_file(str(tmp_path / "t.arrow"), table.schema) as writer:
        writer.write_table(table)
    done = run(tmp_path, 'source t {\n  files = "t.arrow"\n}\nexport j { data = t, path = "j" }\n')
    assert done.exit_code == 3, done.output
    assert "two columns are called `response`" in done.output


# --- what is told of sources ------------------------------------------------------------------------------------------

SOURCE = """
source t {
  files = "t.jsonl"
}
export j { data = t, path = "j", format = jsonl }
"""
ROW = '{"instruction":"a","response":"b"}\n'


def test_bad_records_are_counted_among_records(tmp_path: Path) -> None:
    """Three without a response, two that are no JSON, seven whole ones, and a blank line."""
    text = ROW * 7 + '{"instruction":"c"}\n' * 3 + "{\n\n[1]\n"
    assert "`t` cannot take 5 of its 12 records" in run(tmp_path, SOURCE, t_jsonl=text).output
    skip = SOURCE.replace('"t.jsonl"', '"t.jsonl"\n  on_bad_row = skip(max = 4)')
    done = run(tmp_path, skip, t_jsonl=text)
    assert "cannot take 5 of its 12 records, more than the 4 that it may skip" in done.output
    assert "`t` cannot take 1 of its 2 records" in run(tmp_path, SOURCE, t_jsonl=ROW + "{").output


def test_a_file_without_a_record_is_told_by_check(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"instruction": "a"\n{"instruction": "b"\n')
    (tmp_path / "r.recipe").write_text("edition 2026" + SOURCE)
    done = CliRunner().invoke(group, ["check", str(tmp_path / "r.recipe")])
    assert done.exit_code == 1, done.output
    assert "error[A305 bad-row]: no record of the files can be read" in done.output
    assert "t.jsonl:1: not JSON" in done.output


def test_what_is_read_over_is_told(tmp_path: Path) -> None:
    text = json.dumps({"version": 2, "data": [{"instruction": "a", "response": "b"}]})
    done = run(tmp_path, SOURCE.replace("t.jsonl", "t.json"), t_json=text.replace('"b"', '"x", "response": "b"'))
    assert done.exit_code == 0, done.output
    assert "warning[A316 key-twice]" in done.output
    assert "t.json: `response`" in done.output
    assert "warning[A317 unread-member]" in done.output
    assert "t.json: `version`" in done.output
    assert [r["response"] for r in lines(tmp_path / "j")] == ["b"]


def test_an_empty_dropped_is_a_file_with_its_columns(tmp_path: Path) -> None:
    recipe = """
source t {
  files = "t.jsonl"
}
filter f {
  from = t
  drop chars(response) < 1 as short
}
export j { data = f, path = "j" }
map told {
  from = f.dropped
  set response = rule
}
export d { data = f.dropped, path = "d", columns = [rule, "reason"] }
export e { data = told, path = "e", columns = [rule, "reason"] }
"""
    made(tmp_path, recipe, t_jsonl=ROW)
    for name in ("d", "e"):
        table = pq.read_table(tmp_path / name / "data")
        assert table.num_rows == 0
        assert table.column_names[:4] == ["instruction", "response", "rule", "reason"]
    done = run(tmp_path, recipe.replace("< 1", "< 9"), t_jsonl=ROW)
    assert done.exit_code == 3
    assert "`j` would write a dataset without a single row" in done.output
