"""What a run would do with every node, and why: today's ingredients compared with those of the last run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import groupby, zip_longest
from typing import Any, Final, Literal, TypeAlias

from alchemist_runtime.schema.attributes import decimal
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Estimate, Node, Now, NowNode, Plan, Reason
from alchemist_runtime.schema.planning import must_be_there, not_run

from alchemist_dsl.lowering.canonical import Ingredients
from alchemist_dsl.lowering.keys import readable

#: First part of an ingredient's path -> the code of a change to it.
_CODES: Final[Mapping[str, str]] = {
    "input": "input_changed",
    "file": "file_changed",
    "module": "file_changed",
    "revision": "source_revision_changed",
    "teacher": "teacher_changed",
    "operator_version": "operator_changed",
    "version": "operator_changed",
    "kind": "operator_changed",
    "seed": "seed_changed",
}
TEMPLATES: Final = frozenset(
    {
        "prompt.system",
        "prompt.user",
        "prompt.prefill",
        "attribute.instruction",
        "attribute.response",
        "attribute.system",
        "attribute.template",
        "attribute.chat_template",
    }
)


def now(plan: Plan, ingredients: Mapping[str, Ingredients], state: State, targets: Iterable[str] | None = None) -> Now:
    """The `now` part of a plan. `targets`: the steps that are asked for; without them all that a run builds."""
    wanted = must_be_there(plan.nodes, state, targets, state.forced) - not_run(plan.nodes, state.finished)
    nodes = [_node(n, ingredients.get(n.id, {}), plan, state, n.id in wanted) for n in plan.nodes]
    return Now(nodes=nodes, base_run=state.run)


def _node(node: Node, result: Ingredients, plan: Plan, state: State, wanted: bool) -> NowNode:
    if state.finished(node):
        return NowNode(id=node.id, action="reuse")
    if not wanted:
        return NowNode(id=node.id, action="skip")
    reasons = _reasons(node, result, plan, state)
    extends = _extends(node, reasons)
    new = _new_share(reasons[0]) if extends else Fraction(1)
    if reasons[0].code == "calls_failed" and (calls := _calls(node, Fraction(1))):
        new = min(new, Fraction(reasons[0].before or "0") / calls)
    return NowNode(
        id=node.id,
        action="extend" if extends else "build",
        reasons=reasons,
        calls_new=_calls(node, new),
        usd=_usd(node, new),
    )


def _new_share(grown: Reason) -> Fraction:
    """Of a draw that grew, the part that was not drawn before."""
    after = Fraction(grown.after or "1")
    return 1 - Fraction(grown.before or "1") / after if after else Fraction(1)


def _calls(node: Node, share: Fraction) -> int | None:
    """Calls that a run would make, if the cache knew no other."""
    found = node.estimate.get("calls")
    return None if found is None or found.value is None else int(Fraction(found.value) * share)


def _usd(node: Node, share: Fraction) -> Estimate | None:
    found = node.estimate.get("usd")
    if found is None or found.value is None:
        return found

    def scaled(end: str | None) -> str | None:
        return None if end is None else decimal(Fraction(end) * share)

    return replace(found, low=scaled(found.low), value=scaled(found.value), high=scaled(found.high))


def _reasons(node: Node, result: Ingredients, plan: Plan, state: State) -> list[Reason]:
    if node.id in state.forced:
        return [Reason(code="forced")]
    if (rows := state.again.get(node.id)) is not None:
        if rows:
            return [Reason(code="calls_failed", before=str(rows))]
        inputs = [e.node for e in node.inputs]
        remade = next((n for n in inputs if n in state.again), inputs[0])
        return [Reason(code="input_remade", path=remade)]
    if state.found.get(node.key) == "incomplete":
        return [Reason(code="output_incomplete")]
    if node.id in state.moved:
        return [Reason(code="output_missing", path=getattr(node.spec, "path", None))]
    last = state.last.get(node.id)
    if last is None:
        return [Reason(code="never_built")]
    if last.key == node.key:
        return [Reason(code="cache_evicted" if _between(node, plan) else "output_missing")]
    if not last.ingredients:
        return [Reason(code="unknown_history")]
    return changes(result, last, node)


def _between(node: Node, plan: Plan) -> bool:
    """Whether a result is only kept for others to read it: nothing that a person asked for."""
    return not KINDS[node.kind].root and any(e.node == node.id for n in plan.nodes for e in n.inputs)


def _extends(node: Node, reasons: list[Reason]) -> bool:
    """A teacher step whose draw only grew keeps every answer that it has."""
    grown = [r for r in reasons if r.path == "select.share" and _larger(r.after, r.before)]
    return KINDS[node.kind].asks and len(reasons) == 1 == len(grown)


def _larger(after: str | None, before: str | None) -> bool:
    return Fraction(after or "1") > Fraction(before or "1")


# --- differences ------------------------------------------------------------------------------------------------------


def changes(result: Mapping[str, Any], last: Remembered, node: Node) -> list[Reason]:
    """Every ingredient that differs, what the person wrote first, inputs last."""
    before, after = last.ingredients, result
    paths = sorted(p for p in {**before, **after} if before.get(p) != after.get(p) and not is_input(p))
    files = list(_files(last.files, files_of(node))) if any(is_file(p) for p in paths) else []
    own = [_reason(p, before.get(p), after.get(p)) for p in paths if not (files and is_file(p))]
    read = [
        Reason(code="input_changed", path=_input_name(role, new or old, node), **_edges(old, new))
        for role, old, new in edge_changes(before, after, node)
    ]
    found = dict.fromkeys([*files, *own, *read])  # two roles may read the same step
    return list(found) or [Reason(code="unknown_history")]


def edge_changes(before: Mapping[str, Any], after: Mapping[str, Any], node: Node) -> Iterator[tuple[str, Any, Any]]:
    """Role, edge before and edge now of every input that differs; None where there is none. Where the order of a role
    says nothing, an input that only stands elsewhere does not differ."""
    for role in roles_of(before, after):
        old, new = edges_of(before, role), edges_of(after, role)
        spec = KINDS[node.kind].attributes.get(role)
        if spec is not None and spec.order == "set":
            old, new = without(old, new), without(new, old)
        for was, now_ in zip_longest(old, new):
            if was != now_:
                yield role, was, now_


def roles_of(*tables: Mapping[str, Any]) -> list[str]:
    """The roles of all inputs."""
    return sorted({_role(p) for table in tables for p in table if is_input(p)})


def is_input(path: str) -> bool:
    return path.startswith("input.")


def _role(path: str) -> str:
    return path.removeprefix("input.").rpartition(".")[0]


def edges_of(ingredients: Mapping[str, Any], role: str) -> list[Any]:
    """The inputs of a role, in order."""
    found = [p for p in ingredients if is_input(p) and _role(p) == role]
    return [ingredients[p] for p in sorted(found, key=lambda p: int(p.rpartition(".")[2]))]


def without(some: list[Any], others: list[Any]) -> list[Any]:
    """The items of one list that the other does not hold, each as often as it has more of it."""
    left = list(others)
    out = []
    for item in some:
        if item in left:
            left.remove(item)
        else:
            out.append(item)
    return out


def is_file(path: str) -> bool:
    first, _, number = path.partition(".")
    return first == "file" and number.isdigit()


def files_of(node: Node) -> dict[str, str]:
    """The files of a source or suite, path -> digest."""
    return {f["path"]: f["digest"] for f in getattr(node.spec, "files", [])}


def _files(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Reason]:
    """Files by their paths, where those of the earlier run are known."""
    for path in sorted({**before, **after}) if before else ():
        old, new = before.get(path), after.get(path)
        if old != new:
            yield Reason(code="file_changed", path=path, before=old, after=new)


def _reason(path: str, before: Any, after: Any) -> Reason:
    return Reason(
        code=code_of(path),
        path=path.removeprefix("attribute."),
        before=None if before is None else readable(before),
        after=None if after is None else readable(after),
    )


def code_of(path: str) -> str:
    """The reason that a change of an ingredient is."""
    if path in TEMPLATES:
        return "template_changed"
    return _CODES.get(path.partition(".")[0], "attribute_changed")


def _input_name(role: str, edge: Any, node: Node) -> str:
    """The node that an input of the table is, by its key; an input that is gone only has its role."""
    key = edge.get("key") if isinstance(edge, dict) else None
    return next((e.node for e in node.inputs if e.key == key), role)


def _edges(before: Any, after: Any) -> dict[str, str]:
    """What differs beside the key: that one is no text for people."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return {"before": "not read"} if before is None else {"after": "not read"} if after is None else {}
    same_key = before.get("key") == after.get("key")
    if not same_key:
        return {}
    displayed = [", ".join(f"{k} {v}" for k, v in e.items() if k != "key" and v) for e in (before, after)]
    return {"before": displayed[0], "after": displayed[1]}


