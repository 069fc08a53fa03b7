"""Ways that ask for another behaviour: a check of None, a cache, a generator."""

from __future__ import annotations

import ast
from typing import Final

from alchemist_runtime.teachers import _edits
from alchemist_runtime.teachers._edits import Edit, Source
from alchemist_runtime.teachers._python_scan import Function, arguments, own_nodes, recursive
from alchemist_runtime.teachers._ways import (
    Made,
    is_generator,
    line_shared,
    plain_parameters,
    single,
)


def none_check(source: Source) -> Made:
    """A ValueError where the first parameter is None. Changes what happens for None alone."""
    f = single(source)
    names = plain_parameters(f) if f is not None else []
    if f is None or not names or is_generator(f) or recursive(f, None):
        return None
    name = names[0].arg
    if any(isinstance(n, ast.Name) and n.id == name for test in ast.walk(f) for n in _truths(test)):
        return None  # `if not head` treats None as a case of its own
    if any(isinstance(n, ast.Constant) and n.value is None for n in ast.walk(f)):
        return None  # None may mean something here
    place = source.after_docstring(f)
    if place is None:
        return None
    line, indent = place
    step = "    " if len(indent) % 4 == 0 else indent
    text = (
        f'{indent}if {name} is None:\n{indent}{step}raise ValueError("`{name}` must not be None")'
    )
    wordings = (
        f"Raise a `ValueError` if `{name}` is None.",
        f"The function must refuse None for `{name}` with a `ValueError`.",
        f"Check first that `{name}` is not None, and raise a `ValueError` if it is.",
    )
    return wordings, _edits.apply(source.text, [_edits.insert(line, text)])


def _truths(n: ast.AST) -> list[ast.expr]:
    """The expressions that a node asks for their truth."""
    match n:
        case (
            ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test)
        ):
            return [test]
        case ast.UnaryOp(op=ast.Not(), operand=test):
            return [test]
        case ast.BoolOp(values=values):
            return values
    return []


_PURE: Final = frozenset(
    ["abs", "min", "max", "sum", "int", "float", "len", "divmod", "pow", "round"]
)


def memoise(source: Source) -> Made:
    """lru_cache on a recursive function of numbers that does nothing but compute."""
    f = single(source)
    if f is None or f.decorator_list or not recursive(f, None) or not _pure_numbers(f):
        return None
    taken = {n.id for n in ast.walk(source.tree) if isinstance(n, ast.Name)}
    if "lru_cache" in taken or "functools" in source.text:
        return None
    top = _edits.insert(_edits.import_line(source), "from functools import lru_cache\n\n")
    deco = _edits.insert(f.lineno, "@lru_cache(maxsize=None)")
    text = _edits.apply(source.text, [deco])
    text = _edits.apply(text, [top])
    wordings = (
        "Cache the results of repeated calls with `functools.lru_cache`.",
        f"Make `{f.name}` remember results that it has already computed, with `lru_cache`.",
        "Avoid computing the same value twice: memoise the recursion with `functools.lru_cache`.",
    )
    return wordings, text


