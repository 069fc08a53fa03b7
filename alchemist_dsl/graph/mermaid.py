"""A graph -> a Mermaid flowchart, as GitHub, GitLab and most documentation tools render it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from alchemist_runtime.schema.attributes import Kind
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Estimate
from pydantic import BaseModel, ConfigDict

from alchemist_dsl.graph.colors import LIGHT
from alchemist_dsl.graph.model import LEGEND, Figure, Graph, Link, Mark, State, Step, Tone

#: Whatever could be Mermaid or HTML; the second of two percents, and the point of a list's number.
_ODD: Final = r"[^\w .,:/()?≤~·$%+\u2060-]|(?<=%)%|(?<=\d)\.(?= )"
#: Codes of characters are read before Markdown: its marks need a backslash; a word joiner parts `$$` and the names of
#: icons.
_EMPHASIS: Final = r"[*`\\]|\b_|_\b"
_JOINED: Final = r"(?<=\$)(?=\$)|(?<=fa:)|(?<=fa[bklrs]:)"
_DASHED: Final = frozenset({"skip", "not_run", "removed"})


def flowchart(graph: Graph) -> str:
    """The flowchart: a step has its kind, figures and state in its text, and its state or its change as a class."""
    ids = {s.name: f"s{i}" for i, s in enumerate(graph.steps)}
    lines = ["flowchart TD", *_about(graph)]
    lines += [f"  {ids[s.name]}{_shaped(s)}" for s in graph.steps]
    lines += [f"  {ids[k.source]} {_arrow(k)} {ids[k.target]}" for k in graph.links]
    lines += _classes(graph, ids)
    return "\n".join(lines) + "\n"


def _about(graph: Graph) -> Iterator[str]:
    """What a screen reader says of the drawing."""
    yield f"  accTitle: {_line(graph.title or graph.recipe)}"
    counted = ", ".join(f"{n} {LEGEND[tone]}" for tone, n in graph.call_stats())
    yield f"  accDescr: {_line(f'The steps of {graph.recipe}: {counted}')}"


def _shaped(step: Step) -> str:
    opened, closed = _shape(KINDS[step.kind])
    rows = _unit(step.figure("rows"), "rows")
    spent = " · ".join(t for t in (_unit(step.figure("calls"), "calls"), step.figure("usd")) if t)
    said = " · ".join(word for word in (step.kind, step.doing, step.change) if word)
    lines = [f"<b>{escaped(step.name)}</b>", escaped(said), escaped(rows), escaped(spent)]
    return f'{opened}"{"<br/>".join(line for line in lines if line)}"{closed}'


def _shape(kind: Kind) -> tuple[str, str]:
    """What opens and closes the text of a step: what is read, what calls a teacher, where rows leave or a model is
    evaluated; else a box.
    """
    if kind.reads:
        return "[(", ")]"
    if kind.asks:
        return "{{", "}}"
    return ("([", "])") if kind.sink or "model" in kind.attributes else ("[", "]")


def _unit(figure: str, unit: str) -> str:
    return f"{figure} {unit}" if figure else ""


def _arrow(link: Link) -> str:
    label = link.label()
    return f'-->|"{escaped(label)}"|' if label else "-->"


def _classes(graph: Graph, ids: Mapping[str, str]) -> Iterator[str]:
    """One class for each state, or change, that a step has. Ground and text are both set: they fit light and dark
    pages.
    """
    members: dict[Tone, list[str]] = {}
    for step in graph.steps:
        members.setdefault(step.tone, []).append(ids[step.name])
    for name, found in members.items():
        tone = LIGHT.tones[name]
        dashed = ",stroke-dasharray:4 3" if name in _DASHED else ""
        yield f"  classDef {name} fill:{tone.ground},stroke:{tone.border},color:{LIGHT.text}{dashed}"
        yield f"  class {','.join(found)} {name}"


def escaped(text: str) -> str:
    """A text inside quotes that is shown as it is: what could be read as anything else is written as a code of its
    character.
    """
    parted = re.sub(_JOINED, "\u2060", re.sub(_EMPHASIS, r"\\\g<0>", text))
    return re.sub(_ODD, lambda m: f"#{ord(m[0])};", parted)


def _line(text: str) -> str:
    """A text that ends with its line, where codes of characters are not read."""
    return re.sub(r"[^\w .,:/()+-]+", " ", text).strip()


# --- data ------------------------------------------------------------------------------------------------------------

FORMAT: Final = "1.0"


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class NodeData(Model):
    id: str
    kind: str
    state: State  # what a run now would do; `planned`: the plan does not say
    mark: Mark | None = None  # in comparisons
    why: list[str]
    expected: dict[str, Estimate]  # rows, calls, tokens_in, tokens_out, usd: from scratch
    new: dict[str, Estimate]  # calls and usd of a run now
    key: str
    at: str  # file:line
    doc: str | None = None
    columns: dict[str, dict[str, str]]  # port -> column -> type


class EdgeData(Model):
    source: str
    target: str
    port: str
    origin: str | None = None  # only the rows of this source
    role: str
    amount: str | None = None  # what a mixture takes


class GraphData(Model):
    graph_format: str = FORMAT
    recipe: str
    title: str | None = None
    variant: str | None = None
    plan: str  # first digits of its digest
    total: str | None = None
    nodes: list[NodeData]  # each behind what it reads
    edges: list[EdgeData]


def data(graph: Graph) -> dict[str, Any]:
    """The graph as JSON data. While the first number of the format stays, keys are only added."""
    result = GraphData(
        recipe=graph.recipe,
        title=graph.title or None,
        variant=graph.variant,
        plan=graph.plan,
        total=graph.total or None,
        nodes=[_node(s) for s in graph.steps],
        edges=[e for link in graph.links for e in _edges(link)],
    )
    return result.model_dump(mode="json")


def _node(step: Step) -> NodeData:
    return NodeData(
        id=step.name,
        kind=step.kind,
        state=step.state,
        mark=step.mark,
        why=list(step.why),
        expected=_figures(step.figures),
        new=_figures(step.new),
        key=step.key,
        at=step.place,
        doc=step.doc or None,
        columns={port: dict(columns) for port, columns in step.columns},
    )


def _figures(figures: tuple[Figure, ...]) -> dict[str, Estimate]:
    return {f.name: f.estimate for f in figures}


def _edges(link: Link) -> list[EdgeData]:
    return [
        EdgeData(
            source=link.source, target=link.target, port=s.port, origin=s.origin, role=s.role, amount=s.amount or None
        )
        for s in link.streams
    ]
