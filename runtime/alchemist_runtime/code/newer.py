"""Python of 3.12 to 3.14 as Python of 3.11, so that whether code parses does not hang on the interpreter that runs
us.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from alchemist_runtime.code.parsers import encoded, parser

if TYPE_CHECKING:
    from tree_sitter import Node

#: What code must hold to be worth a look.
_NEW: Final = re.compile(
    r"\b(?:def|class|type)[ \t]+\w+[ \t]*\[|\btype[ \t]+\w+[ \t]*=|\bexcept\b[^\n:]*,"
    r"|\b(?:[fFtT][rR]?|[rR][fFtT])[\"']"
)
_PARAMETERS: Final = re.compile(r"\b((?:def|class|type)[ \t]+\w+)[ \t]*\[")
_ALIAS: Final = re.compile(r"(^[ \t]*|[;:][ \t]*)type[ \t]+\w+[ \t]*=(?=[ \t]*[^\s#;=])", re.M)
_STARS: Final = re.compile(r"(\A|[,=])\s*\*{1,2}\s*(?=\w)")
_PIECE: Final = re.compile(r"[\[({]|[\])}]|\"[^\"\n]*\"|'[^'\n]*'")
_BRACES: Final = re.compile(r"\{\{|\}\}|\\N\{[^{}]*\}")


def earlier(code: str) -> str | None:
    """The same code without what 3.11 refuses; None where it holds nothing of the kind, or where that is wrong.

    Type parameters and their defaults (PEP 695, 696), `type` statements, f-strings of any content (PEP 701), template
    strings (PEP 750), `except A, B` (PEP 758). What stands in their place is of no use but for the shape of the code
    around it.
    """
    if not _NEW.search(code):
        return None
    result = _rewritten(_ALIAS.sub(r"\1raise ", _without_parameters(code)))
    return None if result is None or result == code else result


def _without_parameters(code: str) -> str:
    out: list[str] = []
    at = 0
    for found in _PARAMETERS.finditer(code):
        end = _closing(code, found.end())
        if end is not None and _parameters(code[found.end() : end - 1]):
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


def _parameters(inside: str) -> bool:
    """Whether type parameters are well formed: bounds and defaults stand where a function's annotations and defaults
    do.
    """
    return bool(inside.strip()) and _reads("def _(" + _STARS.sub(r"\1", inside) + "\n): 0")


def _reads(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


def _rewritten(code: str) -> str | None:
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
            if not _string(node):
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


def _string(string: Node) -> bool:
    """Whether an f-string or a template string is well formed."""
    one_line = not (string.children[0].text or b"").endswith((b'"""', b"'''"))
    for part in string.children:
        text = (part.text or b"").decode("utf-8", "replace")
        if part.type == "string_content":
            if re.search(r"[{}]", _BRACES.sub("", text)):
                return False
            if one_line and re.search(r"(?<!\\)\n", text):
                return False
        elif part.type == "interpolation" and not _interpolation(part):
            return False
    return True


def _interpolation(field: Node) -> bool:
    value = field.child_by_field_name("expression")
    if value is None or not _expression((value.text or b"").decode("utf-8", "replace")):
        return False
    for part in field.named_children:
        if part.type == "type_conversion" and part.text not in (b"!r", b"!s", b"!a"):
            return False
        if part.type == "format_specifier" and not all(
            _interpolation(p) for p in part.named_children if p.type == "format_expression"
        ):
            return False
    return True


def _expression(code: str) -> bool:
    bracketed = f"({code}\n)"
    if _reads(bracketed):
        return True
    older = earlier(bracketed)
    return older is not None and _reads(older)
