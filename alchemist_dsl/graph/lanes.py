"""Steps in drawing order -> the lines beside them in a terminal: one line a step, one lane for each step that still
waits for input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alchemist_dsl.graph.model import Graph


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
