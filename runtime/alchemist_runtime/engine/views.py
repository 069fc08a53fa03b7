"""The description of a port in a manifest, and the stream that it opens to.

A port is a list of parts, one after the other: `{"stored": TABLE}` holds its rows; `{"view": [edges], …}` looks at the
inputs of the step (those edges, one after the other) through `select` (an array of positions), `set` (a table of new
columns, one row for each selected row), `patch` (`at`: an array as long as the selection, -1 or a row of `table`) and
`constant` columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.streams import Segment, Stream, arrow_type
from alchemist_runtime.schema.plan import Node
from alchemist_runtime.schema.rows import MADE_BY, TURN_COLUMNS
from alchemist_runtime.schema.sealed import read_array
from alchemist_runtime.storage.columns import Column, Constant, Shards, Stored
from alchemist_runtime.storage.store import MANIFEST, Manifest, Output, damaged, looked_at

if TYPE_CHECKING:
    from alchemist_runtime.engine.context import Context

Table = Mapping[str, Any]  # {"table": name, "rows": [...]}
Sums = Mapping[str, Mapping[str, Any]]  # file -> size, digest, footer


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a port, as a step describes it; files are named as they stand in the step's folder."""

    edges: tuple[int, ...] = ()
    stored: Table | None = None
    select: str | None = None
    set: Table | None = None
    at: str | None = None
    patch: Table | None = None
    constant: Mapping[str, str] | None = None

    def data(self) -> dict[str, Any]:
        if self.stored is not None:
            return {"stored": dict(self.stored)}
        out: dict[str, Any] = {"view": list(self.edges)}
        if self.select:
            out["select"] = self.select
        if self.set is not None:
            out["set"] = dict(self.set)
        if self.patch is not None:
            out["patch"] = {"at": self.at, "table": dict(self.patch)}
        if self.constant:
            out["constant"] = dict(self.constant)
        return out


def open_port(ctx: Context, node: Node, port: str) -> Stream:
    """The stream of a port of a finished step."""
    manifest = ctx.manifest(node.id)
    if stale(ctx, node, manifest):
        changed = ValueError("it looks at rows of another step that have changed since")
        raise damaged(manifest.path, MANIFEST, changed)
    return build(ctx, node, manifest.path, manifest.port(port), manifest.files)


def stale(ctx: Context, node: Node, manifest: Manifest) -> bool:
    """Whether a result looks at rows that were made again since, and differ."""
    known = manifest.data.get("inputs")
    return known is not None and any(
        known[i] != ctx.manifest(node.inputs[i].node).port(node.inputs[i].port)["digest"] for i in looked_at(manifest)
    )


def build(ctx: Context, node: Node, folder: Path, port: Mapping[str, Any], sums: Sums | None = None) -> Stream:
    """The stream of a port's description, its files in `folder`; `sums` as a finished step's manifest has them."""
    types: Mapping[str, str] = port["columns"]
    streams = [_part(ctx, node, folder, part, types, sums) for part in port["parts"]]
    if len(streams) == 1:
        return replace(streams[0], types=types)
    return Stream(tuple(s for x in streams for s in x.segments if s.n), types)


def _part(
    ctx: Context, node: Node, folder: Path, part: Mapping[str, Any], types: Mapping[str, str], sums: Sums | None
) -> Stream:
    if "stored" in part:
        columns = _columns(folder, part["stored"], sums)
        return Stream((Segment(sum(part["stored"]["rows"]), columns),), types)
    stream = Stream.concat([ctx.edge(node.inputs[i]) for i in part["view"]])
    if "select" in part:
        stream = stream.select(_array(folder / part["select"]))
    if "patch" in part:
        at = _array(folder / part["patch"]["at"])
        columns = _columns(folder, part["patch"]["table"], sums)
        wrote = not columns.keys().isdisjoint(TURN_COLUMNS) and MADE_BY in types
        if wrote and node.kind in ("relabel", "generate"):
            maker = pa.scalar(node.id, arrow_type(types[MADE_BY]))
            columns[MADE_BY] = Constant(maker, sum(part["patch"]["table"]["rows"]))
        stream = stream.patched(at, columns, {})
    if "set" in part:
        stream = stream.with_columns(_columns(folder, part["set"], sums), {})
    for name, value in part.get("constant", {}).items():
        column = Constant(pa.scalar(value, arrow_type(types[name])), stream.n)
        stream = stream.with_columns({name: column}, {})
    return stream


