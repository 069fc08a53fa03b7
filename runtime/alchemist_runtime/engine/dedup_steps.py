"""The global steps over groups of rows: dedup keeps one row of each group, decontaminate refuses rows that leak an
item.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from alchemist_runtime.engine.context import Context
from alchemist_runtime.engine.filter_map import Positions, chunked, drop, keep_rows, values
from alchemist_runtime.engine.streams import Stream
from alchemist_runtime.schema import catalog
from alchemist_runtime.schema.codes import Problem
from alchemist_runtime.schema.plan import DecontaminateSpec, DedupSpec, Expr, Method, Node, SuiteSpec
from alchemist_runtime.schema.rows import HISTORY, INSTRUCTION, RESPONSE, SYSTEM, TAIL
from alchemist_runtime.schema.sealed import as_json
from alchemist_runtime.storage.store import Output


def text_values(ctx: Context, stream: Stream, expr: Expr) -> pa.ChunkedArray:
    """An expression over a stream as text; what is not text is cast."""
    array = chunked(ctx, stream, expr)
    if pa.types.is_null(array.type):
        return pa.chunked_array([pa.nulls(len(array), pa.string())])
    if pa.types.is_nested(array.type):
        texts = [None if v is None else as_json(v) for v in array.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    return array if array.type == pa.string() else array.cast(pa.string())


def turn_texts(stream: Stream) -> list[pa.Array | pa.ChunkedArray]:
    """The texts of all turns of each row: one array for each plain turn column, one for the turns between, joined."""
    out: list[pa.Array | pa.ChunkedArray] = [
        stream.column(c).cast(pa.string()) for c in (SYSTEM, INSTRUCTION, RESPONSE) if c in stream.types
    ]
    for name in (HISTORY, TAIL):
        if name in stream.types and (column := stream.column(name)).null_count < len(column):
            rows = (None if r is None else "\n".join(t["content"] or "" for t in r) for r in column.to_pylist())
            out.append(pa.array(rows, pa.string()))
    return out


def arguments(method: Method) -> dict[str, Any]:
    """A method's arguments as its component takes them: exact fractions become floats where the parameter is one."""
    return {k: _number(v) for k, v in method.args.items()}


def _number(value: Any) -> Any:
    if isinstance(value, str) and value and (value[0].isdigit() or value[0] == "-"):
        from fractions import Fraction

        try:
            return float(Fraction(value))
        except ValueError:
            return value
    return value


# --- dedup ------------------------------------------------------------------------------------------------------------


def run_dedup(ctx: Context, node: Node, out: Output) -> None:
    spec: DedupSpec = node.spec  # type: ignore[assignment]
    stream = ctx.inputs(node, "from")
    texts = [text_values(ctx, stream, e) for e in spec.on]
    ids = stream.ids()
    component = catalog.find("dedup", spec.method.name)
    assert component is not None, spec.method.name
    ctx.progress.advance(node.id, 0, stream.n, "rows", "comparing")
    found = component.function(texts, ids, **arguments(spec.method))
    score = None
    if spec.prefer is not None:
        score = values(ctx, stream, spec.prefer).to_numpy(zero_copy_only=False).astype(float)
    order = preferred(ids, score)
    connected = spec.clusters == "connected" or found.stars is None
    survivor = first_of_group(found.labels, order) if connected else found.stars(order)
    kept = np.flatnonzero(survivor == np.arange(stream.n))
    refused = np.flatnonzero(survivor != np.arange(stream.n))
    keep_rows(ctx, node, out, stream, kept)
    table = pa.table(
        {
            "rule": pa.array(["duplicate"] * len(refused), pa.string()),
            "reason": pa.array([f"{spec.method.name} duplicate of a kept row"] * len(refused), pa.string()),
            "kept": stream.column("_id").combine_chunks().take(pa.array(survivor[refused])),
            "similarity": pa.array(found.similarity(refused, survivor[refused]), pa.float64()),
        }
    )
    drop(ctx, node, out, stream, refused, table)
    out.figures["dropped"] = {"duplicate": len(refused)}
    out.figures["groups"] = len(np.unique(survivor[refused])) if len(refused) else 0


def preferred(ids: np.ndarray[Any, Any], score: np.ndarray[Any, Any] | None) -> Positions:
    """All rows, the best first: highest score (null last), first in order, lowest id."""
    keys: list[np.ndarray[Any, Any]] = [ids[:, 1], ids[:, 0], np.arange(len(ids))]
    if score is not None:
        keys.append(-np.where(np.isnan(score), -np.inf, score))
    return np.lexsort(keys)


