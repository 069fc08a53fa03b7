"""A graph -> its drawing in a terminal: lanes at the left, one line a step, what is read where a line alone does not
say it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from alchemist_dsl.graph.model import LEGEND, Graph, Link, State, Step, Stream, Tone

MARKS: Final[dict[Tone, str]] = {"build": "●", "extend": "◐", "reuse": "○", "skip": "◌", "not_run": "×", "planned": "●"}
CHANGES: Final[dict[Tone, str]] = {"added": "+", "removed": "-", "changed": "~", "indirect": "·", "unchanged": " "}
_COLORS: Final[dict[str, str]] = {
    "build": "33",
    "extend": "36",
    "reuse": "32",
    "skip": "2",
    "not_run": "35",
    "planned": "0",
    "added": "32",
    "removed": "31",
    "changed": "33",
    "indirect": "36",
    "unchanged": "0",
}
_GAP: Final = "  "

Paint = Callable[[str, str], str]


def draw(graph: Graph, width: int, *, color: bool = False) -> str:
    """The drawing, in lines of at most `width` columns where names are not longer than that."""
    paint = _painted if color else _unpainted
    out = [*_head(graph), "", *_body(graph, width, paint), "", *_legend(graph, paint)]
    return "\n".join(line.rstrip() for line in out) + "\n"


def _painted(text: str, name: str) -> str:
    return f"\x1b[{_COLORS[name]}m{text}\x1b[0m" if text.strip() else text


def _unpainted(text: str, name: str) -> str:
    return text


def _head(graph: Graph) -> Iterator[str]:
    if graph.title:
        yield graph.title
    variant = f" · variant {graph.variant}" if graph.variant else ""
    yield f"{graph.recipe}{variant} · plan {graph.plan}"


def _body(graph: Graph, width: int, paint: Paint) -> Iterator[str]:
    """The steps. Where not all fits a line, long names have one for themselves and figures stand below."""
    if not graph.steps:
        yield "no steps"
        return
    drawn = list(rows(graph))
    lanes = max(len(r.own) for r in drawn) + 1
    cells = {s.name: _cells(s) for s in graph.steps}
    widths = [max(len(row[i]) for row in [*cells.values(), _TITLES]) for i in range(len(_TITLES))]
    used = [any(row[i] for row in cells.values()) for i in range(len(_TITLES))]
    columns = [w if u else 0 for w, u in zip(widths, used, strict=True)]
    room = width - lanes - sum(len(_GAP) + w for w in columns if w)
    names = min(max(len(s.name) for s in graph.steps), max(12, room))
    yield " " * lanes + "step".ljust(names) + _aligned(_TITLES, columns, "planned", _unpainted)
    above = ""
    for row in drawn:
        step = graph.step(row.step)
        name = paint(step.name, step.mark) if step.change and step.mark else step.name
        figures = _aligned(cells[step.name], columns, step.state, paint)
        beside = row.own.ljust(lanes).replace(DOT, paint(MARKS[step.state], step.state))
        if len(step.name) <= names:
            yield beside + name + " " * (names - len(step.name)) + figures
        else:
            yield beside + name
            yield row.below.ljust(lanes) + " " * names + figures
        for line in _wrapped(_reads(graph.into(step.name), above), width - lanes):
            yield row.below.ljust(lanes) + paint(line, "skip")
        above = step.name


_TITLES: Final = ("kind", "rows", "calls", "cost", "now", "change")


def _cells(step: Step) -> tuple[str, ...]:
    change = f"{CHANGES[step.mark]} {step.change}" if step.mark and step.change else ""
    figures = (step.figure(name) for name in ("rows", "calls", "usd"))
    return (step.kind, *figures, step.doing, change)


def _aligned(cells: Sequence[str], widths: Sequence[int], state: State, paint: Paint) -> str:
    out = []
    for i, (text, width) in enumerate(zip(cells, widths, strict=True)):
        if width:
            put = text.rjust(width) if i in (1, 2, 3) else text.ljust(width)
            out.append(_GAP + (paint(put, state) if i == 4 else put))
    return "".join(out)


def _reads(links: Sequence[Link], above: str) -> list[str]:
    """What a step reads, in words; nothing where it is just the rows of the step above it."""
    if len(links) == 1 and links[0].source == above and not links[0].label():
        return []
    found = [(link.source, stream) for link in links for stream in link.streams]
    out = []
    for i, (source, stream) in enumerate(found):
        last = i + 1 == len(found)
        group = stream.lead and not stream.amount  # a role is said once for all that are read in it
        said = group and i > 0 and found[i - 1][1].lead == stream.lead
        ends = not last and stream.lead != found[i + 1][1].lead and not stream.amount
        out.append(reads("" if said else stream.lead, source, stream) + ("" if last else ";" if ends else ","))
    return out


def reads(lead: str, source: str, stream: Stream) -> str:
    """One input in words: `learn clean.dropped`, `5% evolution`."""
    port = "" if stream.port == "rows" else f".{stream.port}"
    origin = f".{stream.origin}" if stream.origin else ""
    return f"{lead} {source}{port}{origin}".lstrip()


def _wrapped(words: Sequence[str], width: int) -> Iterator[str]:
    """A list behind an arrow, broken between its parts."""
    line = ""
    for i, word in enumerate(words):
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = ""
        line += f" {word}" if line else f"{' ' if i else '←'} {word}"
    if line:
        yield line


def _legend(graph: Graph, paint: Paint) -> Iterator[str]:
    signs = {**MARKS, **CHANGES}
    found = [f"{paint(signs[t], t)} {n} {LEGEND[t]}".strip() for t, n in graph.call_stats()]
    yield "   ".join(found)
    if graph.total:
        yield f"in all {graph.total}"


# --- lanes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """What stands left of a step, and left of further lines about it. `●` is where the step's own mark goes."""

    step: str
    own: str
    below: str


