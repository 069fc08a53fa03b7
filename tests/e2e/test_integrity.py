"""Damaged bytes: whatever is flipped, cut or deleted in what a project keeps, a run that says 0 wrote the right data."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from e2e_cli import exported, jsonl

from alchemist_dsl.cli.main import group

EVERY = os.environ.get("ALCHEMIST_TEST_ALL") == "1"
TRIALS = 200 if EVERY else 16

RECIPE = """edition 2026

teacher rules {
  provider = rules
}

prompt ask {
  rules = describe
  input {
    instruction: text
    response: text
  }
  output {
    prompt: text
  }
}

source a {
  files = "data/a.jsonl"
}

suite items {
  files = "data/items.jsonl"
  text = ["prompt"]
  id = "id"
}

filter clean {
  from = a
  drop chars(response) < 24 as short
}

map tagged {
  from = clean
  set topic = "squares"
}

dedup once {
  from = tagged
  method = exact()
}

decontaminate safe {
  from = once
  against = items
}

relabel asked {
  from = safe
  teacher = rules
  prompt = ask
  mode = replace
  set instruction = out.prompt
}

mixture sft {
  total = 60 rows
  take {
    asked = rest
  }
}

export dataset {
  data = sft
  path = "out"
}
"""
#: What a person changes between the two runs: nothing, the last step, an early one, and the export is gone.
EDITS = {
    "nothing": ("", ""),
    "format": ('path = "out"', 'path = "out"\n  format = jsonl'),
    "filter": ("< 24", "< 25"),
    "gone": ("", ""),
}


def run(project: Path, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(
        group, ["run", str(project / "r.recipe"), *more], catch_exceptions=True
    )
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return 4, repr(done.exception)
    return done.exit_code, done.output


def data(project: Path) -> dict[str, str]:
    """Digests of the exported rows; the card holds the day."""
    return {n: d for n, d in exported(project).items() if "/data/" in n}


def edited(project: Path, edit: str) -> Path:
    recipe = project / "r.recipe"
    recipe.write_text(recipe.read_text().replace(*EDITS[edit], 1))
    if edit == "gone":
        shutil.rmtree(project / "out")
    return project


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every step is finished."""
    project = tmp_path_factory.mktemp("kept") / "project"
    rows = [
        {
            "instruction": f"Write a function that returns the square of {i % 90} and tell how.",
            "response": f"def square():\n    return {i % 90} ** 2" + " # yes" * (i % 7),
        }
        for i in range(120)
    ]
    jsonl(project / "data/a.jsonl", rows)
    jsonl(project / "data/items.jsonl", [{"id": "1", "prompt": "return the square of " * 9}])
    (project / "r.recipe").write_text(RECIPE)
    code, said = run(project)
    assert code == 0, said
    return project


@pytest.fixture(scope="module")
def right(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each edit exports where nothing is damaged."""
    out = {}
    for edit in EDITS:
        project = tmp_path_factory.mktemp(edit) / "project"
        shutil.copytree(kept, project, symlinks=True)
        code, said = run(edited(project, edit))
        assert code == 0, said
        out[edit] = data(project)
    return out


def victims(project: Path) -> list[Path]:
    places = (project / ".alchemist", project / "out", project / "recipe.lock")
    files: Iterator[Path] = (f for p in places for f in ([p] if p.is_file() else p.rglob("*")))
    wanted = (f for f in files if f.is_file() and not f.is_symlink())
    return sorted(f for f in wanted if f.suffix not in (".lock", ".log") or f.name == "recipe.lock")


def damage(file: Path, how: str, dice: random.Random) -> None:
    if how == "delete":
        file.unlink()
        return
    content = bytearray(file.read_bytes())
    if how == "cut":
        del content[dice.randrange(len(content) + 1) :]
    elif content:
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    file.write_bytes(content)


@pytest.mark.parametrize("trial", range(TRIALS))
def test_flips_and_deletions(
    trial: int, kept: Path, right: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    dice = random.Random(f"damage {trial}")
    project = tmp_path / "project"
    shutil.copytree(kept, project, symlinks=True)
    file = dice.choice(victims(project))
    how = dice.choice(["flip", "flip", "cut", "delete"])
    edit = dice.choice(list(EDITS))
    damage(file, how, dice)
    code, said = run(edited(project, edit))
    told = f"{how} {file.relative_to(project)}, {edit}: {said}"
    assert code in (0, 1, 3), told
    if code == 0:
        assert data(project) == right[edit], told
    else:
        assert "error[A" in said and "help: " in said, told


def result(project: Path, kind: str) -> Path:
    """The folder of the finished step of a kind."""
    for manifest in (project / ".alchemist/store").glob("*/manifest.json"):
        if json.loads(manifest.read_bytes()).get("kind") == kind:
            return manifest.parent
    raise AssertionError(f"no {kind} is finished")


@pytest.mark.parametrize("edit", ["format", "gone", "filter"])
@pytest.mark.parametrize("kind", ["suite", "source", "decontaminate", "relabel"])
def test_a_result_that_was_deleted(
    kind: str, edit: str, kept: Path, right: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """Also of a step whose rows nobody shows: the card tells of all of them."""
    project = tmp_path / "project"
    shutil.copytree(kept, project, symlinks=True)
    shutil.rmtree(result(project, kind))
    code, said = run(edited(project, edit))
    assert code == 0, said
    assert data(project) == right[edit]
    lost = "its result is no longer in the store" in (project / "out/README.md").read_text()
    assert lost == (kind == "suite" and edit != "filter")
