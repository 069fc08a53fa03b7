"""Names that may stand at a position: blocks of the right kind, members of imports, ports, sources and parameters."""

from __future__ import annotations

from collections.abc import Iterator

from alchemist_runtime.schema.attributes import AttrType
from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl import ir
from alchemist_dsl.checker.names import Decl, Scope
from alchemist_dsl.lsp.analysis import Analysis
from alchemist_dsl.lsp.context import Frame
from alchemist_dsl.lsp.items import Item, K, item

_PORTS = {
    "dropped": "the rows that it refused",
    "trace": "one row per accepted answer",
    "rest": "the rows that `select` did not choose",
    "train": "the rows to learn from",
    "eval": "the rows that are held out",
    "rows": "its rows",
}


def references(analysis: Analysis, type_: AttrType, block: Frame, suffix: str = "") -> Iterator[Item]:
    """Blocks that a reference may name, here and in imports; never the block itself."""
    for decl in analysis.scope.decls.values():
        own = decl.kind == block.name and decl.name == block.title
        if not own and _fits(decl, type_, block):
            yield _declared(decl, decl.name, "1", suffix)
    for alias in analysis.scope.aliases.values():
        members_ = [d for d in _decls(alias.scope) if _fits(d, type_, block)]
        for decl in members_:
            yield _declared(decl, f"{alias.name}.{decl.name}", "2", suffix)
    if type_.name == "ref" and "schema" in type_.names:
        yield item("sft", K.Class, "the schema of a training row", sort="2")


def _decls(scope: Scope | None) -> list[Decl]:
    return [] if scope is None else list(scope.decls.values())


def _fits(decl: Decl, type_: AttrType, block: Frame) -> bool:
    if type_.name == "stream":
        return KINDS[decl.kind].stream
    if type_.names == ("same",):
        return decl.kind == block.name
    return type_.names == ("any",) or decl.kind in type_.names


def _declared(decl: Decl, label: str, sort: str, suffix: str = "") -> Item:
    return item(label, K.Reference, decl.kind, decl.block.doc or "", label + suffix if suffix else "", sort)


def members(analysis: Analysis, path: tuple[str, ...], type_: AttrType) -> Iterator[Item]:
    """What may follow `a.b.`: a parameter, a block of an import, a port, or a source whose rows come in."""
    if not path:
        return
    if path[0] == "param" and len(path) == 1:
        for name, param in analysis.scope.params.items():
            yield item(name, K.Variable, param.decl.type.text, param.decl.doc or "")
        return
    scope, rest = analysis.scope, path
    alias = scope.aliases.get(path[0])
    if alias is not None and path[0] not in scope.decls:
        if len(path) == 1:
            for decl in _decls(alias.scope):
                if type_.name == "literal" or _fits(decl, type_, Frame("block")):
                    yield _declared(decl, decl.name, "1")
            return
        if alias.scope is None:
            return
        scope, rest = alias.scope, path[1:]
    found = scope.decls.get(rest[0])
    if found is not None and KINDS[found.kind].stream and type_.name == "stream":
        yield from _ports(analysis, found, rest[1:])


def _ports(analysis: Analysis, decl: Decl, after: tuple[str, ...]) -> Iterator[Item]:
    ports = KINDS[decl.kind].ports
    if not after:
        for port in ports:
            if port != "rows":
                yield item(port, K.Interface, _PORTS[port], sort="1")
    port = after[0] if after and after[0] in ports else "rows"
    if len(after) > 1 or (after and after[0] not in ports):
        return
    stream = analysis.context.streams.get((decl.key, port))
    origins = stream.origins if stream is not None else frozenset()
    if (stream is not None and stream.lost) or not origins:
        sight = analysis.sight(decl.key).stream
        origins = sight.origins if sight is not None else origins
    if decl.kind != "source":
        for origin in sorted(origins):
            yield item(origin, K.Reference, "rows of this source", sort="2")


def parts_of(analysis: Analysis, block: Frame, group: str) -> dict[str, str]:
    """Fields of the prompt that a step asks, or that the step under test asks: `input` or `output`."""
    decl = analysis.decl(block.name, block.title)
    made = analysis.context.blocks.get(decl.key) if decl is not None else None
    step = made.get("step") if made is not None else None
    if isinstance(step, ir.RefV):
        made = analysis.context.blocks.get(step.target)
    prompt = made.get("prompt") if made is not None else None
    found = analysis.context.blocks.get(prompt.target) if isinstance(prompt, ir.RefV) else None
    if found is None:
        return {}
    fields = found.input_fields if group == "input" else found.output_fields
    return {f.name: f.type for f in fields}
