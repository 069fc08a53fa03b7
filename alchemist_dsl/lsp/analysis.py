"""One check of an open document, kept until something that it read changes; parsed files are kept longer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from alchemist_dsl import ir
from alchemist_dsl.checker import Checked, examine
from alchemist_dsl.checker.context import Context, Room, Stream
from alchemist_dsl.checker.names import Decl, Scope
from alchemist_dsl.checker.templates import Variables
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.lsp.documents import Buffer, Documents
from alchemist_dsl.lsp.names import LocalFacts, Names
from alchemist_dsl.project.folder import Folder
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.parse import parse


@dataclass(frozen=True, slots=True)
class Sight:
    """What may be read inside a block. It outlives the moments in which a line is half written."""

    stream: Stream | None = None
    out: Mapping[str, str] | None = None
    out_of: str = ""
    totals: tuple[str, ...] | None = None
    variables: Variables | None = None


NO_SIGHT = Sight()


@dataclass(slots=True)
class Analysis:
    """A checked document. `sights` by key of the block."""

    source: SourceFile
    folder: Folder
    checked: Checked
    diagnostics: tuple[Diagnostic, ...]
    sights: Mapping[str, Sight]
    seconds: float
    _names: Names | None = field(default=None, repr=False)

    @property
    def context(self) -> Context:
        return self.checked.context

    @property
    def program(self) -> ir.Program:
        return self.checked.program

    @property
    def scope(self) -> Scope:
        return self.context.scope

    @property
    def tree(self) -> ast.File:
        return self.context.loader.trees[self.source.path]

    @property
    def names(self) -> Names:
        """Every name of the document and of what it imports, with what it means. Made when first asked for."""
        if self._names is None:
            self._names = Names(self.context.loader)
        return self._names

    def close(self) -> None:
        """Cut the circles among its parts, so that they go at once. A collector that has to look for them stops the
        typing.
        """
        context, loader = self.context, self.context.loader
        for scope in loader.scopes.values():
            for names in (scope.decls, scope.unnamed, scope.aliases, scope.params):
                names.clear()
        for part in (
            context.rooms,
            context.decls,
            context.bodies,
            context.blocks,
            context.streams,
            loader.trees,
            loader.scopes,
        ):
            part.clear()

    def file(self, path: str) -> SourceFile | None:
        return self.context.loader.files.get(path)

    def decl(self, kind: str, name: str) -> Decl | None:
        """The block of the document with this kind and name; the text of a test is its name."""
        for decl in self.scope.decls.values():
            if decl.name == name and decl.kind == kind:
                return decl
        return next((d for d in self.scope.unnamed if d.kind == kind and d.name in (name, kind)), None)

    def sight(self, key: str) -> Sight:
        return self.sights.get(key, NO_SIGHT)


@dataclass(slots=True)
class Parser:
    """The parser with the trees of unchanged files: imports are parsed once, not at every keystroke.

    Whole files, not items: 500 lines parse in 4 ms, and the spans of remembered items would have to move.
    """

    known: dict[str, tuple[str, ast.File, tuple[Diagnostic, ...]]] = field(default_factory=dict)

    def __call__(self, file: SourceFile) -> tuple[ast.File, tuple[Diagnostic, ...]]:
        found = self.known.get(file.path)
        if found is None or found[0] != file.text:
            found = self.known[file.path] = (file.text, *parse(file))
        return found[1], found[2]


@dataclass(slots=True)
class Analyser:
    """Checks documents when asked, at most once for every state of the buffers and files."""

    documents: Documents
    parsers: dict[str, Parser] = field(default_factory=dict)  # by root of the project
    facts: dict[str, LocalFacts] = field(default_factory=dict)
    done: dict[str, Analysis] = field(default_factory=dict)  # by URI
    stale: set[str] = field(default_factory=set)

    def outdate(self, uri: str) -> set[str]:
        """Say that a document or file changed; the open documents that must be checked again."""
        buffer = self.documents.buffers.get(uri)
        hit = {uri} if buffer is not None else set()
        for other, analysis in self.done.items():
            files = analysis.context.loader.files
            if any(self.documents.uri(analysis.folder, path) == uri for path in files):
                hit.add(other)
        self.stale |= hit
        return hit & self.documents.buffers.keys()

    def outdate_all(self) -> set[str]:
        """Say that files changed that nobody watches one by one."""
        for facts in self.facts.values():
            facts.forget()
        self.stale |= self.documents.buffers.keys()
        return set(self.documents.buffers)

    def forget(self, uri: str) -> None:
        self.done.pop(uri, None)
        self.stale.discard(uri)

    def last(self, uri: str) -> Analysis | None:
        """The newest check, be it of an older text; a first one is made."""
        return self.done.get(uri) or self.of(uri)

    def of(self, uri: str) -> Analysis | None:
        """The check of a document as it is now; None where it is not open."""
        buffer = self.documents.buffers.get(uri)
        if buffer is None:
            return None
        found = self.done.get(uri)
        if found is None or uri in self.stale or found.source is not buffer.source:
            result = self._check(buffer, found)
            if found is not None:
                found.close()
            found = self.done[uri] = result
            self.stale.discard(uri)
        return found

    def parser(self, folder: Folder) -> Parser:
        return self.parsers.setdefault(str(folder.root), Parser())

    def _check(self, buffer: Buffer, before: Analysis | None) -> Analysis:
        folder = buffer.folder
        facts = self.facts.setdefault(str(folder.root), LocalFacts(folder))
        begun = time.perf_counter()
        checked = examine(
            buffer.source,
            self.documents.reader(folder),
            columns=facts.columns,
            listing=folder.listing,
            parse=self.parser(folder),
        )
        problems = (*checked.diagnostics, *facts.problems(checked.program))
        sights = _sights(checked.context, {} if before is None else before.sights)
        return Analysis(buffer.source, folder, checked, problems, sights, time.perf_counter() - begun)


def _sights(context: Context, before: Mapping[str, Sight]) -> dict[str, Sight]:
    """What every block may read; where a mistake hides it, what it was before the mistake."""
    return {key: _sight(key, room, before.get(key)) for key, room in context.rooms.items()}


def _sight(key: str, room: Room, before: Sight | None) -> Sight:
    env, variables = room.env, room.variables
    stream, out = env.stream, env.out
    totals = env.totals
    if totals is None:
        rules = env.context.bodies[key].rules
        totals = tuple(r.stmt.name.name for r in rules if r.stmt.name and r.stmt.verb != "expect")
    if before is None:
        return Sight(stream, out, env.out_of, totals, variables)
    if stream is None or stream.lost:
        stream = before.stream or stream
    if not out and before.out:
        return Sight(stream, before.out, before.out_of, totals, variables or before.variables)
    return Sight(stream, out, env.out_of, totals, variables or before.variables)
