"""What a comparison of two results found, in words that all its forms share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from alchemist_dsl.cli.datadiff.samples import safe

if TYPE_CHECKING:
    from alchemist_runtime.engine.compare import ColumnDiff, DataDiff, GroupDiff, Made, PortDiff, Sample, StepDiff

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
        parts.append(f"{_steps(unread)} could not be compared")
    if differ:
        parts.append(f"the data of {_steps(differ)} differs")
    if same and parts:
        parts.append(f"that of {_steps(same)} is the same")
    if not parts:
        return "data: the same on both sides" if same else "data: there is nothing to compare"
    return "data: " + ", ".join(parts)


def _steps(n: int) -> str:
    return f"{n} step{'' if n == 1 else 's'}"


def title(step: StepDiff) -> str:
    """A step by its kind and name; both names where it was renamed."""
    if step.before and step.after and step.before != step.after:
        return f"{step.kind} {safe(step.before)} → {safe(step.after)}"
    return f"{step.kind} {safe(step.name)}"


def unread(step: StepDiff) -> list[str]:
    """What of a step could not be read, and what to do about it, a sentence each; what is missing is said for all
    steps.
    """
    out = []
    if step.problem is not None:
        p = step.problem
        place = f" ({p.place})" if p.place else ""
        out.append(f"error[{p.code} {p.slug}]: {safe(p.headline)}{safe(place)}")
        out += [f"help: {safe(p.help)}"] if p.help else []
    for port in step.ports:
        out += [f"column {safe(c.name)} could not be compared: {safe(c.unread)}" for c in port.columns if c.unread]
    return out


def told(step: StepDiff) -> bool:
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
    for side, made in (("before", result.before), ("after", result.after)):
        lost = [m for s in result.steps for m in s.missing if m.side == side]
        steps = list(dict.fromkeys(m.step for m in lost if m.step == m.needs))
        if steps:
            out.append(f"not materialised {side} the change: {_names(steps)}; {_run(result, side, made, steps)}")
        hidden: dict[str, list[str]] = {}
        for m in lost:
            if m.needs not in steps:
                hidden.setdefault(m.needs, []).append(m.step)
        for needs, shown in hidden.items():
            out.append(
                f"not materialised {side} the change: {safe(needs)}, in which rows of {_names(shown)} lie; "
                + _run(result, side, made, [needs])
            )
    return out


def _names(steps: Sequence[str]) -> str:
    shown = safe(", ".join(steps[:MOST_GROUPS]))
    return shown + (f" and {len(steps) - MOST_GROUPS} more" if len(steps) > MOST_GROUPS else "")


def _run(result: DataDiff, side: str, made: Made, steps: Sequence[str]) -> str:
    command = f"alchemist run {made.recipe or 'RECIPE'}"
    command += f" --variant {made.variant}" if made.variant else ""
    command += "".join(f" --upto {s}" for s in steps) if len(steps) <= 2 else ""
    one = result.before == result.after
    then = ", with the recipe as it stood then," if side == "before" and one else ""
    return f"`{safe(command)}`{then} makes {'it' if len(steps) == 1 else 'them'}"


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
    name = safe(c.name)
    if c.before is None:
        return f"column {name}: new ({c.after})"
    if c.after is None:
        return f"column {name}: gone (it was {c.before})"
    rows = f"{c.changed:,} row{'' if c.changed == 1 else 's'}"
    if c.before != c.after:
        return f"column {name}: {c.before} → {c.after}; the value differs in {rows}"
    return f"column {name}: changed in {rows}"


def _groups(what: str, groups: Sequence[GroupDiff]) -> Iterator[str]:
    differ = [g for g in groups if g.before != g.after or g.added or g.removed or g.changed]
    for g in differ[:MOST_GROUPS]:
        moved = [f"{n:,} {w}" for n, w in ((g.added, "added"), (g.removed, "removed"), (g.changed, "changed")) if n]
        amount = f"{g.before:,} → {g.after:,}" if g.before != g.after else f"{g.after:,}"
        yield f"{what} {safe(g.name)}: {amount}" + (f" ({', '.join(moved)})" if moved else "")
    if len(differ) > MOST_GROUPS:
        yield f"and {len(differ) - MOST_GROUPS:,} more of that kind ({what}s)"


def moves(step: StepDiff) -> list[tuple[str, Sequence[Sample]]]:
    """Rows that went from kept to refused and back, in words, with samples."""
    out: list[tuple[str, Sequence[Sample]]] = []
    for m in step.moves:
        rows = f"{m.rows:,} row{'' if m.rows == 1 else 's'}"
        was, is_ = ("was", "is") if m.rows == 1 else ("were", "are")
        if m.to == "dropped":
            text = f"{rows} that {was} kept {is_} now dropped by rule {safe(m.rule)}"
        else:
            text = f"{rows} that rule {safe(m.rule)} dropped {is_} now kept"
        out.append((text, m.samples))
    return out


def quiet(result: DataDiff) -> Iterator[str]:
    """What is the same, and what has no rows."""
    same = [s.name for s in result.steps if s.state == "same"]
    if same and len(same) < len(result.steps):
        yield f"the same: {', '.join(map(safe, same))}"
    for step in result.steps:
        if step.note and step.state == "rowless":
            rows = "; the rows that it reads are the same" if step.ports else ""
            yield f"not compared by rows: {safe(step.name)} ({step.note}{rows})"
