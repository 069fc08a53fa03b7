"""The hooks under pre-commit itself: those that `alchemist new` writes, and those of this repository's manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from git_repo import ROOT, Repo

pytestmark = pytest.mark.slow
MANIFEST = ROOT / ".pre-commit-hooks.yaml"
UGLY = "edition 2026\nmap a {from=b}\n"


@pytest.fixture
def project(repo: Repo) -> Repo:
    """The project of `alchemist new` with its lock, committed."""
    repo.alchemist("new", "--pre-commit")
    repo.alchemist("lock")
    repo.commit()
    return repo


def hooks(repo: Repo, *arguments: str, code: int = 0) -> str:
    home = str(repo.folder.parent / "pre-commit")
    return repo.run("pre-commit", *arguments, code=code, PRE_COMMIT_HOME=home)


def test_the_manifest_is_valid_and_names_commands_that_are_there() -> None:
    from alchemist_dsl.cli.main import COMMANDS

    Repo.run(_here(), "pre-commit", "validate-manifest", str(MANIFEST))
    listed = {hook["id"]: hook for hook in yaml.safe_load(MANIFEST.read_text())}
    assert set(listed) == {"alchemist-fmt", "alchemist-check", "alchemist-lock"}
    for name, hook in listed.items():
        program, command, *_ = hook["entry"].split()
        assert program == "alchemist" and command in COMMANDS
        assert name == f"alchemist-{command}"


def _here() -> Repo:
    repo = Repo.__new__(Repo)
    repo.folder = ROOT
    return repo


def test_both_ways_run_the_same() -> None:
    """The manifest and what `alchemist new` writes differ in where the command comes from alone."""
    local = yaml.safe_load((ROOT / "alchemist_dsl/starter/pre-commit-config.yaml").read_text())
    ours = [h for repo in local["repos"] for h in repo["hooks"]]
    theirs = yaml.safe_load(MANIFEST.read_text())
    for one, other in zip(ours, theirs, strict=True):
        assert (one.pop("language"), other.pop("language")) == ("system", "python")
        other.pop("description")
        assert one == other


def test_a_good_project_passes(project: Repo) -> None:
    said = hooks(project, "run", "--all-files")
    assert said.count("Passed") == 3


def test_each_hook_finds_what_it_is_for(project: Repo) -> None:
    project.write("ugly.recipe", UGLY)
    project.write("data/samples.jsonl", '{"instruction": "a", "response": "b"}\n')
    project.git("add", "--all")
    said = hooks(project, "run", "--all-files", code=1)
    assert "files were modified by this hook" in said and "formatted ugly.recipe" in said
    assert project.read("ugly.recipe") == "edition 2026\nmap a { from = b }\n"
    assert "ugly.recipe:2:16: error[A103]" in said
    assert "data/samples.jsonl" in said.partition("alchemist lock --check")[2]
    assert "Passed" not in said


def test_files_that_are_none_of_ours_start_no_hook(project: Repo) -> None:
    project.write("notes.txt", "x  \n")
    project.git("add", "--all")
    said = hooks(project, "run")
    assert said.count("Skipped") == 3


def test_installed_it_stops_a_commit(project: Repo) -> None:
    hooks(project, "install")
    project.write("ugly.recipe", UGLY)
    project.git("add", "--all")
    home = str(project.folder.parent / "pre-commit")
    said = project.run("git", "commit", "--message", "x", code=1, PRE_COMMIT_HOME=home)
    assert "formatted ugly.recipe" in said
    assert project.git("log", "--format=%s") == "change\n"


def test_the_hooks_of_the_manifest(project: Repo, tmp_path: Path) -> None:
    """`try-repo` of a copy of the manifest whose commands come from this environment instead of a new one."""
    hooked = Repo(tmp_path / "hooked")
    hooked.write(".pre-commit-hooks.yaml", MANIFEST.read_text().replace("language: python", "language: system"))
    hooked.commit()
    said = hooks(project, "try-repo", str(hooked.folder), "--all-files")
    assert said.count("Passed") == 3
