"""Whether code is organised in functions or classes, counted in statements."""

from __future__ import annotations

import ast
import re
from typing import Final

from alchemist_runtime.code import clarity, grammars

_ALLOWED: Final = 5
_ALLOWED_SCRIPT: Final = 20
_DEFS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_TREE_DEFS: Final = frozenset(
    [
        "function_declaration",
        "function_definition",
        "function_item",
        "function_expression",
        "arrow_function",
        "generator_function",
        "generator_function_declaration",
        "method_definition",
        "method_declaration",
        "constructor_declaration",
        "class_declaration",
        "class_definition",
        "class_specifier",
        "struct_specifier",
        "class",
        "interface_declaration",
        "enum_declaration",
        "record_declaration",
        "impl_item",
        "struct_item",
        "trait_item",
        "enum_item",
        "func_literal",
        "lambda_expression",
        "closure_expression",
        "type_declaration",
        "union_specifier",
        "abstract_class_declaration",
        "type_alias_declaration",
    ]
)
_COUNTED: Final = frozenset(
    [
        "variable_declaration",
        "lexical_declaration",
        "local_variable_declaration",
        "declaration",
        "short_var_declaration",
        "var_declaration",
        "const_declaration",
        "let_declaration",
        "macro_invocation",
        "command",
        "assignment_statement",
        "call_expression_statement",
    ]
)
_UNCOUNTED: Final = frozenset(
    [
        "import_statement",
        "export_statement",
        "compound_statement",
        "statement_block",
        "block_statement",
        "labeled_statement",
        "empty_statement",
        "else_clause",
    ]
)
_DEF_LINE: Final = re.compile(
    r"^\s*(?:(?:export|default|public|private|protected|static|async|pub|final|abstract|override|inline|virtual)\s+)*"
    r"(?:def|class|function\*?|func|fn|fun|sub|interface|struct|impl|trait)\b|^\s*(?:[\w<>\[\],*&:]+\s+)+\**\w+\([^;]*\)\s*(?:const\s*)?\{|=>\s*\{\s*$",
    re.M,
)
_FREE: Final = frozenset({"sql", "html", "json", "css", None})


def is_organised(code: str, lang: str | None) -> bool:
    """See `code.organised`."""
    if lang in _FREE:
        return True
    counts = _count_python(code) if lang == "python" else _count_tree(code, lang)
    if counts is None:
        lines = clarity.page_of(code, lang).lines
        return len(lines) <= _ALLOWED or any(_DEF_LINE.search(line) for line in lines)
    loose, inside = counts
    return loose <= (_ALLOWED_SCRIPT if lang == "bash" else _ALLOWED) or inside >= loose


def _count_python(code: str) -> tuple[int, int] | None:
    """(statements outside of functions and classes, statements inside)."""
    tree = grammars.module(code)
    if tree is None:
        return None
    loose = inside = 0
    todo: list[tuple[ast.AST, bool]] = [(s, False) for s in tree.body if not _guard(s)]
    while todo:
        node, within = todo.pop()
        if isinstance(node, _DEFS):
            within = True
        elif isinstance(node, ast.stmt) and not _uncounted(node):
            inside += within
            loose += not within
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            below = getattr(node, name, None)
            if isinstance(below, list):
                todo.extend((b, within) for b in below)
    return loose, inside


def _uncounted(s: ast.stmt) -> bool:
    if isinstance(s, ast.Import | ast.ImportFrom | ast.Pass):
        return True
    if isinstance(s, ast.Expr):
        return isinstance(s.value, ast.Constant)
    if isinstance(s, ast.Assign) and len(s.targets) == 1 and isinstance(s.targets[0], ast.Name):
        return s.targets[0].id.isupper()
    return False


def _guard(s: ast.stmt) -> bool:
    """`if __name__ == "__main__":`"""
    return (
        isinstance(s, ast.If)
        and isinstance(s.test, ast.Compare)
        and isinstance(s.test.left, ast.Name)
        and s.test.left.id == "__name__"
    )


def _count_tree(code: str, lang: str | None) -> tuple[int, int] | None:
    if lang is None or lang not in grammars.PARSED:
        return None
    parsed = grammars.tree(code, lang)
    if parsed is None:
        return None
    ours = 1 if parsed.inside else 0  # what we put around a snippet is no organisation
    loose = inside = 0
    todo = [(parsed.tree.root_node, 0)]
    while todo:
        node, defs = todo.pop()
        kind = node.type
        if kind in _TREE_DEFS:
            defs += 1
        elif kind in _COUNTED or (kind.endswith("_statement") and kind not in _UNCOUNTED):
            inside += defs > ours
            loose += defs <= ours
        todo.extend((child, defs) for child in node.named_children)
    return loose, inside
