"""Parsers of the languages we can judge: `ast` for Python, tree-sitter for the others, orjson for JSON. Loaded when
first used.
"""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Tree

_MODULES: Final[dict[str, tuple[str, str]]] = {
    "python": ("tree_sitter_python", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "java": ("tree_sitter_java", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "go": ("tree_sitter_go", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "bash": ("tree_sitter_bash", "language"),
}


@cache
def parser(lang: str) -> Parser:
    """The tree-sitter parser of a language (`tsx` beside the names of `lang`)."""
    import tree_sitter

    module, function = _MODULES[lang]
    grammar = getattr(importlib.import_module(module), function)()
    return tree_sitter.Parser(tree_sitter.Language(grammar))


def encoded(code: str) -> bytes:
    return code.encode("utf-8", "replace")


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
        if (result := _ast(reading)) is None and (older := downgraded(reading)) is not None:
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
            older = downgraded(code)
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


# --- Python of 3.12 to 3.14 ------------------------------------------------------------------------------------------

#: What code must hold to be worth a look.
_RECENT_SYNTAX: Final = re.compile(
    r"\b(?:def|class|type)[ \t]+\w+[ \t]*\[|\btype[ \t]+\w+[ \t]*=|\bexcept\b[^\n:]*,"
    r"|\b(?:[fFtT][rR]?|[rR][fFtT])[\"']"
)
_TYPE_PARAMETERS: Final = re.compile(r"\b((?:def|class|type)[ \t]+\w+)[ \t]*\[")
_ALIAS: Final = re.compile(r"(^[ \t]*|[;:][ \t]*)type[ \t]+\w+[ \t]*=(?=[ \t]*[^\s#;=])", re.M)
_STARS: Final = re.compile(r"(\A|[,=])\s*\*{1,2}\s*(?=\w)")
_PIECE: Final = re.compile(r"[\[({]|[\])}]|\"[^\"\n]*\"|'[^'\n]*'")
_BRACES: Final = re.compile(r"\{\{|\}\}|\\N\{[^{}]*\}")


def downgraded(code: str) -> str | None:
    """The same code without what 3.11 refuses; None where it holds nothing of the kind, or where that is wrong.

    Type parameters and their defaults (PEP 695, 696), `type` statements, f-strings of any content (PEP 701), template
    strings (PEP 750), `except A, B` (PEP 758). What stands in their place is of no use but for the shape of the code
    around it.
    """
    if not _RECENT_SYNTAX.search(code):
        return None
    result = _without_templates(_ALIAS.sub(r"\1raise ", _without_type_parameters(code)))
    return None if result is None or result == code else result


def _without_type_parameters(code: str) -> str:
    out: list[str] = []
    at = 0
    for found in _TYPE_PARAMETERS.finditer(code):
        end = _closing(code, found.end())
        if end is not None and _is_parameters(code[found.end() : end - 1]):
            out += (code[at : found.start()], found[1])
            at = end
    return "".join([*out, code[at:]])


def _closing(code: str, at: int) -> int | None:
    """The place behind the bracket that closes the one before `at`."""
    depth = 1
    for piece in _PIECE.finditer(code, at):
        depth += (piece[0] in "[({") - (piece[0] in "])}")
        if not depth:
            return piece.end()
    return None


def _is_parameters(inside: str) -> bool:
    """Whether type parameters are well formed: bounds and defaults stand where a function's annotations and defaults
    do.
    """
    return bool(inside.strip()) and _is_python("def _(" + _STARS.sub(r"\1", inside) + "\n): 0")


def _is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


def _without_templates(code: str) -> str | None:
    """Template strings and f-strings as empty strings, several exceptions as a tuple; None where one of them is
    wrong.
    """
    source = encoded(code)
    root = parser("python").parse(source).root_node
    if root.has_error:
        return None
    edits: list[tuple[int, int, bytes]] = []
    todo = [root]
    while todo:
        node = todo.pop()
        if node.type == "string" and _interpolated(node):
            if not _is_valid_string(node):
                return None
            edits.append((node.start_byte, node.end_byte, b"''"))
            continue
        if node.type == "except_clause":
            caught = node.children_by_field_name("value")
            if len(caught) > 1 and caught[-1].type != "as_pattern":
                edits.append((caught[0].start_byte, caught[0].start_byte, b"("))
                edits.append((caught[-1].end_byte, caught[-1].end_byte, b")"))
        todo.extend(node.named_children)
    for start, end, new in sorted(edits, reverse=True):
        source = source[:start] + new + source[end:]
    return source.decode("utf-8", "replace")


def _interpolated(string: Node) -> bool:
    opening = string.children[0].text or b""
    return b"t" in opening.lower() or any(c.type == "interpolation" for c in string.children)


def _is_valid_string(string: Node) -> bool:
    """Whether an f-string or a template string is well formed."""
    one_line = not (string.children[0].text or b"").endswith((b'"""', b"'''"))
    for part in string.children:
        text = (part.text or b"").decode("utf-8", "replace")
        if part.type == "string_content":
            if re.search(r"[{}]", _BRACES.sub("", text)):
                return False
            if one_line and re.search(r"(?<!\\)\n", text):
                return False
        elif part.type == "interpolation" and not _is_valid_field(part):
            return False
    return True


def _is_valid_field(field: Node) -> bool:
    value = field.child_by_field_name("expression")
    if value is None or not _is_expression((value.text or b"").decode("utf-8", "replace")):
        return False
    for part in field.named_children:
        if part.type == "type_conversion" and part.text not in (b"!r", b"!s", b"!a"):
            return False
        if part.type == "format_specifier" and not all(
            _is_valid_field(p) for p in part.named_children if p.type == "format_expression"
        ):
            return False
    return True


def _is_expression(code: str) -> bool:
    bracketed = f"({code}\n)"
    if _is_python(bracketed):
        return True
    older = downgraded(bracketed)
    return older is not None and _is_python(older)
