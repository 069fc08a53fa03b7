"""What makes a step run again, as a user sees it: edits of a recipe between runs, with the offline teacher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from e2e_cli import ALCHEMIST, alchemist, built, calls, edit, exported, run
from killing import ended

RECIPE = '''edition 2026

import "std:alchemy" as alchemy

recipe {
  title = "A small one"
  seed = 3
}

teacher rules {
  provider = rules
  price = free
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
  user = jinja"""
    What does this answer do?
    {{ response }}
    It answers: {{ instruction }}
    """
}

source sums {
  files = "sums.jsonl"
}

filter clean {
  from = sums
  drop chars(response) < 60 as too_short
}

relabel harmonized {
  from = clean
  select = 5%
  teacher = rules
  prompt = ask
}

generate reviewed {
  from = clean
  select = 10%
  teacher = rules
  prompt = alchemy.review
}

task review {
  learn = reviewed.trace
}

task filtering {
  learn = clean.dropped
  classes {
    short_response = too_short
  }
  sound = 20%
}

mixture sft {
  unit = rows
  take {
    harmonized = all
    review = 5%
    filtering = 2%
  }
  on_short = shrink
}

export dataset {
  data = sft
  path = "out"
}
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_project(tmp_path)
    return tmp_path


def write_project(folder: Path) -> None:
    rows = []
    for i in range(400):
        body = f'def add_{i}(a, b):\n    """Add two numbers and {i}."""\n    total = a + b\n    return total + {i}\n'
        rows.append({"instruction": f"Add two numbers, and {i} to their sum.", "response": body if i % 10 else "No."})
    (folder / "sums.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "r.recipe").write_text(RECIPE)


def test_the_second_run_does_nothing(project: Path) -> None:
    first = run("r.recipe", project)
    assert built(first) >= {"sums", "clean", "harmonized", "review", "filtering", "sft", "dataset"}
    again = run("r.recipe", project)
    assert built(again) == set() and calls(again) == 0
    said = alchemist("run", "r.recipe", cwd=project)
    assert "nothing to do" in said.stdout


def test_comments_layout_and_order_run_nothing_again(project: Path) -> None:
    run("r.recipe", project)
    edit(project, "source sums {", "# where the sums come from\n## Sums.\nsource sums {")
    edit(project, "  select = 5%\n  teacher = rules\n", "  teacher   =   rules\n\n  select=5%   # the paper's best\n")
    assert built(run("r.recipe", project)) == set()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "A small one"', 'title = "Another one"', "Another one"),
        ("seed = 3", 'seed = 3\n  license = "CC-BY-4.0"', "license: cc-by-4.0"),
        ('files = "sums.jsonl"', 'files = "sums.jsonl"\n  license = "CC0-1.0"', "CC0-1.0"),
    ],
)
def test_what_only_the_card_says_writes_the_dataset_again(project: Path, old: str, new: str, said: str) -> None:
    run("r.recipe", project)
    card = project / "out" / "README.md"
    assert said not in card.read_text()
    edit(project, old, new)
    plan = json.loads(alchemist("compile", "r.recipe", "--format", "json", cwd=project).stdout)
    assert [n["id"] for n in plan["now"]["nodes"] if n["action"] == "build"] == ["dataset"]
    again = run("r.recipe", project)
    assert built(again) == {"dataset"} and calls(again) == 0
    assert said in card.read_text()
    assert built(run("r.recipe", project)) == set()


def test_one_prompt_moves_its_step_and_what_reads_it(project: Path) -> None:
    run("r.recipe", project)
    edit(project, "What does this answer do?", "Say what this answer does.")
    nodes = run("r.recipe", project)
    assert "harmonized" in built(nodes)
    assert not built(nodes) & {"sums", "clean", "reviewed", "review", "filtering"}


def test_a_larger_share_keeps_the_rows_it_had(project: Path) -> None:
    first = run("r.recipe", project)["harmonized"]
    edit(project, "select = 5%", "select = 9%")
    second = run("r.recipe", project)["harmonized"]
    before, after = (first["figures"]["calls_new"], second["figures"]["calls_new"] + second["figures"]["calls_cached"])
    assert second["figures"]["calls_cached"] == before
    assert after > before


def test_a_rename_of_a_step_that_draws_nothing_is_free(project: Path) -> None:
    run("r.recipe", project)
    text = (project / "r.recipe").read_text()
    (project / "r.recipe").write_text(text.replace("export dataset", "export finished"))
    assert built(run("r.recipe", project)) == set()


def test_two_folders_give_the_same_plan_and_data(tmp_path: Path) -> None:
    plans, data = [], []
    for name in ("one", "two/deeper"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        write_project(folder)
        made = alchemist("compile", "r.recipe", "--portable", "-o", "plan.json", cwd=folder)
        assert made.returncode == 0, made.stderr
        plans.append((folder / "plan.json").read_bytes())
        run("r.recipe", folder)
        data.append(exported(folder))
    assert plans[0] == plans[1]
    assert data[0] == data[1]


def test_a_plan_runs_without_its_recipe(project: Path) -> None:
    assert alchemist("compile", "r.recipe", "-o", "plan.json", cwd=project).returncode == 0
    run("r.recipe", project)
    expected = exported(project)
    for path in (project / "out").rglob("*"):
        if path.is_file():
            path.unlink()
    (project / "r.recipe").unlink()
    done = alchemist("run", "plan.json", cwd=project)
    assert done.returncode == 0, done.stderr
    assert exported(project) == expected


FAULTS = [
    "sums:write:1",
    "clean:write:2",
    "harmonized:write:1",
    "reviewed:write:1",
    "review:write:1",
    "filtering:write:1",
    "sft:write:1",
    "dataset:swap:1",
]


#: A run of the command line, with what it imports on its way.
GO = """
import alchemist_dsl.cli.run, alchemist_dsl.compiler, alchemist_dsl.project.workspace
from alchemist_dsl.cli.main import main
from alchemist_runtime.engine import dedup_steps, export_step, filter_map, local, mixture_rows, tasks, teacher_steps
def go():
    main(["run", "r.recipe"])
