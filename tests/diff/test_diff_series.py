"""One base and thirty-two small recipes on it: what sets two of them apart is a table of a few lines."""

from __future__ import annotations

import itertools
import random
from contextlib import chdir
from pathlib import Path

import pytest

from alchemist_dsl.comparison.model import RecipeDiff
from alchemist_dsl.comparison.report import document, mixture
from alchemist_dsl.document.blocks import terminal
from alchemist_dsl.project.operands import Settings, compared, comparison

#: What the recipes of the series differ in.
SOURCES = ("math", "code", "chat", "science", "stories", "law")
BASE = """edition 2026

recipe {
  title = "base"
  seed = 1
}
%s
mixture sft {
  total = 10_000 rows
  take {
    math = 20%%
    code = 20%%
    chat = rest
  }
  on_short = shrink
}

train model {
  data = sft
  init = scratch(layers = 1, hidden = 32, heads = 2, intermediate = 64, context = 256)
  steps = 10
  max_length = 256 tokens
  batch = 8 packs
  learning_rate = 1e-4
}
"""


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base.recipe` and 32 recipes that extend it: other shares, an entry more or less, another learning rate."""
    folder = tmp_path_factory.mktemp("series")
    sources = "".join(f'\nsource {n} {{\n  files = "{n}.jsonl"\n}}\n' for n in SOURCES)
    (folder / "base.recipe").write_text(BASE % sources)
    for name in SOURCES:
        row = '{"instruction": "%s %d", "response": "an answer"}\n'
        (folder / f"{name}.jsonl").write_text("".join(row % (name, i) for i in range(5_000)))
    for i in range(32):
        (folder / f"run_{i:02}.recipe").write_text(_variant(i))
    return folder


def _variant(i: int) -> str:
    entries = [f"    math = {5 + i}%"]
    if i % 3 == 0:
        entries.append("    code = null")
    if i % 4 == 1:
        entries.append(f"    {SOURCES[3 + i % 3]} = {1 + i % 7}%")
    rate = f"\ntrain model {{\n  learning_rate = {1 + i % 5}e-4\n}}\n" if i % 2 else ""
    taken = "\n".join(entries)
    return f'edition 2026\n\nrecipe {{\n  extends = "base.recipe"\n  title = "run {i}"\n}}\n\nmixture sft {{\n  take {{\n{taken}\n  }}\n}}\n{rate}'


def between(folder: Path, one: str, two: str) -> RecipeDiff:
    with chdir(folder):
        made = compared(comparison([f"{one}.recipe", f"{two}.recipe"], Settings()))
    assert len(made.recipes) == 1
    assert len(terminal(document(made), 100)) <= 40
    return made.recipes[0]


def _pairs() -> list[tuple[str, str]]:
    names = ["base", *(f"run_{i:02}" for i in range(32))]
    pairs = list(itertools.combinations(names, 2))
    return [*random.Random(5).sample(pairs, 40), ("base", "run_00"), ("run_00", "run_31")]


@pytest.mark.parametrize(("one", "two"), _pairs())
def test_any_two_are_a_table_of_one_to_ten_lines(series: Path, one: str, two: str) -> None:
    made = between(series, one, two)
    assert made.category == "breaking"  # shares depend on each other
    [table] = made.mixtures
    rows = [row for row in table.entries if row.before != row.after]
    assert 1 <= len(rows) <= 10
    printed = terminal([mixture(table)], 100)
    assert 1 <= len(printed) - 3 <= 10, printed  # a title, the head and its line
    direct = [n for n in made.nodes if n.direct and n.status == "changed" and n.category != "cosmetic"]
    assert {n.id for n in direct} <= {"sft", "model"}
    assert sum(len(n.changes) for n in direct) <= 10
    changed = {row.name for row in rows}
    assert "math" in changed and changed <= set(SOURCES)


def test_the_same_entries_are_no_difference(series: Path) -> None:
    (series / "again.recipe").write_text(_variant(7))
    with chdir(series):
        made = compared(comparison(["run_07.recipe", "again.recipe"], Settings()))
    assert not made.changed
