"""What this version does not run is named, nothing pretends that it was, and what else the recipe says is carried
out.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from e2e_cli import alchemist, exported, jsonl

RECIPE = """edition 2026
import "std:alchemy" as alchemy

source sums {
  files = "sums.jsonl"
}

filter core {
  from = sums
  select = 4 rows
  best = coverage(instruction, "a/model")
}

mixture sft {
  unit = rows
  take {
    core = all
  }
}

export chosen {
  data = sft
  path = "chosen"
}

export dataset {
  data = sums
  path = "out"
  hub = "me/sums"
}

measure look {
  data = sums
  metrics = [
    leakage(alchemy.humaneval),
  ]
}

check sizes {
  expect rows(sums) >= 10 rows
}

check later {
  severity = warn
  expect rows(sft) >= 2 rows
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "recipe.lock").touch()
    (tmp_path / "r.recipe").write_text(RECIPE)
    rows = ({"instruction": f"Add {i} and {i}.", "response": str(2 * i)} for i in range(20))
    jsonl(tmp_path / "sums.jsonl", rows)
    return tmp_path


def test_check_names_every_block_that_is_not_run(project: Path) -> None:
    done = alchemist("check", "--format", "concise", "r.recipe", cwd=project)
    assert done.returncode == 0
    said = [line for line in done.stdout.splitlines() if "[A807]" in line]
    assert [line.split(":")[1] for line in said] == ["11", "29", "32"]
    assert "does not send it to the hub" in said[1] and "`measure` blocks" in said[2]


def test_a_run_makes_the_rest_and_asks_no_hub_for_what_nobody_reads(project: Path) -> None:
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    done = alchemist("run", "r.recipe", cwd=project, env=nowhere)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "error[A918 not-built]: `core` was not built" in done.stderr
    assert "core: filter: this version compiles it but does not run it" in done.stderr
    assert "sft: mixture: left out: it needs a step that is not run" in done.stderr
    assert "mixture sft" not in done.stdout, "no shares of what was not made"
    assert "check    pass    sizes: rows(sums) >= 10 rows  (it is 20)" in done.stdout
    assert "check    unknown later: rows(sft) >= 2 rows  (`sft` is not run)" in done.stdout
    assert exported(project) and not exported(project, "chosen")
    assert "me/sums" not in (project / "out" / "README.md").read_text()


def test_an_unknown_promise_is_neither_yes_nor_no(project: Path) -> None:
    (project / "r.recipe").write_text(RECIPE.replace("  severity = warn\n", ""))
    done = alchemist("run", "r.recipe", "--format", "json", cwd=project, env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert done.returncode == 3, done.stderr
    made = json.loads(done.stdout)
    assert {c["id"]: c["verdict"] for c in made["checks"]} == {"sizes": "pass", "later": "unknown"}
    left = {n["node"] for n in made["nodes"] if n["action"] == "not run"}
    assert left == {"core", "sft", "chosen", "look"}


def test_a_hub_that_is_needed_stops_the_run(project: Path) -> None:
    leaks = "decontaminate fair {\n  from = sums\n  against = alchemy.humaneval\n}\n"
    text = RECIPE.replace("  data = sums\n  path", "  data = fair\n  path") + leaks
    (project / "r.recipe").write_text(text)
    done = alchemist("run", "r.recipe", cwd=project, env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert done.returncode == 3 and "A309" in done.stderr, done.stderr
    assert not (project / "out").exists()
