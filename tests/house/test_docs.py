"""Every recipe and every recipe block in the docs compiles, and no text names a machine's paths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from alchemist_runtime.schema.codes import CODES

from alchemist_dsl.checker import check
from alchemist_dsl.project.workspace import Project
from alchemist_dsl.source import SourceFile

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(text, id=f"{page.relative_to(ROOT)}:{number}")
    for page in PAGES
    for number, text in enumerate(re.findall(r"^```recipe\n(.*?)^```$", page.read_text(), re.M | re.S), 1)
]
RECIPES = [*sorted((ROOT / "recipes").rglob("*.recipe")), ROOT / "alchemist_dsl/starter/first.recipe"]


def errors(text: str, path: str, root: Path) -> list[str]:
    _, found = check(SourceFile(path, text), Project(root).read)
    return [f"{d.code} {d.headline}" for d in found if (d.severity or CODES[d.code].severity) == "error"]


@pytest.mark.parametrize("text", BLOCKS)
def test_recipe_blocks_of_the_docs_check(text: str, tmp_path: Path) -> None:
    assert errors(text, "block.recipe", tmp_path) == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT)))
def test_shipped_recipes_check(path: Path) -> None:
    text = path.read_text()
    if path.parent.name == "std":  # a library is checked as it is used
        text = f'edition 2026\nimport "std:{path.stem}" as library\n'
    assert errors(text, path.relative_to(ROOT).as_posix(), ROOT) == []


def test_there_are_blocks_and_recipes() -> None:
    assert len(BLOCKS) >= 2 and len(RECIPES) >= 3


def test_links_of_the_docs_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
