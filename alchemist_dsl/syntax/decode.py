"""Bytes of a file -> text with LF line ends, or where it is not UTF-8."""

from __future__ import annotations

import re
from typing import Final

from alchemist_dsl.diagnostics.model import Diagnostic, Label
from alchemist_dsl.source import SourceFile, Span

#: Bytes of a recipe, and characters of one of its lines.
LARGEST: Final = 1 << 20
LONGEST: Final = 100_000
_OTHER_MARKS: Final = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def decode(path: str, data: bytes) -> tuple[SourceFile | None, tuple[Diagnostic, ...]]:
    """A source file without byte-order mark and with LF line ends; None and a message where it is not UTF-8."""
    if len(data) > LARGEST:
        return None, (_too_large(path),)
    for mark, name in _OTHER_MARKS:
        if data.startswith(mark):
            headline = f"the file is {name}, not UTF-8"
            return None, (_not_utf8(path, headline, "save it as UTF-8"),)
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = data.count(b"\n", 0, offset) + 1
        headline = f"the file is not UTF-8: byte 0x{data[offset]:02x} at offset {offset}, on line {line}"
        return None, (
            _not_utf8(path, headline, "save it as UTF-8; an editor shows the present encoding in its status line"),
        )
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return SourceFile(path, text), ()


def too_large(file: SourceFile) -> Diagnostic | None:
    """What is wrong with the size of a text, be it of a file or of an editor; None where nothing is."""
    if len(file.text) > LARGEST:
        return _too_large(file.path)
    starts = (*file.starts, len(file.text) + 1)
    longest = max(range(len(starts) - 1), key=lambda i: starts[i + 1] - starts[i])
    length = starts[longest + 1] - starts[longest] - 1
    if length <= LONGEST:
        return None
    at = starts[longest]
    return Diagnostic(
        "A019",
        f"line {longest + 1} has {length:,} characters, and a line may have {LONGEST:,}",
        Span(file.path, at, at + 1),
        help="break the line; data belongs into a file that a source reads",
    )


def _too_large(path: str) -> Diagnostic:
    return Diagnostic(
        "A019",
        f"the recipe is larger than {LARGEST >> 20} MiB",
        Span(path, 0, 0),
        help="put data into a file that a source reads, and parts of the recipe into files that it imports",
    )


def _not_utf8(path: str, headline: str, help: str) -> Diagnostic:
    return Diagnostic("A014", headline, Span(path, 0, 0), help=help)


# --- merge markers ---------------------------------------------------------------------------------------------------

_CONFLICT: Final = re.compile(
    r"^(?P<ours><{7}(?: [^\n]*)?)\n(?P<mine>(?:(?![<>=|]{7})[^\n]*\n)*)"
    r"(?P<rest>(?:\|{7}[^\n]*\n(?:(?![<>=|]{7})[^\n]*\n)*)?={7}[^\n]*\n(?:(?![<>=|]{7})[^\n]*\n)*>{7}(?: [^\n]*)?)$",
    re.MULTILINE,
)


def resolve(source: SourceFile) -> tuple[SourceFile, tuple[Diagnostic, ...]]:
    """The text with markers and the other side blanked out, lines and columns unmoved, and a message for each."""
    if "<<<<<<<" not in source.text:
        return source, ()
    found: list[Diagnostic] = []

    def blank(m: re.Match[str]) -> str:
        end = source.span(m.end() - len(m[0].rsplit("\n", 1)[1]), m.end())
        found.append(
            Diagnostic(
                "A015",
                "the file holds an unfinished merge",
                source.span(m.start("ours"), m.end("ours")),
                "from here",
                (Label(end, "to here"),),
                help="keep one of the two sides and delete the three marker lines",
            )
        )
        return _blank(m["ours"]) + "\n" + m["mine"] + _blank(m["rest"])

    text = _CONFLICT.sub(blank, source.text)
    return SourceFile(source.path, text), tuple(found)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
