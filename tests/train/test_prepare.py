"""The prepared set: every token accounted for, rows left out by name, windows that survive a crash."""

from __future__ import annotations

import errno
import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.storage.store import trained
from alchemist_runtime.train import prepare as module
from alchemist_runtime.train.prepare import SCHEMA, Settings, held_out, prepare
from hypothesis import given
from hypothesis import settings as settings_
from hypothesis import strategies as st
from train_rows import row_id, source, sums, table

KEY: dict[str, Any] = {"max_length": 128, "packing": "ffd", "on_long": "truncate"}


def read(folder: Path, name: str = "train") -> list[dict[str, Any]]:
    return [r for p in sorted(folder.glob(f"{name}-*.parquet")) for r in pq.read_table(p).to_pylist()]


def whole_documents(folder: Path, name: str = "train") -> dict[bytes, list[int]]:
    """Tokens of each row, put together from its packs."""
    out: dict[bytes, list[int]] = {}
    for pack in read(folder, name):
        at = 0
        for length, id_ in zip(pack["lengths"], pack["ids"], strict=True):
            out.setdefault(id_, []).extend(pack["input_ids"][at : at + length])
            at += length
        assert at == len(pack["input_ids"]) == len(pack["labels"])
    return out


@pytest.mark.parametrize("packing", ["none", "ffd", "wrapped"])
def test_every_row_with_its_id_and_origin(tmp_path: Path, byte_tokenizer: Any, packing: str) -> None:
    rows = sums(90)
    settings = Settings(max_length=200, packing=packing)
    summary = prepare(source(rows), tmp_path / "p", tokenizer=byte_tokenizer, settings=settings)
    expected = {
        row_id(f"row {i}"): byte_tokenizer.apply_chat_template(
            [{"role": "user", "content": r["instruction"]}, {"role": "assistant", "content": r["response"]}]
        )["input_ids"]
        for i, r in enumerate(rows)
    }
    assert whole_documents(tmp_path / "p") == expected
    packs = read(tmp_path / "p")
    first = pq.read_schema(next((tmp_path / "p").glob("train-*.parquet")))
    assert first.types == SCHEMA.types and first.names == SCHEMA.names
    assert max(len(p["input_ids"]) for p in packs) <= 200
    origins = Counter({i: o for p in packs for i, o in zip(p["ids"], p["origins"], strict=True)}.values())
    assert origins == summary["origins"] == {"odd": 45, "even": 45}
    assert summary["rows"] == summary["read"] == 90
    assert summary["packs"] == len(packs)
    assert summary["tokens"] == sum(map(len, expected.values()))
    assert summary["loss_tokens"] == sum(label >= 0 for p in packs for label in p["labels"])
    for pack in packs:  # no document is learnt from the one before it
        starts = [sum(pack["lengths"][:k]) for k in range(len(pack["lengths"]))]
        assert all(pack["labels"][s] == -100 for s in starts)


