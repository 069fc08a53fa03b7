"""Where names are declared and used: in the document, in what it imports, and in the recipes of the project that import
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.schema.attributes import RESERVED
from alchemist_runtime.schema.kinds import KINDS, TAKEN
from lsprotocol import types as lsp

from alchemist_dsl import ir
from alchemist_dsl.checker.load import Loader
from alchemist_dsl.checker.names import Decl
from alchemist_dsl.checker.problems import Problems
from alchemist_dsl.lsp.analysis import Analyser, Analysis
from alchemist_dsl.lsp.documents import Converter
from alchemist_dsl.lsp.hover import declaration, declared
from alchemist_dsl.lsp.names import Names, Occurrence, Symbol, enclosing, is_column_name, statement_at, top_block
from alchemist_dsl.project.folder import STD, Folder
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax import ast


@dataclass(frozen=True, slots=True)
class Found:
    """A place in a file. `real` is the file's absolute path, so that one place has one name."""

    real: str
    source: SourceFile
    span: Span
    uri: str
    declares: bool = False


def definition(analyser: Analyser, analysis: Analysis, offset: int) -> Found | None:
    """The declaration of the name at an offset; the file of an import's path; the statement that sets a column."""
    path = analysis.source.path
    occurrence = analysis.names.at(path, offset)
    if occurrence is not None:
        return _place(analyser, analysis.folder, analysis.context.loader, occurrence.symbol.span, True)
    imported = _imported(analysis, offset)
    if imported is not None:
        return _place(analyser, analysis.folder, analysis.context.loader, Span(imported, 0, 0), True)
    span = _column(analysis, offset)
    return None if span is None else _place(analyser, analysis.folder, analysis.context.loader, span, True)


def references(analyser: Analyser, analysis: Analysis, offset: int) -> list[Found]:
    """All places of the name at an offset, its declarations included."""
    occurrence = analysis.names.at(analysis.source.path, offset)
    return [] if occurrence is None else places(analyser, analysis, occurrence.symbol)


def places(analyser: Analyser, analysis: Analysis, symbol: Symbol) -> list[Found]:
    """Everywhere in the project where a symbol stands, each place once."""
    documents, folder = analyser.documents, analysis.folder
    home = documents.real(folder, symbol.span.file)
    found: dict[tuple[str, int], Found] = {}

    def take(loader: Loader, names: Names) -> None:
        for occurrence in _same(analyser, folder, names, symbol, home):
            place = _place(analyser, folder, loader, occurrence.span, occurrence.declares)
            if place is not None:
                found.setdefault((place.real, place.span.start), place)

    take(analysis.context.loader, analysis.names)
    for source in documents.recipes(folder):
        if symbol.name in source.text and source.path not in analysis.context.loader.files:
            loader = load(analyser, folder, source)
            take(loader, Names(loader))
    return sorted(found.values(), key=lambda f: (f.real, f.span.start))


def load(analyser: Analyser, folder: Folder, source: SourceFile) -> Loader:
    """A recipe with its imports, names collected and nothing checked."""
    read = analyser.documents.reader(folder)
    loader = Loader(read, lambda _: (), "", Problems(), analyser.parser(folder))
    loader.load_root(source)
    return loader


def _same(analyser: Analyser, folder: Folder, names: Names, symbol: Symbol, home: str) -> Iterator[Occurrence]:
    """Occurrences of a symbol, which other recipes may know by another path of the same file."""
    for found in names.by_file.values():
        for occurrence in found:
            other = occurrence.symbol
            if (
                other.what == symbol.what
                and other.span.start == symbol.span.start
                and other.name == symbol.name
                and analyser.documents.real(folder, other.span.file) == home
            ):
                yield occurrence


def _place(analyser: Analyser, folder: Folder, loader: Loader, span: Span, declares: bool) -> Found | None:
    source = loader.files.get(span.file)
    if source is None:
        return None
    documents = analyser.documents
    uri = documents.uri(folder, span.file)
    return Found(documents.real(folder, span.file), source, span, uri, declares)


def _imported(analysis: Analysis, offset: int) -> str | None:
    """The file that the text of an import or of `extends` at an offset names."""
    texts: list[ast.Text] = []
    for item in analysis.tree.items:
        match item:
            case ast.Import(path=path):
                texts.append(path)
            case ast.Block(kind=ast.Ident(name="recipe"), body=body):
                for statement in body:
                    match statement:
                        case ast.Assign(path=(ast.Ident(name="extends"),), value=ast.Text() as value):
                            texts.append(value)
    for text in texts:
        if text.span.start <= offset <= text.span.end:
            return _full(analysis, text.value)
    return None


