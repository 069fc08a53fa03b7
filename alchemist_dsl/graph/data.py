"""A graph -> JSON data for other tools: nodes in drawing order, one edge for each input. Its schema is
docs/schemas/graph.json.
"""

from __future__ import annotations

from typing import Any, Final

from alchemist_runtime.schema.plan import Estimate
from pydantic import BaseModel, ConfigDict

from alchemist_dsl.graph.model import Figure, Graph, Link, Mark, State, Step

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
    made = GraphData(
        recipe=graph.recipe,
        title=graph.title or None,
        variant=graph.variant,
        plan=graph.plan,
        total=graph.total or None,
        nodes=[_node(s) for s in graph.steps],
        edges=[e for link in graph.links for e in _edges(link)],
    )
    return made.model_dump(mode="json")


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
