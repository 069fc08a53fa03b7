"""Says which blocks check and compile and are not carried out by this version, and what is not built for that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from alchemist_dsl import ir
from alchemist_dsl.check.context import World, shown
from alchemist_dsl.check.problems import listed
from alchemist_dsl.check.unsupported import unrun
from alchemist_dsl.kinds import KINDS

#: Kinds that a run builds.
_BUILT: Final = frozenset(k for k, kind in KINDS.items() if kind.stream or k in ("export", "train"))


def apply(own: Iterable[ir.Block], world: World) -> None:
    """Say which blocks this version does not carry out, and what is not built for that."""
    from alchemist_runtime.schema.catalog import has

    own = list(own)
    _elsewhere({b.name for b in own}, own, world)
    for block in own:
        if block.poisoned:
            continue
        _no_upload(block, world)
        for reason in unrun(block, world.blocks, has):
            waiting = _waiting(block, world)
            headline = f"this version compiles {reason.what}, but does not run {_them(reason.what)}"
            label = f"so `{block.name}` is not built"
            at = reason.span
            if not (at.file == block.span.file and block.span.start <= at.start < block.span.end):
                headline = f"`{block.name}` takes over {reason.what}, which this version compiles but does not run"
                at, label = block.name_span, "so it is not built"
            world.problems.add(
                "A807",
                headline,
                at,
                label="" if at == block.name_span == reason.span else label,
                note=f"nor is what needs it: {listed(waiting)}" if waiting else None,
            )


def _elsewhere(names: set[str], own: Iterable[ir.Block], world: World) -> None:
    """What an own block takes from an import, where that needs something that is not run: told where it is taken."""
    from alchemist_runtime.schema.catalog import has

    stuck: dict[str, str] = {}  # block of an import -> what is not run
    for key in world.order:
        block = world.blocks.get(key)
        if block is None or key in names:
            continue
        reason = next(unrun(block, world.blocks, has), None)
        known = [stuck[r.target] for r in block.inputs if r.target in stuck]
        if reason is not None:
            known.insert(0, reason.what)
        if known:
            stuck[key] = known[0]
    for block in own:
        for ref in block.inputs:
            if ref.target in stuck and ref.span.file == block.span.file:
                world.problems.add(
                    "A807",
                    f"`{shown(ref)}` is not built: it needs {stuck[ref.target]}, which this version does not run",
                    ref.span,
                    label=f"so `{block.name}` is not built",
                )


def _them(what: str) -> str:
    return "them" if what.endswith("blocks") else "it"


def _waiting(block: ir.Block, world: World) -> list[str]:
    """The own blocks that read a block, directly or through others, at most four."""
    after = {block.name}
    order = [world.blocks[k] for k in world.order if k in world.blocks]
    for other in order:
        if any(r.target in after for r in other.inputs) and other.kind in _BUILT:
            after.add(other.name)
    return [b.name for b in order if b.name in after and b.name != block.name][:4]


def _no_upload(block: ir.Block, world: World) -> None:
    hub = block.get("hub")
    if block.kind == "export" and hub is not None:
        made = block.get("path") is not None
        world.problems.add(
            "A807",
            f"`{block.name}` is {'written to its folder' if made else 'made'}, but this version does not send it to"
            " the hub",
            hub.span,
            label="not sent",
            help=(
                "send the folder yourself: it has a dataset card and is laid out as the hub reads it"
                if made
                else "give it a `path`, and send that folder yourself"
            ),
        )
