"""What may be written at a position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from alchemist_runtime.schema.attributes import AttrType, Kind, spelled
from alchemist_runtime.schema.kinds import KINDS
from lsprotocol import types as lsp

from alchemist_dsl.lsp import hover
from alchemist_dsl.lsp.analysis import NO_SIGHT, Analysis, Sight
from alchemist_dsl.lsp.completion_rows import (
    Item,
    K,
    expression,
    in_template,
    item,
    members,
    parts_of,
    references,
    types_of_fields,
)
from alchemist_dsl.lsp.context import Cursor, Frame, Token
from alchemist_dsl.project.folder import STD
from alchemist_dsl.syntax import ast

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
    given = {a.text for a, b in pairwise(inside) if b.kind == "EQ"}
    if at.last in ("LPAR", "COMMA"):
        for param in known:
            if param.name not in given:
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
    made = analysis.context.blocks.get(decl.key) if decl is not None else None
    for ref in made.inputs if made is not None else ():
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
