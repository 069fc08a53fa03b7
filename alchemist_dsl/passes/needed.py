"""Keeps the blocks that somebody asks for, and what these read."""

from __future__ import annotations

from dataclasses import replace

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import Block, Program
from alchemist_dsl.kinds import KINDS
from alchemist_dsl.passes.options import Options
from alchemist_dsl.passes.reads import NODE_KINDS, reads
from alchemist_dsl.source import Span


def needed(program: Program, options: Options) -> tuple[Program, tuple[Diagnostic, ...]]:
    """Drop nodes and resources that no root reads. With `upto` those blocks are the only roots, and checks that they
    decide stay.
    """
    unknown = [name for name in options.upto if not _is_node(program.blocks.get(name))]
    if unknown:
        return program, tuple(_no_such_node(program, name) for name in unknown)
    kept = _closure(program, _roots(program, options))
    blocks = {name: block for name, block in program.blocks.items() if name in kept or _stays(block, program, kept)}
    return replace(program, blocks=blocks), ()


def _is_node(block: Block | None) -> bool:
    return block is not None and block.kind in NODE_KINDS


def _roots(program: Program, options: Options) -> tuple[str, ...]:
    if options.upto:
        return options.upto
    own = (b for b in program.blocks.values() if "." not in b.name)  # not of an import
    return tuple(b.name for b in own if KINDS[b.kind].root)


def _closure(program: Program, roots: tuple[str, ...]) -> set[str]:
    kept: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept.add(name)
            waiting.extend(reads(program.blocks[name], program))
    return kept


def _stays(block: Block, program: Program, kept: set[str]) -> bool:
    """Declarations stay; a check stays where all that it counts is there anyway."""
    if block.kind == "check":
        return "." not in block.name and all(name in kept for name in reads(block, program))
    return block.kind in ("recipe", "schema", "moved")


def _no_such_node(program: Program, name: str) -> Diagnostic:
    nodes = [b.name for b in program.blocks.values() if b.kind in NODE_KINDS and "." not in b.name]
    return Diagnostic(
        "A912",
        f"the recipe has no step `{name}`",
        Span(program.file.path, 0, 0),
        note="its steps: " + ", ".join(f"`{n}`" for n in nodes) if nodes else None,
    )
