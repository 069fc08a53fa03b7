"""How clear and how organised code is: clarity from its characters alone, organisation from its syntax tree."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.code import grammars


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


#: Names that say nothing about clarity: customary short ones, keywords and built-ins, placeholders.
NEUTRAL: Final = word_set(
    """
    _ i j k n m x y z e ex os re np pd io id db fs tf sc in st $ el to of ok up
    """
)
WORDS: Final = word_set(
    """
    and as assert async await break case catch class const continue def default del do done double elif else enum
    esac except export extends false final finally fi float fn for foreach from fun func function global goto if
    impl implements import in include instanceof int interface is lambda let long loop match mod mut namespace new
    nil none nonlocal not null or package pass private protected pub public raise return self short signed sizeof
    static string struct super switch then this throw throws true try type typedef typeof undefined union unsafe
    unsigned use using var virtual void while with yield True False None String bool boolean byte char print len
    range str list dict set tuple std cout cin endl printf console log echo main
    """
)
PLACEHOLDER: Final = re.compile(
    r"(?:[a-z]{1,2}\d+|foo|bar|baz|qux|quux|asdf|qwerty|tmp|temp|aaa+|xxx+|abc|xyz|(?:var|func|fn|val|arg|data|test|thing|stuff|num|str)_?\d+)\d*\Z"
)

_HASH: Final = frozenset({"python", "bash", "ruby", "r", "perl", "powershell"})
BRACES: Final = frozenset(
    {"javascript", "typescript", "java", "c", "cpp", "csharp", "go", "rust", "php", "swift", "kotlin", "scala", "css"}
)
_STRING: Final = r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
_HASH_TOKEN: Final = re.compile(r"(\"\"\"[\s\S]*?(?:\"\"\"|\Z)|'''[\s\S]*?(?:'''|\Z))|(#[^\n]*)|" + _STRING)
_SLASH_TOKEN: Final = re.compile(r"(`(?:\\.|[^`\\])*`)|(//[^\n]*|/\*[\s\S]*?(?:\*/|\Z))|" + _STRING)
_DASH_TOKEN: Final = re.compile(r"(\Z(?!))|(--[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|<!--[\s\S]*?(?:-->|\Z))|" + _STRING)

_NAME: Final = re.compile(r"(?<![\w.$@])(?<!->)(?<!::)[A-Za-z_$][\w$]*")
_CONTROL: Final = re.compile(
    r"(?:\}\s*)?(?:else\s+)?\b(?:if|for|foreach|while|switch|else|do|try|catch|finally|match|loop|unsafe|with|select)\b"
)
_TYPE_HEAD: Final = re.compile(r"\b(?:class|interface|struct|enum|impl|trait|namespace|object|union|extern)\b")
_PY_CONTROL: Final = re.compile(r"[ \t]*(?:async )?(?:if|for|while|with|try|match)\b.*:\s*(?:$|\S)")
_PY_DEF: Final = re.compile(r"[ \t]*(?:async )?def ")
_SH_OPEN: Final = re.compile(r"^\s*(?:if|for|while|until|case|select)\b")
_SH_CLOSE: Final = re.compile(r"^\s*(?:fi|done|esac)\b")
_LOOP_HEAD: Final = re.compile(r"\bfor\s*\([^()]*(?:\([^()]*\)[^()]*)*\)")


@dataclass(slots=True)
class Page:
    """Code as text: `lines` hold no comments, and strings as two quotes; empty lines are left out."""

    lines: list[str]
    raw: list[str]  # the same lines as written
    comments: int  # lines of comments and documentation strings


def measure(code: str, lang: str | None) -> int:
    """Return the clarity of code, 0 to 10: the sum of five parts, read from the characters alone.

    names 0-3      share of telling names among the distinct names of the code, without attributes, keywords, built-ins
                   and customary short names such as i, n, x, os: 80% give 3, 60% 2, 40% 1. Telling: three characters
                   or more, no placeholder (foo, tmp, var1, x2). Without names, 3.
    layout 0-2     lines of more than 100 characters or with two statements: none 2, up to a tenth of the lines 1. Tabs
                   and spaces mixed in the indentation take one off.
    nesting 0-2    control blocks inside one another: up to three 2, four 1.
    functions 0-1  the longest function, and the code outside of functions, have at most 60 lines.
    comments 0-2   code of up to 12 lines needs none; else lines of comment or documentation: 5% of the code lines give
                   2, any 1, and up to 25 lines without any 1.
    Empty code has 0.
    """
    page = page_of(code, lang)
    if not page.lines:
        return 0
    depth, longest = _shape(page.lines, lang)
    nesting = 2 if depth <= 3 else 1 if depth == 4 else 0
    return _names(page.lines) + _layout(page, lang) + nesting + int(longest <= 60) + _comments(page)


def remarks(code: str, lang: str | None) -> tuple[list[str], bool, int]:
    """(names that say little, where they cost points; whether comments do; the number of code lines)."""
    page = page_of(code, lang)
    names = sorted(n for n in _found(page.lines) if not _telling(n)) if _names(page.lines) < 3 else []
    return names, _comments(page) < 2, len(page.lines)


def page_of(code: str, lang: str | None) -> Page:
    text = code.replace("\r\n", "\n")
    token = _HASH_TOKEN if lang in _HASH or lang is None else _SLASH_TOKEN if lang in BRACES else _DASH_TOKEN
    comments = 0

    def plain(found: re.Match[str]) -> str:
        nonlocal comments
        long, comment = found[1], found[2]
        start = text.rfind("\n", 0, found.start()) + 1
        lead = not text[start : found.start()].strip()
        if comment is not None:
            comments += 0 if comment.startswith("#!") else comment.count("\n") + 1
            return "\n" * comment.count("\n")
        if long is not None and token is _HASH_TOKEN and lead:
            comments += long.count("\n") + 1
            return "\n" * long.count("\n")
        return '""' + "\n" * found[0].count("\n")

    bare = token.sub(plain, text).split("\n")
    pairs = [(line, raw) for line, raw in zip(bare, text.split("\n"), strict=False) if line.strip()]
    return Page([p[0] for p in pairs], [p[1] for p in pairs], comments)


def _names(lines: list[str]) -> int:
    found = _found(lines)
    if not found:
        return 3
    share = sum(1 for n in found if _telling(n)) / len(found)
    return 3 if share >= 0.8 else 2 if share >= 0.6 else 1 if share >= 0.4 else 0


def _found(lines: list[str]) -> set[str]:
    found = {n for line in lines for n in _NAME.findall(line)}
    return {n for n in found if n not in WORDS and n not in NEUTRAL}


def _telling(name: str) -> bool:
    return len(name.strip("_$")) >= 3 and not PLACEHOLDER.match(name.lower())


def _layout(page: Page, lang: str | None) -> int:
    bad = sum(1 for line, raw in zip(page.lines, page.raw, strict=True) if len(raw) > 100 or _crowded(line, lang))
    points = 2 if not bad else 1 if bad * 10 <= len(page.lines) else 0
    leads = {line[0] for line in page.raw if line[0] in " \t"}
    return max(0, points - (len(leads) == 2))


_PY_CROWDED: Final = re.compile(
    r"\s*(?:if|for|while|else|elif|with|try|except|finally|def|class)\b[^\n\[{(]*(?:\([^()]*\))?[^\n\[{(]*:\s*\w"
)


def _crowded(line: str, lang: str | None) -> bool:
    """Whether a line holds two statements."""
    if lang == "python":
        return bool(re.search(r";\s*\S", line)) or bool(_PY_CROWDED.match(line))
    if lang in BRACES and lang != "css":
        return _LOOP_HEAD.sub("", line).count(";") > 1
    return lang == "bash" and len(re.findall(r";(?!;)\s*(?!then|do\b)\S", line)) > 1


def _comments(page: Page) -> int:
    size = len(page.lines)
    if size <= 12 or page.comments * 20 >= size:
        return 2
    return int(page.comments > 0 or size <= 25)


def _shape(lines: list[str], lang: str | None) -> tuple[int, int]:
    """(control blocks inside one another, lines of the longest function or of the code outside of functions)."""
    if lang == "python":
        return _indented(lines)
    if lang in BRACES:
        return _braced(lines)
    if lang == "bash":
        depth = deepest = 0
        for line in lines:
            depth += bool(_SH_OPEN.match(line))
            deepest = max(deepest, depth)
            depth = max(0, depth - bool(_SH_CLOSE.search(line)))
        return deepest, len(lines)
    return 0, len(lines)


def _indented(lines: list[str]) -> tuple[int, int]:
    open_: list[tuple[int, bool]] = []  # (indent, control) of the blocks around the line
    functions: list[tuple[int, int]] = []  # (indent, lines so far) of the functions around it
    deepest = longest = loose = 0
    for line in lines:
        indent = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())
        while open_ and open_[-1][0] >= indent:
            open_.pop()
        while functions and functions[-1][0] >= indent:
            functions.pop()
        functions = [(at, count + 1) for at, count in functions]
        longest = max([longest, *(count for _, count in functions)])
        loose += not functions
        if _PY_DEF.match(line):
            open_ = []  # nesting counts inside one function
            functions.append((indent, 1))
        elif _PY_CONTROL.match(line):
            open_.append((indent, True))
            deepest = max(deepest, len(open_))
    return deepest, max(longest, loose)


def _braced(lines: list[str]) -> tuple[int, int]:
    blocks: list[tuple[str, int, int]] = []  # (kind, line it began on, control blocks around it in its function)
    deepest = longest = loose = functions = 0
    head = ""
    for number, line in enumerate(lines):
        loose += not functions and "}" not in line
        for part in re.split(r"([{};])", line):
            if part == "{":
                kind = _block_kind(head)
                around = blocks[-1][2] if blocks else 0
                depth = 0 if kind == "function" else around + (kind == "control")
                blocks.append((kind, number, depth))
                functions += kind == "function"
                deepest = max(deepest, depth)
            elif part == "}" and blocks:
                kind, start, _ = blocks.pop()
                if kind == "function":
                    functions -= 1
                    longest = max(longest, number - start + 1)
            head = "" if part in ("{", "}", ";") else (head + " " + part)[-400:]
    return deepest, max(longest, loose)


def _block_kind(head: str) -> str:
    if _TYPE_HEAD.search(head):
        return "type"
    if _CONTROL.match(head.strip()):
        return "control"
    return "function" if ")" in head or "=>" in head or "function" in head else "data"


# --- organisation ----------------------------------------------------------------------------------------------------

_ALLOWED: Final = 5
_ALLOWED_SCRIPT: Final = 20
_DEFS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_TREE_DEFS: Final = word_set(
    """
    function_declaration function_definition function_item function_expression arrow_function generator_function
    generator_function_declaration method_definition method_declaration constructor_declaration class_declaration
    class_definition class_specifier struct_specifier class interface_declaration enum_declaration
    record_declaration impl_item struct_item trait_item enum_item func_literal lambda_expression closure_expression
    type_declaration union_specifier abstract_class_declaration type_alias_declaration
    """
)
_COUNTED: Final = word_set(
    """
    variable_declaration lexical_declaration local_variable_declaration declaration short_var_declaration
    var_declaration const_declaration let_declaration macro_invocation command assignment_statement
    call_expression_statement
    """
)
_UNCOUNTED: Final = word_set(
    """
    import_statement export_statement compound_statement statement_block block_statement labeled_statement
    empty_statement else_clause
    """
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
        lines = page_of(code, lang).lines
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