@pytest.mark.parametrize(
    ("on_long", "rows", "left", "cut", "words"),
    [
        ("drop", 8, {"too_long": {"x": 2, "y": 1}}, {}, "11 rows: 8 trained, 3 left out (too_long)"),
        # cut before its answer: nothing to learn, so it is left out by name
        (
            "truncate",
            10,
            {"nothing_to_learn": {"y": 1}},
            {"x": 2},
            "11 rows: 10 trained, 2 cut at 128 tokens, 1 left out (nothing_to_learn)",
        ),
    ],
)
def test_long_rows_are_counted_and_listed(
    tmp_path: Path, byte_tokenizer: Any, on_long: Any, rows: int, left: Any, cut: Any, words: str
) -> None:
    data = [{"instruction": "i", "response": "r" * (500 if i < 2 else 20), "origin": "x"} for i in range(10)]
    data.append({"instruction": "i" * 300, "response": "never seen", "origin": "y"})
    settings = Settings(max_length=128, on_long=on_long)
    summary = prepare(source(data), tmp_path / "p", tokenizer=byte_tokenizer, settings=settings)
    assert (summary["rows"], summary["read"]) == (rows, 11)
    assert (summary["left_out"], summary["cut"]) == (left, cut)
    assert trained(summary) == words
    listed = {
        name: [json.loads(x) for x in (tmp_path / "p" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("left_out", "cut")
    }
    long = [e["id"] for e in listed["cut" if cut else "left_out"] if e["origin"] == "x"]
    assert long == [row_id("row 0").hex(), row_id("row 1").hex()]
    assert len(listed["left_out"]) == sum(sum(n.values()) for n in left.values())


@settings_(max_examples=15)  # each prepares a data set
@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=3, max_size=30),
    st.sampled_from(["drop", "truncate"]),
    st.sampled_from(["none", "ffd", "wrapped"]),
)
def test_rows_in_are_rows_trained_held_out_and_left_out(
    tmp_path_factory: pytest.TempPathFactory, byte_tokenizer: Any, sizes: Any, on_long: Any, packing: str
) -> None:
    """The sum closes, whatever the rows; of the last one something is always learnt."""
    rows = [{"instruction": "i" * a, "response": "r" * b} for a, b in [*sizes, (1, 1)]]
    settings = Settings(max_length=100, packing=packing, on_long=on_long, eval_share=Fraction(1, 5))
    folder = tmp_path_factory.mktemp("sums")
    try:
        found = prepare(source(rows), folder / "p", tokenizer=byte_tokenizer, settings=settings)
    except RunError as error:
        assert error.problem.code == "A811"  # all that could be learnt is held out
        return
    left = sum(sum(n.values()) for n in found["left_out"].values())
    held = (found["eval"] or {}).get("rows", 0)
    assert found["read"] == len(rows) == found["rows"] + held + left
    assert sum(found["cut"].values()) <= found["rows"] + held
    assert packing != "wrapped" or (not found["cut"] and "too_long" not in found["left_out"])


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        (
            {
                "read": 6_000,
                "rows": 5_667,
                "eval": None,
                "cut": {"a": 1_900, "b": 8},
                "left_out": {"nothing_to_learn": {"a": 333}},
                "max_length": 512,
            },
            "6,000 rows: 5,667 trained, 1,908 cut at 512 tokens, 333 left out (nothing_to_learn)",
        ),
        (
            {
                "read": 12,
                "rows": 5,
                "eval": {"rows": 2},
                "cut": {},
                "left_out": {"nothing_to_learn": {"a": 2}, "too_long": {"a": 3}},
                "max_length": 512,
            },
            "12 rows: 5 trained, 2 held out, 5 left out (nothing_to_learn 2, too_long 3)",
        ),
        # as summaries of earlier versions say it
        (
            {
                "read": 4,
                "rows": 3,
                "eval": None,
                "left_out": {"truncated": {"a": 2}, "nothing_to_learn": {"a": 1}},
                "max_length": 64,
            },
            "4 rows: 3 trained, 2 cut at 64 tokens, 1 left out (nothing_to_learn)",
        ),
        ({"read": 4, "rows": 4, "eval": None, "cut": {}, "left_out": {}, "max_length": 64}, "4 rows: 4 trained"),
    ],
)
def test_what_became_of_the_rows_in_words(summary: dict[str, Any], words: str) -> None:
    assert trained(summary) == words


def test_long_rows_can_be_an_error(tmp_path: Path, byte_tokenizer: Any) -> None:
    data = [{"instruction": "i", "response": "r" * n, "origin": "x"} for n in (5, 400, 300)]
    with pytest.raises(RunError) as caught:
        prepare(
            source(data), tmp_path / "p", tokenizer=byte_tokenizer, settings=Settings(max_length=128, on_long="error")
        )
    problem = caught.value.problem
    assert problem.code == "A806" and "2 rows" in problem.headline
    assert "2 of `x`" in str(problem.note) and row_id("row 1").hex() in str(problem.note)
    assert not (tmp_path / "p" / "summary.json").exists()


def test_nothing_to_learn(tmp_path: Path, byte_tokenizer: Any) -> None:
    with pytest.raises(RunError) as caught:
        prepare(
            source([{"instruction": "only a question"}]),
            tmp_path / "p",
            tokenizer=byte_tokenizer,
            settings=Settings(max_length=128),
        )
    assert caught.value.problem.code == "A811"


