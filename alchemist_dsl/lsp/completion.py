"""What may be written at a position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from alchemist_runtime.schema.attributes import AttrType, Kind, spelled
from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS
from alchemist_runtime.schema.kinds import KINDS
from lsprotocol import types as lsp
from lsprotocol.types import CompletionItemKind as K

from alchemist_dsl import ir
from alchemist_dsl.checker.expressions import PLAN_FIGURES, column_type, readable, row_variables
from alchemist_dsl.checker.names import Decl, Scope
from alchemist_dsl.checker.templates import GLOBALS, template_words
from alchemist_dsl.checker.types import ANY, family, fields
from alchemist_dsl.lsp import hover
from alchemist_dsl.lsp.analysis import NO_SIGHT, Analysis, Sight
from alchemist_dsl.lsp.context import TAGS, Cursor, Frame, Token, inside
from alchemist_dsl.project.folder import STD
from alchemist_dsl.syntax import ast

# --- completion rows -------------------------------------------------------------------------------------------------

_TYPES: Final = ("text", "int", "real", "bool", "percent", "prob", "money", "json")
_OF_FIELDS: Final = ("messages", "id")
_OF_PARAMS: Final = ("duration", "bytes", "rate", "rows", "packs", "tokens", "multiplier")
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
    result = analysis.context.blocks.get(decl.key) if decl is not None else None
    step = result.get("step") if result is not None else None
    if isinstance(step, ir.RefV):
        result = analysis.context.blocks.get(step.target)
    prompt = result.get("prompt") if result is not None else None
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


# --- completion ------------------------------------------------------------------------------------------------------

#: Tokens after which no name can begin.
_ENDED: Final = frozenset({"NAME", "STRING", "RPAR", "RSQB", "RBRACE", "TRUE", "FALSE", "NULL", "TEXT_BLOCK"})
_UNITS: Final[dict[str, tuple[str, ...]]] = {
    "rows": ("rows",),
    "packs": ("packs",),
    "tokens": ("tokens",),
    "steps": ("steps",),
    "select": ("rows",),
    "expr": ("chars", "words", "lines", "tokens", "rows", "calls"),
    "price": (),
}
_AMOUNTS: Final = ("rows", "tokens", "parts")
_TOP: Final = {
    "edition": ("edition 2026", "The edition of the language; the first line of every file."),
    "import": ('import "${1:std:alchemy}" as ${2:alchemy}', "Another file's blocks under one prefix."),
    "param": ("param ${1:name}: ${2:percent} = ${3:5%}", "A parameter, used as `param.NAME`."),
}
_STATEMENTS: Final = {
    "set": ("set ${1:column} = $0", "A new or changed column."),
    "keep": ("keep ${1:condition} as ${2:name}", "Refuses rows for which the condition does not hold."),
    "drop": ("drop ${1:condition} as ${2:name}", "Refuses rows for which the condition holds."),
    "expect": ("expect $0", "A promise about the whole."),
}


def complete(analysis: Analysis, at: Cursor) -> Iterator[Item]:
    """Everything that may stand at a cursor, best first by `sort`."""
    match at.where:
        case "path":
            yield from _files(analysis, at)
        case "template":
            yield from in_template(at, _sight(analysis, at), _is_column(at))
        case "code":
            yield from _code(analysis, at)


def _sight(analysis: Analysis, at: Cursor) -> Sight:
    block = at.block
    decl = analysis.decl(block.name, block.title) if block is not None else None
    return analysis.sight(decl.key) if decl is not None else NO_SIGHT


def _is_column(at: Cursor) -> bool:
    """Whether a template is the right side of `set`, and so reads the row."""
    return bool(at.statement) and at.statement[0].kind == "SET"


def _code(analysis: Analysis, at: Cursor) -> Iterator[Item]:
    block = at.block
    if block is None:
        yield from _top(analysis, at)
        return
    kind = KINDS.get(block.name)
    if kind is None:
        return
    if not at.statement:
        yield from _begin(analysis, at, block, kind)
    else:
        yield from _inside(analysis, at, block, kind)


# --- top level --------------------------------------------------------------------------------------------------------


def _top(analysis: Analysis, at: Cursor) -> Iterator[Item]:
    statement = at.statement
    if not statement:
        yield from _items(analysis)
    elif statement[0].kind == "PARAM" and any(t.kind == "COLON" for t in statement):
        if at.last in ("COLON", "LESS"):
            yield from types_of_fields(analysis, parameter=True)
        elif at.last == "EQ":
            yield from _words(("true", "false", "null"), K.Constant)
    elif statement[0].kind == "EDITION":
        yield item("2026", K.Constant)


def _items(analysis: Analysis) -> Iterator[Item]:
    for name, (snippet, doc) in _TOP.items():
        if name == "edition" and analysis.tree.edition is not None:
            continue
        yield item(name, K.Keyword, doc=doc, snippet=snippet, sort="1")
    for name, kind in KINDS.items():
        title = {"required": " ${1:name}", "text": ' "${1:what it shows}"'}.get(kind.name, "")
        doc = hover.kind_text(name, kind)
        yield item(name, K.Class, kind.doc, doc, f"{name}{title} {{\n  $0\n}}", sort="2")


def _files(analysis: Analysis, at: Cursor) -> Iterator[Item]:
    """Recipes that a path may name."""
    folder = analysis.folder
    if at.before == "import":
        for name in folder.listing(STD):
            yield item(STD + name, K.File, "the shipped library", start=at.start)
    here = analysis.source.path.rpartition("/")[0]
    written = at.word.rpartition("/")[0]
    lead = f"{written}/" if written else ""
    for name in folder.listing(f"{here}/{written}".strip("/")):
        if name.endswith(".recipe") and name != analysis.source.path.rpartition("/")[2]:
            yield item(lead + name, K.File, start=at.start)


# --- the beginning of a statement -------------------------------------------------------------------------------------


def _begin(analysis: Analysis, at: Cursor, block: Frame, kind: Kind) -> Iterator[Item]:
    sub = at.sub
    if sub is None:
        yield from _statements(analysis, at, block, kind)
    elif sub.name == "take":
        yield from references(analysis, AttrType("stream"), block, suffix=" = $0")
    elif sub.name in ("input", "output"):
        yield from _fields_of_rows(analysis, sub.name)
    elif sub.name == "map":
        yield from _inputs(analysis, block)
    elif sub.name in ("given", "reply"):
        yield from _row_fields(analysis, block, sub.name)
    else:
        attribute = kind.attributes.get(sub.name)
        for one in attribute.type.alternatives if attribute is not None else ():
            for part in one.fields:
                yield item(part.name, K.Property, hover.readable(part.type), snippet=f"{part.name} = $0")


def _statements(analysis: Analysis, at: Cursor, block: Frame, kind: Kind) -> Iterator[Item]:
    written = _written(analysis, at, block)
    for name, attribute in kind.attributes.items():
        if name in written:
            continue
        type_ = attribute.type
        yield item(
            name,
            K.Property,
            hover.readable(type_) + (f" = {attribute.default_text}" if attribute.default_text else ""),
            hover.attribute_text(block.name, name, attribute),
            _assignment(name, type_),
            sort="1" if attribute.required else "2",
        )
    for name in kind.blocks:
        if name not in written:
            yield item(name, K.Struct, "block", snippet=f"{name} {{\n  $0\n}}", sort="2")
    for name, (snippet, doc) in _STATEMENTS.items():
        if name in kind.statements:
            yield item(name, K.Keyword, doc=doc, snippet=snippet, sort="3")


def _written(analysis: Analysis, at: Cursor, block: Frame) -> set[str]:
    """Attributes that the block has already, but for the one at the cursor."""
    found: set[str] = set()
    for top in analysis.tree.items:
        if isinstance(top, ast.Block) and top.kind.name == block.name and _called(top, block.title):
            for statement in top.body:
                match statement:
                    case ast.Assign(set=False, path=path) if path[0].span.start != at.start:
                        found.add(path[0].name)
                    case ast.Block(kind=name) if name.span.start != at.start:
                        found.add(name.name)
    return found


def _called(block: ast.Block, title: str) -> bool:
    match block.name:
        case ast.Ident(name=name) | ast.Text(value=name):
            return name == title
        case _:
            return not title


def _assignment(name: str, type_: AttrType) -> str:
    only = type_.alternatives[0] if len(type_.alternatives) == 1 else type_
    if only.name == "record" and only.fields:
        return f"{name} {{\n  $0\n}}"
    if only.name == "text":
        return f'{name} = "$0"'
    if only.name == "template":
        return f'{name} = jinja"""\n  $0\n  """'
    return f"{name} = $0"


def _fields_of_rows(analysis: Analysis, group: str) -> Iterator[Item]:
    names = ("instruction", "response", "system", "lang") if group == "input" else ("instruction", "response")
    for name in names:
        yield item(name, K.Field, "text", snippet=f"{name}: text")


def _inputs(analysis: Analysis, block: Frame) -> Iterator[Item]:
    for name, type_ in parts_of(analysis, block, "input").items():
        yield item(name, K.Field, type_, snippet=f"{name} = $0")


def _row_fields(analysis: Analysis, block: Frame, group: str) -> Iterator[Item]:
    if group == "reply":
        found = parts_of(analysis, block, "output")
    else:
        decl = analysis.decl(block.name, block.title)
        stream = analysis.sight(decl.key).stream if decl is not None else None
        found = dict(stream.columns) if stream is not None else {}
    for name, type_ in found.items():
        yield item(name, K.Field, type_, snippet=f"{name} = $0")


# --- inside a statement -----------------------------------------------------------------------------------------------


def _inside(analysis: Analysis, at: Cursor, block: Frame, kind: Kind) -> Iterator[Item]:
    statement, sight = at.statement, _sight(analysis, at)
    first = statement[0]
    equals = _equals(statement)
    if first.kind in ("KEEP", "DROP", "EXPECT"):
        yield from _expression(analysis, at, block, sight)
    elif first.kind == "SET" and equals is None:
        yield from _set_target(analysis, at, block, sight)
    elif equals is None:
        if at.last == "DOT" and at.sub is not None and at.sub.name == "take":
            yield from members(analysis, at.path_before(), AttrType("stream"))
        elif at.last in ("COLON", "LESS") and any(t.kind == "COLON" for t in statement):
            yield from types_of_fields(analysis, parameter=False)
    elif _after_per(at):
        if block.name == "teacher" and at.last == "NUMBER":
            yield from _words(("tokens",), K.Unit)
        else:
            yield from expression(analysis, at, sight, plain=True)
    elif first.kind == "SET" and block.name != "variant":
        yield from _expression(analysis, at, block, sight)
    else:
        yield from _value(analysis, at, block, kind, _name(statement, equals))


def _equals(statement: Sequence[Token]) -> int | None:
    """The number of the `=` that sets, not one of a named argument."""
    depth = 0
    for number, token in enumerate(statement):
        if token.kind in ("LPAR", "LSQB", "LBRACE"):
            depth += 1
        elif token.kind in ("RPAR", "RSQB", "RBRACE"):
            depth -= 1
        elif token.kind == "EQ" and depth == 0:
            return number
    return None


def _name(statement: Sequence[Token], equals: int) -> tuple[str, ...]:
    return tuple(t.text for t in statement[:equals] if t.kind not in ("DOT", "SET"))


def _after_per(at: Cursor) -> bool:
    return any(t.kind == "PER" for t in at.statement)


def _set_target(analysis: Analysis, at: Cursor, block: Frame, sight: Sight) -> Iterator[Item]:
    path = at.path_before()
    if block.name == "variant":
        if path:
            yield from _changed(analysis, path)
        else:
            yield item("param", K.Module, "parameters", snippet="param.$0")
            yield from references(analysis, AttrType("ref", names=("any",)), block)
        return
    if path:
        return
    seen: dict[str, str] = {}
    if sight.stream is not None:
        seen |= sight.stream.columns
    for name, type_ in {**_schema(analysis), **seen}.items():
        yield item(name, K.Field, type_, snippet=f"{name} = $0", sort="1")


def _schema(analysis: Analysis) -> dict[str, str]:
    from alchemist_dsl.checker.sources import recipe_schema

    return recipe_schema(analysis.context)


def _changed(analysis: Analysis, path: tuple[str, ...]) -> Iterator[Item]:
    """What a variant may set after `param.`, `BLOCK.` and `MIXTURE.take.`."""
    if path[0] == "param":
        yield from members(analysis, path, AttrType("literal"))
        return
    decl = analysis.scope.decls.get(path[0])
    if decl is None:
        return
    if len(path) == 1:
        kind = KINDS[decl.kind]
        for name, attribute in kind.attributes.items():
            doc = hover.attribute_text(decl.kind, name, attribute)
            yield item(name, K.Property, hover.readable(attribute.type), doc)
        yield from _words(kind.blocks, K.Struct)
    elif len(path) == 2:
        yield from _words(decl.body.blocks.get(path[1], {}), K.Reference)


# --- values -----------------------------------------------------------------------------------------------------------


def _value(analysis: Analysis, at: Cursor, block: Frame, kind: Kind, path: tuple[str, ...]) -> Iterator[Item]:
    sub = at.sub
    if sub is not None and sub.name == "take":
        yield from _amount(analysis, at)
        return
    if sub is not None and sub.name == "classes":
        yield from _rules(analysis, block)
        return
    if sub is not None and sub.name == "map":
        yield from _expression(analysis, at, block, _sight(analysis, at))
        return
    if block.name == "variant":
        type_ = _changed_type(analysis, path)
    else:
        type_ = _type(kind, sub, path)
    if type_ is not None:
        yield from _typed(analysis, at, block, type_)


def _type(kind: Kind, sub: Frame | None, path: tuple[str, ...]) -> AttrType | None:
    name = sub.name if sub is not None else path[0] if path else ""
    attribute = kind.attributes.get(name)
    if attribute is None:
        return None
    type_ = attribute.type
    if sub is None:
        return type_
    for one in type_.alternatives:
        for part in one.fields:
            if path and part.name == path[-1]:
                return part.type
    return None


def _changed_type(analysis: Analysis, path: tuple[str, ...]) -> AttrType | None:
    decl = analysis.scope.decls.get(path[0]) if path else None
    if decl is None or len(path) != 2:
        return None
    attribute = KINDS[decl.kind].attributes.get(path[1])
    return None if attribute is None else attribute.type


def _typed(analysis: Analysis, at: Cursor, block: Frame, type_: AttrType) -> Iterator[Item]:
    """Values of a type: choices, names, methods, columns, and units after a number."""
    kinds = list(_alternatives(type_))
    call = next((f for f in reversed(at.brackets) if f.kind == "call"), None)
    method = next((t for t in kinds if t.name == "method"), None)
    if at.last == "DOT":
        wanted = next((t for t in kinds if t.name in ("ref", "stream")), None)
        if wanted is not None or at.path_before()[:1] == ("param",):
            yield from members(analysis, at.path_before(), wanted or type_)
        else:
            yield from _expression(analysis, at, block, _sight(analysis, at))
    elif call is not None and method is not None:
        yield from _arguments(at, call, method)
    elif any(t.name in ("expr", "condition") for t in kinds):
        yield from _expression(analysis, at, block, _sight(analysis, at))
    elif at.last == "NUMBER":
        yield from _words(_units(kinds), K.Unit)
        if any(t.name in ("select", "price") for t in kinds):
            yield item("per", K.Keyword, "in each group" if kinds[0].name == "select" else "tokens")
    elif at.last not in _ENDED:
        for one in kinds:
            yield from _READERS.get(one.name, _nothing)(analysis, at, block, one)
        yield from _parameters(analysis, kinds)


def _alternatives(type_: AttrType) -> Iterator[AttrType]:
    for one in type_.alternatives:
        if one.name == "list":
            yield from _alternatives(one.of[0])
        else:
            yield one


def _units(kinds: Iterable[AttrType]) -> tuple[str, ...]:
    found = dict.fromkeys(u for t in kinds for u in _UNITS.get(t.name, ()))
    return tuple(found)


Reader = Callable[[Analysis, Cursor, Frame, AttrType], Iterator[Item]]


def _nothing(analysis: Analysis, at: Cursor, block: Frame, type_: AttrType) -> Iterator[Item]:
    yield from ()


def _choices(analysis: Analysis, at: Cursor, block: Frame, type_: AttrType) -> Iterator[Item]:
    for number, name in enumerate(type_.names):
        yield item(spelled(name), K.EnumMember, sort=f"1{number:02}")


def _references(analysis: Analysis, at: Cursor, block: Frame, type_: AttrType) -> Iterator[Item]:
    yield from references(analysis, type_, block)


def _bools(analysis: Analysis, at: Cursor, block: Frame, type_: AttrType) -> Iterator[Item]:
    yield from _words(("true", "false"), K.Constant)


def _methods(analysis: Analysis, at: Cursor, block: Frame, type_: AttrType) -> Iterator[Item]:
    from alchemist_dsl.checker.calls import method_names, parameters

    for name in method_names(type_):
        known = parameters(name, type_) or ()
        inner = "$0" if known else ""
        yield item(name, K.Method, doc=hover.method_text(type_, name) or "", snippet=f"{name}({inner})")


def _templates(analysis: Analysis, at: Cursor, block: Frame, type_: AttrType) -> Iterator[Item]:
    yield item('jinja"""', K.Snippet, "template", snippet='jinja"""\n  $0\n  """', sort="4")


