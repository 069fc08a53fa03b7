"""Reads the inside of strings and of text blocks: escapes, dedent, and which place of the file each line came from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_ESCAPE: Final = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt]|.)')
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_HALF: Final = re.compile("[\ud800-\udfff]")
_SIMPLE: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class BadEscape:
    """An escape that JSON does not know, by its offsets in the literal."""

    start: int
    end: int
    surrogate: bool = False


@dataclass(frozen=True, slots=True)
class BadIndent:
    """Lines of a text block that do not start with the indentation of the closing quotes."""

    start: int  # offsets, in the literal, of the first such line's indentation
    end: int
    tabs: bool  # tabs and spaces differ; else there is simply too little
    lines: int


@dataclass(frozen=True, slots=True)
class Block:
    value: str
    offsets: tuple[int, ...]  # offset in the literal of the first character of every line of `value`
    problem: BadIndent | None = None


def unescape(literal: str) -> tuple[str, BadEscape | None]:
    """The value of a string with its quotes, and the first escape that is wrong."""
    body = literal[1:-1]
    if "\\" not in body:
        return body, None
    bad: list[BadEscape] = []

    def one(m: re.Match[str]) -> str:
        code = m[1]
        if code in _SIMPLE:
            return _SIMPLE[code]
        if len(code) == 5:
            return chr(int(code[1:], 16))
        bad.append(BadEscape(m.start() + 1, m.end() + 1))
        return m[0]

    value = _PAIR.sub(_join, _ESCAPE.sub(one, body))
    alone = None if bad else _HALF.search(value)
    if alone:
        escape = next(m for m in _ESCAPE.finditer(body) if m[1].lower() == f"u{ord(alone[0]):04x}")
        bad.append(BadEscape(escape.start() + 1, escape.end() + 1, surrogate=True))
    return value, bad[0] if bad else None


def _join(m: re.Match[str]) -> str:
    """Two escaped halves make one character."""
    high, low = ord(m[0][0]), ord(m[0][1])
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def dedent(literal: str, quotes: int) -> Block:
    """The text of a block, from its opening to its closing quotes, without the indentation of the latter."""
    first = literal.index("\n") + 1
    last = literal.rindex("\n") + 1
    if last == first:  # nothing between the two lines of quotes
        return Block("", ())
    prefix = literal[last : len(literal) - quotes]
    width = len(prefix)
    lines: list[str] = []
    offsets: list[int] = []
    problem: BadIndent | None = None
    at = first
    for line in literal[first : last - 1].split("\n"):
        strip = width
        if not line.startswith(prefix):
            blank = line.lstrip(" \t")
            strip = min(len(line) - len(blank), width)
            if blank:
                tabs = _columns(line[: len(line) - len(blank)]) >= _columns(prefix)
                problem = BadIndent(
                    problem.start if problem else at,
                    problem.end if problem else at + max(len(line) - len(blank), 1),
                    problem.tabs if problem else tabs,
                    problem.lines + 1 if problem else 1,
                )
        lines.append(line[strip:])
        offsets.append(at + strip)
        at += len(line) + 1
    return Block("\n".join(lines), tuple(offsets), problem)


def _columns(indentation: str) -> int:
    return len(indentation.expandtabs(8))
