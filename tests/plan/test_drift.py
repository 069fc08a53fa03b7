"""Facts held against the world: what is added, what changes, and what is never touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.project.lockfile import Change, Lock, applied, brief, compare, dumps, parts, sentence, unused

values = st.one_of(st.integers(0, 2), st.sampled_from(["a", "b"]))
keys = st.sampled_from(["digest", "revision", "rows", "license", "later"])
names = st.sampled_from(["x", "y", "z"])
sections = st.sampled_from(["files", "hub", "sources"])
locks = st.builds(
    Lock, st.dictionaries(sections, st.dictionaries(names, st.dictionaries(keys, values, max_size=4), max_size=3))
)
worlds = st.dictionaries(
    sections, st.dictionaries(names, st.dictionaries(keys, st.one_of(st.none(), values), max_size=4), max_size=3)
)


@given(locks, worlds)
def test_what_is_taken_over_agrees_with_the_world(lock, current):
    taken = applied(lock, compare(lock, current))
    assert compare(taken, current) == ()
    for section, facts in current.items():
        for name, fact in facts.items():
            known = taken.fact(section, name)
            assert known is not None
            assert {k: v for k, v in fact.items() if v is not None}.items() <= known.items()


@given(locks, worlds)
def test_adding_changes_no_fact_that_is_known(lock, current):
    added = applied(lock, [c for c in compare(lock, current) if c.kind != "changed"])
    for section, facts in lock.sections.items():
        for name, fact in facts.items():
            assert fact.items() <= added.fact(section, name).items()


@given(locks, worlds)
def test_what_the_world_does_not_tell_of_stays(lock, current):
    taken = applied(lock, compare(lock, current))
    for section, facts in lock.sections.items():
        for name, fact in facts.items():
            found = current.get(section, {}).get(name, {})
            left = {k: v for k, v in fact.items() if k not in found}
            assert left.items() <= taken.fact(section, name).items()


@given(locks, worlds)
def test_every_change_says_something_and_a_world_that_agrees_says_nothing(lock, current):
    changes = compare(lock, current)
    assert all(parts(c) and sentence(c) for c in changes if c.kind != "new" or c.after)
    assert (changes == ()) == (dumps(applied(lock, changes)) == dumps(lock) or not changes)


@given(locks)
def test_taking_out_what_nothing_uses_leaves_the_rest(lock):
    gone = unused(lock, {"files": ["x"]})
    left = applied(lock, gone)
    assert set(left.sections.get("files", {})) <= {"x"}
    assert left.sections.get("hub") == lock.sections.get("hub")
    assert all(c.after is None and c.kind == "unused" for c in gone)


def test_rows_of_other_bytes_go_where_they_cannot_be_counted():
    lock = Lock({"files": {"a": {"digest": "1", "rows": 3, "size": 9}}})
    (change,) = compare(lock, {"files": {"a": {"digest": "2", "rows": None, "size": 10}}})
    assert change.kind == "changed" and change.after == {"digest": "2", "size": 10}
    assert parts(change) == ["rows 3 (not known any more)", "size 9 bytes → 10 bytes (+1)", "content 1 → 2"]
    # the same bytes: what was counted once holds
    assert compare(lock, {"files": {"a": {"digest": "1", "rows": None}}}) == ()


@pytest.mark.parametrize(
    "change, words",
    [
        (
            Change(
                "files",
                "a.jsonl",
                "changed",
                {"rows": 80_000, "columns": {"a": "text", "b": "int"}},
                {"rows": 81_234, "columns": {"a": "text?", "c": "bool"}},
            ),
            "file `a.jsonl`: rows 80,000 → 81,234 (+1,234), column `a` text → text?, column `b: int` is gone, column `c: bool` is new",
        ),
        (
            Change("teachers", "r.recipe@small#paid", "changed", {"input": "$2 per 1M tokens"}, {"free": True}),
            "teacher `paid` of r.recipe@small: free of charge (not known before), input $2 per 1M tokens (not known any more)",
        ),
        (
            Change(
                "hub", "o/n", "changed", {"license": "mit", "revision": "a" * 40}, {"license": "", "revision": "b" * 40}
            ),
            f"dataset `o/n`: licence mit → none stated, revision {'a' * 12} → {'b' * 12}",
        ),
        (
            Change("python", "json", "new", None, {"digest": "b2:" + "c" * 64, "python": "3.11"}),
            f"package `json`: Python 3.11, content {'c' * 12}",
        ),
        (
            Change("measured", "b2:" + "d" * 64, "unused", {"node": "clean", "rows": 3}, None),
            f"figures of `clean` ({'d' * 12}): rows 3, node clean",
        ),
        (Change("unheard", "x", "new", None, {"y": [1, 2]}), "[unheard] `x`: y 1, 2"),
    ],
)
def test_words(change, words):
    assert sentence(change) == words


def test_a_new_fact_in_brief():
    fact = {"digest": "b2:1", "rows": 3, "columns": {"a": "text"}, "size": 9}
    assert brief(Change("files", "a", "new", None, fact)) == "file `a`: rows 3"
    assert brief(Change("sources", "r#s", "new", None, {"columns": {}})) == "source `s` of r"
