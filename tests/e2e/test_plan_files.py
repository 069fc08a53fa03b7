"""A plan file may be written by anybody: what it says is checked before anything is read, written or removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.plan import digest, text_digest
from e2e_cli import call, jsonl, squares

RECIPE = '''edition 2026

source a {
  files = "data/a.jsonl"
}

filter clean {
  from = a
  drop chars(response) < 18 as short
}

map asked {
  from = clean
  set instruction = jinja"""
    Please: {{ instruction }}
    """
}

export dataset {
  data = asked
  path = "out"
  format = jsonl
}
'''
Data = dict[str, Any]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    jsonl(folder / "data/a.jsonl", squares(20))
    (folder / "r.recipe").write_text(RECIPE)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/manifest.json").write_text("{}")
    monkeypatch.chdir(folder)
    assert call("compile", "r.recipe", "-o", "plan.json")[0] == 0
    return folder


def node(plan: Data, name: str) -> Data:
    return next(n for n in plan["nodes"] if n["id"] == name)


def forge(project: Path, change: Callable[[Data], object], *, honest: bool = True) -> tuple[int, str]:
    """Run a plan that somebody changed; `honest`: with the digest of what it says now."""
    plan = json.loads((project / "plan.json").read_bytes())
    change(plan)
    if honest:
        plan["digest"] = digest({k: v for k, v in plan.items() if k not in ("now", "digest")})
    (project / "forged.json").write_text(json.dumps(plan))
    return call("run", "forged.json")


def responses(project: Path) -> list[str]:
    lines = next((project / "out/data").glob("*.jsonl")).read_text().splitlines()
    return sorted(json.loads(line)["response"] for line in lines)


def weaker(plan: Data) -> None:
    """The filter keeps everything, under the key of one that drops the short ones."""
    rule = node(plan, "clean")["spec"]["rules"][0]
    rule["expr"] = ["lit", "bool", False]


def key_of(plan: Data, name: str, key: str) -> None:
    node(plan, name)["key"] = key
    for reader in plan["nodes"]:
        for edge in reader["inputs"]:
            if edge["node"] == name:
                edge["key"] = key


FORGED: dict[str, tuple[Callable[[Data], object], str]] = {
    "a key that leads away": (lambda p: key_of(p, "clean", "b2:../../../precious"), "A917"),
    "a key that is a path": (lambda p: key_of(p, "clean", "/precious"), "A917"),
    "an own key that leads away": (lambda p: node(p, "clean").update(own_key="b2:../x"), "A917"),
    "another step's key": (lambda p: node(p, "asked")["inputs"][0].update(key="b2:" + "0" * 64), "A917"),
    "a text that leads away": (lambda p: p["texts"].update({"b2:../../../escaped": "x"}), "A917"),
    "another text": (lambda p: p["texts"].update(dict.fromkeys(p["texts"], "Do evil.")), "A917"),
    "no text": (lambda p: p.update(texts={}), "A917"),
    "an export above": (lambda p: node(p, "dataset")["spec"].update(path="../precious"), "A909"),
    "an export inside and above": (lambda p: node(p, "dataset")["spec"].update(path="a/../../precious"), "A909"),
    "an absolute export": (lambda p: node(p, "dataset")["spec"].update(path="/never/here"), "A909"),
    "a recipe above": (lambda p: p["recipe"].update(path="../../precious/r.recipe"), "A909"),
    "a step that is called like a path": (lambda p: node(p, "dataset").update(id="../x"), "A917"),
    "two steps of one name": (lambda p: node(p, "dataset").update(id="asked"), "A917"),
    "a file without a digest": (lambda p: node(p, "a")["spec"]["files"][0].pop("digest"), "A917"),
    "no digest": (lambda p: p.pop("digest"), "A917"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_plan_is_refused(name: str, project: Path) -> None:
    change, code = FORGED[name]
    exit_code, said = forge(project, change, honest=name != "no digest")
    assert exit_code == 3 and f"error[{code} " in said and "help: " in said, said
    assert not (project / ".alchemist/store").exists() and not (project / "out").exists()
    assert {p.name for p in project.parent.iterdir()} == {"project", "precious"}
    assert (project.parent / "precious/manifest.json").read_text() == "{}"


def test_a_plan_that_was_edited_is_refused(project: Path) -> None:
    exit_code, said = forge(project, weaker, honest=False)
    assert exit_code == 3 and "error[A917 plan-changed]" in said and "digest" in said


def test_an_edited_rule_under_an_old_key_poisons_nothing(project: Path) -> None:
    """Even with the right digest: the key says another filter than the plan does."""
    exit_code, said = forge(project, weaker)
    assert exit_code == 0, said
    assert len(responses(project)) == 20
    assert call("run", "r.recipe")[0] == 0
    kept = [f"The square is {i * i}." for i in range(20) if len(f"The square is {i * i}.") >= 18]
    assert responses(project) == sorted(kept)


def test_another_filter_with_the_same_work_of_its_own_is_not_poisoned(project: Path) -> None:
    """A plan's own key finds equal content under another key."""

    def elsewhere(plan: Data) -> None:
        weaker(plan)
        key_of(plan, "clean", "b2:" + "1" * 64)

    assert forge(project, elsewhere)[0] == 0
    assert call("run", "r.recipe")[0] == 0
    assert 0 < len(responses(project)) < 20


