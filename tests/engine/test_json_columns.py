"""A record, list or number that is set into a column of JSON arrives as JSON, wherever the column stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.engine.context import Context
from alchemist_runtime.engine.local import run

from alchemist_dsl.project.workspace import compile_recipe

SOURCE = """edition 2026

source t {
  files = "t.jsonl"
  set template_args = %s
}

map some {
  from = t
  select = instruction == "two"
  set template_args = %s
}

export o {
  data = some
  format = jsonl
  path = "out"
}
"""
ROWS = [
    {"instruction": "one", "response": "1", "kw": {"z": 1, "a": None}, "n": 1},
    {"instruction": "two", "response": "2", "kw": None, "n": 2},
]


def exported(tmp_path: Path, first: str, second: str) -> dict[str, Any]:
    """The column of the exported rows, by instruction."""
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    recipe = tmp_path / "r.recipe"
    recipe.write_text(SOURCE % (first, second))
    made = compile_recipe(recipe)
    assert made.plan is not None, [d.headline for d in made.diagnostics]
    project = made.project
    run(Context(made.plan, project.root, project.state, project.store), None)
    lines = [x for p in (tmp_path / "out").rglob("*.jsonl") for x in p.read_text().splitlines()]
    return {r["instruction"]: r["template_args"] for r in map(json.loads, lines)}


@pytest.mark.parametrize(
    ("first", "second", "one", "two"),
    [
        (
            "{ enable_thinking = false }",
            "{ enable_thinking = true, low = 2 }",
            {"enable_thinking": False},
            {"enable_thinking": True, "low": 2},
        ),
        ("kw", "{ inner = kw, of = instruction }", {"z": 1, "a": None}, {"inner": None, "of": "two"}),
        ("{ kw = kw, list = [n, 2] }", "kw", {"kw": {"z": 1, "a": None}, "list": [1, 2]}, None),
        ("[{ a = n }]", "n + 0.5", [{"a": 1}], 2.5),
        ("null", "{ a = { b = { c = n == 2 } } }", None, {"a": {"b": {"c": True}}}),
        ('json("{\\"a\\": 1}")', "pick(n == 2, { a = 1 }, { a = 2 })", {"a": 1}, {"a": 1}),
    ],
)
def test_what_is_set_is_what_is_exported(tmp_path: Path, first: str, second: str, one: Any, two: Any) -> None:
    assert exported(tmp_path, first, second) == {"one": one, "two": two}
