"""`dedup` and `decontaminate` as steps of a recipe: which rows go, for which rows, and what is recorded of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from alchemist_runtime.storage.store import closing

from alchemist_dsl.cli.main import main
from alchemist_dsl.cli.test_runner import run_tests

CHAIN = [" ".join(f"w{k}" for k in range(5 * i, 5 * i + 60)) for i in range(8)]
PROMPT = '''from typing import List


def spans(marks: List[int]) -> int:
    """ Count the gaps between neighbouring marks that are wider than the mean gap.
    >>> spans([1, 2, 9])
    1
    """
'''
ITEMS = [
    {"id": "gaps", "prompt": PROMPT, "solution": "    return sum(g > mean for g in gaps)\n"},
    {
        "id": "zh",
        "prompt": "请写一个函数接收一组温度并返回最高和最低温度之间的差值如果列表为空则返回零",
        "solution": "",
    },
]
RECIPE = """edition 2026
source chat {
  files = "rows.jsonl"
}
suite items {
  files = "items.jsonl"
  id = "id"
  text = ["prompt", "description", "solution"]
  set description = docstring(prompt)
}
dedup near {
  from = chat
  on = instruction
  method = minhash(ngram = 5, threshold = 0.7)
}
dedup linked {
  extends = near
  clusters = connected
}
decontaminate safe {
  from = chat
  against = items
  method = [ngram(n = 10), substring()]
}
decontaminate whole {
  from = chat
  against = items
  method = substring()
}
mixture sft {
  unit = rows
  take { near = all, linked = all, safe = all, whole = all }
}
export data {
  data = sft
  path = "out"
}
"""


def said(tmp_path: Path, step: str, given: list[str], expect: str) -> list[str]:
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(i) + "\n" for i in ITEMS))
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "response": "b"}\n')
    rows = ", ".join(f'{{ instruction = {json.dumps(t, ensure_ascii=False)}, response = "x" }}' for t in given)
    path = tmp_path / "r.recipe"
    path.write_text(f'{RECIPE}test "it" {{\n  step = {step}\n  given = [{rows}]\n{expect}\n}}\n')
    tested = run_tests(path)
    assert not tested.wrong, tested.diagnostics
    return [r.outcome for r in tested.results]


@pytest.mark.parametrize("step, rows", [("near", 4), ("linked", 1)])
def test_of_a_chain_every_row_stays_that_resembles_no_kept_one(tmp_path, step, rows):
    expect = f"  expect rows == {rows}\n  expect dropped.duplicate == {8 - rows}"
    assert said(tmp_path, step, CHAIN, expect) == ["passed"]


@pytest.mark.parametrize(
    "step, text, leaks",
    [
        (
            "whole",
            "Task: count the gaps between neighbouring marks that are wider than the mean gap.\n>>> spans([1, 2, 9])\n1",
            1,
        ),
        ("safe", "Count the gaps between neighbouring marks that are wider than the mean gap.", 1),
        ("safe", "题目：请写一个函数接收一组温度并返回最高和最低温度之间的差值", 1),
        ("whole", "Count the gaps between marks.", 0),
    ],
)
def test_the_part_of_an_item_that_a_suite_names_is_searched_for(tmp_path, step, text, leaks):
    assert said(tmp_path, step, [text], f"  expect dropped == {leaks}") == ["passed"]


def test_leaks_are_counted_by_method_and_by_item(tmp_path, monkeypatch, capsys):
    texts = [
        ITEMS[1]["prompt"],
        "x " + ITEMS[1]["prompt"],
        "Sum a list.",
        "Count the gaps between neighbouring marks that are wider than the mean gap.\n>>> spans([1, 2, 9])\n1",
        "return sum(g > mean for g in gaps)",
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(i) + "\n" for i in ITEMS))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"instruction": t, "response": "x"}) + "\n" for t in texts))
    (tmp_path / "r.recipe").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["run", "r.recipe", "--upto", "safe", "--format", "json"])
    assert left.value.code == 0
    nodes = {n["node"]: n for n in json.loads(capsys.readouterr().out)["nodes"]}
    figures = nodes["safe"]["figures"]
    assert figures["dropped"] == {"leak of items": 4}
    assert figures["leaks"]["methods"] == {"ngram": 3, "substring": 1}
    assert [(i["item"], i["rows"]) for i in figures["leaks"]["items"]] == [("gaps", 2), ("zh", 2)]
    assert closing(figures) == "leak of items 4 (ngram 3, substring 1; 2 of 2 items)"