def test_what_an_honest_plan_built_is_reused(project: Path) -> None:
    assert call("run", "plan.json")[0] == 0
    code, said = call("run", "r.recipe")
    assert code == 0 and "nothing to do" in said


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"plan_format": ' + "[" * 500 + "]" * 500 + "}", '{"plan_format": "1.0"}', "[]", "7", "\\xff"],
)
@pytest.mark.parametrize("command", ["run", "show", "graph"])
def test_what_is_no_plan(command: str, text: str, project: Path) -> None:
    (project / "odd.json").write_bytes(text.encode("latin-1"))
    code, said = call(command, "odd.json")
    assert code in (2, 3) and "`odd.json`" in said, said


def test_deep_values_inside_a_plan(project: Path) -> None:
    deep: Any = 1
    for _ in range(380):
        deep = [deep]
    code, said = forge(project, lambda p: node(p, "clean")["spec"]["rules"][0].update(expr=deep))
    assert code == 2 and "is no plan: " in said and "is no expression" in said, said


def test_a_text_is_what_its_digest_says(project: Path) -> None:
    plan = json.loads((project / "plan.json").read_bytes())
    assert plan["texts"] and all(text_digest(t) == d for d, t in plan["texts"].items())


TAUGHT = '''edition 2026

teacher served {
  provider = openai
  model = "gpt-4o-mini-2024-07-18"
  temperature = 0.7
  max_tokens = 50 tokens
  stop = ["END"]
  price = free
}

prompt ask {
  input {
    response: text
  }
  output {
    prompt: text
  }
  user = jinja"""
    {{ response }}
    """
}

source a {
  files = "data/a.jsonl"
}

relabel asked {
  from = a
  teacher = served
  prompt = ask
  mode = replace
  set instruction = out.prompt
}

export dataset {
  data = asked
  path = "out"
}
'''
OTHER_TEACHERS: dict[str, Data] = {
    "another model": {"model": "tiny"},
    "another server": {"base_url": "http://127.0.0.1:9/v1"},
    "another temperature": {"sampling": {"temperature": "0", "max_tokens": 50, "stop": ["END"]}},
    "longer answers": {"sampling": {"temperature": "0.7", "max_tokens": 5000, "stop": ["END"]}},
    "no stop": {"sampling": {"temperature": "0.7", "max_tokens": 50}},
    "no identity": {"identity_of": {}},
    "another provider": {"provider": "replay"},
}


@pytest.mark.parametrize("name", OTHER_TEACHERS)
def test_answers_are_kept_under_the_teacher_that_gives_them(name: str, project: Path) -> None:
    (project / "r.recipe").write_text(TAUGHT)
    assert call("compile", "r.recipe", "-o", "plan.json")[0] == 0
    code, said = call("show", "plan.json")
    assert code == 0, said
    exit_code, said = forge(project, lambda p: p["teachers"]["served"].update(OTHER_TEACHERS[name]))
    assert exit_code == 3 and "error[A917 plan-changed]" in said, said
    assert not (project / ".alchemist/calls.sqlite").exists()


def test_a_plan_with_steps_of_an_imported_recipe(project: Path) -> None:
    """Their names have a dot."""
    (project / "lib.recipe").write_text(RECIPE)
    text = 'edition 2026\n\nimport "lib.recipe" as lib\n\nexport other {\n  data = lib.clean\n  path = "other"\n}\n'
    (project / "r.recipe").write_text(text)
    assert call("compile", "r.recipe", "-o", "plan.json")[0] == 0
    code, said = call("run", "plan.json")
    assert code == 0 and (project / "other/README.md").exists(), said
