"""Teachers that are models in this process: what names them in keys, and what their steps read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.plan import Plan, digest, dump, load, portable

RECIPE = """edition 2026
source rows_a {
  files = "data/a.jsonl"
}
train coder {
  data = rows_a
  init = scratch(layers = 1, hidden = 32)
  steps = 4
  batch = 4 packs
  max_length = 128 tokens
  learning_rate = 1e-3
}
teacher here {
  provider = transformers
  model = MODEL
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
  from = rows_a
  teacher = here
  prompt = request
  set response = out.answer
}
export dataset {
  data = answered
  path = "out"
}
"""


def recipe(model: str) -> str:
    return RECIPE.replace("MODEL", model)


def weights(folder: Path, content: bytes = b"one") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(content)


def lock(work: Any, commit: str) -> None:
    (work.root / "recipe.lock").write_text(f'version = 1\n\n[models]\n"owner/model" = {{ revision = "{commit}" }}\n')


def identity(plan: Plan) -> str:
    return plan.teachers["here"].identity_key


def moved(before: Plan, after: Plan) -> set[str]:
    keys = {n.id: n.key for n in after.nodes}
    return {n.id for n in before.nodes if n.key != keys[n.id]}


def test_a_folder_is_known_by_what_it_holds_and_not_by_its_name(work: Any) -> None:
    weights(work.root / "models/one")
    before = work.plan(recipe('"./models/one"'))
    assert before.teachers["here"].model == "./models/one"
    (work.root / "models/one").rename(work.root / "models/two")
    renamed = work.plan(recipe('"./models/two"'))
    assert (moved(before, renamed), identity(renamed)) == (set(), identity(before))
    weights(work.root / "models/two", b"two")
    changed = work.plan()
    assert moved(before, changed) == {"answered", "dataset"}
    assert identity(changed) != identity(before)


def test_a_gguf_file_is_a_model_and_a_folder_of_them_is_none(work: Any) -> None:
    (work.root / "models").mkdir()
    (work.root / "models/small.GGUF").write_bytes(b"GGUF")
    assert work.plan(recipe('"./models/small.GGUF"')).teachers["here"].model == "./models/small.GGUF"
    (problem,) = [d for d in work.compile(recipe('"./models"')).diagnostics if d.code == "A812"]
    assert problem.headline == "`./models` holds only GGUF files"
    assert problem.help == 'name the file: `model = "./models/small.GGUF"`'


def test_a_folder_that_is_not_there_is_told_at_its_place(work: Any) -> None:
    weights(work.root / "models/one")
    (problem,) = [d for d in work.compile(recipe('"./models/on"')).diagnostics if d.code == "A812"]
    assert problem.help == 'did you mean `model = "./models/one"`?'
    place = (work.root / "r.recipe").read_text()[problem.span.start : problem.span.end]
    assert place == '"./models/on"'


def test_a_model_of_the_hub_is_known_by_its_commit(work: Any) -> None:
    unknown = work.plan(recipe('"owner/model"'))
    lock(work, "a" * 40)
    first = work.plan()
    assert first.teachers["here"].revision == "a" * 40
    lock(work, "b" * 40)
    second = work.plan()
    assert len({identity(p) for p in (unknown, first, second)}) == 3
    assert moved(first, second) == {"answered", "dataset"}
    written = work.plan(recipe(f'"owner/model"\n  revision = "{"b" * 40}"'))
    assert identity(written) == identity(second)


def test_a_trained_model_is_known_by_its_training(work: Any) -> None:
    before = work.plan(recipe("coder"))
    names = [n.id for n in before.nodes]
    assert names.index("coder") < names.index("answered")
    assert [(e.node, e.role) for e in before.node("answered").inputs] == [("rows_a", "from"), ("coder", "model")]
    faster = work.plan(recipe("coder").replace("steps = 4", "steps = 4\n  micro_batch = 2 packs"))
    assert (moved(before, faster), identity(faster)) == (set(), identity(before))
    longer = work.plan(recipe("coder").replace("steps = 4", "steps = 5"))
    assert moved(before, longer) == {"coder", "answered", "dataset"}
    assert identity(longer) != identity(before)
    assert longer.node("answered").own_key == before.node("answered").own_key
    renamed = work.plan(recipe("coder").replace("coder", "writer"))
    assert identity(renamed) == identity(before)


def test_a_teacher_here_costs_nothing_unless_a_price_is_written(work: Any) -> None:
    budget = "prompt = request\n  budget = $1"
    text = recipe("coder").replace("prompt = request", budget)
    made = work.compile(text)
    assert made.plan is not None and made.plan.teachers["here"].price is not None
    assert made.plan.teachers["here"].price.free
    assert [d.code for d in made.diagnostics if d.code.startswith("A7")] == []
    assert (made.plan.teachers["here"].concurrency, made.plan.teachers["here"].timeout_seconds) == (16, 0)
    own = text.replace(
        "model = coder",
        "model = coder\n  concurrency = 64\n  price {\n    input = $1 per 1M tokens\n    output = $1 per 1M tokens\n  }",
    )
    priced = work.plan(own).teachers["here"]
    assert priced.concurrency == 64 and priced.price is not None and not priced.price.free


def signed(plan: Plan) -> bytes:
    return dump(replace(plan, digest=digest(portable(plan)))).encode()


def test_a_plan_that_asks_another_model_than_it_says_is_refused(work: Any) -> None:
    plan = work.plan(recipe("coder"))
    assert load(signed(plan), "p.json").teachers["here"].model == "coder"
    step = plan.node("answered")
    other = replace(step, inputs=[e for e in step.inputs if e.role != "model"])
    nodes = [other if n.id == "answered" else n for n in plan.nodes]
    with pytest.raises(RunError) as refused:
        load(signed(replace(plan, nodes=nodes)), "p.json")
    assert "does not read the training" in str(refused.value)
    teacher = plan.teachers["here"]
    told = {**teacher.identity_of, "teacher.model": {"train": "b2:" + "0" * 64}}
    lying = replace(teacher, identity_of=told, identity_key=digest(told))
    with pytest.raises(RunError) as refused:
        load(signed(replace(plan, teachers={"here": lying})), "p.json")
    assert "does not read the training" in str(refused.value)
    assert json.loads(signed(plan))["teachers"]["here"]["model"] == "coder"
