"""What leaves a run: exports as folders with a dataset card, and training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from alchemist_runtime import catalog, faults
from alchemist_runtime.engine import placed
from alchemist_runtime.engine.context import Context, edges
from alchemist_runtime.engine.select import hashes, threshold
from alchemist_runtime.engine.streams import BATCH_ROWS, Stream
from alchemist_runtime.engine.views import per_origin
from alchemist_runtime.errors import Problem, RunError
from alchemist_runtime.exporters import _frames, _swap
from alchemist_runtime.plan import ExportSpec, Node, TrainSpec
from alchemist_runtime.rows import COPY, EXTRA, IDENTITY, INSTRUCTION, RESPONSE, SFT, TAIL
from alchemist_runtime.store import Output

#: Two rows of the data whose texts are that similar never stand on both sides of a split.
SPLIT_SIMILARITY = 0.8


def run_export(ctx: Context, node: Node, out: Output) -> None:
    spec: ExportSpec = node.spec  # type: ignore[assignment]
    target = placed.folder(ctx, spec)
    stream = ctx.inputs(node, "data")
    if stream.n == 0:
        raise RunError(_empty(node))
    made = out.folder / "files"
    (made / "data").mkdir(parents=True, exist_ok=True)
    rows = _write(ctx, node, spec, stream, made, out.folder)
    from alchemist_runtime.report.card import write_card

    write_card(ctx, node, spec, stream, rows, made)
    out.figures["rows_in"] = stream.n
    out.figures["splits"] = rows
    out.figures["per_origin"] = per_origin(stream)
    out.figures["files"] = {
        str(p.relative_to(made)): p.stat().st_size for p in sorted(made.rglob("*")) if p.is_file()
    }
    out.figures["path"] = spec.path
    if target is not None:
        faults.point(node.id, "swap")
        out.more["placed"] = _swap.put(made, target, placed.marker(ctx.plan, node))


def _empty(node: Node) -> Problem:
    return Problem(
        "A608",
        "empty-mixture",
        f"`{node.id}` would write a dataset without a single row",
        node=node.id,
        help="see where the rows went: `alchemist run` prints how many each rule dropped",
    )


def _write(
    ctx: Context, node: Node, spec: ExportSpec, stream: Stream, made: Path, scratch: Path
) -> dict[str, int]:
    """Write the data files of every split; returns the rows of each."""
    component = catalog.find("exporters", spec.format)
    assert component is not None, spec.format
    schema = [*(spec.schema_columns or SFT), TAIL, EXTRA]
    columns = _frames.filled(stream, schema, always=(INSTRUCTION, RESPONSE))
    columns += [c for c in spec.columns if c not in columns]
    identity = [c for c in (*IDENTITY, COPY) if c in stream.types]
    shown = columns + identity if spec.lineage == "columns" else [*columns, "_id"]
    types = _frames.types(stream, shown)
    rows = {}
    for name, index in splits(ctx, spec, stream).items():
        part = stream if index is None else stream.select(index)
        tables = _frames.tables(part, types, scratch)
        component.function(_counted(ctx, node, tables, stream.n), made, name, types)
        if spec.lineage == "sidecar":
            sidecar = catalog.find("exporters", "parquet")
            assert sidecar is not None
            (made / "lineage" / "data").mkdir(parents=True, exist_ok=True)
            beside = _frames.types(stream, identity)
            sidecar.function(_frames.tables(part, beside, scratch), made / "lineage", name, beside)
        rows[name] = part.n
    return rows


def _counted(
    ctx: Context, node: Node, tables: Iterator[pa.Table], total: int
) -> Iterator[pa.Table]:
    done = 0
    for table in tables:
        faults.point(node.id, "write")
        done += table.num_rows
        yield table
        del table
        ctx.progress.advance(node.id, done, total, "rows")


def splits(
    ctx: Context, spec: ExportSpec, stream: Stream
) -> dict[str, np.ndarray[Any, Any] | None]:
    """Positions of each split: rows with one source row, and near-duplicates, stay on one side."""
    share = Fraction(spec.split.get("eval", "0"))
    if not spec.split or share == 0:
        return {"train": None}
    leaders = families(stream)
    u = hashes(leaders, ctx.plan.seed, f"split {spec.salt}")
    bound = threshold(share)
    held = u < np.uint64(min(bound, 2**64 - 1))
    return {"train": np.flatnonzero(~held), "eval": np.flatnonzero(held)}


def families(stream: Stream) -> np.ndarray[Any, Any]:
    """For each row the id that stands for its family: the lowest `_root` among rows linked by root or by near-equal text."""
    from alchemist_runtime.engine.streams import ids_to_u64

    roots = ids_to_u64(stream.column("_root"))
    _, by_root = np.unique(roots, axis=0, return_inverse=True)
    component = catalog.find("dedup", "minhash")
    assert component is not None
    texts = [stream.column(c).combine_chunks() for c in (INSTRUCTION, RESPONSE)]
    found = component.function(
        texts, stream.ids(), ngram=5, permutations=128, threshold=SPLIT_SIMILARITY
    )
    label = _joined(by_root.reshape(-1), found.labels)
    order = np.lexsort((roots[:, 1], roots[:, 0], label))
    first = np.r_[True, label[order][1:] != label[order][:-1]]
    lowest = np.empty((label.max() + 1, 2), np.uint64)
    lowest[label[order][first]] = roots[order][first]
    return np.asarray(lowest[label])


def _joined(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Connected components of rows that share a label of `a` or of `b`."""
    label = np.arange(len(a), dtype=np.int64)
    while True:
        before = label
        for groups in (a, b):
            low = np.full(int(groups.max(initial=0)) + 1, len(a), np.int64)
            np.minimum.at(low, groups, label)
            label = low[groups]
        if np.array_equal(before, label):
            return np.asarray(np.unique(label, return_inverse=True)[1].reshape(-1))


