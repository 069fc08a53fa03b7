"""The rows of two results: what `alchemist diff --data` says of them, as a document and as plain data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from alchemist_dsl.comparison.model import (
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
from alchemist_dsl.comparison.words import word_diff
from alchemist_dsl.document.blocks import Block, Fold, Item, Paragraph, Record, Small, Table
from alchemist_dsl.document.text import Piece, Sign, Text, code_in, plural

if TYPE_CHECKING:
    from alchemist_runtime.engine.compare import ColumnDiff, DataDiff, GroupDiff, Made, PortDiff, Sample, StepDiff


def data_document(result: DataDiff) -> list[Block]:
    """Describe a comparison: a table of what differs, then each step with its samples."""
    out: list[Block] = [Paragraph(headline(result), "strong")]
    rows = [cells for step in result.steps for cells in _rows(step)]
    if rows:
        head = ("step", "before", "after", "added", "removed", "changed", "columns")
        out.append(Table(head, rows, frozenset({1, 2, 3, 4, 5})))
    seen: set[object] = set()
    out += [Fold(title(step), list(_step(step, seen))) for step in result.steps if has_details(step)]
    out += [Paragraph(code_in(words), "error") for words in missing(result)]
    return out + [Small([words]) for words in unchanged_notes(result)]


def _rows(step: StepDiff) -> Iterator[list[Text]]:
    """A row of the table for each port that differs."""
    sign: Sign = "unknown" if step.incomplete else step.state if step.state in ("added", "removed") else "changed"
    if not step.ports and sign != "changed":
        yield [[("sign", sign), ("same", step.name)], *[""] * 5, state_words(step)]
    for port in step.ports:
        if not port.same:
            name = step.name if port.port == "rows" else f"{step.name}.{port.port}"
            sizes = ["-" if n is None else f"{n:,}" for n in (port.before, port.after)]
            counts = [f"{n:,}" if n else "" for n in (port.added, port.removed, port.changed)]
            yield [[("sign", sign), ("same", name)], *sizes, *counts, _columns(port)]


def _columns(port: PortDiff) -> str:
    signs = ["+" if c.before is None else "-" if c.after is None else "?" if c.unread else "" for c in port.columns]
    displayed = ", ".join(sign + c.name for sign, c in zip(signs, port.columns, strict=True))
    return displayed or ("order" if port.reordered else "")


def _step(step: StepDiff, seen: set[object]) -> Iterator[Block]:
    yield from (Item(words, mark="red") for words in unread(step))
    if step.note:
        yield Item(step.note, mark="dim")
    for words, samples in moves(step):
        yield Item(words, mark="yellow")
        yield from _samples(samples, "moved")
    seen |= {(kind, s.id) for m in step.moves for s in m.samples for kind in ("added", "removed")}
    for port in step.ports:
        if not port.same:
            yield from _port(port, seen)


def _port(port: PortDiff, seen: set[object]) -> Iterator[Block]:
    """What differs in a port, under its name where it is not that of the rows; rows that were shown are left out."""
    found: list[Block] = [Item(words) for words in notes(port)]
    for kind, samples in port.samples.items():
        fresh = [s for s in samples if _identity(s, kind) not in seen]
        seen |= {_identity(s, kind) for s in fresh}
        found += _samples(fresh, cast(Sign, kind))
    if found and port.port != "rows":
        yield Item(f".{port.port}")
    yield from found


def _samples(samples: Iterable[Sample], kind: Sign) -> list[Record]:
    return [Record(sample_label(s), kind, [(name, cut(pieces)) for name, pieces in columns(s, kind)]) for s in samples]


#: Groups (origins, rules) that a line names; the rest is counted.
MOST_GROUPS: Final = 8


def headline(result: DataDiff) -> str:
    """The comparison in one sentence. What could not be compared is never passed over."""
    if [s.kind for s in result.steps] == ["dataset"] and result.outcome == "different":
        return "data: the rows differ"
    unread = sum(s.incomplete for s in result.steps)
    differ = sum(s.state in ("changed", "added", "removed") and not s.incomplete for s in result.steps)
    same = sum(s.state in ("same", "rowless") and not s.incomplete for s in result.steps)
    parts = []
    if unread:
        parts.append(f"{plural(unread, 'step')} could not be compared")
    if differ:
        parts.append(f"the data of {plural(differ, 'step')} differs")
    if same and parts:
        parts.append(f"that of {plural(same, 'step')} is the same")
    if not parts:
        return "data: the same on both sides" if same else "data: there is nothing to compare"
    return "data: " + ", ".join(parts)


def title(step: StepDiff) -> str:
    """A step by its kind and name; both names where it was renamed."""
    if step.before and step.after and step.before != step.after:
        return f"{step.kind} {step.before} → {step.after}"
    return f"{step.kind} {step.name}"


def unread(step: StepDiff) -> list[str]:
    """What of a step could not be read, and what to do about it, a sentence each; what is missing is said for all
    steps.
    """
    out = []
    if step.problem is not None:
        p = step.problem
        place = f" ({p.place})" if p.place else ""
        out.append(f"error[{p.code} {p.slug}]: {p.headline}{place}")
        out += [f"help: {p.help}"] if p.help else []
    for port in step.ports:
        out += [f"column {c.name} could not be compared: {c.unread}" for c in port.columns if c.unread]
    return out


def has_details(step: StepDiff) -> bool:
    """Whether there is more to say of a step than that it is the same, or missing."""
    differs = step.state == "changed" and not step.missing
    return differs or step.problem is not None or bool(unread(step))


def state_words(step: StepDiff) -> str:
    """Why a step without figures has none."""
    if step.note and not step.incomplete:
        return step.note
    if step.problem is not None:
        return "cannot be read"
    sides = list(dict.fromkeys(m.side for m in step.missing))
    return f"not materialised {' and '.join(sides)}" if sides else "could not be compared"


def missing(result: DataDiff) -> list[str]:
    """Results that are not in the store, and the commands that make them."""
    out = []
    for side, built in (("before", result.before), ("after", result.after)):
        lost = [m for s in result.steps for m in s.missing if m.side == side]
        steps = list(dict.fromkeys(m.step for m in lost if m.step == m.needs))
        if steps:
            out.append(f"not materialised {side} the change: {_names(steps)}; {_run(result, side, built, steps)}")
        hidden: dict[str, list[str]] = {}
        for m in lost:
            if m.needs not in steps:
                hidden.setdefault(m.needs, []).append(m.step)
        for needs, displayed in hidden.items():
            out.append(
                f"not materialised {side} the change: {needs}, in which rows of {_names(displayed)} lie; "
                + _run(result, side, built, [needs])
            )
    return out


def _names(steps: Sequence[str]) -> str:
    displayed = ", ".join(steps[:MOST_GROUPS])
    return displayed + (f" and {len(steps) - MOST_GROUPS} more" if len(steps) > MOST_GROUPS else "")


def _run(result: DataDiff, side: str, built: Made, steps: Sequence[str]) -> str:
    command = f"alchemist run {built.recipe or 'RECIPE'}"
    command += f" --variant {built.variant}" if built.variant else ""
    command += "".join(f" --upto {s}" for s in steps) if len(steps) <= 2 else ""
    one = result.before == result.after
    then = ", with the recipe as it stood then," if side == "before" and one else ""
    return f"`{command}`{then} makes {'it' if len(steps) == 1 else 'them'}"


def notes(port: PortDiff) -> Iterator[str]:
    """What differs in a port, a sentence each, without samples."""
    if port.before is None or port.after is None:
        return
    for column in port.columns:
        if not column.unread:
            yield _column(column)
    if port.reordered:
        yield "the rows that both have stand in another order"
    if port.origins and not port.same:
        yield from _groups("origin", port.origins)
    if port.rules and not port.same:
        yield from _groups("rule", port.rules)


def _column(c: ColumnDiff) -> str:
    name = c.name
    if c.before is None:
        return f"column {name}: new ({c.after})"
    if c.after is None:
        return f"column {name}: gone (it was {c.before})"
    rows = plural(c.changed, "row")
    if c.before != c.after:
        return f"column {name}: {c.before} → {c.after}; the value differs in {rows}"
    return f"column {name}: changed in {rows}"


def _groups(what: str, groups: Sequence[GroupDiff]) -> Iterator[str]:
    differ = [g for g in groups if g.before != g.after or g.added or g.removed or g.changed]
    for g in differ[:MOST_GROUPS]:
        moved = [f"{n:,} {w}" for n, w in ((g.added, "added"), (g.removed, "removed"), (g.changed, "changed")) if n]
        amount = f"{g.before:,} → {g.after:,}" if g.before != g.after else f"{g.after:,}"
        yield f"{what} {g.name}: {amount}" + (f" ({', '.join(moved)})" if moved else "")
    if len(differ) > MOST_GROUPS:
        yield f"and {len(differ) - MOST_GROUPS:,} more of that kind ({what}s)"


def moves(step: StepDiff) -> list[tuple[str, Sequence[Sample]]]:
    """Rows that went from kept to refused and back, in words, with samples."""
    out: list[tuple[str, Sequence[Sample]]] = []
    for m in step.moves:
        rows = plural(m.rows, "row")
        was, is_ = ("was", "is") if m.rows == 1 else ("were", "are")
        if m.to == "dropped":
            text = f"{rows} that {was} kept {is_} now dropped by rule {m.rule}"
        else:
            text = f"{rows} that rule {m.rule} dropped {is_} now kept"
        out.append((text, m.samples))
    return out


def unchanged_notes(result: DataDiff) -> Iterator[str]:
    """What is the same, and what has no rows."""
    same = [s.name for s in result.steps if s.state == "same"]
    if same and len(same) < len(result.steps):
        yield f"the same: {', '.join(same)}"
    for step in result.steps:
        if step.note and step.state == "rowless":
            rows = "; the rows that it reads are the same" if step.ports else ""
            yield f"not compared by rows: {step.name} ({step.note}{rows})"


# --- samples ---------------------------------------------------------------------------------------------------------

#: Characters of equal text that stay before and after a change, and of a text that is shown whole.
AROUND: Final = 40


def format_value(value: Any) -> str:
    """A value as a person reads it: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    return "null" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def sample_label(sample: Sample) -> str:
    """A row for people: the start of its id, which copy it is, where it came from."""
    displayed = sample.id if len(sample.id) <= 16 else f"{sample.id[:12]}…"
    copy = f" copy {sample.copy + 1}" if sample.copy else ""
    return f"{displayed}{copy}" + (f"  {sample.origin}" if sample.origin else "")


