"""What the language says and this version does not carry out: one answer for the warning, for the plan and for
`compile`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alchemist_runtime.schema.functions import FUNCTIONS

from alchemist_dsl import ir
from alchemist_dsl.checker.context import Context, shown
from alchemist_dsl.checker.expressions import called, expressions
from alchemist_dsl.checker.problems import listed
from alchemist_dsl.ir import Attr, Block, ChoiceV, ListV, MethodV, RefV
from alchemist_dsl.source import Span

if TYPE_CHECKING:
    from alchemist_runtime.schema.registry import Family

    Has = Callable[[Family, str], bool]


@dataclass(frozen=True, slots=True)
class Unrun:
    """One reason why a block is not carried out, and where it stands."""

    what: str  # "the method `fuzzy`"
    span: Span


def unrun(block: Block, blocks: Mapping[str, Block], has: Has) -> Iterator[Unrun]:
    """Why this version compiles a block and does not run it; nothing for blocks that it runs."""
    if not block.declared.runnable:
        yield Unrun(f"`{block.kind}` blocks", block.name_span)
        return
    for name, attr in block.attrs.items():
        declared = block.declared.attributes[name]
        if declared.unsupported is not None and block.word(name) == declared.unsupported:
            yield Unrun(f"`{name} = {declared.unsupported}`", attr.value.span)
        family: Family | None = declared.family  # type: ignore[assignment]
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


# --- unsupported blocks ----------------------------------------------------------------------------------------------


def apply(own: Iterable[ir.Block], context: Context) -> None:
    """Say which blocks this version does not carry out, and what is not built for that."""
    from alchemist_runtime.schema.catalog import has

    own = list(own)
    _elsewhere({b.name for b in own}, own, context)
    for block in own:
        if block.poisoned:
            continue
        _no_upload(block, context)
        for reason in unrun(block, context.blocks, has):
            waiting = _waiting(block, context)
            headline = f"this version compiles {reason.what}, but does not run {_them(reason.what)}"
            label = f"so `{block.name}` is not built"
            at = reason.span
            if not (at.file == block.span.file and block.span.start <= at.start < block.span.end):
                headline = f"`{block.name}` takes over {reason.what}, which this version compiles but does not run"
                at, label = block.name_span, "so it is not built"
            context.problems.add(
                "A807",
                headline,
                at,
                label="" if at == block.name_span == reason.span else label,
                note=f"nor is what needs it: {listed(waiting)}" if waiting else None,
            )


def _elsewhere(names: set[str], own: Iterable[ir.Block], context: Context) -> None:
    """What an own block takes from an import, where that needs something that is not run: told where it is taken."""
    from alchemist_runtime.schema.catalog import has

    stuck: dict[str, str] = {}  # block of an import -> what is not run
    for key in context.order:
        block = context.blocks.get(key)
        if block is None or key in names:
            continue
        reason = next(unrun(block, context.blocks, has), None)
        known = [stuck[r.target] for r in block.inputs if r.target in stuck]
        if reason is not None:
            known.insert(0, reason.what)
        if known:
            stuck[key] = known[0]
    for block in own:
        for ref in block.inputs:
            if ref.target in stuck and ref.span.file == block.span.file:
                context.problems.add(
                    "A807",
                    f"`{shown(ref)}` is not built: it needs {stuck[ref.target]}, which this version does not run",
                    ref.span,
                    label=f"so `{block.name}` is not built",
                )


def _them(what: str) -> str:
    return "them" if what.endswith("blocks") else "it"


def _waiting(block: ir.Block, context: Context) -> list[str]:
    """The own blocks that read a block, directly or through others, at most four."""
    after = {block.name}
    order = [context.blocks[k] for k in context.order if k in context.blocks]
    for other in order:
        if any(r.target in after for r in other.inputs) and (other.declared.stream or other.declared.sink):
            after.add(other.name)
    return [b.name for b in order if b.name in after and b.name != block.name][:4]


def _no_upload(block: ir.Block, context: Context) -> None:
    hub = block.get("hub")
    if block.declared.sink and hub is not None:
        result = block.get("path") is not None
        context.problems.add(
            "A807",
            f"`{block.name}` is {'written to its folder' if result else 'made'}, but this version does not send it to"
            " the hub",
            hub.span,
            label="not sent",
            help=(
                "send the folder yourself: it has a dataset card and is laid out as the hub reads it"
                if result
                else "give it a `path`, and send that folder yourself"
            ),
        )
