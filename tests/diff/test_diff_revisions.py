"""`alchemist diff` of git revisions, in real repositories: which recipes are compared, with which files, lock and
data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rows_of_projects
from git_repo import Repo

RECIPE = """edition 2026

import "lib/asks.recipe" as lib

recipe {
  seed = 1
}

teacher rules {
  provider = rules
  price = free
}

source web {
  files = "web.jsonl"
}

filter clean {
  from = web
  drop chars(response) < 40 as too_short
}

relabel labelled {
  from = clean
  select = 20%
  teacher = rules
  prompt = lib.ask
}

export dataset {
  data = labelled
  path = "out"
}
"""
ASK = '''edition 2026

prompt ask {
  rules = describe
  input {
    response: text
  }
  output {
    prompt: text
  }
  user = jinja"""
    What does it do? {{ response }}
    """
}
'''
OTHER = """edition 2026

source book {
  files = "book.jsonl"
}

export books {
  data = book
  path = "books"
}
"""


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """Two recipes, a file that one of them imports, data that git does not track, a lock that knows it."""
    repo = Repo(tmp_path / "project")
    project(repo, "")
    repo.commit("first")
    return repo


def project(repo: Repo, folder: str) -> None:
    repo.write(f"{folder}.gitignore", "*.jsonl\n.alchemist/\n")
    repo.write(f"{folder}r.recipe", RECIPE)
    repo.write(f"{folder}other.recipe", OTHER)
    repo.write(f"{folder}lib/asks.recipe", ASK)
    rows_of_projects.write(repo.folder / folder)
    for name in ("r", "other"):
        repo.alchemist("compile", f"{folder}{name}.recipe")


def edit(repo: Repo, name: str, old: str, new: str) -> None:
    text = repo.read(name)
    assert text.count(old) == 1
    repo.write(name, text.replace(old, new))


def diff(repo: Repo, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The comparison as data."""
    found: dict[str, Any] = json.loads(repo.alchemist("diff", "--format", "json", *arguments, code=code))
    return found


