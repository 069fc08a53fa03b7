"""A comparison of two results as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from alchemist_dsl.cli.datadiff.words import (
    BOLD,
    DIM,
    GREEN,
    RED,
    YELLOW,
    Paint,
    called,
    headline,
    missing,
    moved,
    moves,
    notes,
    quiet,
    safe,
    sample_lines,
    state_words,
    title,
    told,
    unread,
    unseen,
)
from alchemist_dsl.explain.wording import fold, grid

if TYPE_CHECKING:
    from alchemist_runtime.engine.compare import DataDiff, PortDiff, Sample, StepDiff

_SIGNS: Final = {"added": "+", "removed": "-", "changed": "~"}
_TONES: Final = {"added": GREEN, "removed": RED, "changed": YELLOW}


def data_lines(result: DataDiff, width: int = 80, colour: bool = False) -> list[str]:
    """The comparison as lines of at most `width` columns: a table of what differs, then each step with its samples."""
    paint = Paint(colour)
    out = [paint(BOLD, part) for part in fold(headline(result), width)]
    table = [cells for step in result.steps for cells in _cells(step)]
    if table:
        head = ("step", "before", "after", "added", "removed", "changed", "columns")
        out += ["", *grid(head, table, width, right={1, 2, 3, 4, 5})]
    seen: set[object] = set()
    for step in result.steps:
        if told(step):
            out += ["", *_step(step, width, paint, seen)]
    for words in missing(result):
        out += ["", *(paint(RED, part) for part in fold(words, width))]
    for words in quiet(result):
        out += ["", *(paint(DIM, part) for part in fold(words, width))]
    return out


def _cells(step: StepDiff) -> Iterator[tuple[str, ...]]:
    """A line of the table for each port that differs."""
    if step.incomplete and not step.ports:
        yield f"? {safe(step.name)}", "", "", "", "", "", state_words(step)
        return
    sign = {"added": "+", "removed": "-"}.get(step.state, "~")
    if step.state in ("added", "removed") and not step.ports:
        yield f"{sign} {safe(step.name)}", "", "", "", "", "", state_words(step)
    for port in step.ports:
        if port.same:
            continue
        yield (
            f"{'?' if step.incomplete else sign} {safe(step.name)}{_suffix(port)}",
            _count(port.before),
            _count(port.after),
            _some(port.added),
            _some(port.removed),
            _some(port.changed),
            _columns(port),
        )


def _suffix(port: PortDiff) -> str:
    return "" if port.port == "rows" else f".{safe(port.port)}"


def _count(n: int | None) -> str:
    return "-" if n is None else f"{n:,}"


def _some(n: int) -> str:
    return f"{n:,}" if n else ""


def _columns(port: PortDiff) -> str:
    signs = []
    for c in port.columns:
        sign = "+" if c.before is None else "-" if c.after is None else "?" if c.unread else ""
        signs.append(f"{sign}{safe(c.name)}")
    return ", ".join(signs) or ("order" if port.reordered else "")


def _step(step: StepDiff, width: int, paint: Paint, seen: set[object]) -> Iterator[str]:
    yield paint(BOLD, title(step))
    for words in unread(step):
        yield from _item(words, width, paint, RED)
    if step.note:
        yield from _item(f"{step.note}", width, paint, DIM)
    for words, samples in moves(step):
        yield from _item(words, width, paint, YELLOW)
        yield from _samples(samples, "moved", width, paint)
    moved((s for m in step.moves for s in m.samples), seen)
    for port in step.ports:
        if not port.same:
            yield from _port(step, port, width, paint, seen)


def _port(step: StepDiff, port: PortDiff, width: int, paint: Paint, seen: set[object]) -> Iterator[str]:
    told = [line for words in notes(port) for line in _item(words, width, paint, None)]
    for kind, samples in port.samples.items():
        told += _samples(unseen(samples, kind, seen), kind, width, paint)
    if told and port.port != "rows":
        yield f"  .{safe(port.port)}"
    yield from told


def _item(words: str, width: int, paint: Paint, tone: str | None) -> Iterator[str]:
    for i, part in enumerate(fold(words, width - 4)):
        yield f"  {'' if i == 0 else '  '}{paint(tone, part)}"


def _samples(samples: Sequence[Sample], kind: str, width: int, paint: Paint) -> Iterator[str]:
    for sample in samples:
        sign = paint(_TONES.get(kind), _SIGNS.get(kind, ">"))
        yield f"    {sign} {called(sample)}"
        for line in sample_lines(sample, kind, width - 8, paint):
            yield f"        {line}"
