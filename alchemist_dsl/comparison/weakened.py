"""What a change weakens: rows that a decontamination kept out, licences that were stricter. Reviewers see it first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from alchemist_runtime.schema.plan import ExportSpec, Node, Plan, SourceSpec, SuiteSpec

from alchemist_dsl.checker.lints import NON_COMMERCIAL, PERMISSIVE, licence_name
from alchemist_dsl.comparison.effects import relaxes
from alchemist_dsl.comparison.matching import Matched
from alchemist_dsl.comparison.model import Change, Relaxed

#: Where rows end up.
_SINKS = ("train", "export")
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
        for change in found.get(m.after.id, ()):
            if relaxes(change, m.after.kind):
                text = f"`{m.after.id}` lets more rows through: {_from_to(change)}"
                yield Relaxed(kind="decontamination", headline=text, node=m.after.id, at=m.after.at)
        yield from _fewer_items(m.before, m.after)


def _from_to(change: Change) -> str:
    if change.removed:
        return f"`{change.path}` without {', '.join(change.removed)}"
    if change.after is None:
        return f"`{change.path}` is gone"
    if change.before is None:
        return f"`{change.path}` is {change.after}"
    return f"`{change.path}` {change.before} -> {change.after}"


def _fewer_items(before: Node, after: Node) -> Iterator[Relaxed]:
    old, new = before.spec, after.spec
    if not isinstance(old, SuiteSpec) or not isinstance(new, SuiteSpec):
        return
    gone = [c for c in old.text if c not in new.text]
    lost = {f["path"] for f in old.files} - {f["path"] for f in new.files}
    text = (
        f"suite `{after.id}` has no items any more"
        if new.reader.name == "missing" and old.reader.name != "missing"
        else (
            f"suite `{after.id}` no longer holds the text of {', '.join(gone)}"
            if gone
            else f"suite `{after.id}` lacks {', '.join(sorted(lost))}"
            if lost and old.reader == new.reader
            else None
        )
    )
    if text is not None:
        yield Relaxed(kind="decontamination", headline=text, node=after.id, at=after.at)


# --- paths around it --------------------------------------------------------------------------------------------------


def _bypassed(before: Plan, after: Plan, pairs: Sequence[Matched]) -> Iterator[Relaxed]:
    """Rows that reached a result through a decontamination and now reach it without one."""
    names = {m.before.id: m.after.id for m in pairs if m.before and m.after}
    for m in pairs:
        if m.before is None or m.after is None or m.after.kind not in _SINKS:
            continue
        was = {names.get(n, n) for n in _unguarded(before, m.before)}
        known = {names.get(n, n) for n in _guarded(before, m.before)}
        now = [n for n in _unguarded(after, m.after) if n in known and n not in was]
        if now:
            shown = ", ".join(f"`{n}`" for n in now[:3]) + (", …" if len(now) > 3 else "")
            text = f"rows of {shown} reach `{m.after.id}` without decontamination now"
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
        if node.id in seen or (node.kind == "decontaminate" and not through):
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
        says = "claims" if isinstance(new, ExportSpec) else "is said to be"
        text = (
            f"{m.after.kind} `{m.after.id}` {says} {new.license or 'without a licence'}, it was"
            f" {old.license or 'without one'}"
        )
        yield Relaxed(kind="licence", headline=text, node=m.after.id, at=m.after.at)


def _newcomers(after: Plan, pairs: Sequence[Matched]) -> Iterator[Relaxed]:
    """A source for non-commercial use only that was not there before and reaches a result that was."""
    new = {m.after.id for m in pairs if m.before is None and m.after is not None}
    for m in pairs:
        if m.before is None or m.after is None or m.after.kind not in _SINKS:
            continue
        for name in _guarded(after, m.after):
            spec = after.node(name).spec
            if name in new and isinstance(spec, SourceSpec) and _freedom(spec.license) == 0:
                text = f"`{name}` ({spec.license}) reaches `{m.after.id}`"
                yield Relaxed(kind="licence", headline=text, node=name, at=after.node(name).at)
