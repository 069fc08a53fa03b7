"""What the changes of a step mean: how its ports differ, as far as it can be proved, and the category that follows.

A share is drawn by `hash < share` and a count by rank, so a larger one keeps every row of a smaller one; a rule that
goes lets more rows through; an answer to an equal question is in the cache. Whatever none of this covers is `breaking`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from alchemist_runtime.schema.attributes import ByKind
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import (
    DecontaminateSpec,
    EvaluateSpec,
    ExportSpec,
    FilterSpec,
    MapSpec,
    MeasureSpec,
    MixtureSpec,
    Node,
    Plan,
    Rule,
    Select,
    SourceSpec,
    SuiteSpec,
    TaskSpec,
    TeacherStepSpec,
)
from alchemist_runtime.schema.rows import MADE_BY

from alchemist_dsl.checker.lints import NON_COMMERCIAL, PERMISSIVE, licence_name
from alchemist_dsl.comparison.flows import (
    GROW,
    OTHER,
    SAME,
    SHRINK,
    UNCHANGED,
    UNKNOWN,
    Flow,
    Ports,
    alike,
    content,
    row_by_row,
    steady,
)
from alchemist_dsl.comparison.model import Category, Change, Relaxed

if TYPE_CHECKING:
    from alchemist_dsl.comparison.steps import Matched

_WORSE: Final[tuple[Category, ...]] = ("same", "cosmetic", "metadata", "extending", "narrowing", "breaking")


@dataclass(frozen=True, slots=True)
class Effect:
    """`stop`: why the content may turn out equal all the same."""

    category: Category
    ports: Ports = UNCHANGED
    stop: str | None = None


BREAKING: Final = Effect("breaking", UNKNOWN)
METADATA: Final = Effect("metadata")


def worst(categories: Sequence[Category]) -> Category:
    """The category of several changes together; rows that come and rows that go are neither of the two."""
    if "extending" in categories and "narrowing" in categories:
        return "breaking"
    return max(categories, key=_WORSE.index, default="same")


def effect(before: Node, after: Node, found: Sequence[Change]) -> tuple[Effect, list[Change]]:
    """The effect of a step's own changes together, and the changes, each with its category."""
    found = [c for c in found if not _only_follows(c)]
    if after.kind in _TOGETHER:
        effects = _TOGETHER[after.kind](after.spec, before.spec, found)
    else:
        renamed = _renamed(before, after)
        effects = [_RENAMED if c.path in renamed else _one(before, after, c) for c in found]
    judged = [c.model_copy(update={"category": e.category}) for c, e in zip(found, effects, strict=True)]
    ports = UNCHANGED
    for e in effects:
        ports = ports.and_(e.ports)
    real = [e for e in effects if e.category not in ("metadata", "cosmetic", "same")]
    stop = real[0].stop if real and all(e.stop is not None for e in real) else None
    return Effect(worst([e.category for e in effects]), ports, stop), judged


def _only_follows(change: Change) -> bool:
    """A salt that comes or goes with a selection or a mode, which say what that means."""
    return change.path == "salt" and None in (change.before, change.after)


def _renamed(before: Node, after: Node) -> set[str]:
    """Rules that only are called otherwise, by their paths under both names."""
    old, new = ({r.name: r for r in getattr(n.spec, "rules", ()) if r.verb != "expect"} for n in (before, after))
    gone = [r for name, r in old.items() if name not in new]
    come = [r for name, r in new.items() if name not in old]
    pairs = [(b, a) for b in gone for a in come if (b.verb, b.expr) == (a.verb, a.expr)]
    once = Counter(r.name for pair in pairs for r in pair)
    return {f"rule.{r.name}" for pair in pairs for r in pair if all(once[x.name] == 1 for x in pair)}


#: By kind what a change of one fact does, from what the step says, what it said before, and the change.
_EFFECTS: ByKind[Callable[[Any, Any, Change], Effect]] = ByKind()
effects = _EFFECTS.of
#: By kind what all changes of a step do, where one depends on the others.
_TOGETHER: ByKind[Callable[[Any, Any, Sequence[Change]], list[Effect]]] = ByKind()
#: By kind in what a step that keeps rows out is weaker after, a sentence each.
_WEAKER: ByKind[Callable[[Node, Node, Sequence[Change]], Iterator[str]]] = ByKind()


