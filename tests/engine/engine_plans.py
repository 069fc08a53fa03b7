"""Small plans built by hand, so that the engine is tested without the compiler."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemist_runtime.schema import plan as p
from alchemist_runtime.schema.plan import to_json

AT = p.At(file="r.recipe", line=1, column=1)


def col(name: str) -> p.Expr:
    return ["col", name]


def call(function: str, **args: p.Expr) -> p.Expr:
    return ["call", function, args]


def lit(value: Any, type_: str = "int") -> p.Expr:
    return ["lit", type_, value]


def edge(node: str, port: str = "rows", role: str = "from", origin: str | None = None) -> p.Edge:
    return p.Edge(node=node, port=port, role=role, origin=origin, key="")  # type: ignore[arg-type]


def make_plan(nodes: Sequence[tuple[str, Sequence[p.Edge], Any]], **more: Any) -> p.Plan:
    """A plan whose keys follow from specs and inputs, as the compiler's do."""
    out: list[p.Node] = []
    keys: dict[str, str] = {}
    for name, inputs, spec in nodes:
        own = p.digest([name, to_json(spec)])
        key = p.digest([own, [[keys[e.node], e.port, e.origin, e.role] for e in inputs]])
        keys[name] = key
        out.append(
            p.Node(id=name, kind=spec.kind, at=AT, inputs=list(inputs), spec=spec, key=key, meta_key="", own_key=own)
        )
    return p.Plan(edition=2026, recipe={"path": "r.recipe"}, nodes=out, **more)


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def source(name: str, path: str, format_: str = "jsonl", **more: Any) -> p.SourceSpec:
    return p.SourceSpec(
        name=name, salt=name, reader=p.Method(name="files"), files=[{"path": path, "format": format_}], **more
    )
