"""A comparison of two results as plain data: the form that `docs/schemas/diff.json` describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from alchemist_dsl.comparison.rows import (
    ColumnRows,
    GroupRows,
    MissingResult,
    MovedRows,
    PortRows,
    ResultProblem,
    RowSample,
    RowsDiff,
    Sides,
    StepRows,
)

if TYPE_CHECKING:
    from alchemist_runtime.engine.compare import DataDiff, GroupDiff, PortDiff, Sample, StepDiff
    from alchemist_runtime.schema.errors import Problem


def data_json(result: DataDiff) -> dict[str, Any]:
    """The comparison as plain data, with every value of a sample in full."""
    return data_model(result).model_dump(mode="json")


def data_model(result: DataDiff, path: str | None = None) -> RowsDiff:
    """The comparison in its published form."""
    return RowsDiff(path=path, outcome=result.outcome, steps=[_step(s) for s in result.steps])


def _step(s: StepDiff) -> StepRows:
    return StepRows(
        before=s.before,
        after=s.after,
        kind=s.kind,
        state=s.state,
        compared=not s.incomplete,
        ports=[_port(p) for p in s.ports],
        moves=[MovedRows(rule=m.rule, to=m.to, rows=m.rows, samples=_samples(m.samples)) for m in s.moves],
        missing=[MissingResult(**asdict(m)) for m in s.missing],
        problem=None if s.problem is None else _problem(s.problem),
        note=s.note,
    )


def _problem(p: Problem) -> ResultProblem:
    return ResultProblem(code=p.code, slug=p.slug, headline=p.headline, place=p.place, help=p.help)


def _port(p: PortDiff) -> PortRows:
    return PortRows(
        port=p.port,
        same=p.same,
        rows=Sides(before=p.before, after=p.after),
        added=p.added,
        removed=p.removed,
        changed=p.changed,
        reordered=p.reordered,
        read=p.read,
        columns=[
            ColumnRows(name=c.name, type=Sides(before=c.before, after=c.after), changed=c.changed, unread=c.unread)
            for c in p.columns
        ],
        origins=_groups(p.origins),
        rules=_groups(p.rules),
        samples={kind: _samples(some) for kind, some in p.samples.items()},  # type: ignore[misc]
    )


def _groups(groups: Iterable[GroupDiff]) -> list[GroupRows]:
    return [GroupRows(**asdict(g)) for g in groups]


def _samples(samples: Iterable[Sample]) -> list[RowSample]:
    return [
        RowSample(id=s.id, occurrence=s.copy, origin=s.origin, before=_record(s.before), after=_record(s.after))
        for s in samples
    ]


def _record(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else {k: _finite(v) for k, v in values.items()}


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
