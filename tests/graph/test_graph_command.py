"""`alchemist graph` as a user runs it: formats, files, states before and after a run, and what it says where it cannot
draw.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from alchemist_runtime.schema.plan import digest
from command_line import cli

RECIPE = """edition 2026

param least: int = 5

source given {
  files = "rows.jsonl"
}
filter clean {
  from = given
  drop chars(response) < param.least as too_short
}
export dataset {
  data = clean
  path = "out"
}
evaluate bench {
  model = small
  suites = items
}
suite items {
  files = "rows.jsonl"
  text = "instruction"
}
train small {
  data = clean
  init = scratch(layers = 1, hidden = 32)
  epochs = 1
  batch = 4 packs
  max_length = 64 tokens
  learning_rate = 1e-3
}
variant strict {
  set param.least = 20
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    rows = [{"instruction": f"q{i}", "response": "word " * i} for i in range(1, 9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "r.recipe").write_text(RECIPE)
    (tmp_path / "recipe.lock").touch()
    return tmp_path


def alchemist(*args: str, cwd: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"COLUMNS": "80"}
    return cli(*args, cwd=cwd, env=env, stdin=given)


def graph(*args: str, cwd: Path, code: int = 0, given: str = "") -> str:
    done = alchemist("graph", *args, cwd=cwd, given=given)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def states(cwd: Path, *more: str) -> dict[str, str]:
    found = json.loads(graph("r.recipe", "--format", "json", *more, cwd=cwd))
    return {n["id"]: n["state"] for n in found["nodes"]}


def test_states_follow_runs_and_changes(project: Path) -> None:
    fresh = states(project)
    assert fresh == {
        "given": "build",
        "clean": "build",
        "dataset": "build",
        "small": "build",
        "items": "skip",
        "bench": "not_run",
    }
    assert alchemist("run", "r.recipe", "--upto", "dataset", cwd=project).returncode == 0
    kept = {"given": "reuse", "clean": "reuse", "dataset": "reuse"}
    assert states(project) == fresh | kept
    text = graph("r.recipe", cwd=project)
    assert "○ 3 reuse" in text and "× 1 not run by this version" in text
    changed = states(project, "--set", "least=20")
    assert changed == fresh | {"given": "reuse"}
    why = json.loads(graph("r.recipe", "--format", "json", "--set", "least=20", cwd=project))
    assert any("too_short" in w for n in why["nodes"] if n["id"] == "clean" for w in n["why"])
    assert states(project, "--variant", "strict") == changed
    assert set(states(project, "--upto", "clean")) == {"given", "clean"}


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("g.txt", "r.recipe · plan "),
        ("g.mmd", "flowchart TD\n"),
        ("g.svg", "<svg "),
        ("g.HTML", "<!doctype html>"),
        ("g.json", "{\n"),
        ("g", "r.recipe · plan "),
    ],
)
def test_the_end_of_a_files_name_chooses_the_format(project: Path, name: str, starts: str) -> None:
    assert graph("r.recipe", "-o", name, cwd=project) == ""
    written = (project / name).read_text("utf-8")
    assert written.startswith(starts) and "\x1b" not in written
    assert graph("r.recipe", "-o", name, "--format", "svg", cwd=project) == ""
    ET.parse(project / name)


def test_a_plan_file_is_drawn_as_it_was_made(project: Path) -> None:
    assert alchemist("compile", "r.recipe", "-o", "plan.json", cwd=project).returncode == 0
    for form in ("text", "mermaid", "svg", "html", "json"):
        of_plan = graph("plan.json", "--format", form, cwd=project)
        assert of_plan == graph("r.recipe", "--format", form, cwd=project)
    part = json.loads(graph("plan.json", "--format", "json", "--upto", "clean", cwd=project))
    assert [n["id"] for n in part["nodes"]] == ["given", "clean"]
    assert alchemist("compile", "r.recipe", "--portable", "-o", "p.json", cwd=project).returncode == 0
    portable = json.loads(graph("p.json", "--format", "json", cwd=project))
    assert {n["state"] for n in portable["nodes"]} == {"planned", "not_run"}
    assert graph("-", cwd=project, given=RECIPE).startswith("-")


def test_what_cannot_be_drawn_is_said(project: Path) -> None:
    assert "did you mean `r.recipe`?" in graph("q.recipe", cwd=project, code=2)
    assert "A912" in graph("r.recipe", "--upto", "cleen", cwd=project, code=1)
    assert "usage" in graph("r.recipe", "--format", "dot", cwd=project, code=2).lower()
    assert "`r.recipe` is the input" in graph("r.recipe", "-o", "r.recipe", cwd=project, code=2)
    assert (project / "r.recipe").read_text() == RECIPE
    error = graph("r.recipe", "-o", "none/g.svg", cwd=project, code=3)
    assert error.startswith("error: `none/g.svg` cannot be written: ")
    (project / "bad.recipe").write_text(RECIPE.replace("from = given", "from = gven"))
    assert "`given`" in graph("bad.recipe", cwd=project, code=1)
    alchemist("compile", "r.recipe", "-o", "plan.json", cwd=project)
    assert "did you mean `clean`?" in graph("plan.json", "--upto", "cleen", cwd=project, code=2)
    assert "there is no plan `plam.json`; did you mean `plan.json`?" in graph("plam.json", cwd=project, code=2)
    (project / "x.json").write_text("{}")
    assert "does not say its `plan_format`" in graph("x.json", cwd=project, code=2)
    assert "belong to a recipe" in graph("plan.json", "--set", "least=3", cwd=project, code=2)


def test_a_cut_plan_is_no_plan(project: Path) -> None:
    alchemist("compile", "r.recipe", "-o", "plan.json", cwd=project)
    plan = json.loads((project / "plan.json").read_text())
    plan["nodes"] = [n for n in plan["nodes"] if n["id"] != "given"]
    (project / "cut.json").write_text(json.dumps(plan))
    said = graph("cut.json", cwd=project, code=3)
    assert "A917" in said and "`cut.json` is not as the compiler wrote it" in said
    plan["digest"] = digest({k: v for k, v in plan.items() if k not in ("now", "digest")})
    (project / "cut.json").write_text(json.dumps(plan))
    said = graph("cut.json", cwd=project, code=2)
    assert "`cut.json` is no plan: `clean` reads `given`, which does not stand before it" in said


def test_a_recipe_that_asks_for_nothing_has_no_steps(project: Path) -> None:
    (project / "r.recipe").write_text("edition 2026\n")
    done = alchemist("graph", "r.recipe", cwd=project)
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr
    if done.returncode == 0:
        assert "no steps" in done.stdout
        for form in ("mermaid", "svg", "html", "json"):
            graph("r.recipe", "--format", form, cwd=project)


@pytest.mark.parametrize("no_color", [False, True])
def test_colour_only_on_a_terminal(project: Path, no_color: bool) -> None:
    outer, inner = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | ({"NO_COLOR": "1"} if no_color else {})
    done = subprocess.Popen(
        [sys.executable, "-m", "alchemist_dsl", "graph", "r.recipe"], cwd=project, env=env, stdout=inner, stdin=inner
    )
    os.close(inner)
    seen = b""
    try:
        while more := os.read(outer, 4096):
            seen += more
    except OSError:  # the other end is closed
        pass
    assert done.wait(60) == 0
    os.close(outer)
    assert (b"\x1b[" in seen) is not no_color
    assert "\x1b[" not in graph("r.recipe", cwd=project)
