"""What flows where: every port, `NAME.SOURCE`, several streams, `extends` in blocks and files, `= null`, seen in the
rows that come out.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e_cli import jsonl, run

BASE = """edition 2026
import "std:alchemy" as alchemy

recipe {
  seed = 7
}

source first {
  files = "first.jsonl"
  on_bad_row = skip(max = 5)
}

source second {
  extends = first
  files = "second.jsonl"
  set topic = "other"
}

source bench {
  files = "bench.jsonl"
}

teacher offline {
  provider = rules
}

dedup once {
  from = [
    first,
    second,
  ]
}

filter clean {
  from = once
  drop chars(response) < 4 as short
  drop contains(response, "TODO") as unfinished
}

decontaminate fair {
  from = clean
  against = bench
}

relabel hinted {
  from = fair
  teacher = offline
  prompt = alchemy.relabel
}

export dataset {
  data = fair
  format = jsonl
  path = "out/dataset"
  columns = ["topic"]
}
"""

CHILD = """edition 2026

recipe {
  extends = "base.recipe"
}

filter clean {
  unfinished = null
  drop topic == "other" as others
}

export of_first {
  data = clean.first
  path = "out/of_first"
  format = jsonl
}

export of_dropped {
  data = clean.dropped
  path = "out/refused"
  format = jsonl
  columns = ["rule", "reason"]
}

export of_dedup {
  extends = of_dropped
  data = once.dropped
  path = "out/twice"
  columns = ["kept", "similarity", "rule", "reason"]
}

export of_fair {
  extends = of_dropped
  data = fair.dropped
  path = "out/leaks"
  columns = ["suite", "item", "method", "match", "rule", "reason"]
}

export of_source {
  extends = of_dropped
  data = unread
  path = "out/unread"
  columns = ["rule", "reason"]
}

export of_second_dropped {
  extends = of_dropped
  data = clean.dropped.second
  path = "out/refused_of_second"
}

export of_trace {
  data = told
  path = "out/told"
  format = jsonl
  columns = ["before", "out", "after", "teacher", "sample", "attempt"]
}

map unread {
  from = first.dropped
  set instruction = text(record)
  set response = place
}

map told {
  from = hinted.trace
  set instruction = before.instruction
  set response = after.instruction
}
"""

ADD = {"instruction": "Add two numbers.", "response": "def add(a, b):\n    return a + b", "topic": "sums"}
LEAK = "Which animal sleeps standing up in the wide green meadow near our house today?"
BROKEN = '{"instruction": "broken'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("flows")
    (folder / "recipe.lock").touch()
    (folder / "base.recipe").write_text(BASE)
    (folder / "child.recipe").write_text(CHILD)
    first = [
        ADD,
        ADD,
        {"instruction": "Say hello.", "response": "no", "topic": "talk"},
        {"instruction": "Later.", "response": "TODO write it", "topic": "talk"},
        BROKEN,
        {"instruction": LEAK, "response": "A horse does that.", "topic": "leak"},
    ]
    second = [
        {"instruction": "Reverse a list.", "response": "def back(items):\n    return items[::-1]"},
        {"instruction": "Nothing.", "response": "x"},
    ]
    jsonl(folder / "first.jsonl", first)
    jsonl(folder / "second.jsonl", second)
    jsonl(folder / "bench.jsonl", [{"instruction": LEAK, "response": "horse"}])
    return folder


@pytest.fixture(scope="module")
def child(project: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of every export of the child."""
    run("child.recipe", project)
    return {
        f.parent.parent.name: [json.loads(line) for line in f.read_text().splitlines()]
        for f in (project / "out").glob("*/data/*.jsonl")
    }


def asked(rows: list[dict[str, Any]]) -> list[str]:
    return [row["instruction"] for row in rows]


def test_a_file_that_extends_another_changes_one_filter(
    child: dict[str, list[dict[str, Any]]], project: Path, tmp_path: Path
) -> None:
    assert asked(child["dataset"]) == ["Add two numbers.", "Later."], "`unfinished` is taken away"
    assert [row["topic"] for row in child["dataset"]] == ["sums", "talk"]
    alone = tmp_path / "alone"  # two recipes of one project that write one folder are an error
    shutil.copytree(project, alone, ignore=shutil.ignore_patterns("out"))
    nodes = run("base.recipe", alone)
    assert nodes["clean"]["figures"]["dropped"] == {"short": 2, "unfinished": 1}
    assert "dataset" in nodes and "hinted" not in nodes, "what nobody reads is not built"


def test_rules_keep_their_place_and_new_ones_come_after(child: dict[str, list[dict[str, Any]]]) -> None:
    told = [(row["instruction"], row["rule"]) for row in child["refused"]]
    assert told == [("Say hello.", "short"), ("Reverse a list.", "others"), ("Nothing.", "short")]
    assert {row["reason"] for row in child["refused"]} == {"drop chars(response) < 4", 'drop topic == "other"'}


def test_a_source_s_part_of_a_step(child: dict[str, list[dict[str, Any]]]) -> None:
    assert asked(child["of_first"]) == ["Add two numbers.", "Later.", LEAK]
    assert {row["origin"] for row in child["of_first"]} == {"first"}
    assert asked(child["refused_of_second"]) == ["Reverse a list.", "Nothing."]


def test_dropped_of_a_dedup_names_the_row_that_stays(child: dict[str, list[dict[str, Any]]]) -> None:
    (row,) = child["twice"]
    assert (row["instruction"], row["rule"], row["similarity"]) == ("Add two numbers.", "duplicate", 1.0)
    assert row["kept"] == child["dataset"][0]["_id"] != row["_id"]


def test_dropped_of_a_decontamination_names_item_and_method(child: dict[str, list[dict[str, Any]]]) -> None:
    (row,) = child["leaks"]
    assert row["instruction"] == LEAK and row["match"] in LEAK
    assert (row["suite"], row["item"], row["method"]) == ("bench", "item 0", "ngram")


def test_dropped_of_a_source_is_the_record_as_it_stands(child: dict[str, list[dict[str, Any]]]) -> None:
    (row,) = child["unread"]
    assert (row["instruction"], row["response"]) == (BROKEN, "first.jsonl:5")
    assert row["rule"] == "bad_row" and "not JSON" in row["reason"]


def test_a_trace_tells_before_answer_and_after(child: dict[str, list[dict[str, Any]]]) -> None:
    assert [row["before"]["instruction"] for row in child["told"]] == asked(child["dataset"])
    for row, kept in zip(child["told"], child["dataset"], strict=True):
        hint = row["out"]["prompt"]
        assert row["after"]["instruction"] == f"{hint}\n{kept['instruction']}"
        assert row["before"]["response"] == row["after"]["response"] == kept["response"]
        assert (row["teacher"], row["sample"], row["_id"]) == ("offline", 0, kept["_id"])
        assert (row["instruction"], row["response"]) == (kept["instruction"], f"{hint}\n{kept['instruction']}")
