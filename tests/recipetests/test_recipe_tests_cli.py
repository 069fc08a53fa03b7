"""`alchemist test` as a process: choices, exit codes, folders, and that tests stand in no key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import cli
from recipe_tests import BASE, HERE, alchemist, project, timeless

PASSES = '\ntest "kept" {\n  step = clean\n  given = { response = "long enough to stay" }\n  expect rows == 1\n}\n'
FAILS = PASSES.replace('"kept"', '"lost"').replace("rows == 1", "rows == 0")
TOO_FEW = '\ntest "too few" {\n  step = marked\n  given = { instruction = "a", response = "b" }\n  reply = []\n  expect rows == 1\n}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return project(tmp_path)


@pytest.mark.parametrize(
    ("tests", "code"),
    [("", 0), (PASSES, 0), (PASSES + FAILS, 1), (PASSES + TOO_FEW, 3), (FAILS + TOO_FEW, 1), ("\nmap x {\n", 1)],
)
def test_exit_codes(tests: str, code: int, folder: Path) -> None:
    (folder / "r.recipe").write_text(BASE + tests)
    done = alchemist("test", "r.recipe", cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_recipe_without_tests_says_so(folder: Path) -> None:
    (folder / "r.recipe").write_text(BASE)
    done = alchemist("test", "r.recipe", cwd=folder)
    assert timeless(done.stdout) == "r.recipe\n  no tests\n\n0 tests: nothing was carried out in N s\n"


def test_chosen_by_name_and_by_step(folder: Path) -> None:
    (folder / "r.recipe").write_text(BASE + PASSES + FAILS + TOO_FEW)
    assert alchemist("test", "r.recipe", "-k", "KEPT", cwd=folder).returncode == 0
    assert alchemist("test", "r.recipe", "-k", "marked", cwd=folder).returncode == 3
    none = alchemist("test", "r.recipe", "-k", "loost", cwd=folder)
    assert none.returncode == 2 and "`lost`" in none.stderr


def test_all_recipes_of_the_folder(folder: Path) -> None:
    (folder / "a.recipe").write_text(BASE + PASSES)
    (folder / "b.recipe").write_text("edition 2026\nmap x {\n")
    done = alchemist("test", "--format", "json", "--junit", "o.xml", cwd=folder)
    said = json.loads(done.stdout)
    assert [r["recipe"] for r in said["recipes"]] == ["a.recipe", "b.recipe"]
    assert said["recipes"][1]["diagnostics"] and said["passed"] == 1 and done.returncode == 1
    assert 'errors="1"' in (folder / "o.xml").read_text()
    assert alchemist("test", folder / "data", cwd=folder).returncode == 2


def test_what_cannot_be_opened(folder: Path) -> None:
    (folder / "near.recipe").write_text(BASE)
    gone = alchemist("test", "nera.recipe", cwd=folder)
    assert gone.returncode == 2 and "did you mean `near.recipe`?" in gone.stderr
    blocked = alchemist("test", "near.recipe", "--junit", "no/such/o.xml", cwd=folder)
    assert blocked.returncode == 2 and "cannot be written" in blocked.stderr


def test_tests_of_imports_are_not_run_and_those_of_a_base_are(folder: Path) -> None:
    (folder / "lib.recipe").write_text(BASE + FAILS)
    (folder / "one.recipe").write_text(
        'edition 2026\nimport "lib.recipe" as lib\nexport x {\n  data = lib.clean\n  path = "x"\n}\n'
    )
    done = alchemist("test", "one.recipe", cwd=folder)
    assert done.returncode == 0 and "no tests" in done.stdout
    (folder / "base.recipe").write_text(BASE + PASSES)
    (folder / "two.recipe").write_text(
        'edition 2026\nrecipe {\n  extends = "base.recipe"\n}\nfilter clean {\n  from = pairs\n  drop chars(response) < 100 as too_short\n}\n'
    )
    done = alchemist("test", "two.recipe", cwd=folder)
    assert done.returncode in (0, 1), done.stderr
    assert "kept (clean" in done.stdout


def test_shipped_recipes_pass(tmp_path: Path) -> None:
    root = HERE.parents[1]
    for name in ("quickstart", "alchemistcoder"):
        done = alchemist("test", f"recipes/{name}.recipe", "--format", "json", cwd=root)
        said = json.loads(done.stdout)
        assert done.returncode == 0, done.stdout
        assert said["passed"] == {"quickstart": 3, "alchemistcoder": 2}[name]


def test_tests_stand_in_no_key(folder: Path) -> None:
    keys = []
    for tests in ("", PASSES + TOO_FEW):
        (folder / "r.recipe").write_text(BASE.replace("against = alchemy.humaneval", "against = pairs") + tests)
        done = alchemist("compile", "r.recipe", "--format", "json", cwd=folder)
        assert done.returncode == 0, done.stderr
        plan = json.loads(done.stdout)
        keys.append({n["id"]: (n["key"], n["meta_key"]) for n in plan["nodes"]})
    assert keys[0] == keys[1] and len(keys[0]) >= 6


def test_standard_input(folder: Path) -> None:
    done = cli("test", "-", cwd=folder, stdin=BASE + PASSES)
    assert done.returncode == 0 and re.search(r"ok +kept", done.stdout), done.stderr


def test_a_count_comes_before_a_column_of_its_name(folder: Path) -> None:
    """`rows` counts; `row["rows"]` and `row.rows` read the column."""
    recipe = BASE.replace("  from = pairs\n", "  from = named\n") + (
        "map named {\n  from = pairs\n  set rows = 7\n}\n"
        'test "t" {\n  step = clean\n  given = [{ response = "long enough to stay", rows = 5 }]\n'
        '  expect rows == 1\n  expect row["rows"] == 5\n  expect row.rows == 5\n}\n'
    )
    (folder / "r.recipe").write_text(recipe)
    done = alchemist("test", "r.recipe", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
