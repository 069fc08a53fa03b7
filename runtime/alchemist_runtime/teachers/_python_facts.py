"""What a Python syntax tree proves about code: its unit, and phrases for the ideas, libraries and habits that it shows."""

from __future__ import annotations

import ast
from collections import Counter

from alchemist_runtime.teachers._facts import Facts, an, number_word
from alchemist_runtime.teachers._python_habits import habits, libraries
from alchemist_runtime.teachers._python_ideas import ideas
from alchemist_runtime.teachers._python_scan import (
    FUNCTION,
    Function,
    Scan,
    called,
    dotted,
    has_decorator,
    is_decorator,
    is_docstring,
    own_nodes,
    recursive,
    scan,
)
from alchemist_runtime.teachers._python_structure import structure


def facts(tree: ast.Module, source: str) -> Facts:
    """What the tree proves. `source` is asked for comments only."""
    whole = scan(tree)
    out = Facts("Python")
    _unit(whole, out)
    # What is said of a function is true of the function, not of the lines that try it out.
    part = scan(_alone(tree)) if out.name and len(tree.body) > 1 else whole
    calls = Counter(called(c, part) for c in part.calls)
    for f, _ in part.functions:
        del calls[f.name]  # not the built-in of that name
    ideas(part, calls, out)
    structure(part, calls, out)
    libraries(part, out)
    habits(whole, part, source, out)
    return out


def _alone(tree: ast.Module) -> ast.Module:
    """The imports and definitions of a module."""
    kept = (ast.Import, ast.ImportFrom, ast.ClassDef, *FUNCTION)
    return ast.Module([n for n in tree.body if isinstance(n, kept)], [])


def _unit(s: Scan, out: Facts) -> None:
    body = [n for n in s.tree.body if not is_docstring(n)]
    classes = [n for n in body if isinstance(n, ast.ClassDef)]
    functions = [n for n in body if isinstance(n, FUNCTION)]
    public = [f for f in functions if f.name != "main"] or functions
    if any(isinstance(b, ast.Attribute) and b.attr == "TestCase" for c in classes for b in c.bases):
        out.unit = (
            "unit test class" if len(classes) == 1 and not functions else "program with unit tests"
        )
        out.name = classes[0].name if out.unit == "unit test class" else None
    elif len(classes) == 1 and not functions:
        _class_unit(classes[0], s, out)
    elif classes:
        parts = [_count(classes, "class", "classes")] if classes else []
        parts += [_count(functions, "function", "functions")] if functions else []
        out.unit = "module with " + " and ".join(parts)
    elif len(public) == 1:
        _function_unit(public[0], s, out)
    elif public:
        out.unit = f"module with {number_word(len(public))} functions"
    else:
        out.unit = "script" if len(body) > 1 else "snippet"
        if len(body) == 1 and isinstance(body[0], ast.Expr | ast.Assign | ast.Return):
            out.unit = "one-liner" if _one_line(body[0]) else "snippet"


def _count(items: list[ast.ClassDef] | list[Function], one: str, many: str) -> str:
    return an(one) if len(items) == 1 else f"{number_word(len(items))} {many}"


def _one_line(node: ast.stmt) -> bool:
    return node.lineno == node.end_lineno


def _class_unit(c: ast.ClassDef, s: Scan, out: Facts) -> None:
    out.name = c.name
    bases = {dotted(b, s).rpartition(".")[2] for b in c.bases}
    methods = {f.name for f in c.body if isinstance(f, FUNCTION)}
    decorators = {dotted(d.func if isinstance(d, ast.Call) else d, s) for d in c.decorator_list}
    out.unit = "class"
    if any(d.endswith("dataclass") for d in decorators):
        out.unit = "dataclass"
    elif bases & {"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"}:
        out.unit = "enumeration"
    elif "NamedTuple" in bases:
        out.unit = "named tuple class"
    elif "TypedDict" in bases:
        out.unit = "typed dictionary class"
    elif "Protocol" in bases:
        out.unit = "protocol class"
    elif bases & {"Exception", "ValueError", "RuntimeError", "TypeError", "KeyError"}:
        out.unit = "custom exception class"
    elif {"__enter__", "__exit__"} <= methods:
        out.unit = "context manager class"
    elif {"__iter__", "__next__"} <= methods:
        out.unit = "iterator class"
    elif "ABC" in bases or any(
        has_decorator(f, s, "abstractmethod") for f in c.body if isinstance(f, FUNCTION)
    ):
        out.unit = "abstract base class"


def _function_unit(f: Function, s: Scan, out: Facts) -> None:
    out.name = f.name
    own = list(own_nodes(f))
    yields = any(isinstance(n, ast.Yield | ast.YieldFrom) for n in own)
    method = bool(f.args.args) and f.args.args[0].arg in ("self", "cls")
    out.unit = "method" if method else "function"
    if has_decorator(f, s, "contextmanager", "asynccontextmanager"):
        out.unit = "context manager"
    elif is_decorator(f):
        out.unit = "decorator"
    elif has_decorator(f, s, "property"):
        out.unit = "property"
    elif has_decorator(f, s, "fixture"):
        out.unit = "pytest fixture"
    elif yields:
        out.unit = "generator method" if method else "generator function"
    elif f.name.startswith("test_"):
        out.unit = "test " + out.unit
    if isinstance(f, ast.AsyncFunctionDef):
        out.adjectives.append("asynchronous")
    if recursive(f, None):
        out.adjectives.append("recursive")
