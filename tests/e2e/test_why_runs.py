"""`alchemist why` over real runs: what it says would run is what a run then builds, and old texts are shown in
words.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e_cli import alchemist, edit, jsonl, run

RECIPE = '''edition 2026

recipe {
  seed = 5
}

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
  user = jinja"""
    What does this answer do?
    {{ response }}
    It answers: {{ instruction }}
    """
}

source sums {
  files = "data/*.jsonl"
}

filter clean {
  from = sums
  drop chars(response) < 50 as too_short
}

dedup pool {
  from = clean
}

relabel harmonized {
  from = pool
  select = 10%
  teacher = rules
  prompt = ask
}

mixture sft {
  unit = rows
  take {
    harmonized = all
  }
}

export dataset {
  data = sft
  path = "out"
}
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for part in "ab":
        jsonl(
            tmp_path / f"data/{part}.jsonl",
            (
                {
                    "instruction": f"Add two numbers and {part}{i}.",
                    "response": f'def add_{part}{i}(a, b):\n    """Add {i}."""\n    return a + b + {i}\n',
                }
                for i in range(60)
            ),
        )
    (tmp_path / "r.recipe").write_text(RECIPE)
    run("r.recipe", tmp_path)
    return tmp_path


def rerun(project: Path) -> dict[str, Any]:
    done = alchemist("why", "--rerun", "--format", "json", cwd=project)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def worked_on(nodes: dict[str, dict[str, Any]]) -> set[str]:
    """What a run did not just take as it was; a result of equal content counts, for nobody knows that before."""
    return {name for name, n in nodes.items() if n["action"] in ("built", "equal")}


def drop(project: Path, *names: str) -> None:
    for name in names:
        link = project / ".alchemist/outputs/r" / name
        shutil.rmtree(link.resolve())


def test_what_is_said_to_run_again_is_what_runs(project: Path) -> None:
    assert rerun(project)["rerun"] == []
    edit(project, "select = 10%", "select = 20%")
    told = rerun(project)
    assert [(c["root"], c["words"]) for c in told["causes"]] == [("harmonized", "of `harmonized`: `select` 10% -> 20%")]
    assert worked_on(run("r.recipe", project)) == set(told["rerun"])


@pytest.mark.parametrize(
    "gone, change, reads",
    [
        (["sums"], ("prompt = ask", "prompt = ask\n  on_long = truncate"), {"sums"}),
        (["clean"], ("select = 10%", "select = 30%"), {"clean"}),
        (["sums", "pool"], ("select = 10%", "select = 30%"), {"sums", "pool"}),
        (["dataset"], None, {"dataset"}),
        (["sums", "clean"], None, set()),
    ],
)
def test_results_that_somebody_took_out_of_the_store(
    project: Path, gone: list[str], change: tuple[str, str] | None, reads: set[str]
) -> None:
    """The plan says what a run makes again: what it reads, and what that only shows, and no more."""
    drop(project, *gone)
    if change is not None:
        edit(project, *change)
    told = rerun(project)
    words = {s["node"]: c["words"] for c in told["causes"] for s in c["steps"]}
    lost = {n for n, said in words.items() if "no longer stored" in said or "is gone" in said or "are gone" in said}
    assert lost == reads
    assert worked_on(run("r.recipe", project)) == set(told["rerun"])


def test_an_old_prompt_and_an_old_file_are_still_known(project: Path) -> None:
    edit(project, "It answers: {{ instruction }}", "It should answer: {{ instruction }}")
    (project / "data/b.jsonl").unlink()
    said = alchemist("why", "harmonized", cwd=project).stdout
    assert "~ `user` of prompt `ask`: 1 word removed, 2 added" in said
    assert "It {+should answer+}[-answers-]: {{ instruction }}" in said or "It [-answers-]{+should answer+}:" in said
    assert "because of `sums`: file `data/b.jsonl` is gone (sums → clean → pool → harmonized)" in said
    data = json.loads(alchemist("why", "sums", "--format", "json", cwd=project).stdout)
    assert sorted(data["before"]["files"]) == ["data/a.jsonl", "data/b.jsonl"]


def test_a_change_that_was_built_in_part_is_still_the_cause(project: Path) -> None:
    edit(project, "< 50", "< 52")
    assert set(run("r.recipe", project, "--upto", "clean")) == {"sums", "clean"}
    told = rerun(project)
    assert [c["root"] for c in told["causes"]] == ["clean"]
    assert "clean" not in told["rerun"]
    assert worked_on(run("r.recipe", project)) == set(told["rerun"])
    assert rerun(project)["rerun"] == []
