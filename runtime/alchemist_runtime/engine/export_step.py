"""What leaves a run: exports as folders with a dataset card, and training."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from alchemist_runtime.engine import views
from alchemist_runtime.engine.context import Context, edges
from alchemist_runtime.engine.select import hashes, threshold
from alchemist_runtime.engine.streams import BATCH_ROWS, Stream
from alchemist_runtime.engine.views import Part, per_origin, port
from alchemist_runtime.schema import catalog
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.plan import ExportSpec, Node, Plan, SplitSpec, TrainSpec, card_digest
from alchemist_runtime.schema.rows import COPY, EXTRA, ID, IDENTITY, INSTRUCTION, RESPONSE, ROWS, SFT, TAIL
from alchemist_runtime.schema.sealed import file_digest, seal, stamp, unseal
from alchemist_runtime.storage import store
from alchemist_runtime.storage.store import Manifest, Output

if TYPE_CHECKING:
    from alchemist_runtime.engine.context import Context

#: Two rows of the data whose texts are that similar never stand on both sides of a split.
SPLIT_SIMILARITY = 0.8


def run_export(ctx: Context, node: Node, out: Output) -> None:
    spec: ExportSpec = node.spec  # type: ignore[assignment]
    target = folder(ctx, spec)
    stream = ctx.inputs(node, "data")
    if stream.n == 0 and not _may_be_empty(ctx, node):
        raise RunError(_empty(node))
    result = out.folder / "files"
    shutil.rmtree(result, ignore_errors=True)  # what an interrupted run left
    (result / "data").mkdir(parents=True)
    types = _columns(spec, stream)
    written = _write(ctx, node, spec, stream, types, result, out.folder)
    from alchemist_runtime.report.card import write_card

    write_card(ctx, node, spec, stream, types, written, result)
    out.figures["rows_in"] = stream.n
    out.figures["splits"] = {name: split.rows for name, split in written.items()}
    out.figures["per_origin"] = per_origin(stream)
    out.figures["files"] = {
        str(p.relative_to(result)): p.stat().st_size for p in sorted(result.rglob("*")) if p.is_file()
    }
    out.figures["path"] = spec.path
    if target is not None:
        store.point(node.id, "swap")
        out.more["placed"] = put(result, target, marker(ctx.plan, node))


def _may_be_empty(ctx: Context, node: Node) -> bool:
    """Whether a node's rows are all what steps refused or noted, by whatever steps they come: there may be none."""
    read = [e for e in node.inputs if e.role in ("data", "from", "learn")]
    return bool(read) and all(e.port != ROWS or _may_be_empty(ctx, ctx.node(e.node)) for e in read)


def _empty(node: Node) -> Problem:
    return Problem(
        "A608",
        f"`{node.id}` would write a dataset without a single row",
        node=node.id,
        help="`alchemist run` prints how many rows each rule dropped",
    )


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a dataset: its rows, and the pattern that finds its files in the dataset's folder."""

    rows: int
    files: str


def _columns(spec: ExportSpec, stream: Stream) -> dict[str, str]:
    """The columns that are written, and their types."""
    schema = [*(spec.schema_columns or SFT), TAIL, EXTRA]
    columns = views.filled(stream, schema, always=(INSTRUCTION, RESPONSE))
    columns += [c for c in spec.columns if c not in columns]
    beside = _identity(stream) if spec.lineage == "columns" else [ID]
    return views.types(stream, [*columns, *beside])


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
    ctx: Context, node: Node, spec: ExportSpec, stream: Stream, types: Mapping[str, str], result: Path, scratch: Path
) -> dict[str, Split]:
    """Write the data files of every split. Their names carry a digest of what is in them: readers that keep what they
    read by name (`load_dataset`) never take old rows, or those of another dataset, for these."""
    component = catalog.find("exporters", spec.format)
    assert component is not None, spec.format
    done = {}
    for name, part in _parts(ctx, node, spec, stream):
        tables = views.tables(part, types, scratch)
        files = component.function(_counted(ctx, node, tables, stream.n), result, name, types)
        called = f"{name}-{_digest([result / f for f in files])}"
        _rename(result, files, name, called)
        if spec.lineage == "sidecar":
            sidecar = catalog.find("exporters", "parquet")
            assert sidecar is not None
            (result / "lineage" / "data").mkdir(parents=True, exist_ok=True)
            beside = views.types(stream, _identity(stream))
            tables = views.tables(part, beside, scratch)
            files = sidecar.function(tables, result / "lineage", name, beside)
            _rename(result / "lineage", files, name, called)
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
        result = port(ctx, node, out, name, [Part(edges=from_, select=out.array(name, index))], stream.types)
        out.figures.setdefault("parts", {})[name] = result.n
    out.figures["rows_in"] = stream.n


