"""Rows from installed Python packages: their documented functions, or the sessions in their docstrings."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alchemist_runtime.formats.files import licence, package_files
from alchemist_runtime.formats.records import Chunk, Where, canonical
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.registry import source
from alchemist_runtime.sources import _functions


@source()
def python(where: Where, *, modules: list[str], doctests: bool = False) -> Iterator[Chunk]:
    """Documented functions of installed Python packages, or their doctest sessions; read from source, never
    imported.
    """
    for name in modules:
        files = package_files(name)
        if not files:
            raise RunError(_not_installed(name, where.node))
        owner = licence(name)
        for displayed, path in files:
            yield from _file(displayed, path, owner, doctests)


def _file(shown: str, path: Path, owner: str | None, doctests: bool) -> Iterator[Chunk]:
    """The records of one file, in its order."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if doctests and ">>>" not in text:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes in other people's strings
            tree = ast.parse(text)
    except (SyntaxError, ValueError):  # a template or an example of broken code that lies in a package
        return
    module = _module(shown)
    chunk = Chunk(shown, "line")
    found = _session_rows(tree, module) if doctests else _function_rows(tree, module, text)
    for line, record in found:
        record |= {"lang": "python", "module": module, "license": owner}
        chunk.records.append(record)
        chunk.numbers.append(line)
        chunk.canonical.append(canonical(record))
    if chunk.records:
        yield chunk


def _module(shown: str) -> str:
    """`json/decoder.py` as `json.decoder`; `_pydecimal` is the Python text of `decimal`."""
    parts = list(Path(shown).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts).removeprefix("_py")


def _public(module: str) -> str:
    """A module's name as its users write it: without the private parts."""
    parts = module.split(".")
    end = next((i for i, p in enumerate(parts) if p.startswith("_")), len(parts))
    return ".".join(parts[:end] or parts)


def _function_rows(tree: ast.Module, module: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = text.splitlines(keepends=True)
    for found in _functions.documented(tree):
        if isinstance(found.node, ast.ClassDef) or not _functions.has_code(found.node):
            continue
        instruction = _functions.request(found, _public(module))
        if instruction is None:
            continue
        response = _functions.code(found, lines)
        yield (found.line, {"instruction": instruction, "response": response, "qualname": found.qualname})


def _session_rows(tree: ast.Module, module: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for qualname, line, docstring in _docstrings(tree):
        name = f"{_public(module)}.{qualname}" if qualname else _public(module)
        for session in _functions.sessions(docstring):
            many = "\n" in session.typed
            question = f"What does the Python prompt show for {'these lines' if many else 'this line'}, with `{name}`?"
            yield (
                line + session.line,
                {"instruction": f"{question}\n\n{session.typed}", "response": session.shown, "qualname": qualname},
            )


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """Docstrings of the module and of its public objects, and those that `add_newdoc` gives to compiled ones: name,
    line, text.
    """
    text = ast.get_docstring(tree, clean=False)
    if text:
        yield "", 1, text
    for found in _functions.documented(tree):
        yield found.qualname, found.node.body[0].lineno, found.docstring
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("add_newdoc", "add_docstring"):
            yield from _added(node)


def _added(call: ast.Call) -> Iterator[tuple[str, int, str]]:
    """`add_newdoc(module, name, text)` and `add_newdoc(module, name, (method, text))`."""
    values: list[Any] = []
    for argument in call.args:
        try:
            values.append(ast.literal_eval(argument))
        except ValueError:
            return
    if len(values) < 2 or not isinstance(values[-2], str):
        return
    name, text = values[-2], values[-1]
    if isinstance(text, tuple) and len(text) == 2 and all(isinstance(t, str) for t in text):
        name, text = f"{name}.{text[0]}", text[1]
    if isinstance(text, str) and not name.rpartition(".")[2].startswith("_"):
        yield name, call.args[-1].lineno, text


def _not_installed(name: str, node: str) -> Problem:
    return Problem(
        "A311",
        f"the Python package `{name}` is not installed, or has no Python source",
        node=node,
        help=f"install it: `pip install {name.partition('.')[0]}`",
    )
