"""The bench's own recipe on a dozen rows: it must keep compiling, running and dropping what it is there to drop."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bench
import peer_datasets
import pyarrow.parquet as pq
import pytest
from make_workload import Row, jaccard

WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "frost",
    "grove",
    "hazel",
    "inlet",
    "jetty",
    "knoll",
    "ledge",
    "maple",
    "north",
    "ocean",
]


def text(seed: int, count: int = 60) -> str:
    return " ".join(f"{WORDS[(seed * 7 + k * k) % 15]}{seed}x{k}" for k in range(count))


def record(k: int, response: str, lang: str = "text") -> dict[str, object]:
    return {"id": k, "instruction": f"Question {k}", "response": response, "lang": lang}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    problem = text(90, 20)
    rows = {
        "alpha": [record(k, text(k)) for k in range(4)],
        "beta": [record(k, text(k)) for k in range(4, 7)],
        "gamma": [record(7, text(7)), record(8, text(8))],
        "delta": [
            record(9, text(9)),
            record(10, "too short"),
            record(11, f"```python\ndef f(:\n```\n{text(11)}", "python"),
            {**record(12, text(1)), "instruction": "Question 1"},
            {**record(13, text(2) + " more"), "instruction": "Question 2"},
            record(14, f"{text(14)} {problem.upper()}"),
        ],
    }
    for name, records in rows.items():
        lines = (json.dumps({**r, "source": name}) + "\n" for r in records)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    item = {"task_id": "p/1", "prompt": problem, "solution": "x", "entry_point": "f"}
    (tmp_path / "bench.jsonl").write_text(json.dumps(item) + "\n")
    return tmp_path


def test_alchemist_keeps_the_ten_good_rows(folder):
    from click.testing import CliRunner

    from alchemist_dsl.cli.run import run

    recipe = folder / "bench.recipe"
    recipe.write_text(bench.pipeline_recipe())
    made = CliRunner().invoke(run, [str(recipe)])
    assert made.exit_code == 0, made.output
    files = list((folder / "done").rglob("*.parquet"))
    assert sorted(bench._column(files, "record")) == list(range(10))
    first = pq.read_table(files[0]).to_pylist()[0]
    assert first["prompt"].startswith("### Instruction (text)\nQuestion")


def test_the_peer_keeps_the_same_rows(folder, monkeypatch):
    pytest.importorskip("rensa")
    monkeypatch.setattr(peer_datasets, "PROCESSES", None)
    out = folder / "out"
    out.mkdir()
    peer_datasets.main(folder, out, "rensa")
    assert sorted(pq.read_table(out / "train.parquet")["id"].to_pylist()) == list(range(10))


def test_recall_counts_pairs_of_which_both_rows_are_left(tmp_path):
    planted = [
        {"id": 10, "kind": "near", "of": 1, "jaccard": 0.9},
        {"id": 11, "kind": "near", "of": 2, "jaccard": 0.8},
        {"id": 12, "kind": "near", "of": 3, "jaccard": 0.71},
        {"id": 13, "kind": "exact", "of": 4},
    ]
    (tmp_path / "truth.jsonl").write_text("".join(json.dumps(p) + "\n" for p in planted))
    assert bench._recall({1, 2, 11, 3, 12, 4, 13}, tmp_path) == 0.5
    assert bench._recall({1, 2, 3}, tmp_path) == 1.0


def test_jaccard_of_rows():
    one = Row("a b c d e f", "g h", "text")
    assert jaccard(one, one) == 1.0
    assert jaccard(one, Row("a b c d e f", "g x", "text")) == 3 / 5


def test_a_command_is_measured(tmp_path):
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint('done')"
    used = bench.measure([sys.executable, "-c", busy], tmp_path)
    assert used.code == 0
    assert used.output == "done\n"
    assert 0.3 <= used.cpu <= used.wall + 0.1
    assert used.peak_mib > 5
    assert bench.measure([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, memory=False).code == 3