@pytest.mark.parametrize(
    "settings", [Settings(eval_share=Fraction(1, 5), **KEY), Settings(eval_rows=30, **KEY)], ids=["share", "rows"]
)
def test_held_out_rows_are_cut_by_root(tmp_path: Path, byte_tokenizer: Any, settings: Settings) -> None:
    rows = [{**r, "root": i // 3} for i, r in enumerate(sums(300))]
    summary = prepare(source(rows), tmp_path / "p", tokenizer=byte_tokenizer, settings=settings)
    train, held = (set(whole_documents(tmp_path / "p", n)) for n in ("train", "eval"))
    assert len(train) + len(held) == 300 and not train & held
    root = {row_id(f"row {i}"): i // 3 for i in range(300)}
    assert not {root[i] for i in train} & {root[i] for i in held}
    assert len(held) == summary["eval"]["rows"]
    assert len(held) == 30 if settings.eval_rows else 30 <= len(held) <= 90
    # the same rows whatever their order
    other = source(rows[::-1])
    reversed_ids = [row_id(f"row {i}") for i in range(299, -1, -1)]
    chosen = held_out(other, settings.eval_share, settings.eval_rows, 0)(
        [row_id(f"root {root[i]}") for i in reversed_ids]
    )
    assert {i for i, c in zip(reversed_ids, chosen, strict=True) if c} == held


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_a_crash_costs_a_window_and_changes_nothing(
    tmp_path: Path, byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW_ROWS", 100)
    monkeypatch.setattr(module, "CHUNK", 50)
    rows = sums(430)
    settings = Settings(eval_share=Fraction(1, 10), **KEY)

    def make(name: str, size: int = 64) -> Any:
        return prepare(source(rows, size), tmp_path / name, tokenizer=byte_tokenizer, settings=settings)

    whole = make("whole")
    assert len(whole["shards"]["train"]) == 5
    # batches of another size make the same bytes
    assert make("other", 7) == whole and bytes_of(tmp_path / "other") == bytes_of(tmp_path / "whole")
    written: list[Path] = []
    real = module.write_parquet

    def full_disk(path: Path, data: Any) -> None:
        if len(written) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        real(path, data)

    monkeypatch.setattr(module, "write_parquet", full_disk)
    with pytest.raises(OSError, match="No space"):
        make("broken")
    done = len(list((tmp_path / "broken").glob("window-*.json")))
    assert done == 2
    written.clear()
    monkeypatch.setattr(module, "write_parquet", lambda p, d: (written.append(p), real(p, d))[1])
    assert make("broken") == whole
    assert len(written) == 2 * (5 - done)  # finished windows were not made again
    assert bytes_of(tmp_path / "broken") == bytes_of(tmp_path / "whole")


def test_other_rows_or_settings_start_over(
    tmp_path: Path, byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW_ROWS", 100)
    monkeypatch.setattr(module, "CHUNK", 50)
    folder = tmp_path / "p"
    settings = Settings(**KEY)
    prepare(source(sums(200)), folder, tokenizer=byte_tokenizer, settings=settings)
    (folder / "summary.json").unlink()  # as if it had been stopped after its last window
    other = [{**r, "response": "other"} for r in sums(150)]
    batch = table(other)
    ids = batch.schema.get_field_index("_id")
    moved = batch.set_column(ids, "_id", batch["_id"].take(list(range(149, -1, -1))))
    summary = prepare(lambda: iter([moved]), folder, tokenizer=byte_tokenizer, settings=settings)
    assert summary["rows"] == 150
    assert all(len(t) < 60 for t in whole_documents(folder).values())
    shorter = Settings(max_length=64, packing="ffd", on_long="truncate")
    summary = prepare(lambda: iter([moved]), folder, tokenizer=byte_tokenizer, settings=shorter)
    assert summary["max_length"] == 64 and max(len(p["input_ids"]) for p in read(folder)) <= 64


def test_special_tokens_in_texts_are_counted(tmp_path: Path, byte_tokenizer: Any) -> None:
    rows = [
        {"instruction": "say <|end|>", "response": "no", "origin": "x"},
        {"instruction": "a", "response": "b <|user|>", "origin": "x"},
        {"instruction": "a < b | c", "response": "b", "origin": "y"},
    ]
    summary = prepare(source(rows), tmp_path / "p", tokenizer=byte_tokenizer, settings=Settings(max_length=128))
    assert summary["told"]["special"] == {"x": 2}
