"""What `compile` says a run would build is what `run` then builds, whatever is missing from the store."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from alchemist_dsl import compile, run

RECIPE = """edition 2026
source notes {
  files = "notes.jsonl"
}
source more {
  files = "more.jsonl"
}
filter long {
  from = notes
  keep words(response) >= 2 as too_short
}
map marked {
  from = long
  set lang = "en"
}
dedup once {
  from = [marked, more]
  on = response
}
split parts {
  from = once
  eval = 20%
}
mixture blend {
  take {
    once = 4 rows
    more = all
  }
}
export all_of_it {
  data = parts
  path = "made/all"
}
export mixed {
  data = blend
  path = "made/mixed"
}
export refused {
  data = long.dropped
  path = "made/refused"
}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipe.lock").write_text("")
    (tmp_path / "r.recipe").write_text(RECIPE)
    for name, words in (("notes", "one"), ("more", "two")):
        rows = [f'{{"instruction": "say {i}", "response": "{words} {"x " * (i % 3)}{i}"}}\n' for i in range(12)]
        (tmp_path / f"{name}.jsonl").write_text("".join(rows).replace(' 0"', '"'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("seed", range(10))
def test_compile_says_what_run_then_does(project: Path, seed: int) -> None:
    draw = random.Random(seed)
    run("r.recipe")
    keys = {n.id: n.key for n in compile("r.recipe").plan.nodes}
    upto = draw.sample(sorted(keys), draw.randrange(1, 3)) if seed % 2 else []
    for name in draw.sample(sorted(keys), draw.randrange(1, len(keys))):
        shutil.rmtree(project / ".alchemist" / "store" / keys[name].removeprefix("b2:"))
    if draw.random() < 0.5:
        shutil.rmtree(project / "made" / draw.choice(["all", "mixed", "refused"]))
    planned = compile("r.recipe", upto=upto)
    said = {n.id for n in planned.plan.now.nodes if n.action in ("build", "extend")}
    done = {name for name, step in run("r.recipe", upto=upto).steps.items() if step.action in ("built", "equal")}
    assert said == done
    left = compile("r.recipe", upto=upto).plan.now.nodes
    assert {n.id for n in left if n.action not in ("reuse", "skip")} == set()


def test_a_step_that_is_asked_for_is_built_though_what_reads_it_is_there(project: Path) -> None:
    run("r.recipe")
    keys = {n.id: n.key for n in compile("r.recipe").plan.nodes}
    shutil.rmtree(project / ".alchemist" / "store" / keys["marked"].removeprefix("b2:"))
    assert {n.id: n.action for n in compile("r.recipe").plan.now.nodes}["marked"] == "skip"
    asked = compile("r.recipe", upto=["marked", "once"]).plan.now.nodes
    assert {n.id: n.action for n in asked}["marked"] == "build"
    assert run("r.recipe", upto=["marked", "once"]).steps["marked"].action == "built"
