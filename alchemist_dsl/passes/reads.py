"""Which blocks a block reads: streams, teachers, prompts, suites, models, and what its expectations count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alchemist_dsl.ir import Block, ListV, Program, RecordV, RefV, Value
from alchemist_dsl.kinds import KINDS

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