def _array(path: Path) -> np.ndarray[Any, Any]:
    try:
        return read_array(path)  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError) as e:
        raise damaged(path.parent, path.name, e) from e


def _columns(folder: Path, table: Table, sums: Sums | None = None) -> dict[str, Column]:
    paths = tuple(folder / f"{table['table']}-{i:05d}.parquet" for i in range(len(table["rows"])))
    shards = Shards(paths, tuple(table["rows"]), sums or {})
    return {name: Stored(shards, name) for name in shards.schema().names}


def port(ctx: Context, node: Node, out: Output, name: str, parts: Sequence[Part], columns: Mapping[str, str]) -> Stream:
    """Describe a port of the step being built; counts its rows by origin and takes its digest. Returns its stream."""
    description: dict[str, Any] = {"columns": dict(columns), "parts": [p.data() for p in parts]}
    stream = build(ctx, node, out.folder, description)
    description["rows"] = stream.n
    description["per_origin"] = per_origin(stream)
    description["digest"] = _digest(ctx, node, out.folder, description)
    out.ports[name] = description
    return stream


def per_origin(stream: Stream) -> dict[str, int]:
    """Rows by origin, sorted by name."""
    if "origin" not in stream.types:
        return {}
    counts: dict[str, int] = {}
    for batch in stream.in_any_order(["origin"]).batches(["origin"], size=65_536):
        for item in pc.value_counts(batch.column(0)):
            name = item["values"].as_py()
            counts[str(name)] = counts.get(str(name), 0) + item["counts"].as_py()
    return dict(sorted(counts.items()))


def _digest(ctx: Context, node: Node, folder: Path, description: Mapping[str, Any]) -> str:
    """Digest of a port's content, sensitive to order. A view that changes nothing has the digest of what it looks
    at.
    """
    parts = description["parts"]
    if len(parts) == 1 and set(parts[0]) == {"view"}:
        return _inputs_digest(ctx, node, parts[0]["view"])
    h = hashlib.blake2b(digest_size=32)
    for part in parts:
        h.update(b"part")
        if "view" in part:
            h.update(_inputs_digest(ctx, node, part["view"]).encode())
        for field in ("select", "constant"):
            if field in part:
                value = part[field]
                h.update(field.encode())
                h.update(
                    read_array(folder / value).tobytes() if field == "select" else repr(sorted(value.items())).encode()
                )
        if "patch" in part:
            h.update(read_array(folder / part["patch"]["at"]).tobytes())
        for table in (part.get("stored"), part.get("set"), part.get("patch", {}).get("table")):
            if table:
                _hash_table(h, folder, table)
    return "b2:" + h.hexdigest()


def _inputs_digest(ctx: Context, node: Node, numbers: Sequence[int]) -> str:
    found = []
    for i in numbers:
        edge = node.inputs[i]
        own = ctx.manifest(edge.node).port(edge.port)["digest"]
        found.append(own if edge.origin is None else hashlib.blake2b(f"{own}.{edge.origin}".encode()).hexdigest())
    if len(found) == 1:
        return found[0]
    return "b2:" + hashlib.blake2b(" ".join(found).encode(), digest_size=32).hexdigest()


def _hash_table(h: Any, folder: Path, table: Table) -> None:
    columns = _columns(folder, table)
    names = sorted(columns)
    h.update(repr([(n, str(columns[n].type)) for n in names]).encode())
    total = sum(table["rows"])
    for start in range(0, total, 8_192):
        arrays = [columns[n].read(start, min(start + 8_192, total)) for n in names]
        batch = pa.RecordBatch.from_arrays([_plain(a) for a in arrays], names=names)
        h.update(batch.serialize())


def _plain(array: pa.Array) -> pa.Array:
    """The same values at offset 0 in buffers of their own, so that equal values have equal bytes."""
    return array if array.offset == 0 and array.null_count == 0 else array.take(pa.array(np.arange(len(array))))
