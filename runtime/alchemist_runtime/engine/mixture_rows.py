"""The rows of a mixture: which ones each entry gives, how often, and in which order they stand; and what came of the
shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from alchemist_runtime.engine.context import Context
from alchemist_runtime.engine.mixture_counts import EntrySize, MixtureCounts, plan_counts
from alchemist_runtime.engine.select import Ids, Positions, draw_order, shuffle_order
from alchemist_runtime.engine.streams import Stream
from alchemist_runtime.engine.views import Part, port
from alchemist_runtime.schema.errors import Problem, RunError
from alchemist_runtime.schema.plan import MixtureSpec, Node, Take
from alchemist_runtime.schema.rows import COPY
from alchemist_runtime.storage.store import Output
from alchemist_runtime.train.tokens import Counts, row_tokens


@dataclass(frozen=True, slots=True)
class Drawn:
    """The rows of a mixture in their final order: row i is row `position[i]` of entry `entry[i]`.

    `copy[i]` numbers the occurrences of one id in the mixture, over all entries, so that (id, copy) names a row of it.
    """

    entry: np.ndarray[Any, np.dtype[np.int32]]
    position: Positions
    copy: np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True, slots=True)
class Realised:
    """What came in by one entry from one origin; shares are of the whole mixture, epochs are times the entry's own
    rows.
    """

    entry: str
    origin: str
    rows: int
    tokens: int | None
    share_rows: float
    share_tokens: float | None
    epochs: float


def draw(counts: MixtureCounts, ids: Sequence[Ids], seed: int, salt: str) -> Drawn:
    """The rows of every entry, shuffled. `ids[i]`: those of entry i; what its counts say are its first rows in draw
    order.

    All entries draw by the same hash, so a larger amount keeps the rows of a smaller one, and a renamed entry its rows.
    """
    entries, positions = [], []
    for number, (entry, own) in enumerate(zip(counts.entries, ids, strict=True)):
        if entry.missing or not entry.rows:
            continue
        every = np.tile(np.arange(len(own), dtype=np.int64), entry.copies)
        extra = np.sort(draw_order(own, seed, salt)[: entry.remainder]) if entry.remainder else every[:0]
        chosen = np.concatenate([every, extra])
        positions.append(chosen)
        entries.append(np.full(len(chosen), number, np.int32))
    if not positions:
        nothing = np.zeros(0, np.int64)
        return Drawn(nothing.astype(np.int32), nothing, nothing.astype(np.int32))
    entry_of, position = np.concatenate(entries), np.concatenate(positions)
    all_ids = np.concatenate([ids[e][p] for e, p in _runs(entry_of, position)])
    copy = occurrences(all_ids)
    order = shuffle_order(all_ids, seed, salt, copy)
    return Drawn(entry_of[order], position[order], copy[order])


def _runs(entry_of: np.ndarray[Any, Any], position: Positions) -> list[tuple[int, Positions]]:
    """The positions of each entry, in the order in which the entries stand."""
    starts = np.flatnonzero(np.r_[True, entry_of[1:] != entry_of[:-1]])
    ends = np.r_[starts[1:], len(entry_of)]
    return [(int(entry_of[a]), position[a:b]) for a, b in zip(starts, ends, strict=True)]


def occurrences(ids: Ids) -> np.ndarray[Any, np.dtype[np.int32]]:
    """For each row how often its id stood before it."""
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    ranked = ids[order]
    new = np.ones(len(ids), bool)
    new[1:] = np.any(ranked[1:] != ranked[:-1], axis=1)
    starts = np.flatnonzero(new)
    rank = np.arange(len(ids)) - np.repeat(starts, np.diff(np.r_[starts, len(ids)]))
    out = np.empty(len(ids), np.int32)
    out[order] = rank
    return out


def realised(
    counts: MixtureCounts,
    drawn: Drawn,
    origins: Sequence[np.ndarray[Any, Any]],
    tokens: Sequence[np.ndarray[Any, Any]] | None = None,
) -> tuple[Realised, ...]:
    """Rows and tokens per entry and origin, by entry and then by name. `origins[i]`, `tokens[i]`: of each row of entry
    i.
    """
    total_rows = len(drawn.entry)
    found: list[tuple[str, str, int, int | None, int]] = []
    for number, entry in enumerate(counts.entries):
        mine = drawn.position[drawn.entry == number]
        if not len(mine):
            continue
        names, codes = np.unique(np.asarray(origins[number], dtype=str), return_inverse=True)
        rows = np.bincount(codes[mine], minlength=len(names))
        own = np.bincount(codes, minlength=len(names))
        weights = None if tokens is None else np.asarray(tokens[number], dtype=np.int64)
        for i, name in enumerate(names):
            if rows[i]:
                amount = None if weights is None else int(weights[mine[codes[mine] == i]].sum())
                found.append((entry.name, str(name), int(rows[i]), amount, int(own[i])))
    total_tokens = sum(f[3] or 0 for f in found)
    return tuple(
        Realised(
            entry,
            origin,
            rows,
            amount,
            rows / total_rows,
            None if amount is None or not total_tokens else amount / total_tokens,
            rows / own,
        )
        for entry, origin, rows, amount, own in found
    )


# --- mixture step ----------------------------------------------------------------------------------------------------


def run_mixture(ctx: Context, node: Node, out: Output) -> None:
    spec: MixtureSpec = node.spec  # type: ignore[assignment]
    streams = [ctx.edge(node.inputs[t.edge]) for t in spec.take]
    ids = [s.ids() for s in streams]
    counted = _tokens(ctx, spec, streams)
    sizes = [
        EntrySize(s.n) if t is None else EntrySize.counted(t[draw_order(i, ctx.plan.seed, spec.salt)])
        for s, i, t in zip(streams, ids, counted, strict=True)
    ]
    spec = weighted(spec, sizes)
    counts = plan_counts(spec, sizes, node=node.id)
    drawn = draw(counts, ids, ctx.plan.seed, spec.salt)
    if not len(drawn.entry):
        raise RunError(
            Problem(
                "A608",
                f"`{node.id}` takes no row: its entries are empty",
                node=node.id,
                help="see where the rows went: `alchemist run` prints how many each rule dropped",
            )
        )
    _write(ctx, node, out, spec, streams, drawn)
    _figures(ctx, out, spec, streams, counts, drawn, counted)


def weighted(spec: MixtureSpec, sizes: Sequence[EntrySize]) -> MixtureSpec:
    """With `weights = by_size(temperature = T)`: entry i counts size(i) ** (1 / T) parts, the temperature-scaled mixing
    of multilingual and multi-task training (arXiv 1910.10683, section 3.5.2): 1 is in proportion, larger is more
    even."""
    if spec.weights is None:
        return spec
    temperature = float(Fraction(str(spec.weights.args.get("temperature", "1"))))
    take = [
        replace(t, value=str(Fraction(float(s.stock(spec.unit)) ** (1 / temperature)).limit_denominator(10**6)))
        for t, s in zip(spec.take, sizes, strict=True)
    ]
    return replace(spec, take=take)


def _tokens(ctx: Context, spec: MixtureSpec, streams: list[Stream]) -> list[Counts | None]:
    """Tokens of every row of each entry: where the mixture is one of tokens, or where counting costs nothing."""
    cheap = spec.tokenizer is None or bool(spec.tokenizer.get("bytes"))
    needed = spec.unit == "tokens" or any(t.amount == "tokens" for t in spec.take)
    if not needed and not cheap:
        return [None] * len(streams)
    return [row_tokens(s, spec.tokenizer, ctx.project) for s in streams]


def _write(ctx: Context, node: Node, out: Output, spec: MixtureSpec, streams: list[Stream], drawn: Drawn) -> None:
    """The port `rows`: positions in the entries, one after the other, in the order of the shuffle."""
    starts = np.cumsum([0, *(s.n for s in streams)])
    positions = starts[drawn.entry] + drawn.position
    repeated = bool(drawn.copy.any())
    table = None
    types = dict(Stream.concat(streams).types)
    if repeated:
        table = out.write_table("copies", pa.table({COPY: pa.array(drawn.copy, pa.int64())}))
        types[COPY] = "int"
    part = Part(edges=tuple(t.edge for t in spec.take), select=out.array("order", positions), set=table)
    port(ctx, node, out, "rows", [part], types)


def _figures(
    ctx: Context,
    out: Output,
    spec: MixtureSpec,
    streams: list[Stream],
    counts: MixtureCounts,
    drawn: Drawn,
    counted: list[Counts | None],
) -> None:
    origins = [np.asarray(s.column("origin").to_pylist(), dtype=object) for s in streams]
    known = [c for c in counted if c is not None]
    tokens = known if len(known) == len(streams) else None
    by_origin = realised(counts, drawn, origins, tokens)
    entries: list[dict[str, Any]] = []
    for take, entry in zip(spec.take, counts.entries, strict=True):
        mine = [r for r in by_origin if r.entry == entry.name]
        entries.append(
            {
                "name": entry.name,
                "asked": asked(take),
                "has": entry.has,
                "rows": entry.rows,
                "tokens": sum(r.tokens or 0 for r in mine) if tokens is not None else None,
                "epochs": float(entry.epochs),
                "short": entry.short,
                "missing": entry.missing,
                "origins": {r.origin: r.rows for r in mine},
            }
        )
    out.figures["rows_in"] = sum(s.n for s in streams)
    out.figures["rows"] = len(drawn.entry)
    out.figures["entries"] = entries
    out.figures["not_taken"] = sum(max(e["has"] - e["rows"], 0) for e in entries)
    out.figures["added"] = {"repeated": sum(max(e["rows"] - e["has"], 0) for e in entries)}
    out.figures["covered"] = str(counts.covered)
    if tokens is not None:
        out.figures["tokens"] = sum(e["tokens"] for e in entries)
        out.figures["tokens_by"] = "characters / 4" if spec.tokenizer is None else "tokenizer"


def asked(take: Take) -> str:
    """The amount of an entry as it was asked for, for tables."""
    value: Any = Fraction(take.value) if take.value is not None else None
    match take.amount:
        case "share":
            return f"{float(value * 100):g}%"
        case "parts":
            return f"{float(value):g} parts"
        case "multiplier":
            return f"{float(value):g}x"
        case "rows" | "tokens":
            return f"{int(value):,} {take.amount}"
        case _:
            return take.amount
