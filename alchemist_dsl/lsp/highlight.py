"""Semantic tokens: what the colour of every word says, from tokens, tree and names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS
from alchemist_runtime.schema.kinds import KINDS

from alchemist_dsl.lsp.analysis import Analysis
from alchemist_dsl.lsp.context import marks
from alchemist_dsl.lsp.documents import Converter
from alchemist_dsl.lsp.names import every, is_column_name
from alchemist_dsl.source import SourceFile
from alchemist_dsl.syntax import ast
from alchemist_dsl.syntax.grammar import load
from alchemist_dsl.syntax.trivia import scan

TYPES: Final = (
    "keyword",
    "class",
    "type",
    "string",
    "number",
    "comment",
    "operator",
    "function",
    "method",
    "variable",
    "property",
    "parameter",
    "namespace",
    "enumMember",
    "event",
    "macro",
)
MODIFIERS: Final = ("declaration", "readonly", "documentation", "defaultLibrary")
_NUMBER: Final = {name: number for number, name in enumerate(TYPES)}
_WORDS: Final = frozenset(
    ["SET", "KEEP", "DROP", "EXPECT", "AS", "PER", "AND", "OR", "NOT", "IN", "TRUE", "FALSE", "NULL"]
)
_SYMBOLS: Final = {
    "block": "variable",
    "alias": "namespace",
    "param": "parameter",
    "rule": "event",
    "class": "enumMember",
    "input": "property",
    "output": "property",
    "field": "property",
}
_DECLARATION, _DOCUMENTATION = 1, 4

#: start, end, type, modifiers
Piece = tuple[int, int, str, int]


def semantic_tokens(analysis: Analysis, converter: Converter, start: int = 0, end: int | None = None) -> list[int]:
    """The tokens of a document, or of a range of it, as the protocol counts them: each relative to the one before."""
    source = analysis.source
    last = len(source.text) if end is None else end
    found = {p[0]: p for p in _pieces(analysis) if p[0] < last and p[1] > start}
    data: list[int] = []
    line = column = 0
    for piece in sorted(found.values()):
        for begin, stop in _lines(source, piece):
            at = converter.position(source, begin)
            length = converter.width(source.text[begin:stop])
            same = at.line == line
            data += [
                at.line - line,
                at.character - column if same else at.character,
                length,
                _NUMBER[piece[2]],
                piece[3],
            ]
            line, column = at.line, at.character
    return data


def _lines(source: SourceFile, piece: Piece) -> Iterator[tuple[int, int]]:
    """A piece line by line: many editors take no token that goes over a line's end."""
    at, end = piece[0], piece[1]
    while at < end:
        stop = source.text.find("\n", at, end)
        stop = end if stop < 0 else stop
        if stop > at:
            yield at, stop
        at = stop + 1


def _pieces(analysis: Analysis) -> Iterator[Piece]:
    """Later pieces win over earlier ones of the same place."""
    source = analysis.source
    yield from _words(source)
    for item in analysis.tree.items:
        yield from _item(source, item)
    for occurrence in analysis.names.by_file.get(source.path, ()):
        span = occurrence.span
        kind = _SYMBOLS[occurrence.symbol.what]
        yield span.start, span.end, kind, _DECLARATION if occurrence.declares else 0


def _words(source: SourceFile) -> Iterator[Piece]:
    """What the spelling alone says."""
    tokens = scan(source, load())
    for comment in tokens.comments:
        documents = _DOCUMENTATION if comment.text.startswith("##") else 0
        yield comment.span.start, comment.span.end, "comment", documents
    fresh = True
    for kind, start, end in zip(tokens.kinds, tokens.starts, tokens.ends, strict=True):
        if kind in _WORDS or (fresh and kind in ("PARAM", "IMPORT", "EDITION")):
            yield start, end, "keyword", 0
        elif kind == "NUMBER":
            yield start, end, "number", 0
        elif kind in ("STRING", "TEXT_BLOCK"):
            yield from _text(source, start, end, kind)
        fresh = kind == "NEWLINE"


def _text(source: SourceFile, start: int, end: int, kind: str) -> Iterator[Piece]:
    text = source.text[start:end]
    if kind == "STRING" or not text.startswith("jinja"):
        yield start, end, "string", 0
        return
    at = 0
    for begin, stop, what in marks(text):
        if begin > at:
            yield start + at, start + begin, "string", 0
        yield start + begin, start + stop, what, 0
        at = stop
    yield start + at, end, "string", 0


def _item(source: SourceFile, item: ast.Item) -> Iterator[Piece]:
    match item:
        case ast.ParamDecl(type=type_):
            yield from _type(type_)
        case ast.Block(kind=kind):
            yield kind.span.start, kind.span.end, "class" if kind.name in KINDS else "variable", 0
            for statement in item.body:
                yield from _statement(item, statement)


def _statement(block: ast.Block, statement: ast.Statement) -> Iterator[Piece]:
    match statement:
        case ast.FieldDecl(name=name, type=type_):
            yield name.span.start, name.span.end, "property", _DECLARATION
            yield from _type(type_)
        case ast.Block(kind=kind, body=body):
            yield kind.span.start, kind.span.end, "property", 0
            for inner in body:
                yield from _statement(block, inner)
        case ast.Assign(path=path, value=value, per=per):
            yield from _idents(path)
            columns = is_column_name(block, statement)
            for part in (value, *([per] if per is not None else [])):
                yield from _expression(part, columns or part is per)
        case ast.RuleStmt(condition=condition):
            yield from _expression(condition, is_column_name(block, statement))


def _idents(path: Iterable[ast.Ident]) -> Iterator[Piece]:
    for ident in path:
        yield ident.span.start, ident.span.end, "property", 0


def _type(type_: ast.TypeExpr) -> Iterator[Piece]:
    start = type_.span.start
    yield start, start + len(type_.base), "type", 0
    for inner in type_.args:
        yield from _type(inner)


def _expression(expr: ast.Expr, columns: bool) -> Iterator[Piece]:
    for node in every(expr):
        span = node.span
        match node:
            case ast.Name():
                yield span.start, span.end, "property" if columns else "enumMember", 0
            case ast.Member(base=base, name=name):
                yield name.span.start, name.span.end, "property", 0
                if isinstance(base, ast.Name) and base.name in ("param", "out", "plan", "row"):
                    columns = columns and base.name == "row"
            case ast.Call(function=function, args=args):
                known = function.name in FUNCTIONS or function.name in AGGREGATES
                yield function.span.start, function.span.end, "function" if known else "method", 0
                for argument in args:
                    if argument.name is not None:
                        yield argument.name.span.start, argument.name.span.end, "parameter", 0
            case ast.Record(fields=fields):
                yield from _idents(f.name for f in fields)
