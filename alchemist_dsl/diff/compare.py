"""The way of a comparison on one screen: two sides, matched steps, changes, effects, figures, safeguards, sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alchemist_runtime.plan import (
    Check,
    Edge,
    Estimate,
    Node,
    Plan,
    TeacherStepSpec,
    card_digest,
)

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.diff import declarations, impact
from alchemist_dsl.diff.changes import changes
from alchemist_dsl.diff.effects import ENTRY_NAMES, Effect, effect, worst
from alchemist_dsl.diff.flows import OTHER, SAME, UNCHANGED, UNKNOWN, Flow, Ports, joined, passed
from alchemist_dsl.diff.matching import Matched, matched
from alchemist_dsl.diff.model import (
    Category,
    Change,
    CheckDiff,
    Diff,
    MixtureDiff,
    NodeDiff,
    Pair,
    RecipeDiff,
    ResourceDiff,
    Totals,
)
from alchemist_dsl.diff.relaxed import relaxed
from alchemist_dsl.diff.scaled import scaled
from alchemist_dsl.diff.sides import Side
from alchemist_dsl.diff.table import Named, Table, prompt, stream, table, teacher
from alchemist_dsl.reasons import changes as reasons_of
from alchemist_dsl.state import Remembered

#: Roles of inputs that are named in a table of their own: their change is judged there.
_JUDGED = ("from", "learn", "data", "against", "take", "examples", "suites", "model", "sound", "tokenizer")  # fmt: skip


def compare(before: Side, after: Side) -> RecipeDiff:
    """Two sides that compile, by meaning."""
    old, new = before.plan, after.plan
    assert old is not None and new is not None
    pairs = matched(old, new)
    names = {m.after.id: m.before.id for m in pairs if m.before and m.after}
    new = scaled(before, after, names)
    fresh = {n.id: n for n in new.nodes}
    pairs = [replace(m, after=fresh[m.after.id]) if m.after else m for m in pairs]
    work = _Work(before, after, old, new, pairs)
    nodes = list(work.nodes())
    blocks = declarations.compared(before, after, {n.id for n in (*old.nodes, *new.nodes)})
    resources = list(_resources(old, new))
    recipe = changes(_recipe(old), _recipe(new))
    params = changes(_params(old), _params(new))
    safeguards = relaxed(old, new, pairs, work.found)
    found = [n.category for n in nodes] + [d.category for d in blocks]
    checks = _checks(old, new)
    found += [r.category for r in resources] + [
        "metadata" for _ in (*recipe, *filter(_promised, checks))
    ]
    category = _overall(found, before, after)
    return RecipeDiff(
        path=after.path,
        before_path=before.path if before.path != after.path else None,
        before=before.called,
        after=after.called,
        status="same" if category == "same" else "changed",
        category=category,
        relaxed=safeguards,
        params=params,
        recipe=recipe,
        nodes=nodes,
        resources=resources,
        declarations=blocks,
        mixtures=list(work.mixtures()),
        checks=checks,
        unchanged=len(pairs) - len(nodes),
        totals=_totals(work, nodes),
        now="base" if after.ahead is None else "here",
    )


def flows(before: Side, after: Side) -> Mapping[str, Ports]:
    """What is proved of the rows of every step of the new plan that the old one has too, by its name after."""
    assert before.plan is not None and after.plan is not None
    pairs = matched(before.plan, after.plan)
    work = _Work(before, after, before.plan, after.plan, pairs)
    for _ in work.nodes():
        pass
    return {m.after.id: work.ports[m.after.id] for m in pairs if m.before and m.after}


def _overall(found: Sequence[Category], before: Side, after: Side) -> Category:
    """The worst of all; texts that differ in nothing else are cosmetic."""
    category = worst([c for c in found if c != "same"])
    if category == "same" and before.text is not None and before.text != after.text:
        return "cosmetic"
    if "extending" in found and "narrowing" in found:
        return "breaking"
    return category


# --- steps --------------------------------------------------------------------------------------------------------------------------------------


@dataclass
class _Work:
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
        plans = None in (
            self.before.program,
            self.after.program,
        )  # which do not say how they were written
        empty: Mapping[str, str] = {}
        written = (empty, empty) if plans else (declarations.written(self.before), declarations.written(self.after))  # fmt: skip
        for m in self.pairs:
            node = self._one(m, written)
            if node is not None:
                self.made[node.id] = node
                yield node

    def _one(
        self, m: Matched, written: tuple[Mapping[str, str], Mapping[str, str]]
    ) -> NodeDiff | None:
        if m.after is None:
            assert m.before is not None
            return self._gone(m.before)
        if m.before is None:
            self.ports[m.after.id] = UNKNOWN
            return self._with_figures(None, m.after, _new(m.after), OTHER)
        return self._both(m, m.before, m.after, written)

    def _gone(self, node: Node) -> NodeDiff:
        made = NodeDiff(
            id=node.id, kind=node.kind, status="removed", at=node.at, category="narrowing" if node.kind == "source" else "breaking"
        )  # fmt: skip
        return self._with_figures(node, None, made, SAME)

    def _both(
        self, m: Matched, b: Node, a: Node, written: tuple[Mapping[str, str], Mapping[str, str]]
    ) -> NodeDiff | None:
        self.ports[a.id] = UNCHANGED
        renamed = b.id != a.id
        if a.kind == "export" and card_digest(self.old, b) != card_digest(self.new, a):
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
        made = NodeDiff(
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
        return self._with_figures(b, a, made, questions, drifts=drifts)

    def _plain(
        self, m: Matched, b: Node, a: Node, category: Category, found: Sequence[Change] = ()
    ) -> NodeDiff:
        made = NodeDiff(
            id=a.id,
            kind=a.kind,
            status="changed",
            at=a.at,
            before_id=b.id if b.id != a.id else None,
            match=m.how,
            category=category,
            changes=list(found),
            notes=["its card is written again"] if a.id in self.cards else [],
        )
        return self._with_figures(b, a, made, SAME)

    def _changes(self, b: Node, a: Node) -> list[Change]:
        """What differs in the block; what the tables do not show is told by the ingredients of the keys."""
        old, new = table(self.old, b, self.names), table(self.new, a, {})
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
        entries = [
            sorted(n.removeprefix("take.") for n in x if n.startswith("take."))
            for x in (before, after)
        ]
        if entries[0] != entries[1]:  # the tables say that the entries are the same
            gone, come = (sorted({*a} - {*b}) for a, b in (entries, entries[::-1]))
            yield Change(path=ENTRY_NAMES, before=", ".join(gone), after=", ".join(come))
        for reason in reasons_of(after, Remembered("", b.key, before), a):
            told = (reason.path or "").startswith("take.") and entries[0] != entries[1]
            if reason.code != "input_changed" and not told:
                yield Change(
                    path=reason.path or reason.code, before=reason.before, after=reason.after
                )

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
        self,
        b: Node | None,
        a: Node | None,
        made: NodeDiff,
        questions: Flow,
        *,
        drifts: bool = False,
    ) -> NodeDiff:
        fig = impact.figure
        update: dict[str, object] = {
            "rows": impact.pair(fig(b, "rows"), fig(a, "rows")),
            "calls": impact.pair(fig(b, "calls"), fig(a, "calls")),
            "tokens": impact.pair(fig(b, "tokens", "tokens_in", "tokens_out"), fig(a, "tokens", "tokens_in", "tokens_out")),
            "usd": impact.pair(fig(b, "usd"), fig(a, "usd"), whole=False),
            "gpu_hours": impact.pair(fig(b, "gpu_hours"), fig(a, "gpu_hours"), whole=False),
        }  # fmt: skip
        if a is not None:
            update["action"] = action = self._action(a, made)
            if impact.asks(a):
                update |= self._asked(b, a, action, questions, drifts)
        return made.model_copy(update=update)

    def _action(self, a: Node, made: NodeDiff) -> object:
        doing = self._action_here(a)
        if doing == "build" and a.kind != "export" and self._proved_equal(made):
            return "reuse"
        if doing is not None:
            return doing
        if not a.runnable:
            return "skip"
        if a.id in self.cards:
            return "build"
        if made.category in ("cosmetic", "metadata"):
            return "reuse"
        grows = isinstance(a.spec, TeacherStepSpec) and made.direct and made.category == "extending"
        return "extend" if grows else "build"

    def _proved_equal(self, made: NodeDiff) -> bool:
        """Whether a step that only follows reads what it read before, so that the run finds its result: the base's, if it is here."""
        base = next((n for n in self.old.nodes if n.id == (made.before_id or made.id)), None)
        ports = self.ports[made.id]
        same = all(getattr(ports, p).kind == "same" for p in ("rows", "dropped", "trace"))
        return same and not made.direct and base is not None and base.key in self.after.stored

    def _asked(
        self, b: Node | None, a: Node, action: object, questions: Flow, drifts: bool
    ) -> dict[str, object]:
        ahead = (self.after.ahead or {}).get(a.id)
        found = self._calls(b, a, action, questions, drifts)
        out: dict[str, object] = {
            "calls_new": found.new,
            "calls_cached": found.cached,
            "usd_now": found.usd,
        }
        if ahead is not None and ahead.rows is not None and action != "reuse":
            rows = impact.exact(ahead.rows)
            out["rows"] = impact.pair(impact.figure(b, "rows"), rows)
        return out

    def _calls(
        self, b: Node | None, a: Node, action: object, questions: Flow, drifts: bool = False
    ) -> impact.Asked:
        """What a run would ask: by a look at the store, else by what a complete run of the base has asked."""
        if action in ("reuse", "skip"):
            return impact.NO_CALLS if action == "skip" else impact.all_there(a)
        ahead = (self.after.ahead or {}).get(a.id)
        if ahead is not None:
            return impact.asked(a, ahead)
        if self.after.ahead is not None and (b is None or b.key not in self.after.stored):
            return impact.expected(None, a, questions)
        return impact.expected(b, a, questions, drifts=drifts)

    def unbuilt(self) -> Iterator[tuple[Node, impact.Asked]]:
        """Steps that are the same on both sides, ask a teacher, and have no result here."""
        for m in self.pairs:
            a = m.after
            if (
                a is not None
                and impact.asks(a)
                and a.id not in self.made
                and self.after.ahead is not None
            ):
                action = self._action_here(a)
                if action in ("build", "extend"):
                    yield a, self._calls(m.before, a, action, SAME if m.before else OTHER)

    def _action_here(self, a: Node) -> object:
        if self.new.now is None:
            return None
        return next((n.action for n in self.new.now.nodes if n.id == a.id), None)

    def mixtures(self) -> Iterator[MixtureDiff]:
        for m in self.pairs:
            made = None if m.after is None else self.made.get(m.after.id)
            if (
                m.after is not None
                and m.after.kind == "mixture"
                and made
                and made.category != "cosmetic"
            ):
                old = None if m.before is None else (self.old, m.before)
                yield impact.mixture(old, (self.new, m.after), self.names)


