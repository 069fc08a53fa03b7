"""Gives every block that draws or makes ids its salt, so that a rename with `moved` keeps both."""

from __future__ import annotations

from dataclasses import replace

from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import Attr, Block, ChoiceV, Program, TextV, Value
from alchemist_dsl.passes.needed import Options


def salts(program: Program, options: Options) -> tuple[Program, tuple[Diagnostic, ...]]:
    """Fill in `salt`: as written, else the oldest name that `moved` blocks lead back to, else the name."""
    before = _moves(program)
    blocks = {
        name: _salted(block, _first_name(name, before)) if "salt" in KINDS[block.kind].attributes else block
        for name, block in program.blocks.items()
    }
    return replace(program, blocks=blocks), ()


def _salted(block: Block, name: str) -> Block:
    if block.get("salt") is not None:
        return block
    salt = Attr("salt", TextV(block.name_span, name), block.name_span, "default")
    return replace(block, attrs={**block.attrs, "salt": salt})


def _moves(program: Program) -> dict[str, str]:
    """New name -> old name."""
    moved = (b for b in program.blocks.values() if b.kind == "moved")
    pairs = ((_name(b.get("to")), _name(b.get("from"))) for b in moved)
    return {new: old for new, old in pairs if new and old}


def _name(value: Value | None) -> str | None:
    match value:
        case TextV(value=name) | ChoiceV(name=name):
            return name
        case _:
            return getattr(value, "target", None)


def _first_name(name: str, before: dict[str, str]) -> str:
    seen = {name}
    while name in before and before[name] not in seen:
        name = before[name]
        seen.add(name)
    return name
