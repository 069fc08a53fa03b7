"""`alchemist diff --data` as a user runs it: a recipe run twice with an edit between, exported folders, what is
missing, exit codes.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from command_line import cli
from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).resolve().parents[2] / "docs/schemas"
RECIPE = '''edition 2026

recipe {
  title = "Small"
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
  files = "sums.jsonl"
}

filter clean {
  from = sums
  drop chars(response) < 60 as too_short
}

relabel harmonized {
  from = clean
  select = 50%
  teacher = rules
  prompt = ask
}

mixture sft {
  unit = rows
  take {
    harmonized = 2x
  }
}

export done {
  data = sft
  path = "done"
}
'''


def alchemist(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("ALCHEMIST_")}
    return cli(*args, cwd=cwd, env={**env, "COLUMNS": "100"})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe in two versions, both carried out; of a third one nothing was run."""
    root = tmp_path_factory.mktemp("project")
    rows = [
        {
            "instruction": f"Add up the first {i} numbers in python",
            "response": "Here is how:\n\n```python\ndef total(n):\n    return sum(range(n))\n```\n"
            + "It adds them. " * (i % 4)
            + f"({i})",
        }
        for i in range(80)
    ]
    (root / "sums.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (root / "recipe.lock").write_text("")
    for name, text in (("a", RECIPE), ("b", RECIPE.replace("< 60", "< 80").replace("50%", "60%"))):
        (root / f"{name}.recipe").write_text(text)
        done = alchemist("run", f"{name}.recipe", cwd=root)
        assert done.returncode == 0, done.stdout + done.stderr
        (root / "done").rename(root / f"done-{name}")
    (root / "c.recipe").write_text(RECIPE.replace("< 60", "< 90"))
    return root


def test_what_a_stricter_rule_and_a_larger_share_did(project: Path) -> None:
    done = alchemist("diff", "a.recipe", "b.recipe", "--data", "--format", "json", cwd=project)
    assert done.returncode == 0, done.stderr
    whole = json.loads(done.stdout)
    schema = json.loads((SCHEMAS / "diff.json").read_text())
    Draft202012Validator(schema).validate(whole)
    [found] = whole["data"]
    assert found["path"] == "b.recipe" and found["outcome"] == "different"
    steps = {s["after"]: s for s in found["steps"]}
    assert steps["sums"]["state"] == "same"
    [rows, dropped] = steps["clean"]["ports"]
    assert rows["removed"] == dropped["added"] > 0 == rows["added"] == rows["changed"]
    [move] = steps["clean"]["moves"]
    assert (move["rule"], move["to"], move["rows"]) == ("too_short", "dropped", rows["removed"])
    relabeled = next(p for p in steps["harmonized"]["ports"] if p["port"] == "rows")
    assert [c["name"] for c in relabeled["columns"]] == ["instruction", "made_by"]
    trace = next(p for p in steps["harmonized"]["ports"] if p["port"] == "trace")
    assert trace["added"] >= relabeled["changed"] > 0  # the rows that the larger share asks about
    mixed, written = steps["sft"]["ports"][0], steps["done"]["ports"][0]
    assert mixed["removed"] == 2 * rows["removed"] == written["removed"]
    assert mixed["changed"] == 2 * relabeled["changed"] == written["changed"]
    shown = alchemist("diff", "a.recipe", "b.recipe", "--data", cwd=project)
    assert "now dropped by rule too_short" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 100 and "\x1b" not in shown.stdout
    page = alchemist("diff", "a.recipe", "b.recipe", "--data", "--format", "markdown", cwd=project)
    assert "| ✏️ clean |" in page.stdout and "<ins>" in page.stdout


def test_exported_folders(project: Path) -> None:
    done = alchemist("diff", "--data", "done-a", "done-b", "--exit-code", cwd=project)
    assert done.returncode == 2, done.stderr
    assert "column instruction: changed in" in done.stdout
    same = alchemist("diff", "--data", "done-a", "done-a", "--exit-code", cwd=project)
    assert (same.returncode, same.stdout) == (0, "data: the same on both sides\n")


def test_a_version_that_was_not_run_is_no_equal_one(project: Path) -> None:
    done = alchemist("diff", "a.recipe", "c.recipe", "--data", "--exit-code", cwd=project)
    assert done.returncode == 3
    assert "not materialised after the change: clean" in done.stdout
    assert "`alchemist run c.recipe`" in done.stdout and "makes them" in done.stdout
    found = json.loads(alchemist("diff", "a.recipe", "c.recipe", "--data", "--format", "json", cwd=project).stdout)
    assert found["data"][0]["outcome"] == "incomplete"


def test_a_damaged_shard_ends_with_its_name(project: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(project, copy, symlinks=True)
    for shard in (copy / ".alchemist/store").glob("*/set-00000.parquet"):
        shard.write_bytes(b"PAR1")
    done = alchemist("diff", "a.recipe", "b.recipe", "--data", cwd=copy)
    assert done.returncode == 3
    assert "error[A907 damaged-store]" in done.stdout and "set-00000.parquet" in done.stdout
    assert "our bug" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--data", "done-a", "nowhere.jsonl"), 3, "no such file"),
        (("--data", "done-a", "a.recipe"), 2, "holds no rows"),
        (("--data", "done-a"), 2, "name two exported folders"),
        (("a.recipe", "b.recipe", "--samples", "2"), 2, "--samples is about --data"),
        (("done-a", "done-b"), 2, "--data"),
        (("--data", ".alchemist", "done-a"), 3, "no `export` wrote"),
    ],
)
def test_what_cannot_be_asked_is_said(project: Path, args: tuple[str, ...], code: int, says: str) -> None:
    done = alchemist("diff", *args, cwd=project)
    assert (done.returncode, says in done.stderr) == (code, True), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
