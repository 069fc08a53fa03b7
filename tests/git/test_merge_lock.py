"""The merge driver of `recipe.lock` under real git merges and rebases."""

from __future__ import annotations

import pytest
from git_repo import Repo

from alchemist_dsl.project.lockfile import Lock, dumps, loads


def lock(**files: str) -> str:
    return dumps(Lock({"files": {name: {"digest": digest} for name, digest in files.items()}}))


@pytest.fixture
def branches(repo: Repo) -> Repo:
    """A repository with the driver, a lock on `main`, and a branch `side` from there."""
    repo.write(".gitattributes", "recipe.lock merge=recipe-lock\n")
    repo.git("config", "merge.recipe-lock.driver", "alchemist merge-lock %O %A %B %P")
    repo.write("recipe.lock", lock(a="1", m="1"))
    repo.commit("base")
    repo.git("branch", "side")
    return repo


def both(repo: Repo, main: str, side: str) -> None:
    repo.write("recipe.lock", main)
    repo.commit("main")
    repo.git("checkout", "--quiet", "side")
    repo.write("recipe.lock", side)
    repo.commit("side")
    repo.git("checkout", "--quiet", "main")


def test_facts_that_both_sides_add_merge_cleanly(branches: Repo) -> None:
    """Neighbours in the file, where git alone would give a conflict."""
    both(branches, lock(a="1", b="2", m="1"), lock(a="1", c="3", m="1"))
    branches.git("merge", "--quiet", "--no-edit", "side")
    assert branches.read("recipe.lock") == lock(a="1", b="2", c="3", m="1")
    assert branches.git("status", "--porcelain") == ""


def test_without_the_driver_it_is_a_conflict(branches: Repo) -> None:
    branches.git("config", "--unset", "merge.recipe-lock.driver")
    both(branches, lock(a="1", b="2", m="1"), lock(a="1", c="3", m="1"))
    branches.git("merge", "--no-edit", "side", code=1)


def test_a_fact_changed_differently_is_a_conflict_around_that_fact_alone(branches: Repo) -> None:
    both(branches, lock(a="1", m="2", n="9"), lock(a="7", m="3"))
    said = branches.git("merge", "--no-edit", "side", code=1)
    assert "recipe.lock: both sides changed 1 fact differently:\n  [files] m\n" in said
    assert "CONFLICT (content): Merge conflict in recipe.lock" in said
    text = branches.read("recipe.lock")
    assert text == lock(a="7", m="2", n="9").replace(
        '"m" = { digest = "2" }\n',
        '<<<<<<< ours\n"m" = { digest = "2" }\n=======\n"m" = { digest = "3" }\n>>>>>>> theirs\n',
    )
    ours = text.replace("<<<<<<< ours\n", "").split("=======\n")
    resolved = ours[0] + ours[1].split(">>>>>>> theirs\n")[1]
    assert loads(resolved) == loads(lock(a="7", m="2", n="9"))


def test_a_fact_dropped_here_and_changed_there(branches: Repo) -> None:
    both(branches, lock(a="1"), lock(a="1", m="3"))
    branches.git("merge", "--no-edit", "side", code=1)
    assert '"a" = { digest = "1" }\n<<<<<<< ours\n=======\n"m" = { digest = "3" }\n>>>>>>> theirs\n' in branches.read(
        "recipe.lock"
    )


def test_both_branches_make_the_lock(branches: Repo) -> None:
    """There is no base: git gives an empty file."""
    branches.git("rm", "--quiet", "recipe.lock")
    branches.commit("no lock")
    branches.git("branch", "--force", "side")
    both(branches, lock(a="1"), lock(b="2"))
    branches.git("merge", "--quiet", "--no-edit", "side")
    assert branches.read("recipe.lock") == lock(a="1", b="2")


def test_a_rebase(branches: Repo) -> None:
    both(branches, lock(a="1", b="2", m="1"), lock(a="1", c="3", m="1"))
    branches.git("rebase", "--quiet", "main", "side")
    assert branches.read("recipe.lock") == lock(a="1", b="2", c="3", m="1")


def test_a_lock_of_a_newer_program_is_merged_as_git_would(branches: Repo) -> None:
    newer = lock(a="1", m="1").replace("version = 1", "version = 99")
    both(branches, newer, lock(a="1", m="5"))
    said = branches.git("merge", "--no-edit", "side")
    assert "the version of ours cannot be read: its version is 99" in said
    assert "merged line by line instead" in said
    assert branches.read("recipe.lock") == lock(a="1", m="5").replace("version = 1", "version = 99")


def test_a_broken_lock_loses_nothing(branches: Repo) -> None:
    both(branches, lock(a="1", m="2"), "version = 1\n[files]\n" + '"m" = { digest = ')
    branches.git("merge", "--no-edit", "side", code=1)
    text = branches.read("recipe.lock")
    assert "<<<<<<< ours\n" in text and '"m" = { digest = "2" }' in text
    assert text.count('"m" = { digest = ') == 2


def test_usage(repo: Repo) -> None:
    repo.write("a", lock(a="1"))
    assert "there is no file `b`" in repo.alchemist("merge-lock", "a", "b", "a", code=2)
    assert "Missing argument 'THEIRS'" in repo.alchemist("merge-lock", "a", "a", code=2)
    assert repo.alchemist("merge-lock", "a", "a", "a") == ""
