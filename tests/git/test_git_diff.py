"""`git diff` of recipes with the settings that `alchemist new` makes: layout is no difference, and every hunk names its
block.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from git_repo import ROOT, Repo

from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.format import canonical

RECIPES = ["recipes/quickstart.recipe", "recipes/alchemistcoder.recipe", "recipes/published/olmo3_think.recipe"]


@pytest.fixture
def project(repo: Repo) -> Repo:
    repo.alchemist("new", "--git")
    return repo


def hunks(diff: str) -> list[tuple[str, list[str]]]:
    """What stands behind the numbers of each hunk, and its lines."""
    parts = re.split(r"^@@ .*? @@(.*)\n", diff, flags=re.M)[1:]
    return [(parts[i].strip(), parts[i + 1].splitlines()) for i in range(0, len(parts), 2)]


def test_a_change_deep_in_a_block_is_headed_by_that_block(project: Repo) -> None:
    text = (ROOT / "recipes" / "quickstart.recipe").read_text()
    project.write("q.recipe", text)
    project.commit()
    project.write(
        "q.recipe",
        text.replace("review_clean = 3%", "review_clean = 4%")  # in `take` of `mixture sft`
        .replace("schedule = cosine(warmup = 10%", "schedule = cosine(warmup = 5%")
        .replace("rows(final) >= 3_000 rows", "rows(final) >= 3_100 rows")
        .replace('instruction = "Greet"', 'instruction = "Welcome"'),
    )
    heads = [head for head, _ in hunks(project.git("diff"))]
    assert heads == ["mixture sft {", "train tiny {", 'test "each defect has its rule" {']
    # the change of `check` is so near that it is part of the second hunk, with the block's own line
    heads = [head for head, _ in hunks(project.git("diff", "--unified=0"))]
    assert heads == ["mixture sft {", "train tiny {", "check promises {", 'test "each defect has its rule" {']


@pytest.mark.parametrize("path", RECIPES)
def test_every_hunk_of_every_line_names_its_block_and_no_other(path: str, project: Repo) -> None:
    """Each line inside a block changed alone, as git shows it without context: the head is the block that encloses
    it.
    """
    text = canonical(SourceFile("r.recipe", (ROOT / path).read_text()))
    project.write("r.recipe", text)
    project.git("config", "--unset", "diff.recipe.textconv")  # the text is canonical already
    project.commit()
    lines = text.splitlines()
    block, expected, changed = "", [], []
    for number, line in enumerate(lines):
        if re.match(r"\w.*\{$", line):
            block = line
        elif line.startswith("}"):
            block = ""
        elif line.strip() and number % 2:  # every other one, so that each is a hunk of its own
            expected.append(block)
            changed.append(number)
    project.write(
        "r.recipe", "".join(f"{line}{'  # changed' if n in set(changed) else ''}\n" for n, line in enumerate(lines))
    )
    found = hunks(project.git("diff", "--unified=0"))
    assert [head for head, _ in found] == expected
    assert len(expected) > 50 and len(set(expected)) > 10


def test_reformatting_vanishes_and_comments_stay(project: Repo) -> None:
    project.write("a.recipe", "edition 2026\n\nmap a { from = b }\n\nfilter c {\n  from = a\n}\n")
    project.commit()
    project.write("a.recipe", "edition 2026\nmap a {\n\n    from=b\n\n}\nfilter c { from = a, }\n")
    assert project.git("diff") == ""
    assert project.git("diff", "--no-textconv") != ""
    project.write("a.recipe", "edition 2026\nmap a { from=b }\nfilter c { from = a   # why\n }\n")
    assert [line for _, lines in hunks(project.git("diff")) for line in lines if line[0] in "+-"] == [
        "-  from = a",
        "+  from = a  # why",
    ]


def test_one_fact_is_one_line(project: Repo) -> None:
    project.write("a.recipe", 'edition 2026\n\nmap a { set x = pick(lang in ["a", "b"], 1, 2) }\n')
    project.commit()
    project.write("a.recipe", 'edition 2026\n\nmap a { set x = pick(lang in ["a", "c", "b"], 1, 2) }\n')
    changed = [line for _, lines in hunks(project.git("diff")) for line in lines if line[0] in "+-"]
    assert changed == ['+      "c",']


def test_what_does_not_parse_or_is_new_or_gone_is_shown(project: Repo) -> None:
    project.write("a.recipe", "edition 2026\n\nmap a { from = b }\n")
    project.write("gone.recipe", "edition 2026\n\nmap a{from=b}\n")
    project.commit()
    project.write("a.recipe", "edition 2026\n\nmap a { from = }\n")
    project.git("rm", "--quiet", "--force", "gone.recipe")
    project.write("new.recipe", "edition 2026\n\nmap n{from=b}\n")
    (project.folder / "bytes.recipe").write_bytes(b"edition 2026\n\xff\n")
    project.git("add", "--all")
    shown = project.git("diff", "--cached", "--no-renames")
    assert "+map a { from = }" in shown
    assert "-map a {\n-  from = b\n-}" in shown and "+map n {\n+  from = b\n+}" in shown
    assert "b/bytes.recipe" in shown


def test_words_of_a_log_and_show(project: Repo) -> None:
    project.write("a.recipe", "edition 2026\n\nmap a { from = b }\n")
    project.commit("one")
    project.write("a.recipe", "edition 2026\n\n\nmap a {\n  from = c\n}\n")
    project.commit("two")
    assert "-  from = b\n+  from = c\n" in project.git("show")
    assert "[-b-]{+c+}" in project.git("log", "-1", "--patch", "--word-diff")


def test_the_settings_stand_in_the_docs() -> None:
    from alchemist_dsl.cli.new import ATTRIBUTES, GIT_SETTINGS

    page = (Path(ROOT) / "docs" / "review.md").read_text()
    for line in [*ATTRIBUTES, *(f"git config {k} " for k in GIT_SETTINGS), *GIT_SETTINGS.values()]:
        assert line in page, line
