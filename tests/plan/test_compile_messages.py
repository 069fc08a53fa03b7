"""Messages that need files, prices or counts, whole as a person reads them: golden/messages.txt, rewritten by `make
golden`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from alchemist_dsl.diagnostics.render import render
from alchemist_dsl.project.workspace import compile_recipe

GOLDEN = Path(__file__).parent / "golden" / "messages.txt"
_SOURCE = """source sums {
  files = "data/leet_code/*.jsonl"
}
"""
_TAUGHT = """teacher gpt4 {
  provider = openai
  model = "gpt-4-0613"
}
prompt ask {
  input {
    instruction: text
    response: text
  }
  output {
    prompt: text
  }
  user = jinja\"\"\"
    {{ instruction }} {{ response }}
    \"\"\"
}
relabel harmonized {
  from = sums
  select = 50%
  teacher = gpt4
  prompt = ask
}
export dataset {
  data = harmonized
  path = "out"
}
check cost {
  expect plan.cost <= $1
}
"""
_PRICE = 'model = "gpt-4-0613"\n  price {\n    input = $3k per 1M tokens\n    output = $6k per 1M tokens\n  }'
CASES = {
    "A302 a folder of a near name": 'source sums {\n  files = "data/leetcode/*.jsonl"\n}\nexport dataset {\n  data = sums\n  path = "out"\n}\n',
    "A602 an entry with too few rows": _SOURCE
    + 'mixture sft {\n  total = 100 rows\n  take {\n    sums = 100%\n  }\n}\nexport dataset {\n  data = sft\n  path = "out"\n}\n',
    "A702 a promise about money without a price": _SOURCE + _TAUGHT,
    "A901 a promise that is not kept": _SOURCE + _TAUGHT.replace('model = "gpt-4-0613"', _PRICE),
}


def shown(name: str, folder: Path) -> str:
    """What compiling a case says, without warnings."""
    (folder / ".git").mkdir(parents=True)
    data = folder / "data" / "leet_code"
    data.mkdir(parents=True)
    rows = [{"instruction": f"Add {i}.", "response": f"It is {i}."} for i in range(30)]
    (data / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    recipe = folder / "r.recipe"
    recipe.write_text("edition 2026\n" + CASES[name])
    made = compile_recipe(recipe, here=False)
    errors = [d for d in made.diagnostics if render([d], made.sources).startswith("error")]
    return f"== {name}\n" + render(errors, made.sources)


def test_messages_are_these(tmp_path: Path) -> None:
    told = "\n".join(shown(name, tmp_path / str(i)) for i, name in enumerate(CASES))
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(told, "utf-8")
    assert told == GOLDEN.read_text("utf-8")


@pytest.mark.parametrize("name", CASES)
def test_each_has_one_message_of_its_code(name: str, tmp_path: Path) -> None:
    told = shown(name, tmp_path / "p")
    assert told.count("error[") == 1 and f"error[{name[:4]} " in told
