"""Parsers of the languages we can judge: `ast` for Python, tree-sitter for the others, orjson for JSON. Loaded when
first used.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alchemist_runtime.code import newer
from alchemist_runtime.code.parsers import encoded, parser

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

#: What a snippet may lack around it, tried in order when it does not parse as it stands.
_WRAPS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "javascript": (("class X {\n", "\n}"), ("async function* f() {\n", "\n}"), ("(", ")")),
    "typescript": (("class X {\n", "\n}"), ("async function* f() {\n", "\n}")),
    "java": (("class X {\n", "\n}"), ("class X { void f() {\n", "\n} }")),
    "c": (("void f() {\n", "\n}"),),
    "cpp": (("void f() {\n", "\n}"), ("class X {\n", "\n};")),
    "go": (("package p\nfunc f() {\n", "\n}"),),
    "rust": (("fn f() {\n", "\n}"), ("impl X {\n", "\n}")),
}
#: Go keeps `package` and `import` first, so a snippet's own head must stay outside of the function around it.
_GO_HEAD: Final = re.compile(r"\A(?:\s*(?:package \w+|import (?:\"[^\"]*\"|\([^)]*\)))[ \t]*;?(?:\n|\Z))+")
_DOCTEST: Final = re.compile(r"^[ \t]*>>>", re.M)
#: What is given by name, or has a default: where a name comes twice, the calls are worth a look.
_NAMED: Final = re.compile(r"[(,]\s*(\w+)\s*=(?!=)")
_PROMPT: Final = re.compile(r"(?:>>>|\.\.\.)(?: |$)")

_EXPANSION: Final = re.compile(r"\$\{[#!]?(\w+)[^{}\n]*\}")

_LIMIT: Final = 50_000  # characters
_LIMITS: Final[dict[str, int]] = {"bash": 10_000, "python": 1_000_000}

PARSED: Final = frozenset({"python", "javascript", "typescript", "java", "c", "cpp", "go", "rust", "bash", "json"})


@dataclass(frozen=True, slots=True)
class Parsed:
    """A tree without errors over `source`; `inside` names what we put around a snippet: class, function or nothing."""

    tree: Tree
    source: bytes
    inside: str = ""


def judged(code: str, lang: str) -> bool:
    """Whether code is short enough for its parser: error recovery takes time in the square of the length."""
    return len(code) <= _LIMITS.get(lang, _LIMIT)


def tree(code: str, lang: str) -> Parsed | None:
    """The syntax tree of code or a snippet of it (then inside what it lacks), None where it has errors or is too
    long.
    """
    if not judged(code, lang):
        return None
    for grammar in ("typescript", "tsx") if lang == "typescript" else (lang,):
        if result := _parse(code, grammar):
            return result
    if lang == "bash" and "${" in code:
        # The grammar does not know all of bash's expansions, as ${x:$i:1}: to it they are plain ones.
        return _parse(_EXPANSION.sub(r"${\1}", code), lang)
    head = ""
    if lang == "go" and (found := _GO_HEAD.match(code)):
        head, code = found[0], code[found.end() :]
    for before, after in _WRAPS.get(lang, ()):
        if "package" in head:
            before = before.removeprefix("package p\n")
        inside = "function" if "f(" in before else "class" if "X" in before else ""
        if result := _parse(head + before + code + after, lang, inside):
            return result
    return None


def _parse(code: str, grammar: str, inside: str = "") -> Parsed | None:
    source = encoded(code)
    result = parser(grammar).parse(source)
    return None if result.root_node.has_error else Parsed(result, source, inside)


def module(code: str) -> ast.Module | None:
    """The Python syntax tree of code, an indented part of a body, or a `>>>` session; None where it has errors."""
    for reading in _readings(code):
        older = None
        if (result := _ast(reading)) is None and (older := newer.earlier(reading)) is not None:
            result = _ast(older)
        if result is not None:
            return result
    return None


def _readings(code: str) -> Iterator[str]:
    """Code as it stands, at the margin, and the examples of a session."""
    yield code
    if code[:1] in " \t" or code.lstrip("\r\n")[:1] in (" ", "\t"):
        yield textwrap.dedent(code.expandtabs(4)).strip("\n")
    if _DOCTEST.search(code) and (examples := session(code)):
        yield examples


def _ast(code: str) -> ast.Module | None:
    if not judged(code, "python"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError):
        return None


def _sound(code: str) -> bool:
    """Whether Python parses, its names are bound lawfully and no argument is given twice.

    A symbol table tells the first two without a tree of Python objects. It may lack only the function around a snippet.
    """
    import symtable

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            symtable.symtable(code, "<code>", "exec")
        named = _NAMED.findall(code)
        if len(set(named)) == len(named):
            return True
    except SyntaxError as error:
        if "nonlocal" not in str(error):
            older = newer.earlier(code)
            return older is not None and _sound(older)
    except (ValueError, MemoryError, RecursionError, OverflowError):
        pass
    result = _ast(code)
    return result is not None and not any(_twice(node) for node in ast.walk(result))


def _twice(node: ast.AST) -> bool:
    """Whether a function takes, or a call gives, an argument twice."""
    names: list[str] = []
    if isinstance(node, ast.arguments):
        every = (*node.posonlyargs, *node.args, *node.kwonlyargs, node.vararg, node.kwarg)
        names = [a.arg for a in every if a is not None]
    elif isinstance(node, ast.Call | ast.ClassDef):
        names = [k.arg for k in node.keywords if k.arg is not None]
    return len(set(names)) < len(names)


def session(text: str) -> str:
    """The examples of a `>>>` session without their output; none where what stands around them is not Python.

    Of prompts at several margins those at the leftmost are the session's; the others stand in docstrings.
    """
    lines = text.split("\n")
    margin = min(len(line) - len(line.lstrip()) for line in lines if _DOCTEST.match(line))
    examples, around, printed = [], [], False
    for line in lines:
        if not line[:margin].strip() and (prompt := _PROMPT.match(line, margin)):
            examples.append(line[prompt.end() :])
            printed = True
        elif not line.strip():
            around.append(line)
            printed = False
        elif not printed:
            around.append(line)
    return "\n".join(examples) if _ast(textwrap.dedent("\n".join(around))) is not None else ""


def parses(code: str, lang: str) -> bool:
    """Whether code, or a snippet of it, parses; true for a language without a parser, and for code too long to
    judge.
    """
    if lang == "python":
        return not judged(code, lang) or any(map(_sound, _readings(code)))
    if lang == "json":
        return json_value(code) is not _BAD
    return lang not in PARSED or not judged(code, lang) or tree(code, lang) is not None


_BAD: Final = object()


def json_value(text: str) -> object:
    import orjson

    try:
        return orjson.loads(text)
    except ValueError:
        return _BAD


def walk(root: Node) -> list[Node]:
    """The named nodes in source order, without recursion (code may nest deeper than the stack)."""
    out, todo = [], [root]
    while todo:
        node = todo.pop()
        out.append(node)
        todo.extend(reversed(node.named_children))
    return out
