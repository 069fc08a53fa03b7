"""Rewrites of Python written as Python: a pattern with metavariables, and the text that takes its place.

A name of one capital letter in a pattern stands for any expression; X, Y and Z stand for a name, K for a literal. The
statement `BODY` or `REST` stands for a whole block. A metavariable that occurs twice must be the same both times. A
pattern of several statements matches them where they follow each other. In the text that takes its place, `{A}` is the
source of what A stands for.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Final

from alchemist_runtime.teachers._rules.pysource import Python, names
from alchemist_runtime.teachers._rules.shown import Edit

Found = dict[str, ast.expr | list[ast.stmt]]
_BLOCKS: Final = ("BODY", "REST")


def matches(py: Python, pattern: str) -> Iterator[tuple[list[ast.stmt] | list[ast.expr], Found]]:
    """The nodes that match, an expression or statements of one block, and what the metavariables stand for."""
    want = _parsed(pattern)
    if isinstance(want, ast.expr):
        for n in py.nodes:
            found: Found = {}
            if isinstance(n, ast.expr) and _same(want, n, found):
                yield [n], found
        return
    for n in py.nodes:
        for name in ("body", "orelse", "finalbody"):
            block: list[ast.stmt] = b if isinstance(b := getattr(n, name, None), list) else []
            for i in range(len(block) - len(want) + 1):
                found = {}
                part = block[i : i + len(want)]
                if all(_same(w, s, found) for w, s in zip(want, part, strict=True)):
                    yield part, found


@cache
def _parsed(pattern: str) -> ast.expr | list[ast.stmt]:
    body = ast.parse(pattern).body
    return body[0].value if len(body) == 1 and isinstance(body[0], ast.Expr) else body


def _same(want: object, node: object, found: Found) -> bool:
    if isinstance(want, ast.Name) and len(want.id) == 1 and want.id.isupper():
        kind = ast.Name if want.id in "XYZ" else ast.Constant if want.id == "K" else ast.expr
        held = found.setdefault(want.id, node) if isinstance(node, ast.expr) else None
        return isinstance(node, kind) and isinstance(held, ast.expr) and ast.unparse(held) == ast.unparse(node)
    if isinstance(want, list):
        if (
            len(want) == 1
            and isinstance(w := want[0], ast.Expr)
            and isinstance(w.value, ast.Name)
            and w.value.id in _BLOCKS
        ):
            found[w.value.id] = node  # type: ignore[assignment]
            return isinstance(node, list) and bool(node)
        return (
            isinstance(node, list)
            and len(want) == len(node)
            and all(_same(w, n, found) for w, n in zip(want, node, strict=True))
        )
    if isinstance(want, ast.AST):
        fields = [f for f in want._fields if f not in ("ctx", "kind", "type_comment", "type_ignores")]
        return type(want) is type(node) and all(
            _same(getattr(want, f, None), getattr(node, f, None), found) for f in fields
        )
    return type(want) is type(node) and want == node


def rewritten(py: Python, nodes: list[ast.stmt] | list[ast.expr], found: Found, text: str) -> Edit | None:
    """The edit that puts the text in the place of what matched; None where a comment or the layout would be lost."""
    first, last = nodes[0], nodes[-1]
    old = py.raw[py.start(first) : py.end(last)].decode("utf-8", "replace")
    blocks = [s for k in _BLOCKS for s in found.get(k) or []]  # type: ignore[union-attr]
    inner = "".join(py.of(s) for s in blocks)
    plain = [v for v in found.values() if isinstance(v, ast.expr)]
    if old.count("#") > inner.count("#") or any("\n" in py.of(v) for v in plain):
        return None
    pad = ""
    if isinstance(first, ast.stmt):
        pad = py.indent(first)
        if not py.own_lines(first) or re.match(r"\s*elif\b", py.lines[first.lineno - 1]):
            return None
        held = [x for s in blocks for x in ast.walk(s) if isinstance(x, ast.Constant | ast.JoinedStr)]
        if any(x.lineno != x.end_lineno for x in held):
            return None  # to indent a string of several lines would change it
    rows: list[str] = []
    for row in text.split("\n"):
        name = row.strip().strip("{}")
        if name in _BLOCKS:
            block: list[ast.stmt] = found[name]  # type: ignore[assignment]
            lines = py.lines[block[0].lineno - 1 : block[-1].end_lineno]
            shown = textwrap.dedent("\n".join(lines)) if py.own_lines(block[0]) else py.of(block[0])
            rows += [row[: -len(row.lstrip())] + x if x else "" for x in shown.split("\n")]
        else:
            rows.append(re.sub(r"\{([A-Z])\}", lambda m: py.of(found[m[1]]), row))  # type: ignore[arg-type]
    new = ("\n" + pad).join(rows)
    return (py.start(first), py.end(last), new) if isinstance(first, ast.stmt) or "\n" not in new else None


def only_here(py: Python, nodes: list[ast.stmt] | list[ast.expr], name: str) -> bool:
    """Whether a name occurs in its function nowhere but in these nodes."""
    inside = sum(names(n).count(name) for n in nodes)
    return names(py.around(nodes[0])).count(name) == inside and name not in py.formatted