def _new(node: Node) -> NodeDiff:
    category: Category = "extending" if node.kind in ("source", "suite") else "breaking"
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
    return None if because or node.kind in ("train", "export", "evaluate", "measure") else eff.stop


def _notes(m: Matched, found: Sequence[Change]) -> list[str]:
    """A rename that costs: the way out is a `moved` block."""
    b, a = m.before, m.after
    if b is None or a is None or b.id == a.id:
        return []
    if any(c.path == "salt" for c in found):
        return [
            f"its draws and new ids follow its name; `moved {{ from = {b.id}  to = {a.id} }}` keeps them"
        ]
    return ["perhaps a rename: most of it is the same"] if m.how == "similar" else []


# --- what steps refer to ------------------------------------------------------------------------------------------------------------------------


def _resources(old: Plan, new: Plan) -> Iterator[ResourceDiff]:
    """Teachers and prompts by name, once each, with the steps that use them; one that is only called otherwise is one."""
    teachers = {k: t.identity_key for k, t in old.teachers.items()}, {k: t.identity_key for k, t in new.teachers.items()}  # fmt: skip
    for before, after in _by_name(*teachers):
        yield from _resource(
            "teacher",
            (before, after),
            None if before is None else teacher(old.teachers[before]),
            None if after is None else teacher(new.teachers[after]),
            _users(old if after is None else new, "teacher", after or before),
        )
    prompts = {k: p.key for k, p in old.prompts.items()}, {k: p.key for k, p in new.prompts.items()}
    for before, after in _by_name(*prompts):
        yield from _resource(
            "prompt",
            (before, after),
            None if before is None else prompt(old.prompts[before], old),
            None if after is None else prompt(new.prompts[after], new),
            _users(old if after is None else new, "prompt", after or before),
        )


