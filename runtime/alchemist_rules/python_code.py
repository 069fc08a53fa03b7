"""Python source with its tree: the places of its nodes, its names, and edits that keep its layout."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Final

from alchemist_runtime.code import grammars

from alchemist_rules.snippet import Edit

FUNCTION: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Python:
    """Source that parses as it stands."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text, self.tree = text, tree
        self.raw = grammars.encoded(text)
        self.lines = text.split("\n")
        self._starts = [0, *accumulate(len(grammars.encoded(line)) + 1 for line in self.lines)]

    @cached_property
    def taken(self) -> set[str]:
        """Every name in use, bound or not."""
        held = (getattr(n, f, None) for n in ast.walk(self.tree) for f in ("id", "arg", "name", "asname"))
        return {x.partition(".")[0] for x in held if isinstance(x, str)}

    def start(self, n: ast.expr | ast.stmt | ast.arg) -> int:
        return self._starts[n.lineno - 1] + n.col_offset

    def end(self, n: ast.expr | ast.stmt | ast.arg) -> int:
        return self._starts[(n.end_lineno or 1) - 1] + (n.end_col_offset or 0)

    def line_start(self, line: int) -> int:
        return self._starts[min(line, len(self._starts)) - 1]

    def of(self, n: ast.expr | ast.stmt) -> str:
        return self.raw[self.start(n) : self.end(n)].decode("utf-8", "replace")

    def head(self, n: ast.stmt) -> int:
        """Where the lines of a statement begin, its decorators included."""
        return self.line_start(min([n.lineno, *(d.lineno for d in getattr(n, "decorator_list", []))]))

    def before(self, n: ast.stmt, text: str) -> Edit:
        """Lines put in before a statement, at its indentation."""
        at, pad = self.head(n), self.indent(n)
        return at, at, "".join(f"{pad}{row}\n" for row in text.split("\n"))

    def imports(self, *lines: str, gap: str = "\n\n") -> list[Edit]:
        """Imports put in where they can stand, `gap` before what follows unless this is one; none that are there."""
        new = [x for x in lines if x and x not in self.lines]
        at = len(self.raw)
        for i, n in enumerate(self.tree.body):
            future = isinstance(n, ast.ImportFrom) and n.module == "__future__"
            if not future and not (i == 0 and docstring(self.tree)):
                at = self.head(n)
                break
        follows = re.match(rb"import|from", self.raw[at:])
        return [(at, at, "\n".join(new) + "\n" + ("" if follows else gap))] if new else []

    def indent(self, n: ast.stmt) -> str:
        row = self.lines[n.lineno - 1]
        return row[: len(row) - len(row.lstrip())]

    def first_line(self, f: Function) -> ast.stmt | None:
        """The first statement after the docstring; None where the body stands on the line of the head."""
        body = f.body[1:] if docstring(f) else f.body
        return body[0] if body and len(self.indent(body[0])) == body[0].col_offset else None


@lru_cache(maxsize=4)
def parse(text: str) -> Python | None:
    """Source that parses as it stands; None for anything else."""
    if not grammars.judged(text, "python") or "\r" in text or "\f" in text:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError):
        return None
    return Python(text, tree) if tree.body else None


def docstring(node: Function | ast.ClassDef | ast.Module) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def own(f: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function that are not inside another one."""
    todo = list(ast.iter_child_nodes(f))
    while todo:
        n = todo.pop()
        yield n
        if not isinstance(n, (*FUNCTION, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(n))
