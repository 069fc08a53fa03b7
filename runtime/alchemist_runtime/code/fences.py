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
    {"text", "txt", "plain", "plaintext", "output", "out", "stdout", "none", "log", "markdown", "md"}
)

_OPEN: Final = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([^\n]*)$")
_FENCE: Final = re.compile(r"^([ \t]*)(`{3,}|~{3,})", re.M)
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
    """The fenced blocks in order, by the rules of CommonMark; one that is never closed runs to the end.

    A fence that is indented by four columns more than the one that opened the block stands in a string or a comment of
    the code. It closes the block only where no other one does before the next block begins.
    """
    if "```" not in text and "~~~" not in text:
        return []
    text = text.replace("\r\n", "\n")
    out: list[Block] = []
    lines, at = list(_marked_lines(text)), 0
    while at < len(lines):
        start, end = lines[at]
        at += 1
        found = _OPEN.match(text[start:end])
        if found is None or (found[1][0] == "`" and "`" in found[2]):
            continue
        last = _closing(text, lines, at, found[1], _columns(found[0]) + 4)
        stop = len(text) if last is None else max(end + 1, lines[last][0] - 1)
        at = len(lines) if last is None else last + 1
        out.append(_block(found[2].strip(), text[end + 1 : stop], found.start(1)))
    return out


def _closing(text: str, lines: list[tuple[int, int]], first: int, fence: str, deep: int) -> int | None:
    """Which line from the first one on closes a block; `deep` is the column from which on a fence belongs to the
    code.
    """
    late = None
    for number in range(first, len(lines)):
        line = text[slice(*lines[number])]
        bare = line.strip()
        closes = len(bare) >= len(fence) and set(bare) == {fence[0]}
        if _columns(line) >= deep:
            late = number if closes else late
        elif closes or (late is not None and _OPEN.match(line)):
            return number if closes else late
    return late


def _columns(line: str) -> int:
    """How far a line is indented."""
    line = line.expandtabs(4)
    return len(line) - len(line.lstrip(" "))


def hidden(text: str) -> str:
    """The text with brackets that nothing opened in the place of its fences: it parses if these stand in strings or
    comments.
    """
    return _FENCE.sub(lambda found: found[1] + ")" * len(found[2]), text)


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
