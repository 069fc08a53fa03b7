"""A recipe that trains a model and then asks it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from alchemist_runtime.train import launch
from e2e_cli import alchemist

pytest.importorskip("torch")
pytest.importorskip("accelerate")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(launch.visible_gpus() > 0, reason="this training is made for the CPU"),
]

RECIPE = """edition 2026
source chat {
  files = "chat.jsonl"
  license = "MIT"
}
source asked {
  files = "asked.jsonl"
  license = "MIT"
  set response = ""
}
train coder {
  data = chat
  init = scratch(layers = 1, hidden = 32, heads = 2, intermediate = 64, context = 128)
  steps = 60
  batch = 8 rows
  packing = none
  max_length = 64 tokens
  learning_rate = 1e-2
}
teacher own {
  provider = transformers
  model = coder
  max_tokens = 8 tokens
}
prompt request {
  input {
    instruction: text
  }
  output {
    answer: text
  }
  user = "{{ instruction }}"
}
generate answered {
  from = asked
  teacher = own
  prompt = request
  set response = out.answer
}
filter shown {
  from = answered
  keep response == "ok" as wrong
}
export dataset {
  data = shown
  path = "out"
}
"""


def test_a_recipe_trains_a_model_and_asks_it(tmp_path: Path) -> None:
    words = ["red", "green", "blue", "left", "right", "up", "down", "near"]
    rows = [{"instruction": f"Say {w}.", "response": "ok"} for w in words]
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    asked = [{"instruction": f"Say {a} and {b}."} for a in words[:4] for b in words[4:]]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(r) + "\n" for r in asked))
    (tmp_path / "r.recipe").write_text(RECIPE)

    first = alchemist("run", "r.recipe", cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    said = first.stdout + first.stderr
    assert said.index("coder: 8 rows") < said.index("answered: 16 rows; 16 calls, 0 from")
    (written,) = (tmp_path / "out").rglob("*.parquet")
    import pyarrow.parquet as pq

    table = pq.read_table(written)
    assert table.column("response").to_pylist() == ["ok"] * 16  # what it was taught

    longer = RECIPE.replace("keep response", "keep chars(instruction) > 1 as blank\n  keep response")
    (tmp_path / "r.recipe").write_text(longer)
    again = alchemist("run", "r.recipe", cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "coder: 8 rows" not in again.stdout + again.stderr  # its model is there
    why = alchemist("why", "answered", "r.recipe", cwd=tmp_path)
    assert "`model` reads coder" in why.stdout, why.stdout + why.stderr
