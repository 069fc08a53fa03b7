"""A graph -> one SVG file: no script, nothing loaded, light and dark by the reader's preference, every step with title
and text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import Final

from alchemist_dsl.graph.colors import DARK, LIGHT, Theme
from alchemist_dsl.graph.layout import Point
from alchemist_dsl.graph.model import LEGEND, Graph, Step, Tone
from alchemist_dsl.graph.sheet import (
    LABEL_SIZE,
    MARK,
    NAME_SIZE,
    TEXT_SIZE,
    Card,
    Frame,
    Wire,
    figures,
    mono,
    sans,
    sheet,
    texts,
)

_MARGIN: Final = 20.0
_HEAD: Final = 46.0
_ROUND: Final = 7.0  # corners of rails
_FONT: Final = "system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_NAMES: Final = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"


def image(graph: Graph, *, inside: bool = False) -> str:
    """The SVG. `inside` a page steps are links to their `anchor`, and the page says the title."""
    drawn = sheet(graph)
    head = 0.0 if inside else _HEAD
    foot, footer = _foot(graph)
    wide = max(drawn.width, footer, 0.0 if inside else _title_width(graph))
    width, height = wide + 2 * _MARGIN, head + drawn.height + foot + 2 * _MARGIN
    fit = f' style="width:max({_n(width * 0.75)}px,min(100%,{_n(width)}px))"' if inside else ""
    at = f"translate({_n(_MARGIN + (wide - drawn.width) / 2)} {_n(head + _MARGIN)})"
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" viewBox="0 0 {_n(width)} {_n(height)}"'
                f' width="{_n(width)}" height="{_n(height)}"{fit} role="group"'
                ' aria-labelledby="graph-title graph-desc">'
            ),
            f'<title id="graph-title">{text(graph.title or graph.recipe)}</title>',
            f'<desc id="graph-desc">{text(summary(graph))}</desc>',
            f"<style>{style()}</style>",
            f'<rect class="page" width="{_n(width)}" height="{_n(height)}"/>',
            *([] if inside else _head(graph)),
            f'<g transform="{at}">',
            *(_frame(f) for f in drawn.frames),
            *(_wire(w) for w in drawn.wires),
            *(_card(c, inside=inside) for c in drawn.cards),
            *dict.fromkeys(_label(w) for w in drawn.wires if w.label),  # a stack's is one
            "</g>",
            *_legend(graph, height - _MARGIN - foot),
            "</svg>\n",
        ]
    )


def text(words: str) -> str:
    """A text for XML and HTML; what neither may hold becomes a mark of it."""
    return escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", words))


def anchor(name: str) -> str:
    """The part of an address that leads to a step."""
    return re.sub(r"[^A-Za-z0-9_.-]", lambda m: f"~{ord(m[0]):x}~", name)


def summary(graph: Graph) -> str:
    """The graph in a sentence."""
    counted = ", ".join(f"{n} {LEGEND[tone]}" for tone, n in graph.call_stats())
    return ". ".join(t for t in (f"{len(graph.steps)} steps: {counted}", graph.total) if t)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


# --- head and foot ----------------------------------------------------------------------------------------------------


def subtitle(graph: Graph) -> str:
    variant = f"variant {graph.variant}" if graph.variant else ""
    recipe = graph.recipe if graph.title else ""
    return " · ".join(t for t in (recipe, variant, f"plan {graph.plan}") if t)


def _title_width(graph: Graph) -> float:
    return max(sans(graph.title or graph.recipe, 16), sans(subtitle(graph), TEXT_SIZE))


def _head(graph: Graph) -> Iterator[str]:
    yield f'<text class="title" x="{_n(_MARGIN)}" y="34">{text(graph.title or graph.recipe)}</text>'
    yield f'<text class="quiet" x="{_n(_MARGIN)}" y="53">{text(subtitle(graph))}</text>'


def _foot(graph: Graph) -> tuple[float, float]:
    """Height and width of what stands below the drawing."""
    width = sum(MARK + sans(t, TEXT_SIZE) + 18 for _, t in _entries(graph))
    return (62.0 if graph.total else 42.0), max(width, sans(_total(graph), TEXT_SIZE))


def _entries(graph: Graph) -> list[tuple[Tone, str]]:
    return [(tone, f"{n} {LEGEND[tone]}") for tone, n in graph.call_stats()]


def _total(graph: Graph) -> str:
    return f"in all {graph.total}" if graph.total else ""


def _legend(graph: Graph, top: float) -> Iterator[str]:
    x, y = _MARGIN, top + 36
    for tone, words in _entries(graph):
        yield f'<g class="step {tone}">{_mark(tone, x + 6, y - 4)}'
        yield f'<text class="word" x="{_n(x + MARK)}" y="{_n(y)}">{words}</text></g>'
        x += MARK + sans(words, TEXT_SIZE) + 18
    if graph.total:
        yield f'<text class="quiet" x="{_n(_MARGIN)}" y="{_n(y + 20)}">{text(_total(graph))}</text>'


# --- the drawing ------------------------------------------------------------------------------------------------------


def _frame(frame: Frame) -> str:
    return (
        f'<g><rect class="frame" x="{_n(frame.x)}" y="{_n(frame.y)}" width="{_n(frame.width)}"'
        f' height="{_n(frame.height)}" rx="8"/>'
        f'<text class="quiet" x="{_n(frame.x + 12)}" y="{_n(frame.y + 15)}">{text(frame.caption)}</text></g>'
    )


def _card(card: Card, *, inside: bool) -> str:
    step = card.step
    name, place = text(step.name), anchor(step.name)
    middle = card.y + (card.height / 2 if card.low else 18)
    parts = [
        f'<title id="name:{place}">{text(headline(step))}</title><desc id="about:{place}">{text(about(step))}</desc>',
        f'<rect x="{_n(card.x)}" y="{_n(card.y)}" width="{_n(card.width)}" height="{_n(card.height)}" rx="6"/>',
        _mark(step.tone, card.x + 15, middle),
        f'<text class="name" x="{_n(card.x + 10 + MARK)}" y="{_n(middle + 4.5)}">{name}</text>',
        *(_low(card, middle) if card.low else _lines(card)),
    ]
    tag = f'a href="#{place}"' if inside else "g"
    role = "" if inside else ' role="img"'
    described = f'aria-labelledby="name:{place} about:{place}"'
    return (
        f'<{tag} class="step {step.tone}" data-step="{name}"{role} {described}>{"".join(parts)}</{tag.split(" ")[0]}>'
    )


def _low(card: Card, middle: float) -> Iterator[str]:
    if figures(card.step):
        right = card.x + card.width - 10
        yield f'<text class="quiet end" x="{_n(right)}" y="{_n(middle + 4)}">{text(figures(card.step))}</text>'


def _lines(card: Card) -> Iterator[str]:
    for i, line in enumerate(texts(card.step)):
        kind, dot, rest = line.partition(" · ") if i == 0 else (line, "", "")
        word = f'{dot}<tspan class="word">{text(rest)}</tspan>' if rest else ""
        y = card.y + 39 + 16 * i
        yield f'<text class="quiet" x="{_n(card.x + 10)}" y="{_n(y)}">{text(kind)}{word}</text>'


def headline(step: Step) -> str:
    """What a run would do with a step, and why: the tip that a pointer brings up."""
    why = f" ({'; '.join(step.why)})" if step.why else ""
    said = ", ".join(w for w in (step.change, step.doing) if w) or "planned"
    return f"{step.name}: {said}{why}"


def about(step: Step) -> str:
    """Kind and figures of a step."""
    spent = (f"{f.value} {f.what}" for f in step.figures if f.value)
    return ", ".join([step.kind, *spent])


def _mark(name: Tone, x: float, y: float) -> str:
    """The sign of a state or a change, told apart without colour."""
    cx, cy = _n(x), _n(y)
    match name:
        case "reuse":
            return f'<circle class="mark open" cx="{cx}" cy="{cy}" r="4.2"/>'
        case "skip":
            return f'<circle class="mark open dots" cx="{cx}" cy="{cy}" r="4.2"/>'
        case "extend":
            half = f"M{cx} {_n(y - 4.2)}a4.2 4.2 0 0 0 0 8.4z"
            return f'<circle class="mark open" cx="{cx}" cy="{cy}" r="4.2"/><path class="mark" d="{half}"/>'
        case "not_run":
            cross = f"M{_n(x - 3.8)} {_n(y - 3.8)}l7.6 7.6m0 -7.6l-7.6 7.6"
            return f'<path class="mark open" d="{cross}"/>'
        case "added":
            return f'<path class="mark open" d="M{_n(x - 4.5)} {cy}h9m-4.5 -4.5v9"/>'
        case "removed":
            return f'<path class="mark open" d="M{_n(x - 4.5)} {cy}h9"/>'
        case "changed":
            return f'<path class="mark" d="M{cx} {_n(y - 5)}l5 5l-5 5l-5 -5z"/>'
        case "unchanged":
            return f'<circle class="mark open" cx="{cx}" cy="{cy}" r="2.4"/>'
        case "indirect":
            return f'<circle class="mark" cx="{cx}" cy="{cy}" r="2.4"/>'
        case _:
            return f'<circle class="mark" cx="{cx}" cy="{cy}" r="4.7"/>'


def _wire(wire: Wire) -> str:
    x, y = wire.points[-1]
    ends = f"from-{anchor(wire.link.source)} to-{anchor(wire.link.target)}"
    head = f"M{_n(x - 3.6)} {_n(y - 7)}L{_n(x)} {_n(y - 0.5)}L{_n(x + 3.6)} {_n(y - 7)}z"
    said = ", ".join(s.label for s in wire.link.streams if s.label)
    words = f"{wire.link.source} → {wire.link.target}" + (f" ({said})" if said else "")
    return (
        f'<g class="link {ends}"><title>{text(words)}</title>'
        f'<path class="line" d="{path((*wire.points[:-1], (x, y - 4)))}"/><path class="tip" d="{head}"/></g>'
    )


def _label(wire: Wire) -> str:
    """A label on its line, which it breaks."""
    x, y = wire.at
    width = mono(wire.label, LABEL_SIZE) + 4
    ground = "frame" if wire.aside else "page"
    return (
        f'<g><rect class="{ground}" x="{_n(x - width / 2)}" y="{_n(y - 7)}" width="{_n(width)}" height="14"/>'
        f'<text class="label" x="{_n(x)}" y="{_n(y + 4)}">{text(wire.label)}</text></g>'
    )


def path(points: Sequence[Point]) -> str:
    """Straight where a part is upright or level, with round corners between such parts; else an S with upright ends."""
    out = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for i, (here, there) in enumerate(pairwise(points), 1):
        if here[0] != there[0] and here[1] != there[1]:
            middle = _n((here[1] + there[1]) / 2)
            out.append(f"C{_n(here[0])} {middle} {_n(there[0])} {middle} {_n(there[0])} {_n(there[1])}")
            continue
        after = points[i + 1] if i + 1 < len(points) else None
        if after is None or not _turns(here, there, after):
            out.append(f"L{_n(there[0])} {_n(there[1])}")
            continue
        before, behind = _toward(there, here), _toward(there, after)
        out.append(f"L{_p(before)}Q{_p(there)} {_p(behind)}")
    return "".join(out)


def _turns(a: Point, b: Point, c: Point) -> bool:
    """Whether a level part follows an upright one, or the other way round."""
    return (a[0] == b[0] and b[1] == c[1] != a[1]) or (a[1] == b[1] and b[0] == c[0] != a[0])


def _toward(corner: Point, other: Point) -> Point:
    """The point near a corner where its rounding begins."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    part = min(_ROUND, length / 2) / length if length else 0.0
    return corner[0] + dx * part, corner[1] + dy * part


