"""Finds the steps of two plans that are the same step: by name, by equal key (a rename is free), by `moved`, by
likeness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.schema.plan import Node, Plan

from alchemist_dsl.comparison.model import Match
from alchemist_dsl.explain.description import describe

#: Share of equal values from which two steps of the same kind may be one step that was renamed.
ALIKE: Final = 0.6


@dataclass(frozen=True, slots=True)
class Matched:
    """A step on both sides, or on one of them only."""

    before: Node | None
    after: Node | None
    how: Match | None = None


def matched(before: Plan, after: Plan) -> list[Matched]:
    """Every step of both plans once, in the order of the new plan; steps that are gone stand where they stood."""
    old = {n.id: n for n in before.nodes}
    new = {n.id: n for n in after.nodes}
    pairs: dict[str, tuple[str, Match]] = {
        name: (name, "name") for name in new if name in old and old[name].kind == new[name].kind
    }
    for rule in (_equal_keys, _moved, _similar):
        taken = {b for b, _ in pairs.values()}
        left = [n for n in old.values() if n.id not in taken]
        for b, a, how in rule(left, [n for n in new.values() if n.id not in pairs], before, after):
            if a not in pairs and b not in {x for x, _ in pairs.values()}:
                pairs[a] = (b, how)
    return list(_in_order(old, new, pairs))


Found = Iterator[tuple[str, str, Match]]


def _equal_keys(old: list[Node], new: list[Node], before: Plan, after: Plan) -> Found:
    by_key = {n.key: n.id for n in old}
    yield from ((by_key[n.key], n.id, "key") for n in new if n.key in by_key)


def _moved(old: list[Node], new: list[Node], before: Plan, after: Plan) -> Found:
    """A block that `moved` leads back to an old name draws with that name's salt."""
    kinds = {n.id: n.kind for n in old}
    for n in new:
        salt = _salt(n)
        if salt is not None and salt != n.id and kinds.get(salt) == n.kind:
            yield salt, n.id, "moved"


def _salt(node: Node) -> str | None:
    select = getattr(node.spec, "select", None)
    return getattr(node.spec, "salt", None) or getattr(select, "salt", None)


def _similar(old: list[Node], new: list[Node], before: Plan, after: Plan) -> Found:
    """The likest of the same kind first. What a step reads counts by name, so that equal neighbours speak for it."""
    scored = sorted((-_likeness(b, a, before, after), b.id, a.id) for b in old for a in new if b.kind == a.kind)
    yield from ((b, a, "similar") for score, b, a in scored if -score >= ALIKE)


def _likeness(b: Node, a: Node, before: Plan, after: Plan) -> float:
    left, right = describe(before, b, {}), describe(after, a, {})
    names = ({*left} | {*right}) - {"salt"}
    same = sum(left[n].data == right[n].data for n in names if n in left and n in right)
    return same / len(names) if names else 0.0


def _in_order(
    old: Mapping[str, Node], new: Mapping[str, Node], pairs: Mapping[str, tuple[str, Match]]
) -> Iterator[Matched]:
    """A merge of both orders: what is gone comes before the first step that stood behind it and is still there."""
    later = {b: a for a, (b, _) in pairs.items()}
    gone: dict[str | None, list[Node]] = {}
    waiting: list[Node] = []
    for node in old.values():
        if node.id in later:
            gone.setdefault(later[node.id], []).extend(waiting)
            waiting = []
        else:
            waiting.append(node)
    for node in new.values():
        yield from (Matched(n, None) for n in gone.get(node.id, ()))
        b, how = pairs.get(node.id, (None, None))
        yield Matched(None if b is None else old[b], node, how)
    yield from (Matched(n, None) for n in waiting)
