"""The shipped parse tables: fresh, free of conflicts, data only, and equal to lark's own parser in what they accept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lark import Lark
from lark.exceptions import UnexpectedInput

from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.grammar import build_lark, folder, from_json, load, to_json
from alchemist_dsl.syntax.parse import parse

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*sorted((ROOT / "recipes").rglob("*.recipe")), ROOT / "tests/syntax/paper.recipe"]
WORDS = [
    "a",
    "b",
    "edition",
    "2026",
    "param",
    "import",
    "filter",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "=",
    ":",
    ",",
    ".",
    "..",
    "?",
    "==",
    "<",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "\n",
    "\n",
    "set",
    "keep",
    "expect",
    "as",
    "per",
    "and",
    "or",
    "not",
    "in",
    "true",
    "null",
    '"t"',
    "5%",
    "3x",
    "7 rows",
    "$3",
    "500/min",
    "# c",
    '"""\n  x\n  """',
]


@pytest.fixture(scope="module")
def reference() -> Lark:
    return build_lark(strict=True)  # raises on a conflict, or on terminals that overlap


def test_tables_are_fresh(reference: Lark) -> None:
    shipped = (folder() / "recipe.tables.json").read_text("utf-8")
    assert to_json(reference) == shipped, "run `python -m alchemist_dsl.syntax.grammar --write`"


def test_tables_are_plain_data() -> None:
    data = json.loads((folder() / "recipe.tables.json").read_text("utf-8"))
    assert "__type__" not in json.dumps(data)
    with pytest.raises(ValueError, match="format"):
        from_json(json.dumps({**data, "format": 99}))


def test_parsing_needs_no_lark() -> None:
    code = (
        "import sys; from alchemist_dsl.syntax.parse import parse; from alchemist_dsl.source import SourceFile\n"
        "assert parse(SourceFile('x', 'edition 2026\\n'))[0].edition.year == 2026\n"
        "print([m for m in ('lark', 'rich', 'jinja2', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_rule_has_its_builder() -> None:
    from alchemist_dsl.syntax.build import Builder

    assert not [a for _, _, a in load().rules if a and not hasattr(Builder, a)]


def bad_nodes(node: Any) -> bool:
    """Whether a tree holds something that did not parse."""
    if isinstance(node, ast.BadItem | ast.BadStatement):
        return True
    if isinstance(node, tuple):
        return any(bad_nodes(n) for n in node)
    if hasattr(node, "__dataclass_fields__"):
        return any(bad_nodes(getattr(node, f)) for f in node.__dataclass_fields__)
    return False


def accepts(reference: Lark, text: str) -> bool:
    try:
        reference.parse(text, start="file")
    except UnexpectedInput:
        return False
    return True


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_recipes_are_accepted_by_both(reference: Lark, path: Path) -> None:
    text = path.read_text("utf-8")
    assert accepts(reference, text)
    file, problems = parse(SourceFile(path.name, text))
    assert not problems and not bad_nodes(file)


@given(st.lists(st.sampled_from(WORDS), max_size=14))
@example(["filter", "a", "{", "\n", "set", "a", "=", "b", ",", "\n", "}"])
@example(["param", "a", ":", "b", "?", "=", "{", "}"])
def test_both_accept_the_same(reference: Lark, words: list[str]) -> None:
    text = " ".join(words)
    file, problems = parse(SourceFile("x", text))
    spoken = {p.code for p in problems} - {"A011", "A012", "A013"}  # those are not about the grammar
    if bad_nodes(file) or spoken - {"A002"}:
        assert not accepts(reference, text)
    elif not spoken:
        assert accepts(reference, text)
