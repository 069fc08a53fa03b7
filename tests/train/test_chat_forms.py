"""Every form of `chat_template`, from the text of a recipe to the tokens that are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.plan import Plan, TrainSpec
from train_rows import table

pytest.importorskip("transformers")

from alchemist_runtime.train import base_model
from alchemist_runtime.train.chat import Encoder, Template, documents

from alchemist_dsl.project import workspace

PLAIN = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
OTHER = "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|end|>{% endfor %}"
RECIPE = """edition 2026
source given {
  files = "rows.jsonl"
}
train tiny {
  data = given
  init = scratch(layers = 1, hidden = 32, heads = 2)
  loss = all
  steps = 1
  batch = 8 rows
  max_length = 256 tokens
  packing = none
  learning_rate = 1e-3
  gpus = 0
  processes = 1
  %s
}
"""


def plan_of(folder: Path, line: str) -> Plan:
    (folder / "rows.jsonl").write_text('{"instruction": "q", "response": "a"}\n')
    (folder / "r.recipe").write_text(RECIPE % line)
    made = workspace.compile_recipe(folder / "r.recipe")
    assert made.plan is not None, [d.headline for d in made.diagnostics]
    return made.plan


def spec_of(plan: Plan) -> TrainSpec:
    spec = plan.node("tiny").spec
    assert isinstance(spec, TrainSpec)
    return spec


def trained(plan: Plan, folder: Path) -> str:
    """The text of the tokens of one row."""
    _, tokenizer = base_model.prepare_start(
        spec_of(plan), folder / "start", base_dir=None, project=folder, texts=plan.texts
    )
    rows = table([{"instruction": "q", "response": "a"}])
    (doc,) = documents(rows, Template(tokenizer), Encoder(tokenizer), "all")
    return str(tokenizer.decode(doc.ids))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.jinja").write_text(OTHER)
    base_model.write_byte_tokenizer(tmp_path / "models" / "chatty", 512)
    (tmp_path / "models" / "chatty" / "chat_template.jinja").write_text(OTHER)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "form", "text"),
    [
        ("", None, "<|user|>q<|end|><|assistant|>a<|end|>"),
        (f'chat_template = "{OTHER}"', {"text"}, "[user] q<|end|>[assistant] a<|end|>"),
        (f'chat_template = jinja"""\n    {PLAIN}\n    """', {"text"}, "<|user|>q<|end|><|assistant|>a<|end|>"),
        ('chat_template = "chat.jinja"', {"file", "text"}, "[user] q<|end|>[assistant] a<|end|>"),
        ('chat_template = "./models/chatty"', {"model"}, "[user] q<|end|>[assistant] a<|end|>"),
        ('chat_template = "models/chatty"', {"model"}, "[user] q<|end|>[assistant] a<|end|>"),
    ],
    ids=["none", "string", "jinja", "file", "folder", "folder of the project"],
)
def test_each_form_trains_on_its_template(folder: Path, line: str, form: set[str] | None, text: str) -> None:
    plan = plan_of(folder, line)
    found = spec_of(plan).chat_template
    assert (found if found is None else set(found)) == form
    assert trained(plan, folder).rstrip("\n") == text


def test_a_parameter_names_a_template_as_a_text_does(folder: Path) -> None:
    (folder / "rows.jsonl").write_text('{"instruction": "q", "response": "a"}\n')
    recipe = 'edition 2026\nparam t: text = "chat.jinja"\n' + RECIPE.partition("\n")[2]
    (folder / "r.recipe").write_text(recipe % "chat_template = param.t")
    plans = [workspace.compile_recipe(folder / "r.recipe", sets=sets).plan for sets in ([], ["t=models/chatty"])]
    assert [set(spec_of(p).chat_template or ()) for p in plans if p] == [{"file", "text"}, {"model"}]


def test_the_model_of_the_hub_is_asked_by_its_name_and_locked_commit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0" * 39 + "1"
    (folder / "recipe.lock").write_text(f'version = 1\n\n[models]\n"owner/model" = {{ revision = "{commit}" }}\n')
    plan = plan_of(folder, 'chat_template = "owner/model"')
    assert spec_of(plan).chat_template == {"model": "owner/model", "revision": commit}
    asked = []
    load = base_model.load_tokenizer

    def hub(source: str, revision: str | None = None) -> Any:
        if source == "owner/model":
            asked.append(revision)
            source = str(folder / "models" / "chatty")
        return load(source, None)

    monkeypatch.setattr(base_model, "load_tokenizer", hub)
    assert trained(plan, folder) == "[user] q<|end|>[assistant] a<|end|>"
    assert asked == [commit]


def test_the_text_decides_the_key_and_not_the_name_of_its_file(folder: Path) -> None:
    def key(line: str) -> str:
        return plan_of(folder, line).node("tiny").key

    first = key('chat_template = "chat.jinja"')
    assert first == key(f'chat_template = "{OTHER}"')
    (folder / "again.j2").write_text(OTHER)
    assert first == key('chat_template = "again.j2"')
    (folder / "chat.jinja").write_text(PLAIN)
    changed = plan_of(folder, 'chat_template = "chat.jinja"')
    assert first != changed.node("tiny").key
    # a plan holds the text that it was made with
    (folder / "chat.jinja").write_text("other")
    assert trained(changed, folder) == "<|user|>q<|end|><|assistant|>a<|end|>"
    folder_key = key('chat_template = "./models/chatty"')
    (folder / "models" / "chatty" / "chat_template.jinja").write_text(PLAIN)
    assert folder_key != key('chat_template = "./models/chatty"')
    assert len({key('chat_template = "a/b"'), key('chat_template = "a/c"'), key("")}) == 3