"""


def test_killed_in_any_step_the_run_goes_on(tmp_path: Path) -> None:
    kills = [f"kill@{fault}" for fault in FAULTS]
    folders = {fault: tmp_path / str(i) for i, fault in enumerate((*kills, "none"))}
    for folder in folders.values():
        folder.mkdir()
        write_project(folder)
    codes = ended(GO, folders)
    assert [codes[kill] for kill in kills] == [-signal.SIGKILL] * len(kills)
    undisturbed = exported(folders["none"])
    for fault in kills:
        nodes = run("r.recipe", folders[fault])
        assert exported(folders[fault]) == undisturbed, fault
        if fault.startswith("kill@harmonized"):  # answers that were committed are not asked for again
            assert nodes["harmonized"]["figures"]["calls_new"] == 0


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(project: Path) -> None:
    env = {**os.environ, "ALCHEMIST_FAULT": "interrupt@sft:write:1"}
    done = subprocess.run([*ALCHEMIST, "run", "r.recipe"], cwd=project, env=env, capture_output=True, text=True)
    assert done.returncode == 130
    assert "re-run the same command" in done.stderr and "harmonized" in done.stderr
    assert "sums" not in built(run("r.recipe", project))


def test_upto_stops_before_the_teacher(project: Path) -> None:
    nodes = run("r.recipe", project, "--upto", "clean")
    assert set(nodes) == {"sums", "clean"} and calls(nodes) == 0
    assert not (project / "out").exists()


def test_a_limited_run_moves_no_output(project: Path) -> None:
    nodes = run("r.recipe", project, "--limit", "50")
    assert nodes["sums"]["rows"] == 50
    assert not (project / "out").exists()
    assert not (project / "recipe.lock").exists()


def test_a_dry_run_does_nothing(project: Path) -> None:
    done = alchemist("run", "r.recipe", "--dry-run", cwd=project)
    assert done.returncode == 0 and "harmonized" in done.stdout
    assert not (project / ".alchemist" / "store").exists()
    assert not (project / "out").exists()
