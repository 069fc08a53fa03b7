"""Refines code by edits that provably keep what it does: every one is checked on the syntax tree and dropped where it does not hold."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable
from typing import Final

from alchemist_runtime.operators import _grammars
from alchemist_runtime.teachers import _edits
from alchemist_runtime.teachers._edits import Edit, Source

#: Libraries whose objects give `==` a meaning of their own, so that `== None` must stay.
_OVERLOADING: Final = re.compile(
    r"\b(?:numpy|pandas|sqlalchemy|peewee|django|polars|torch|tensorflow|pyspark|sympy)\b"
)


def refine(code: str, lang: str | None) -> str:
    """The code, changed only thus: white space at line ends, runs of blank lines; in Python also `== None` to `is None`,
    `not x in y` to `x not in y`, and a docstring from the name where a function has none. What does not parse stays as it is.
    """
    if lang == "python":
        return _python(code)
    if lang is None or lang not in _grammars.PARSED or lang == "json":
        return code
    return _spaces(code, lambda text: _leaves(text, lang))


def normal(tree: ast.Module) -> str | None:
    """The tree as text with the comparisons rewritten and the docstrings of functions left out: refining never changes it."""
    made = _Rewrite().visit(copy.deepcopy(tree))
    for f in _edits.top_functions(made):
        if _edits.has_docstring(f):
            f.body = f.body[1:]
    return _dump(made)


def _python(code: str) -> str:
    source = _edits.parse(code)
    if source is None:
        return code
    source = _docstrings(_comparisons(source))
    return _spaces(source.text, _tree_text)


def _tree_text(text: str) -> str | None:
    tree = _grammars._ast(text)
    return None if tree is None else _dump(tree)


def _dump(tree: ast.AST) -> str | None:
    try:
        return ast.dump(tree)
    except RecursionError:
        return None


def _spaces(code: str, meaning: Callable[[str], object]) -> str:
    """White space tidied where the meaning stays, else as it was."""
    before = meaning(code)
    if before is None:
        return code
    out = re.sub(r"[ \t]+$", "", code.replace("\r\n", "\n"), flags=re.M)
    out = re.sub(r"\n{4,}", "\n\n\n", out).strip("\n")
    return out if meaning(out) == before else code


def _leaves(text: str, lang: str) -> object:
    """The tokens of code without comments' outer spaces; None where it does not parse."""
    parsed = _grammars.tree(text, lang)
    if parsed is None:
        return None
    out, todo = [], [parsed.tree.root_node]
    while todo:
        node = todo.pop()
        if not node.children or "string" in node.type:
            value = parsed.source[node.start_byte : node.end_byte]
            out.append(
                (
                    node.type,
                    re.sub(rb"[ \t]+(?=\n|\Z)", b"", value) if "comment" in node.type else value,
                )
            )
        else:
            todo.extend(reversed(node.children))
    return [x for x in out if x[1].strip()]


class _Rewrite(ast.NodeTransformer):
    """`x == None` to `x is None`, `not x in y` to `x not in y`."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if _with_none(node):
            node.ops = [ast.Is() if isinstance(node.ops[0], ast.Eq) else ast.IsNot()]
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        negated = _negated(node)
        self.generic_visit(node)
        if negated is not None:
            negated.ops = [ast.NotIn() if isinstance(negated.ops[0], ast.In) else ast.IsNot()]
            return negated
        return node


def _with_none(n: ast.AST) -> bool:
    return (
        isinstance(n, ast.Compare)
        and len(n.ops) == 1
        and isinstance(n.ops[0], ast.Eq | ast.NotEq)
        and isinstance(n.comparators[0], ast.Constant)
        and n.comparators[0].value is None
    )


def _negated(n: ast.AST) -> ast.Compare | None:
    """The comparison inside `not x in y` or `not x is y`."""
    if (
        isinstance(n, ast.UnaryOp)
        and isinstance(n.op, ast.Not)
        and isinstance(n.operand, ast.Compare)
    ):
        inner = n.operand
        if len(inner.ops) == 1 and isinstance(inner.ops[0], ast.In | ast.Is):
            return inner
    return None


def _with(source: Source, edit: Edit) -> Source | None:
    """The source after an edit, None unless nothing changed but what refining may change."""
    made = _edits.parse(_edits.apply(source.text, [edit]))
    return (
        made if made is not None and normal(made.tree) == normal(source.tree) is not None else None
    )


def _comparisons(source: Source) -> Source:
    """One comparison after the other, from the end, so that an edit that does not hold takes no other with it."""
    if _dump(source.tree) == normal(source.tree):
        return source
    spots = sorted(
        (_spot(n) for n in ast.walk(source.tree) if _comparison(source, n) is not None),
        reverse=True,
    )
    for spot in dict.fromkeys(spots):
        for n in [n for n in ast.walk(source.tree) if _spot(n) == spot]:
            edit = _comparison(source, n)
            if edit is not None and (made := _with(source, edit)) is not None:
                source = made
                break
    return source


def _spot(n: ast.AST) -> tuple[int, int]:
    return getattr(n, "lineno", 0), getattr(n, "col_offset", 0)


def _comparison(source: Source, n: ast.AST) -> Edit | None:
    if isinstance(n, ast.Compare) and _with_none(n) and not _OVERLOADING.search(source.text):
        start, end = source.end(n.left), source.start(n.comparators[0])
        word = "is" if isinstance(n.ops[0], ast.Eq) else "is not"
        return Edit(
            start,
            end,
            re.sub(r"\s*(?:==|!=)\s*", f" {word} ", _between(source, start, end), count=1),
        )
    inner = _negated(n)
    if inner is not None and isinstance(n, ast.UnaryOp):
        word = "not in" if isinstance(inner.ops[0], ast.In) else "is not"
        text = f"{source.of(inner.left)} {word} {source.of(inner.comparators[0])}"
        return Edit(source.start(n), source.end(n), text)
    return None


def _between(source: Source, start: tuple[int, int], end: tuple[int, int]) -> str:
    (a, b), (c, d) = start, end
    if a == c:
        return source.lines[a - 1][b:d]
    return "\n".join([source.lines[a - 1][b:], *source.lines[a : c - 1], source.lines[c - 1][:d]])


def _docstrings(source: Source) -> Source:
    for f in reversed(_edits.top_functions(source.tree)):
        text = None if _edits.has_docstring(f) else _edits.summary(f)
        place = source.before_body(f) if text else None
        if text and place is not None:
            line, indent = place
            made = _with(source, _edits.insert(line, f'{indent}"""{text}"""'))
            source = source if made is None else made
    return source
