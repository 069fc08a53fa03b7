"""Teacher steps whose rows only a mixture reads are asked for as many rows as it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import Attr, Block, ChoiceV, EntryV, Program, Qty, RefV
from alchemist_dsl.passes.needed import Options, needed, reads


def demand(program: Program, options: Options) -> tuple[Program, tuple[Diagnostic, ...]]:
    """Fill in `accept` where it is not written: what one entry of one mixture takes, if nothing else reads the step.

    Only an amount that is known before any row is: rows, or a share of a total in rows. Where a step stands between
    that may leave rows out, nobody knows how many it needs."""
    whole, _ = needed(program, Options())  # what `upto` leaves out reads all the same
    blocks = dict(program.blocks)
    for mixture in (b for b in whole.blocks.values() if b.kind == "mixture"):
        for entry, rows in _amounts(mixture):
            step = _source_of(entry.stream, whole, mixture)
            if step is not None:
                value = Qty(entry.span, "rows", Fraction(rows), f"{rows} rows")
                accept = Attr("accept", value, entry.span, "default")
                blocks[step.name] = replace(step, attrs={**step.attrs, "accept": accept})
    return replace(program, blocks=blocks), ()


def _amounts(mixture: Block) -> Iterator[tuple[EntryV, int]]:
    """Entries with the most rows that they can take, where that is known."""
    total, redraw = mixture.get("total"), mixture.get("redraw")
    if redraw is not None and getattr(redraw, "name", "") == "per_epoch":
        return  # every epoch draws others
    whole = total.value if isinstance(total, Qty) and total.kind == "rows" else None
    if any(e.missing for e in mixture.entries):
        whole = None  # the others grow
    for entry in mixture.entries:
        if entry.value and entry.amount == "rows":
            yield entry, math.ceil(entry.value)
        elif entry.value and entry.amount == "share" and whole is not None:
            yield entry, math.ceil(entry.value * whole)


def _source_of(stream: RefV, program: Program, reader: Block) -> Block | None:
    """The teacher step that an entry draws on, through steps that pass every row on; None where something else reads it
    too.
    """
    if stream.port != "rows" or stream.origin is not None:
        return None
    block = program.blocks[stream.target]
    if not _only_reader(block, reader, program):
        return None
    if block.kind in ("generate", "relabel") and _mode(block) == "only":
        known = block.get("accept") is not None or any(r.verb == "expect" for r in block.rules)
        return None if known else block
    passes = block.kind == "map" or (block.kind == "relabel" and _mode(block) == "replace")
    if passes and not block.rules and len(block.inputs) == 1 and _mode(block) == "replace":
        return _source_of(block.inputs[0], program, block)
    return None


def _only_reader(block: Block, reader: Block, program: Program) -> bool:
    """Whether only one block reads another, and once; a unit test brings rows of its own."""
    readers = [
        b.name
        for b in program.blocks.values()
        if b.kind not in ("test", "moved", "variant") and block.name in reads(b, program)
    ]
    streams = [*(e.stream for e in reader.entries), *(() if reader.entries else reader.inputs)]
    return readers == [reader.name] and sum(s.target == block.name for s in streams) == 1


def _mode(block: Block) -> str | None:
    value = block.get("mode")
    return value.name if isinstance(value, ChoiceV) else None
