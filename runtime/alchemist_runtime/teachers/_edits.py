"""Edits of Python source by the positions of its syntax tree, and sentences made from the names of functions."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.operators import _grammars
from alchemist_runtime.teachers._python_scan import FUNCTION, Function


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text between two places by another; line from 1, column in characters from 0."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


def apply(source: str, edits: Iterable[Edit]) -> str:
    """The source with all edits made; they must not overlap."""
    lines = source.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    out = source
    for edit in sorted(edits, key=lambda e: e.start, reverse=True):
        a = starts[edit.start[0] - 1] + edit.start[1]
        b = starts[edit.end[0] - 1] + edit.end[1]
        out = out[:a] + edit.text + out[b:]
    return out


class Source:
    """Python source with its tree, and places of nodes in characters (the tree counts bytes)."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text = text
        self.tree = tree
        self.lines = text.split("\n")

    def place(self, line: int, column: int) -> tuple[int, int]:
        row = self.lines[line - 1]
        return (
            (line, column)
            if row.isascii()
            else (line, len(row.encode()[:column].decode("utf-8", "replace")))
        )

    def start(self, node: ast.expr | ast.stmt | ast.arg) -> tuple[int, int]:
        return self.place(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt | ast.arg) -> tuple[int, int]:
        return self.place(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def of(self, node: ast.expr | ast.stmt) -> str:
        a, b = self.start(node), self.end(node)
        if a[0] == b[0]:
            return self.lines[a[0] - 1][a[1] : b[1]]
        inner = self.lines[a[0] : b[0] - 1]
        return "\n".join([self.lines[a[0] - 1][a[1] :], *inner, self.lines[b[0] - 1][: b[1]]])

    def colon(self, f: Function) -> tuple[int, int] | None:
        """Where the colon stands that ends the head of a function."""
        start = f.lineno
        text = "\n".join(self.lines[start - 1 : f.end_lineno]) + "\n"
        depth = 0
        try:
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                if token.type == tokenize.OP and token.string in "([{":
                    depth += 1
                elif token.type == tokenize.OP and token.string in ")]}":
                    depth -= 1
                elif token.type == tokenize.OP and token.string == ":" and depth == 0:
                    return token.start[0] + start - 1, token.start[1]
        except (tokenize.TokenError, SyntaxError):
            return None
        return None

    def before_body(self, f: Function) -> tuple[int, str] | None:
        """(line, indent) where a first statement can go in; None where the body stands on the line of the head."""
        colon = self.colon(f)
        first = f.body[0]
        if colon is None or first.lineno == colon[0]:
            return None
        row = self.lines[first.lineno - 1]
        return colon[0] + 1, row[: len(row) - len(row.lstrip())]

    def after_docstring(self, f: Function) -> tuple[int, str] | None:
        """(line, indent) after the docstring, or of the first statement."""
        found = self.before_body(f)
        if found is None or not has_docstring(f):
            return found
        end = f.body[0].end_lineno or 0
        if ";" in self.lines[end - 1].rpartition('"')[2].rpartition("'")[2]:
            return None
        return end + 1, found[1]


def parse(text: str) -> Source | None:
    """Source that parses as it stands (no snippet, no session)."""
    tree = _grammars._ast(text)
    return Source(text, tree) if tree is not None and tree.body else None


def insert(line: int, text: str) -> Edit:
    """Lines of text put in before a line."""
    return Edit((line, 0), (line, 0), text + "\n")


def has_docstring(node: Function | ast.ClassDef | ast.Module) -> bool:
    first = node.body[0] if node.body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def top_functions(tree: ast.Module) -> list[Function]:
    return [n for n in tree.body if isinstance(n, FUNCTION)]


def import_line(source: Source) -> int:
    """The line before which an import can be put: after the module's docstring and `from __future__`."""
    line = 1
    for i, n in enumerate(source.tree.body):
        docstring = i == 0 and has_docstring(source.tree)
        if not docstring and not (isinstance(n, ast.ImportFrom) and n.module == "__future__"):
            break
        line = (n.end_lineno or 0) + 1
    while line == 1 and source.lines[0].startswith("#!"):
        line += 1
    return line


# --- names as words -----------------------------------------------------------------------------------------------------------

_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_VERBS: Final = frozenset(
    [
        "add",
        "append",
        "apply",
        "assign",
        "authenticate",
        "build",
        "bubble",
        "calculate",
        "call",
        "check",
        "classify",
        "clean",
        "close",
        "collect",
        "combine",
        "compare",
        "compress",
        "compute",
        "connect",
        "construct",
        "convert",
        "copy",
        "count",
        "create",
        "crop",
        "decode",
        "decrypt",
        "delete",
        "deposit",
        "detect",
        "determine",
        "display",
        "divide",
        "download",
        "draw",
        "encode",
        "encrypt",
        "evaluate",
        "extract",
        "fetch",
        "fill",
        "filter",
        "find",
        "fit",
        "flatten",
        "format",
        "generate",
        "get",
        "give",
        "group",
        "handle",
        "hash",
        "increment",
        "initialize",
        "insert",
        "interpolate",
        "invert",
        "join",
        "list",
        "load",
        "log",
        "lookup",
        "make",
        "map",
        "match",
        "max",
        "measure",
        "merge",
        "min",
        "modify",
        "move",
        "multiply",
        "normalize",
        "open",
        "order",
        "parse",
        "partition",
        "perform",
        "permute",
        "plot",
        "pop",
        "predict",
        "prepare",
        "print",
        "process",
        "push",
        "put",
        "quick",
        "read",
        "rearrange",
        "remove",
        "rename",
        "render",
        "replace",
        "reset",
        "resize",
        "return",
        "reverse",
        "rotate",
        "round",
        "run",
        "save",
        "say",
        "scale",
        "scrape",
        "search",
        "select",
        "send",
        "set",
        "show",
        "shuffle",
        "simulate",
        "solve",
        "sort",
        "split",
        "start",
        "stop",
        "store",
        "strip",
        "subtract",
        "sum",
        "summarize",
        "swap",
        "take",
        "tokenize",
        "train",
        "transform",
        "translate",
        "transpose",
        "traverse",
        "trim",
        "truncate",
        "update",
        "upload",
        "validate",
        "verify",
        "visit",
        "walk",
        "withdraw",
        "write",
    ]
)


def words(name: str) -> list[str]:
    return [w.lower() if not w.isupper() or len(w) == 1 else w for w in _PARTS.findall(name)]


def summary(f: Function) -> str | None:
    """A sentence that says no more than the name of a function does; None where the name says nothing."""
    parts = words(f.name)
    if not parts or f.name.startswith("__") or len("".join(parts)) < 3:
        return None
    returns = any(isinstance(n, ast.Return) and n.value is not None for n in ast.walk(f))
    rest = " ".join(parts[1:])
    if parts[0] in ("is", "has", "can") and rest and returns:
        names = [a.arg for a in f.args.args if a.arg not in ("self", "cls")]
        subject = f"`{names[0]}`" if len(names) == 1 else "it"
        return f"Tell whether {subject} {parts[0]} {rest}."
    if parts[0] in _VERBS and (rest or len(parts[0]) > 3):
        return " ".join([parts[0].capitalize(), *parts[1:]]) + "."
    if not returns:
        return " ".join(parts).capitalize() + "."
    noun = " ".join(parts)
    return f"Compute the {noun}." if parts[0] not in ("test", "main", "init") else None
