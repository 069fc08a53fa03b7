"""Where in a recipe a position stands, read from the tokens before it, so that broken lines elsewhere do not matter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from alchemist_dsl.checker.templates import read_template, template_span
from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.grammar import load
from alchemist_dsl.syntax.trivia import Tokens, scan

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_PATH_IN_QUOTES: Final = re.compile(r'^\s*(import|extends\s*=)\s*"([^"\n]*)\Z')
_PARTNER: Final = {"RBRACE": "LBRACE", "RSQB": "LSQB", "RPAR": "LPAR"}
_VERBS: Final = frozenset({"KEEP", "DROP", "EXPECT", "SET"})
_TOP: Final = frozenset({"PARAM", "IMPORT", "EDITION"})

Where = Literal["code", "comment", "string", "path", "text", "template"]


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Frame:
    """An open bracket: a block (`name` is its kind), a sub-block, a record (of the attribute `name`), a list, a
    call.
    """

    kind: Literal["block", "sub", "record", "list", "call", "group"]
    name: str = ""
    title: str = ""  # of a block
    start: int = 0


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position: the word that ends there, the brackets around it, and the statement before the word."""

    where: Where
    offset: int
    start: int  # of the word
    word: str
    frames: tuple[Frame, ...] = ()
    statement: tuple[Token, ...] = ()  # up to the word, brackets and all
    before: str = ""  # of a template: its text up to the word; of a path: what is written of it

    @property
    def block(self) -> Frame | None:
        return next((f for f in self.frames if f.kind == "block"), None)

    @property
    def sub(self) -> Frame | None:
        """The innermost sub-block or record."""
        return next((f for f in reversed(self.frames) if f.kind in ("sub", "record")), None)

    @property
    def brackets(self) -> tuple[Frame, ...]:
        """The lists, calls and parentheses of the statement, innermost last."""
        inner: list[Frame] = []
        for frame in reversed(self.frames):
            if frame.kind in ("block", "sub", "record"):
                break
            inner.append(frame)
        return tuple(reversed(inner))

    @property
    def last(self) -> str:
        """Kind of the token before the word; empty at the start of a statement."""
        return self.statement[-1].kind if self.statement else ""

    def path_before(self) -> tuple[str, ...]:
        """The names of `a.b.` right before the word."""
        names: list[str] = []
        at = len(self.statement) - 1
        while at >= 1 and self.statement[at].kind == "DOT" and _named(self.statement[at - 1]):
            names.append(self.statement[at - 1].text)
            at -= 2
        return tuple(reversed(names))


def cursor(source: SourceFile, offset: int) -> Cursor:
    """Where an offset stands."""
    tokens = scan(source, load())
    text = source.text
    for comment in tokens.comments:
        if comment.span.start < offset <= comment.span.end:
            return Cursor("comment", offset, offset, "")
    found = _WORD.search(text, max(0, offset - 200), offset)
    start = found.start() if found else offset
    word = text[start:offset]
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    path = _PATH_IN_QUOTES.match(line)
    if path is not None:
        return Cursor("path", offset, offset - len(path[2]), path[2], before=path[1])
    number = _covering(tokens, offset)
    frames, statement = _walk(tokens, start)
    if number is not None:
        token = text[tokens.starts[number] : tokens.ends[number]]
        where: Where = "string"
        if tokens.kinds[number] == "TEXT_BLOCK":
            where = "template" if token.startswith("jinja") else "text"
        before = text[tokens.starts[number] : start] if where == "template" else ""
        before = before[before.find("\n") + 1 :]
        return Cursor(where, offset, start, word, frames, statement, before)
    if line.count('"') % 2 and not line.lstrip().startswith("#"):
        return Cursor("string", offset, start, word, frames, statement)
    return Cursor("code", offset, start, word, frames, statement)


def _covering(tokens: Tokens, offset: int) -> int | None:
    """The string or text block around an offset."""
    for i, kind in enumerate(tokens.kinds):
        if tokens.starts[i] >= offset:
            return None
        if kind in ("STRING", "TEXT_BLOCK") and offset < tokens.ends[i]:
            return i
    return None


class _Open:
    """A bracket on the stack: the frame that it opens, the statement around it, the indentation of that one's line."""

    def __init__(self, kind: str, frame: Frame, statement: list[Token], indent: int) -> None:
        self.kind, self.frame, self.statement, self.indent = kind, frame, statement, indent