def _counted(ctx: Context, node: Node, tables: Iterator[pa.Table], total: int) -> Iterator[pa.Table]:
    done = 0
    for table in tables:
        store.point(node.id, "write")
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


# --- export marker ---------------------------------------------------------------------------------------------------

MARKER = ".alchemist-export.json"


def folder(ctx: Context, spec: ExportSpec) -> Path | None:
    """Where an export goes, None where it only goes to the hub, or nothing may be moved."""
    return ctx.project / spec.path if spec.path and not ctx.options.limited else None


def marker(plan: Plan, node: Node) -> dict[str, str | None]:
    """What is written beside an export: its key, and what its card says that no key holds."""
    return {"key": node.key, "card": card_digest(plan, node), "recipe": plan.recipe.get("path"), "node": node.id}


def marked(where: Path) -> dict[str, Any] | None:
    """The marker of a folder; an empty one where it cannot be read, None where there is none."""
    try:
        found, _ = unseal((where / MARKER).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def in_place(project: Path, plan: Plan, node: Node, manifest: Manifest) -> bool:
    """Whether the folder holds what this key made: its marker says so, and every file is as it was put there."""
    where = project / (getattr(node.spec, "path", None) or "")
    found, wanted = marked(where), marker(plan, node)
    if not found or any(found.get(n) != wanted[n] for n in ("key", "card")):
        return False
    return not changed(where, manifest)


def changed(where: Path, manifest: Manifest, *, again: bool = False) -> list[str]:
    """The files of an export that are gone, or are not those that were written. `again`: read those too that nobody
    wrote to.
    """
    stamps = {} if again else manifest.data.get("placed", {})
    files = manifest.figures.get("files", {})
    return [
        name
        for name, size in files.items()
        if not _same(where / name, size, stamps.get(name), manifest.files.get(f"files/{name}"))
    ]


def _same(path: Path, size: int, put: list[int] | None, result: Any) -> bool:
    """A file that nobody wrote to since is the same; another one is where its bytes are, as far as their digest is
    known.
    """
    try:
        now = stamp(path)
        if now[0] != size or now == put or result is None:
            return now[0] == size
        return bool(file_digest(path) == result["digest"])
    except OSError:
        return False


# --- export folder ---------------------------------------------------------------------------------------------------

_OURS: Final = re.compile(r"README\.md|(lineage/)?data/(train|eval)(-[0-9a-f]{12})?(-\d{5,})?\.(parquet|jsonl)")


def refuse_foreign(project: Path, shown: str, node: str, recipe: str | None) -> None:
    """RunError A906 if there is something at the target that alchemist did not write, A915 if another recipe of the
    project exports there, A909 if a link leads out of the project."""
    target = project / shown
    if not target.resolve().is_relative_to(project.resolve()):
        raise RunError(
            Problem(
                "A909",
                f"`{shown}` is a link that leads out of the project",
                node=node,
                place=str(target.resolve()),
                help="choose a `path` that stays in the project",
            )
        )
    found = marked(target)
    other = (found or {}).get("recipe")
    if isinstance(other, str) and other != recipe and (project / other).is_file():
        raise RunError(
            Problem(
                "A915",
                f"`{shown}` holds the export `{found and found.get('node')}` of `{other}`",
                node=node,
                note="each run would replace what the other recipe wrote",
                help=(
                    f'a `path` of its own, for example `path = "{node}"`; or remove the folder, if that export is no'
                    " longer wanted"
                ),
            )
        )
    if found is not None or not os.path.lexists(target):
        return
    if target.is_dir() and next(_files(target), None) is None:
        return
    raise _foreign(f"`{shown}` exists and was not written by alchemist, so it is not overwritten", node)


def _foreign(headline: str, node: str) -> RunError:
    way_out = "choose another `path`, or move that folder away"
    return RunError(Problem("A906", headline, node=node, help=way_out))


def put(result: Path, target: Path, marker: Mapping[str, Any]) -> dict[str, list[int]]:
    """Put a finished folder in its place; returns the stamp of every file there.

    The new folder is made beside the old one and the two are exchanged by rename. A folder that cannot be renamed,
    because something is mounted there, is filled file by file."""
    target = target.resolve()  # a link inside the project stays one
    names = sorted(_files(result))
    beside = sorted(target.parent.glob(f".{glob.escape(target.name)}.old-*"))
    if beside and not os.path.lexists(target):  # a run was killed between its two renames
        beside[-1].rename(target)
    before = _written(target)
    foreign = sorted(set(_files(target)) - before - {MARKER})
    if taken := [n for n in foreign if n in names]:
        said = f"`{taken[0]}` in the folder of the export was not written by alchemist, so it is not overwritten"
        raise _foreign(said, str(marker.get("node")))
    mark = {**marker, "files": names}
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_mount():
        _fill(result, target, names, before, mark)
    else:
        _exchange(result, target, foreign, mark)
    return {name: stamp(target / name) for name in names}


def _exchange(result: Path, target: Path, foreign: Iterable[str], mark: Mapping[str, Any]) -> None:
    fresh = target.with_name(f".{target.name}.new-{os.getpid()}")
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        shutil.copytree(result, fresh, copy_function=shutil.copyfile)
        for name in foreign:
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            _keep(target / name, fresh / name)
        (fresh / MARKER).write_bytes(seal(mark) + b"\n")
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except OSError:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _keep(mine: Path, there: Path) -> None:
    """The very file of somebody else, at its new place: until the exchange it has both names."""
    try:
        os.link(mine, there, follow_symlinks=False)
    except OSError:
        shutil.copy2(mine, there, follow_symlinks=False)


def _fill(result: Path, target: Path, names: list[str], before: set[str], mark: Mapping[str, Any]) -> None:
    """Exchange the files of a folder one by one. Meanwhile its marker fits no key, so a run that is cut off is made up
    for.
    """
    begun = {**mark, "key": None, "files": sorted(before | set(names))}
    (target / MARKER).write_bytes(seal(begun) + b"\n")
    for name in names:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        shutil.copyfile(result / name, temporary)
        temporary.replace(path)
    for name in before - set(names):
        (target / name).unlink(missing_ok=True)
    (target / MARKER).write_bytes(seal(mark) + b"\n")


def _files(folder: Path) -> Iterator[str]:
    """The files and links below a folder, by their names in it. OSError where not everything can be seen."""

    def unseen(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise error

    for at, folders, files in os.walk(folder, onerror=unseen):
        links = [f for f in folders if (Path(at) / f).is_symlink()]
        yield from ((Path(at) / f).relative_to(folder).as_posix() for f in [*files, *links])


def _written(target: Path) -> set[str]:
    """What alchemist wrote into a folder: its marker lists it; an earlier version's, and a damaged one, does not, so
    there what is called as exports call it."""
    mark = marked(target)
    if mark is None:
        return set()
    if isinstance(mark.get("files"), list):
        return {str(name) for name in mark["files"]}
    return {name for name in _files(target) if _OURS.fullmatch(name)}
