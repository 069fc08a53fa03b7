"""What the language says and this version does not carry out: one answer for the warning, for the plan and for
`compile`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alchemist_runtime.schema.functions import FUNCTIONS

from alchemist_dsl.check.expression_walk import called, expressions
from alchemist_dsl.ir import Attr, Block, ChoiceV, ListV, MethodV, RefV
from alchemist_dsl.kinds import KINDS
from alchemist_dsl.source import Span

if TYPE_CHECKING:
    from alchemist_runtime.schema.registry import Family

    Has = Callable[[Family, str], bool]

#: Values of attributes that check and compile, and that nothing carries out yet.
VALUES: Final[Mapping[tuple[str, str], str]] = {("mixture", "redraw"): "per_epoch", ("train", "average"): "rows"}
#: The family of the components that an attribute names.
_FAMILIES: Final[Mapping[tuple[str, str], Family]] = {
    ("dedup", "method"): "dedup",
    ("decontaminate", "method"): "decontaminate",
    ("measure", "metrics"): "metrics",
}


@dataclass(frozen=True, slots=True)
class Unrun:
    """One reason why a block is not carried out, and where it stands."""

    what: str  # "the method `fuzzy`"
    span: Span


def unrun(block: Block, blocks: Mapping[str, Block], has: Has) -> Iterator[Unrun]:
    """Why this version compiles a block and does not run it; nothing for blocks that it runs."""
    if not KINDS[block.kind].runnable:
        yield Unrun(f"`{block.kind}` blocks", block.name_span)
        return
    for name, attr in block.attrs.items():
        value = VALUES.get((block.kind, name))
        if value is not None and isinstance(attr.value, ChoiceV) and attr.value.name == value:
            yield Unrun(f"`{name} = {value}`", attr.value.span)
        family = _FAMILIES.get((block.kind, name))
        if family is not None:
            yield from (Unrun(f"the method `{m.name}`", m.span) for m in _methods(attr) if not has(family, m.name))
    yield from _functions(block)
    yield from _asked(block, blocks, has)


def _methods(attr: Attr) -> Iterator[MethodV]:
    items = attr.value.items if isinstance(attr.value, ListV) else (attr.value,)
    yield from (m for m in items if isinstance(m, MethodV))


def _functions(block: Block) -> Iterator[Unrun]:
    """Functions that no engine computes, each where it is first called."""
    seen: set[str] = set()
    for expr in expressions(block):
        for name in called(expr.tree):
            function = FUNCTIONS.get(name)
            if function is not None and not function.runs and name not in seen:
                seen.add(name)
                yield Unrun(f"the function `{name}`", expr.span)


def _asked(block: Block, blocks: Mapping[str, Block], has: Has) -> Iterator[Unrun]:
    """Teachers that nothing stands behind."""
    teacher = _referred(block, blocks, "teacher")
    if teacher is not None:
        provider = teacher.get("provider")
        if isinstance(provider, ChoiceV) and not has("teachers", provider.name):
            at = block.attrs["teacher"].value.span
            yield Unrun(f"`provider = {provider.name}`", at)


def _referred(block: Block, blocks: Mapping[str, Block], name: str) -> Block | None:
    value = block.get(name)
    return blocks.get(value.target) if isinstance(value, RefV) else None


__all__ = ["VALUES", "Unrun", "unrun"]
