"""Benchmark items among the rows of the paper's recipe: none reaches the export, by whatever way its text goes."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest
from e2e_cli import call, jsonl

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
THINGS = ["shelf", "cart", "bell", "rope", "tile", "seed", "drum", "lamp", "coin", "knot"]
DEEDS = {
    "count": ("how many of the {}s weigh more than the mean of their two neighbours", "sum"),
    "order": ("the {}s from the lightest to the heaviest, those of equal weight by age", "sorted"),
    "pair": ("every two {}s whose weights add up to the limit, each one at most once", "list"),
    "gap": ("the widest stretch of ground between two {}s that lie side by side there", "max"),
}
ITEMS = [
    {
        "name": f"{deed}_{thing}s",
        "prompt": f'def {deed}_{thing}s(given, limit):\n    """Return {words.format(thing)}."""\n',
        "solution": f"    return {function}(one for one in given if one < limit)\n",
    }
    for thing in THINGS
    for deed, (words, function) in DEEDS.items()
]
#: The recipe of the paper over local data, with rules as teachers, every row evolved and reviewed.
MINE = """edition 2026
recipe {
  extends = "alchemistcoder.recipe"
}
source evol {
  hub = null
  files = "evol.jsonl"
}
source codealpaca {
  hub = null
  files = "codealpaca.jsonl"
}
source exercise {
  hub = null
  missing = "not for this test"
}
teacher gpt4 {
  provider = rules
  model = null
}
teacher gpt35 {
  provider = rules
  model = null
}
suite planted {
  files = "bench.jsonl"
  id = "name"
  text = [
    "prompt",
    "solution",
  ]
  license = "Apache-2.0"
}
generate evolved {
  select = 100%
}
generate reviewed {
  select = 100%
}
decontaminate final {
  against = planted
}
export dataset {
  format = jsonl
  path = "out"
}
mixture sft {
  on_short = shrink
  take {
    evolution_clean = 20%
    filtering_clean = 20%
    review_clean = 20%
  }
}
"""


def row(name: str, words: str, body: str) -> dict[str, str]:
    code = f'```python\ndef {name}(given, limit):\n    """Return {words}."""\n{body}```\n'
    return {"instruction": f"Write a function that returns {words}.", "output": code}


def own() -> list[dict[str, str]]:
    """Rows that are no items."""
    takes = (
        row(
            f"take_{n}",
            f"the {n} numbers in front of place {n}",
            f"    total = {n}\n    for one in given:\n        total += one * {n}\n    return total\n",
        )
        for n in range(60)
    )
    return [*takes, {"instruction": "Add.", "output": "a + b"}]


def public(data: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """40 items of HumanEval, spread over it, and the conversations of the quickstart."""
    with gzip.open(data / "humaneval.jsonl.gz", "rt", encoding="utf-8") as lines:
        problems = [json.loads(line) for line in lines][::4][:40]
    items = [{"name": p["task_id"], "prompt": p["prompt"], "solution": p["canonical_solution"]} for p in problems]
    with (RECIPES / "quickstart/chat.jsonl").open(encoding="utf-8") as lines:
        talks = [json.loads(line)["messages"] for line in lines]
    asked = [[m["content"] for m in talk if m["role"] != "system"][:2] for talk in talks]
    return items, [{"instruction": a, "output": b} for a, b in asked]


@pytest.fixture(params=["own", pytest.param("humaneval", marks=pytest.mark.needs("data"))])
def items(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """40 items, of which the first 32 are planted with their prompt in the answer; the folder is that of the recipe."""
    items, others = (ITEMS, own()) if request.param == "own" else public(request.getfixturevalue("data"))
    (tmp_path / "recipe.lock").touch()
    shutil.copy(RECIPES / "alchemistcoder.recipe", tmp_path)
    (tmp_path / "r.recipe").write_text(MINE)
    jsonl(tmp_path / "bench.jsonl", items)
    whole = [{"instruction": i["prompt"], "output": i["prompt"] + i["solution"]} for i in items[:32]]
    short = [{"instruction": i["prompt"], "output": i["solution"]} for i in items[32:]]
    jsonl(tmp_path / "evol.jsonl", [*whole, *short])
    jsonl(tmp_path / "codealpaca.jsonl", others)
    monkeypatch.chdir(tmp_path)
    return items


def words(text: str) -> str:
    return " ".join(text.split())


def leaked(items: list[dict[str, str]]) -> set[str]:
    """The items of which the description, up to its examples, or the solution stands somewhere in the export."""
    lines = next(Path("out/data").glob("train-*.jsonl")).read_text().splitlines()
    rows = [words("\n".join(v for v in json.loads(x).values() if isinstance(v, str))) for x in lines]
    found = set()
    for i in items:
        told = re.split(r">>>|\"\"\"|\'\'\'", i["prompt"].replace("'''", '"""').split('"""', 1)[1])[0]
        parts = [p for p in (words(told), words(i["solution"])) if len(p) >= 30]
        assert parts, i
        if any(p in text for p in parts for text in rows):
            found.add(i["name"])
    return found


def alchemist(*args: str) -> str:
    code, said = call(*args)
    assert code == 0, said
    return said


def test_no_item_reaches_the_export(items: list[dict[str, str]]) -> None:
    assert "A507" not in alchemist("check", "r.recipe")
    alchemist("run", "r.recipe", "--upto", "dataset")
    assert leaked(items) == set()


def test_without_the_second_search_they_do_and_check_says_by_which_way(items: list[dict[str, str]]) -> None:
    text = MINE
    for task in ("evolution", "filtering", "review"):
        text = text.replace(f"    {task}_clean = 20%", f"    {task}_clean = null\n    {task} = 20%")
    Path("r.recipe").write_text(text)
    said = alchemist("check", "r.recipe")
    for task in ("evolution", "filtering", "review"):
        assert f"reach `alchemist_ds` by `{task}` without decontamination" in said
    alchemist("run", "r.recipe", "--upto", "dataset")
    assert len(leaked(items)) >= 30
