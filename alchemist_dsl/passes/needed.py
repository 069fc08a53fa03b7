"""Keeps the blocks that somebody asks for, and what these read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import Block, ListV, Program, RecordV, RefV, Value
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


# --- reads -----------------------------------------------------------------------------------------------------------

#: Kinds that become nodes of a plan; the others are resources, declarations or promises.
NODE_KINDS = frozenset(
    name for name, kind in KINDS.items() if kind.stream or name in ("export", "train", "evaluate", "measure")
)


def references(value: Value) -> Iterator[RefV]:
    """Every reference in a value, in the order in which they are written."""
    match value:
        case RefV():
            yield value
        case ListV(items=items):
            for item in items:
                yield from references(item)
        case RecordV(fields=fields):
            for item in fields.values():
                yield from references(item)


def counted(tree: Any) -> Iterator[str]:
    """Names of the blocks whose streams an expression counts: `["ref", NODE, PORT, ORIGIN]`."""
    if isinstance(tree, dict):
        for part in tree.values():
            yield from counted(part)
    elif isinstance(tree, list):
        if len(tree) == 4 and tree[0] == "ref":
            yield tree[1]
        elif tree and tree[0] != "lit":
            for part in tree[1:]:
                yield from counted(part)


def reads(block: Block, program: Program) -> tuple[str, ...]:
    """Names of the blocks that this one needs, without repeats, in the order in which they are written.

    A step that asks with a prompt also reads the prompt's examples."""
    names: dict[str, None] = {}
    for ref in block.inputs:
        names[ref.target] = None
    for name, attr in block.attrs.items():
        if name != "extends":
            names.update(dict.fromkeys(ref.target for ref in references(attr.value)))
    for rule in block.rules:
        names.update(dict.fromkeys(counted(rule.expr.tree)))
    for target in tuple(names):
        used = program.blocks.get(target)
        if used is not None and used.kind == "prompt":
            names.update(dict.fromkeys(reads(used, program)))
    names.pop(block.name, None)
    return tuple(name for name in names if name in program.blocks)


# --- options ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Options:
    """`upto`: build only these blocks and what they read. `limit`: rows of lowest hash of each source."""

    upto: tuple[str, ...] = ()
    limit: int | None = None
    variant: str | None = None
