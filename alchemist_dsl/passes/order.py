"""Puts every block after the blocks that it reads; among those that could come next, the name decides."""

from __future__ import annotations

from dataclasses import replace
from heapq import heapify, heappop, heappush

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import Program
from alchemist_dsl.passes.needed import Options, reads


def order(program: Program, options: Options) -> tuple[Program, tuple[Diagnostic, ...]]:
    """Sort the blocks topologically. The checker has already refused cycles."""
    waits = {name: set(reads(block, program)) for name, block in program.blocks.items()}
    readers: dict[str, list[str]] = {name: [] for name in waits}
    for name, targets in waits.items():
        for target in targets:
            readers[target].append(name)
    ready = [name for name, targets in waits.items() if not targets]
    heapify(ready)
    sorted_names: list[str] = []
    while ready:
        name = heappop(ready)
        sorted_names.append(name)
        for reader in readers[name]:
            waits[reader].discard(name)
            if not waits[reader]:
                heappush(ready, reader)
    blocks = {name: program.blocks[name] for name in sorted_names}
    return replace(program, blocks=blocks), ()
