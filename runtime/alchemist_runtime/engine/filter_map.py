"""The row-local steps: filter and map. Each works in chunks of one shard, committed one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.context import Context, edges
from alchemist_runtime.engine.expressions import Scope
from alchemist_runtime.engine.select import choose, derive_ids, draw_order, preference
from alchemist_runtime.engine.streams import Stream, arrow_type
from alchemist_runtime.engine.turns import TURN_TYPES, columns_for, split_columns, with_messages
from alchemist_runtime.engine.views import Part, port
from alchemist_runtime.schema.expressions import columns_read
from alchemist_runtime.schema.plan import Expr, FilterSpec, MapSpec, Node, Rule, Select, SetColumn, TeacherStepSpec
from alchemist_runtime.schema.rows import DROPPED_COLUMNS, MESSAGES, required
from alchemist_runtime.storage.store import SHARD_ROWS, Output

Positions = np.ndarray[Any, np.dtype[np.int64]]
EVALUATE_ROWS = 16_384


def chunks(stream: Stream) -> Iterator[tuple[int, Stream]]:
    """The stream in pieces of one shard, numbered."""
    for number, start in enumerate(range(0, stream.n, SHARD_ROWS)):
        yield number, stream.select(np.arange(start, min(start + SHARD_ROWS, stream.n)))


def batches(stream: Stream, exprs: Sequence[Expr]) -> Iterator[pa.RecordBatch]:
    """Batches with the columns that the expressions read."""
    wanted = sorted(frozenset().union(*(columns_read(e) for e in exprs)) if exprs else ())
    for batch in stream.batches(columns_for(stream, wanted), size=EVALUATE_ROWS):
        yield with_messages(batch, wanted)


def values(ctx: Context, stream: Stream, expr: Expr) -> pa.Array:
    """An expression over a whole stream."""
    return chunked(ctx, stream, expr).combine_chunks()


def chunked(ctx: Context, stream: Stream, expr: Expr) -> pa.ChunkedArray:
    """An expression over a whole stream, in the pieces in which it was computed: nothing is held twice."""
    parts = [ctx.scope(b, stream.types)(expr) for b in batches(stream, [expr])]
    return pa.chunked_array(parts) if parts else pa.chunked_array([], pa.null())


def truth(array: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where a condition holds; null does not hold."""
    if pa.types.is_null(array.type):  # over no rows, or null in all of them
        return np.zeros(len(array), bool)
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=bool)


# --- filter -----------------------------------------------------------------------------------------------------------


def verdicts(
    ctx: Context, node: str, stream: Stream, rules: Sequence[Rule], out: Output
) -> np.ndarray[Any, np.dtype[np.int16]]:
    """For each row 0 (kept) or 1 + the number of the first rule that refuses it. Chunks of an interrupted build are
    kept.
    """
    found = []
    done = 0
    for number, chunk in chunks(stream):
        name = f"verdict-{number:05d}"
        if (kept := out.kept(name)) is not None:
            found.append(kept)
            done += chunk.n
            continue
        parts = []
        for batch in batches(chunk, [r.expr for r in rules]):
            parts.append(judge(ctx.scope(batch, stream.types), rules))
            done += batch.num_rows
            ctx.progress.advance(node, done, stream.n, "rows")
        verdict = np.concatenate(parts) if parts else np.zeros(0, np.int16)
        out.array(name, verdict)
        found.append(verdict)
    return np.concatenate(found) if found else np.zeros(0, np.int16)


def judge(scope: Scope, rules: Sequence[Rule]) -> np.ndarray[Any, np.dtype[np.int16]]:
    """The verdicts of one batch. A row that a rule refuses is not shown to the later ones."""
    verdict = np.zeros(scope.n, np.int16)
    left = np.arange(scope.n)
    for number, rule in enumerate(rules, 1):
        if not len(left):
            break
        mask = truth(scope(rule.expr))
        refused = mask if rule.verb == "drop" else ~mask
        if refused.any():
            verdict[left[refused]] = number
            keep = np.flatnonzero(~refused)
            left = left[keep]
            scope = scope.take(keep)
    return verdict


def sieves(rules: Sequence[Rule]) -> list[Rule]:
    """The rules that refuse rows; `expect` is judged over the totals of the step."""
    return [r for r in rules if r.verb != "expect"]


def reason(rule: Rule) -> str:
    """Why a rule refused a row, as `.dropped` says it."""
    return f"{rule.verb} {rule.text}"


