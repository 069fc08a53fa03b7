"""Wires the pure side to an editor: texts come in, checks follow shortly after, requests are answered from the last
check.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Protocol, TypeVar

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method
from pygls.uris import from_fs_path

from alchemist_dsl.lsp import actions, highlight, hints, navigation
from alchemist_dsl.lsp import navigation as nav
from alchemist_dsl.lsp import navigation as renaming
from alchemist_dsl.lsp.analysis import Analyser, Analysis
from alchemist_dsl.lsp.completion import Item, complete
from alchemist_dsl.lsp.context import Cursor, cursor
from alchemist_dsl.lsp.documents import Buffer, Converter, Documents
from alchemist_dsl.lsp.hover import Shown, hover

#: Seconds after a keystroke before the check begins: several edits of one stroke come together.
PAUSE: Final = 0.005
#: Seconds without a keystroke after which memory is tidied; before that it would stop the typing.
IDLE: Final = 2.0
#: A document whose check takes longer is completed from its last check, and checked after a pause of its own length.
QUICK: Final = 0.08
_LONGEST_PAUSE: Final = 1.0
_WAIT_FOR_ESTIMATES: Final = 0.5
_TRIGGERS: Final = (".", "=", ":", "{", "(", "[", ",", '"', "|", " ")
_REQUEST_FAILED: Final = -32803
T = TypeVar("T")
_log: Final = logging.getLogger(__name__)


class Asked(Protocol):
    """What every question about a place in a document brings."""

    @property
    def text_document(self) -> lsp.TextDocumentIdentifier: ...

    @property
    def position(self) -> lsp.Position: ...


@dataclass(slots=True)
class Board:
    """Which problems every document's check found in which file."""

    found: dict[str, dict[str, list[lsp.Diagnostic]]] = field(default_factory=dict)

    def put(self, root: str, by_uri: dict[str, list[lsp.Diagnostic]]) -> set[str]:
        """Take the problems of a document's check; the URIs whose problems may have changed."""
        before = self.found.get(root, {}).keys()
        self.found[root] = by_uri
        return {root, *before, *by_uri}

    def drop(self, root: str) -> set[str]:
        return set(self.found.pop(root, {})) | {root}

    def of(self, uri: str) -> list[lsp.Diagnostic]:
        """The problems of a file, each once, whoever found it."""
        seen: dict[tuple[Any, ...], lsp.Diagnostic] = {}
        for by_uri in self.found.values():
            for problem in by_uri.get(uri, ()):
                at = problem.range
                key = (at.start.line, at.start.character, at.end.line, at.end.character, problem.code, problem.message)
                seen.setdefault(key, problem)
        return [seen[key] for key in sorted(seen, key=lambda k: (k[:4], str(k[4])))]


class _Protocol(LanguageServerProtocol):
    """Edits go to our buffers alone: the library's own copy counts more characters as line ends than the protocol
    does.
    """

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: lsp.DidChangeTextDocumentParams) -> Generator[Any, Any, None]:
        handler = self.fm.features.get(lsp.TEXT_DOCUMENT_DID_CHANGE)
        if handler is not None:
            yield handler, (params,), None


