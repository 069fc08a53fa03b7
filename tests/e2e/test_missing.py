"""A mixture of which a part is declared missing: the rest grows in proportion, and everything says how much is
covered.
"""

from __future__ import annotations

import json
from pathlib import Path

from e2e_cli import alchemist, jsonl

RECIPE = """edition 2026

source sums {
  files = "sums.jsonl"
}

source closed {
  missing = "never published"
}

mixture sft {
  total = 20 rows
  take {
    sums = 40%
    closed = 60%
  }
}

export dataset {
  data = sft
  path = "out"
}

check shares {
  expect rows(sft) == 20 rows
  expect share(sft, sums) >= 90%
}
"""
SAID = "40% of the recipe; closed is declared missing"


def test_plan_run_and_card_say_how_much_is_covered(tmp_path: Path) -> None:
    (tmp_path / "recipe.lock").touch()
    (tmp_path / "r.recipe").write_text(RECIPE)
    rows = ({"instruction": f"Add {i} and {i}.", "response": str(2 * i)} for i in range(30))
    jsonl(tmp_path / "sums.jsonl", rows)

    planned = alchemist("compile", "r.recipe", "--format", "json", cwd=tmp_path)
    (mixture,) = [n for n in json.loads(planned.stdout)["nodes"] if n["id"] == "sft"]
    assert mixture["estimate"]["covered"]["value"] == "2/5"
    assert mixture["estimate"]["take.sums"]["value"] == "20", "the others grow in proportion"
    shown = alchemist("compile", "r.recipe", cwd=tmp_path).stdout
    assert f"covered  sft: {SAID}" in shown
    assert shown.count(" pass ") == 2

    done = alchemist("run", "r.recipe", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"covered  {SAID}" in done.stdout
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`closed`: never published" in card and "stand for 40% of the recipe" in card
    assert "20 rows in `train`" in card