def said(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Every recipe that is shown, with what became of it."""
    return {r["path"]: (r["status"], r.get("category", "same")) for r in found["recipes"]}


def steps(found: dict[str, Any], path: str = "r.recipe") -> dict[str, tuple[str, bool]]:
    recipe = next(r for r in found["recipes"] if r["path"] == path)
    return {n["id"]: (n["category"], n["direct"]) for n in recipe["nodes"]}


def test_without_operands_the_last_commit_is_compared_with_what_lies_here(repo: Repo) -> None:
    found = diff(repo)
    assert (found["changed"], found["recipes"], found["same"]) == (False, [], 3)  # what is imported is a recipe too
    edit(repo, "r.recipe", "select = 20%", "select = 30%")
    found = diff(repo)
    assert said(found) == {"r.recipe": ("changed", "breaking")}  # the rows that it changes in place
    assert found["same"] == 2
    assert steps(found)["labelled"] == ("extending", True)
    assert steps(diff(repo, "r.recipe")) == steps(diff(repo, "HEAD:r.recipe")) == steps(found)


def test_exit_codes(repo: Repo) -> None:
    assert "no difference" in repo.alchemist("diff", "--exit-code")
    edit(repo, "r.recipe", "select = 20%", "select = 30%")
    repo.alchemist("diff")
    repo.alchemist("diff", "--exit-code", code=2)
    repo.alchemist("diff", "r.recipe", "--exit-code", code=2)
    assert "there is no git revision `v9`" in repo.alchemist("diff", "v9", code=2)
    assert "no git revision" in repo.alchemist("diff", "HEAD..v9", code=2)
    assert "asks2.recipe" in repo.alchemist("diff", "HEAD:lib/asks2.recipe", code=2)
    assert "did you mean `lib/asks.recipe`" in repo.alchemist("diff", "HEAD:lib/ask.recipe", code=2)
    assert "nothere.recipe" in repo.alchemist("diff", "nothere.recipe", "r.recipe", code=2)


def test_a_side_that_cannot_be_read_is_never_no_change(repo: Repo) -> None:
    edit(repo, "r.recipe", "select = 20%", "select = = 30%")
    text = repo.alchemist("diff", code=1)
    assert "--> r.recipe:" in text and "error[" in text and "no difference" not in text
    assert "-  select = 20%" in text and "+  select = = 30%" in text
    found = diff(repo, code=1)
    assert said(found) == {"r.recipe": ("unreadable", "breaking")}
    assert found["changed"] and found["recipes"][0]["diagnostics"]
    assert found["totals"]["calls_new"].get("value") is None
    repo.commit("broken")
    edit(repo, "r.recipe", "select = = 30%", "select = 30%")
    text = repo.alchemist("diff", code=1)
    assert "HEAD:r.recipe" in text
    diff(repo, "--exit-code", code=1)


def test_a_broken_import_breaks_what_imports_it(repo: Repo) -> None:
    edit(repo, "lib/asks.recipe", "  output {", "  output { {")
    assert said(diff(repo, code=1))["r.recipe"] == ("unreadable", "breaking")
    assert "other.recipe" not in said(diff(repo, code=1))


def test_a_changed_import_shows_in_the_recipe_that_reads_it(repo: Repo) -> None:
    edit(repo, "lib/asks.recipe", "What does it do?", "What is it for?")
    found = diff(repo)
    assert said(found)["r.recipe"] == ("changed", "breaking")
    assert steps(found)["labelled"] == ("breaking", True)
    assert "clean" not in steps(found)
    assert "other.recipe" not in said(found)


def test_two_revisions(repo: Repo) -> None:
    edit(repo, "r.recipe", "< 40 as", "< 60 as")
    repo.commit("second")
    edit(repo, "r.recipe", "< 60 as", "< 80 as")
    (repo.folder / "other.recipe").unlink()
    repo.commit("third")
    dots = diff(repo, "HEAD~2..HEAD~1")
    assert said(dots) == {"r.recipe": ("changed", "narrowing")}
    assert steps(dots)["clean"] == ("narrowing", True)
    assert dots == diff(repo, "HEAD~2", "HEAD~1")
    assert said(diff(repo, "HEAD~1..HEAD")) == {
        "other.recipe": ("removed", "breaking"),
        "r.recipe": ("changed", "narrowing"),
    }
    back = diff(repo, "HEAD~1..HEAD~2")
    assert steps(back)["clean"] == ("extending", True)
    one = diff(repo, "HEAD~2:r.recipe", "HEAD:r.recipe")["recipes"][0]
    change = one["nodes"][0]["changes"][0]
    assert (change["before"], change["after"]) == ("drop chars(response) < 40", "drop chars(response) < 80")


def test_a_recipe_that_is_new_gone_or_renamed(repo: Repo) -> None:
    repo.git("mv", "r.recipe", "main.recipe")
    edit(repo, "main.recipe", "select = 20%", "select = 30%")
    (repo.folder / "other.recipe").unlink()
    repo.write(
        "new.recipe",
        'edition 2026\n\nsource more {\n  missing = "not bought yet"\n}\n\nexport new {\n  data = more\n  path = "new"\n}\n',
    )  # nothing like the one that is gone
    found = diff(repo)
    assert said(found) == {
        "main.recipe": ("changed", "breaking"),
        "new.recipe": ("added", "extending"),
        "other.recipe": ("removed", "breaking"),
    }
    renamed = next(r for r in found["recipes"] if r["path"] == "main.recipe")
    assert renamed["before_path"] == "r.recipe"
    assert "there is no `new.recipe` at `HEAD`" in repo.alchemist("diff", "HEAD", "new.recipe", code=2)


def test_the_lock_of_the_revision_says_what_the_data_was(repo: Repo) -> None:
    rows_of_projects.write(repo.folder, {**rows_of_projects.SIZES, "web.jsonl": 80})
    found = diff(repo, "r.recipe")
    assert said(diff(repo)) == said(found)  # though git does not look at the file
    assert steps(found)["web"] == ("breaking", True)
    web = found["recipes"][0]["nodes"][0]
    assert (web["rows"]["before"]["value"], web["rows"]["after"]["value"]) == ("60", "80")
    assert [c["path"] for c in web["changes"]] == ["file.web.jsonl"]


def test_data_that_nobody_knows_is_said_to_be_taken_as_it_lies_here(repo: Repo) -> None:
    edit(repo, "r.recipe", "select = 20%", "select = 30%")
    assert diff(repo, "r.recipe")["recipes"][0]["assumed"] == []  # the lock knows it
    (repo.folder / "recipe.lock").unlink()
    repo.commit("no lock")
    edit(repo, "r.recipe", "select = 30%", "select = 40%")
    assert diff(repo, "r.recipe")["recipes"][0]["assumed"] == ["web.jsonl"]
    for form in ("text", "markdown"):
        told = repo.alchemist("diff", "r.recipe", "--format", form)
        assert "so compared as it is here now: web.jsonl" in told


def test_a_data_file_that_git_tracks_is_read_from_there(repo: Repo) -> None:
    (repo.folder / ".gitignore").write_text(".alchemist/\n")
    (repo.folder / "recipe.lock").unlink()
    repo.commit("data in git, no lock")
    rows_of_projects.write(repo.folder, {**rows_of_projects.SIZES, "web.jsonl": 70})
    repo.commit("more data")
    found = diff(repo, "HEAD~1..HEAD")
    web = next(r for r in found["recipes"] if r["path"] == "r.recipe")["nodes"][0]
    assert (web["rows"]["before"]["value"], web["rows"]["after"]["value"]) == ("60", "70")


def test_a_project_in_a_folder_of_the_repository(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "mono")
    repo.write("sub/recipe.lock", "lock = 1\n") if False else None
    project(repo, "sub/")
    repo.write("readme.txt", "of the whole\n")
    repo.commit()
    edit(repo, "sub/lib/asks.recipe", "What does it do?", "What is it for?")
    edit(repo, "sub/other.recipe", 'path = "books"', 'path = "made"')
    top = said(diff(repo))
    assert {p.removeprefix("sub/"): c for p, c in top.items()}["r.recipe"] == ("changed", "breaking")
    inside = Repo.__new__(Repo)
    inside.folder = repo.folder / "sub"
    assert len(said(diff(inside))) == len(top)
    assert "other.recipe" in inside.alchemist("diff", "HEAD", "other.recipe")


def test_a_detached_head(repo: Repo) -> None:
    edit(repo, "r.recipe", "select = 20%", "select = 30%")
    repo.commit("second")
    repo.git("checkout", "--quiet", "--detach", "HEAD~1")
    assert not diff(repo)["changed"]
    assert said(diff(repo, "main"))["r.recipe"] == ("changed", "breaking")


def test_no_repository_is_an_error_that_says_so(tmp_path: Path) -> None:
    bare = Repo.__new__(Repo)
    bare.folder = tmp_path / "bare"
    bare.folder.mkdir()
    rows_of_projects.write(bare.folder)
    bare.write("r.recipe", OTHER)
    bare.write("s.recipe", OTHER.replace("books", "more"))
    for arguments in ((), ("r.recipe",), ("HEAD:r.recipe",), ("HEAD..HEAD~1",)):
        text = bare.alchemist("diff", *arguments, code=2)
        assert "in no git repository" in text or "no git revision" in text, text
        assert "Traceback" not in text
    assert "export" in bare.alchemist("diff", "r.recipe", "s.recipe")


def test_plan_files(repo: Repo) -> None:
    repo.alchemist("compile", "r.recipe", "-o", "before.json")
    edit(repo, "r.recipe", "select = 20%", "select = 30%")
    repo.alchemist("compile", "r.recipe", "-o", "after.json")
    plans, mixed = diff(repo, "before.json", "after.json"), diff(repo, "before.json", "r.recipe")
    for found in (plans, mixed):
        assert steps(found)["labelled"] == ("extending", True)
    assert not diff(repo, "before.json", "before.json")["changed"]
    assert not diff(repo, "after.json", "r.recipe")["changed"]
    assert "name the plan or recipe to compare it with" in repo.alchemist("diff", "before.json", code=2)
    repo.write("before.json", '{"plan_format": "9.0"}')
    assert "9.0" in repo.alchemist("diff", "before.json", "r.recipe", code=3)
