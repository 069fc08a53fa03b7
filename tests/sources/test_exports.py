"""Exports of every format load with `datasets`, keep turns and lineage, and are put in place as a whole."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from alchemist_runtime.engine.context import Context, Silent
from alchemist_runtime.engine.local import run
from alchemist_runtime.schema import plan as p
from alchemist_runtime.schema.plan import to_json
from alchemist_runtime.schema.rows import as_json, message, text_of
from alchemist_runtime.storage.store import Store

AT = p.At(file="r.recipe", line=1, column=1)
CALLS = [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]


def chat(n: int) -> list[dict[str, Any]]:
    """Conversations of several shapes, all different."""
    plain = [{"role": "user", "content": f"Question {n}"}, {"role": "assistant", "content": f"Answer {n}"}]
    if n % 3 == 1:
        return [
            {"role": "system", "content": f"Be brief, {n}."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yes?"},
            *plain,
        ]
    if n % 3 == 2:
        call = {"role": "assistant", "content": None, "tool_calls": CALLS}
        return [plain[0], call, {"role": "tool", "content": str(n), "tool_call_id": "c1"}, plain[1]]
    return plain


def export(root: Path, rows: list[dict[str, Any]], between: p.MapSpec | None = None, **more: Any) -> Path:
    """Run source -> (map ->) export in a folder of its own; the exported folder."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "chat.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    files = [{"path": "chat.jsonl", "format": "jsonl"}]
    source = p.SourceSpec(
        name="chat", salt="chat", reader=p.Method(name="files"), files=files, license=more.pop("own_license", "MIT")
    )
    heard = more.pop("progress", Silent())
    spec = {"license": "CC-BY-4.0", "title": 'A "set": one', **more}
    sink = p.ExportSpec(path="out", salt="out", **spec)
    nodes: list[p.Node] = []
    last = "chat" if between is None else "change"
    steps: list[tuple[str, list[p.Edge], Any]] = [("chat", [], source)]
    if between is not None:
        steps.append((last, [p.Edge(node="chat", role="from", key="")], between))
    for name, inputs, made in (*steps, ("set", [p.Edge(node=last, role="data", key="")], sink)):
        key = p.digest([name, to_json(made)])
        nodes.append(
            p.Node(id=name, kind=made.kind, at=AT, inputs=inputs, spec=made, key=key, meta_key="", own_key=key)
        )
    plan = p.Plan(edition=2026, recipe={"path": "r.recipe"}, nodes=nodes)
    result = run(Context(plan, root, root / ".alchemist", Store(root / ".alchemist"), heard))
    assert result.problem is None, result.problem
    return root / "out"


def data(folder: Path, split: str = "train") -> list[str]:
    """The lines of a split."""
    (file,) = (folder / "data").glob(f"{split}-*.jsonl")
    return file.read_text().splitlines()


def load(folder: Path, cache: Path) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset(str(folder), cache_dir=str(cache))


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "messages"])
@pytest.mark.parametrize("lineage", ["columns", "sidecar"])
def test_an_export_loads_with_both_splits_and_its_lineage(tmp_path: Path, format_: str, lineage: str) -> None:
    rows = [{"messages": chat(n), "topic": f"t{n}"} for n in range(60)]
    folder = export(
        tmp_path, rows, format=format_, lineage=lineage, columns=["topic"], split={"train": "3/4", "eval": "1/4"}
    )
    got = load(folder, tmp_path / "cache")
    assert set(got) == {"train", "eval"}
    every = [r for split in got.values() for r in split]
    assert len(every) == 60
    assert len(got["eval"]) in range(3, 30)
    assert {r["topic"] for r in every} == {f"t{n}" for n in range(60)}
    ids = [r["_id"] for r in every]
    assert len(set(ids)) == 60
    assert all(len(i) == 32 and set(i) <= set("0123456789abcdef") for i in ids)
    if lineage == "columns":
        assert {(r["origin"], r["made_by"]) for r in every} == {("chat", "chat")}
        assert all(r["_root"] == r["_id"] for r in every)
        return
    assert "origin" not in every[0]
    for split, data in got.items():
        (file,) = (folder / "lineage" / "data").glob(f"{split}-*.parquet")
        beside = pq.read_table(file)
        assert beside.column("_id").to_pylist() == list(data["_id"])
        assert set(beside.column_names) >= {"_id", "_root", "origin", "made_by"}


