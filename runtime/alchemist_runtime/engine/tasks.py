"""Comprehension tasks: the rows of a port, most often a trace or the refused rows, become questions about them.

A task row has the turns and `lang`, a new id, and the origin of the row that it tells of. For a multiple choice the
classes of refused rows are the options, in an order drawn per row, and sound rows have the answer "none of these".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.context import Context
from alchemist_runtime.engine.filter_map import selected
from alchemist_runtime.engine.select import Ids, derive_ids, draw_order, hashes, ids_to_u64, splitmix64
from alchemist_runtime.engine.streams import Stream, arrow_type
from alchemist_runtime.engine.turns import columns_for, with_messages
from alchemist_runtime.engine.views import Part, port
from alchemist_runtime.schema.codes import Problem
from alchemist_runtime.schema.expressions import columns_read
from alchemist_runtime.schema.plan import Expr, Node, TaskSpec
from alchemist_runtime.schema.rows import DROPPED_COLUMNS, IDENTITY_TYPES
from alchemist_runtime.storage.store import Output

Numbers = np.ndarray[Any, np.dtype[np.int64]]
NONE = "none of these"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ROWS = 8_192
TYPES = {
    **IDENTITY_TYPES,
    "system": "text?",
    "instruction": "text",
    "response": "text",
    "history": "messages?",
    "lang": "text?",
}
#: Rows of which a turn came out without text.
REFUSED = {**TYPES, **DROPPED_COLUMNS}
#: Columns that a template sees beside those of the port, in a multiple choice.
CHOICE = {
    "options": "list<text>",  # in the order of this row
    "letters": "list<text>",
    "letter": "text",  # of the right option
    "answer": "text",  # letter and text of the right option
    "classes": "list<text>",  # as declared
}


@dataclass(frozen=True, slots=True)
class Told:
    """Rows that a task tells of: a stream, the number of the right option of each row, and a mark for new ids."""

    stream: Stream
    right: Numbers | None
    samples: Numbers


def run_task(ctx: Context, node: Node, out: Output) -> None:
    """Write the task's rows, in the order of the port, those about sound rows after them."""
    spec: TaskSpec = node.spec  # type: ignore[assignment]
    learn = ctx.inputs(node, "learn")
    figures: dict[str, Any] = {"rows_in": learn.n}
    reported = _told(ctx, node, spec, learn, figures)
    total, done, empty = sum(t.stream.n for t in reported), 0, 0
    schema, refused_schema = (pa.schema([(n, arrow_type(t)) for n, t in types.items()]) for types in (TYPES, REFUSED))
    with out.table("rows", schema) as writer, out.table("empty", refused_schema) as refused:
        for part in reported:
            for result in _rows(ctx, node, spec, part):
                whole = _whole(result)
                writer.write(result.filter(whole))
                without = result.filter(pc.invert(whole))
                if without.num_rows:
                    refused.write(_refused(without, refused_schema))
                empty += without.num_rows
                done += result.num_rows
                ctx.progress.advance(node.id, done, total, "rows")
    port(ctx, node, out, "rows", [Part(stored=writer.description())], TYPES)
    port(ctx, node, out, "dropped", [Part(stored=refused.description())], REFUSED)
    out.figures.update(figures, dropped={"empty": empty})


# --- what is told of --------------------------------------------------------------------------------------------------


def _told(ctx: Context, node: Node, spec: TaskSpec, learn: Stream, figures: dict[str, Any]) -> list[Told]:
    if not spec.classes:
        if spec.select is not None:
            chosen = selected(ctx, learn, spec.select)
            figures["not_chosen"] = learn.n - len(chosen)
            learn = learn.select(chosen)
        return [Told(learn, None, _ordinals(learn) * 2)]
    refused = learn.ids()
    learn, classes = _classed(spec, learn, figures)
    if spec.select is not None:
        chosen = selected(ctx, learn, spec.select)
        figures["not_chosen"] = learn.n - len(chosen)
        learn, classes = learn.select(chosen), classes[chosen]
    figures["per_class"] = {
        c["name"]: int(n) for c, n in zip(spec.classes, np.bincount(classes, minlength=len(spec.classes)), strict=True)
    }
    out = [Told(learn, classes, _ordinals(learn) * 2)]
    if spec.sound is not None:
        sound = _sound(ctx, node, spec, learn.n, refused)
        figures["sound"] = sound.n
        figures["added"] = {"sound rows": sound.n}
        none = np.full(sound.n, len(spec.classes), np.int64)
        out.append(Told(sound, none, _ordinals(sound) * 2 + 1))
    return out