# --- training ---------------------------------------------------------------------------------------------------------------------


def run_train_node(ctx: Context, node: Node, out: Output) -> None:
    from alchemist_runtime.train_job import run_train

    spec: TrainSpec = node.spec  # type: ignore[assignment]
    stream = ctx.inputs(node, "data")
    if stream.n == 0:
        raise RunError(_empty(node))
    wanted = [
        "system",
        "instruction",
        "response",
        "history",
        TAIL,
        EXTRA,
        "tools",
        "template_args",
        "_id",
        "_root",
        "origin",
    ]
    columns = [c for c in wanted if c in stream.types]
    bases = edges(node, "model")
    base = ctx.manifest(node.inputs[bases[0]].node).folder("model") if bases else None

    def tell(figures: Mapping[str, Any]) -> None:
        for problem in _rendered(node, spec, figures.get("prepared", {})):
            ctx.progress.warn(problem)
        note = (
            f"loss {figures['loss']:.3f}"
            if figures.get("loss") is not None
            else str(figures.get("stage", ""))
        )
        ctx.progress.advance(node.id, figures.get("step", 0), figures.get("steps"), "steps", note)

    metrics = run_train(
        spec,
        lambda: stream.spooled(columns, BATCH_ROWS, out.folder),
        out.folder,
        base_dir=base,
        seed=spec.seed,
        processes=ctx.options.processes,
        project_root=ctx.project,
        on_progress=tell,
        texts=ctx.plan.texts,
    )
    out.figures.update(metrics)
    out.figures["rows_in"] = stream.n


def _rendered(node: Node, spec: TrainSpec, prepared: Mapping[str, Any]) -> Iterator[Problem]:
    """What the chat template did to rows that a person should know."""
    from alchemist_runtime.talks import sentence

    for name, by in prepared.get("told", {}).items():
        counts = ", ".join(f"{n:,} of `{origin}`" for origin, n in by.items())
        yield Problem(
            "A817",
            "rendered-otherwise",
            f"`{node.id}` trains on {sentence(name, by)} (the first is {prepared['first'][name]})",
            node=node.id,
            note=counts,
            severity="warning",
        )
    if prepared.get("date") is not None and spec.date is None:
        yield Problem(
            "A818",
            "day-of-the-run",
            f"`{node.id}` is trained with {prepared['date']}, the day of the run, in every row",
            node=node.id,
            help=f'write `date = "{prepared["date"]}"`, so that the same recipe gives the same tokens',
            severity="warning",
        )
