"""What holds for every sheet: cards apart, lines downwards and past the cards, labels free."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

from alchemist_dsl.graph.layout import Point
from alchemist_dsl.graph.sheet import LABEL_SIZE, Sheet, mono


def check_sheet(drawn: Sheet) -> None:
    boxes = {c.step.name: (c.x, c.y, c.x + c.width, c.y + c.height) for c in drawn.cards}
    for left, top, right, bottom in boxes.values():
        assert left >= -0.01 and right <= drawn.width + 0.01 and bottom <= drawn.height + 0.01
        assert top >= -0.01
    for a, b in combinations(boxes.values(), 2):
        assert not overlap(a, b)
    for wire in drawn.wires:
        assert all(b[1] >= a[1] for a, b in zip(wire.points, wire.points[1:], strict=False))
        assert wire.points[-1][1] > wire.points[0][1]
        start, end = boxes[wire.link.source], boxes[wire.link.target]
        assert on_edge(wire.points[0], start) and on_edge(wire.points[-1], end)
        for name, box in boxes.items():
            if name not in (wire.link.source, wire.link.target):
                assert not any(inside(p, box) for p in traced(wire.points)), (wire.link, name)
    for label, other in combinations(set(label_boxes(drawn)), 2):
        assert not overlap(label[1], other[1]), (label, other)
    for _, label in label_boxes(drawn):
        assert not any(overlap(label, box) for box in boxes.values())


def label_boxes(drawn: Sheet) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
    for wire in drawn.wires:
        if wire.label:
            half = mono(wire.label, LABEL_SIZE) / 2
            x, y = wire.at
            yield wire.label, (x - half, y - 6, x + half, y + 6)


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def inside(p: Point, box: tuple[float, float, float, float]) -> bool:
    return box[0] < p[0] < box[2] and box[1] < p[1] < box[3]


def on_edge(p: Point, box: tuple[float, float, float, float]) -> bool:
    level = box[0] - 0.01 <= p[0] <= box[2] + 0.01 and box[1] - 0.01 <= p[1] <= box[3] + 0.01
    return level and not inside(p, (box[0] + 0.01, box[1] + 0.01, box[2] - 0.01, box[3] - 0.01))


def traced(points: tuple[Point, ...]) -> Iterator[Point]:
    """Points along the line as it is drawn: straight parts, and curves with upright ends."""
    for (x0, y0), (x1, y1) in pairwise(points):
        for i in range(25):
            t = i / 24
            if x0 == x1 or y0 == y1:
                yield x0 + t * (x1 - x0), y0 + t * (y1 - y0)
                continue
            u, m = 1 - t, (y0 + y1) / 2
            x = u**3 * x0 + 3 * u * u * t * x0 + 3 * u * t * t * x1 + t**3 * x1
            yield x, u**3 * y0 + 3 * u * u * t * m + 3 * u * t * t * m + t**3 * y1
