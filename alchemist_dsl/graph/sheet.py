"""A graph -> where everything stands on a sheet: a card for each step, a line for each link. Many sources of one step
stand in one stack, with a rail beside them, so that a mixture of thirty is no wider than one of three."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alchemist_dsl.graph.layout import Block, Edge, Layout, Point, arrange, entry_width
from alchemist_dsl.graph.model import Graph, Link, Step

NAME_SIZE: Final = 13.0
TEXT_SIZE: Final = 11.5
LABEL_SIZE: Final = 11.0
#: Width of a character of the monospaced font, of the other one on average, as a part of the size: a little more than
#: usual.
_MONO: Final = 0.615
_SANS: Final = 0.57

_PAD: Final = 12.0
MARK: Final = 17.0  # the room of a step's mark before its name
_LOW: Final = 28.0  # a card in a stack
_BETWEEN: Final = 6.0
_CAPTION: Final = 22.0
_FEW: Final = 3  # from so many on sources stand in a stack


@dataclass(frozen=True, slots=True)
class Card:
    """A step on the sheet; `low`: one line of text, in a stack."""

    step: Step
    x: float
    y: float
    width: float
    height: float
    low: bool


@dataclass(frozen=True, slots=True)
class Wire:
    """A link on the sheet: the points that its line goes through, and where its label stands in the middle."""

    link: Link
    points: tuple[Point, ...]
    label: str
    at: Point
    aside: bool  # it stands inside a stack


@dataclass(frozen=True, slots=True)
class Frame:
    """The ground of a stack."""

    caption: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Sheet:
    width: float
    height: float
    cards: tuple[Card, ...]
    wires: tuple[Wire, ...]
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class _Stack:
    """Sources that lead to the same steps in the same roles."""

    name: str
    steps: tuple[Step, ...]
    width: float  # of a card
    rail: float  # room beside a card for its label and the rail
    columns: int
    labelled: bool  # the labels of its links stand beside the cards

    @property
    def rows(self) -> int:
        return -(-len(self.steps) // self.columns)

    @property
    def block(self) -> Block:
        width = self.columns * (self.width + self.rail) + 2 * _PAD
        height = _CAPTION + self.rows * (_LOW + _BETWEEN) + _PAD
        return Block(self.name, width, height, leaf=True)


def sheet(graph: Graph) -> Sheet:
    """Where everything of a graph stands."""
    stacks = _stacks(graph)
    home = {step.name: stack for stack in stacks for step in stack.steps}
    edges = _edges(graph, home)
    blocks = _blocks(graph, home, edges)
    layout = arrange(blocks, edges)
    widths = {b.name: b.width for b in blocks}
    cards: list[Card] = []
    frames = []
    for stack in stacks:
        x, y = layout.corners[stack.name]
        cards += _stacked(stack, x, y)
        kinds = f"{len(stack.steps)} {stack.steps[0].kind}s"
        frames.append(Frame(kinds, x, y, stack.block.width, stack.block.height))
    for step in graph.steps:
        if step.name not in home:
            corner = layout.corners[step.name]
            cards.append(Card(step, *corner, widths[step.name], _height(step), low=False))
    placed = {c.step.name: c for c in cards}
    return Sheet(
        layout.width,
        layout.height,
        tuple(placed[s.name] for s in graph.steps),
        tuple(_wire(link, home.get(link.source), placed, layout) for link in graph.links),
        tuple(frames),
    )


# --- texts ------------------------------------------------------------------------------------------------------------


def texts(step: Step) -> tuple[str, ...]:
    """The lines under a step's name."""
    words = [step.kind, step.doing, step.change]
    spent = [_counted(step, "rows", "rows"), _counted(step, "calls", "calls"), step.figure("usd")]
    lines = (" · ".join(w for w in words if w), " · ".join(w for w in spent if w))
    return tuple(line for line in lines if line)


def _counted(step: Step, name: str, unit: str) -> str:
    value = step.figure(name)
    return f"{value} {unit}" if value else ""


def figures(step: Step) -> str:
    """What a card in a stack says beside the name."""
    return " · ".join(w for w in (step.figure("rows"), step.change) if w)


def mono(text: str, size: float) -> float:
    """How wide a text is at most."""
    return len(text) * size * _MONO


def sans(text: str, size: float) -> float:
    return len(text) * size * _SANS


# --- stacks -----------------------------------------------------------------------------------------------------------