# --- state -----------------------------------------------------------------------------------------------------------

Finished = Literal["complete", "incomplete"]


@dataclass(frozen=True, slots=True)
class Remembered:
    """A node in the record of a run."""

    run: str
    key: str
    ingredients: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)  # of a source: path -> digest


@dataclass(frozen=True, slots=True)
class Past:
    """What a key once stood for."""

    node: str
    made: Remembered


@dataclass(frozen=True, slots=True)
class State:
    """`found`: by key, what lies in the store. `last`: by node, the newest record of it. `moved`: exports that lie
    elsewhere now. `views`: by node, those whose rows its result shows without holding them. `again`: nodes that are
    made again though their results are there, with how many of their rows are asked again."""

    found: Mapping[str, Finished] = field(default_factory=dict)
    last: Mapping[str, Remembered] = field(default_factory=dict)
    moved: frozenset[str] = frozenset()
    forced: frozenset[str] = frozenset()
    run: str | None = None
    views: Mapping[str, frozenset[str]] = field(default_factory=dict)
    again: Mapping[str, int] = field(default_factory=dict)

    def stored(self, node: Node) -> bool:
        return self.found.get(node.key) == "complete"

    def finished(self, node: Node) -> bool:
        return self.stored(node) and node.id not in {*self.moved, *self.forced, *self.again}

    def shows(self, node: Node) -> frozenset[str]:
        return self.views.get(node.id, frozenset())