def _p(point: Point) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


# --- style ------------------------------------------------------------------------------------------------------------


def style() -> str:
    """The style sheet; colours are written out, so that programs without variables read them too."""
    return f"""
.graph text{{font:{TEXT_SIZE}px {_FONT}}}
.graph .title{{font-size:16px;font-weight:600}}
.graph .name{{font:600 {NAME_SIZE}px {_NAMES}}}
.graph .label{{font:{LABEL_SIZE}px {_NAMES};text-anchor:middle}}
.graph .end{{text-anchor:end}}
.graph .line{{fill:none;stroke-width:1.4}}
.graph .step rect{{stroke-width:1.2}}
.graph .open{{fill:none;stroke-width:1.8}}
.graph .dots{{stroke-dasharray:2 1.9}}
.graph .skip rect,.graph .not_run rect,.graph .removed rect{{stroke-dasharray:4 3}}
{_colors(LIGHT)}@media (prefers-color-scheme:dark){{
{_colors(DARK)}}}
"""


def _colors(theme: Theme) -> str:
    out = [
        f".graph .page{{fill:{theme.page}}}",
        f".graph .frame{{fill:{theme.frame}}}",
        f".graph .title,.graph .name{{fill:{theme.text}}}",
        f".graph .quiet{{fill:{theme.quiet}}}",
        f".graph .line{{stroke:{theme.line}}}.graph .tip{{fill:{theme.line}}}",
        f".graph .label{{fill:{theme.text}}}",
    ]
    for name, tone in theme.tones.items():
        out += [
            f".graph .{name} rect{{fill:{tone.ground};stroke:{tone.border}}}",
            f".graph .{name} .mark{{fill:{tone.border}}}.graph .{name} .open{{fill:none;stroke:{tone.border}}}",
            f".graph .{name} .word{{fill:{tone.word}}}",
        ]
    return "\n".join(out) + "\n"
