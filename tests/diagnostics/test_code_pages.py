"""Every code has a page, every page tells the truth, and every code is really given by something."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest
from alchemist_runtime.schema.codes import AREAS, CODES
from click.testing import CliRunner

from alchemist_dsl.cli.main import group
from alchemist_dsl.diagnostics.page import FOLDER, Page, load, markdown, terminal_text
from alchemist_dsl.docs.reference import diagnostics, says

ROOT = Path(__file__).resolve().parents[2]
PAGES = {code: load(code) for code in CODES}
SHOWN = [pytest.param(p, id=p.code) for p in PAGES.values() if p.wrong is not None]
#: A recipe of 1 MiB, 32 files, characters that nobody sees: tests/e2e/test_odd_input.py has them.
TOO_LONG_TO_SHOW = {"A019", "A020", "A021"}
TOLD = [pytest.param(p, id=p.code) for p in PAGES.values() if p.wrong is None]


def explain(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(group, ["explain", *args])
    return done.exit_code, done.output


def test_codes_and_pages_are_the_same() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(CODES)
    assert {code[:2] for code in CODES} == set(AREAS)
    slugs = [c.slug for c in CODES.values()]
    assert len(slugs) == len(set(slugs))


@pytest.mark.parametrize("page", SHOWN)
def test_the_wrong_recipe_gives_the_code_and_nothing_else(page: Page) -> None:
    assert page.wrong is not None
    assert [(d.code, d.headline) for d in diagnostics(page.wrong) if d.code != page.code] == []
    assert says(page.wrong) == page.wrong.says, "run `make docs`"
    assert page.code in page.wrong.says


@pytest.mark.parametrize("page", SHOWN)
def test_the_right_recipe_gives_nothing(page: Page) -> None:
    assert page.right is not None, "a page with a wrong recipe shows the right one"
    assert [(d.code, d.headline) for d in diagnostics(page.right)] == []


@pytest.mark.parametrize("page", TOLD)
def test_a_page_without_recipes_says_what_to_do(page: Page) -> None:
    assert page.right is None and len(page.todo) > 40
    shown = _given_by_checks() - TOO_LONG_TO_SHOW
    assert page.code not in shown, "what `check` can give has both recipes"


@cache
def _constants(path: Path) -> frozenset[str]:
    """Codes that a module gives to something: string constants, without those that it only compares with."""
    tree = ast.parse(path.read_text())
    compared = {
        id(inner) for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.Set) for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in compared:
            found |= set(re.findall(r"^(A\d{3})$|^error\[(A\d{3}) ", node.value))
    return frozenset(code for pair in found for code in pair if code)


def _given(*places: str) -> set[str]:
    files = [f for place in places for f in (ROOT / place).rglob("*.py")]
    return set().union(*(_constants(f) for f in files if f.name != "codes.py"))


def _given_by_checks() -> set[str]:
    return _given("alchemist_dsl/checker", "alchemist_dsl/syntax")


def test_every_code_is_given_somewhere_and_everything_given_is_a_code() -> None:
    given = _given("alchemist_dsl", "runtime/alchemist_runtime")
    assert set(CODES) - given == set(), "delete codes that nothing gives"
    wild = {code for code in given - set(CODES) if code[:2] in AREAS}
    assert wild <= {"A100", "A800"}, "GPU names; everything else is a code without a row"


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda p: p.code)
def test_pages_are_short_plain_text(page: Page) -> None:
    assert 60 < len(page.text) < 900
    assert not re.search(r"(?<![-\w])/(work|home|tmp|root)\b", markdown(page))
    assert "\n\n\n" not in terminal_text(page) and "\n\n\n" not in markdown(page)


@pytest.mark.parametrize("word", ["A103", "a103", "unknown-name", "UNKNOWN_NAME", "[A103"])
def test_explain_knows_code_and_name(word: str) -> None:
    code, text = explain(word)
    assert code == 0
    assert text.startswith("error[A103 unknown-name] · names and imports")
    assert "Wrong:" in text and "which gives:" in text and "Right:" in text


def test_explain_suggests() -> None:
    assert "did you mean `unknown-name`" in explain("unknow-name")[1]
    assert "`import-not-found`" in explain("import")[1]
    assert explain("zzzzzz")[0] == 2


def test_explain_lists_by_area() -> None:
    code, text = explain()
    assert code == 0 and all(f"{a} {t}" in text for a, t in AREAS.items())
    assert [line.split()[0] for line in text.splitlines() if line.startswith("  A")] == list(CODES)
    assert len(json.loads(explain("--format", "json")[1])) == len(CODES)


def test_explain_as_data_and_markdown() -> None:
    data = json.loads(explain("A507", "--format", "json")[1])
    assert data["severity"] == "warning" and data["slug"] == "not-decontaminated"
    text = explain("A507", "--format", "markdown")[1]
    assert text == data["page"] and text.startswith("# A507 not-decontaminated\n")
