"""Blocks and edges -> places from top to bottom (the second half of Sugiyama's method): upright lines where there is
room, and no line through a block. The result depends on sizes and on the order in which blocks come, on nothing
else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

Point = tuple[float, float]

_BESIDE: Final = 26.0  # between blocks of a layer
_PASSING: Final = 18.0  # between lines, and beside a line
_BELOW: Final = 34.0  # the least between two layers
_LABEL: Final = 22.0  # what a label above a block takes of that
_PITCH: Final = 16.0  # between lines at a block's edge
_SWEEPS: Final = 24


@dataclass(frozen=True, slots=True)
class Layout:
    """Left upper corners of blocks, and of every edge the points that its line goes through, downwards."""

    width: float
    height: float
    corners: Mapping[str, Point]
    lines: Mapping[tuple[str, str], tuple[Point, ...]]


def entry_width(labels: Sequence[float]) -> float:
    """How wide a block must be for the edges that end at it to stand side by side."""
    return sum(max(_PITCH, label + 10) for label in labels)


def arrange(blocks: Sequence[Block], edges: Sequence[Edge]) -> Layout:
    """Place blocks that come in an order in which every edge leads forward."""
    if not blocks:
        return Layout(0.0, 0.0, {}, {})
    layers, chains = layered(blocks, edges)
    _fan(layers)
    _straighten(layers)
    return _layout(layers, _spans(layers), chains)


# --- places -----------------------------------------------------------------------------------------------------------


def _fan(layers: list[list[Item]]) -> None:
    """Where along a block's edges its lines begin and end: side by side, in the order of their other ends."""
    for item in (i for layer in layers for i in layer if i.block is not None):
        item.down.sort(key=lambda p: p.bottom.order)
        item.up.sort(key=lambda p: p.top.order)
        pitch = min(_PITCH, (item.width - 2 * _PITCH) / max(1, len(item.down) - 1))
        for i, piece in enumerate(item.down):
            piece.out = pitch * (i - (len(item.down) - 1) / 2)
        widths = [max(_PITCH, p.label + 10) for p in item.up]
        left = -sum(widths) / 2
        for piece, width in zip(item.up, widths, strict=True):
            piece.into = left + width / 2
            left += width


def _straighten(layers: list[list[Item]]) -> None:
    """Move items towards where their lines come from and lead to, as far as order and widths allow: first to the middle
    of both, then, up and down in turn, to the middle one of them, so that this one is upright. The best of these is
    kept.
    """
    for layer in layers:
        _settle(layer, [0.0] * len(layer), [1.0] * len(layer))
    every = [item for layer in layers for item in layer]
    best, found = float("inf"), [i.x for i in every]
    for sweep in range(3 * _SWEEPS):
        down, fine = sweep % 2 == 1, sweep >= 2 * _SWEEPS
        for layer in layers if down else reversed(layers):
            _move(layer, down=down, fine=fine)
        cost = _cost(every)
        if fine and cost < best:
            best, found = cost, [i.x for i in every]
    for item, x in zip(every, found, strict=True):
        item.x = x
    for item in every:
        if item.block is None and item.up[0].top.block is not None:
            _upright(item, layers)


def _upright(first: Item, layers: list[list[Item]]) -> None:
    """Put the places where a long edge passes layers below each other where there is room for it."""
    places = [first]
    while places[-1].down[0].bottom.block is None:
        places.append(places[-1].down[0].bottom)
    rooms = [_room(place, layers[place.rank]) for place in places]
    low, high = max(r[0] for r in rooms), min(r[1] for r in rooms)
    if low > high:
        return
    start, end = first.up[0], places[-1].down[0]
    ends = (end.bottom.x + end.into, start.top.x + start.out)
    x = next((x for x in ends if low <= x <= high), min(max(first.x, low), high))
    for place in places:
        place.x = x


def _room(item: Item, layer: list[Item]) -> tuple[float, float]:
    """How far an item may move between its neighbours."""
    i = layer.index(item)
    low = layer[i - 1].x + _apart(layer[i - 1], item) if i else float("-inf")
    return low, layer[i + 1].x - _apart(item, layer[i + 1]) if i + 1 < len(layer) else float("inf")


def _apart(left: Item, right: Item) -> float:
    """The least distance of the middles of two neighbours."""
    return (left.width + right.width) / 2 + (_BESIDE if left.block and right.block else _PASSING)


def _move(layer: list[Item], *, down: bool, fine: bool) -> None:
    pulls = [_pulls(i, up=down or not fine, down=not (down and fine)) for i in layer]
    wanted = [
        item.x if not p else _median(p) if fine else sum(x * w for x, w in p) / _weight(p)
        for item, p in zip(layer, pulls, strict=True)
    ]
    _settle(layer, wanted, [_weight(p) if p else 0.01 for p in pulls])