def run_filter(ctx: Context, node: Node, out: Output) -> None:
    spec: FilterSpec = node.spec  # type: ignore[assignment]
    stream = ctx.inputs(node, "from")
    rules = sieves(spec.rules)
    verdict = verdicts(ctx, node.id, stream, rules, out)
    kept = np.flatnonzero(verdict == 0)
    if spec.select is not None:
        sound = kept
        kept = kept[selected(ctx, stream.select(kept), spec.select)]
        out.figures["not_chosen"] = len(sound) - len(kept)
        set_aside(ctx, node, out, stream, np.setdiff1d(sound, kept, assume_unique=True))
    keep_rows(ctx, node, out, stream, kept)
    refuse_rows(ctx, node, out, stream, verdict, rules)


def keep_rows(ctx: Context, node: Node, out: Output, stream: Stream, kept: Positions) -> Stream:
    """Write the port `rows` as a choice among the input's rows."""
    from_ = tuple(edges(node, "from"))
    select = None if len(kept) == stream.n else out.array("kept", kept)
    part = Part(edges=from_, select=select)
    out.figures["rows_in"] = stream.n
    return port(ctx, node, out, "rows", [part], stream.types)


def set_aside(ctx: Context, node: Node, out: Output, stream: Stream, rest: Positions) -> None:
    """Write the port `rest`: the rows that a selection did not choose, as they came in."""
    part = Part(edges=tuple(edges(node, "from")), select=out.array("rest", rest))
    port(ctx, node, out, "rest", [part], stream.types)


def refuse_rows(
    ctx: Context,
    node: Node,
    out: Output,
    stream: Stream,
    verdict: np.ndarray[Any, np.dtype[np.int16]],
    rules: Sequence[Rule],
) -> None:
    """Write the port `dropped`: the refused rows with the rule and its text, in the order of the input."""
    refused = np.flatnonzero(verdict)
    names = pa.array([r.name for r in rules], pa.string())
    texts = pa.array([reason(r) for r in rules], pa.string())
    at = pa.array(verdict[refused].astype(np.int64) - 1)
    table = pa.table({"rule": names.take(at), "reason": texts.take(at)})
    drop(ctx, node, out, stream, refused, table)
    counts = np.bincount(verdict, minlength=len(rules) + 1)[1:]
    out.figures["dropped"] = {r.name: int(c) for r, c in zip(rules, counts, strict=True)}


def drop(ctx: Context, node: Node, out: Output, stream: Stream, refused: Positions, table: pa.Table) -> None:
    """Write the port `dropped`: these input rows with the columns of `table` beside them."""
    from alchemist_runtime.engine.streams import column_type

    extra = {n: column_type(table.schema.field(n).type) + "?" for n in table.column_names}
    part = Part(
        edges=tuple(edges(node, "from")), select=out.array("refused", refused), set=out.write_table("dropped", table)
    )
    port(ctx, node, out, "dropped", [part], {**stream.types, **extra, **_known(extra)})


def _known(extra: dict[str, str]) -> dict[str, str]:
    return {n: t for n, t in DROPPED_COLUMNS.items() if n in extra}


# --- selection --------------------------------------------------------------------------------------------------------


def selected(ctx: Context, stream: Stream, select: Select) -> Positions:
    """Positions of the rows that a selection chooses, ascending."""
    where = truth(values(ctx, stream, select.where)) if select.where is not None else None
    scores = [values(ctx, stream, e).to_numpy(zero_copy_only=False) for e in select.best] or None
    return choose(select, stream.ids(), groups(stream, select.per), scores, where, ctx.plan.seed)


def candidates(ctx: Context, stream: Stream, spec: TeacherStepSpec) -> Positions:
    """Positions of the rows that a teacher may be asked about, ascending."""
    return np.arange(stream.n) if spec.select is None else selected(ctx, stream, spec.select)


def in_draw_order(ctx: Context, stream: Stream, spec: TeacherStepSpec, chosen: Positions) -> Positions:
    """Chosen positions in the order in which they are drawn: of fewer rows the first ones stay the same."""
    select = spec.select or Select(salt=spec.salt)
    order = draw_order(stream.ids()[chosen], ctx.plan.seed, select.salt or spec.salt)
    scores = [values(ctx, stream, e).to_numpy(zero_copy_only=False) for e in select.best]
    return chosen[preference(order, [np.asarray(s)[chosen] for s in scores])]


