"""Benchmark items among the rows of the paper's recipe: none reaches the export, by whatever way its text goes."""

from __future__ import annotations

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


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipe.lock").touch()
    shutil.copy(RECIPES / "alchemistcoder.recipe", tmp_path)
    (tmp_path / "r.recipe").write_text(MINE)
    jsonl(tmp_path / "bench.jsonl", ITEMS)
    whole = [
        {"instruction": i["prompt"], "output": i["prompt"] + i["solution"]} for i in ITEMS[:32]
    ]
    short = [{"instruction": i["prompt"], "output": i["solution"]} for i in ITEMS[32:]]
    jsonl(tmp_path / "evol.jsonl", [*whole, *short])
    own = (
        row(f"take_{n}", f"the {n} numbers in front of place {n}", f"    total = {n}\n    for one in given:\n        total += one * {n}\n    return total\n")
        for n in range(60)
    )  # fmt: skip
    jsonl(tmp_path / "codealpaca.jsonl", [*own, {"instruction": "Add.", "output": "a + b"}])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def leaked(project: Path) -> set[str]:
    """The items whose docstring stands somewhere in the export."""
    text = next((project / "out/data").glob("train-*.jsonl")).read_text()
    return {i["name"] for i in ITEMS if i["prompt"].split('"""')[1] in text}


def alchemist(*args: str) -> str:
    code, said = call(*args)
    assert code == 0, said
    return said


def test_no_item_reaches_the_export(project: Path) -> None:
    assert "A507" not in alchemist("check", "r.recipe")
    alchemist("run", "r.recipe", "--upto", "dataset")
    assert leaked(project) == set()


def test_without_the_second_search_they_do_and_check_says_by_which_way(project: Path) -> None:
    text = MINE
    for task in ("evolution", "filtering", "review"):
        text = text.replace(f"    {task}_clean = 20%", f"    {task}_clean = null\n    {task} = 20%")
    (project / "r.recipe").write_text(text)
    said = alchemist("check", "r.recipe")
    for task in ("evolution", "filtering", "review"):
        assert f"reach `alchemist_ds` by `{task}` without decontamination" in said
    alchemist("run", "r.recipe", "--upto", "dataset")
    assert len(leaked(project)) >= 30