class RecipeServer(LanguageServer):
    """The server with what it knows."""

    def __init__(self) -> None:
        super().__init__("alchemist", _version(), protocol_cls=_Protocol)
        self.documents = Documents()
        self.analyser = Analyser(self.documents)
        self.board = Board()
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.tidy: asyncio.TimerHandle | None = None
        self.expected: dict[str, tuple[Analysis, asyncio.Future[dict[str, str]]]] = {}

    # --- checks -------------------------------------------------------------------------------------------------------

    def soon(self, uris: set[str]) -> None:
        """Check documents after a pause; a new edit begins the pause anew."""
        loop = asyncio.get_running_loop()
        if self.tidy is not None:
            self.tidy.cancel()
        self.tidy = loop.call_later(IDLE, gc.collect)
        for uri in uris:
            timer = self.timers.pop(uri, None)
            if timer is not None:
                timer.cancel()
            self.timers[uri] = loop.call_later(self._pause(uri), self.check, uri)

    def _pause(self, uri: str) -> float:
        last = self.analyser.done.get(uri)
        if last is None or last.seconds < QUICK:
            return PAUSE
        return min(last.seconds, _LONGEST_PAUSE)

    def check(self, uri: str) -> None:
        """Check a document now and publish what was found."""
        timer = self.timers.pop(uri, None)
        if timer is not None:
            timer.cancel()
        try:
            analysis = self.analyser.of(uri)
            if analysis is not None:
                self._publish(uri, analysis)
        except Exception:
            _log.exception("checking %s failed", uri)

    def _publish(self, root: str, analysis: Analysis) -> None:
        documents = self.documents

        def uri(path: str) -> str:
            return documents.uri(analysis.folder, path)

        sources = analysis.context.loader.files
        found: dict[str, list[lsp.Diagnostic]] = {root: []}
        problems_of = {} if documents.shipped(root) else actions.problems(analysis)
        for path, problems in problems_of.items():
            if path in sources:
                displayed = [actions.published(p, sources, uri, documents.converter) for p in problems]
                found.setdefault(uri(path), []).extend(displayed)
        for changed in self.board.put(root, found):
            self._send(changed)

    def _send(self, uri: str) -> None:
        buffer = self.documents.buffers.get(uri)
        self.text_document_publish_diagnostics(
            lsp.PublishDiagnosticsParams(uri, self.board.of(uri), version=None if buffer is None else buffer.version)
        )

    def closed(self, uri: str) -> None:
        """Forget a document."""
        timer = self.timers.pop(uri, None)
        if timer is not None:
            timer.cancel()
        self.expected.pop(uri, None)
        for changed in self.board.drop(uri):
            self._send(changed)

    # --- requests -----------------------------------------------------------------------------------------------------

    def at(self, params: Asked) -> tuple[Analysis, int] | None:
        """The check of a document as it is now, and an offset in it."""
        analysis = self.analyser.of(params.text_document.uri)
        if analysis is None:
            return None
        return analysis, self.documents.converter.offset(analysis.source, params.position)

    def for_completion(self, uri: str) -> Analysis | None:
        """A check to complete from: of now where that is quick, else the last one."""
        last = self.analyser.last(uri)
        return self.analyser.of(uri) if last is not None and last.seconds < QUICK else last

    async def estimates(self, uri: str, analysis: Analysis) -> dict[str, str]:
        """What steps are expected to give, if that is known in a moment; else it is when asked again."""
        known = self.expected.get(uri)
        if known is None or known[0] is not analysis:
            facts = self.analyser.facts[str(analysis.folder.root)]
            task = asyncio.ensure_future(asyncio.to_thread(hints.estimates, analysis, facts))
            known = self.expected[uri] = (analysis, task)
        try:
            return await asyncio.wait_for(asyncio.shield(known[1]), _WAIT_FOR_ESTIMATES)
        except TimeoutError:
            return {}
        except Exception:
            _log.exception("estimating %s failed", uri)
            return {}


def _version() -> str:
    try:
        return version("alchemist-dsl")
    except PackageNotFoundError:
        return "0"


class RequestFailed(JsonRpcException):
    """An answer that says why there is none."""

    CODE = _REQUEST_FAILED
    MESSAGE = "it cannot be done"


def make() -> RecipeServer:
    """A server with all its features."""
    server = RecipeServer()
    for register in (_texts, _writing, _reading, _changing, _looks):
        register(server)
    return server


# --- texts ------------------------------------------------------------------------------------------------------------


