"""The step mixture: counts of each entry, the draw, the shuffle, and what came of the shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from alchemist_runtime.engine.context import Context
from alchemist_runtime.engine.mixture_counts import EntrySize, MixtureCounts, plan_counts
from alchemist_runtime.engine.mixture_rows import Drawn, draw, realised
from alchemist_runtime.engine.select import draw_order
from alchemist_runtime.engine.streams import Stream
from alchemist_runtime.engine.views import Part, port
from alchemist_runtime.schema.errors import Problem, RunError
from alchemist_runtime.schema.plan import MixtureSpec, Node, Take
from alchemist_runtime.schema.rows import COPY
from alchemist_runtime.storage.store import Output
from alchemist_runtime.train.tokens import Counts, row_tokens


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
