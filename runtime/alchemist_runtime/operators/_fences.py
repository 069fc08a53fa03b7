"""Markdown code fences: a text becomes its fenced blocks, each with the language its tag names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

#: Fence tags of the languages we know, to the name we use for them.
ALIASES: Final[dict[str, str]] = {
    "py": "python",
    "py3": "python",
    "python2": "python",
    "python3": "python",
    "pycon": "python",
    "ipython": "python",
    "js": "javascript",
    "jsx": "javascript",
    "mjs": "javascript",
    "node": "javascript",
    "nodejs": "javascript",
    "ts": "typescript",
    "tsx": "typescript",
    "c++": "cpp",
    "cc": "cpp",
    "cxx": "cpp",
    "hpp": "cpp",
    "h": "c",
    "golang": "go",
    "rs": "rust",
    "sh": "bash",
    "shell": "bash",
    "zsh": "bash",
    "console": "bash",
    "shellscript": "bash",
    "mysql": "sql",
    "postgresql": "sql",
    "postgres": "sql",
    "sqlite": "sql",
    "plsql": "sql",
    "tsql": "sql",
    "htm": "html",
    "xhtml": "html",
    "jsonc": "json",
    "json5": "json",
    "c#": "csharp",
    "cs": "csharp",
    "rb": "ruby",
    "kt": "kotlin",
    "ps1": "powershell",
}
#: Tags of blocks that hold no code: what a program prints, plain text, a placeholder.
PLAIN: Final = frozenset(
    {
        "text",
        "txt",
        "plain",
        "plaintext",
        "output",
        "out",
        "stdout",
        "none",
        "log",
        "markdown",
        "md",
    }
)

_OPEN: Final = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([^\n]*)$")
#: Backticks at the beginning of a line.
BACKTICKS: Final = re.compile(r"^[ \t]*```", re.M)
_MARKS: Final = re.compile(r"```|~~~")
_TAG: Final = re.compile(r"[{.]*([A-Za-z][\w+#.-]*)")


@dataclass(frozen=True, slots=True)
class Block:
    """`lang` is the tag in our spelling, None without a tag; `plain` marks output and plain text."""

    lang: str | None
    code: str
    plain: bool = False


def scan(text: str) -> list[Block]:
    """The fenced blocks in order; a fence that is never closed runs to the end, as CommonMark has it."""
    if "```" not in text and "~~~" not in text:
        return []
    text = text.replace("\r\n", "\n")
    out: list[Block] = []
    fence, indent, info, begin = "", 0, "", 0
    for start, end in _marked_lines(text):
        line = text[start:end]
        if fence:
            bare = line.strip()
            if len(bare) >= len(fence) and set(bare) == {fence[0]}:
                out.append(_block(info, text[begin : max(begin, start - 1)], indent))
                fence = ""
        elif (found := _OPEN.match(line)) and not (found[1][0] == "`" and "`" in found[2]):
            fence, info = found[1], found[2].strip()
            indent, begin = found.start(1), end + 1
    if fence:
        out.append(_block(info, text[begin:], indent))
    return out


def _marked_lines(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the lines that hold a fence's characters: no other line opens or closes a block."""
    end = -1
    for found in _MARKS.finditer(text):
        if found.start() >= end:
            start = text.rfind("\n", 0, found.start()) + 1
            end = text.find("\n", found.end())
            end = len(text) if end < 0 else end
            yield start, end


def _block(info: str, body: str, indent: int) -> Block:
    found = _TAG.match(info)
    tag = found[1].lower().rstrip(".-") if found else ""
    tag = ALIASES.get(tag, tag)
    if indent:
        lines = body.split("\n")
        body = "\n".join(x[min(len(x) - len(x.lstrip(" \t")), indent) :] for x in lines)
    code = body.strip("\n")
    return Block(None if not tag or tag in PLAIN else tag, code, plain=tag in PLAIN)
