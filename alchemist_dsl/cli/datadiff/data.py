"""A comparison of two results as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemist_runtime.engine.compare import DataDiff, GroupDiff, PortDiff, Sample, StepDiff


def data_json(result: DataDiff) -> dict[str, Any]:
    """The comparison as plain data, with every value of a sample in full."""
    return {
        "outcome": result.outcome,
        "before": {"recipe": result.before.recipe, "variant": result.before.variant},
        "after": {"recipe": result.after.recipe, "variant": result.after.variant},
        "steps": [_step_data(s) for s in result.steps],
    }


def _step_data(s: StepDiff) -> dict[str, Any]:
    out: dict[str, Any] = {
        "before": s.before,
        "after": s.after,
        "kind": s.kind,
        "state": s.state,
        "compared": not s.incomplete,
        "ports": [_port_data(p) for p in s.ports],
    }
    if s.moves:
        out["moves"] = [
            {"rule": m.rule, "to": m.to, "rows": m.rows, "samples": [_sample_data(x) for x in m.samples]}
            for m in s.moves
        ]  # fmt: skip
    if s.missing:
        out["missing"] = [{"side": m.side, "step": m.step, "needs": m.needs} for m in s.missing]
    if s.problem is not None:
        p = s.problem
        out["problem"] = {
            "code": p.code,
            "slug": p.slug,
            "headline": p.headline,
            "place": p.place,
            "help": p.help,
        }
    if s.note:
        out["note"] = s.note
    return out


def _port_data(p: PortDiff) -> dict[str, Any]:
    return {
        "port": p.port,
        "same": p.same,
        "rows": {"before": p.before, "after": p.after},
        "added": p.added,
        "removed": p.removed,
        "changed": p.changed,
        "reordered": p.reordered,
        "read": p.read,
        "columns": [
            {
                "name": c.name,
                "type": {"before": c.before, "after": c.after},
                "changed": c.changed,
                **({"unread": c.unread} if c.unread else {}),
            }
            for c in p.columns
        ],
        "origins": [_group_data(g) for g in p.origins],
        "rules": [_group_data(g) for g in p.rules],
        "samples": {kind: [_sample_data(x) for x in some] for kind, some in p.samples.items()},
    }


def _group_data(g: GroupDiff) -> dict[str, Any]:
    rows = {"before": g.before, "after": g.after}
    return {"name": g.name, **rows, "added": g.added, "removed": g.removed, "changed": g.changed}


def _sample_data(s: Sample) -> dict[str, Any]:
    sides = {"before": _finite(s.before), "after": _finite(s.after)}
    return {"id": s.id, "copy": s.copy, "origin": s.origin, **sides}


def _finite(value: Any) -> Any:
    """The same as JSON can say it: what is no number is null."""
    match value:
        case float() if value != value or value in (float("inf"), float("-inf")):
            return None
        case str() | int() | float() | None:
            return value
        case dict():
            return {str(k): _finite(v) for k, v in value.items()}
        case list():
            return [_finite(v) for v in value]
        case _:  # a date, a decimal
            return str(value)