def _stacks(graph: Graph) -> list[_Stack]:
    """Steps that read nothing, are of one kind and lead to the same; where that is more than one step, in the same role
    too.
    """
    found: dict[tuple[object, ...], list[Step]] = {}
    reading = {link.target for link in graph.links}
    for step in graph.steps:
        out = graph.out_of(step.name)
        if step.name not in reading and out:
            ends = tuple((k.target, "" if len(out) == 1 else k.label()) for k in out)
            found.setdefault((step.kind, ends), []).append(step)
    return [_stack(graph, steps) for steps in found.values() if len(steps) >= _FEW]


def _stack(graph: Graph, steps: list[Step]) -> _Stack:
    width = max(mono(s.name, NAME_SIZE) + MARK + sans(figures(s), TEXT_SIZE) + 3 * _PAD for s in steps)
    labels = _own_labels(graph, steps)
    rail = 18.0 + (max((mono(t, LABEL_SIZE) for t in labels), default=0.0) + 10 if labels else 0.0)
    columns = 1 if len(steps) <= 12 else 2 if len(steps) <= 30 else 3
    return _Stack(f"\0{steps[0].name}", tuple(steps), width, rail, columns, bool(labels))


def _own_labels(graph: Graph, steps: Sequence[Step]) -> set[str]:
    """Labels that differ within a stack stand beside its cards; one that all share stands where the lines end."""
    links = [k for s in steps for k in graph.out_of(s.name)]
    labels = {k.label() for k in links}
    return labels if len(labels) > 1 and len(links) == len(steps) else set()


def _stacked(stack: _Stack, x: float, y: float) -> Iterator[Card]:
    for i, step in enumerate(stack.steps):
        column, row = divmod(i, stack.rows)
        left = x + _PAD + column * (stack.width + stack.rail)
        yield Card(step, left, y + _CAPTION + row * (_LOW + _BETWEEN), stack.width, _LOW, True)


# --- blocks and lines -------------------------------------------------------------------------------------------------


def _edges(graph: Graph, home: Mapping[str, _Stack]) -> list[Edge]:
    """The edges of the layout: one for all links from a stack to a step."""
    found: dict[tuple[str, str], float] = {}
    for link in graph.links:
        stack = home.get(link.source)
        source = link.source if stack is None else stack.name
        label = "" if stack is not None and stack.labelled else link.label()
        found[(source, link.target)] = mono(label, LABEL_SIZE) if label else 0.0
    return [Edge(source, target, label) for (source, target), label in found.items()]


def _blocks(graph: Graph, home: Mapping[str, _Stack], edges: Sequence[Edge]) -> list[Block]:
    """In the order of the graph; a stack where its first step is."""
    blocks: dict[str, Block] = {}
    reading = {e.target for e in edges}
    for step in graph.steps:
        stack = home.get(step.name)
        if stack is not None:
            blocks.setdefault(stack.name, stack.block)
            continue
        entries = entry_width([e.label for e in edges if e.target == step.name])
        width = max(_width(step), entries + _PAD)
        leaf = step.name not in reading
        blocks[step.name] = Block(step.name, width, _height(step), leaf)
    return list(blocks.values())


def _width(step: Step) -> float:
    lines = [sans(t, TEXT_SIZE) for t in texts(step)]
    return max(104.0, mono(step.name, NAME_SIZE) + MARK, *lines) + 2 * _PAD


def _height(step: Step) -> float:
    return 34.0 + 16.0 * len(texts(step))


def _wire(link: Link, stack: _Stack | None, placed: Mapping[str, Card], layout: Layout) -> Wire:
    label = link.label()
    if stack is None:
        line = layout.lines[link.source, link.target]
        return Wire(link, line, label, _above(line), aside=False)
    line = layout.lines[stack.name, link.target]
    card = placed[link.source]
    right, middle = card.x + card.width, card.y + card.height / 2
    rail, foot = right + stack.rail - _PAD + 2, line[0][1] - _PAD / 2
    points = ((right, middle), (rail, middle), (rail, foot), (line[0][0], foot), *line)
    at = (right + (rail - right) / 2, middle) if stack.labelled else _above(line)
    return Wire(link, points, label, at, aside=stack.labelled)


def _above(line: tuple[Point, ...]) -> Point:
    """The place for a label above the block where a line ends."""
    x, y = line[-1]
    return x, y - 15
