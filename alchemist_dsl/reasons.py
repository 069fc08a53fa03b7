"""What a run would do with every node, and why: today's ingredients compared with those of the last run."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.plan import (
    Estimate,
    Node,
    Now,
    NowNode,
    Plan,
    Reason,
    TeacherStepSpec,
    not_run,
)

from alchemist_dsl.canon import Ingredients
from alchemist_dsl.keys import readable
from alchemist_dsl.kinds import KINDS
from alchemist_dsl.lowering.values import decimal
from alchemist_dsl.state import Remembered, State

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
TEMPLATES: Final = frozenset({"prompt.system", "prompt.user", "attribute.instruction", "attribute.response", "attribute.system", "attribute.template", "attribute.chat_template"})  # fmt: skip


def now(plan: Plan, ingredients: Mapping[str, Ingredients], state: State) -> Now:
    """The `now` part of a plan."""
    wanted = _wanted(plan, state)
    nodes = [_node(n, ingredients.get(n.id, {}), plan, state, n.id in wanted) for n in plan.nodes]
    return Now(nodes=nodes, base_run=state.run)


def _wanted(plan: Plan, state: State) -> set[str]:
    """The nodes that must be there: results, what nobody reads, and what an unfinished node reads."""
    read = {e.node for n in plan.nodes for e in n.inputs}
    wanted: set[str] = set()
    goals = {n.id for n in plan.nodes if n.id not in read or KINDS[n.kind].root} | state.forced
    stuck = not_run(plan.nodes, lambda n: _finished(n, state))
    for node in reversed(plan.nodes):
        if node.id in goals:
            wanted.add(node.id)
            if not _finished(node, state) and node.id not in stuck:
                goals |= {e.node for e in node.inputs}
    return wanted - stuck


def _finished(node: Node, state: State) -> bool:
    there = state.stored.get(node.key) == "complete" and node.id not in state.moved
    return there and node.id not in state.forced


def _node(node: Node, made: Ingredients, plan: Plan, state: State, wanted: bool) -> NowNode:
    if _finished(node, state):
        return NowNode(id=node.id, action="reuse")
    if not wanted:
        return NowNode(id=node.id, action="skip")
    reasons = _reasons(node, made, plan, state)
    extends = _extends(node, reasons)
    new = _new_share(reasons[0]) if extends else Fraction(1)
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
    ends = {k: getattr(found, k) for k in ("low", "value", "high")}
    scaled = {k: None if v is None else decimal(Fraction(v) * share) for k, v in ends.items()}
    return found.model_copy(update=scaled)


def _reasons(node: Node, made: Ingredients, plan: Plan, state: State) -> list[Reason]:
    if node.id in state.forced:
        return [Reason(code="forced")]
    if state.stored.get(node.key) == "incomplete":
        return [Reason(code="output_incomplete")]
    if node.id in state.moved:
        return [Reason(code="output_missing", path=getattr(node.spec, "path", None))]
    last = state.last.get(node.id)
    if last is None:
        return [Reason(code="never_built")]
    if last.key == node.key:
        return [Reason(code="output_missing")]
    if not last.ingredients:
        return [Reason(code="unknown_history")]
    return changes(made, last, node)


def _extends(node: Node, reasons: list[Reason]) -> bool:
    """A teacher step whose draw only grew keeps every answer that it has."""
    grown = [r for r in reasons if r.path == "select.share" and _larger(r.after, r.before)]
    return isinstance(node.spec, TeacherStepSpec) and len(reasons) == 1 == len(grown)


def _larger(after: str | None, before: str | None) -> bool:
    return Fraction(after or "1") > Fraction(before or "1")


# --- differences ---------------------------------------------------------------------------------------------------------------------


def changes(made: Mapping[str, Any], last: Remembered, node: Node) -> list[Reason]:
    """Every ingredient that differs, what the person wrote first, inputs last."""
    before, after = last.ingredients, made
    paths = [p for p in {**before, **after} if before.get(p) != after.get(p)]
    paths.sort(key=lambda p: (p.startswith("input."), p))
    found = [_reason(p, before.get(p), after.get(p), node) for p in paths]
    return found or [Reason(code="unknown_history")]


def _reason(path: str, before: Any, after: Any, node: Node) -> Reason:
    if path.startswith("input."):
        name = _input_name(path, after or before, node)
        return Reason(code="input_changed", path=name, **_edges(before, after))
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


def _input_name(path: str, edge: Any, node: Node) -> str:
    """The node that an input of the table is, by its key; an input that is gone only has its role."""
    key = edge.get("key") if isinstance(edge, dict) else None
    named = [e.node for e in node.inputs if e.key == key]
    return named[0] if named else path.removeprefix("input.").rpartition(".")[0]


def _edges(before: Any, after: Any) -> dict[str, str]:
    """What differs beside the key: that one is no text for people."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return (
            {"before": "not read"}
            if before is None
            else {"after": "not read"}
            if after is None
            else {}
        )
    same_key = before.get("key") == after.get("key")
    if not same_key:
        return {}
    shown = [
        ", ".join(f"{k} {v}" for k, v in e.items() if k != "key" and v) for e in (before, after)
    ]
    return {"before": shown[0], "after": shown[1]}
