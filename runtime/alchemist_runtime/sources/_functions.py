"""Documented functions of a Python file, read from its syntax: what is asked for, and the code that answers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from alchemist_runtime.sources import _docstrings

Function = ast.FunctionDef | ast.AsyncFunctionDef
#: Decorators of declarations that hold no code of their own.
_EMPTY = frozenset({"overload", "abstractmethod"})
#: Parameters told of in a request; the rest is in the signature.
SHOWN = 8


@dataclass(frozen=True, slots=True)
class Found:
    """A documented object: `owner` is the class of a method, with its docstring."""

    name: str
    line: int
    node: Function | ast.ClassDef
    docstring: str
    owner: ast.ClassDef | None = None

    @property
    def qualname(self) -> str:
        return f"{self.owner.name}.{self.name}" if self.owner else self.name


def documented(tree: ast.Module) -> Iterator[Found]:
    """Public functions, classes and methods with a docstring, in the order of the file."""
    for node in _definitions(tree.body):
        if node.name.startswith("_"):
            continue
        text = ast.get_docstring(node, clean=False)
        if text:
            yield Found(node.name, node.lineno, node, text)
        if isinstance(node, ast.ClassDef):
            for inner in _definitions(node.body):
                text = ast.get_docstring(inner, clean=False)
                if text and not inner.name.startswith("_") and not isinstance(inner, ast.ClassDef):
                    yield Found(inner.name, inner.lineno, inner, text, node)


def _definitions(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    """Definitions of a body, those under `if` and `try` included."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            yield node
        elif isinstance(node, ast.If):
            yield from _definitions(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            yield from _definitions(node.body)


def has_code(node: Function) -> bool:
    """Whether the body does something beyond its docstring: not `pass`, `...` or a bare `raise NotImplementedError`."""
    if any(_decorator(d) in _EMPTY for d in node.decorator_list):
        return False
    body = node.body[1:]
    if len(body) != 1:
        return bool(body)
    only = body[0]
    if isinstance(only, ast.Pass) or (isinstance(only, ast.Expr) and isinstance(only.value, ast.Constant)):
        return False
    return not (isinstance(only, ast.Raise) and only.exc is not None and "NotImplemented" in ast.unparse(only.exc))


def _decorator(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).rpartition(".")[2]


def code(found: Found, lines: list[str]) -> str:
    """The source of a definition with its decorators, without its indentation."""
    node = found.node
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    margin = lines[node.lineno - 1][: node.col_offset]
    # not `dedent`: a line of a docstring may stand further left than the code around it
    return "".join(x.removeprefix(margin) for x in lines[first - 1 : node.end_lineno]).rstrip() + "\n"


def signature(node: Function) -> str:
    """`name(a, b=1) -> int` as the source has it."""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def request(found: Found, module: str) -> str | None:
    """The words that ask for a function: what to write, what it does, its parameters; None if the docstring says too
    little.
    """
    node = found.node
    doc = _docstrings.read(found.docstring, node.name)
    if doc is None or isinstance(node, ast.ClassDef) or len(doc.summary) < 12:
        return None
    kind = "asynchronous " if isinstance(node, ast.AsyncFunctionDef) else ""
    if found.owner is None:
        opening = f"Write the {kind}Python function `{signature(node)}` for the module `{module}`."
    elif "property" in {_decorator(d) for d in node.decorator_list}:
        opening = f"Write the property `{node.name}` of the Python class `{found.owner.name}`{_about(found.owner)}."
    else:
        opening = (
            f"Write the {kind}method `{signature(node)}` of the Python class `{found.owner.name}`{_about(found.owner)}."
        )
    parts = [opening, doc.prose if doc.prose.endswith((".", "!", "?", "`", ")")) else doc.prose + "."]
    if doc.parameters:
        told = [f"- {name}: {about}" if about else f"- {name}" for name, about in doc.parameters[:SHOWN]]
        parts.append("It takes:\n" + "\n".join(told))
    if doc.returns:
        parts.append(f"It returns {doc.returns}")
    return "\n\n".join(parts)


def _about(owner: ast.ClassDef) -> str:
    """What a class is, in a few words, from the first sentence of its docstring."""
    doc = _docstrings.read(ast.get_docstring(owner, clean=False) or "", owner.name)
    if doc is None or len(doc.summary) > 120 or "\n" in doc.summary:
        return ""
    return f" ({doc.summary.rstrip('.')})"
