"""One pass over a Python syntax tree, and questions about its functions that several readers ask."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTION: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)
COMPS: Final = (ast.ListComp, ast.SetComp, ast.DictComp)


@dataclass(slots=True)
class Scan:
    """One pass over a tree: nodes by class, calls by name, imports, and the functions with the class around them."""

    tree: ast.Module
    kinds: Counter[type[ast.AST]] = field(default_factory=Counter)
    functions: list[tuple[Function, ast.ClassDef | None]] = field(default_factory=list)
    classes: list[ast.ClassDef] = field(default_factory=list)
    calls: list[ast.Call] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)  # name in the code -> module
    members: dict[str, str] = field(default_factory=dict)  # name in the code -> module.member
    names: set[str] = field(default_factory=set)  # names that are read
    nodes: list[ast.AST] = field(default_factory=list)


def scan(tree: ast.Module) -> Scan:
    out = Scan(tree)
    todo: list[tuple[ast.AST, ast.ClassDef | None]] = [(tree, None)]
    while todo:
        node, around = todo.pop()
        out.nodes.append(node)
        out.kinds[type(node)] += 1
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                out.functions.append((node, around))
            case ast.ClassDef():
                out.classes.append(node)
            case ast.Call():
                out.calls.append(node)
            case ast.Import(names=names):
                for a in names:
                    out.modules[(a.asname or a.name).partition(".")[0]] = a.name
            case ast.ImportFrom(module=module, names=names) if module:
                for a in names:
                    out.members[a.asname or a.name] = f"{module}.{a.name}"
            case ast.Name(id=name, ctx=ast.Load()):
                out.names.add(name)
        children = reversed(list(ast.iter_child_nodes(node)))
        todo.extend((c, node if isinstance(node, ast.ClassDef) else None) for c in children)
    return out


def called(call: ast.Call, s: Scan) -> str:
    """The dotted name of what a call calls, imports resolved: `functools.lru_cache`, `.append` for a method of a value."""
    f = call.func
    if isinstance(f, ast.Name):
        return s.members.get(f.id, f.id)
    if not isinstance(f, ast.Attribute):
        return ""
    root: ast.expr = f.value
    while isinstance(root, ast.Attribute):
        root = root.value
    if isinstance(root, ast.Name) and (root.id in s.modules or root.id in s.members):
        path = dotted(f, s)
        head, _, rest = path.partition(".")
        return f"{s.modules.get(head, head)}.{rest}"
    if isinstance(f.value, ast.Constant | ast.JoinedStr) and f.attr in ("join", "format"):
        return f"str.{f.attr}"
    return "." + f.attr


def own_nodes(f: Function) -> Iterator[ast.AST]:
    """The nodes of a function's body without those of functions and classes inside it."""
    todo: list[ast.AST] = list(f.body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (*FUNCTION, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))


def recursive(f: Function, around: ast.ClassDef | None) -> bool:
    """Whether a function calls itself: by its name, as a method by `self.name` or `cls.name`."""
    first = f.args.args[0].arg if f.args.args else None
    plain = by_self = False
    for node in ast.walk(f):
        if not isinstance(node, ast.Call):
            continue
        g = node.func
        if isinstance(g, ast.Name) and g.id == f.name:
            plain = True
        elif isinstance(g, ast.Attribute) and g.attr == f.name and isinstance(g.value, ast.Name):
            by_self |= g.value.id == first
    if by_self and around is not None and first in ("self", "cls"):
        return True
    # In a class, and in a method shown without its class, the bare name is another function.
    return plain and around is None and first not in ("self", "cls") and f.name not in _rebound(f)


def _rebound(f: Function) -> set[str]:
    """Names that mean something else inside the function."""
    out = {arg.arg for arg in arguments(f)}
    for n in ast.walk(f):
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store):
            out.add(n.id)
        elif isinstance(n, (*FUNCTION, ast.ClassDef)) and n is not f:
            out.add(n.name)
    return out


def arguments(f: Function) -> list[ast.arg]:
    a = f.args
    return [*a.posonlyargs, *a.args, *a.kwonlyargs, *(x for x in (a.vararg, a.kwarg) if x)]


def is_decorator(f: Function) -> bool:
    """A function that takes a function, defines another one that calls it, and returns that one."""
    first = f.args.args[0].arg if f.args.args else None
    inner = {g.name: g for g in f.body if isinstance(g, FUNCTION)}
    for n in f.body:
        if isinstance(n, ast.Return) and isinstance(n.value, ast.Name) and n.value.id in inner:
            g = inner[n.value.id]
            return any(
                isinstance(c, ast.Call) and isinstance(c.func, ast.Name) and c.func.id == first
                for c in ast.walk(g)
            )
    return False


def dotted(node: ast.expr, s: Scan) -> str:
    if isinstance(node, ast.Name):
        return s.members.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, s)}.{node.attr}"
    return ""


def has_decorator(f: Function, s: Scan, *names: str) -> bool:
    for d in f.decorator_list:
        name = dotted(d.func if isinstance(d, ast.Call) else d, s)
        if name.rpartition(".")[2] in names:
            return True
    return False


def is_docstring(n: ast.AST) -> bool:
    return (
        isinstance(n, ast.Expr)
        and isinstance(n.value, ast.Constant)
        and isinstance(n.value.value, str)
    )


def prints(f: Function, s: Scan) -> bool:
    return any(isinstance(n, ast.Call) and called(n, s) == "print" for n in own_nodes(f))


def docstring(n: ast.AST) -> str | None:
    if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return ast.get_docstring(n)
    return None