def _rows(analysis: Analysis, at: Cursor, block: Frame, type_: AttrType) -> Iterator[Item]:
    yield from expression(analysis, at, _sight(analysis, at))


def _names(analysis: Analysis, at: Cursor, block: Frame, type_: AttrType) -> Iterator[Item]:
    yield from references(analysis, AttrType("ref", names=("any",)), block)


_READERS: Final[dict[str, Reader]] = {
    "choice": _choices,
    "ref": _references,
    "stream": _references,
    "bool": _bools,
    "method": _methods,
    "template": _templates,
    "select": _rows,
    "name": _names,
}


def _arguments(at: Cursor, call: Frame, type_: AttrType) -> Iterator[Item]:
    """Names of the parameters of a method, and the values of one that is named."""
    from alchemist_dsl.checker.calls import parameters

    known = parameters(call.name, type_) or ()
    found = hover.component(type_, call.name)
    inside = [t for t in at.statement if t.start > call.start]
    provided = {a.text for a, b in pairwise(inside) if b.kind == "EQ"}
    if at.last in ("LPAR", "COMMA"):
        for param in known:
            if param.name not in provided:
                default = "" if param.default is ... else f" = {hover.plain(param.default)}"
                doc = found.doc if found is not None else ""
                detail = hover.readable(param.type) + default
                yield item(param.name, K.Variable, detail, doc, f"{param.name} = $0")
    elif at.last == "EQ" and len(inside) > 1:
        type_of = next((p.type for p in known if p.name == inside[-2].text), None)
        if type_of is not None and any(t.name == "bool" for t in type_of.alternatives):
            yield from _words(("true", "false"), K.Constant)