# --- causes ----------------------------------------------------------------------------------------------------------

#: Reasons that lie in a step's own result and not in what it is made of.
RESULT: Final = frozenset(
    {
        "never_built",
        "forced",
        "output_missing",
        "output_incomplete",
        "cache_evicted",
        "unknown_history",
        "calls_failed",
        "input_remade",
    }
)


#: The step that a change is in (None: as good as any), what changed, the names from there.
Root: TypeAlias = tuple[str | None, tuple[Reason, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Step:
    """A step that would run again, and the names from the change to it, both ends included."""

    node: str
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """A change, and the steps that run again because of it. `root`: the step that it is in; None where each is in its
    own.
    """

    root: str | None
    reasons: tuple[Reason, ...]
    steps: tuple[Step, ...]


def causes(
    plan: Plan, ingredients: Mapping[str, Ingredients], last: Mapping[str, Remembered], known: Mapping[str, Past]
) -> tuple[Cause, ...]:
    """The causes of all that a run would build, the first of the recipe first. A step with several stands under
    each.
    """
    tracer = _Tracer({n.id: n for n in plan.nodes}, ingredients, known)
    found: dict[tuple[str | None, tuple[Reason, ...]], list[Step]] = {}
    for doing in plan.now.nodes if plan.now else ():
        if doing.action not in ("build", "extend"):
            continue
        for root, reasons, chain in tracer.roots(doing.id, doing.reasons, last.get(doing.id)):
            found.setdefault((root, reasons), []).append(Step(doing.id, chain))
    order = {n.id: i for i, n in enumerate(plan.nodes)}
    result = [Cause(root, reasons, tuple(steps)) for (root, reasons), steps in found.items()]
    return tuple(sorted(result, key=lambda c: order.get(c.root or c.steps[0].node, len(order))))


@dataclass(frozen=True, slots=True)
class _Tracer:
    nodes: Mapping[str, Node]
    made: Mapping[str, Ingredients]
    known: Mapping[str, Past]

    def roots(self, name: str, reasons: list[Reason], last: Remembered | None) -> Iterator[Root]:
        """The changes behind a step: root, what changed there, chain of names down to the step."""
        if last is None or all(r.code in RESULT for r in reasons):
            # of these there may be many, and nothing to say of each
            alone = len(reasons) == 1 and reasons[0].path is None
            yield None if alone else name, tuple(_bare(r) for r in reasons), (name,)
            return
        yield from self._behind(name, last) or [(name, tuple(reasons), (name,))]

    def _behind(self, name: str, last: Remembered) -> list[Root]:
        """Upwards from a step, the nearest first, so that each change is told with its shortest way."""
        found: list[Root] = []
        seen = {name}
        todo: list[tuple[str, Remembered, tuple[str, ...]]] = [(name, last, (name,))]
        for at, before, chain in todo:  # grows
            own, behind = self._differs(at, before)
            if own:
                found.append((at, tuple(_once(own)), chain))
            for other, earlier in behind:
                if other not in seen:
                    seen.add(other)
                    todo.append((other, earlier, (other, *chain)))
        return found

    def _differs(self, name: str, before: Remembered) -> tuple[list[Reason], list[tuple[str, Remembered]]]:
        """What changed in a step itself, and the inputs that did, with what they were."""
        node, now = self.nodes[name], self.made.get(name, {})
        own = [r for r in changes(now, before, node) if r.code != "input_changed"]
        behind: list[tuple[str, Remembered]] = []
        for role, olds, news in _by_role(edge_changes(before.ingredients, now, node)):
            self._edges(role, olds, news, own, behind)
        return own, behind

    def _edges(
        self, role: str, olds: list[Any], news: list[Any], own: list[Reason], behind: list[tuple[str, Remembered]]
    ) -> None:
        """What became of the inputs of a role: the same step in another state is traced on; another step is a change
        here.
        """
        for new in list(news):
            name = self._name(new)
            same = [(o, p) for o in olds if (p := self._past(o)) is not None and p.node == name]
            if name is None or not same:
                continue
            old, there = min(same, key=lambda pair: _port(pair[0]) != _port(new))
            olds.remove(old)
            news.remove(new)
            if old["key"] != new["key"]:
                behind.append((name, there.made))
            if _port(old) != _port(new):
                own.append(_edge(role, name + _port(old), name + _port(new)))
        for old, new in zip_longest(olds, news):
            own.append(_edge(role, self._shown(old), self._shown(new)))

    def _shown(self, edge: Any) -> str | None:
        if edge is None:
            return None
        found = self._past(edge)
        name = self._name(edge) or (found.node if found else "a step of an earlier recipe")
        return name + _port(edge)

    def _name(self, edge: Any) -> str | None:
        key = edge.get("key") if isinstance(edge, Mapping) else None
        return next((n.id for n in self.nodes.values() if n.key == key), None)

    def _past(self, edge: Any) -> Past | None:
        return self.known.get(str(edge.get("key"))) if isinstance(edge, Mapping) else None


def _by_role(found: Iterable[tuple[str, Any, Any]]) -> Iterator[tuple[str, list[Any], list[Any]]]:
    for role, pairs in groupby(found, key=lambda change: change[0]):
        both = list(pairs)
        yield (role, [old for _, old, _ in both if old is not None], [new for _, _, new in both if new is not None])


def _edge(role: str, before: str | None, after: str | None) -> Reason:
    return Reason(code="input_changed", path=role, before=before, after=after)


def _port(edge: Mapping[str, Any]) -> str:
    port = "" if edge.get("port") in (None, "rows") else f".{edge['port']}"
    return port + (f".{edge['origin']}" if edge.get("origin") else "")


def _bare(reason: Reason) -> Reason:
    """Steps that were never built have that in common, whatever else is said of them."""
    return Reason(code=reason.code, path=reason.path)


def _once(reasons: list[Reason]) -> list[Reason]:
    out: list[Reason] = []
    for reason in reasons:
        if reason not in out and reason.code != "unknown_history":
            out.append(reason)
    return out or reasons[:1]
