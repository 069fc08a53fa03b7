"""`alchemist graph --against`: what changed since another side, drawn."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from alchemist_dsl.cli.main import group

RECIPES = Path(__file__).parents[2] / "recipes"
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(RECIPES, tmp_path / "recipes")
    subprocess.run([*GIT, "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([*GIT, "add", "-A"], cwd=tmp_path, check=True)
    subprocess.run([*GIT, "commit", "-qm", "before"], cwd=tmp_path, check=True)
    recipe = tmp_path / "recipes" / "quickstart.recipe"
    text = recipe.read_text("utf-8").replace("select = 8%", "select = 10%")
    for line in ("    evolution_clean = 3%\n", "  set sft.take.evolution_clean = null\n"):
        assert line in text
        text = text.replace(line, "")
    recipe.write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def marks(*args: str) -> dict[str, str]:
    done = CliRunner().invoke(group, ["graph", *args, "--format", "json"])
    assert done.exit_code == 0, done.output
    return {n["id"]: n["mark"] for n in json.loads(done.stdout)["nodes"]}


@pytest.mark.parametrize("side", ["HEAD", "HEAD:recipes/quickstart.recipe"])
def test_steps_are_marked_by_what_became_of_them(project: Path, side: str) -> None:
    found = marks("recipes/quickstart.recipe", "--against", side)
    assert found["evolved"] == "changed" and found["sft"] == "changed"
    assert found["evolution"] == "removed"
    assert found["harmonized"] == "indirect" and found["tiny"] == "indirect"
    assert found["clean"] == "unchanged"


def test_a_plan_file_is_a_side(project: Path) -> None:
    made = CliRunner().invoke(group, ["compile", "recipes/quickstart.recipe", "-o", "plan.json"])
    assert made.exit_code == 0
    assert set(marks("recipes/quickstart.recipe", "--against", "plan.json").values()) == {"unchanged"}


@pytest.mark.parametrize(
    ("side", "code", "words"),
    [
        ("nope", 2, "there is no git revision `nope`"),
        ("HEAD:recipes/quickstar.recipe", 2, "did you mean `recipes/quickstart.recipe`?"),
    ],
)
def test_what_is_no_side_is_said(project: Path, side: str, code: int, words: str) -> None:
    done = CliRunner().invoke(group, ["graph", "recipes/quickstart.recipe", "--against", side])
    assert done.exit_code == code and words in done.stderr


def test_a_side_that_does_not_compile_is_never_unchanged(project: Path) -> None:
    recipe = project / "recipes" / "quickstart.recipe"
    recipe.write_text(recipe.read_text("utf-8").replace("from = pool", "from = pol"), "utf-8")
    done = CliRunner().invoke(group, ["graph", "recipes/quickstart.recipe", "--against", "HEAD"])
    assert done.exit_code == 1
    assert "does not compile" in done.stderr and "nothing is called `pol`" in done.stderr
