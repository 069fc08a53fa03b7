"""What the editor has open, and where it lies: buffers over the files of their projects."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lsprotocol import types as lsp
from pygls.uris import from_fs_path, to_fs_path

from alchemist_dsl.project.folder import STD, Folder, folder_of, library, read_recipe
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax.decode import decode

# --- positions -------------------------------------------------------------------------------------------------------

#: Code units of a character beyond the basic plane, by encoding; UTF-16 unless client and server agree on another.
UTF16: Final = "utf-16"
_CODECS: Final = {UTF16: ("utf-16-le", 2), "utf-8": ("utf-8", 1)}


@dataclass(frozen=True, slots=True)
class Converter:
    """The one place that knows what a client counts."""

    units: str = UTF16

    def width(self, text: str) -> int:
        """Length of a text in code units."""
        codec = _CODECS.get(self.units)
        if codec is None or text.isascii():
            return len(text)
        return len(text.encode(codec[0], "surrogatepass")) // codec[1]

    def position(self, source: SourceFile, offset: int) -> lsp.Position:
        """The place of an offset; one past the end is the end."""
        offset = max(0, min(offset, len(source.text)))
        line, column = source.position(offset)
        return lsp.Position(line - 1, self.width(source.text[offset - column + 1 : offset]))

    def range(self, source: SourceFile, start: int, end: int) -> lsp.Range:
        return lsp.Range(self.position(source, start), self.position(source, max(start, end)))

    def span(self, source: SourceFile, span: Span) -> lsp.Range:
        return self.range(source, span.start, span.end)

    def offset(self, source: SourceFile, position: lsp.Position) -> int:
        """The offset of a place; a column past the end of its line is the end of the line."""
        if position.line >= len(source.starts):
            return len(source.text)
        line = source.line(position.line + 1)
        return source.starts[position.line] + self._column(line, position.character)

    def _column(self, line: str, units: int) -> int:
        if line.isascii() or self.units not in _CODECS:
            return min(units, len(line))
        seen = 0
        for column, char in enumerate(line):
            if seen >= units:
                return column
            seen += self.width(char)
        return len(line)


def changed(source: SourceFile, change: lsp.TextDocumentContentChangeEvent, converter: Converter) -> SourceFile:
    """A text after one change of the client."""
    text = plain(change.text)
    if isinstance(change, lsp.TextDocumentContentChangePartial):
        start = converter.offset(source, change.range.start)
        end = max(start, converter.offset(source, change.range.end))
        text = source.text[:start] + text + source.text[end:]
    return SourceFile(source.path, text)


def plain(text: str) -> str:
    """A client's text as the compiler reads texts: no byte-order mark, LF line ends. Lines and columns stay the
    same.
    """
    text = text.removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


# --- documents -------------------------------------------------------------------------------------------------------

#: Files of a project that are searched for references, and folders that hold none.
_MOST_FILES: Final = 2000
_SKIPPED: Final = frozenset({"node_modules", "__pycache__", "outputs", "build", "dist"})


@dataclass(frozen=True, slots=True)
class Buffer:
    """An open text. `path` of the source is that from the project's root, as messages show it."""

    uri: str
    version: int
    source: SourceFile
    folder: Folder
    real: str  # the file's absolute path, links resolved; the URI where it is no file


@dataclass(slots=True)
class Documents:
    """All open buffers. `converter` is set once the client said what it counts."""

    converter: Converter = field(default_factory=Converter)
    buffers: dict[str, Buffer] = field(default_factory=dict)  # by URI
    _by_path: dict[str, str] = field(default_factory=dict)  # absolute path -> URI
    _real: dict[tuple[str, str], str] = field(default_factory=dict)

    def open(self, item: lsp.TextDocumentItem) -> Buffer:
        folder, path, real = _place(item.uri)
        source = SourceFile(path, plain(item.text))
        buffer = Buffer(item.uri, item.version, source, folder, real)
        self.buffers[item.uri] = buffer
        self._by_path[real] = item.uri
        return buffer

    def change(self, params: lsp.DidChangeTextDocumentParams) -> Buffer | None:
        old = self.buffers.get(params.text_document.uri)
        if old is None:
            return None
        source = old.source
        for change in params.content_changes:
            source = changed(source, change, self.converter)
        result = Buffer(old.uri, params.text_document.version, source, old.folder, old.real)
        self.buffers[old.uri] = result
        return result

    def close(self, uri: str) -> Buffer | None:
        buffer = self.buffers.pop(uri, None)
        if buffer is not None and self._by_path.get(buffer.real) == uri:
            del self._by_path[buffer.real]
        return buffer

    def reader(self, folder: Folder) -> Callable[[str], bytes | None]:
        """Reads files of a project as the editor shows them: an open buffer counts more than the disk."""

        def read(path: str) -> bytes | None:
            uri = self._by_path.get(self.real(folder, path))
            if uri is not None:
                return self.buffers[uri].source.text.encode("utf-8", "surrogatepass")
            return folder.read(path)

        return read

    def real(self, folder: Folder, path: str) -> str:
        """The absolute path of a file of a project or of the shipped library."""
        key = (str(folder.root), path)
        found = self._real.get(key)
        if found is None:
            std = path.startswith(STD)
            file = library() / f"{path.removeprefix(STD)}.recipe" if std else folder.root / path
            found = self._real[key] = os.path.realpath(file)
        return found

    def uri(self, folder: Folder, path: str) -> str:
        """The URI of a file: the client's own spelling where it has the file open."""
        if path in self.buffers:
            return path
        real = self.real(folder, path)
        return self._by_path.get(real) or from_fs_path(real) or path

    def shipped(self, uri: str) -> bool:
        """Whether a document is a file of the shipped library, whose templates are complete only where they are
        imported.
        """
        buffer = self.buffers.get(uri)
        return buffer is not None and buffer.real.startswith(os.path.realpath(library()) + os.sep)

    def recipes(self, folder: Folder) -> Iterator[SourceFile]:
        """The recipes of a project, open or not, with their paths from its root."""
        seen: set[str] = set()
        for buffer in self.buffers.values():
            if buffer.folder.root == folder.root:
                seen.add(buffer.real)
                yield buffer.source
        for file in _files(folder.root):
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                source = _read(folder.relative(file), file)
                if source is not None:
                    yield source


def _place(uri: str) -> tuple[Folder, str, str]:
    """Project, path in it and absolute path of a URI. What is no file is checked as if it lay in the current folder."""
    name = to_fs_path(uri) if uri.startswith("file:") else None
    if name is None:
        return folder_of(Path.cwd() / "-"), uri, uri
    file = Path(os.path.realpath(name))
    folder = folder_of(file)
    return folder, folder.relative(file), str(file)


def _files(root: Path) -> Iterator[Path]:
    found = 0
    for at, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f[0] != "." and f not in _SKIPPED)
        for name in sorted(files):
            if name.endswith(".recipe"):
                found += 1
                if found > _MOST_FILES:
                    return
                yield Path(at) / name


def _read(path: str, file: Path) -> SourceFile | None:
    try:
        return decode(path, read_recipe(file))[0]
    except OSError:
        return None
