"""Runs of variants and grids: each has its own rows and its own folder, and shares what is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from e2e_cli import alchemist, built, exported, jsonl, refused, run

RECIPE = """edition 2026
param share: percent = 50%

source sums {
  files = "sums.jsonl"
}

map marked {
  from = sums
  select = param.share
  mode = replace
  set instruction = instruction + " Think."
}

export dataset {
  data = marked
  path = "out"
}

variant grid {
  set param.share = any(0%, 10%, 100%)
  set marked.mode = any(replace, add)
}

variant elsewhere {
  set param.share = 100%
  set dataset.path = "kept"
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "recipe.lock").touch()
    (tmp_path / "r.recipe").write_text(RECIPE)
    rows = ({"instruction": f"Add {i} and {i}.", "response": str(2 * i)} for i in range(40))
    jsonl(tmp_path / "sums.jsonl", rows)
    return tmp_path


def marked(folder: Path) -> tuple[int, int]:
    """Rows of an export, and how many of them carry the mark."""
    (file,) = folder.glob("data/*.parquet")
    asked = pq.read_table(file, columns=["instruction"])["instruction"].to_pylist()
    return len(asked), sum(text.endswith(" Think.") for text in asked)


def test_every_run_of_a_grid_has_its_own_rows_and_folder(project: Path) -> None:
    run("r.recipe", project)
    plain = exported(project)
    assert 10 < marked(project / "out")[1] < 30

    first = run("r.recipe", project, "--variant", "grid[100%,add]")
    assert built(first) == {"marked", "dataset"}, "the source is that of the recipe itself"
    assert marked(project / "out-grid-100%-add") == (80, 40)
    run("r.recipe", project, "--variant", "grid[100%,replace]")
    assert marked(project / "out-grid-100%-replace") == (40, 40)
    run("r.recipe", project, "--variant", "grid[0%,add]")
    assert marked(project / "out-grid-0%-add") == (40, 0)
    assert exported(project) == plain, "a variant leaves the recipe's own export alone"

    outputs = project / ".alchemist" / "outputs"
    assert (outputs / "r-grid-100%-add" / "marked").resolve() != (outputs / "r" / "marked").resolve()
    assert built(run("r.recipe", project)) == set()
    assert built(run("r.recipe", project, "--variant", "grid[100%, add]")) == set(), "a space is none"


def test_a_variant_that_names_a_folder_gets_it(project: Path) -> None:
    run("r.recipe", project, "--variant", "elsewhere")
    assert marked(project / "kept") == (40, 40)
    assert not (project / "out").exists()


def test_the_plan_names_the_run(project: Path) -> None:
    for spelled in ("grid[10%,add]", "grid[10%, add]"):
        done = alchemist("compile", "r.recipe", "--variant", spelled, "--format", "json", cwd=project)
        plan = json.loads(done.stdout)
        assert plan["variant"] == "grid[10%,add]"
        (share,) = plan["params"]
        assert (share["value"], share["origin"]) == ("10%", "variant")
        (path,) = [n["spec"]["path"] for n in plan["nodes"] if n["kind"] == "export"]
        assert path == "out-grid-10%-add"
    shown = alchemist("compile", "r.recipe", "--variant", "grid[10%,add]", cwd=project).stdout
    assert "variant grid[10%,add]" in shown and "share = 10% (variant)" in shown


@pytest.mark.parametrize("command", ["run", "compile", "check"])
@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("grid", "A122", "`grid[0%,replace]`, `grid[0%,add]` or `grid[10%,replace]`"),
        ("grid[10%,ad]", "A103", "`grid[10%,add]`"),
        ("gird", "A103", "`grid[0%,replace]`"),
        ("elswhere", "A103", "`elsewhere`"),
    ],
)
def test_a_run_that_is_not_there(project: Path, command: str, name: str, code: str, says: str) -> None:
    done = alchemist(command, "r.recipe", "--variant", name, cwd=project)
    refused(done, 1, code, says, at=None)
    assert not (project / "out").exists()
