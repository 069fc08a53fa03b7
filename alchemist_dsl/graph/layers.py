"""Blocks and edges -> layers (the first half of Sugiyama's method): every edge leads down, long ones pass the layers
between, and the order within layers leaves few crossings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_SWEEPS: Final = 24


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