def _one(before: Node, after: Node, change: Change) -> Effect:
    if change.category == "metadata":
        return METADATA
    if change.path == "salt":
        return BREAKING
    if change.path in ("from", "learn", "data"):
        return _inputs(after, change)
    if after.kind in _EFFECTS:
        return _EFFECTS[after.kind](after.spec, before.spec, change)
    return replace(BREAKING, stop="the same rows may remain" if "duplicate" in KINDS[after.kind].refuses else None)


@effects("evaluate", "measure")
def _judged(spec: EvaluateSpec | MeasureSpec, old: Any, change: Change) -> Effect:
    listed = change.path == "suites" or change.path.count(".") == 1
    return (_grown(change) if listed else None) or BREAKING


def _unsteady(result: Effect) -> Effect:
    """A selection by rank stands behind the rules: rows that come or go move its border."""
    return result if result.ports.rows.kind in ("same", "content") else replace(BREAKING, stop=result.stop)


def _inputs(node: Node, change: Change) -> Effect:
    """A stream that comes or goes."""
    flow = _direction(change)
    if flow is None:
        swapped = bool(change.added and change.removed)
        return replace(BREAKING, stop=_ANOTHER_WAY if swapped else None)
    return Effect(_category(flow), alike(flow)) if steady(node) else BREAKING


#: Of rows that come from another step than before.
_ANOTHER_WAY: Final = "the same rows may come from there"


def _direction(change: Change) -> Flow | None:
    """Of a set: only more, only fewer, or neither."""
    if bool(change.added) == bool(change.removed):
        return None
    return GROW if change.added else SHRINK


def _category(flow: Flow) -> Category:
    match flow.kind:
        case "grow":
            return "extending"
        case "shrink":
            return "narrowing"
        case _:
            return "breaking"


def _grown(change: Change) -> Effect | None:
    """More or less of something that is only listed: further suites, metrics, items."""
    flow = _direction(change)
    if flow is None and change.before is None:
        flow = GROW
    if flow is None and change.after is None:
        flow = SHRINK
    return None if flow is None else Effect(_category(flow), alike(flow))


def _compared(before: int | Fraction | None, after: int | Fraction | None) -> Flow:
    """A limit that rises or falls; no limit is the highest."""
    if before == after:
        return SAME
    if after is None or (before is not None and after > before):
        return GROW
    return SHRINK


# --- kinds ------------------------------------------------------------------------------------------------------------


@effects("source")
def _source(spec: SourceSpec, old: Any, change: Change) -> Effect:
    path = change.path
    if path in ("limit", "--limit"):
        name = "limit" if path == "limit" else "run_limit"
        flow = _compared(getattr(old, name), getattr(spec, name))
        return Effect(_category(flow), alike(flow))
    if path.startswith("file."):
        return _file(spec, old, change)
    if path.startswith("set.") and spec.on_bad_row == "error":
        return _set(path)
    if path in ("revision", "on_bad_row"):
        return replace(BREAKING, stop="its records may be the same")
    return BREAKING


def _file(spec: SourceSpec, old: Any, change: Change) -> Effect:
    """A file that comes or goes brings or takes its records; a limit would choose anew among all of them."""
    limited = any(s.limit is not None or s.run_limit is not None for s in (spec, old))
    if change.before is not None and change.after is not None:
        return replace(BREAKING, stop="its records may be the same")
    if limited:
        return BREAKING
    flow = GROW if change.before is None else SHRINK
    return Effect(_category(flow), alike(flow))


def _set(path: str) -> Effect:
    flow = content({path.removeprefix("set.")})
    return Effect("breaking", alike(flow), "it may give the same values")


@effects("map")
def _map(spec: MapSpec, old: Any, change: Change) -> Effect:
    path = change.path
    if path.startswith("set."):
        return _set(path)
    if path == "select":
        return _selected(spec.select, old.select, spec.mode, {s.column for s in spec.sets})
    return BREAKING


@effects("filter")
def _filter(spec: FilterSpec, old: Any, change: Change) -> Effect:
    if change.path == "select":
        return _selected(spec.select, old.select, "only", set())
    result = _rule(spec.rules, old.rules, change) or BREAKING
    return result if row_by_row(spec.select) or change.path.startswith("select") else _unsteady(result)


