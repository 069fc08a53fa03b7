"""Three versions of `recipe.lock` as one: what each side says alone is kept, what they say differently is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.project.lockfile import MEASURED, Conflict, Lock, dumps, loads, merge

small = st.dictionaries(
    st.sampled_from(["digest", "revision", "rows", "license"]),
    st.one_of(st.integers(0, 2), st.sampled_from(["a", "b"]), st.booleans()),
    max_size=3,
)
sides = st.builds(
    Lock,
    st.dictionaries(
        st.sampled_from(["files", "hub", "later", MEASURED]),
        st.dictionaries(st.sampled_from(["x", "y", "z"]), small, min_size=1, max_size=3),
        max_size=4,
    ),
    st.dictionaries(st.sampled_from(["note", "owner"]), st.integers(0, 2), max_size=2),
)


def facts(lock: Lock) -> dict[tuple[str, str], object]:
    out: dict[tuple[str, str], object] = {
        (section, name): fact for section, known in lock.sections.items() for name, fact in known.items()
    }
    return out | {("", name): value for name, value in lock.extra.items()}


def one(section: str = "files", **known: dict[str, object]) -> Lock:
    return Lock({section: known} if known else {})


@given(sides, sides)
def test_what_one_side_alone_changed_is_taken(base, changed):
    for ours, theirs in ((base, changed), (changed, base), (changed, changed)):
        merged, conflicts = merge(base, ours, theirs)
        assert not conflicts and dumps(merged) == dumps(changed)


@given(sides, sides, sides)
def test_sides_only_swap_in_what_they_say_differently(base, ours, theirs):
    merged, conflicts = merge(base, ours, theirs)
    other, swapped = merge(base, theirs, ours)
    assert [(c.section, c.resource) for c in conflicts] == [(c.section, c.resource) for c in swapped]
    told = {(c.section, c.resource) for c in conflicts}
    both = [{k: v for k, v in facts(m).items() if k not in told and k[0] != MEASURED} for m in (merged, other)]
    assert dumps(Lock({"all": {repr(k): {"is": v} for k, v in both[0].items()}})) == dumps(
        Lock({"all": {repr(k): {"is": v} for k, v in both[1].items()}})
    )


@given(sides, sides, sides)
def test_no_fact_is_made_up_and_none_is_lost(base, ours, theirs):
    merged, conflicts = merge(base, ours, theirs)
    known = [facts(side) for side in (base, ours, theirs)]
    for name, fact in facts(merged).items():
        assert any(name in side for side in known[1:])
        for key, value in fact.items() if isinstance(fact, dict) else ():
            held = [side[name] for side in known if isinstance(side.get(name), dict)]
            assert any(key in h and h[key] == value for h in held)
    kept = facts(merged)
    for name in known[1].keys() & known[2].keys():  # dropped by nobody
        assert name in kept
    assert not any(c.section == MEASURED for c in conflicts)
    assert loads(dumps(merged)).sections == merged.sections


@given(sides, sides, sides)
def test_a_fact_in_conflict_stands_as_ours(base, ours, theirs):
    merged, conflicts = merge(base, ours, theirs)
    for c in conflicts:
        assert facts(merged).get((c.section, c.resource)) == c.ours
        assert facts(theirs).get((c.section, c.resource)) == c.theirs
        assert dumps(Lock({"f": {"x": {"v": c.ours or {}}}})) != dumps(Lock({"f": {"x": {"v": c.theirs or {}}}})) or (
            c.ours is None
        ) != (c.theirs is None)


def test_both_sides_add_files():
    merged, conflicts = merge(one(), one(a={"digest": "1"}), one(b={"digest": "2"}))
    assert not conflicts
    assert merged.sections["files"] == {"a": {"digest": "1"}, "b": {"digest": "2"}}


def test_keys_of_one_fact_join_where_both_mean_the_same_bytes():
    base = one(a={"digest": "1", "rows": 3})
    merged, conflicts = merge(
        base, one(a={"digest": "1", "rows": 3, "license": "MIT"}), one(a={"digest": "1", "rows": 3, "size": 9})
    )
    assert not conflicts
    assert merged.fact("files", "a") == {"digest": "1", "license": "MIT", "rows": 3, "size": 9}


def test_rows_of_one_version_never_stand_beside_the_digest_of_another():
    base, ours = one(a={"digest": "1"}), one(a={"digest": "2"})
    theirs = one(a={"digest": "1", "rows": 3})
    merged, conflicts = merge(base, ours, theirs)
    assert conflicts == (Conflict("files", "a", {"digest": "1"}, {"digest": "2"}, {"digest": "1", "rows": 3}),)
    assert merged == ours


def test_a_fact_that_one_side_dropped_and_the_other_changed_wants_a_person():
    base = one("hub", a={"revision": "1"})
    _, conflicts = merge(base, one(), one("hub", a={"revision": "2"}))
    assert [(c.ours, c.theirs) for c in conflicts] == [(None, {"revision": "2"})]


def test_figures_are_unions_and_ours_stand():
    base = one(MEASURED, k={"node": "n", "rows": 1}, old={"node": "n", "rows": 9})
    ours = one(MEASURED, k={"node": "n", "rows": 2}, a={"node": "m", "rows": 1})
    theirs = one(MEASURED, k={"node": "n", "rows": 3}, b={"node": "o", "rows": 1}, old={"node": "n", "rows": 8})
    merged, conflicts = merge(base, ours, theirs)
    assert not conflicts
    assert merged.sections[MEASURED] == {
        "a": {"node": "m", "rows": 1},
        "b": {"node": "o", "rows": 1},
        "k": {"node": "n", "rows": 2},
        "old": {"node": "n", "rows": 8},
    }


@given(sides, sides, sides)
def test_a_person_who_takes_our_side_of_every_conflict_has_what_merge_says(base, ours, theirs):
    merged, conflicts = merge(base, ours, theirs)
    text = dumps(merged, conflicts)
    assert text.count("<<<<<<< ours\n") == len(conflicts)
    kept, out = [], True
    for line in text.splitlines(keepends=True):
        if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
            out = not line.startswith("=======")
        elif out:
            kept.append(line)
    assert loads("".join(kept)).extra == merged.extra
    assert {k: v for k, v in loads("".join(kept)).sections.items() if v} == merged.sections
