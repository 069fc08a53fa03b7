"""An editor for tests: starts the real server as a process and talks to it over its standard input and output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from command_line import PATIENCE
from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

REPO = Path(__file__).resolve().parents[2]
#: Where the cursor is in the texts of tests.
CURSOR = "‸"


def capabilities(*, asks: bool = True) -> lsp.ClientCapabilities:
    """What the editor can do. `asks`: it shows changes that need to be confirmed."""
    return lsp.ClientCapabilities(
        workspace=lsp.WorkspaceClientCapabilities(
            workspace_edit=lsp.WorkspaceEditClientCapabilities(
                document_changes=True, change_annotation_support=lsp.ChangeAnnotationsSupportOptions() if asks else None
            )
        ),
        text_document=lsp.TextDocumentClientCapabilities(
            completion=lsp.CompletionClientCapabilities(
                completion_item=lsp.ClientCompletionItemOptions(snippet_support=True)
            )
        ),
    )


class Editor:
    """One server process with the documents that are open in it."""

    def __init__(self, root: Path, *, asks: bool = True) -> None:
        self.root = root
        self.loop = asyncio.new_event_loop()
        self.client = LanguageClient("tests", "1")
        self.texts: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.published: dict[str, lsp.PublishDiagnosticsParams] = {}
        self.logged: list[str] = []
        self.client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(lambda p: self._take(p))
        self.client.feature(lsp.WINDOW_LOG_MESSAGE)(lambda p: self.logged.append(p.message))
        self.client.feature(lsp.WINDOW_SHOW_MESSAGE)(lambda p: self.logged.append(p.message))
        path = os.pathsep.join([str(REPO), str(REPO / "runtime")])
        self._do(
            self.client.start_io(
                sys.executable,
                "-m",
                "alchemist_dsl",
                "lsp",
                "--stdio",
                cwd=str(root),
                env={**os.environ, "PYTHONPATH": path},
            )
        )
        made = self._do(
            self.client.initialize_async(
                lsp.InitializeParams(
                    capabilities=capabilities(asks=asks), root_uri=root.as_uri(), process_id=os.getpid()
                )
            )
        )
        self.server: lsp.ServerCapabilities = made.capabilities
        self.client.initialized(lsp.InitializedParams())

    def _take(self, params: lsp.PublishDiagnosticsParams) -> None:
        self.published[params.uri] = params

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, PATIENCE))

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._do(self.client.shutdown_async(None))
            self.client.exit(None)
            self._do(self.client.stop())
        self.loop.close()

    # --- texts --------------------------------------------------------------------------------------------------------

    def uri(self, name: str) -> str:
        return (self.root / name).as_uri()

    def open(self, name: str, text: str) -> None:
        """Open a document; a cursor mark in it is left out."""
        text = text.replace(CURSOR, "")
        uri = self.uri(name)
        self.texts[name], self.versions[name] = text, 1
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, "recipe", 1, text)))

    def replace(self, name: str, old: str, new: str) -> None:
        """One incremental edit: the first `old` becomes `new`."""
        text = self.texts[name]
        at = text.index(old)
        range_ = lsp.Range(self.position(name, at), self.position(name, at + len(old)))
        self.texts[name] = text[:at] + new + text[at + len(old) :]
        self.change(name, lsp.TextDocumentContentChangePartial(range=range_, text=new))

    def change(self, name: str, *changes: lsp.TextDocumentContentChangeEvent) -> None:
        self.versions[name] += 1
        which = lsp.VersionedTextDocumentIdentifier(self.versions[name], self.uri(name))
        self.client.text_document_did_change(lsp.DidChangeTextDocumentParams(which, list(changes)))

    def position(self, name: str, offset: int) -> lsp.Position:
        """The place of an offset, counted as the protocol does: in UTF-16."""
        before = self.texts[name][:offset].replace("\r\n", "\n")
        line = before.count("\n")
        column = before[before.rfind("\n") + 1 :]
        return lsp.Position(line, len(column.encode("utf-16-le")) // 2)

    def offset(self, name: str, position: lsp.Position) -> int:
        lines = self.texts[name].split("\n")
        line = lines[position.line] if position.line < len(lines) else ""
        column = len(line.encode("utf-16-le")[: position.character * 2].decode("utf-16-le"))
        return sum(len(t) + 1 for t in lines[: position.line]) + column

    def slice(self, name: str, range_: lsp.Range) -> str:
        return self.texts[name][self.offset(name, range_.start) : self.offset(name, range_.end)]

    def apply(self, name: str, edits: list[lsp.TextEdit]) -> str:
        """The text of a document after edits."""
        text = self.texts[name]
        for edit in sorted(edits, key=lambda e: self.offset(name, e.range.start), reverse=True):
            start, end = self.offset(name, edit.range.start), self.offset(name, edit.range.end)
            text = text[:start] + edit.new_text + text[end:]
        return text

    # --- questions ----------------------------------------------------------------------------------------------------

    def diagnostics(self, name: str) -> list[lsp.Diagnostic]:
        """The problems of the newest version of a document."""
        return list(self.until(name, lambda p: p.version == self.versions[name]).diagnostics)

    def until(self, name: str, good: Any) -> lsp.PublishDiagnosticsParams:
        """Wait for problems of which something holds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.published.get(self.uri(name))
            if found is not None and good(found):
                return found
            self._do(asyncio.sleep(0.002))
        raise AssertionError(f"no such diagnostics of {name}: {self.published.get(self.uri(name))}")

    def ask(self, method: str, params: Any) -> Any:
        async def asked() -> Any:
            return await self.client.protocol.send_request_async(method, params)

        return self._do(asked())

    def at(self, name: str, place: int | str) -> dict[str, Any]:
        """Document and position of an offset, or of the cursor mark in an excerpt of the text."""
        if isinstance(place, str):
            before = place.index(CURSOR)
            place = self.texts[name].index(place.replace(CURSOR, "")) + before
        return {"text_document": lsp.TextDocumentIdentifier(self.uri(name)), "position": self.position(name, place)}

    def complete(self, name: str, place: int | str) -> dict[str, lsp.CompletionItem]:
        found = self.ask(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionParams(**self.at(name, place)))
        return {i.label: i for i in found.items}

    def completed(self, text: str, name: str = "typing.recipe") -> dict[str, lsp.CompletionItem]:
        """What may be written at the cursor of a new document."""
        self.open(name, text)
        return self.complete(name, text.index(CURSOR))

    def hover(self, name: str, place: int | str) -> str:
        found = self.ask(lsp.TEXT_DOCUMENT_HOVER, lsp.HoverParams(**self.at(name, place)))
        return "" if found is None else str(found.contents.value)

    def definition(self, name: str, place: int | str) -> lsp.Location | None:
        found: lsp.Location | None = self.ask(
            lsp.TEXT_DOCUMENT_DEFINITION, lsp.DefinitionParams(**self.at(name, place))
        )
        return found

    def references(self, name: str, place: int | str) -> list[lsp.Location]:
        context = lsp.ReferenceContext(include_declaration=True)
        params = lsp.ReferenceParams(context=context, **self.at(name, place))
        return list(self.ask(lsp.TEXT_DOCUMENT_REFERENCES, params))

    def rename(self, name: str, place: int | str, new: str) -> lsp.WorkspaceEdit:
        params = lsp.RenameParams(new_name=new, **self.at(name, place))
        found: lsp.WorkspaceEdit = self.ask(lsp.TEXT_DOCUMENT_RENAME, params)
        return found

    def actions(self, name: str, diagnostic: lsp.Diagnostic) -> dict[str, lsp.CodeAction]:
        params = lsp.CodeActionParams(
            lsp.TextDocumentIdentifier(self.uri(name)), diagnostic.range, lsp.CodeActionContext([diagnostic])
        )
        return {a.title: a for a in self.ask(lsp.TEXT_DOCUMENT_CODE_ACTION, params)}