def _classed(spec: TaskSpec, learn: Stream, figures: dict[str, Any]) -> tuple[Stream, Numbers]:
    """The rows whose rule stands in a class, and the number of that class."""
    number = {rule: i for i, c in enumerate(spec.classes) for rule in c["rules"]}
    codes = learn.column("rule").combine_chunks().dictionary_encode()
    of_code = [number.get(rule, -1) for rule in codes.dictionary.to_pylist()]
    indices = pc.fill_null(codes.indices, len(of_code)).to_numpy(zero_copy_only=False)
    classes = np.array([*of_code, -1], np.int64)[indices]
    there = np.flatnonzero(classes >= 0)
    figures["in_no_class"] = learn.n - len(there)
    return learn.select(there), classes[there]


def _sound(ctx: Context, node: Node, spec: TaskSpec, defects: int, refused: Ids) -> Stream:
    """So many sound rows that they are the wanted share of all, the first in the order of their draw.

    A teacher step that replaces keeps a row whose answer was refused: such a row is not sound."""
    share = Fraction(spec.sound or 0)
    rows = ctx.inputs(node, "sound")
    rows = rows.select(np.flatnonzero(~_among(rows.ids(), refused)))
    wanted = round(defects * share / (1 - share)) if share < 1 else rows.n
    if wanted > rows.n:
        ctx.progress.warn(
            Problem(
                "A602",
                f"`{node.id}` has {rows.n:,} sound rows and wants {wanted:,}, {share} of its rows",
                node=node.id,
                help="all of them are taken; lower `sound`, or `select` fewer rows",
                severity="warning",
            )
        )
    order = draw_order(rows.ids(), ctx.plan.seed, f"sound {spec.salt}")
    return rows.select(np.sort(order[:wanted]))


def _among(ids: Ids, others: Ids) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """For each id whether it is among others."""
    wide = np.dtype((np.void, 16))
    a, b = (np.ascontiguousarray(x, ">u8").view(wide).reshape(-1) for x in (ids, others))
    return np.isin(a, b)


