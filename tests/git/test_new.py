"""`alchemist new`: the project checks, is formatted and runs offline; nothing that is there is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_repo import Repo

ATTRIBUTES = "*.recipe diff=recipe linguist-language=HCL\nrecipe.lock merge=recipe-lock linguist-generated\n"


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and ".git/" not in str(p)
    }


def test_the_starter_checks_is_formatted_and_runs(repo: Repo) -> None:
    said = repo.alchemist("new")
    assert said.startswith("wrote  first.recipe\nwrote  data/samples.jsonl\nwrote  .gitattributes\nwrote  .gitignore\n")
    assert "Next: `alchemist run first.recipe --upto clean`" in said
    assert "no problems" in repo.alchemist("check", "first.recipe")
    repo.alchemist("fmt", "--check", ".")
    assert "1 passed" in repo.alchemist("test", "first.recipe")
    said = repo.alchemist("run", "first.recipe", "--upto", "clean")
    assert "left out too_short 2, broken_code 1" in said
    said = repo.alchemist("run", "first.recipe")
    assert "left out duplicate 1" in said and "5 calls" in said and "check    fail" not in said
    assert (repo.folder / "out").is_dir()
    status = repo.git("status", "--porcelain", "--untracked-files=all")
    written = {line.split()[1] for line in status.splitlines()}
    assert written == {"first.recipe", "data/samples.jsonl", ".gitattributes", ".gitignore", "recipe.lock"}


def test_a_second_time_everything_is_kept(repo: Repo) -> None:
    first = ("new", "--git", "--pre-commit", "--github")
    assert "told git: diff.recipe.textconv, diff.recipe.xfuncname" in repo.alchemist(*first)
    before = tree(repo.folder), repo.read(".git/config")
    said = repo.alchemist(*first)
    assert [line.split()[0] for line in said.splitlines()[:5]] == ["kept"] * 5
    assert "git was told before" in said
    assert (tree(repo.folder), repo.read(".git/config")) == before


def test_what_is_there_is_not_touched(repo: Repo) -> None:
    repo.write("first.recipe", "edition 2026\n")
    repo.write(".gitattributes", "*.bin binary")  # without an end of its last line
    (repo.folder / ".gitignore").write_bytes(b"dist/\r\n  .alchemist/  \r\n\xff\r\n")
    repo.write(".pre-commit-config.yaml", "repos: []\n")
    said = repo.alchemist("new", "--pre-commit")
    assert "kept   first.recipe (it was there)\n" in said
    assert "added  2 lines to .gitattributes\n" in said
    assert "kept   .gitignore (it has the lines)\n" in said
    assert "kept   .pre-commit-config.yaml (it was there)\n" in said
    assert repo.read("first.recipe") == "edition 2026\n"
    assert not (repo.folder / "data").exists()  # the rows belong to the recipe that was not written
    assert repo.read(".gitattributes") == "*.bin binary\n" + ATTRIBUTES
    assert (repo.folder / ".gitignore").read_bytes() == b"dist/\r\n  .alchemist/  \r\n\xff\r\n"


def test_lines_are_added_with_the_ends_of_the_file(repo: Repo) -> None:
    (repo.folder / ".gitignore").write_bytes(b"dist/\r\n")
    repo.alchemist("new")
    assert (repo.folder / ".gitignore").read_bytes() == b"dist/\r\n.alchemist/\r\n/out/\r\n"


def test_below_a_repository_the_project_is_the_repository(repo: Repo) -> None:
    said = repo.alchemist("new", "some where/data", "--git", "--github", "--pre-commit")
    assert "cd 'some where/data' && alchemist run" in said
    assert sorted(tree(repo.folder)) == [
        ".gitattributes",
        ".github/workflows/recipe-diff.yml",
        ".gitignore",
        ".pre-commit-config.yaml",
        "some where/data/data/samples.jsonl",
        "some where/data/first.recipe",
    ]
    repo.alchemist("run", "some where/data/first.recipe")
    status = repo.git("status", "--porcelain", "--untracked-files=all")
    assert "out" not in status and ".alchemist" not in status


def test_without_a_repository(tmp_path: Path, repo: Repo) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    lone = Repo.__new__(Repo)
    lone.folder = outside
    said = lone.alchemist("new", "x", "--git", code=2)
    assert "`x` is in no git repository: run `git init` there first" in said
    assert not (outside / "x").exists()
    said = lone.alchemist("new", "x")
    assert "  git config diff.recipe.textconv 'alchemist textconv'\n" in said
    assert (outside / "x" / ".gitattributes").read_text() == ATTRIBUTES


def test_the_commands_that_are_printed_are_those_that_are_run(tmp_path: Path, repo: Repo) -> None:
    said = repo.alchemist("new")
    commands = said[said.index("  git config") : said.index("`alchemist new --git`")]
    repo.run("sh", "-ec", commands)
    other = Repo(tmp_path / "other")
    other.alchemist("new", "--git")
    assert repo.git("config", "--local", "--list") == other.git("config", "--local", "--list")


def test_a_setting_that_somebody_chose_stays(repo: Repo) -> None:
    repo.git("config", "diff.recipe.textconv", "cat")
    said = repo.alchemist("new", "--git")
    assert "kept     diff.recipe.textconv = cat (set before; `git config --unset` takes it away)" in said
    assert repo.git("config", "diff.recipe.textconv") == "cat\n"
    assert repo.git("config", "merge.recipe-lock.driver").startswith("alchemist merge-lock")


@pytest.mark.parametrize("where", ["data", ".github", "first.recipe/x"])
def test_a_file_where_a_folder_should_be(where: str, repo: Repo) -> None:
    repo.write(where.split("/")[0], "a file\n")
    if "/" in where:
        assert "cannot be written" in repo.alchemist("new", where, code=3)
    else:
        said = repo.alchemist("new", "--github", code=3)
        assert f"error: `{where}" in said and "cannot be written: " in said
    assert repo.read(where.split("/")[0]) == "a file\n"


def test_a_file_is_no_folder(repo: Repo) -> None:
    repo.write("a", "")
    assert "`a` is a file; name a folder" in repo.alchemist("new", "a", code=2)
