"""Small projects on disk, and their plans."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.plan import Node, Plan

from alchemist_dsl.passes import verify_plan
from alchemist_dsl.project import workspace
from alchemist_dsl.project.workspace import Compiled

ROWS = [{"instruction": f"Write function {i}", "response": f"def f{i}(): return {i}"} for i in range(40)]

FULL = """edition 2026
import "std:alchemy" as alchemy

param part: percent = 25%

recipe {
  title = "A small recipe"
  license = "Apache-2.0"
  seed = 7
}
teacher rules {
  provider = rules
}
teacher paid {
  provider = openai
  model = "gpt-4o-2024-08-06"
  rate = [500/min, 2M tokens/min]
  price {
    input = $2.5 per 1M tokens
    output = $10 per 1M tokens
  }
}
## Rows for the tests.
source rows_a {
  files = "data/a.jsonl"
  license = "MIT"
}
source rows_b {
  files = "data/b.jsonl"
  set response = output
}
suite items {
  files = "data/items.jsonl"
  id = "id"
}
map tagged {
  from = [
    rows_a,
    rows_b,
  ]
  set lang = lang(response)
}
dedup pool {
  from = tagged
}
filter clean {
  from = pool
  drop chars(response) < 10 as too_short
  keep parses(code(response), lang) as parses
}
decontaminate safe {
  from = clean
  against = items
}
generate evolved {
  from = safe
  select = param.part
  teacher = paid
  prompt = alchemy.evolve
  set instruction = out.instruction
  set response = out.response
  drop chars(out.response) < 5 as empty
}
relabel harmonized {
  from = [
    safe,
    evolved,
  ]
  select = 10% per origin
  teacher = rules
  prompt = alchemy.relabel
}
generate reviewed {
  from = safe
  select = 5 rows
  teacher = rules
  prompt = alchemy.review
}
task evolution {
  learn = evolved.trace
}
task filtering {
  learn = clean.dropped
  classes {
    short_response = too_short
    uncompilable_code = parses
  }
  sound = 20%
}
task review {
  learn = reviewed.trace
}
mixture sft {
  unit = rows
  take {
    harmonized = all
    evolution = 10%
    filtering = 5%
    review = 3 rows
  }
  on_short = shrink
}
export dataset {
  data = sft
  path = "out"
  split {
    train = 90%
    eval = 10%
  }
}
train tiny {
  data = sft
  init = scratch(layers = 1, hidden = 32)
  epochs = 1
  batch = 4 packs
  max_length = 128 tokens
  learning_rate = 1e-3
}
evaluate bench {
  model = tiny
  suites = items
}
check promises {
  expect plan.cost <= $5
  expect rows(sft) >= 10 rows
}
"""

SLICE = """edition 2026

source given {
  files = "data/a.jsonl"
}
filter clean {
  from = given
  drop chars(response) < 10 as too_short
}
mixture sft {
  unit = rows
  take {
    clean = all
  }
}
export dataset {
  data = sft
  path = "out"
}
"""


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


@dataclass
class Workplace:
    """A project folder with one recipe."""

    root: Path

    @property
    def recipe(self) -> Path:
        return self.root / "r.recipe"

    def write(self, text: str) -> Workplace:
        self.recipe.write_text(text)
        return self

    def compile(self, text: str | None = None, **options: Any) -> Compiled:
        if text is not None:
            self.write(text)
        made = workspace.compile_recipe(self.recipe, **options)
        if made.plan is not None:
            verify_plan(made.plan)
        return made

    def plan(self, text: str | None = None, **options: Any) -> Plan:
        made = self.compile(text, **options)
        assert made.plan is not None, [(d.code, d.headline) for d in made.diagnostics]
        return made.plan

    def node(self, name: str, text: str | None = None, **options: Any) -> Node:
        return self.plan(text, **options).node(name)

    def keys(self, text: str | None = None, **options: Any) -> dict[str, str]:
        return {n.id: n.key for n in self.plan(text, **options).nodes}


def fill(root: Path) -> Workplace:
    root.mkdir(parents=True, exist_ok=True)
    write_lines(root / "data/a.jsonl", ROWS)
    write_lines(
        root / "data/b.jsonl", [{"instruction": r["instruction"] + "!", "output": r["response"]} for r in ROWS[:20]]
    )
    write_lines(root / "data/items.jsonl", [{"id": str(i), "prompt": f"def g{i}(x):"} for i in range(3)])
    (root / "recipe.lock").write_text("version = 1\n")
    return Workplace(root)


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return fill(tmp_path / "project")


@pytest.fixture
def work_at(tmp_path: Path) -> Callable[[str], Workplace]:
    return lambda name: fill(tmp_path / name)


@pytest.fixture
def full() -> str:
    return FULL


@pytest.fixture
def slice_() -> str:
    return SLICE