def _ordinals(stream: Stream) -> Numbers:
    """The number of each row among the rows with its id: a port may tell of one row twice."""
    ids = stream.ids()
    _, inverse = np.unique(ids, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    ranked = inverse[order]
    first = np.searchsorted(ranked, ranked, side="left")
    out = np.empty(len(ids), np.int64)
    out[order] = np.arange(len(ids)) - first
    return out


# --- the rows ---------------------------------------------------------------------------------------------------------


def _rows(ctx: Context, node: Node, spec: TaskSpec, reported: Told) -> Iterator[pa.RecordBatch]:
    exprs = [e for e in (spec.system, spec.instruction, spec.response, spec.lang) if e is not None]
    wanted = sorted(frozenset().union(*(_reads(e) for e in exprs)))
    names = list(dict.fromkeys([*IDENTITY_TYPES, *columns_for(reported.stream, wanted)]))
    types = {**reported.stream.types, **CHOICE, "lang": "text?"}
    at = 0
    for batch in reported.stream.batches([n for n in names if n in reported.stream.types], size=ROWS):
        until = at + batch.num_rows
        batch = with_messages(batch, wanted)
        batch = _with_lang(ctx, batch, types, spec)
        if reported.right is not None:
            batch = _with_options(ctx, batch, spec, reported.right[at:until])
        yield _made(ctx, node, batch, types, spec, reported.samples[at:until])
        at = until


def _reads(expr: Expr) -> frozenset[str]:
    """Columns that a task's template reads: here `out` is a column of a trace."""
    names = columns_read(expr)
    return names | {"out"} if expr[0] == "template" and "out" in expr[2] else names


def _with_lang(ctx: Context, batch: pa.RecordBatch, types: dict[str, str], spec: TaskSpec) -> pa.RecordBatch:
    lang = pa.nulls(batch.num_rows, pa.string())
    if spec.lang is not None:
        found = ctx.scope(batch, types)(spec.lang)
        lang = found if found.type == pa.string() else found.cast(pa.string())
    return _put(batch, "lang", lang)


def _with_options(ctx: Context, batch: pa.RecordBatch, spec: TaskSpec, right: Numbers) -> pa.RecordBatch:
    """The options of each row in the order drawn for it, their letters, and the right one."""
    texts = [c["text"] for c in spec.classes] + ([NONE] if spec.sound is not None else [])
    order = _drawn(batch.column("_id"), len(texts), ctx.plan.seed, spec.salt)
    place = np.argsort(order, axis=1)[np.arange(len(right)), right]
    options = pa.array([[texts[i] for i in row] for row in order.tolist()], pa.list_(pa.string()))
    n, text = len(right), pa.string()
    letter = [LETTERS[p] for p in place.tolist()]
    answer = [f"{a}. {texts[r]}" for a, r in zip(letter, right.tolist(), strict=True)]
    provided = {
        "options": options,
        "letters": pa.array([list(LETTERS[: len(texts)])] * n, pa.list_(text)),
        "letter": pa.array(letter, text),
        "answer": pa.array(answer, text),
        "classes": pa.array([[c["text"] for c in spec.classes]] * n, pa.list_(text)),
    }
    for name, array in provided.items():
        batch = _put(batch, name, array)
    return batch


def _drawn(ids: pa.Array, options: int, seed: int, salt: str) -> Numbers:
    """For each row a permutation of the options, by hash of its id."""
    u = hashes(ids_to_u64(ids), seed, f"options {salt}")
    keys = np.stack([splitmix64(u ^ np.uint64(k + 1)) for k in range(options)], axis=1)
    return np.argsort(keys, axis=1, kind="stable")


def _put(batch: pa.RecordBatch, name: str, array: pa.Array) -> pa.RecordBatch:
    at = batch.schema.get_field_index(name)
    if at >= 0:
        return batch.set_column(at, pa.field(name, array.type), array)
    return batch.append_column(name, array)


def _made(
    ctx: Context, node: Node, batch: pa.RecordBatch, types: dict[str, str], spec: TaskSpec, samples: Numbers
) -> pa.RecordBatch:
    scope = ctx.scope(batch, types)
    n, parents = batch.num_rows, batch.column("_id")

    def turn(expr: Expr | None) -> pa.Array:
        if expr is None:
            return pa.nulls(n, pa.string())
        return pc.utf8_trim_whitespace(scope(expr).cast(pa.string()))

    columns: dict[str, Any] = {
        "_id": derive_ids(ids_to_u64(parents), spec.salt, samples),
        "_parent": parents,
        "_root": batch.column("_root"),
        "origin": batch.column("origin"),
        "made_by": pa.array([node.id] * n, pa.string()),
        "system": turn(spec.system),
        "instruction": turn(spec.instruction),
        "response": turn(spec.response),
        "history": pa.nulls(n, arrow_type("messages")),
        "lang": batch.column("lang"),
    }
    arrays: Sequence[pa.Array] = [columns[name] for name in TYPES]
    return pa.RecordBatch.from_arrays(arrays, names=list(TYPES))


def _whole(result: pa.RecordBatch) -> pa.Array:
    """Rows with both an instruction and a response."""
    both = [pc.greater(pc.utf8_length(result.column(c)), 0) for c in ("instruction", "response")]
    return pc.fill_null(pc.and_(*both), False)


def _refused(result: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Rows without text as `.dropped` keeps them."""
    requested = pc.fill_null(pc.greater(pc.utf8_length(result.column("instruction")), 0), False)
    reason = pc.if_else(requested, "the response came out empty", "the instruction came out empty")
    more = {"rule": pa.array(["empty"] * result.num_rows, pa.string()), "reason": reason}
    arrays = [more[f.name] if f.name in more else result.column(f.name) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
