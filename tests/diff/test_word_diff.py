"""Word diffs: what they show on texts that people change, and that no character is lost, moved or made up."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.comparison.words import Piece, word_diff


def marked(pieces: list[Piece]) -> str:
    shape = {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}
    return "".join(shape[kind].format(text) for kind, text in pieces)


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("", "", ""),
        ("a b", "a b", "a b"),
        ("", "new", "{+new+}"),
        ("old", "", "[-old-]"),
        ("Be brief.", "Be kind.", "Be [-brief-]{+kind+}."),
        ("Be brief.", "Be very brief.", "Be {+very +}brief."),
        ("one two three", "one three", "one [-two -]three"),
        ("a  b", "a b", "a[-  -]{+ +}b"),
        ("a b\n", "a b", "a b[-\n-]"),
        ("say it in plain words", "say it with few words", "say it [-in plain-]{+with few+} words"),
        ("x = 1\ny = 2\n", "x = 1\ny = 3\n", "x = 1\ny = [-2-]{+3+}\n"),
        ("row_count", "row_counts", "[-row_count-]{+row_counts+}"),
        ("漢字を書く", "漢字を読む", "漢字を[-書く-]{+読む+}"),
    ],
)
def test_what_is_shown(before: str, after: str, shown: str) -> None:
    assert marked(word_diff(before, after)) == shown


def test_long_texts_are_matched_by_line_and_then_by_word() -> None:
    line = "the end of the line is the end of the row\n"
    before = line * 400
    after = line * 200 + "the end of the line is the start of the row\n" + line * 199
    pieces = word_diff(before, after)
    assert [p for p in pieces if p[0] != "same"] == [("removed", "end"), ("added", "start")]


def test_a_text_that_repeats_one_word_is_compared_at_once() -> None:
    before, after = "a " * 20_000, "b a " * 20_000
    pieces = word_diff(before, after)
    assert put_together(pieces) == (before, after)


def put_together(pieces: list[Piece]) -> tuple[str, str]:
    before = "".join(text for kind, text in pieces if kind != "added")
    return before, "".join(text for kind, text in pieces if kind != "removed")


def holds(before: str, after: str) -> None:
    pieces = word_diff(before, after)
    assert put_together(pieces) == (before, after)
    assert all(text for _, text in pieces)
    kinds = [kind for kind, _ in pieces]
    assert all(a != b for a, b in itertools.pairwise(kinds))
    assert ("added", "removed") not in set(itertools.pairwise(kinds))
    assert (kinds in ([], ["same"])) == (before == after)


@given(st.text(), st.text())
def test_both_texts_can_be_put_together_again(before: str, after: str) -> None:
    holds(before, after)


words = st.lists(st.sampled_from(["a", "b", "the", "row", ".", " ", "  ", "\n", "\t"]), max_size=60)


@given(words, words)
def test_both_texts_can_be_put_together_again_from_words_that_repeat(before: list[str], after: list[str]) -> None:
    holds("".join(before), "".join(after))