def groups(stream: Stream, per: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    """A number for each row, equal where the columns are equal; None without columns."""
    number: np.ndarray[Any, np.dtype[np.int64]] | None = None
    for name in per:
        codes = stream.column(name).dictionary_encode().combine_chunks()
        mine = pc.fill_null(codes.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        if number is None:
            number = mine
        else:
            number = np.unique(np.stack([number, mine]), axis=1, return_inverse=True)[1].reshape(-1)
    return number


# --- map --------------------------------------------------------------------------------------------------------------


def set_types(sets: Sequence[SetColumn]) -> dict[str, str]:
    """Types of the columns that assignments give; `messages` gives the turn columns."""
    types: dict[str, str] = {}
    for s in sets:
        types.update(TURN_TYPES if s.column == MESSAGES else {s.column: s.type})
    return types


def assign(scope: Scope, sets: Sequence[SetColumn]) -> dict[str, pa.Array]:
    """The columns that assignments give for one batch; all read the row as it came in."""
    new: dict[str, pa.Array] = {}
    for s in sets:
        if s.column == MESSAGES:
            new.update(split_columns(scope(s.expr)))
        elif required(s.type) == "json":
            new[s.column] = scope.json(s.expr)
        else:
            new[s.column] = _cast(scope(s.expr), arrow_type(s.type))
    return new


def _cast(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type == wanted:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), wanted)
    return array.cast(wanted)


def run_map(ctx: Context, node: Node, out: Output) -> None:
    spec: MapSpec = node.spec  # type: ignore[assignment]
    stream = ctx.inputs(node, "from")
    chosen = selected(ctx, stream, spec.select) if spec.select else None
    work = stream if chosen is None else stream.select(chosen)
    types = set_types(spec.sets)
    schema = pa.schema([(n, arrow_type(t)) for n, t in types.items()])
    done = 0
    with out.table("set", schema) as writer:
        for batch in batches(work, [s.expr for s in spec.sets]):
            new = assign(ctx.scope(batch, stream.types), spec.sets)
            writer.write(pa.RecordBatch.from_arrays([new[n] for n in schema.names], schema=schema))
            done += batch.num_rows
            ctx.progress.advance(node.id, done, work.n, "rows")
    out.figures["rows_in"] = stream.n
    out.figures["chosen"] = work.n
    if spec.mode == "only":
        out.figures["not_chosen"] = stream.n - work.n
    elif spec.mode == "add":
        out.figures["added"] = {"changed copies": work.n}
    parts = _changed(ctx, node, out, stream, chosen, writer.description(), spec)
    port(ctx, node, out, "rows", parts, {**stream.types, **types})
    if chosen is not None:
        set_aside(ctx, node, out, stream, others(stream.n, chosen))


def _changed(
    ctx: Context,
    node: Node,
    out: Output,
    stream: Stream,
    chosen: Positions | None,
    table: dict[str, Any],
    spec: MapSpec,
) -> list[Part]:
    """What leaves the step, by its mode."""
    from_ = tuple(edges(node, "from"))
    if spec.mode == "add":
        picked = np.arange(stream.n) if chosen is None else chosen
        new = copies(stream.select(picked), spec.salt)
        return [Part(edges=from_), _with(out, from_, picked, table, new, node.id)]
    if chosen is None:
        return [Part(edges=from_, set=table)]
    if spec.mode == "only":
        return [Part(edges=from_, select=out.array("chosen", chosen), set=table)]
    return [Part(edges=from_, at=out.array("at", patch_index(stream.n, chosen)), patch=table)]


def others(n: int, chosen: Positions) -> Positions:
    """The positions among n rows that are not chosen."""
    return np.setdiff1d(np.arange(n), chosen, assume_unique=True)


def patch_index(n: int, chosen: Positions) -> Positions:
    """For each of n rows its number among the chosen ones, or -1."""
    at = np.full(n, -1, np.int64)
    at[chosen] = np.arange(len(chosen))
    return at


def copies(stream: Stream, salt: str) -> pa.Table:
    """New identities of changed copies, one of each row: `_id` from the parent, `_parent`, as columns."""
    ids = stream.column("_id").combine_chunks()
    new = derive_ids(stream.ids(), salt, np.zeros(stream.n, np.int64))
    return pa.table({"_id": new, "_parent": ids})


def _with(
    out: Output, from_: tuple[int, ...], picked: Positions, table: dict[str, Any], new: pa.Table, step: str
) -> Part:
    """Changed copies: the columns that were set and the new identities, in one table."""
    from alchemist_runtime.storage.columns import Shards, Stored

    paths = tuple(out.folder / f"{table['table']}-{i:05d}.parquet" for i in range(len(table["rows"])))
    shards = Shards(paths, tuple(table["rows"]))
    for name in shards.schema().names:
        new = new.append_column(name, Stored(shards, name).read(0, shards.n))
    return Part(
        edges=from_, select=out.array("chosen", picked), set=out.write_table("copies", new), constant={"made_by": step}
    )
