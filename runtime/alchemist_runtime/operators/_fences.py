"""Markdown code fences: a text becomes its fenced blocks, each with the language its tag names."""

from __future__ import annotations

import re
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
    out: list[Block] = []
    fence, indent, info = "", 0, ""
    body: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if fence:
            bare = line.strip()
            if len(bare) >= len(fence) and set(bare) == {fence[0]}:
                out.append(_block(info, body))
                fence, body = "", []
            else:
                lead = len(line) - len(line.lstrip(" \t"))
                body.append(line[min(lead, indent) :])
        elif (found := _OPEN.match(line)) and not (found[1][0] == "`" and "`" in found[2]):
            fence, info = found[1], found[2].strip()
            indent = found.start(1)
    if fence:
        out.append(_block(info, body))
    return out


def _block(info: str, body: list[str]) -> Block:
    found = _TAG.match(info)
    tag = found[1].lower().rstrip(".-") if found else ""
    tag = ALIASES.get(tag, tag)
    code = "\n".join(body).strip("\n")
    return Block(None if not tag or tag in PLAIN else tag, code, plain=tag in PLAIN)
