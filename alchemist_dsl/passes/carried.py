"""Which blocks a run of this version reads or makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl.check.unsupported import unrun
from alchemist_dsl.ir import Program
from alchemist_dsl.passes.needed import reads

if TYPE_CHECKING:
    from alchemist_dsl.check.unsupported import Has


def carried_out(program: Program, has: Has, upto: Sequence[str] = ()) -> set[str]:
    """Names of the blocks that a run can carry out and that a sink of the run needs, or one of `upto`."""
    needs = {name: reads(block, program) for name, block in program.blocks.items()}
    stuck = {n for n, b in program.blocks.items() if next(unrun(b, program.blocks, has), None)}
    waiting = list(stuck)
    while waiting:
        gone = waiting.pop()
        after = {name for name, read in needs.items() if gone in read} - stuck
        stuck |= after
        waiting.extend(after)
    kept: set[str] = set()
    roots = upto or [n for n, b in program.blocks.items() if KINDS[b.kind].root]
    ends = [n for n in roots if n not in stuck]
    while ends:
        name = ends.pop()
        if name not in kept:
            kept.add(name)
            ends.extend(needs[name])
    return kept
