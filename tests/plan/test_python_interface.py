"""The functions of `alchemist_dsl`: what its page says runs, and every way out is an exception with a place."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import alchemist_dsl
from alchemist_dsl import RecipeError, RunError, check, compile, diff, run

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """edition 2026
param least: int = 4
source notes {
  files = "notes.jsonl"
}
filter long {
  from = notes
  keep words(response) >= param.least as too_short
}
export data {
  data = long
  path = "out"
}
check enough {
  expect rows(long) >= 2 rows
}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipe.lock").write_text("")
    (tmp_path / "r.recipe").write_text(RECIPE)
    answers = ["one two three four five", "six seven eight nine ten eleven", "short"]
    (tmp_path / "notes.jsonl").write_text(
        "".join(f'{{"instruction": "say {i}", "response": "{a}"}}\n' for i, a in enumerate(answers))
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "recipes"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "python.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(examples) == 4
    exec("\n".join(examples), {})


def test_a_run_gives_steps_and_verdicts(project: Path) -> None:
    assert check("r.recipe").ok
    made = compile("r.recipe")
    assert made.plan is not None and made.plan.now is not None
    assert {n.id: n.action for n in made.plan.now.nodes} == dict.fromkeys(("notes", "long", "data"), "build")
    assert (project / "recipe.lock").read_text() == ""  # compile writes nothing
    ran = run("r.recipe")
    assert ran.ok and {n: s.rows for n, s in ran.steps.items() if n != "data"} == {"notes": 3, "long": 2}
    assert [(c.id, verdict) for c, verdict, _ in ran.verdicts] == [("enough", "pass")]
    again = run("r.recipe", params={"least": 6})
    assert not again.ok and again.steps["long"].rows == 1
    assert {n: s.action for n, s in again.steps.items()} == {"notes": "reused", "long": "built", "data": "built"}


def test_what_is_wrong_is_an_exception_with_its_place(project: Path) -> None:
    (project / "wrong.recipe").write_text(RECIPE.replace("from = notes", "from = note"))
    found = check("wrong.recipe")
    assert not found.ok and [d.code for d in found.diagnostics] == ["A103"]
    assert compile("wrong.recipe").plan is None
    with pytest.raises(RecipeError, match=r"wrong\.recipe:7:10: .*A103") as caught:
        run("wrong.recipe")
    assert [d.code for d in caught.value.diagnostics] == ["A103"]
    assert not (project / ".alchemist" / "store").exists()
    with pytest.raises(FileNotFoundError):
        check("nowhere.recipe")
    with pytest.raises(ValueError, match="there is no recipe"):
        diff("nowhere.recipe", "r.recipe")


def test_nothing_is_spent_without_a_budget(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    paid = RECIPE.replace(
        "export data {\n  data = long",
        """teacher dear {
  provider = openai
  model = "gpt-4o-2024-08-06"
  price {
    input = $2.5 per 1M tokens
    output = $10 per 1M tokens
  }
}
prompt again {
  user = "Say {{ instruction }} again."
  input {
    instruction: text
  }
  output {
    text: text
  }
}
generate more {
  from = long
  teacher = dear
  prompt = again
  set response = out.text
}
export data {
  data = more""",
    )
    (project / "paid.recipe").write_text(paid)
    with pytest.raises(RunError) as caught:
        run("paid.recipe")
    assert caught.value.problem.code == "A709"
    assert "new calls to dear" in caught.value.problem.headline


def test_diff_says_what_a_change_means(project: Path) -> None:
    (project / "b.recipe").write_text(RECIPE.replace("int = 4", "int = 5"))
    made = diff("r.recipe", "b.recipe")
    assert made.changed and [n.id for n in made.recipes[0].nodes if n.direct] == ["long"]
    assert not diff("r.recipe", "r.recipe").changed


def test_the_package_loads_nothing_by_itself() -> None:
    code = "import sys, alchemist_dsl; print(len([m for m in sys.modules if m.startswith('alchemist')]))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
    with pytest.raises(AttributeError):
        _ = alchemist_dsl.nothing  # type: ignore[attr-defined]
