"""Leaks by whole texts and by entry points against plain Python."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from alchemist_runtime.operators.leaks import Items, Leaks
from alchemist_runtime.schema import catalog
from hypothesis import given
from hypothesis import strategies as st

Rows = list[list[str | None]]


def run(name: str, rows: Rows, items: Items, **args: object) -> Leaks:
    columns = [pa.array(list(c), pa.string()) for c in zip(*rows, strict=True)]
    return catalog.find("decontaminate", name).function(columns, items, **args)


def suite(texts: list[list[str]], entry_points: list[str | None] | None = None) -> Items:
    return Items(texts, [f"i{k}" for k in range(len(texts))], ["suite"] * len(texts), entry_points)


def found(leaks: Leaks) -> list[tuple[int, int, str]]:
    return list(zip(leaks.row.tolist(), leaks.item.tolist(), leaks.match, strict=True))


# --- substring --------------------------------------------------------------------------------------------------------


def test_a_whole_text_whatever_its_case_is_a_leak() -> None:
    rows: Rows = [
        ["Please RETURN THE SUM of all", "x"],
        ["return the", "sum of all"],
        [None, None],
        ["", "so return the sum of all!"],
    ]
    leaks = run("substring", rows, suite([["  return the sum of all\n"]]))
    assert found(leaks) == [(0, 0, "RETURN THE SUM of all"), (3, 0, "return the sum of all")]
    leaks = run("substring", rows, suite([["so return the sum of"]]))
    assert found(leaks) == [(3, 0, "so return the sum of")]


def test_texts_that_may_stand_and_texts_that_are_too_short() -> None:
    items = suite([["return sum(numbers)", "def total(numbers):\n    return sum(numbers)"], ["x + y"], [""]])
    rows: Rows = [["def f(numbers):\n    return sum(numbers)"]]
    assert found(run("substring", rows, items)) == [(0, 0, "return sum(numbers)")]
    leaks = run("substring", rows, items, allow=["Return sum(numbers) "])
    assert found(leaks) == []
    assert leaks.unsearchable == (1,), "an item without texts is not there to be searched for"
    assert found(run("substring", [["x + y > 1 and more"]], suite([["x + y > 1"]]), shortest=8)) == [
        (0, 0, "x + y > 1")
    ]


def test_the_longest_text_then_the_first_item() -> None:
    items = suite([["abcdefgh 12345678"], ["abcdefgh 12345678 9"], ["abcdefgh 12345678 9"]])
    assert found(run("substring", [["..abcdefgh 12345678 90"]], items)) == [(0, 1, "abcdefgh 12345678 9")]


def test_lower_case_that_changes_the_length() -> None:
    rows: Rows = [["İİİ the quick brown fox"]]
    assert found(run("substring", rows, suite([["The Quick brown fox"]]))) == [(0, 0, "the quick brown fox")]


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).lower()


PIECE = st.sampled_from(["ab", "ba", "aaaa", "bbbb", " ", "é", "日", "\n"])
TEXT = st.lists(PIECE, max_size=14).map("".join)


@given(
    st.lists(st.tuples(st.one_of(st.none(), TEXT), TEXT).map(list), min_size=1, max_size=6),
    st.lists(st.lists(TEXT, max_size=2), max_size=5),
)
def test_substring_equals_plain_python(rows: Rows, texts: list[list[str]]) -> None:
    wanted = [(k, squeezed(t).strip()) for k, ts in enumerate(texts) for t in ts]
    wanted = [(k, t) for k, t in wanted if len(t.encode()) >= 8]
    expected = []
    for number, row in enumerate(rows):
        hits = [(len(t.encode()), -k) for k, t in wanted if any(t in squeezed(x or "") for x in row)]
        if hits:
            expected.append((number, -max(hits)[1]))
    leaks = run("substring", rows, suite(texts), shortest=8)
    assert [(r, i) for r, i, _ in found(leaks)] == expected
    for row, item, match in found(leaks):
        assert any(match in (x or "") for x in rows[row])
        assert squeezed(match) in {t for k, t in wanted if k == item}


def test_white_space_and_what_is_not_seen_hide_no_text() -> None:
    items = suite([["Return the sum\nof all café tables."]])
    rows: Rows = [
        [t]
        for t in (
            "return  the\tsum of all café tables.",
            "Return the sum of all cafe\u0301 tables.",
            "Re\u00adturn the s\u200bum of all café tables.",
            "return the sum of all cafe tables.",
        )
    ]
    assert [(r, m) for r, _, m in found(run("substring", rows, items))] == [
        (0, "return  the\tsum of all café tables."),
        (1, "return the sum of all café tables."),
        (2, "return the sum of all café tables."),
    ]


def test_no_text_reaches_from_one_row_into_the_next() -> None:
    rows: Rows = [["return the  "], ["  sum of all"], [" "], [""], [" return the sum of all "]]
    assert found(run("substring", rows, suite([["return the sum of all"]]))) == [(4, 0, "return the sum of all")]


# --- entry points -----------------------------------------------------------------------------------------------------


def test_a_name_as_a_word_of_its_own_is_a_leak() -> None:
    items = suite([[], [], [], []], ["sum_squares", "sum", None, "sum"])
    rows: Rows = [
        ["call sum_squares(3)", ""],
        ["sum_squares_of", "resum"],
        ["", "x.sum()"],
        [None, None],
        ["Sum", "checksum"],
    ]
    assert found(run("entry_point", rows, items)) == [(0, 0, "sum_squares"), (2, 1, "sum")]
    assert found(run("entry_point", rows, items, allow=["sum"])) == [(0, 0, "sum_squares")]
    assert found(run("entry_point", rows, suite([["a"]]))) == []


@given(
    st.lists(st.text("ab_ (é", max_size=12), min_size=1, max_size=6),
    st.lists(st.text("ab_", min_size=1, max_size=3), max_size=4),
)
def test_entry_points_equal_plain_python(texts: list[str], names: list[str]) -> None:
    expected = []
    for number, text in enumerate(texts):
        hit = next((w for w in re.findall(r"\w+", text) if w in names), None)
        if hit is not None:
            expected.append((number, names.index(hit), hit))
    items = suite([[] for _ in names], list(names))
    assert found(run("entry_point", [[t] for t in texts], items)) == expected


@pytest.mark.parametrize("name", ["substring", "entry_point"])
def test_no_rows_and_no_items(name: str) -> None:
    empty = pa.array([], pa.string())
    function = catalog.find("decontaminate", name).function
    assert found(function([empty], suite([["a long enough text"]], ["f"]))) == []
    assert found(run(name, [["a"]], suite([]))) == []