def _full(analysis: Analysis, written: str) -> str | None:
    import posixpath

    if written.startswith(STD):
        return written
    here = posixpath.dirname(analysis.source.path)
    path = posixpath.normpath(posixpath.join(here, written))
    return path if path in analysis.context.loader.files else None


# --- columns ----------------------------------------------------------------------------------------------------------


def _column(analysis: Analysis, offset: int) -> Span | None:
    """Where a column is set: by the nearest block upstream, or as a field of a schema."""
    block = top_block(analysis.tree, offset)
    found = statement_at(block, offset) if block is not None else None
    if block is None or found is None or not is_column_name(block, found[0]):
        return None
    chain = enclosing(found[0], offset)
    decl = declaration(analysis, block)
    if not chain or not isinstance(chain[-1], ast.Name) or decl is None:
        return None
    return _set_at(analysis, decl, chain[-1].name, {decl.key})


def _set_at(analysis: Analysis, decl: Decl, column: str, seen: set[str]) -> Span | None:
    result = analysis.context.blocks.get(decl.key)
    for ref in result.inputs if isinstance(result, ir.Block) else ():
        upstream = analysis.context.decls.get(ref.target)
        if upstream is None or upstream.key in seen:
            continue
        seen.add(upstream.key)
        placed = analysis.context.bodies[upstream.key].sets.get(column)
        if placed is not None:
            return placed.stmt.path[-1].span
        span = _set_at(analysis, upstream, column, seen)
        if span is not None:
            return span
    return None


# --- rename ----------------------------------------------------------------------------------------------------------

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
#: Names that become data: why, in a sentence.
_DATA: Final = {
    "rule": "the name of a rule stands in the column `rule` of the refused rows",
    "class": "the name of a class is an answer of the task",
}
_FIXED: Final = {
    "input": "the inputs of a prompt are called like the columns that they take",
    "output": "the teacher answers with this name, and traces hold it",
    "field": "it is the name of a column",
}


class Refused(Exception):
    """Why a name stays as it is."""


@dataclass(frozen=True, slots=True)
class Change:
    """A new text at a place."""

    at: Found
    text: str


@dataclass(frozen=True, slots=True)
class Renaming:
    """All changes. `data`: why the data changes with it; None where nothing runs again."""

    changes: tuple[Change, ...]
    data: str | None = None


def renamable(analysis: Analysis, offset: int) -> Occurrence:
    """The name at an offset. Raises Refused where there is none, or none that may change."""
    occurrence = analysis.names.at(analysis.source.path, offset)
    if occurrence is None:
        raise Refused("there is no name to change here; columns are data, and keep theirs")
    symbol = occurrence.symbol
    if symbol.span.file.startswith(STD):
        raise Refused(f"`{symbol.name}` belongs to the shipped library")
    if symbol.what in _FIXED:
        raise Refused(f"`{symbol.name}` keeps its name: {_FIXED[symbol.what]}")
    return occurrence


def rename(analyser: Analyser, analysis: Analysis, offset: int, new: str) -> Renaming:
    """The changes that give the name at an offset a new spelling. Raises Refused."""
    symbol = renamable(analysis, offset).symbol
    if new == symbol.name:
        return Renaming(())
    _free(analysis, symbol, new)
    found = places(analyser, analysis, symbol)
    changes = [Change(f, new) for f in found]
    decl = declared(analysis, symbol) if symbol.what == "block" else None
    if decl is not None and _salted(analysis, decl):
        changes.append(_moved(analysis, found, symbol, new))
    return Renaming(tuple(changes), _why_data(symbol))


def _why_data(symbol: Symbol) -> str | None:
    if symbol.what == "block" and symbol.kind == "source":
        return "the name of a source stands in the column `origin` of its rows"
    return _DATA.get(symbol.what)


def _free(analysis: Analysis, symbol: Symbol, new: str) -> None:
    """Refuse a name that is none, or that something else has."""
    if not _NAME.match(new):
        raise Refused(f"`{new}` is no name; names are letters, digits and `_`")
    if new in RESERVED:
        raise Refused(f"`{new}` is a word of the language")
    if symbol.what in ("block", "alias"):
        port = symbol.kind == "source" and new in ("dropped", "trace", "rows")
        if new in TAKEN or port:
            raise Refused(f"`{new}` means something else in the language")
        scopes = [s for s in analysis.context.loader.scopes.values() if symbol.span.file in s.files]
        if any(new in s.decls or new in s.aliases for s in scopes):
            raise Refused(f"`{new}` is there already")
    elif symbol.what == "param" and new in analysis.scope.params:
        raise Refused(f"there is a parameter `{new}` already")
    elif symbol.what == "rule":
        decl = analysis.scope.decls.get(symbol.owner)
        rules = decl.body.rules if decl is not None else []
        if any(r.stmt.name is not None and r.stmt.name.name == new for r in rules):
            raise Refused(f"`{symbol.owner}` has a rule `{new}` already")


