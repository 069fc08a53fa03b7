"""The TextMate grammar is whole: its expressions compile, its includes lead somewhere, its words are fresh."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alchemist_dsl.docs import editors
from alchemist_dsl.docs.words import vocabulary

GRAMMARS = Path(__file__).resolve().parents[2] / "grammar"
GRAMMAR = json.loads((GRAMMARS / "recipe.tmLanguage.json").read_text())
REPOSITORY = GRAMMAR["repository"]


def rules(rule: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield rule
    for inner in rule.get("patterns", ()):
        yield from rules(inner)


RULES = [r for top in (GRAMMAR, *REPOSITORY.values()) for r in rules(top)]


def match(name: str, line: str) -> tuple[str | None, ...] | None:
    found = re.search(REPOSITORY[name]["match"], line)
    return None if found is None else (found.groups() or (found[0].strip(),))


def test_expressions_compile_and_captures_exist() -> None:
    counted = 0
    for rule in RULES:
        opening = re.compile(rule["match"] if "match" in rule else rule.get("begin", ""))
        groups = max(map(int, rule.get("captures", rule.get("beginCaptures", {"0": 0}))), default=0)
        assert groups <= opening.groups, rule
        if "end" in rule:  # it may refer back to what `begin` found
            referred = [int(n) for n in re.findall(r"\\([1-9])", rule["end"])]
            assert all(n <= opening.groups for n in referred), rule
            re.compile(re.sub(r"\\[1-9]", "same", rule["end"]))
        counted += opening.pattern != ""
    assert counted > 20


def test_includes_lead_somewhere() -> None:
    wanted = {r["include"] for r in RULES if "include" in r}
    assert wanted <= {f"#{name}" for name in REPOSITORY}
    assert {f"#{name}" for name in REPOSITORY} == wanted


@pytest.mark.parametrize(
    ("name", "line", "found"),
    [
        ("kind", "source evol {", ("source", "evol", None)),
        ("kind", "  take {", ("take", None, None)),
        ("kind", 'test "one row" {', ("test", None, '"one row"')),
        ("kind", "sources evol {", None),
        ("attribute", "  learning_rate = 1e-4", ("learning_rate",)),
        ("attribute", "  learning = 1", None),
        ("attribute", "  from == x", None),
        ("function", "  drop chars(response) < 8", ("chars",)),
        ("function", "  drop x.chars(response)", None),
        ("type", "  a: int(0..10)", (":", "int")),
        ("top", "edition 2026", ("edition",)),
        ("statement", "  keep x", ("keep",)),
        ("statement", "  keeper = x", None),
        ("number", "  a = 2M tokens/min", ("2", "M", "tokens", "/min")),
        ("number", "  a = $1.2k", ("$1.2", "k", None, None)),
        ("number", "  a = 512MiB", ("512", "MiB", None, None)),
        ("number", "  a = 4/min(x)", ("4", None, None, None)),
        ("number", "  a = 5_000..8_000 rows", ("5_000", None, None, None)),
        ("value", "  a = null", ("null",)),
    ],
)
def test_what_a_line_is(name: str, line: str, found: tuple[str | None, ...] | None) -> None:
    assert match(name, line) == found


def test_every_kind_attribute_and_function_is_known() -> None:
    words = vocabulary()
    for word in words["kinds"] + words["blocks"]:
        assert match("kind", f"{word} x {{") == (word, "x", None)
    for word in words["attributes"]:
        assert match("attribute", f"  {word} = 1") == (word,)
    for word in words["functions"]:
        assert match("function", f"{word}(x)") == (word,)
    for word in words["units"]:
        assert match("number", f"5 {word}") == ("5", None, word, None)
    for word in words["suffixes"]:
        assert match("number", f"5{word}") == ("5", word, None, None)


def test_the_words_of_all_grammars_are_fresh() -> None:
    assert editors.stale() == [], "run `make tables`"


def test_a_stale_grammar_is_named_and_written(tmp_path: Path) -> None:
    for path, text in editors.files(GRAMMARS).items():
        copy = tmp_path / path.relative_to(GRAMMARS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text.replace("relabel", "relable"))
    assert {p.name for p in editors.stale(tmp_path)} == {"recipe.tmLanguage.json", "highlights.scm", "words.json"}
    for path, text in editors.files(tmp_path).items():
        path.write_text(text)
    assert editors.stale(tmp_path) == []
