"""Exact duplicates against plain Python."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from alchemist_runtime.schema import catalog
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.one_of(st.none(), st.sampled_from(["", "a", "b", "aa", "ab", "é", "a\nb", "same length"]))


def labels(columns: list[list[str | None]]) -> list[int]:
    ids = np.zeros((len(columns[0]), 2), np.uint64)
    made = catalog.find("dedup", "exact").function([pa.array(c, pa.string()) for c in columns], ids)
    return made.labels.tolist()


@given(st.integers(1, 3).flatmap(lambda k: st.lists(st.tuples(*[TEXT] * k), max_size=40)))
def test_groups_are_those_of_equal_texts(rows):
    if not rows:
        return
    first: dict[tuple[str, ...], int] = {}
    want = []
    for k, row in enumerate(rows):
        texts = tuple(t or "" for t in row)
        want.append(first.setdefault(texts, k) if any(texts) else k)
    assert labels([list(c) for c in zip(*rows, strict=True)]) == want


def test_columns_are_compared_one_by_one():
    assert labels([["a\nb", "a"], ["c", "b\nc"]]) == [0, 1]


def test_rows_without_text_are_no_duplicates():
    assert labels([["", None, "", "x", "x"], [None, None, "", "", None]]) == [0, 1, 2, 3, 3]


def test_case_and_spaces_count():
    assert labels([["a b", "A b", "a  b", "a b "]]) == [0, 1, 2, 3]


def test_no_rows():
    assert labels([[]]) == []


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_text_types_and_chunks(kind):
    column = pa.chunked_array([["a", "bb"], [], ["a", "cc", "bb"]], pa.string()).cast(kind)
    made = catalog.find("dedup", "exact").function([column], np.zeros((5, 2), np.uint64))
    assert made.labels.tolist() == [0, 1, 0, 3, 1]
    assert made.similarity(np.array([0, 1]), np.array([2, 4])).tolist() == [1.0, 1.0]


def test_components_are_found_without_importing_what_they_need():
    program = """
import sys
from alchemist_runtime.schema import catalog
for family, name in (("dedup", "exact"), ("dedup", "minhash"), ("decontaminate", "ngram")):
    found = catalog.find(family, name)
    print(name, [(p.name, p.type, p.default, p.range.low, p.range.high) for p in found.params])
print(sorted({"numpy", "pyarrow", "rensa"} & set(sys.modules)))
"""
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert made.stdout.splitlines() == [
        "exact []",
        "minhash [('ngram', 'int', 5, 1, 32), ('permutations', 'int', 128, 16, 1024), ('threshold', 'real', 0.8, 0.1, 1)]",
        "ngram [('n', 'int', 10, 1, 64), ('share', 'real', 0.0, 0, 1)]",
        "[]",
    ]
