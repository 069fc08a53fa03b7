"""What the ways to evolve Python code share: the one function they are about, and its parameters."""

from __future__ import annotations

import ast

from alchemist_runtime.teachers import _edits
from alchemist_runtime.teachers._edits import Source
from alchemist_runtime.teachers._python_scan import Function, own_nodes

Made = tuple[tuple[str, ...], str] | None


def single(source: Source) -> Function | None:
    """The only function at the top, which the code is about."""
    functions = _edits.top_functions(source.tree)
    classes = any(isinstance(n, ast.ClassDef) for n in source.tree.body)
    return (
        functions[0]
        if len(functions) == 1 and not classes and isinstance(functions[0], ast.FunctionDef)
        else None
    )


def plain_parameters(f: Function) -> list[ast.arg]:
    """Positional parameters without a default, `self` aside."""
    a = f.args
    bare = [*a.posonlyargs, *a.args][: len(a.posonlyargs) + len(a.args) - len(a.defaults)]
    return [x for x in bare if x.arg not in ("self", "cls")]


def is_generator(f: Function) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in own_nodes(f))


def line_shared(source: Source, n: ast.stmt) -> bool:
    """Whether something else stands on the lines of a statement."""
    before = source.lines[n.lineno - 1][: source.start(n)[1]]
    after = source.lines[(n.end_lineno or n.lineno) - 1][source.end(n)[1] :]
    return bool(before.strip()) or (bool(after.strip()) and not after.strip().startswith("#"))
