"""The Pygments lexer loses nothing and knows every token of every recipe."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest
from pygments.token import Error, Keyword, Name, Number

from alchemist_dsl.docs.editors import RecipeLexer

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.recipe"))
LEXER = RecipeLexer(stripnl=False, ensurenl=False)


def lexed(text: str) -> list[tuple[object, str]]:
    return [(kind, part) for kind, part in LEXER.get_tokens(text) if part.strip()]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT)))
def test_text_comes_back_whole_and_without_an_error(path: Path) -> None:
    tokens = list(LEXER.get_tokens(path.read_text()))
    assert "".join(part for _, part in tokens) == path.read_text()
    assert [part for kind, part in tokens if kind in Error] == []


def test_words_are_told_apart_by_where_they_stand() -> None:
    found = lexed("task response {\n  response = rows(a)\n  keep x.keep\n}\n")
    assert found[:4] == [
        (Keyword.Declaration, "task"),
        (Name.Class, "response"),
        (found[2][0], "{"),
        (Name.Attribute, "response"),
    ]
    assert (Name.Builtin, "rows") in found
    assert found.count((Keyword, "keep")) == 1 and found.count((Name, "keep")) == 1


def test_amounts() -> None:
    found = lexed("a = 2M tokens/min\nb = 4/min(x)\n")
    assert [f for f in found if f[0] in (Number, Keyword.Type)] == [
        (Number, "2M"),
        (Keyword.Type, "tokens"),
        (Keyword.Type, "/min"),
        (Number, "4"),
    ]


@pytest.mark.parametrize("quotes", ['"' * 3, '"' * 5, '"' * 7])
def test_a_template_ends_where_its_own_quotes_close(quotes: str) -> None:
    inner = '  ""\n' if len(quotes) == 3 else '  """\n'
    found = lexed(f"user = jinja{quotes}\n  {{{{ x }}}} and {{% if }}\n{inner}  {quotes}\nlast = y\n")
    assert found[-3:] == [(Name, "last"), (found[-2][0], "="), (Name, "y")]
    assert sum(part.strip() == quotes for _, part in found) == (2 if len(quotes) < 6 else 0)


def test_what_is_no_token_is_marked() -> None:
    assert (Error, "§") in lexed("a = §\n")


def test_the_package_offers_it_to_pygments() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["pygments.lexers"]["recipe"].partition(":")
    assert getattr(importlib.import_module(module), name) is RecipeLexer