def test_messages_are_the_conversations_that_went_in(tmp_path: Path) -> None:
    given = [chat(n) for n in range(12)]
    folder = export(tmp_path, [{"messages": m} for m in given], format="messages")
    lines = [json.loads(x) for x in data(folder)]
    assert [x["messages"] for x in lines] == given


PARTS = [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]


def test_contents_that_are_no_text_come_back_as_they_were(tmp_path: Path) -> None:
    ends_with_a_call = [{"role": "user", "content": PARTS}, {"role": "assistant", "content": None, "tool_calls": CALLS}]
    folder = export(tmp_path, [{"messages": ends_with_a_call}], format="messages")
    (line,) = data(folder)
    assert json.loads(line)["messages"] == ends_with_a_call
    folder = export(tmp_path / "rows", [{"messages": ends_with_a_call}], format="jsonl")
    (line,) = data(folder)
    row = json.loads(line)
    assert (row["instruction"], row["response"]) == ("What is this?", "")
    assert row["_extra"]["response"] == {"content": None, "tool_calls": CALLS}


def test_a_text_that_a_step_writes_takes_the_place_of_what_was_read(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": PARTS}, {"role": "assistant", "content": None, "x": 1}]
    sets = [p.SetColumn(column=c, type="text", expr=["lit", "text", f"new {c}"]) for c in ("instruction", "response")]
    change = p.MapSpec(sets=sets, mode="replace", salt="change")
    folder = export(tmp_path, [{"messages": talk}], change, format="messages")
    (line,) = data(folder)
    assert json.loads(line)["messages"] == [
        {"role": "user", "content": "new instruction"},
        {"role": "assistant", "content": "new response", "x": 1},
    ]


def test_a_message_is_what_was_read_until_its_text_changes() -> None:
    for content in ("plain", None, PARTS, [{"type": "image", "url": "u"}], {"b": 1, "a": [2]}):
        extra = json.loads(as_json({"content": content, "name": "n"}))
        assert message("user", text_of(content), extra) == {"role": "user", "content": content, "name": "n"}
        assert message("user", "other", extra)["content"] == "other"
    assert message("user", "", {}) == {"role": "user", "content": ""}


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "messages"])
def test_two_runs_write_the_same_bytes(tmp_path: Path, format_: str) -> None:
    rows = [{"instruction": f"Do {n}", "response": "ü" * n} for n in range(20)]
    a = export(tmp_path / "a", rows, format=format_, split={"train": "1/2", "eval": "1/2"})
    b = export(tmp_path / "b", rows, format=format_, split={"train": "1/2", "eval": "1/2"})
    names = sorted(x.relative_to(a).as_posix() for x in a.rglob("*") if x.is_file())
    assert names == sorted(x.relative_to(b).as_posix() for x in b.rglob("*") if x.is_file())
    for name in names:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


WORDS = "alpha{0} beta{0} gamma{0} delta{0} epsilon{0} zeta{0} eta{0} theta{0} iota{0} kappa{0}"


@pytest.mark.parametrize("script", ["Latin", "Chinese", "Thai"])
def test_families_stay_on_one_side(tmp_path: Path, script: str) -> None:
    first = {"Chinese": 0x4E00, "Thai": 0x0E01}.get(script)
    draw = random.Random(1)
    words = [
        WORDS.format(n) if first is None else "".join(chr(first + draw.randrange(45)) for _ in range(60))
        for n in range(40)
    ]
    rows = [{"instruction": w, "response": f"{w} {w}{end}"} for w in words for end in ("", ".")]
    folder = export(tmp_path, rows, format="jsonl", split={"train": "1/2", "eval": "1/2"})
    sides = {}
    for split in ("train", "eval"):
        for line in data(folder, split):
            sides.setdefault(json.loads(line)["instruction"], set()).add(split)
    assert len(sides) == 40
    assert all(len(s) == 1 for s in sides.values())
    assert {s for x in sides.values() for s in x} == {"train", "eval"}


def test_the_card_says_what_is_inside(tmp_path: Path) -> None:
    rows = [{"instruction": f"Do {n}", "response": "done"} for n in range(7)]
    folder = export(tmp_path, rows, format="parquet")
    text = (folder / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "cc-by-4.0"
    assert front["pretty_name"] == 'A "set": one'
    assert front["size_categories"] == ["n<1K"]
    (file,) = front["configs"][0]["data_files"]
    assert re.fullmatch(r"data/train-[0-9a-f]{12}-\*\.parquet", file["path"])
    assert len(list(folder.glob(file["path"]))) == 1
    assert "| chat | 7 | 100.0% | MIT |" in text
    assert "7 rows in `train`" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "messages"])
