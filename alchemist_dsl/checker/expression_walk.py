"""Walks through what a checked block computes: its expressions, and the functions that they call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alchemist_dsl.ir import Block, ExprV, ListV, SelectV, Value


def expressions(block: Block) -> Iterator[ExprV]:
    """Every expression of a block that decides bytes."""
    yield from (s.expr for s in block.sets)
    yield from (r.expr for r in block.rules if r.verb != "expect")
    yield from block.prompt_inputs.values()
    for attr in block.attrs.values():
        yield from _inside(attr.value)


def _inside(value: Value) -> Iterator[ExprV]:
    match value:
        case ExprV():
            yield value
        case SelectV(where=where, best=best):
            yield from (e for e in (where, *best) if e is not None)
        case ListV(items=items):
            for item in items:
                yield from _inside(item)


def named(tree: Any) -> Iterator[str]:
    """Names of the columns that an expression reads."""
    if isinstance(tree, dict):
        for part in tree.values():
            yield from named(part)
    elif isinstance(tree, list) and tree and tree[0] != "lit":
        if tree[0] == "col":
            yield tree[1]
        for part in tree[2] if tree[0] == "template" else ():
            yield part
        for part in tree[1:]:
            yield from named(part)


def called(tree: Any) -> Iterator[str]:
    """Names of the functions that an expression calls."""
    if isinstance(tree, dict):
        for part in tree.values():
            yield from called(part)
    elif isinstance(tree, list) and tree and tree[0] != "lit":
        if tree[0] == "call":
            yield tree[1]
        for part in tree[1:]:
            yield from called(part)