def _salted(analysis: Analysis, decl: Decl) -> bool:
    """Whether the name of a block decides which rows it draws, and no `moved` says so yet."""
    kind, body = KINDS[decl.kind], decl.body
    if "salt" not in kind.attributes or "salt" in body.attrs:
        return False
    known = (d.body.attrs.get("to") for d in analysis.scope.unnamed if d.kind == "moved")
    if any(p is not None and getattr(p.stmt.value, "name", None) == decl.name for p in known):
        return False
    return kind.draws or "select" in body.attrs or "split" in {*body.attrs, *body.blocks}


def _moved(analysis: Analysis, found: list[Found], symbol: Symbol, new: str) -> Change:
    """A `moved` block at the end of the declaring file: the same rows are drawn under the new name."""
    home = next(f for f in found if f.declares and f.span == symbol.span)
    text = home.source.text
    end = len(text)
    lead = "\n" if text.endswith("\n") else "\n\n"
    block = f"{lead}moved {{\n  from = {symbol.name}\n  to = {new}\n}}\n"
    return Change(Found(home.real, home.source, home.source.span(end, end), home.uri), block)


# --- outline ---------------------------------------------------------------------------------------------------------

S = lsp.SymbolKind
_KINDS: Final = {
    "recipe": S.Package,
    "schema": S.Struct,
    "source": S.File,
    "suite": S.File,
    "teacher": S.Interface,
    "prompt": S.String,
    "mixture": S.Array,
    "export": S.Object,
    "train": S.Object,
    "evaluate": S.Object,
    "measure": S.Object,
    "check": S.Boolean,
    "test": S.Event,
    "variant": S.Enum,
    "moved": S.Null,
}


def symbols(source: SourceFile, tree: ast.File, converter: Converter) -> list[lsp.DocumentSymbol]:
    """The top-level items of a document."""
    return [s for item in tree.items if (s := _item(source, item, converter)) is not None]


def _item(source: SourceFile, item: ast.Item, converter: Converter) -> lsp.DocumentSymbol | None:
    def made(
        name: str,
        kind: lsp.SymbolKind,
        span: Span,
        chosen: Span,
        detail: str = "",
        children: Sequence[lsp.DocumentSymbol] = (),
    ) -> lsp.DocumentSymbol:
        return lsp.DocumentSymbol(
            name or "…",
            kind,
            converter.span(source, span),
            converter.span(source, chosen),
            detail=detail or None,
            children=list(children),
        )

    def inside(statements: Sequence[ast.Statement]) -> Iterator[lsp.DocumentSymbol]:
        for statement in statements:
            match statement:
                case ast.RuleStmt(verb=verb, name=named, condition=condition, span=span):
                    text = source.text[condition.span.start : condition.span.end]
                    shown = named.name if named is not None else " ".join(text.split())
                    chosen = named.span if named is not None else condition.span
                    yield made(shown, S.Event, span, chosen, verb)
                case ast.FieldDecl(name=named, type=type_, span=span):
                    yield made(named.name, S.Field, span, named.span, type_.text)
                case ast.Assign(set=True, path=path, span=span):
                    name = ".".join(i.name for i in path)
                    yield made(name, S.Field, span, path[0].span.to(path[-1].span), "set")
                case ast.Block(kind=kind, body=body, span=span, header=header):
                    yield made(kind.name, S.Namespace, span, header, "", [*inside(body), *entries(body)])

    def entries(statements: Sequence[ast.Statement]) -> Iterator[lsp.DocumentSymbol]:
        for statement in statements:
            if isinstance(statement, ast.Assign) and not statement.set:
                value = source.text[statement.value.span.start : statement.value.span.end]
                detail = value if len(value) <= 40 and "\n" not in value else ""
                name = ".".join(i.name for i in statement.path)
                chosen = statement.path[0].span.to(statement.path[-1].span)
                yield made(name, S.Property, statement.span, chosen, detail)

    match item:
        case ast.Block(kind=kind, name=name, body=body, span=span, header=header):
            title = ""
            chosen = header
            match name:
                case ast.Ident(name=text, span=at) | ast.Text(value=text, span=at):
                    title, chosen = text, at
            return made(
                title or kind.name, _KINDS.get(kind.name, S.Function), span, chosen, kind.name, list(inside(body))
            )
        case ast.ParamDecl(name=named, type=type_, span=span):
            return made(named.name, S.Variable, span, named.span, type_.text)
        case ast.Import(alias=alias, path=path, span=span):
            return made(alias.name, S.Module, span, alias.span, path.value)
        case ast.BadItem(name=str(lost), kind=word, span=span):
            return made(lost, S.Null, span, span, word or "")
        case _:
            return None
