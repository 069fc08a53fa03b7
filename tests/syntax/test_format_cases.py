"""The layout, case by case: `UPDATE_GOLDEN=1 pytest tests/syntax` rewrites what is expected in format_cases.md."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from format_texts import read, tree
from golden_syntax import read_cases

from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.format import format_text

CASES = Path(__file__).with_name("format_cases.md")
CASE = re.compile(
    r"^## (?P<title>[^\n]+)\n(?P<words>[^`]*?)^````recipe\n(?P<recipe>.*?)^````\n"
    r"(?:\n````formatted\n(?P<formatted>.*?)^````\n)?",
    re.M | re.S,
)


def formatted(text: str) -> str:
    return format_text(SourceFile("r.recipe", text))[0]


def now(m: re.Match[str]) -> str:
    after = formatted(m["recipe"])
    head = f"## {m['title']}\n{m['words']}````recipe\n{m['recipe']}````\n"
    return head if after == m["recipe"] else f"{head}\n````formatted\n{after}````\n"


if os.environ.get("UPDATE_GOLDEN") == "1":
    CASES.write_text(CASE.sub(now, CASES.read_text()))

FOUND = list(CASE.finditer(CASES.read_text()))
WRONG = [c for p in sorted((CASES.parent / "cases").glob("*.md")) for c in read_cases(p)]


def test_every_case_is_read() -> None:
    assert len(FOUND) == CASES.read_text().count("\n````recipe\n") >= 15


@pytest.mark.parametrize("case", FOUND, ids=lambda m: m["title"])
def test_case(case: re.Match[str]) -> None:
    recipe, expected = case["recipe"], case["formatted"]
    assert formatted(recipe) == (recipe if expected is None else expected)


@pytest.mark.parametrize("text", [c["recipe"] for c in FOUND] + [c.recipe for c in WRONG])
def test_twice_is_once_and_the_tree_stays(text: str) -> None:
    after = formatted(text)
    assert formatted(after) == after
    assert tree(read(after)) == tree(read(text))


def test_what_parses_is_formatted_beside_every_mistake() -> None:
    """A block before a mistake gets its layout, unless the file is not ours to lay out or the block part of the
    mistake.
    """
    formed = 0
    for case in WRONG:
        text = case.recipe.replace("edition 2026\n", "edition 2026\nmap  zz {from=a}\n\n", 1)
        if text != case.recipe and "<<<<<<<" not in text and read(text)[1] == read(case.recipe)[1]:
            assert "map zz { from = a }\n" in formatted(text), case.title
            formed += 1
    assert formed > 0.9 * len(WRONG)
