"""Bytes of a file -> text with LF line ends, or where it is not UTF-8."""

from __future__ import annotations

from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.source import SourceFile, Span

_OTHER_MARKS: Final = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def decode(path: str, data: bytes) -> tuple[SourceFile | None, tuple[Diagnostic, ...]]:
    """A source file without byte-order mark and with LF line ends; None and a message where it is not UTF-8."""
    for mark, name in _OTHER_MARKS:
        if data.startswith(mark):
            headline = f"the file is {name}, not UTF-8"
            return None, (_not_utf8(path, headline, "save it as UTF-8"),)
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = data.count(b"\n", 0, offset) + 1
        headline = (
            f"the file is not UTF-8: byte 0x{data[offset]:02x} at offset {offset}, on line {line}"
        )
        return None, (
            _not_utf8(
                path,
                headline,
                "save it as UTF-8; an editor shows the present encoding in its status line",
            ),
        )
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return SourceFile(path, text), ()


def _not_utf8(path: str, headline: str, help: str) -> Diagnostic:
    return Diagnostic("A014", headline, Span(path, 0, 0), help=help)