def first_of_group(labels: Positions, order: Positions) -> Positions:
    """For each row the row of its group that comes first in an order."""
    first = np.empty(len(labels), np.int64)
    first[labels[order[::-1]]] = order[::-1]
    return first[labels]


# --- decontaminate ----------------------------------------------------------------------------------------------------


def run_decontaminate(ctx: Context, node: Node, out: Output) -> None:
    spec: DecontaminateSpec = node.spec  # type: ignore[assignment]
    stream = ctx.inputs(node, "from")
    texts = [text_values(ctx, stream, e) for e in spec.on] or turn_texts(stream)
    items = benchmark_items(ctx, node)
    hits: dict[int, tuple[int, str, str]] = {}
    for method in spec.methods:
        component = catalog.find("decontaminate", method.name)
        assert component is not None, method.name
        ctx.progress.advance(node.id, 0, stream.n, "rows", method.name)
        leaks = component.function(texts, items, **arguments(method))
        for row, item, match in zip(leaks.row.tolist(), leaks.item.tolist(), leaks.match, strict=True):
            hits.setdefault(row, (item, method.name, match))
        _warn_unsearchable(ctx, node, items, leaks)
    refused = np.array(sorted(hits), dtype=np.int64)
    kept = np.setdiff1d(np.arange(stream.n), refused, assume_unique=True)
    keep_rows(ctx, node, out, stream, kept)
    rows = [hits[int(r)] for r in refused]
    suites = [items.suites[i] for i, _, _ in rows]
    names = [items.names[i] for i, _, _ in rows]
    table = pa.table(
        {
            "rule": pa.array([f"leak of {s}" for s in suites], pa.string()),
            "reason": pa.array(
                [f"{m} match with {s} {i}" for s, i, (_, m, _) in zip(suites, names, rows, strict=True)], pa.string()
            ),
            "suite": pa.array(suites, pa.string()),
            "item": pa.array(names, pa.string()),
            "method": pa.array([m for _, m, _ in rows], pa.string()),
            "match": pa.array([t for _, _, t in rows], pa.string()),
        }
    )
    drop(ctx, node, out, stream, refused, table)
    out.figures["dropped"] = {f"leak of {s}": n for s, n in sorted(Counter(suites).items())}
    leaked = Counter(zip(suites, names, strict=True))
    out.figures["items"] = len(items.names)
    out.figures["items_leaked"] = len(leaked)
    # each refused row once, under the first of the methods that found it
    out.figures["leaks"] = {
        "methods": {m.name: sum(name == m.name for _, name, _ in rows) for m in spec.methods},
        "items": [
            {"suite": suite, "item": item, "rows": n}
            for (suite, item), n in sorted(leaked.items(), key=lambda leak: (-leak[1], leak[0]))
        ],
    }


def _warn_unsearchable(ctx: Context, node: Node, items: Any, leaks: Any) -> None:
    """A benchmark item that is too short to be searched for guards nothing: say so."""
    short = [f"{items.names[i]} of {items.suites[i]}" for i in leaks.unsearchable]
    if short:
        displayed = ", ".join(short[:3]) + (", …" if len(short) > 3 else "")
        ctx.progress.warn(
            Problem(
                "A512",
                f"{len(short)} benchmark items are too short to be searched for, so rows with them stay: {displayed}",
                node=node.id,
                severity="warning",
            )
        )


def benchmark_items(ctx: Context, node: Node) -> Any:
    """The texts of all items that a step guards against, with their suites and names."""
    from alchemist_runtime.operators.leaks import Items

    texts: list[list[str]] = []
    names: list[str] = []
    suites: list[str] = []
    entry_points: list[str | None] = []
    for edge in node.inputs:
        if edge.role != "against":
            continue
        spec = ctx.node(edge.node).spec
        stream = ctx.edge(edge)
        if isinstance(spec, SuiteSpec):
            text_columns, id_column, entry = list(spec.text), spec.id_column, spec.entry_point
        else:
            text_columns = [c for c in ("instruction", "response") if c in stream.types]
            id_column = entry = None
        wanted = [*text_columns, *([id_column] if id_column else []), *([entry] if entry else [])]
        rows = stream.table(list(dict.fromkeys(wanted))).to_pylist()
        for number, row in enumerate(rows):
            texts.append([str(row[c]) for c in text_columns if row[c]])
            names.append(str(row[id_column]) if id_column else f"item {number}")
            suites.append(edge.node)
            entry_points.append(row[entry] if entry else None)
    return Items(texts=texts, names=names, suites=suites, entry_points=entry_points)