def _cost(items: list[Item]) -> float:
    """How far lines lead aside, how many are not upright, how wide it all is."""
    aside = [(abs(p.top.x + p.out - p.bottom.x - p.into), p.pull) for i in items for p in i.down]
    wide = max(i.x + i.width / 2 for i in items) - min(i.x - i.width / 2 for i in items)
    return sum(d + (20 * pull if d > 0.5 else 0) for d, pull in aside) + wide


def _pulls(item: Item, *, up: bool, down: bool) -> list[tuple[float, float]]:
    """Where the lines of an item would be upright, and how much each counts."""
    found = [(p.top.x + p.out - p.into, p.pull) for p in item.up] if up else []
    return found + ([(p.bottom.x + p.into - p.out, p.pull) for p in item.down] if down else [])


def _weight(pulls: list[tuple[float, float]]) -> float:
    return sum(weight for _, weight in pulls)


def _median(pulls: list[tuple[float, float]]) -> float:
    """The wanted place with half of the weight on either side."""
    half, passed = _weight(pulls) / 2, 0.0
    for x, weight in sorted(pulls):
        passed += weight
        if passed >= half:
            return x
    return 0.0


def _settle(layer: list[Item], wanted: list[float], weights: list[float]) -> None:
    """The places nearest to the wanted ones (least squares) at which no two items touch: isotonic regression."""
    offset, offsets = 0.0, []
    for i, item in enumerate(layer):
        offset += _apart(layer[i - 1], item) if i else 0.0
        offsets.append(offset)
    pools: list[tuple[float, float, int]] = []  # mean, weight, number of items
    for want, weight, off in zip(wanted, weights, offsets, strict=True):
        mean, size = want - off, 1
        while pools and pools[-1][0] >= mean:
            other, heavy, more = pools.pop()
            mean = (mean * weight + other * heavy) / (weight + heavy)
            weight, size = weight + heavy, size + more
        pools.append((mean, weight, size))
    means = [mean for mean, _, size in pools for _ in range(size)]
    for item, mean, off in zip(layer, means, offsets, strict=True):
        item.x = mean + off


@dataclass(frozen=True, slots=True)
class _Span:
    """Where lines into a layer have come to their place, where its blocks begin, and where they end."""

    join: float
    top: float
    foot: float


def _spans(layers: list[list[Item]]) -> list[_Span]:
    """The heights of the layers. The room above one grows with labels, and with how far lines lead to the side."""
    spans: list[_Span] = []
    y = 0.0
    for i, layer in enumerate(layers):
        pieces = [p for item in layer for p in item.up]
        aside = max((abs(p.top.x + p.out - p.bottom.x - p.into) for p in pieces), default=0.0)
        join = y + (_BELOW + min(46.0, aside * 0.06) if i else 0.0)
        top = join + (_LABEL if any(p.label for p in pieces) else 0.0)
        y = top + max((i.block.height for i in layer if i.block), default=0.0)
        spans.append(_Span(join, top, y))
    return spans


def _layout(layers: list[list[Item]], spans: list[_Span], chains: Mapping[tuple[str, str], list[Piece]]) -> Layout:
    every = [i for layer in layers for i in layer]
    left = min((i.x - i.width / 2 for i in every), default=0.0)
    corners = {}
    for item in every:
        item.x -= left
        if item.block is not None:
            corners[item.block.name] = (item.x - item.width / 2, _y(item.block, spans[item.rank]))
    return Layout(
        width=max((i.x + i.width / 2 for i in every), default=0.0),
        height=spans[-1].foot if spans else 0.0,
        corners=corners,
        lines={ends: _line(pieces, spans, corners) for ends, pieces in chains.items()},
    )


def _y(block: Block, span: _Span) -> float:
    spare = span.foot - span.top - block.height
    return span.top + (spare if block.leaf else spare / 2)


def _line(pieces: list[Piece], spans: list[_Span], corners: Mapping[str, Point]) -> tuple[Point, ...]:
    """Through layers straight down, between them aside; beside labels straight again."""
    points: list[Point] = []
    for piece in pieces:
        top, bottom = piece.top, piece.bottom
        start, end = top.x + piece.out, bottom.x + piece.into
        if top.block is not None:
            points.append((start, corners[top.block.name][1] + top.block.height))
        points.append((start, spans[top.rank].foot))
        points.append((end, spans[bottom.rank].join))
        if bottom.block is not None:
            points.append((end, corners[bottom.block.name][1]))
    exact = [(round(x, 3), round(y, 3)) for x, y in points]  # the same place is the same number
    return tuple(p for i, p in enumerate(exact) if i == 0 or p != exact[i - 1])


# --- layers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """Something to place. `leaf`: it stands at the foot of its layer, beside what it leads to."""

    name: str
    width: float
    height: float
    leaf: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    label: float = 0.0  # width of the text where the edge ends


