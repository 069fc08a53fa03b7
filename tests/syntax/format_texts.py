"""Recipe texts for the formatter's tests: written in every layout that parses, with comments wherever one may stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from hypothesis import strategies as st

from alchemist_dsl.source import SourceFile, Span
from alchemist_dsl.syntax.ast import Comment, File, Text
from alchemist_dsl.syntax.parse import parse

LAYOUT = {"line_offsets", "trailing_comma"}


def tree(node: Any) -> Any:
    """A syntax tree without places, for comparison."""
    if isinstance(node, Comment):
        return node.text.rstrip(" \t")
    if isinstance(node, tuple):
        return tuple(tree(part) for part in node)
    if not is_dataclass(node):
        return node
    values = ((f.name, getattr(node, f.name)) for f in fields(node))
    return (type(node).__name__, *((n, tree(v)) for n, v in values if not isinstance(v, Span) and n not in LAYOUT))


def read(text: str) -> tuple[File, tuple[str, ...]]:
    file, problems = parse(SourceFile("r.recipe", text))
    return file, tuple(p.code for p in problems)


def without_texts(text: str) -> str:
    """A recipe in which every text block is `x`."""
    file, _ = read(text)
    spans: list[Span] = []

    def walk(node: Any) -> None:
        if isinstance(node, Text) and node.form != "string":
            spans.append(node.span)
        if isinstance(node, tuple):
            for part in node:
                walk(part)
        elif is_dataclass(node):
            walk(tuple(getattr(node, f.name) for f in fields(node)))

    walk(file.items)
    for span in sorted(spans, key=lambda s: -s.start):
        text = f"{text[: span.start]}x{text[span.end :]}"
    return text


NAMES = st.sampled_from(["a", "rows", "param", "edition", "import", "b_2", "tokens"])
NUMBERS = st.sampled_from(["1", "5%", "50_000", "$1.2k", "500/min", "3 rows", "2   tokens", "1e-4"])
STRINGS = st.sampled_from(['""', '"x # y"', '"\\"{["', '"é \\u00e9"', '"a, b"'])
TYPES = st.sampled_from(
    ["text", "int( 0 ..10 )", "list < list<text> > ?", 'enum("a","b" , )', 'enum(\n"a"\n)', "real(\n-1..)", "a . b?"]
)
LINES = st.lists(
    st.sampled_from(["", "  ", "x = {", "\t# no comment", '"" quotes', "}", "## é", "  deeper  "]), max_size=4
)


class Writer:
    """Draws recipe text; comments are numbered so that a lost or moved one shows."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw
        self.comments = 0

    def pick(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    def several(self, most: int) -> range:
        return range(self.draw(st.integers(0, most)))

    def comment(self) -> str:
        self.comments += 1
        return f"{self.pick('#', '##', '# ', '## ')}{self.comments}{self.pick('', ' ', ' {', ' [ é')}"

    def space(self) -> str:
        """Within a line."""
        return self.pick("", " ", " ", "\t", "   ")

    def loose(self) -> str:
        """Inside `[…]` and `(…)`, where newlines mean nothing."""
        out = self.space()
        for _ in self.several(2):
            out += self.pick("", "", f"{self.comment()}\n", "\n", "\n\n") + self.space()
        return out

    def newlines(self) -> str:
        """The end of a statement."""
        out = self.space() + self.pick("", "", self.comment()) + "\n"
        for _ in self.several(3):
            out += self.space() + self.pick("", self.comment()) + "\n"
        return out + self.space()

    def text_block(self) -> str:
        quotes = self.pick('"""', '""""')
        indent = self.pick("", "  ", "\t", "      ")
        lines = "".join(f"{indent}{line}\n" for line in self.draw(LINES))
        return f"{self.pick('', 'jinja')}{quotes}{self.pick('', '  ')}\n{lines}{indent}{quotes}"

    def commas(self, items: list[str], closer: str) -> str:
        out = self.loose()
        for i, item in enumerate(items):
            out += item + self.loose()
            if i < len(items) - 1 or self.draw(st.booleans()):
                out += "," + self.loose()
        return out + closer

    def expr(self, depth: int) -> str:
        kind = self.draw(st.integers(0, 12 if depth else 4))
        if kind == 0:
            return self.draw(NAMES)
        if kind == 1:
            return self.draw(NUMBERS)
        if kind == 2:
            return self.draw(STRINGS)
        if kind == 3:
            return f"{self.draw(NAMES)}{self.space()}.{self.space()}{self.draw(NAMES)}"
        if kind == 4:
            return self.pick("true", "null", "[]", "[ \n ]", "f( )", "{ \n }")
        if kind == 5:
            return self.text_block()
        if kind == 6:
            return "[" + self.commas([self.expr(depth - 1) for _ in range(2)], "]")
        if kind == 7:
            names = [self.pick("", "n=", "n  = ") + self.expr(depth - 1) for _ in range(2)]
            return self.draw(NAMES) + self.space() + "(" + self.commas(names, ")")
        if kind == 8:
            return f"({self.loose()}{self.expr(depth - 1)}{self.loose()})"
        if kind == 9:
            return f"a[{self.loose()}{self.expr(depth - 1)}{self.loose()}]"
        if kind == 10:
            return "{" + self.body([f"{n} ={self.space()}{self.expr(depth - 1)}" for n in ("a", "b")])
        if kind == 11:
            op = self.pick("-", "not ", "- -")
            return f"({op}{self.expr(depth - 1)})"
        op = self.pick("+", "-", "/", " ==", "<", " and", " or", " in", " not in", "..")
        gap = self.loose()
        return f"({self.expr(depth - 1)} {op} {gap}{self.expr(depth - 1)})"

    def body(self, statements: list[str]) -> str:
        """Statements or entries up to the closing brace."""
        out = self.pick(self.space(), self.newlines())
        for i, statement in enumerate(statements):
            out += statement
            last = i == len(statements) - 1
            ends = [self.newlines(), "," + self.newlines(), "," + self.space()]
            out += self.pick(self.space(), *ends) if last else self.pick(*ends)
        return out + "}"

    def statement(self, depth: int) -> str:
        kind = self.draw(st.integers(0, 5 if depth else 4))
        if kind == 0:
            head = self.pick("", "set ", "set  a.") + self.draw(NAMES)
            per = self.pick("", "", " per a . b", " per 1M tokens")
            return f"{head}{self.space()}={self.space()}{self.expr(2)}{per}"
        if kind == 1:
            return f"{self.draw(NAMES)}{self.space()}={self.space()}[{self.commas(['a', 'b.c'], ']')}"
        if kind == 2:
            default = self.pick("", f" ={self.expr(1)}")
            return f"{self.draw(NAMES)}{self.space()}:{self.space()}{self.draw(TYPES)}{default}"
        if kind == 3:
            name = self.pick("", " as n")
            return f"{self.pick('keep', 'drop', 'expect')} {self.expr(2)}{name}"
        if kind == 4:
            return f"from = {self.draw(NAMES)}"
        return self.block(depth - 1)

    def block(self, depth: int) -> str:
        statements = [self.statement(depth) for _ in self.several(3)]
        name = self.pick("", " n", ' "a title"', " param")
        return f"{self.pick('filter', 'task')}{name}{self.space()}{{{self.body(statements)}"

    def file(self) -> str:
        out = self.pick("", self.newlines()) + f"edition{self.pick(' ', '  ')}2026"
        for _ in self.several(4):
            kind = self.draw(st.integers(0, 4))
            out += self.newlines()
            if kind == 0:
                out += f'import {self.space()}"std:alchemy" as {self.draw(NAMES)}'
            elif kind == 1:
                default = self.pick("", f" ={self.expr(1)}")
                out += f"param {self.draw(NAMES)}:{self.draw(TYPES)}{default}"
            else:
                out += self.block(2)
        return out + self.pick("", self.newlines(), self.space() + self.comment())


@st.composite
def recipes(draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    """Text of a recipe without a mistake of form."""
    return Writer(draw).file()


_NOISE = [
    *'{}[]()="\n,.:# \t',
    '"""',
    'jinja"""\n',
    "keep ",
    "as",
    "<<<<<<< a\n",
    "\u2028",
    "§",
    "5 %",
    "\r",
    "//",
    "&&",
]


@st.composite
def damaged(draw: Callable[[st.SearchStrategy[Any]], Any], text: str) -> str:
    """A text after a few accidents: pieces lost, doubled, moved, and noise."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 60)))
        piece = draw(st.sampled_from(["", text[start:end] * 2, *_NOISE]))
        text = text[:start] + piece + text[end:] if draw(st.booleans()) else text[:start] + piece + text[start:]
    return text
