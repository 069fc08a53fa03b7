"""The steps of two plans one after the other: what changed in each, what follows for its ports, and what a run would do
with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Edge, Node, Plan, card_digest

from alchemist_dsl.comparison import impact, resources
from alchemist_dsl.comparison.effects import ENTRY_NAMES, Effect, effect
from alchemist_dsl.comparison.flows import OTHER, SAME, UNCHANGED, UNKNOWN, Flow, Ports, joined, passed
from alchemist_dsl.comparison.model import Category, Change, Match, MixtureDiff, NodeDiff
from alchemist_dsl.comparison.resources import changes
from alchemist_dsl.comparison.side import Side
from alchemist_dsl.explain.description import describe, stream
from alchemist_dsl.explain.staleness import Remembered
from alchemist_dsl.explain.staleness import changes as reasons_of

# --- matching --------------------------------------------------------------------------------------------------------

#: Share of equal values from which two steps of the same kind may be one step that was renamed.
ALIKE: Final = 0.6


@dataclass(frozen=True, slots=True)
class Matched:
    """A step on both sides, or on one of them only."""

    before: Node | None
    after: Node | None
    how: Match | None = None


def match_steps(before: Plan, after: Plan) -> list[Matched]:
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


# --- steps -----------------------------------------------------------------------------------------------------------


@dataclass
class Steps:
    """Goes through the steps in the order of the new plan, so that what comes in is known before what it does."""

    before: Side
    after: Side
    old: Plan
    new: Plan
    pairs: Sequence[Matched]
    names: dict[str, str] = field(init=False)
    ports: dict[str, Ports] = field(default_factory=dict)  # by the name after
    found: dict[str, list[Change]] = field(default_factory=dict)
    made: dict[str, NodeDiff] = field(default_factory=dict)
    cards: set[str] = field(default_factory=set)  # exports whose card says something else

    def __post_init__(self) -> None:
        self.names = {m.before.id: m.after.id for m in self.pairs if m.before and m.after}

    def nodes(self) -> Iterator[NodeDiff]:
        plans = None in (self.before.program, self.after.program)  # which do not say how they were written
        empty: Mapping[str, str] = {}
        written = (empty, empty) if plans else (resources.block_texts(self.before), resources.block_texts(self.after))
        for m in self.pairs:
            node = self._one(m, written)
            if node is not None:
                self.made[node.id] = node
                yield node

    def _one(self, m: Matched, written: tuple[Mapping[str, str], Mapping[str, str]]) -> NodeDiff | None:
        if m.after is None:
            assert m.before is not None
            return self._gone(m.before)
        if m.before is None:
            self.ports[m.after.id] = UNKNOWN
            return self._with_figures(None, m.after, _new(m.after), OTHER)
        return self._both(m, m.before, m.after, written)

    def _gone(self, node: Node) -> NodeDiff:
        result = NodeDiff(
            id=node.id,
            kind=node.kind,
            status="removed",
            at=node.at,
            category="narrowing" if node.kind == "source" else "breaking",
        )
        return self._with_figures(node, None, result, SAME)

    def _both(
        self, m: Matched, b: Node, a: Node, written: tuple[Mapping[str, str], Mapping[str, str]]
    ) -> NodeDiff | None:
        self.ports[a.id] = UNCHANGED
        renamed = b.id != a.id
        if KINDS[a.kind].writes and card_digest(self.old, b) != card_digest(self.new, a):
            self.cards.add(a.id)
        if b.key == a.key and b.meta_key == a.meta_key and not renamed:
            if a.id in self.cards:
                return self._plain(m, b, a, "metadata")
            same = written[0].get(b.id) == written[1].get(a.id)
            return None if same else self._plain(m, b, a, "cosmetic")
        found = self._changes(b, a)
        eff, judged = effect(b, a, found)
        if b.key == a.key:  # nothing that decides a byte
            judged = [c.model_copy(update={"category": "metadata"}) for c in judged]
            self.found[a.id] = judged
            return self._plain(m, b, a, "metadata", judged)
        incoming, because = self._incoming(b, a)
        ports = eff.ports.and_(passed(a, incoming))
        self.ports[a.id] = ports
        self.found[a.id] = judged
        direct = any(c.category not in ("metadata", "cosmetic") for c in judged)
        category = eff.category if direct else _of_flow(ports.rows)
        result = NodeDiff(
            id=a.id,
            kind=a.kind,
            status="changed",
            at=a.at,
            before_id=b.id if renamed else None,
            match=m.how,
            category=category,
            direct=direct,
            because=because,
            may_stop=_stop(eff, a, because) if direct else None,
            changes=judged,
            notes=_notes(m, judged),
        )
        questions = joined((eff.ports.asked, passed(a, incoming).asked))
        drifts = not direct and joined(f for _, f in incoming).kind in ("grow", "shrink")
        return self._with_figures(b, a, result, questions, drifts=drifts)

    def _plain(self, m: Matched, b: Node, a: Node, category: Category, found: Sequence[Change] = ()) -> NodeDiff:
        result = NodeDiff(
            id=a.id,
            kind=a.kind,
            status="changed",
            at=a.at,
            before_id=b.id if b.id != a.id else None,
            match=m.how,
            category=category,
            changes=list(found),
            notes=["its dataset card is rewritten"] if a.id in self.cards else [],
        )
        return self._with_figures(b, a, result, SAME)

    def _changes(self, b: Node, a: Node) -> list[Change]:
        """What differs in the block; what the tables do not show is told by the ingredients of the keys."""
        old, new = describe(self.old, b, self.names), describe(self.new, a, {})
        found = changes(old, new)
        deciding = any(c.category != "metadata" for c in found)
        if b.own_key != a.own_key and not deciding:
            found += self._by_ingredients(b, a)
        return found

    def _by_ingredients(self, b: Node, a: Node) -> Iterator[Change]:
        before, after = (s.ingredients.get(n.id) for s, n in ((self.before, b), (self.after, a)))
        if before is None or after is None:
            yield Change(path="version of the step")
            return
        entries = [sorted(n.removeprefix("take.") for n in x if n.startswith("take.")) for x in (before, after)]
        if entries[0] != entries[1]:  # the tables say that the entries are the same
            gone, come = (sorted({*a} - {*b}) for a, b in (entries, entries[::-1]))
            yield Change(path=ENTRY_NAMES, before=", ".join(gone), after=", ".join(come))
        for reason in reasons_of(after, Remembered("", b.key, before), a):
            reported = (reason.path or "").startswith("take.") and entries[0] != entries[1]
            if reason.code != "input_changed" and not reported:
                yield Change(path=reason.path or reason.code, before=reason.before, after=reason.after)

    def _incoming(self, b: Node, a: Node) -> tuple[list[tuple[Edge, Flow]], list[str]]:
        """The changes that come in by edges that are on both sides, and the steps that they come from."""
        known = {(e.role.partition(".")[0], stream(e, self.names)) for e in b.inputs}
        flows, because = [], dict[str, None]()
        for edge in a.inputs:
            if (edge.role.partition(".")[0], stream(edge, {})) not in known:
                continue
            flow = self.ports[edge.node].of(edge)
            flows.append((edge, flow))
            there = self.made.get(edge.node)
            if there is not None and there.category not in ("metadata", "cosmetic"):
                because[edge.node] = None
        return flows, list(because)

    def _with_figures(
        self, b: Node | None, a: Node | None, result: NodeDiff, questions: Flow, *, drifts: bool = False
    ) -> NodeDiff:
        fig = impact.figure
        update: dict[str, object] = {
            "rows": impact.pair(fig(b, "rows"), fig(a, "rows")),
            "calls": impact.pair(fig(b, "calls"), fig(a, "calls")),
            "tokens": impact.pair(
                fig(b, "tokens", "tokens_in", "tokens_out"), fig(a, "tokens", "tokens_in", "tokens_out")
            ),
            "usd": impact.pair(fig(b, "usd"), fig(a, "usd"), whole=False),
            "gpu_hours": impact.pair(fig(b, "gpu_hours"), fig(a, "gpu_hours"), whole=False),
        }
        if a is not None:
            update["action"] = action = self._action(a, result)
            if impact.asks(a):
                update |= self._expected_calls(b, a, action, questions, drifts)
        return result.model_copy(update=update)

    def _action(self, a: Node, result: NodeDiff) -> object:
        doing = self._action_here(a)
        if doing == "build" and not KINDS[a.kind].writes and self._proved_equal(result):
            return "reuse"
        if doing is not None:
            return doing
        if not a.runnable:
            return "skip"
        if a.id in self.cards:
            return "build"
        if result.category in ("cosmetic", "metadata"):
            return "reuse"
        grows = impact.asks(a) and result.direct and result.category == "extending"
        return "extend" if grows else "build"

    def _proved_equal(self, result: NodeDiff) -> bool:
        """Whether a step that only follows reads what it read before, so that the run finds its result: the base's, if
        it is here.
        """
        base = next((n for n in self.old.nodes if n.id == (result.before_id or result.id)), None)
        ports = self.ports[result.id]
        same = all(getattr(ports, p).kind == "same" for p in ("rows", "dropped", "trace"))
        return same and not result.direct and base is not None and base.key in self.after.stored

    def _expected_calls(
        self, b: Node | None, a: Node, action: object, questions: Flow, drifts: bool
    ) -> dict[str, object]:
        ahead = (self.after.ahead or {}).get(a.id)
        found = self._calls(b, a, action, questions, drifts)
        out: dict[str, object] = {"calls_new": found.new, "calls_cached": found.cached, "usd_now": found.usd}
        if ahead is not None and ahead.rows is not None and action != "reuse":
            rows = impact.exact(ahead.rows)
            out["rows"] = impact.pair(impact.figure(b, "rows"), rows)
        return out

    def _calls(
        self, b: Node | None, a: Node, action: object, questions: Flow, drifts: bool = False
    ) -> impact.CallForecast:
        """What a run would ask: by a look at the store, else by what a complete run of the base has asked."""
        if action in ("reuse", "skip"):
            return impact.NO_CALLS if action == "skip" else impact.no_new_calls(a)
        ahead = (self.after.ahead or {}).get(a.id)
        if ahead is not None:
            return impact.calls_from_store(a, ahead)
        if self.after.ahead is not None and (b is None or b.key not in self.after.stored):
            return impact.calls_from_base(None, a, questions)
        return impact.calls_from_base(b, a, questions, drifts=drifts)

    def unbuilt(self) -> Iterator[tuple[Node, impact.CallForecast]]:
        """Steps that are the same on both sides, ask a teacher, and have no result here."""
        for m in self.pairs:
            a = m.after
            if a is not None and impact.asks(a) and a.id not in self.made and self.after.ahead is not None:
                action = self._action_here(a)
                if action in ("build", "extend"):
                    yield a, self._calls(m.before, a, action, SAME if m.before else OTHER)

    def _action_here(self, a: Node) -> object:
        if self.new.now is None:
            return None
        return next((n.action for n in self.new.now.nodes if n.id == a.id), None)

    def mixtures(self) -> Iterator[MixtureDiff]:
        for m in self.pairs:
            result = None if m.after is None else self.made.get(m.after.id)
            if m.after is not None and impact.takes(m.after) and result and result.category != "cosmetic":
                old = None if m.before is None else (self.old, m.before)
                yield impact.mixture(old, (self.new, m.after), self.names)


def _new(node: Node) -> NodeDiff:
    category: Category = "extending" if KINDS[node.kind].reads else "breaking"
    return NodeDiff(id=node.id, kind=node.kind, status="added", at=node.at, category=category)


def _of_flow(flow: Flow) -> Category:
    match flow.kind:
        case "grow":
            return "extending"
        case "shrink":
            return "narrowing"
        case "same":
            return "metadata"
        case _:
            return "breaking"


def _stop(eff: Effect, node: Node, because: Sequence[str]) -> str | None:
    """Where the step's own change may change nothing; a changed input would have to stop before."""
    return None if because or KINDS[node.kind].root else eff.stop


def _notes(m: Matched, found: Sequence[Change]) -> list[str]:
    """A rename that costs: the way out is a `moved` block."""
    b, a = m.before, m.after
    if b is None or a is None or b.id == a.id:
        return []
    if any(c.path == "salt" for c in found):
        return [f"its draws and new ids follow its name; `moved {{ from = {b.id}  to = {a.id} }}` keeps them"]
    return ["possibly a rename: most of it is the same"] if m.how == "similar" else []
