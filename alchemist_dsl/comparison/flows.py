"""How the rows of a port differ between two plans, as far as it can be proved, and how a step hands that on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from alchemist_runtime.schema.attributes import ByKind
from alchemist_runtime.schema.expressions import columns_read, walk
from alchemist_runtime.schema.plan import (
    DecontaminateSpec,
    DedupSpec,
    Edge,
    FilterSpec,
    MapSpec,
    MixtureSpec,
    Node,
    Select,
    SplitSpec,
    TaskSpec,
    TeacherStepSpec,
)
from alchemist_runtime.schema.rows import MADE_BY

Kind = Literal["same", "grow", "shrink", "content", "other"]


@dataclass(frozen=True, slots=True)
class Flow:
    """`grow`: the old rows and more; `shrink`: some of them; `content`: the same rows, of which `columns` may
    differ.
    """

    kind: Kind
    columns: frozenset[str] = frozenset()


SAME: Final = Flow("same")
GROW: Final = Flow("grow")
SHRINK: Final = Flow("shrink")
OTHER: Final = Flow("other")
#: Columns that are views of the turns of a row: a change of one shows in those that hold it.
TURNS: Final = frozenset({"messages", "system", "instruction", "response", "history"})


def content(columns: Iterable[str]) -> Flow:
    """The same rows with other values of these columns."""
    found = frozenset(columns)
    if "messages" in found:
        found |= TURNS
    elif found & TURNS:
        found |= {"messages", "history"}
    return Flow("content", found) if found else SAME


def joined(flows: Iterable[Flow]) -> Flow:
    """What several changes make together."""
    out = SAME
    for flow in flows:
        if out.kind == "same":
            out = flow
        elif flow.kind == "content" and out.kind == "content":
            out = Flow("content", out.columns | flow.columns)
        elif flow.kind not in ("same", out.kind):
            return OTHER
    return out


@dataclass(frozen=True, slots=True)
class Ports:
    """The change of every port of a step. `asked`: of the questions that a teacher step puts."""

    rows: Flow = SAME
    dropped: Flow = SAME
    trace: Flow = SAME
    asked: Flow = SAME

    def of(self, edge: Edge) -> Flow:
        """What comes in by an edge."""
        if edge.port in ("train", "eval"):  # other rows may take their families to the other side
            return self.rows if self.rows.kind in ("same", "content") else OTHER
        if edge.port == "rest":  # fewer rows that are chosen or refused are more that are set aside
            return SAME if self.rows.kind == self.dropped.kind == "same" else OTHER
        return {"dropped": self.dropped, "trace": self.trace}.get(edge.port, self.rows)

    def and_(self, other: Ports) -> Ports:
        return Ports(
            joined((self.rows, other.rows)),
            joined((self.dropped, other.dropped)),
            joined((self.trace, other.trace)),
            joined((self.asked, other.asked)),
        )


def alike(flow: Flow) -> Ports:
    """Every port changes in the same way."""
    return Ports(flow, flow, flow, flow)


UNCHANGED: Final = Ports()
UNKNOWN: Final = alike(OTHER)

#: Roles whose rows become the step's own; of others only the outcome depends.
_DATA: Final = ("from", "learn", "sound", "data", "take")


def passed(node: Node, incoming: Sequence[tuple[Edge, Flow]]) -> Ports:
    """What a step whose own words are the same makes of changed inputs."""
    data = joined(f for e, f in incoming if e.role.partition(".")[0] in _DATA)
    beside = [(e.role, f) for e, f in incoming if e.role.partition(".")[0] not in _DATA]
    result = _data(node, data)
    for role, flow in beside:
        if flow.kind != "same":
            result = result.and_(_beside(role, flow))
    return result


def _beside(role: str, flow: Flow) -> Ports:
    """More benchmark items let fewer rows through; of anything else nothing can be proved."""
    if role != "against":
        return UNKNOWN
    turned = {"grow": SHRINK, "shrink": GROW}.get(flow.kind, OTHER)
    return Ports(rows=turned, dropped=OTHER)


def _data(node: Node, flow: Flow) -> Ports:
    match flow.kind:
        case "same":
            return UNCHANGED
        case "grow" | "shrink":
            return alike(flow) if steady(node) else UNKNOWN
        case "content":
            return _content(node, flow.columns)
        case _:
            return UNKNOWN


#: By kind whether the fate of a row depends on that row alone.
_STEADY: ByKind[Callable[[Any], bool]] = ByKind()


def steady(node: Node) -> bool:
    """Whether the fate of a row depends on that row alone, so that more rows going in leave the others as they are."""
    return _STEADY[node.kind](node.spec) if node.kind in _STEADY else True


@_STEADY.of("map", "filter", "relabel", "generate")
def _selecting(spec: MapSpec | FilterSpec | TeacherStepSpec) -> bool:
    return row_by_row(spec.select)


@_STEADY.of("task")
def _task_steady(spec: TaskSpec) -> bool:
    return spec.sound is None and row_by_row(spec.select)


@_STEADY.of("mixture")
def _mixture_steady(spec: MixtureSpec) -> bool:
    whole = (t.amount == "all" or _copies(t.amount, t.value) for t in spec.take)
    return spec.total is None and spec.weights is None and all(whole)


@_STEADY.of("dedup", "split")
def _by_groups(spec: DedupSpec | SplitSpec) -> bool:
    return False


def _copies(amount: str, value: str | None) -> bool:
    return amount == "multiplier" and value is not None and "/" not in value


def row_by_row(select: Select | None) -> bool:
    """Whether a selection decides on each row alone."""
    return select is None or (select.count is None and not select.per and not select.best)


#: By kind what comes of other values in some columns.
_CONTENT: ByKind[Callable[[Any, frozenset[str]], Ports]] = ByKind()


def _content(node: Node, changed: frozenset[str]) -> Ports:
    """Other values in some columns: the same decisions where the step reads none of them."""
    return _CONTENT[node.kind](node.spec, changed) if node.kind in _CONTENT else alike(content(changed))


def _unless(decides: frozenset[str], changed: frozenset[str]) -> Ports:
    return UNKNOWN if changed & decides else alike(content(changed))


@_CONTENT.of("map")
def _mapped(spec: MapSpec, changed: frozenset[str]) -> Ports:
    if changed & selection_reads(spec.select):
        return UNKNOWN
    return alike(content(_after_sets(spec.sets, changed)))


@_CONTENT.of("filter")
def _filtered(spec: FilterSpec, changed: frozenset[str]) -> Ports:
    rules = [r.expr for r in spec.rules if r.verb != "expect"]
    return _unless(reads(rules) | selection_reads(spec.select), changed)


@_CONTENT.of("dedup")
def _deduplicated(spec: DedupSpec, changed: frozenset[str]) -> Ports:
    return _unless(reads([*spec.on, *([spec.prefer] if spec.prefer else [])]), changed)


@_CONTENT.of("decontaminate")
def _decontaminated(spec: DecontaminateSpec, changed: frozenset[str]) -> Ports:
    return _unless(reads(spec.on) if spec.on else TURNS, changed)


@_CONTENT.of("split")
def _divided(spec: SplitSpec, changed: frozenset[str]) -> Ports:
    return _unless(TURNS, changed)


@_CONTENT.of("task")
def _task_content(spec: TaskSpec, changed: frozenset[str]) -> Ports:
    if spec.sound is not None or changed & selection_reads(spec.select):
        return UNKNOWN
    return alike(content({"messages", "lang"}))


@_CONTENT.of("mixture")
def _mixture_content(spec: MixtureSpec, changed: frozenset[str]) -> Ports:
    counts = spec.unit == "tokens" or any(t.amount == "tokens" for t in spec.take)
    return UNKNOWN if counts else alike(content(changed))


@_CONTENT.of("relabel", "generate")
def _taught(spec: TeacherStepSpec, changed: frozenset[str]) -> Ports:
    """A teacher that sees none of the changed columns is asked the same questions."""
    if changed & selection_reads(spec.select):
        return UNKNOWN
    rules = [r.expr for r in spec.rules if r.verb != "expect"]
    written = {s.column for s in spec.sets}
    if not changed & reads(list(spec.inputs.values())):
        if not changed & reads(rules):
            reported = content({"before", "after"})
            rows = content(_after_sets(spec.sets, changed))
            return Ports(rows, content(changed), reported, SAME)
        requested = SAME
    else:
        requested = OTHER
    rows = content({*changed, *written, MADE_BY}) if spec.mode == "replace" else OTHER
    return Ports(rows, OTHER, OTHER, requested)


def _after_sets(sets: Sequence[Any], changed: frozenset[str]) -> frozenset[str]:
    """The changed columns behind assignments: those that stay, and those that are computed from a changed one."""
    written = {s.column for s in sets}
    return (changed - written) | {s.column for s in sets if changed & reads([s.expr])}


# --- what an expression reads -----------------------------------------------------------------------------------------


def selection_reads(select: Select | None) -> frozenset[str]:
    """Columns that decide which rows are selected."""
    if select is None:
        return frozenset()
    where = [select.where] if select.where is not None else []
    return reads([*where, *select.best]) | frozenset(select.per)


def reads(trees: Iterable[Any]) -> frozenset[str]:
    """Columns that expressions read."""
    found = list(trees)
    turns = any(part[:2] == ["call", "turns"] for part in walk(found))
    return columns_read(found) | ({"messages"} if turns else frozenset())
