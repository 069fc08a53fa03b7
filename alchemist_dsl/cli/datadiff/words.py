"""What a comparison of two results found, in words that all its forms share."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from alchemist_dsl.comparison.words import Piece, word_diff

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


# --- samples ---------------------------------------------------------------------------------------------------------

RED, GREEN, YELLOW, BOLD, DIM = "31", "32", "33", "1", "2"
#: Characters of equal text that stay before and after a change, and of a text that is shown whole.
AROUND: Final = 40
#: Lines that one value of a sample takes at most.
MOST_LINES: Final = 6
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours a text, where colours are on."""

    on: bool

    def __call__(self, tone: str | None, text: str) -> str:
        return f"\x1b[{tone}m{text}\x1b[0m" if self.on and tone and text else text


def safe(text: str) -> str:
    """A text out of data that may go to a terminal: nothing in it steers one."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def worded(value: Any) -> str:
    """A value as a person reads it: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    return "null" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def called(sample: Sample) -> str:
    """A row for people: the start of its id, which copy it is, where it came from."""
    shown = sample.id if len(sample.id) <= 16 else f"{sample.id[:12]}…"
    copy = f" copy {sample.copy + 1}" if sample.copy else ""
    return safe(f"{shown}{copy}" + (f"  {sample.origin}" if sample.origin else ""))


def unseen(samples: Iterable[Sample], kind: str, seen: set[object]) -> list[Sample]:
    """The samples that no earlier step has shown; they are added to what was seen."""
    fresh = [s for s in samples if _told(s, kind) not in seen]
    seen |= {_told(s, kind) for s in fresh}
    return fresh


def moved(samples: Iterable[Sample], seen: set[object]) -> None:
    """Take note of rows that were shown as going from one port to another."""
    seen |= {(kind, s.id) for s in samples for kind in ("added", "removed")}


def _told(sample: Sample, kind: str) -> tuple[object, ...]:
    """What is equal for two samples that tell a reader the same."""
    if kind == "changed":
        return kind, sample.id, worded([sample.before, sample.after])
    return kind, sample.id


def sample_lines(sample: Sample, kind: str, width: int, paint: Paint) -> Iterator[str]:
    """The columns of a sample, each in a few lines of at most `width` columns."""
    for name, pieces in columns(sample, kind):
        head = f"{safe(name)}: "
        yield from _wrapped(head, cut(pieces), width - 1, paint)  # room for an ellipsis


def columns(sample: Sample, kind: str) -> Iterator[tuple[str, list[Piece]]]:
    """Each column of a sample as pieces: of a changed row what differs, else what the row says."""
    before, after = sample.before or {}, sample.after or {}
    why = [n for n in ("rule", "reason") if n in after or n in before]
    for name in dict.fromkeys([*why, *after, *before]):
        if name in before and name in after and kind == "changed":
            old, new = worded(before[name]), worded(after[name])
            if old == new:  # another type, the same words
                old, new = (f"{type(v[name]).__name__} {w}" for v, w in ((before, old), (after, new)))
            yield name, word_diff(old, new)
        else:
            value = after.get(name, before.get(name))
            if value is not None:
                yield name, [("same", worded(value))]


def cut(pieces: list[Piece], around: int = AROUND) -> list[Piece]:
    """The pieces, their equal text cut to what stands around a change, long changes to their ends; line ends are
    shown.
    """
    out: list[Piece] = []
    for i, (mark, text) in enumerate(pieces):
        text = safe(text)
        most = around * (5 if mark != "same" or len(pieces) == 1 else 2)
        if len(text) > most + 5:
            tail = text[-around:] if i < len(pieces) - 1 else ""
            head = text[: most - len(tail)] if i > 0 or len(pieces) == 1 or mark != "same" else ""
            text = f"{head}…{tail}"
        out.append((mark, text.replace("\n", "⏎ ").replace("\t", "  ")))
    return out


def _wrapped(head: str, pieces: Iterable[Piece], width: int, paint: Paint) -> Iterator[str]:
    """Pieces in lines: marks and colours take part in no break, and no line is wider than asked for."""
    indent = "  "
    line, used, lines = paint(DIM, head), cells(head), 0
    for tone, word in _words(pieces, paint.on):
        while word:
            room = width - used
            whole = cells(word.rstrip())
            if whole > room and used > len(indent) and whole <= width - len(indent):
                room = 0  # it has a line of its own
            part = word if whole <= room else word[: _fitting(word, room)]
            if part:
                line, used, word = line + paint(tone, part), used + cells(part), word[len(part) :]
            if word:
                lines += 1
                if lines == MOST_LINES:
                    yield line.rstrip() + paint(DIM, "…")
                    return
                yield line.rstrip()
                line, used = indent, len(indent)
    yield line.rstrip()


def cells(text: str) -> int:
    """Columns that a text takes on a terminal: two for a wide sign, none for one that joins another."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _fitting(text: str, room: int) -> int:
    """How many signs of a text fit."""
    for n, sign in enumerate(text):
        room -= _cells(sign)
        if room < 0:
            return n
    return len(text)


def _words(pieces: Iterable[Piece], coloured: bool) -> Iterator[tuple[str | None, str]]:
    """Words with the white space behind them, marked where there are no colours."""
    for mark, text in pieces:
        tone = {"added": GREEN, "removed": RED}.get(mark)
        if not coloured and tone:
            text = f"{{+{text}+}}" if mark == "added" else f"[-{text}-]"
        for word in re.findall(r"\S+\s*|\s+", text):
            yield tone, word
