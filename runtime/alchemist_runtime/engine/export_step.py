"""What leaves a run: exports as folders with a dataset card, and training."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from alchemist_runtime.engine import export_marker, frames
from alchemist_runtime.engine.context import Context, edges
from alchemist_runtime.engine.select import hashes, threshold
from alchemist_runtime.engine.streams import BATCH_ROWS, Stream
from alchemist_runtime.engine.views import Part, per_origin, port
from alchemist_runtime.schema import catalog
from alchemist_runtime.schema.errors import Problem, RunError
from alchemist_runtime.schema.plan import ExportSpec, Node, SplitSpec, TrainSpec
from alchemist_runtime.schema.rows import COPY, EXTRA, ID, IDENTITY, INSTRUCTION, RESPONSE, ROWS, SFT, TAIL
from alchemist_runtime.storage import faults
from alchemist_runtime.storage.store import Output

#: Two rows of the data whose texts are that similar never stand on both sides of a split.
SPLIT_SIMILARITY = 0.8


def run_export(ctx: Context, node: Node, out: Output) -> None:
    spec: ExportSpec = node.spec  # type: ignore[assignment]
    target = export_marker.folder(ctx, spec)
    stream = ctx.inputs(node, "data")
    if stream.n == 0 and not _may_be_empty(ctx, node):
        raise RunError(_empty(node))
    made = out.folder / "files"
    shutil.rmtree(made, ignore_errors=True)  # what an interrupted run left
    (made / "data").mkdir(parents=True)
    types = _columns(spec, stream)
    written = _write(ctx, node, spec, stream, types, made, out.folder)
    from alchemist_runtime.report.card import write_card

    write_card(ctx, node, spec, stream, types, written, made)
    out.figures["rows_in"] = stream.n
    out.figures["splits"] = {name: split.rows for name, split in written.items()}
    out.figures["per_origin"] = per_origin(stream)
    out.figures["files"] = {str(p.relative_to(made)): p.stat().st_size for p in sorted(made.rglob("*")) if p.is_file()}
    out.figures["path"] = spec.path
    if target is not None:
        faults.point(node.id, "swap")
        out.more["placed"] = export_marker.put(made, target, export_marker.marker(ctx.plan, node))


def _may_be_empty(ctx: Context, node: Node) -> bool:
    """Whether a node's rows are all what steps refused or noted, by whatever steps they come: there may be none."""
    read = [e for e in node.inputs if e.role in ("data", "from", "learn")]
    return bool(read) and all(e.port != ROWS or _may_be_empty(ctx, ctx.node(e.node)) for e in read)


def _empty(node: Node) -> Problem:
    return Problem(
        "A608",
        f"`{node.id}` would write a dataset without a single row",
        node=node.id,
        help="see where the rows went: `alchemist run` prints how many each rule dropped",
    )


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a dataset: its rows, and the pattern that finds its files in the dataset's folder."""

    rows: int
    files: str


def _columns(spec: ExportSpec, stream: Stream) -> dict[str, str]:
    """The columns that are written, and their types."""
    schema = [*(spec.schema_columns or SFT), TAIL, EXTRA]
    columns = frames.filled(stream, schema, always=(INSTRUCTION, RESPONSE))
    columns += [c for c in spec.columns if c not in columns]
    beside = _identity(stream) if spec.lineage == "columns" else [ID]
    return frames.types(stream, [*columns, *beside])


def _identity(stream: Stream) -> list[str]:
    return [c for c in (*IDENTITY, COPY) if c in stream.types]


def _empty_split(node: Node, name: str, n: int) -> Problem:
    return Problem(
        "A513",
        f"the split `{name}` of `{node.id}` has no row: none of {n:,} rows, which stay together by source row and"
        " near-duplicates, fell to it",
        node=node.id,
        help="give it a larger share, or change `salt` for another draw",
        severity="warning",
    )


def _write(
    ctx: Context, node: Node, spec: ExportSpec, stream: Stream, types: Mapping[str, str], made: Path, scratch: Path
) -> dict[str, Split]:
    """Write the data files of every split. Their names carry a digest of what is in them: readers that keep what they
    read by name (`load_dataset`) never take old rows, or those of another dataset, for these."""
    component = catalog.find("exporters", spec.format)
    assert component is not None, spec.format
    done = {}
    for name, part in _parts(ctx, node, spec, stream):
        tables = frames.tables(part, types, scratch)
        files = component.function(_counted(ctx, node, tables, stream.n), made, name, types)
        called = f"{name}-{_digest([made / f for f in files])}"
        _rename(made, files, name, called)
        if spec.lineage == "sidecar":
            sidecar = catalog.find("exporters", "parquet")
            assert sidecar is not None
            (made / "lineage" / "data").mkdir(parents=True, exist_ok=True)
            beside = frames.types(stream, _identity(stream))
            tables = frames.tables(part, beside, scratch)
            files = sidecar.function(tables, made / "lineage", name, beside)
            _rename(made / "lineage", files, name, called)
        ending = "-*.parquet" if spec.format == "parquet" else ".jsonl"
        done[name] = Split(part.n, f"data/{called}{ending}")
        if stream.n and not part.n:
            ctx.progress.warn(_empty_split(node, name, stream.n))
    return done


