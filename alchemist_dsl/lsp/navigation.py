"""Where names are declared and used: in the document, in what it imports, and in the recipes of the project that import
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alchemist_dsl import ir
from alchemist_dsl.checker.load import Loader
from alchemist_dsl.checker.names import Decl
from alchemist_dsl.checker.problems import Problems
from alchemist_dsl.lsp.analysis import Analyser, Analysis
from alchemist_dsl.lsp.hover import declaration
from alchemist_dsl.lsp.names import Names, Occurrence, Symbol
from alchemist_dsl.lsp.tree_queries import enclosing, is_column_name, statement_at, top_block
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
    made = analysis.context.blocks.get(decl.key)
    for ref in made.inputs if isinstance(made, ir.Block) else ():
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