def _texts(server: RecipeServer) -> None:
    documents, analyser = server.documents, server.analyser

    @server.feature(lsp.INITIALIZE)
    def initialize(params: lsp.InitializeParams) -> None:
        encoding = server.workspace.position_encoding
        documents.converter = Converter(str(getattr(encoding, "value", encoding)))

    @server.feature(lsp.INITIALIZED)
    def initialized(params: lsp.InitializedParams) -> None:
        workspace = server.client_capabilities.workspace
        watching = workspace.did_change_watched_files if workspace is not None else None
        if watching is None or not watching.dynamic_registration:
            return
        patterns = ("**/*.recipe", "**/recipe.lock")
        options = lsp.DidChangeWatchedFilesRegistrationOptions([lsp.FileSystemWatcher(p) for p in patterns])
        server.client_register_capability(
            lsp.RegistrationParams([lsp.Registration("files", lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES, options)])
        )

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        buffer = documents.open(params.text_document)
        server.check(buffer.uri)
        server.soon(analyser.outdate_all() - {buffer.uri})

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        if documents.change(params) is not None:
            server.soon(analyser.outdate(params.text_document.uri))

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        server.soon(analyser.outdate_all())

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        uri = params.text_document.uri
        documents.close(uri)
        analyser.forget(uri)
        server.closed(uri)
        server.soon(analyser.outdate_all())

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def watched(params: lsp.DidChangeWatchedFilesParams) -> None:
        server.soon(analyser.outdate_all())


# --- what helps to write ----------------------------------------------------------------------------------------------