def test_what_was_loaded_before_is_not_taken_for_other_rows(tmp_path: Path, format_: str) -> None:
    """`load_dataset` keeps what it read under the folder's name and the card: both are equal here."""
    for place in ("a", "b", "c"):
        rows = [{"instruction": "Do it", "response": place}]
        folder = export(tmp_path / place, rows, format=format_)
        (row,) = load(folder, tmp_path / "cache")["train"]
        said = row["messages"][-1]["content"] if format_ == "messages" else row["response"]
        assert said == place


JSON_COLUMN: list[Any] = [{"z": 1, "a": [{"y": None}]}, {"a": "x"}, 5, "text", None, [1, "a"]]


@pytest.mark.parametrize("format_", ["parquet", "jsonl"])
def test_declared_columns_load_as_they_were_written(tmp_path: Path, format_: str) -> None:
    columns = {"day": "2026-01-02", "at": "2026-01-02 03:04Z", "ok": True, "n": 3, "x": 0.5}
    rows = [{"instruction": f"Do {n}", "response": "done", "j": j, **columns} for n, j in enumerate(JSON_COLUMN)]
    folder = export(tmp_path, rows, format=format_, columns=["j", *columns])
    got = sorted(load(folder, tmp_path / "cache")["train"], key=lambda r: r["instruction"])
    assert [{n: r[n] for n in columns} for r in got] == [columns] * len(rows)
    found = [r["j"] if format_ == "jsonl" or r["j"] is None else json.loads(r["j"]) for r in got]
    assert json.dumps(found) == json.dumps(JSON_COLUMN)


def test_turns_load_with_the_keys_that_each_has(tmp_path: Path) -> None:
    given = [chat(n) for n in range(6)]
    for format_ in ("messages", "jsonl"):
        folder = export(tmp_path / format_, [{"messages": m} for m in given], format=format_)
        got = load(folder, tmp_path / "cache")["train"]
        if format_ == "messages":
            assert list(got["messages"]) == given
        else:
            assert [r["_tail"] for r in got] == [m[1:-1] if n % 3 == 2 else None for n, m in enumerate(given)]


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "messages"])
def test_a_split_without_a_row_is_named_and_left_out_of_the_card(tmp_path: Path, format_: str) -> None:
    rows = [{"instruction": "Do it", "response": "done"}]
    heard = Silent()
    folder = export(tmp_path, rows, format=format_, split={"train": "1", "eval": "1/1000000"}, progress=heard)
    assert [(w.code, w.severity) for w in heard.warnings] == [("A513", "warning")]
    got = load(folder, tmp_path / "cache")
    assert {name: len(rows) for name, rows in got.items()} == {"train": 1}
    assert "1 rows in `train`, 0 rows in `eval`" in (folder / "README.md").read_text()
    (empty,) = (folder / "data").glob("eval-*")
    if format_ == "parquet":
        (full,) = (folder / "data").glob("train-*")
        assert pq.read_schema(empty).equals(pq.read_schema(full))
    else:
        assert empty.read_bytes() == b""


WICKED = 'a: "b" #c\n---\n# <b>x</b> | [l](u) \u202e `k` \\ *s* {y}'


def test_a_title_and_licences_say_no_more_than_they_are(tmp_path: Path) -> None:
    rows = [{"instruction": "Do it", "response": "done"}]
    folder = export(tmp_path, rows, title=WICKED, license=WICKED, own_license=WICKED)
    text = (folder / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    shown = 'a: "b" #c --- # <b>x</b> | [l](u) `k` \\ *s* {y}'
    assert front["pretty_name"] == shown
    assert front["license"] == shown
    mark = r'a: "b" \#c --- \# \<b\>x\</b\> | \[l\](u) \`k\` \\ \*s\* \{y\}'
    body = text.split("---\n", 2)[2].splitlines()
    assert f"# {mark}" in body
    assert f"| chat | 1 | 100.0% | {mark.replace('|', chr(92) + '|')} |" in body
    assert "\u202e" not in text