_ORDER: Final = "which rows stay does not depend on the order of the rules"
#: What a rule is called stands beside the rows that it refused.
_TOLD: Final = Ports(dropped=content({"rule", "reason"}))
_RENAMED: Final = Effect("breaking", _TOLD, "which rows stay does not depend on a rule's name")


def _rule(rules: Sequence[Rule], old: Sequence[Rule], change: Change) -> Effect | None:
    """Sieves: each that comes lets fewer rows through, each that goes more. What the refused rows say of it changes
    too.
    """
    if change.path == "rules.order":
        return Effect("breaking", _TOLD, _ORDER)
    if not change.path.startswith("rule."):
        return None
    name = change.path.removeprefix("rule.")
    if change.before is None:
        flow = SHRINK
    elif change.after is None:
        flow = GROW
    else:
        flow = _widened(_named(old, name), _named(rules, name))
    return Effect(_category(flow), Ports(rows=flow, dropped=OTHER), "the same rows may remain")


def _named(rules: Sequence[Rule], name: str) -> Rule | None:
    return next((r for r in rules if r.name == name), None)


def _widened(before: Rule | None, after: Rule | None) -> Flow:
    """Whether a rule lets more or fewer rows through: a moved bound, a wider interval, a longer list."""
    if before is None or after is None or before.verb != after.verb:
        return OTHER
    flow = _holds_for_more(before.expr, after.expr)
    if after.verb == "drop":
        return {"grow": SHRINK, "shrink": GROW}.get(flow.kind, flow)
    return flow


def _holds_for_more(before: Any, after: Any) -> Flow:
    """Whether a condition holds for more rows than before."""
    match before, after:
        case ["in", a, ["interval", low, high]], ["in", b, ["interval", low2, high2]] if a == b:
            ends = [_literal(x) for x in (low, high, low2, high2)]
            if any(e is None for e in ends):
                return OTHER
            lo, hi, lo2, hi2 = (Fraction(e) for e in ends if e is not None)
            return GROW if lo2 <= lo and hi2 >= hi else SHRINK if lo2 >= lo and hi2 <= hi else OTHER
        case ["in", a, ["list", some]], ["in", b, ["list", others]] if a == b:
            more = all(x in others for x in some)
            fewer = all(x in some for x in others)
            return GROW if more else SHRINK if fewer else OTHER
        case ["cmp", op, a, x], ["cmp", op2, b, y] if op[:1] == op2[:1] and a == b:
            old, new = _literal(x), _literal(y)
            if old is None or new is None or op[:1] not in ("<", ">"):
                return OTHER
            sign = 1 if op[:1] == "<" else -1
            return GROW if (sign * new, len(op2)) > (sign * old, len(op)) else SHRINK
        case ["not", a], ["not", b]:
            flow = _holds_for_more(a, b)
            return {"grow": SHRINK, "shrink": GROW}.get(flow.kind, flow)
        case _:
            return OTHER


def _literal(tree: Any) -> Fraction | None:
    match tree:
        case ["lit", str(kind), value] if kind not in ("text", "bool", "null"):
            try:
                return Fraction(str(value))
            except ValueError:
                return None
        case _:
            return None


#: Arguments whose rise lets more rows through: fewer rows reach the bound.
_RELAXED_BY_MORE: Final = frozenset({"n", "share", "ratio", "threshold", "shortest"})
#: Texts that are among those searched where no others are named.
_SEARCHED: Final = frozenset({"system", "instruction", "response"})


@effects("decontaminate")
def _decontaminate(spec: DecontaminateSpec, old: Any, change: Change) -> Effect:
    flow = _let_through(change)
    stop = "the same rows may remain"
    if flow is None or not _proved(change, spec, old):
        return replace(BREAKING, stop=stop)
    return Effect(_category(flow), Ports(rows=flow, dropped=OTHER), stop)


def _let_through(change: Change) -> Flow | None:
    """Whether a change of a decontamination lets more rows through."""
    path = change.path
    if path == "on" and (change.before is None or change.after is None):
        return SHRINK if change.after is None else GROW  # without `on` all turns are searched
    if path in ("against", "on"):
        listed = _direction(change)
        return None if listed is None else SHRINK if listed.kind == "grow" else GROW
    parts = path.split(".")
    if parts[0] != "method":
        return None
    if len(parts) == 2:
        return SHRINK if change.before is None else GROW if change.after is None else None
    if parts[2] == "allow":
        listed = _direction(change)
        return listed if listed is not None else None
    if parts[2] in _RELAXED_BY_MORE:
        return _by_argument(change)
    return None