def _by_name(
    old: Mapping[str, str], new: Mapping[str, str]
) -> Iterator[tuple[str | None, str | None]]:
    """Names on both sides: the same one, else of an equal key, else of one side alone. `old`, `new`: keys by name."""
    left = {key: name for name, key in old.items() if name not in new}
    for name, key in new.items():
        yield (name if name in old else left.pop(key, None)), name
    yield from ((name, None) for name in left.values())


def _resource(
    kind: str,
    names: tuple[str | None, str | None],
    old: Table | None,
    new: Table | None,
    users: list[str],
) -> Iterator[ResourceDiff]:
    before, after = names
    found = [] if old is None or new is None else changes(old, new)
    if before == after and not found:
        return
    status = "added" if old is None else "removed" if new is None else "changed"
    category: Category = worst([c.category for c in found]) if found else "metadata"
    yield ResourceDiff.model_validate(
        {
            "id": after or before,
            "before_id": before if after is not None and before not in (None, after) else None,
            "kind": kind,
            "status": status,
            "category": category,
            "changes": found,
            "used_by": users,
        }
    )


def _users(plan: Plan, kind: str, name: str | None) -> list[str]:
    return [n.id for n in plan.nodes if getattr(n.spec, kind, None) == name]


# --- the recipe as a whole ------------------------------------------------------------------------------------------------------------------------


