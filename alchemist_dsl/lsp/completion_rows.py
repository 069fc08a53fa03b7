"""What expressions, templates and types may hold at a position: columns, functions, fields, filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.schema.attributes import AttrType
from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS
from alchemist_runtime.schema.kinds import KINDS
from lsprotocol.types import CompletionItemKind as K

from alchemist_dsl import ir
from alchemist_dsl.checker.expressions import PLAN_FIGURES, column_type, readable, row_variables
from alchemist_dsl.checker.names import Decl, Scope
from alchemist_dsl.checker.templates import GLOBALS, template_words
from alchemist_dsl.checker.types import ANY, family, fields
from alchemist_dsl.lsp import hover
from alchemist_dsl.lsp.analysis import Analysis, Sight
from alchemist_dsl.lsp.context import TAGS, Cursor, Frame, inside

_TYPES: Final = ("text", "int", "real", "bool", "percent", "prob", "money", "json")
_OF_FIELDS: Final = ("messages", "id")
_OF_PARAMS: Final = ("duration", "bytes", "rate", "rows", "packs", "tokens", "multiplier")
_ENDED: Final = frozenset({"NAME", "STRING", "RPAR", "RSQB", "RBRACE", "TRUE", "FALSE", "NULL", "TEXT_BLOCK"})
_COUNTS: Final = ("chars", "words", "lines", "tokens", "rows", "calls")


def expression(analysis: Analysis, at: Cursor, sight: Sight, *, plain: bool = False) -> Iterator[Item]:
    """Columns, functions and what else an expression reads. `plain`: a column alone."""
    path, block = at.path_before(), at.block
    promises = block is not None and block.name == "check"
    total = block is not None and at.statement[0].kind == "EXPECT"
    if at.last == "DOT":
        yield from _field(analysis, path, sight, total)
    elif at.last == "NUMBER":
        for word in (*_COUNTS, "and", "or", "as"):
            yield item(word, K.Unit if word in _COUNTS else K.Keyword)
    elif at.last in _ENDED:
        for word in ("and", "or", "in", "not in", "as", "per"):
            yield item(word, K.Keyword)
    else:
        if not promises and (not total or (block is not None and block.name == "test")):
            yield from _columns(sight)
        if plain:
            return
        yield from _roots(analysis, sight, total, promises)
        yield from _functions(promises)
        for word in ("not", "true", "false", "null"):
            yield item(word, K.Keyword, sort="7")


def _columns(sight: Sight) -> Iterator[Item]:
    stream = sight.stream
    if stream is None:
        return
    for name in readable(stream):
        hidden = name.startswith("_")
        type_ = column_type(stream, name) or ANY
        yield item(
            name, K.Field, type_, f"A column of {stream.name}." if stream.name else "", sort="6" if hidden else "1"
        )


def _roots(analysis: Analysis, sight: Sight, total: bool, promises: bool) -> Iterator[Item]:
    """Names that something follows: `out.`, `param.`, `plan.`, `dropped.`"""
    if sight.out is not None and not total:
        yield item("out", K.Module, f"the answer of `{sight.out_of}`" if sight.out_of else "", snippet="out.", sort="1")
        for name, type_ in sight.out.items():
            yield item(f"out.{name}", K.Field, type_, sort="2")
    if promises:
        for name, (type_, _) in PLAN_FIGURES.items():
            yield item(f"plan.{name}", K.Field, type_, "Of the whole plan, from scratch.", sort="1")
    elif total:
        for name in ("rows", "tokens"):
            yield item(name, K.Field, "int", "The step's own total.", sort="1")
        for rule in sight.totals or ():
            yield item(f"dropped.{rule}", K.Event, "rows that this rule refused", sort="2")
    for name, param in analysis.scope.params.items():
        yield item(f"param.{name}", K.Variable, param.decl.type.text, param.decl.doc or "", sort="3")


def _functions(promises: bool) -> Iterator[Item]:
    known = {**FUNCTIONS, **AGGREGATES} if promises else FUNCTIONS
    for name, function in known.items():
        doc = hover.function_text(name, promises) or ""
        yield item(name, K.Function, hover.signature(function), doc, f"{name}($0)", sort="4")


def _field(analysis: Analysis, path: tuple[str, ...], sight: Sight, total: bool) -> Iterator[Item]:
    """What follows a dot in an expression."""
    if not path:
        return
    found: Mapping[str, str] = {}
    rest = path[1:]
    if path[0] == "param" and not rest:
        for name, param in analysis.scope.params.items():
            yield item(name, K.Variable, param.decl.type.text, param.decl.doc or "")
        return
    if path[0] == "plan" and not rest:
        found = {name: type_ for name, (type_, _) in PLAN_FIGURES.items()}
    elif path[0] == "dropped" and not rest and total:
        found = dict.fromkeys(sight.totals or (), "int")
    elif path[0] == "out" and sight.out is not None:
        found = sight.out
    elif sight.stream is not None:
        if path[0] == "row" and not rest:
            found = {n: column_type(sight.stream, n) or ANY for n in readable(sight.stream)}
        else:
            found, rest = {path[0]: column_type(sight.stream, path[0]) or ANY}, path
    for name in rest:
        found = fields(found.get(name, ANY))
    for name, type_ in found.items():
        yield item(name, K.Field, type_)


# --- types ------------------------------------------------------------------------------------------------------------


def types_of_fields(analysis: Analysis, *, parameter: bool) -> Iterator[Item]:
    """Types that a field or a parameter may declare."""
    for name in (*_TYPES, *(_OF_PARAMS if parameter else _OF_FIELDS)):
        yield item(name, K.TypeParameter)
    yield item("list", K.TypeParameter, snippet="list<${1:text}>")
    yield item("enum", K.TypeParameter, snippet='enum("$1", "$2")')
    if not parameter:
        for decl in analysis.scope.decls.values():
            if decl.kind == "schema":
                yield item(decl.name, K.Class, "schema", decl.block.doc or "")


# --- templates --------------------------------------------------------------------------------------------------------


def in_template(at: Cursor, sight: Sight, over_row: bool) -> Iterator[Item]:
    """Variables, fields, filters, tests and tags inside a template."""
    known = row_variables(sight.stream) if over_row or sight.variables is None else sight.variables
    where = inside(at.before)
    match where.place:
        case "tag":
            for tag, closed in TAGS.items():
                snippet = f"{tag} $0 %}}\n{{% {closed}" if closed and tag in ("if", "for") else ""
                yield item(tag, K.Keyword, snippet=snippet)
        case "filter" | "test":
            for name, function in template_words(where.place).items():
                yield item(name, K.Function, where.place, hover.filter_doc(function))
        case "field":
            type_ = known.types.get(where.base, "")
            parts = fields(type_) if family(type_) == "record" else {}
            for name, of in parts.items():
                yield item(name, K.Field, of)
        case "name":
            for name, type_ in known.types.items():
                sort = "6" if name.startswith("_") else "1"
                yield item(name, K.Field, type_, f"{known.noun} of {known.what}", sort=sort)
            for name in where.local:
                yield item(name, K.Variable, "of this template", sort="2")
            for name in sorted(GLOBALS):
                yield item(name, K.Function, "jinja", sort="4")


# --- completion names ------------------------------------------------------------------------------------------------

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


# --- items -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """`snippet` in the editor's form (`$0` is where the cursor goes). `sort`: small ones come first."""

    label: str
    kind: K
    detail: str = ""
    doc: str = ""
    snippet: str = ""
    sort: str = "5"
    start: int | None = None  # where the replaced text begins, if not at the word


def item(
    label: str, kind: K, detail: str = "", doc: str = "", snippet: str = "", sort: str = "5", start: int | None = None
) -> Item:
    return Item(label, kind, detail, doc, snippet, sort, start)


__all__ = ["Item", "K", "item"]