def _proved(change: Change, spec: DecontaminateSpec, old: Any) -> bool:
    """Whether what a change looks like is so of every row."""
    if change.path == "on" and (change.before is None or change.after is None):
        return _SEARCHED.issuperset((*change.added, *change.removed))
    if change.path.endswith(".n"):  # longer runs can be a larger share of a text that repeats itself
        return not any(
            Fraction(str(m.args.get("share", 0))) for s in (spec, old) for m in s.methods if m.name == "ngram"
        )
    return True


def _by_argument(change: Change) -> Flow | None:
    """`share` unwritten: one n-gram is enough, the strictest there is."""
    if change.relative is not None:
        return GROW if Fraction(change.relative) > 0 else SHRINK
    if change.path.endswith(".share"):
        return GROW if change.before in (None, "none") else SHRINK
    return None


@effects("relabel", "generate")
def _teacher_step(spec: TeacherStepSpec, old: Any, change: Change) -> Effect:
    path, written = change.path, {s.column for s in spec.sets} | {s.column for s in old.sets}
    replaces = spec.mode == "replace"
    if replaces:
        written.add(MADE_BY)
    if path == "select":
        return _selected(spec.select, old.select, spec.mode, written)
    if path == "samples":
        flow = _compared(old.samples, spec.samples)
        return Effect(_category(flow), Ports(flow, flow, flow, flow))
    if path == "accept":
        flow = _compared(old.accept, spec.accept)
        return Effect(_category(flow), Ports(flow, flow, flow, flow))
    if path in ("retries_on_reject", "repair"):
        flow = _compared(getattr(old, path), getattr(spec, path))
        rows = content(written) if replaces else flow
        return Effect(_category(flow), Ports(rows, OTHER, flow, flow), "possibly no answer is rejected")
    if path == "rules.order" or path.startswith("rule."):
        return _judging(spec, old, change, written)
    if path.startswith("set.") or path == "place":
        columns = {path.removeprefix("set.")} if path != "place" else written
        new = path.startswith("set.") and (change.before is None or change.after is None)
        rows = content(columns) if replaces or not new else OTHER
        return Effect("breaking", Ports(rows, rows, content({"after"}), SAME))
    rows = content(written) if replaces else OTHER
    return Effect("breaking", Ports(rows, OTHER, OTHER, OTHER))


def _judging(spec: TeacherStepSpec, old: Any, change: Change, written: set[str]) -> Effect:
    """A rule over answers: the questions stay the same, but for those that a refusal asks again."""
    result = _rule(spec.rules, old.rules, change)
    if result is None or spec.retries_on_reject or old.retries_on_reject:
        return replace(BREAKING, stop="the same answers may be accepted")
    rows = content(written) if spec.mode == "replace" else result.ports.rows
    return replace(result, ports=Ports(rows, result.ports.dropped, result.ports.rows, SAME))


@effects("task")
def _task(spec: TaskSpec, old: Any, change: Change) -> Effect:
    if change.path == "select":
        return _selected(spec.select, old.select, "only", set())
    if change.path in ("instruction", "response", "system"):
        return Effect("breaking", alike(content({change.path})))
    return BREAKING


@effects("export")
def _export(spec: ExportSpec, old: Any, change: Change) -> Effect:
    """A sink: a further column leaves the others as they are."""
    if change.path == "columns":
        return _grown(change) or BREAKING
    return BREAKING


def _selected(select: Select | None, old: Select | None, mode: str, written: set[str]) -> Effect:
    """A share or count that rises or falls, all else equal."""
    flow = _selection(old, select)
    if flow.kind == "other":
        return replace(BREAKING, stop="the same rows may be chosen")
    rows = flow if mode in ("only", "add") else content(written)
    return Effect(_category(flow), Ports(rows, flow, flow, flow))


def _selection(before: Select | None, after: Select | None) -> Flow:
    some = after or before
    if some is None or not _comparable(before, after):
        return OTHER
    if any(s is not None and s.where is not None for s in (before, after)):
        return OTHER
    if some.fraction is not None:
        old, new = (_share(s) for s in (before, after))
        return _compared(old, new)
    return _compared(*(None if s is None else s.count for s in (before, after)))