def _pure_numbers(f: Function) -> bool:
    """Only numbers go in: parameters are compared with or computed with numbers; nothing but arithmetic and calls of itself."""
    names = {x.arg for x in plain_parameters(f)}
    if not names or len(names) != len(arguments(f)):
        return False
    numeric: set[str] = set()
    for n in ast.walk(f):
        match n:
            case ast.Compare(
                left=ast.Name(id=name), comparators=[ast.Constant(value=int() | float())]
            ):
                numeric.add(name)
            case ast.BinOp(
                left=ast.Name(id=a),
                op=ast.Sub() | ast.FloorDiv() | ast.Mod(),
                right=ast.Constant() | ast.Name(),
            ):
                numeric.add(a)
                if isinstance(n.right, ast.Name):
                    numeric.add(n.right.id)
            case ast.Call(func=ast.Name(id=name)) if name == f.name or name in _PURE:
                pass
            case (
                ast.Call()
                | ast.Attribute()
                | ast.Subscript()
                | ast.Global()
                | ast.Nonlocal()
                | ast.List()
                | ast.Dict()
                | ast.Set()
            ):
                return False
            case (
                ast.Yield()
                | ast.YieldFrom()
                | ast.Await()
                | ast.Lambda()
                | ast.ListComp()
                | ast.GeneratorExp()
                | ast.Import()
            ):
                return False
    free = {n.id for n in ast.walk(f) if isinstance(n, ast.Name)}
    local = {n.id for n in ast.walk(f) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names <= numeric and free <= names | local | _PURE | {f.name}


def generator(source: Source) -> Made:
    """A list that is only appended to and returned becomes a generator; calls elsewhere are wrapped in list()."""
    f = single(source)
    if f is None or is_generator(f) or recursive(f, None) or f.returns is not None:
        return None
    last = f.body[-1]
    if not (isinstance(last, ast.Return) and isinstance(last.value, ast.Name)):
        return None
    name = last.value.id
    starts = [
        n
        for n in f.body
        if isinstance(n, ast.Assign)
        and len(n.targets) == 1
        and isinstance(n.targets[0], ast.Name)
        and n.targets[0].id == name
        and isinstance(n.value, ast.List)
        and not n.value.elts
    ]
    appends = [n for n in own_nodes(f) if _append(n, name)]
    uses = [n for n in ast.walk(f) if isinstance(n, ast.Name) and n.id == name]
    returns = [n for n in own_nodes(f) if isinstance(n, ast.Return)]
    if len(starts) != 1 or not appends or len(uses) != len(appends) + 2 or len(returns) != 1:
        return None
    if any(line_shared(source, n) for n in (starts[0], last)) or "list" in {
        n.id
        for n in ast.walk(source.tree)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }:
        return None
    if f.body.index(starts[0]) + 1 == len(f.body) - 1 and not appends:
        return None
    edits = [_drop(source, n) for n in (starts[0], last)]
    for n in appends:
        assert isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)
        value = source.of(n.value.args[0])
        edits.append(
            Edit(
                source.start(n),
                source.end(n),
                f"yield {value}" if "\n" not in value else f"yield ({value})",
            )
        )
    inside = {id(n) for n in ast.walk(f)}
    refers = [
        n
        for n in ast.walk(source.tree)
        if isinstance(n, ast.Name) and n.id == f.name and id(n) not in inside
    ]
    calls = [
        n
        for n in ast.walk(source.tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == f.name
    ]
    if len(refers) != len(calls):
        return None
    for c in calls:
        edits += [
            Edit(source.start(c), source.start(c), "list("),
            Edit(source.end(c), source.end(c), ")"),
        ]
    wordings = (
        f"Make `{f.name}` a generator that yields its values one by one, with no list in between.",
        "Write it as a generator function, so that values are produced only as they are asked for.",
        "Do not build the whole list: yield each value as soon as it is known.",
    )
    return wordings, _edits.apply(source.text, edits).rstrip()


def _append(n: ast.AST, name: str) -> bool:
    return (
        isinstance(n, ast.Expr)
        and isinstance(n.value, ast.Call)
        and isinstance(n.value.func, ast.Attribute)
        and n.value.func.attr == "append"
        and isinstance(n.value.func.value, ast.Name)
        and n.value.func.value.id == name
        and len(n.value.args) == 1
        and not n.value.keywords
        and not isinstance(n.value.args[0], ast.Starred | ast.GeneratorExp)
    )


def _drop(source: Source, n: ast.stmt) -> Edit:
    """Takes a statement away with its line, and the comment above it."""
    start, end = n.lineno, n.end_lineno or n.lineno
    if source.lines[start - 2].strip().startswith("#"):
        start -= 1
    if end < len(source.lines):
        return Edit((start, 0), (end + 1, 0), "")
    return Edit((start, 0), (end, len(source.lines[end - 1])), "")