def _walk(tokens: Tokens, offset: int) -> tuple[tuple[Frame, ...], tuple[Token, ...]]:
    """The brackets that are open at an offset and the tokens of its statement. A bracket that was forgotten ends where
    a line begins that cannot stand inside it."""
    text = tokens.source.text
    stack: list[_Open] = []
    statement: list[Token] = []
    fresh = True  # at the start of a line
    for i, kind in enumerate(tokens.kinds):
        at = tokens.starts[i]
        if at >= offset:
            break
        if kind == "NEWLINE":
            fresh = True
            if not stack or stack[-1].kind == "LBRACE":
                statement = []
            continue
        if fresh:
            fresh = False
            statement = _mended(tokens, i, stack, statement)
        token = Token(kind, text[at : min(tokens.ends[i], offset)], at, tokens.ends[i])
        if kind in ("LBRACE", "LSQB", "LPAR"):
            frame = _frame(kind, statement, stack, at)
            statement.append(token)
            stack.append(_Open(kind, frame, statement, _indent(text, statement[0].start)))
            if kind == "LBRACE":
                statement = []
        elif kind in _PARTNER:
            statement = _closed(_PARTNER[kind], stack, statement)
            statement.append(token)
        elif kind == "COMMA" and stack and stack[-1].kind == "LBRACE":
            statement = []
        else:
            statement.append(token)
    if fresh and offset <= len(text) and stack and stack[-1].kind != "LBRACE":
        statement = _mended_at_cursor(text, offset, stack, statement)
    return tuple(o.frame for o in stack), tuple(statement)


def _closed(opener: str, stack: list[_Open], statement: list[Token]) -> list[Token]:
    """Close the innermost bracket of a kind, with those inside it that nobody closed."""
    if not any(o.kind == opener for o in stack):
        return statement
    while stack:
        open_ = stack.pop()
        statement = open_.statement
        if open_.kind == opener:
            break
    return statement


def _mended(tokens: Tokens, i: int, stack: list[_Open], statement: list[Token]) -> list[Token]:
    """At the start of a line: brackets that were forgotten are closed."""
    text, at = tokens.source.text, tokens.starts[i]
    indent = _indent(text, at)
    if indent == 0 and _heads(tokens, i):
        stack.clear()
        return []
    begins = tokens.kinds[i] == "RBRACE" or _begins(tokens, i)
    while stack and stack[-1].kind != "LBRACE" and begins and indent <= stack[-1].indent:
        stack.pop()
        statement = []
    return statement


def _mended_at_cursor(text: str, offset: int, stack: list[_Open], statement: list[Token]) -> list[Token]:
    """A new line is being written, no deeper than the one whose list was never closed."""
    indent = offset - text.rfind("\n", 0, offset) - 1
    while stack and stack[-1].kind != "LBRACE" and indent <= stack[-1].indent:
        stack.pop()
        statement = []
    return statement


def _begins(tokens: Tokens, i: int) -> bool:
    """Whether a line reads like a statement: `a.b = `, `a: `, `kind name {`, `keep …`."""
    kinds = tokens.kinds
    if kinds[i] in _VERBS or kinds[i] in _TOP:
        return True
    if kinds[i] != "NAME":
        return False
    at = i + 1
    while at + 1 < len(kinds) and kinds[at] == "DOT":
        at += 2
    if at < len(kinds) and kinds[at] in ("NAME", "STRING"):
        at += 1
        return at < len(kinds) and kinds[at] == "LBRACE"
    return at < len(kinds) and kinds[at] in ("EQ", "COLON", "LBRACE")


def _heads(tokens: Tokens, i: int) -> bool:
    """Whether an unindented line opens a top-level item."""
    kinds = tokens.kinds
    if kinds[i] in _TOP:
        return kinds[i + 1] in ("NAME", "STRING", "NUMBER")
    if kinds[i] != "NAME":
        return False
    at = i + 1
    if kinds[at] in ("NAME", "STRING"):
        at += 1
    return at < len(kinds) and kinds[at] == "LBRACE"


def _frame(kind: str, statement: Sequence[Token], stack: list[_Open], at: int) -> Frame:
    before = statement[-1] if statement else None
    if kind == "LPAR":
        called = before is not None and _named(before)
        return Frame("call", before.text, start=at) if called and before else Frame("group", start=at)
    if kind == "LSQB":
        return Frame("list", start=at)
    names = [t for t in statement if _named(t)]
    if len(names) == len(statement) == 1:
        return Frame("sub" if stack else "block", names[0].text, start=at)
    if len(statement) == 2 and names and before is not None and before.kind in ("NAME", "STRING"):
        return Frame("block", names[0].text, before.text.strip('"'), at)
    equals = next((n for n, t in enumerate(statement) if t.kind == "EQ"), 0)
    return Frame("record", statement[equals - 1].text if equals else "", start=at)


def _named(token: Token) -> bool:
    return token.kind in ("NAME", "PARAM", "IMPORT", "EDITION")


def _indent(text: str, at: int) -> int:
    line = text.rfind("\n", 0, at) + 1
    return len(text[line:at]) - len(text[line:at].lstrip(" \t"))


# --- jinja -----------------------------------------------------------------------------------------------------------

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
