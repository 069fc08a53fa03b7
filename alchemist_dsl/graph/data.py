"""A graph -> JSON data for other tools: nodes in drawing order, one edge for each input."""

from __future__ import annotations

from typing import Any, Final

from alchemist_dsl.graph.model import Figure, Graph, Step

FORMAT: Final = "1.0"


def data(graph: Graph) -> dict[str, Any]:
    """The graph as JSON data. Keys are only added, never changed in meaning, while the first number of the format stays."""
    return {
        "graph_format": FORMAT,
        "recipe": graph.recipe,
        "title": graph.title or None,
        "variant": graph.variant,
        "plan": graph.plan,
        "total": graph.total or None,
        "nodes": [_node(s) for s in graph.steps],
        "edges": [
            {
                "source": link.source,
                "target": link.target,
                "port": stream.port,
                "origin": stream.origin,
                "role": stream.role,
                "amount": stream.amount or None,
            }
            for link in graph.links
            for stream in link.streams
        ],
    }


def _node(step: Step) -> dict[str, Any]:
    return {
        "id": step.name,
        "kind": step.kind,
        "state": step.state,
        "mark": step.mark,
        "why": list(step.why),
        "expected": _figures(step.figures),
        "new": _figures(step.new),
        "key": step.key,
        "at": step.place,
        "doc": step.doc or None,
        "columns": {port: dict(columns) for port, columns in step.columns},
    }


def _figures(figures: tuple[Figure, ...]) -> dict[str, Any]:
    """As in a plan: low, value, high, basis."""
    return {f.name: f.estimate.model_dump(exclude_none=True) for f in figures}
