"""Why steps would run again: each with the changes it comes from, and the way from there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any, Final, TypeAlias

from alchemist_runtime.schema.plan import Node, Plan, Reason

from alchemist_dsl.explain.staleness import Past, Remembered, changes, edge_changes
from alchemist_dsl.lowering.canonical import Ingredients

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
    made = [Cause(root, reasons, tuple(steps)) for (root, reasons), steps in found.items()]
    return tuple(sorted(made, key=lambda c: order.get(c.root or c.steps[0].node, len(order))))


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