def _digest(files: Sequence[Path]) -> str:
    """12 hex digits of the BLAKE2b of the files' bytes, in order."""
    h = hashlib.blake2b(digest_size=6)
    for path in files:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                h.update(part)
    return h.hexdigest()


def _rename(folder: Path, files: Sequence[str], before: str, after: str) -> None:
    for name in files:
        path = folder / name
        path.rename(path.with_name(path.name.replace(before, after, 1)))


def _parts(ctx: Context, node: Node, spec: ExportSpec, stream: Stream) -> Iterator[tuple[str, Stream]]:
    """The splits of the dataset: the parts of a `split` step as they are, else those that the export cuts itself."""
    (edge,) = (node.inputs[i] for i in edges(node, "data"))
    if ctx.node(edge.node).kind == "split" and edge.port == "rows":
        parts = {name: ctx.open(edge.node, name) for name in ("train", "eval")}
        for name, part in parts.items():
            yield name, part.of_origin(edge.origin) if edge.origin else part
        return
    share = Fraction(spec.split.get("eval", "0"))
    for name, index in splits(ctx, share, spec.salt, stream).items():
        yield name, stream if index is None else stream.select(index)


def run_split(ctx: Context, node: Node, out: Output) -> None:
    """Two parts of a stream: `train` and `eval`, and in `rows` both, all in the order of the input."""
    spec: SplitSpec = node.spec  # type: ignore[assignment]
    stream = ctx.inputs(node, "from")
    from_ = tuple(edges(node, "from"))
    port(ctx, node, out, "rows", [Part(edges=from_)], stream.types)
    parts = splits(ctx, Fraction(spec.eval), spec.salt, stream) if stream.n else {}
    for name in ("train", "eval"):
        index = parts.get(name, np.zeros(0, np.int64))
        assert index is not None
        made = port(ctx, node, out, name, [Part(edges=from_, select=out.array(name, index))], stream.types)
        out.figures.setdefault("parts", {})[name] = made.n
    out.figures["rows_in"] = stream.n


def _counted(ctx: Context, node: Node, tables: Iterator[pa.Table], total: int) -> Iterator[pa.Table]:
    done = 0
    for table in tables:
        faults.point(node.id, "write")
        done += table.num_rows
        yield table
        del table
        ctx.progress.advance(node.id, done, total, "rows")


def splits(ctx: Context, share: Fraction, salt: str, stream: Stream) -> dict[str, np.ndarray[Any, Any] | None]:
    """Positions of each split: rows with one source row, and near-duplicates, stay on one side. `share`: of `eval`."""
    if share == 0:
        return {"train": None}
    if not stream.n:
        return {"train": None, "eval": None}
    leaders = families(stream)
    u = hashes(leaders, ctx.plan.seed, f"split {salt}")
    bound = threshold(share)
    held = u < np.uint64(min(bound, 2**64 - 1))
    return {"train": np.flatnonzero(~held), "eval": np.flatnonzero(held)}


def families(stream: Stream) -> np.ndarray[Any, Any]:
    """For each row the id that stands for its family: the lowest `_root` among rows linked by root or by near-equal
    text.
    """
    from alchemist_runtime.engine.streams import ids_to_u64

    roots = ids_to_u64(stream.column("_root"))
    _, by_root = np.unique(roots, axis=0, return_inverse=True)
    component = catalog.find("dedup", "minhash")
    assert component is not None
    texts = [stream.column(c).combine_chunks() for c in (INSTRUCTION, RESPONSE)]
    found = component.function(texts, stream.ids(), ngram=5, permutations=128, threshold=SPLIT_SIMILARITY)
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


# --- training ---------------------------------------------------------------------------------------------------------


def run_train_node(ctx: Context, node: Node, out: Output) -> None:
    from alchemist_runtime.train.step import run_train

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
        note = f"loss {figures['loss']:.3f}" if figures.get("loss") is not None else str(figures.get("stage", ""))
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
    from alchemist_runtime.report.card import model_card

    card = model_card(ctx.plan, node, metrics)
    (out.folder / "model" / "README.md").write_text(card, encoding="utf-8")
    out.figures.update(metrics)
    out.figures["rows_in"] = stream.n


def _rendered(node: Node, spec: TrainSpec, prepared: Mapping[str, Any]) -> Iterator[Problem]:
    """What the chat template did to rows that a person should know."""
    from alchemist_runtime.train.conversations import sentence

    for name, by in prepared.get("told", {}).items():
        counts = ", ".join(f"{n:,} of `{origin}`" for origin, n in by.items())
        yield Problem(
            "A817",
            f"`{node.id}` trains on {sentence(name, by)} (the first is {prepared['first'][name]})",
            node=node.id,
            note=counts,
            severity="warning",
        )
    if prepared.get("date") is not None and spec.date is None:
        yield Problem(
            "A818",
            f"`{node.id}` is trained with {prepared['date']}, the day of the run, in every row",
            node=node.id,
            help=f'write `date = "{prepared["date"]}"`, so that the same recipe gives the same tokens',
            severity="warning",
        )
