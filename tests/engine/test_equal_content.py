"""A result that was made under another key is taken only where it is what would be made now."""

from __future__ import annotations

import json
from pathlib import Path

from alchemist_runtime.engine import local
from alchemist_runtime.engine.context import Context

from alchemist_dsl.project.workspace import compile_recipe, project_of

RECIPE = """edition 2026

source web {
  files = "web.jsonl"
}

suite items {
  files = "items.jsonl"
  text = "prompt"
}

decontaminate safe {
  from = web
  against = items
  method = substring(shortest = 8)
}

export kept {
  data = safe
  path = "out"
}
"""


def run(project: Path, recipe: str) -> dict[str, tuple[str, int | None]]:
    path = project / "r.recipe"
    path.write_text(recipe)
    made = compile_recipe(path)
    assert made.plan is not None, made.diagnostics
    home = project_of(path)
    done = local.run(Context(made.plan, home.root, home.state, home.store)).done
    return {d.node: (d.action, d.rows) for d in done}


def test_other_texts_of_a_benchmark_are_searched_for_anew(tmp_path: Path) -> None:
    """The rows of the suite are the same; which of its columns must not be in the data is not."""
    rows = [
        {"instruction": f"row {i}", "response": text}
        for i, text in enumerate(["anything else", "the question itself", "the solution of it"])
    ]
    (tmp_path / "web.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    item = {"prompt": "the question itself", "solution": "the solution of it"}
    (tmp_path / "items.jsonl").write_text(json.dumps(item) + "\n")
    assert run(tmp_path, RECIPE)["safe"] == ("built", 2)
    both = RECIPE.replace('text = "prompt"', 'text = ["prompt", "solution"]')
    assert run(tmp_path, both)["safe"] == ("built", 1)
    assert run(tmp_path, both.replace("web {\n", "web {\n  limit = 5 rows\n"))["safe"] == ("equal", 1)