def _recipe(plan: Plan) -> Table:
    found = {
        "title": (plan.title, "doc"),
        "license": (plan.license, "doc"),
        "seed": (plan.seed, "data"),
        "tokenizer": (plan.tokenizer, "data"),
        "edition": (plan.edition, "data"),
    }
    return {
        name: Named(value, str(value), "doc" if affects == "doc" else "data")
        for name, (value, affects) in found.items()
        if value is not None
    }


def _params(plan: Plan) -> Table:
    return {p.name: Named(p.value, p.value) for p in plan.params}


def _checks(old: Plan, new: Plan) -> list[CheckDiff]:
    """Promises whose text or verdict differs, and those that are not kept."""
    before, after = ({c.id: c for c in p.checks} for p in (old, new))
    out = []
    for name in dict.fromkeys((*after, *before)):
        b, a = before.get(name), after.get(name)
        if _shown(b) != _shown(a) or (a is not None and a.verdict == "fail"):
            out.append(CheckDiff(id=name, before=_shown(b), after=_shown(a)))
    return out


def _promised(check: CheckDiff) -> bool:
    """Whether the promise itself is another one, not only what becomes of it."""
    sides = [None if s is None else (s["text"], s["severity"]) for s in (check.before, check.after)]
    return sides[0] != sides[1]


def _shown(check: Check | None) -> dict[str, str] | None:
    if check is None:
        return None
    found = {"text": check.text, "verdict": check.verdict, "severity": check.severity}
    return found if check.value is None else {**found, "value": check.value}


def _totals(work: _Work, nodes: Sequence[NodeDiff]) -> Totals:
    old, new = work.old, work.new
    sides = [(m.before, m.after) for m in work.pairs]

    def both(*names: str, kind: str | None = None, whole: bool = True) -> Pair:
        some = [
            (b, a) for b, a in sides if kind is None or kind in {n.kind for n in (b, a) if n is not None}
        ]  # fmt: skip
        return Pair(
            before=impact.of_plan(old, *names, kind=kind),
            after=impact.of_plan(new, *names, kind=kind),
            delta=impact.totals_between(some, *names, whole=whole),
        )

    also = list(work.unbuilt())
    return Totals(
        usd_scratch=both("usd", whole=False),
        calls=both("calls"),
        tokens=both("tokens_in", "tokens_out"),
        training_tokens=both("tokens", kind="train"),
        gpu_hours=both("gpu_hours", kind="train", whole=False),
        calls_new=impact.summed([*(n.calls_new for n in nodes), *(x.new for _, x in also)]),
        calls_cached=impact.summed(
            [*(n.calls_cached for n in nodes), *(x.cached for _, x in also)]
        ),
        usd_now=impact.summed(
            [*(n.usd_now for n in nodes), *(x.usd for _, x in also)], whole=False
        ),
        unbuilt=[a.id for a, _ in also],
        retrains=[n.id for n in nodes if n.kind == "train" and n.action == "build"],
    )


