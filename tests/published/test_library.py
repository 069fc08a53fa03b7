"""Every declaration of the shipped library: documented, used by a recipe that compiles, its prompts rendered over a
row.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from alchemist_runtime.calls.answers import read
from alchemist_runtime.engine.turns import environment
from alchemist_runtime.schema.plan import Plan

from alchemist_dsl.checker import check
from alchemist_dsl.compiler import severity
from alchemist_dsl.diagnostics.model import Severity
from alchemist_dsl.ir import Block, TemplateV
from alchemist_dsl.project.workspace import Project, compile_recipe
from alchemist_dsl.source import SourceFile

ROOT = Path(__file__).parents[2]
FILES = sorted(p.stem for p in (ROOT / "recipes" / "std").glob("*.recipe"))
#: Texts that a prompt might take for orders, and that a template might take for its own.
ROW = {
    "instruction": "Reverse a list. {{ nothing }}",
    "response": "```python\ndef back(items):\n    return items[::-1]\n```",
    "snippet": "for i in range(3):\n    print(i)  # {% raw %}",
    "match": "Turn a list round.",
}


def library(name: str) -> dict[str, Block]:
    file = SourceFile("r.recipe", f'edition 2026\nimport "std:{name}" as it\n')
    program, problems = check(file, Project(ROOT).read)
    assert program is not None
    assert [d.headline for d in problems if d.code != "A114"] == []
    return {k.removeprefix("it."): b for k, b in program.blocks.items() if k.startswith("it.")}


BLOCKS = [(name, key, block) for name in FILES for key, block in library(name).items()]
IDS = [f"{name}.{key}" for name, key, _ in BLOCKS]
PROMPTS = [(n, k, b) for n, k, b in BLOCKS if b.kind == "prompt" and b.get("user") is not None]


def plan_of(tmp_path: Path, text: str) -> Plan:
    (tmp_path / "recipe.lock").touch()
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "response": "b", "snippet": "c", "match": "d"}\n')
    (tmp_path / "r.recipe").write_text(text)
    made = compile_recipe(tmp_path / "r.recipe", here=False)
    assert [d.headline for d in made.diagnostics if severity(d) is Severity.ERROR] == []
    assert made.plan is not None
    return made.plan


HEAD = """edition 2026
import "std:{file}" as it
source given {{
  files = "rows.jsonl"
}}
teacher served {{
  provider = openai
  model = "m-2026-01-01"
  price = free
}}
"""


def test_the_files_are_those_that_the_docs_name() -> None:
    assert FILES == ["alchemy", "answer", "evolve", "judge", "suites"]
    page = (ROOT / "docs" / "language.md").read_text()
    assert all(f"std:{name}" in page for name in FILES)


@pytest.mark.parametrize(("name", "key", "block"), BLOCKS, ids=IDS)
def test_is_documented_and_used(tmp_path: Path, name: str, key: str, block: Block) -> None:
    assert block.doc and block.doc.endswith((".", "?"))
    text = HEAD.format(file=name)
    match block.kind:
        case "suite":
            text += f"decontaminate used {{\n  from = given\n  against = it.{key}\n}}\n"
        case "task":
            text += (
                "prompt ask {\n  input {\n    response: text\n  }\n  output {\n    correctness: int(0..10)\n    clarity: int(0..10)\n"
                '    suggestions: text\n    refined: text\n  }\n  user = "{{ response }}"\n}\n'
                "generate made {\n  from = given\n  teacher = served\n  prompt = ask\n  set response = out.refined\n"
                "  drop out.clarity < 4 as unclear\n}\n"
                f"task used {{\n  extends = it.{key}\n  learn = made.{'dropped' if 'filtering' in key else 'trace'}\n}}\n"
            )
        case "prompt":
            sets = "".join(f"  set new_{f.name} = out.{f.name}\n" for f in block.output_fields)
            prompt = f"it.{key}"
            if block.get("user") is None:  # there to be extended
                text += (
                    f'prompt own {{\n  extends = it.{key}\n  user = "{{{{ instruction }}}} {{{{ response }}}}"\n}}\n'
                )
                prompt = "own"
            text += f"generate used {{\n  from = given\n  teacher = served\n  prompt = {prompt}\n{sets}}}\n"
    text += 'export dataset {\n  data = used\n  path = "out"\n}\n'
    plan = plan_of(tmp_path, text)
    assert plan.node("used").runnable


@pytest.mark.parametrize(("name", "key", "block"), PROMPTS, ids=[f"{n}.{k}" for n, k, _ in PROMPTS])
def test_prompts_show_their_inputs_as_material(name: str, key: str, block: Block) -> None:
    user = block.get("user")
    assert isinstance(user, TemplateV)
    given = {f.name: ROW[f.name] for f in block.input_fields}
    shown = environment().from_string(user.text).render(**given)
    for value in given.values():
        assert value in shown, "a row's value enters as it is, and is not parsed again"
    if key != "answer":
        assert "</" in shown or "material" in shown, "what is material stands between marks"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"passes": false, "reason": "no tests"}', {"passes": False, "reason": "no tests"}),
        ('{"passes": "perhaps", "reason": ""}', None),
    ],
)
def test_a_verdict_is_typed(reply: str, expected: dict[str, object] | None) -> None:
    outputs = {f.name: f.type for f in library("judge")["verdict"].output_fields}
    if expected is None:
        with pytest.raises(ValueError):
            read(reply, outputs)
    else:
        assert read(reply, outputs) == expected


def test_the_five_ways_of_evolution() -> None:
    found = {k: b for k, b in library("evolve").items() if b.get("user") is not None}
    assert list(found) == ["constraint", "rarer", "reasoning", "faulty", "complexity"]
    texts = {b.get("user").text for b in found.values()}  # type: ignore[union-attr]
    assert len(texts) == 5
    for block in found.values():
        assert [f.name for f in block.output_fields] == ["instruction", "response"]