def _identity(sample: Sample, kind: str) -> tuple[object, ...]:
    """What is equal for two samples that tell a reader the same."""
    if kind == "changed":
        return kind, sample.id, format_value([sample.before, sample.after])
    return kind, sample.id


def columns(sample: Sample, kind: str) -> Iterator[tuple[str, Sequence[Piece]]]:
    """Each column of a sample as pieces: of a changed row what differs, else what the row says."""
    before, after = sample.before or {}, sample.after or {}
    why = [n for n in ("rule", "reason") if n in after or n in before]
    for name in dict.fromkeys([*why, *after, *before]):
        if name in before and name in after and kind == "changed":
            old, new = format_value(before[name]), format_value(after[name])
            if old == new:  # another type, the same words
                old, new = (f"{type(v[name]).__name__} {w}" for v, w in ((before, old), (after, new)))
            yield name, word_diff(old, new)
        else:
            value = after.get(name, before.get(name))
            if value is not None:
                yield name, [("same", format_value(value))]


def cut(pieces: Sequence[Piece], around: int = AROUND) -> list[Piece]:
    """The pieces, their equal text cut to what stands around a change, long changes to their ends; line ends are
    shown.
    """
    out: list[Piece] = []
    for i, (mark, text) in enumerate(pieces):
        most = around * (5 if mark != "same" or len(pieces) == 1 else 2)
        if len(text) > most + 5:
            tail = text[-around:] if i < len(pieces) - 1 else ""
            head = text[: most - len(tail)] if i > 0 or len(pieces) == 1 or mark != "same" else ""
            text = f"{head}…{tail}"
        out.append((mark, text.replace("\n", "⏎ ").replace("\t", "  ")))
    return out


