"""The formatter's promises over generated recipes and damaged ones: same tree, same comments, twice is once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from format_texts import damaged, read, recipes, tree, without_texts
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax.decode import decode
from alchemist_dsl.syntax.format import format_text

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "recipes" / "alchemistcoder.recipe").read_text()
QUICK = (ROOT / "recipes" / "quickstart.recipe").read_text()


def formatted(text: str) -> str:
    return format_text(SourceFile("r.recipe", text))[0]


def keeps(text: str) -> str:
    """Format a text and hold what always holds."""
    out = formatted(text)
    assert formatted(out) == out
    before, codes = read(text)
    after, still = read(out)
    assert tree(after) == tree(before)  # comments, in order, are part of it
    assert still == codes
    return out


@given(recipes())
def test_recipes(text: str) -> None:
    assert read(text)[1] == (), "the strategy writes only what parses"
    out = without_texts(keeps(text))
    lines = out.split("\n")
    assert lines.pop() == ""  # one line end at the end
    for before, line in zip(["{", *lines], lines, strict=False):
        assert line == line.rstrip(" \t")
        assert line or (before and not before.split("#")[0].rstrip().endswith(("{", "[")))
        assert not (re.match(r" *[}\])]", line) and not before)
        assert (len(line) - len(line.lstrip(" "))) % 2 == 0


@given(st.data())
def test_damaged_examples(data: st.DataObject) -> None:
    keeps(data.draw(damaged(data.draw(st.sampled_from([EXAMPLE, QUICK])))))


@given(st.data())
def test_damaged_recipes(data: st.DataObject) -> None:
    keeps(data.draw(damaged(data.draw(recipes()))))


@given(st.text())
def test_any_text(text: str) -> None:
    keeps(text)


@given(st.binary(max_size=12), st.integers(0, len(QUICK)), st.integers(0, 40))
def test_noise_of_bytes_is_formatted_or_refused_and_never_lost(noise: bytes, at: int, cut: int) -> None:
    whole = QUICK.encode()
    file, problems = decode("r.recipe", whole[:at] + noise + whole[at + cut :])
    if file is None:
        assert [p.code for p in problems] == ["A014"], "what is no text is named, and left as it is"
    else:
        keeps(file.text)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.recipe")), ids=lambda p: str(p.relative_to(ROOT)))
def test_shipped_recipes_are_formatted(path: Path) -> None:
    assert formatted(path.read_text()) == path.read_text()
