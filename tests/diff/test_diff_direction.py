"""An estimate never says the opposite of what is proved: a stricter rule lets no more rows through, a looser one no
fewer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import chdir
from fractions import Fraction
from pathlib import Path

import pytest
from alchemist_runtime.engine.context import Context, Options
from alchemist_runtime.engine.local import run

from alchemist_dsl.project.operands import Settings, compared, comparison
from alchemist_dsl.project.workspace import compile_recipe

BASE = """edition 2026

source t {
  files = "t.jsonl"
}

filter clean {
  from = t
  keep chars(response) in 60..180 as length
  drop contains(response, "8") as eights
}

dedup single {
  from = clean
  on = instruction
}

export o {
  data = single
  path = "out"
}
"""
#: An edit, and the sign of the change in rows that is proved.
EDITS = {
    "a narrower interval": ("60..180", "80..150", -1),
    "a wider interval": ("60..180", "20..300", 1),
    "another rule": ("as eights\n", 'as eights\n  drop contains(response, "7") as sevens\n', -1),
    "a rule that goes": ('  drop contains(response, "8") as eights\n', "", 1),
    "a limit": ('"t.jsonl"\n', '"t.jsonl"\n  limit = 500 rows\n', -1),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose base has been run: its figures are measured, those of an edit are not."""
    folder = tmp_path_factory.mktemp("direction")
    rows = ({"instruction": f"Say {i // 2}", "response": "word " * (i % 40) + str(i)} for i in range(800))
    (folder / "t.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "recipe.lock").write_text("version = 1\n")
    with chdir(folder):
        (folder / "base.recipe").write_text(BASE)
        built(folder / "base.recipe", lock=True)
        yield folder


def built(recipe: Path, *, lock: bool = False) -> dict[str, int]:
    """Rows of every step after a run."""
    made = compile_recipe(recipe, pin=True)
    assert made.plan is not None, [d.headline for d in made.diagnostics]
    project = made.project
    run(Context(made.plan, project.root, project.state, project.store, options=Options()), ["single"])
    if lock:
        made.after_run()
    found = {n.id: project.store.manifest(n.key) for n in made.plan.nodes}
    return {n: m.port("rows")["rows"] for n, m in found.items() if m is not None and n != "o"}


@pytest.mark.parametrize("edit", EDITS)
def test_rows_go_the_way_that_is_proved(project: Path, edit: str) -> None:
    old, new, sign = EDITS[edit]
    (project / "edited.recipe").write_text(BASE.replace(old, new, 1))
    made = compared(comparison(["base.recipe", "edited.recipe"], Settings())).recipes[0]
    found = {n.id: n.rows for n in made.nodes}
    real = built(project / "edited.recipe")
    before = built(project / "base.recipe")
    for name in ("clean", "single"):
        rows = found[name]
        assert rows.before is not None and rows.after is not None and rows.after.value is not None
        assert Fraction(rows.before.value or 0) == before[name]
        said = Fraction(rows.after.value) - before[name]
        assert said * sign >= 0, f"{name}: {rows.before.value} -> {rows.after.value}"
        assert (real[name] - before[name]) * sign >= 0
        low, high = (None if x is None else int(x) for x in (rows.after.low, rows.after.high))
        assert (low is None or low <= real[name]) and (high is None or real[name] <= high)