def _share(select: Select | None) -> Fraction:
    return Fraction(1) if select is None or select.fraction is None else Fraction(select.fraction)


def _comparable(before: Select | None, after: Select | None) -> bool:
    """Both draw by the same hash, in the same groups; no selection at all takes every row."""
    if before is None or after is None:
        return True
    same = ("per", "best", "salt")
    if any(getattr(before, n) != getattr(after, n) for n in same):
        return False
    return (before.fraction is None) == (after.fraction is None)


# --- mixtures ---------------------------------------------------------------------------------------------------------

#: Where steps are renamed, entries of a mixture that reads them are called otherwise.
ENTRY_NAMES: Final = "names of entries"
_SHARES: Final = frozenset({"share", "parts", "rest"})


@_TOGETHER.of("mixture")
def _mixture(spec: MixtureSpec, old: Any, found: Sequence[Change]) -> list[Effect]:
    """Entries with amounts of their own come, go, rise and fall without the others; shares depend on all of them."""
    alone = all(
        s.total is None and s.weights is None and not any(t.amount in _SHARES for t in s.take) for s in (spec, old)
    )
    took = [c for c in found if c.path.startswith("take.")]
    swapped = any(c.before is None for c in took) and any(c.after is None for c in took)
    result = [METADATA if c.category == "metadata" else _entry(c, alone) for c in found]
    return [replace(e, stop=_ANOTHER_WAY) for e in result] if swapped else result


def _entry(change: Change, alone: bool) -> Effect:
    if change.path == ENTRY_NAMES:
        return replace(BREAKING, stop="only the names of entries differ")  # draws among equals go by their order
    if not change.path.startswith("take.") or not alone:
        return BREAKING
    flow = SHRINK if change.after is None else GROW if change.before is None else _amounts(change)
    return BREAKING if flow is None else Effect(_category(flow), alike(flow))


def _amounts(change: Change) -> Flow | None:
    """The same kind of amount, more or less of it: an entry is drawn in the order of the hash."""
    kinds = {
        (t or "").rpartition(" ")[2] if not (t or "").endswith("x") else "x" for t in (change.before, change.after)
    }
    if change.relative is None or len(kinds) > 1:
        return None
    return GROW if Fraction(change.relative) > 0 else SHRINK


# --- weakened --------------------------------------------------------------------------------------------------------

#: Where rows come from.
_MAKERS = ("source", "generate", "relabel")


def relaxed(
    before: Plan, after: Plan, pairs: Sequence[Matched], found: Mapping[str, Sequence[Change]]
) -> list[Relaxed]:
    """Every safeguard that is weaker after. `found`: the changes of every step that is on both sides."""
    return [*_loosened(pairs, found), *_bypassed(before, after, pairs), *_claims(pairs), *_newcomers(after, pairs)]


def _loosened(pairs: Sequence[Matched], found: Mapping[str, Sequence[Change]]) -> Iterator[Relaxed]:
    """Suites, methods and texts that a decontamination no longer looks at, and looser bounds."""
    for m in pairs:
        if m.before is None or m.after is None:
            continue
        if m.after.kind in _WEAKER:
            for text in _WEAKER[m.after.kind](m.before, m.after, found.get(m.after.id, ())):
                yield Relaxed(kind="decontamination", headline=text, node=m.after.id, at=m.after.at)


@_WEAKER.of("decontaminate")
def _weaker_search(before: Node, after: Node, found: Sequence[Change]) -> Iterator[str]:
    for change in found:
        flow = None if change.category == "metadata" else _let_through(change)
        fewer = bool(change.removed) and change.category != "metadata" and change.path in ("against", "on")
        if flow == GROW or (flow is None and fewer):
            yield f"`{after.id}` lets more rows through: {_from_to(change)}"


def _from_to(change: Change) -> str:
    if change.removed:
        return f"`{change.path}` without {', '.join(change.removed)}"
    if change.after is None:
        return f"`{change.path}` is gone"
    if change.before is None:
        return f"`{change.path}` is {change.after}"
    return f"`{change.path}` {change.before} -> {change.after}"


