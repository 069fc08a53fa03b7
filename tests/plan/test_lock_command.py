"""`alchemist lock` as a command over projects on disk: what it writes, leaves, tells and takes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from alchemist_dsl.cli.lock import lock
from alchemist_dsl.project.lockfile import dumps, loads

VARIANTS = """
variant cheaper {
  set paid.price.input = $1 per 1M tokens
}
"""


def call(*args: object) -> Result:
    made = CliRunner().invoke(lock, [str(a) for a in args])
    if made.exception is not None and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made


def text(work: Any) -> str:
    return str((work.root / "recipe.lock").read_text())


def add_row(work: Any, file: str = "data/a.jsonl") -> None:
    with (work.root / file).open("a") as out:
        out.write('{"instruction": "x", "response": "y", "lang": "python"}\n')


@pytest.fixture
def here(work, monkeypatch):
    monkeypatch.chdir(work.root)
    return work


def test_every_recipe_is_locked_and_a_second_call_writes_nothing(here, full, slice_):
    here.write(full)
    (here.root / "sub").mkdir()
    (here.root / "sub/other.recipe").write_text(slice_.replace("data/a", "../data/a"))
    made = call()
    assert made.exit_code == 0, made.output
    known = loads(text(here))
    assert list(known.sections["files"]) == ["data/a.jsonl", "data/b.jsonl", "data/items.jsonl"]
    assert set(known.sections["sources"]) == {
        "r.recipe#rows_a",
        "r.recipe#rows_b",
        "r.recipe#items",
        "sub/other.recipe#given",
    }
    assert known.fact("sources", "r.recipe#rows_a")["license"] == "MIT"
    assert known.fact("teachers", "r.recipe#paid") == {
        "provider": "openai",
        "model": "gpt-4o-2024-08-06",
        "input": "$2.5 per 1M tokens",
        "output": "$10 per 1M tokens",
    }
    first = text(here)
    again = call()
    assert "nothing to write; 9 facts, 2 recipes" in again.output and text(here) == first


def test_a_known_fact_changes_by_its_name_alone(here, full):
    here.write(full)
    call()
    before = text(here)
    add_row(here)
    here.write(full.replace("input = $2.5 per", "input = $3 per"))
    left = call()
    assert left.exit_code == 0 and text(here) == before
    assert "rows 40 → 41 (+1)" in left.output and "column `lang: text?` is new" in left.output
    assert "input $2.5 per 1M tokens → $3 per 1M tokens" in left.output
    done = call("--update", "rows_a")
    assert done.exit_code == 0
    known = loads(text(here))
    assert known.fact("files", "data/a.jsonl")["rows"] == 41
    assert known.fact("teachers", "r.recipe#paid")["input"] == "$2.5 per 1M tokens"
    assert call("--update", "paid").exit_code == 0
    assert loads(text(here)).fact("teachers", "r.recipe#paid")["input"] == "$3 per 1M tokens"
    assert "what was requested is up to date" in call("--update", "data/a.jsonl").output


def test_update_all_takes_over_everything(here, full):
    here.write(full)
    call()
    add_row(here)
    add_row(here, "data/b.jsonl")
    made = call("--update-all", "--format", "json")
    assert [c["resource"] for c in json.loads(made.output)["written"]] == [
        "data/a.jsonl",
        "data/b.jsonl",
        "r.recipe#rows_b",  # a column of its rows is known now
    ]
    assert call("--check").exit_code == 0


@pytest.mark.parametrize(
    "name, said",
    [("rows_c", "did you mean `rows_a`"), ("data/a.json", "did you mean `data/a.jsonl`"), ("zzzzzz", "name a source")],
)
def test_a_name_that_nothing_has(here, full, name, said):
    here.write(full)
    before = text(here)
    made = call("--update", name)
    assert made.exit_code == 2 and said in made.output and text(here) == before


def test_check_writes_nothing_and_says_no(here, full):
    here.write(full)
    made = call("--check")
    assert made.exit_code == 1 and text(here) == "version = 1\n"
    assert "+ teacher `paid` of r.recipe: provider openai" in made.output
    call()
    assert call("--check").exit_code == 0
    # same size and times: only the bytes tell
    path = here.root / "data/a.jsonl"
    stat = path.stat()
    path.write_text(path.read_text().replace("function 1", "function 7", 1))
    import os

    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    before = text(here)
    made = call("--check")
    assert made.exit_code == 1 and text(here) == before
    assert "file `data/a.jsonl`: content " in made.output and "rows" not in made.output


def test_rows_and_columns_of_the_lock_are_held_against_the_file(here, slice_):
    here.write(slice_)
    call()
    (here.root / "recipe.lock").write_text(text(here).replace("rows = 40", "rows = 80000"))
    made = call("--check")
    assert made.exit_code == 1 and "rows 80,000 → 40 (-79,960)" in made.output
    compiled = here.compile(locked=True)
    assert [d.code for d in compiled.diagnostics] == ["A908"]
    assert "rows 80,000 → 40 (-79,960)" in compiled.diagnostics[0].headline


def test_a_file_that_is_not_here_is_no_yes(here, slice_):
    here.write(slice_)
    call()
    (here.root / "data/a.jsonl").unlink()
    made = call("--check")
    assert made.exit_code == 3 and "not asked: file `data/a.jsonl` is not on this machine" in made.output
    assert call().exit_code == 0  # nothing of it has to be known anew


def test_what_nothing_uses_is_told_and_goes_only_when_asked(here, full, slice_):
    here.write(full)
    call()
    known = loads(text(here))
    figures = {
        "b2:1": {"node": "clean", "recipe": "r.recipe", "rows": 1},
        "b2:2": {"node": "gone", "recipe": "r.recipe", "rows": 2},
        "b2:3": {"node": "clean", "recipe": "other.recipe", "rows": 3},
        "b2:4": {"node": "clean", "rows": 4},
    }
    later = {"a": {"b": 1}}
    (here.root / "recipe.lock").write_text(dumps(known.with_facts("measured", figures).with_facts("later", later)))
    here.write(full.replace("data/b.jsonl", "data/a.jsonl").replace("set response = output\n", ""))
    made = call()
    assert made.exit_code == 0 and "3 facts that no recipe here uses" in made.output
    assert "- file `data/b.jsonl`: rows 20" in made.output
    assert loads(text(here)).fact("files", "data/b.jsonl") is not None
    one = call("r.recipe")
    assert "uses" not in one.output  # one recipe does not tell what the others need
    assert call("--prune").exit_code == 0
    left = loads(text(here)).sections
    assert list(left["files"]) == ["data/a.jsonl", "data/items.jsonl"]
    assert sorted(left["measured"]) == ["b2:1", "b2:4"] and left["later"] == later


def test_nothing_is_taken_out_while_a_recipe_cannot_be_read(here, full):
    here.write(full)
    call()
    (here.root / "broken.recipe").write_text("edition 2026\nfilter x {\n  from = nowhere\n}\n")
    before = text(here)
    made = call("--prune")
    assert made.exit_code == 1 and "nothing was removed" in made.output and text(here) == before
    made = call()
    assert made.exit_code == 1 and "skipped: broken.recipe has errors" in made.output
    assert "did you mean" in made.output or "nowhere" in made.output


def test_a_file_that_others_import_is_no_recipe_of_its_own(here, slice_):
    (here.root / "lib.recipe").write_text("edition 2026\n\ntask t {\n  standard = review\n}\n")
    here.write(slice_.replace("edition 2026\n", 'edition 2026\nimport "lib.recipe" as lib\n', 1))
    made = call()
    assert "not looked at: lib.recipe" not in made.output


def test_a_variant_has_facts_of_its_own_only_where_it_differs(here, full):
    here.write(full + VARIANTS)
    assert call().exit_code == 0, call().output
    known = loads(text(here))
    assert list(known.sections["teachers"]) == ["r.recipe#paid", "r.recipe#rules", "r.recipe@cheaper#paid"]
    assert known.fact("teachers", "r.recipe@cheaper#paid")["input"] == "$1 per 1M tokens"
    assert "r.recipe@cheaper#rows_a" not in known.sections["sources"]
    assert here.compile(locked=True, variant="cheaper").plan is not None
    assert here.compile(locked=True).plan is not None
    here.write((full + VARIANTS).replace("= $1 per", "= $2 per"))
    made = here.compile(locked=True, variant="cheaper")
    assert [d.headline for d in made.diagnostics if d.code == "A908"] == [
        "teacher `paid` of r.recipe@cheaper differs from recipe.lock: input $1 per 1M tokens → $2 per 1M tokens"
    ]


def test_values_from_outside_leave_declared_facts_alone(here, full):
    here.write(full)
    call()
    before = text(here)
    made = here.compile(sets=["part=50%"], locked=True)
    assert made.plan is not None and text(here) == before


def test_options_that_contradict_each_other(here, full, tmp_path):
    here.write(full)
    for other in ("--update-all", "--prune", "--update=rows_a"):
        assert call("--check", other).exit_code == 2
    assert call("--prune", "r.recipe").exit_code == 2
    missing = call("r.recip")
    assert missing.exit_code == 2 and "did you mean `r.recipe`" in missing.output
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "recipe.lock").write_text("version = 1\n")
    (elsewhere / "x.recipe").write_text("edition 2026\n")
    two = call("r.recipe", elsewhere / "x.recipe")
    assert two.exit_code == 2 and "two projects" in two.output


def test_a_project_without_recipes(tmp_path: Path, monkeypatch):
    (tmp_path / "recipe.lock").write_text("version = 1\n")
    monkeypatch.chdir(tmp_path)
    made = call()
    assert made.exit_code == 2 and "there is no recipe" in made.output


def test_a_lock_that_cannot_be_read(here, full):
    here.write(full)
    (here.root / "recipe.lock").write_text("<<<<<<< ours\n")
    made = call()
    assert made.exit_code == 1 and "A908" in made.output
    assert text(here) == "<<<<<<< ours\n"


def test_two_commands_at_once_lose_no_fact(here, full, slice_):
    """A run began with an old lock; what was written meanwhile stays when it ends."""
    from alchemist_dsl.project.workspace import add_facts

    began = here.compile(slice_)
    here.write(full)
    call()
    add_facts(began, changed=True)
    known = loads(text(here)).sections
    assert "data/b.jsonl" in known["files"] and "r.recipe#given" in known["sources"]


def test_a_lock_that_is_being_merged_is_left_alone(here, slice_):
    """Conflict markers that came while a run went on are the person's, and stay."""
    from alchemist_dsl.project.workspace import record_figures

    began = here.compile(slice_)
    (here.root / "recipe.lock").write_text("<<<<<<< ours\n")
    record_figures(began)
    assert text(here) == "<<<<<<< ours\n"


def test_what_changes_nothing_touches_nothing(here, slice_):
    import shutil

    here.write(slice_)
    call()
    shutil.rmtree(here.root / ".alchemist")
    before = (here.root / "recipe.lock").stat().st_mtime_ns
    from alchemist_dsl.project.workspace import add_facts

    made = here.compile()
    shutil.rmtree(here.root / ".alchemist", ignore_errors=True)
    add_facts(made, changed=True)
    assert not (here.root / ".alchemist").exists()
    assert (here.root / "recipe.lock").stat().st_mtime_ns == before