def _parameters(analysis: Analysis, kinds: Sequence[AttrType]) -> Iterator[Item]:
    if any(t.name not in ("ref", "stream", "name") for t in kinds):
        for name, param in analysis.scope.params.items():
            yield item(f"param.{name}", K.Variable, param.decl.type.text, param.decl.doc or "", sort="3")


def _amount(analysis: Analysis, at: Cursor) -> Iterator[Item]:
    if at.last == "NUMBER":
        yield from _words(_AMOUNTS, K.Unit)
    elif at.last == "EQ":
        yield item("all", K.EnumMember, "every row", sort="1")
        yield item("rest", K.EnumMember, "what the other entries leave", sort="1")
        yield from _parameters(analysis, (AttrType("percent"),))
    elif at.last == "DOT" and at.path_before() == ("param",):
        yield from members(analysis, ("param",), AttrType("percent"))


def _rules(analysis: Analysis, block: Frame) -> Iterator[Item]:
    """Rules of the steps whose refused rows a task learns from."""
    decl = analysis.decl(block.name, block.title)
    result = analysis.context.blocks.get(decl.key) if decl is not None else None
    for ref in result.inputs if result is not None else ():
        for placed in analysis.context.bodies[ref.target].rules if ref.port == "dropped" else ():
            if placed.stmt.name is not None and placed.stmt.verb != "expect":
                condition = analysis.context.slice(placed.stmt.condition.span)
                yield item(placed.stmt.name.name, K.Event, f"{placed.stmt.verb} {condition}")


def _expression(analysis: Analysis, at: Cursor, block: Frame, sight: Sight) -> Iterator[Item]:
    path = at.path_before()
    if block.name == "check" or (path and path[0] == "param"):
        call = next((f for f in reversed(at.brackets) if f.kind == "call"), None)
        if block.name == "check" and call is not None and at.last in ("LPAR", "COMMA"):
            yield from references(analysis, AttrType("stream"), block)
            return
        if path and path[0] != "plan":
            yield from members(analysis, path, AttrType("stream"))
            return
    yield from expression(analysis, at, sight)


def _words(words: Iterable[str], kind: lsp.CompletionItemKind) -> Iterator[Item]:
    for word in words:
        yield item(word, kind)
