"""Python source with its tree: bytes of nodes, parents, scopes of names, tokens."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Final

from alchemist_runtime.code import grammars
from alchemist_runtime.teachers._rules.shown import Edit

FUNCTION: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Placed = ast.expr | ast.stmt | ast.arg | ast.keyword | ast.ExceptHandler


class Python:
    """Source that parses as it stands."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text = text
        self.tree = tree
        self.raw = text.encode("utf-8", "replace")
        self.lines = text.split("\n")
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line.encode("utf-8", "replace")) + 1)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes in their order, without those inside f-strings, whose places Python 3.11 does not know."""
        out: list[ast.AST] = []
        todo: list[ast.AST] = [self.tree]
        while todo:
            node = todo.pop()
            out.append(node)
            if not isinstance(node, ast.JoinedStr):
                todo.extend(reversed(list(ast.iter_child_nodes(node))))
        return out

    @cached_property
    def parent(self) -> dict[ast.AST, ast.AST]:
        return {c: n for n in ast.walk(self.tree) for c in ast.iter_child_nodes(n)}

    @cached_property
    def formatted(self) -> set[str]:
        """The names inside f-strings."""
        return {
            n.id
            for j in ast.walk(self.tree)
            if isinstance(j, ast.JoinedStr)
            for n in ast.walk(j)
            if isinstance(n, ast.Name)
        }

    @cached_property
    def functions(self) -> list[Function]:
        return [n for n in self.nodes if isinstance(n, FUNCTION)]

    @cached_property
    def taken(self) -> set[str]:
        """Every name in use, bound or not."""
        held = {a.arg for f in self.functions for a in arguments(f)} | {f.name for f in self.functions}
        return held | set(names(self.tree)) | (bound(self.tree) or set())

    @cached_property
    def tokens(self) -> list[tokenize.TokenInfo]:
        try:
            return list(tokenize.generate_tokens(io.StringIO(self.text + "\n").readline))
        except (tokenize.TokenError, SyntaxError):
            return []

    def place(self, line: int, column: int) -> int:
        """The byte of a place as tokens give it: line from 1, column in characters."""
        return self._starts[line - 1] + len(self.lines[line - 1][:column].encode("utf-8", "replace"))

    def start(self, n: Placed) -> int:
        return self._starts[n.lineno - 1] + n.col_offset

    def end(self, n: Placed) -> int:
        return self._starts[(n.end_lineno or 1) - 1] + (n.end_col_offset or 0)

    def line_start(self, line: int) -> int:
        return self._starts[min(line, len(self._starts)) - 1]

    def of(self, n: Placed) -> str:
        return self.raw[self.start(n) : self.end(n)].decode("utf-8", "replace")

    def head(self) -> int:
        """Where an import can go in: after the module's docstring and `from __future__`."""
        for i, n in enumerate(self.tree.body):
            future = isinstance(n, ast.ImportFrom) and n.module == "__future__"
            if not future and not (i == 0 and docstring(self.tree)):
                first = min([n.lineno, *(d.lineno for d in getattr(n, "decorator_list", []))])
                return self.line_start(first)
        return len(self.raw)

    def swap(self, n: Placed, text: str) -> Edit:
        return self.start(n), self.end(n), text

    def before(self, n: ast.stmt, text: str) -> Edit:
        """Lines put in before a statement, or its decorators, at its indentation."""
        first = min([n.lineno, *(d.lineno for d in getattr(n, "decorator_list", []))])
        pad = self.indent(n)
        at = self.line_start(first)
        return at, at, "".join(f"{pad}{row}\n" if row else "\n" for row in text.split("\n"))

    def without(self, n: ast.stmt) -> Edit:
        """A statement taken away with its lines."""
        end = n.end_lineno or n.lineno
        if end < len(self.lines):
            return self.line_start(n.lineno), self.line_start(end + 1), ""
        return self.line_start(n.lineno) - (n.lineno > 1), self.end(n), ""

    def indent(self, n: ast.stmt) -> str:
        row = self.lines[n.lineno - 1]
        return row[: len(row) - len(row.lstrip())]

    def own_lines(self, n: ast.stmt) -> bool:
        """Whether a statement shares its lines with no other."""
        head = self.raw[self.line_start(n.lineno) : self.start(n)].strip()
        tail = self.raw[self.end(n) : self.line_start((n.end_lineno or n.lineno) + 1)].strip()
        return not head and (not tail or tail.startswith(b"#"))

    def block(self, n: ast.stmt) -> list[ast.stmt]:
        """The statements among which a statement stands."""
        up = self.parent[n]
        for name in ("body", "orelse", "finalbody"):
            found = getattr(up, name, None)
            if isinstance(found, list) and n in found:
                return found
        return []

    def around(self, n: ast.AST) -> Function | ast.Module:
        """The function around a node, or the module."""
        at = self.parent.get(n, self.tree)
        while not isinstance(at, (*FUNCTION, ast.Module)):
            at = self.parent[at]
        return at

    def first_line(self, f: Function) -> ast.stmt | None:
        """The first statement after the docstring; None where the body stands on the line of the head."""
        body = f.body[1:] if docstring(f) else f.body
        return body[0] if body and self.own_lines(body[0]) else None


@lru_cache(maxsize=4)
def parse(text: str) -> Python | None:
    """Source that parses as it stands; None for anything else."""
    tree = grammars._ast(text)
    return Python(text, tree) if tree is not None and tree.body and "\r" not in text and "\f" not in text else None


def docstring(node: Function | ast.ClassDef | ast.Module) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def names(node: ast.AST | list[ast.stmt], ctx: type | None = None) -> list[str]:
    """The names in a tree, in one context or in all; of loads, those of augmented assignments too."""
    roots = node if isinstance(node, list) else [node]
    out = []
    for n in (n for r in roots for n in ast.walk(r)):
        if isinstance(n, ast.Name) and (ctx is None or isinstance(n.ctx, ctx)):
            out.append(n.id)
        elif ctx is ast.Load and isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name):
            out.append(n.target.id)
    return out


def own(f: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function that are not inside another one."""
    todo = list(ast.iter_child_nodes(f))
    while todo:
        n = todo.pop()
        yield n
        if not isinstance(n, (*FUNCTION, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(n))


def arguments(f: Function) -> list[ast.arg]:
    a = f.args
    rest = [x for x in (a.vararg, a.kwarg) if x is not None]
    return [*a.posonlyargs, *a.args, *a.kwonlyargs, *rest]


def bound(tree: ast.AST) -> set[str] | None:
    """Every name that is bound in any scope of a tree; None where that cannot be known (`import *`, exec, globals)."""
    out: set[str] = set()
    for n in ast.walk(tree):
        match n:
            case ast.Name(ctx=ast.Load(), id="exec" | "globals" | "locals" | "eval"):
                return None
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                out.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                out.add(name)
            case ast.ImportFrom(names=found) | ast.Import(names=found):
                if any(a.name == "*" for a in found):
                    return None
                out |= {(a.asname or a.name).partition(".")[0] for a in found}
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                out.add(name)
            case ast.MatchMapping(rest=str(name)):
                out.add(name)
            case ast.Global(names=listed):
                out |= set(listed)
    return out