DOT = "●"


def rows(graph: Graph) -> Iterator[Row]:
    """One row a step. All that a step reads runs into one lane, so that a fan of twenty sources is one lane wide."""
    waiting: list[str | None] = []  # lane -> the step that it leads to
    place = {s.name: i for i, s in enumerate(graph.steps)}
    for step in graph.steps:
        targets = sorted((link.target for link in graph.out_of(step.name)), key=place.__getitem__)
        joined = [waiting.index(t) for t in targets if t in waiting]
        fresh = [t for t in targets if t not in waiting]
        own = _own(step.name, waiting, joined)
        before = list(waiting)
        _set(waiting, own, None)
        opened = _open(waiting, own, fresh)
        while waiting and waiting[-1] is None:
            waiting.pop()
        yield Row(step.name, _line(before, own, joined, opened), _bars(waiting))


def _own(name: str, waiting: list[str | None], joined: list[int]) -> int:
    """The lane of a step: the one that led to it, else a free one beside the lanes that it joins."""
    if name in waiting:
        return waiting.index(name)
    start = joined[0] + 1 if joined else 0
    return next((i for i in range(start, len(waiting)) if waiting[i] is None), len(waiting))


def _open(waiting: list[str | None], own: int, fresh: list[str]) -> list[int]:
    """Lanes for steps that nothing led to yet; the farthest one goes on in the step's own lane."""
    opened: list[int] = []
    for target in reversed(fresh):
        free = own if not opened else _free(waiting, own)
        _set(waiting, free, target)
        opened.append(free)
    return opened


def _free(waiting: list[str | None], own: int) -> int:
    return next((i for i in range(own + 1, len(waiting)) if waiting[i] is None), len(waiting))


def _set(waiting: list[str | None], lane: int, target: str | None) -> None:
    waiting += [None] * (lane + 1 - len(waiting))
    waiting[lane] = target


def _line(before: list[str | None], own: int, joined: list[int], opened: list[int]) -> str:
    """The step's line. Lanes that it joins or opens are reached by a bar; other lanes pass through that bar."""
    ends = [own, *joined, *opened]
    low, high = min(ends), max(ends)
    out = []
    for lane in range(max(len(before), high + 1)):
        above = lane < len(before) and before[lane] is not None
        if lane == own:
            char = DOT
        elif lane in joined:
            char = "├" if lane == low else "┤" if lane == high else "┼"
        elif lane in opened:
            char = "╮" if lane == high else "┬"
        else:
            char = "│" if above else "─" if low < lane < high else " "
        out.append(char + ("─" if low <= lane < high else " "))
    return "".join(out).rstrip()


def _bars(waiting: list[str | None]) -> str:
    return "".join("  " if target is None else "│ " for target in waiting).rstrip()