# --- whole comparisons --------------------------------------------------------------------------------------------------------------------------


def whole(before: str, after: str, recipes: Sequence[RecipeDiff], same: int) -> Diff:
    """All recipes together; those that turned out the same are counted."""
    shown = [r for r in recipes if r.status != "same"]
    readable = [r for r in shown if r.status != "unreadable"]
    return Diff(
        before=before,
        after=after,
        changed=bool(shown),
        recipes=shown,
        same=same + len(recipes) - len(shown),
        totals=_sum_totals([r.totals for r in readable], complete=len(readable) == len(shown)),
    )


def _sum_totals(found: Sequence[Totals], *, complete: bool) -> Totals:
    def both(name: str, *, whole: bool = True) -> Pair:
        pairs = [getattr(t, name) for t in found]
        deltas = [p.delta for p in pairs]
        known = complete and all(d is not None for d in deltas)
        return Pair(
            before=impact.summed((p.before for p in pairs), whole=whole),
            after=impact.summed((p.after for p in pairs), whole=whole),
            delta=impact.summed_signed(deltas, whole=whole) if known else None,
        )

    def now(name: str, *, whole: bool = True) -> Estimate:
        return impact.summed((getattr(t, name) for t in found), whole=whole) if complete else Estimate()  # fmt: skip

    return Totals(
        usd_scratch=both("usd_scratch", whole=False),
        calls=both("calls"),
        tokens=both("tokens"),
        training_tokens=both("training_tokens"),
        gpu_hours=both("gpu_hours", whole=False),
        calls_new=now("calls_new"),
        calls_cached=now("calls_cached"),
        usd_now=now("usd_now", whole=False),
        retrains=[name for t in found for name in t.retrains],
        unbuilt=[name for t in found for name in t.unbuilt],
    )


def one_sided(before: Side | None, after: Side | None) -> RecipeDiff:
    """A recipe that is new, or gone: compared with a recipe of no steps."""
    some = after or before
    assert some is not None and some.plan is not None
    nothing = some.plan.model_copy(
        update={"nodes": [], "checks": [], "teachers": {}, "prompts": {}, "totals": {}, "params": [], "now": None}
    )  # fmt: skip
    empty = Side("nothing", some.path, nothing)
    made = compare(before or empty, after or empty)
    status = "removed" if after is None else "added"
    return made.model_copy(
        update={"status": status, "category": "breaking" if after is None else "extending", "recipe": []}
    )  # fmt: skip


def unreadable(before: Side | None, after: Side | None) -> RecipeDiff:
    """A side does not compile: its messages, and the lines that differ. Never "no change"."""
    import difflib
    import json

    from alchemist_dsl.diagnostics.render import render

    some = after or before
    assert some is not None
    old, new = (None if s is None else s.text for s in (before, after))
    lines = list(
        difflib.unified_diff(
            (old or "").splitlines(),
            (new or "").splitlines(),
            "nothing" if before is None else before.called,
            "nothing" if after is None else after.called,
            lineterm="",
            n=1,
        )
    )
    problems = [
        {"side": side.called, **problem}
        for side in (before, after)
        if side is not None and side.plan is None
        for problem in json.loads(render(_errors(side), side.sources, "json"))
    ]
    return RecipeDiff(
        path=some.path,
        before=None if before is None else before.called,
        after=None if after is None else after.called,
        status="unreadable",
        category="breaking",
        diagnostics=problems,
        messages=[
            line
            for side in (before, after)
            if side is not None and side.plan is None
            for line in (
                f"{side.called} does not compile:",
                *render(_errors(side), side.sources).rstrip().splitlines(),
            )
        ],
        lines=lines,
    )


def _errors(side: Side) -> list[Diagnostic]:
    """What keeps a side from compiling; warnings belong to `check`."""
    from alchemist_dsl.diagnostics.render import severity

    return [d for d in side.diagnostics if severity(d) == "error"]