# --- plain data ------------------------------------------------------------------------------------------------------


def data_model(result: DataDiff, path: str | None = None) -> RowsDiff:
    """Return the comparison in its published form, `docs/schemas/diff.json`, with every value of a sample in full."""
    return RowsDiff(path=path, outcome=result.outcome, steps=[_step_rows(s) for s in result.steps])


def _step_rows(s: StepDiff) -> StepRows:
    return StepRows(
        before=s.before,
        after=s.after,
        kind=s.kind,
        state=s.state,
        compared=not s.incomplete,
        ports=[_port_rows(p) for p in s.ports],
        moves=[MovedRows(rule=m.rule, to=m.to, rows=m.rows, samples=_row_samples(m.samples)) for m in s.moves],
        missing=[MissingResult.model_validate(m) for m in s.missing],
        problem=None if s.problem is None else ResultProblem.model_validate(s.problem),
        note=s.note,
    )


def _port_rows(p: PortDiff) -> PortRows:
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
            ColumnRows(name=c.name, type=Sides.model_validate(c), changed=c.changed, unread=c.unread) for c in p.columns
        ],
        origins=[GroupRows.model_validate(g) for g in p.origins],
        rules=[GroupRows.model_validate(g) for g in p.rules],
        samples={kind: _row_samples(some) for kind, some in p.samples.items()},  # type: ignore[misc]
    )


def _row_samples(samples: Iterable[Sample]) -> list[RowSample]:
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