@dataclass(slots=True, eq=False)
class Item:
    """A block in its layer, or the place where a long edge passes a layer."""

    width: float
    rank: int
    block: Block | None = None
    x: float = 0.0
    order: float = 0.0
    up: list[Piece] = field(default_factory=list)
    down: list[Piece] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Piece:
    """A part of an edge between two neighbouring layers; `out` and `into`: how far from the middles it begins and
    ends.
    """

    top: Item
    bottom: Item
    label: float = 0.0
    out: float = 0.0
    into: float = 0.0

    @property
    def pull(self) -> float:
        """How much its straightness counts: long edges most."""
        passing = (self.top.block is None) + (self.bottom.block is None)
        return (1.0, 2.0, 8.0)[passing]


def layered(
    blocks: Sequence[Block], edges: Sequence[Edge]
) -> tuple[list[list[Item]], Mapping[tuple[str, str], list[Piece]]]:
    """The layers from the top, each from the left, and the pieces of each edge. Blocks come in an order in which edges
    lead forward.
    """
    ranks = _ranks(blocks, edges)
    items = {b.name: Item(b.width, ranks[b.name], b, order=i) for i, b in enumerate(blocks)}
    layers: list[list[Item]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for item in items.values():
        layers[item.rank].append(item)
    chains = {(e.source, e.target): _chain(items[e.source], items[e.target], e, layers) for e in edges}
    _untangle(layers)
    return layers, chains


# --- layers -----------------------------------------------------------------------------------------------------------


def _ranks(blocks: Sequence[Block], edges: Sequence[Edge]) -> dict[str, int]:
    """The layer of each block: below all that it reads; what leads to more than it reads moves down to where it is
    read.
    """
    above: dict[str, list[str]] = {b.name: [] for b in blocks}
    below: dict[str, list[str]] = {b.name: [] for b in blocks}
    for edge in edges:
        above[edge.target].append(edge.source)
        below[edge.source].append(edge.target)
    ranks: dict[str, int] = {}
    for block in blocks:
        ranks[block.name] = 1 + max((ranks[a] for a in above[block.name]), default=-1)
    for block in reversed(blocks):
        if len(below[block.name]) > len(above[block.name]):
            ranks[block.name] = min(ranks[b] for b in below[block.name]) - 1
    return ranks


def _chain(start: Item, end: Item, edge: Edge, layers: list[list[Item]]) -> list[Piece]:
    """The pieces of an edge, one for each layer that it goes down."""
    pieces, last = [], start
    for rank in range(start.rank + 1, end.rank + 1):
        item = end if rank == end.rank else Item(0.0, rank, order=start.order)
        if item is not end:
            layers[rank].append(item)
        piece = Piece(last, item, edge.label if item is end else 0.0)
        last.down.append(piece)
        item.up.append(piece)
        pieces.append(piece)
        last = item
    return pieces


# --- order within layers ----------------------------------------------------------------------------------------------


def _untangle(layers: list[list[Item]]) -> None:
    """Order each layer by where its lines lead, down and up in turn, and keep the order with the fewest crossings."""
    for layer in layers:
        layer.sort(key=lambda i: i.order)
        _number(layer)
    best, found = _crossings(layers), [list(layer) for layer in layers]
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            layer.sort(key=lambda i: _middle(i, up=down))
            _number(layer)
        _swap(layers)
        crossings = _crossings(layers)
        if crossings < best:
            best, found = crossings, [list(layer) for layer in layers]
    for layer, kept in zip(layers, found, strict=True):
        layer[:] = kept
        _number(layer)


def _number(layer: list[Item]) -> None:
    for i, item in enumerate(layer):
        item.order = i


def _middle(item: Item, *, up: bool) -> float:
    others = [p.top.order for p in item.up] if up else [p.bottom.order for p in item.down]
    return sum(others) / len(others) if others else item.order


def _swap(layers: list[list[Item]]) -> None:
    """Exchange neighbours while that takes crossings away."""
    for layer in layers:
        for i in range(len(layer) - 1):
            left, right = layer[i], layer[i + 1]
            if _tangles(left, right) > _tangles(right, left):
                layer[i], layer[i + 1] = right, left
                left.order, right.order = right.order, left.order


def _tangles(left: Item, right: Item) -> int:
    """Crossings of the lines of two neighbours in this order."""
    ups = sum(a.top.order > b.top.order for a in left.up for b in right.up)
    return ups + sum(a.bottom.order > b.bottom.order for a in left.down for b in right.down)


def _crossings(layers: list[list[Item]]) -> int:
    total = 0
    for layer in layers:
        ends = [p.bottom.order for i in layer for p in sorted(i.down, key=lambda p: p.bottom.order)]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total