@_WEAKER.of("suite")
def _fewer_items(before: Node, after: Node, found: Sequence[Change]) -> Iterator[str]:
    old, new = before.spec, after.spec
    assert isinstance(old, SuiteSpec) and isinstance(new, SuiteSpec)
    gone = [c for c in old.text if c not in new.text]
    lost = {f["path"] for f in old.files} - {f["path"] for f in new.files}
    if new.reader.name == "missing" and old.reader.name != "missing":
        yield f"suite `{after.id}` no longer has items"
    elif gone:
        yield f"suite `{after.id}` no longer holds the text of {', '.join(gone)}"
    elif lost and old.reader == new.reader:
        yield f"suite `{after.id}` lacks {', '.join(sorted(lost))}"


# --- paths around it --------------------------------------------------------------------------------------------------


def _bypassed(before: Plan, after: Plan, pairs: Sequence[Matched]) -> Iterator[Relaxed]:
    """Rows that reached a result through a decontamination and now reach it without one."""
    names = {m.before.id: m.after.id for m in pairs if m.before and m.after}
    for m in pairs:
        if m.before is None or m.after is None or not KINDS[m.after.kind].sink:
            continue
        was = {names.get(n, n) for n in _unguarded(before, m.before)}
        known = {names.get(n, n) for n in _guarded(before, m.before)}
        now = [n for n in _unguarded(after, m.after) if n in known and n not in was]
        if now:
            displayed = ", ".join(f"`{n}`" for n in now[:3]) + (", …" if len(now) > 3 else "")
            text = f"rows of {displayed} now reach `{m.after.id}` without decontamination"
            yield Relaxed(kind="decontamination", headline=text, node=m.after.id, at=m.after.at)


def _unguarded(plan: Plan, sink: Node) -> list[str]:
    """Sources and teacher steps whose rows reach a step by a way that no decontamination lies on."""
    return _makers(plan, sink, through=False)


def _guarded(plan: Plan, sink: Node) -> list[str]:
    return _makers(plan, sink, through=True)


def _makers(plan: Plan, sink: Node, *, through: bool) -> list[str]:
    nodes = {n.id: n for n in plan.nodes}
    seen: set[str] = set()
    waiting = [sink.id]
    while waiting:
        node = nodes[waiting.pop()]
        if node.id in seen or ("against" in KINDS[node.kind].attributes and not through):
            continue
        seen.add(node.id)
        waiting += [
            e.node for e in node.inputs if e.role.partition(".")[0] in ("from", "learn", "sound", "data", "take")
        ]
    return [n.id for n in plan.nodes if n.id in seen and n.kind in _MAKERS]


# --- licences ---------------------------------------------------------------------------------------------------------


def _freedom(licence: str | None) -> int:
    """How much a licence allows: 0 no commercial use, 1 unknown or with other conditions, 2 permissive."""
    if licence is None:
        return 1
    name = licence_name(licence)
    return 2 if name in PERMISSIVE else 0 if NON_COMMERCIAL.search(name) else 1


def _claims(pairs: Sequence[Matched]) -> Iterator[Relaxed]:
    """A result that claims more than before, and a source that is said to allow more."""
    for m in pairs:
        old, new = (n.spec if n else None for n in (m.before, m.after))
        if not isinstance(old, ExportSpec | SourceSpec) or not isinstance(new, ExportSpec | SourceSpec):
            continue
        if m.after is None or _freedom(new.license) <= _freedom(old.license):
            continue
        says = "claims" if KINDS[m.after.kind].sink else "is declared as"
        licences = f"{new.license or 'no licence'}, previously {old.license or 'no licence'}"
        text = f"{m.after.kind} `{m.after.id}` {says} {licences}"
        yield Relaxed(kind="licence", headline=text, node=m.after.id, at=m.after.at)


def _newcomers(after: Plan, pairs: Sequence[Matched]) -> Iterator[Relaxed]:
    """A source for non-commercial use only that was not there before and reaches a result that was."""
    new = {m.after.id for m in pairs if m.before is None and m.after is not None}
    for m in pairs:
        if m.before is None or m.after is None or not KINDS[m.after.kind].sink:
            continue
        for name in _guarded(after, m.after):
            licence = getattr(after.node(name).spec, "license", None)
            if name in new and _freedom(licence) == 0:
                text = f"`{name}` ({licence}) reaches `{m.after.id}`"
                yield Relaxed(kind="licence", headline=text, node=name, at=after.node(name).at)
