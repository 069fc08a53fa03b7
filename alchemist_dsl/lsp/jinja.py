"""The inside of templates for an editor: variables with their places, and what may be written at an offset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from alchemist_dsl.checker.templates import read_template, template_span
from alchemist_dsl.source import Span
from alchemist_dsl.syntax import ast

#: Tags that a template may use, with what closes them.
TAGS: Final[dict[str, str | None]] = {
    "if": "endif",
    "elif": None,
    "else": None,
    "endif": None,
    "for": "endfor",
    "endfor": None,
    "set": None,
    "with": "endwith",
    "endwith": None,
    "raw": "endraw",
    "endraw": None,
    "filter": "endfilter",
    "endfilter": None,
    "macro": "endmacro",
    "endmacro": None,
}
_MARK: Final = re.compile(r"\{\{|\{%|\{#|\}\}|%\}|#\}")
_LOCAL: Final = re.compile(r"\{%-?\s*(?:for|set|with|macro)\s+([^=%]*?)(?:\s+in\b|=|%\})")


def variables(text: ast.Text) -> Iterator[tuple[str, Span]]:
    """Every variable that a template reads, with its place in the recipe; nothing where the template does not parse."""
    if "{" not in text.value:
        return
    tree, _ = read_template(text.value)
    if isinstance(tree, Exception):
        return
    from jinja2 import nodes

    for node in tree.find_all(nodes.Name):
        if node.ctx == "load":
            at = text.value.find(node.name, int(getattr(node.lineno, "offset", 0)))
            if at >= 0:
                yield node.name, template_span(text, at, len(node.name))


@dataclass(frozen=True, slots=True)
class Inside:
    """What stands before the word that is being written in a template."""

    place: Literal["text", "tag", "filter", "test", "field", "name"]
    base: str = ""  # of a field: the name before the dot
    local: tuple[str, ...] = ()  # names that the template itself makes


def inside(before: str) -> Inside:
    """Where the end of `before` stands, the beginning of a template up to the word that is being written."""
    opened: re.Match[str] | None = None
    for mark in _MARK.finditer(before):
        opened = mark if mark[0][0] == "{" else None
    if opened is None or opened[0] == "{#":
        return Inside("text")
    code = before[opened.end() :].lstrip("-+")
    if opened[0] == "{%" and not code.strip():
        return Inside("tag")
    code = code.rstrip()
    if code.endswith("|"):
        return Inside("filter")
    if re.search(r"\bis(\s+not)?$", code):
        return Inside("test")
    field = re.search(r"([A-Za-z_]\w*)\s*\.$", code)
    if field is not None:
        return Inside("field", field[1])
    if code.endswith("."):
        return Inside("text")
    return Inside("name", local=_locals(before))


def _locals(before: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for match in _LOCAL.finditer(before):
        for name in re.findall(r"[A-Za-z_]\w*", match[1]):
            found[name] = None
    if re.search(r"\{%-?\s*for\b", before):
        found["loop"] = None
    return tuple(found)


_PART: Final = re.compile(r"\{\{-?|-?\}\}|\{%-?|-?%\}|\{#.*?#\}", re.S)
_TOKEN: Final = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|[A-Za-z_]\w*|\d[\d.]*")
_KEYWORDS: Final = frozenset({*TAGS, "in", "is", "not", "and", "or", "if", "else", "true", "false", "none"})


def marks(text: str) -> Iterator[tuple[int, int, str]]:
    """What stands out in the text of a template: marks, comments, and the words between marks."""
    opened: int | None = None
    for mark in _PART.finditer(text):
        if mark[0].startswith("{#"):
            yield mark.start(), mark.end(), "comment"
        elif mark[0][0] == "{":
            opened = mark.end()
            yield mark.start(), mark.end(), "macro"
        elif opened is not None:
            yield from _words(text, opened, mark.start())
            yield mark.start(), mark.end(), "macro"
            opened = None


def _words(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    for word in _TOKEN.finditer(text, start, end):
        before = text[start : word.start()].rstrip()[-1:]
        if word[0][0] in "\"'":
            kind = "string"
        elif word[0][0].isdigit():
            kind = "number"
        elif word[0] in _KEYWORDS:
            kind = "keyword"
        elif before == "|":
            kind = "function"
        else:
            kind = "property"
        yield word.start(), word.end(), kind