def _writing(server: RecipeServer) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=list(_TRIGGERS)))
    def completion(params: lsp.CompletionParams) -> lsp.CompletionList | None:
        buffer = server.documents.buffers.get(params.text_document.uri)
        analysis = server.for_completion(params.text_document.uri)
        if buffer is None or analysis is None:
            return None
        offset = server.documents.converter.offset(buffer.source, params.position)
        at = cursor(buffer.source, offset)
        if _only_a_space(params, at):
            return lsp.CompletionList(False, [])
        snippets = _takes_snippets(server.client_capabilities)
        made = [_completion(server, buffer, at, i, snippets) for i in complete(analysis, at)]
        return lsp.CompletionList(False, _once(made))

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    async def hovered(params: lsp.HoverParams) -> lsp.Hover | None:
        found = server.at(params)
        shown = hover(*found) if found is not None else None
        if found is None or shown is None:
            return None
        analysis = found[0]
        text = await _with_estimate(server, params.text_document.uri, analysis, shown)
        return lsp.Hover(
            lsp.MarkupContent(lsp.MarkupKind.Markdown, text),
            server.documents.converter.span(analysis.source, shown.span),
        )

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def format_(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
        buffer = server.documents.buffers.get(params.text_document.uri)
        return [] if buffer is None else actions.edits(buffer.source, server.documents.converter)


def _only_a_space(params: lsp.CompletionParams, at: Cursor) -> bool:
    """Whether nothing but a space asked, where names do not follow a space by themselves."""
    requested = params.context
    if requested is None or requested.trigger_character != " ":
        return False
    return not at.statement or at.where not in ("code", "template")


def _takes_snippets(client: lsp.ClientCapabilities) -> bool:
    with contextlib.suppress(AttributeError):
        return bool(client.text_document.completion.completion_item.snippet_support)  # type: ignore[union-attr]
    return False


def _completion(server: RecipeServer, buffer: Buffer, at: Cursor, item: Item, snippets: bool) -> lsp.CompletionItem:
    start = at.start if item.start is None else item.start
    place = server.documents.converter.range(buffer.source, start, at.offset)
    snippet = bool(item.snippet) and snippets
    text = item.snippet if snippet else item.label
    return lsp.CompletionItem(
        label=item.label,
        kind=item.kind,
        detail=item.detail or None,
        documentation=lsp.MarkupContent(lsp.MarkupKind.Markdown, item.doc) if item.doc else None,
        sort_text=f"{item.sort}{item.label}",
        text_edit=lsp.TextEdit(place, text),
        insert_text_format=lsp.InsertTextFormat.Snippet if snippet else lsp.InsertTextFormat.PlainText,
    )


def _once(items: list[lsp.CompletionItem]) -> list[lsp.CompletionItem]:
    return list({i.label: i for i in reversed(items)}.values())[::-1]


async def _with_estimate(server: RecipeServer, uri: str, analysis: Analysis, shown: Shown) -> str:
    if shown.step is None:
        return shown.text
    line = (await server.estimates(uri, analysis)).get(shown.step)
    return f"{shown.text}\n\n{line}" if line else shown.text


# --- what helps to read -----------------------------------------------------------------------------------------------


def _reading(server: RecipeServer) -> None:
    analyser = server.analyser

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def definition(params: lsp.DefinitionParams) -> lsp.Location | None:
        found = server.at(params)
        place = nav.definition(analyser, *found) if found is not None else None
        return None if place is None else _location(server, place)

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    def references(params: lsp.ReferenceParams) -> list[lsp.Location]:
        found = server.at(params)
        places = nav.references(analyser, *found) if found is not None else []
        declared = params.context.include_declaration
        return [_location(server, p) for p in places if declared or not p.declares]

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    def highlights(params: lsp.DocumentHighlightParams) -> list[lsp.DocumentHighlight]:
        found = server.at(params)
        if found is None:
            return []
        analysis, offset = found
        here = analysis.names.at(analysis.source.path, offset)
        same = analysis.names.of(here.symbol) if here is not None else ()
        return [
            lsp.DocumentHighlight(server.documents.converter.span(analysis.source, o.span))
            for o in same
            if o.span.file == analysis.source.path
        ]

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def symbols(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        analysis = analyser.of(params.text_document.uri)
        if analysis is None:
            return []
        return navigation.symbols(analysis.source, analysis.tree, server.documents.converter)


def _location(server: RecipeServer, place: nav.Found) -> lsp.Location:
    return lsp.Location(place.uri, server.documents.converter.span(place.source, place.span))


# --- what changes texts -----------------------------------------------------------------------------------------------


def _changing(server: RecipeServer) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    def prepare(params: lsp.PrepareRenameParams) -> lsp.Range | None:
        found = server.at(params)
        if found is None:
            return None
        analysis, offset = found
        span = _refusing(lambda: renaming.renamable(analysis, offset)).span
        return server.documents.converter.span(analysis.source, span)

    @server.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    def rename(params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
        found = server.at(params)
        if found is None:
            return None
        analysis, offset = found
        made = _refusing(lambda: renaming.rename(server.analyser, analysis, offset, params.new_name))
        return _workspace_edit(server, made)

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION,
        lsp.CodeActionOptions([lsp.CodeActionKind.QuickFix, lsp.CodeActionKind.SourceFixAll]),
    )
    def code_actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        analysis = server.analyser.of(params.text_document.uri)
        if analysis is None:
            return []
        converter = server.documents.converter
        asked = actions.Asked(
            params.text_document.uri,
            converter.offset(analysis.source, params.range.start),
            converter.offset(analysis.source, params.range.end),
            params.context.only,
        )

        def uri(path: str) -> str:
            return server.documents.uri(analysis.folder, path)

        return list(actions.actions(analysis, asked, converter, uri))

    @server.command(actions.EXPLAIN)
    def explain(code: str) -> str:
        """Show the page of a code; its Markdown is the answer."""
        from alchemist_dsl.diagnostics.page import load, markdown, path_of

        page = path_of(code)
        if _shows_documents(server.client_capabilities):
            shown = lsp.ShowDocumentParams(from_fs_path(str(page)) or "", take_focus=True)
            server.window_show_document(shown)
        return markdown(load(code))


def _refusing(act: Callable[[], T]) -> T:
    try:
        return act()
    except renaming.Refused as refused:
        raise RequestFailed(str(refused), _REQUEST_FAILED) from None


def _workspace_edit(server: RecipeServer, result: renaming.Renaming) -> lsp.WorkspaceEdit:
    """The edits of a renaming; those that change data are marked, so that the editor asks first, or refused."""
    converter = server.documents.converter
    asks = _can_ask(server.client_capabilities)
    if result.data is not None and not asks:
        raise RequestFailed(f"this name is data: {result.data}", _REQUEST_FAILED)
    by_uri: dict[str, list[lsp.TextEdit]] = {}
    for change in result.changes:
        place = converter.span(change.at.source, change.at.span)
        by_uri.setdefault(change.at.uri, []).append(lsp.TextEdit(place, change.text))
    if result.data is None:
        return lsp.WorkspaceEdit(changes=by_uri)
    note = lsp.ChangeAnnotation("Change data", needs_confirmation=True, description=result.data)
    return lsp.WorkspaceEdit(
        document_changes=[
            lsp.TextDocumentEdit(
                lsp.OptionalVersionedTextDocumentIdentifier(uri, _open_version(server, uri)),
                [lsp.AnnotatedTextEdit("data", e.range, e.new_text) for e in edits],
            )
            for uri, edits in by_uri.items()
        ],
        change_annotations={"data": note},
    )


def _open_version(server: RecipeServer, uri: str) -> int | None:
    buffer = server.documents.buffers.get(uri)
    return None if buffer is None else buffer.version


def _can_ask(client: lsp.ClientCapabilities) -> bool:
    edits = client.workspace.workspace_edit if client.workspace is not None else None
    return edits is not None and bool(edits.document_changes) and edits.change_annotation_support is not None


def _shows_documents(client: lsp.ClientCapabilities) -> bool:
    window = client.window
    return window is not None and window.show_document is not None and window.show_document.support


# --- looks ------------------------------------------------------------------------------------------------------------


def _looks(server: RecipeServer) -> None:
    legend = lsp.SemanticTokensLegend(list(highlight.TYPES), list(highlight.MODIFIERS))

    @server.feature(lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, legend)
    def tokens(params: lsp.SemanticTokensParams) -> lsp.SemanticTokens:
        analysis = server.analyser.of(params.text_document.uri)
        data = [] if analysis is None else highlight.semantic_tokens(analysis, server.documents.converter)
        return lsp.SemanticTokens(data)

    @server.feature(lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_RANGE, legend)
    def some_tokens(params: lsp.SemanticTokensRangeParams) -> lsp.SemanticTokens:
        analysis = server.analyser.of(params.text_document.uri)
        if analysis is None:
            return lsp.SemanticTokens([])
        start, end = _offsets(server, analysis, params.range)
        return lsp.SemanticTokens(highlight.semantic_tokens(analysis, server.documents.converter, start, end))

    @server.feature(lsp.TEXT_DOCUMENT_INLAY_HINT)
    def inlay(params: lsp.InlayHintParams) -> list[lsp.InlayHint]:
        analysis = server.analyser.of(params.text_document.uri)
        if analysis is None:
            return []
        return [
            lsp.InlayHint(
                server.documents.converter.position(analysis.source, hint.offset),
                hint.text,
                tooltip=hint.why,
                padding_left=True,
            )
            for hint in hints.hints(analysis, *_offsets(server, analysis, params.range))
        ]


def _offsets(server: RecipeServer, analysis: Analysis, range_: lsp.Range) -> tuple[int, int]:
    converter = server.documents.converter
    return converter.offset(analysis.source, range_.start), converter.offset(analysis.source, range_.end)


def serve() -> int:
    """Talk to an editor over standard input and output until it says good-bye; 1 where it left without `shutdown`."""
    server = make()
    gc.disable()  # a full collection takes longer than a check; see `IDLE`
    gc.freeze()
    server.start_io()
    return 0 if server.protocol._shutdown else 1


__all__ = ["RecipeServer", "make", "serve"]
