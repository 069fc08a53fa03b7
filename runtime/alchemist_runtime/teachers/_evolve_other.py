"""Ways to evolve code in other languages than Python: documentation comments, exports, strict shells. All keep what the code does
for input that it handled before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alchemist_runtime.operators import _grammars
from alchemist_runtime.teachers._tree_scan import parameters

if TYPE_CHECKING:
    from tree_sitter import Node

Made = tuple[tuple[str, ...], str] | None

_FUNCTIONS: Final = {
    "javascript": "function_declaration",
    "typescript": "function_declaration",
    "java": "method_declaration",
    "c": "function_definition",
    "cpp": "function_definition",
    "go": "function_declaration",
    "rust": "function_item",
}
_SCRIPT: Final = ("javascript", "typescript")


@dataclass(frozen=True, slots=True)
class Found:
    """A function: its name, parameters, the line it begins on (from 0) and whether a comment stands before it."""

    name: str
    parameters: tuple[str, ...]
    line: int
    column: int
    commented: bool
    returns: bool
    top: bool


def functions(code: str, lang: str) -> list[Found]:
    """The functions of code that parses as it stands."""
    if lang not in _FUNCTIONS:
        return []
    parsed = _grammars.tree(code, lang)
    if parsed is None or parsed.inside:
        return []
    out = []
    for node in _grammars.walk(parsed.tree.root_node):
        if node.type == _FUNCTIONS[lang]:
            head = (
                node.parent
                if node.parent is not None and node.parent.type == "export_statement"
                else node
            )
            before = head.prev_sibling
            names = parameters(node)
            out.append(
                Found(
                    _name(node),
                    names,
                    head.start_point[0],
                    head.start_point[1],
                    before is not None and "comment" in before.type,
                    any(
                        n.type in ("return_statement", "return_expression") and n.named_children
                        for n in _grammars.walk(node)
                    ),
                    head.parent is not None
                    and head.parent.type
                    in ("program", "translation_unit", "source_file", "class_body"),
                )
            )
    return out


def _name(node: Node) -> str:
    found = node.child_by_field_name("name")
    at = node if found is None else None
    while at is not None and at.type not in (
        "identifier",
        "field_identifier",
        "qualified_identifier",
    ):
        at = at.child_by_field_name("declarator")
    return _text(found if found is not None else at)


def _text(node: Node | None) -> str:
    return (node.text or b"").decode("utf-8", "replace") if node is not None else ""


def doc_comment(code: str, lang: str) -> Made:
    """A documentation comment that lists the parameters, before the only function."""
    found = [f for f in functions(code, lang) if f.top and f.name not in ("main", "Main")]
    if len(found) != 1 or found[0].commented or "…" in found[0].parameters or not found[0].name:
        return None
    f = found[0]
    rows = code.split("\n")
    indent = rows[f.line][: f.column]
    if indent.strip():
        return None
    from alchemist_runtime.teachers._edits import words

    about = " ".join(words(f.name)) or f.name
    if lang == "go":
        lines = [f"// {f.name} is documented here: {about}."]
        lines += [f"// It takes {', '.join(f.parameters)}."] if f.parameters else []
    elif lang == "rust":
        lines = [f"/// {about.capitalize()}."]
        lines += (
            [
                "///",
                "/// # Arguments",
                "///",
                *(f"/// * `{p}`: the value of `{p}`." for p in f.parameters),
            ]
            if f.parameters
            else []
        )
    else:
        lines = ["/**", f" * {about.capitalize()}."]
        if f.parameters or f.returns:
            lines.append(" *")
        lines += [f" * @param {p} the value of `{p}`" for p in f.parameters]
        lines += [f" * @{'returns' if lang in _SCRIPT else 'return'} the result"] * f.returns
        lines.append(" */")
    kind = {
        "javascript": "a JSDoc comment",
        "typescript": "a TSDoc comment",
        "java": "a Javadoc comment",
        "go": "a doc comment",
        "rust": "a doc comment",
    }.get(lang, "a Doxygen comment")
    wordings = (
        f"Document `{f.name}` by {kind}" + (" that names each parameter." if f.parameters else "."),
        f"Put {kind} before `{f.name}`"
        + (", with a line on its parameters." if f.parameters else "."),
    )
    rows[f.line : f.line] = [indent + row for row in lines]
    return wordings, "\n".join(rows)


def export(code: str, lang: str) -> Made:
    """A CommonJS export of the functions at the top."""
    if lang != "javascript" or re.search(
        r"\bexport\b|\bexports\b|\bimport\b|\bdocument\.|\bwindow\.|<script|\$\(", code
    ):
        return None
    names = [f.name for f in functions(code, lang) if f.top and f.name]
    if not 1 <= len(names) <= 4:
        return None
    shown = ", ".join(dict.fromkeys(names))
    wordings = (
        f"Export `{names[0]}` so that other modules can `require` it."
        if len(names) == 1
        else "Export the functions so that other modules can `require` them.",
        "Make it usable as a CommonJS module: add the export.",
    )
    return wordings, code.rstrip("\n") + f"\n\nmodule.exports = {{ {shown} }};"


def strict_shell(code: str, lang: str) -> Made:
    """`set -euo pipefail` under the first line of a bash script."""
    if (
        lang != "bash"
        or not re.match(r"#!.*\bbash\b[^\n]*\n", code)
        or re.search(r"^\s*set -", code, re.M)
    ):
        return None
    first, _, rest = code.partition("\n")
    wordings = (
        "Stop at the first command that fails and at unset variables, with `set -euo pipefail`.",
        "The script must end as soon as a command fails, also inside a pipeline: use `set -euo pipefail`.",
    )
    return wordings, f"{first}\nset -euo pipefail\n{rest}"


def usage_check(code: str, lang: str) -> Made:
    """A message and exit status 1 where a bash script lacks the arguments that it reads."""
    if (
        lang != "bash"
        or not code.startswith("#!")
        or "$#" in code
        or re.search(r"\(\)\s*\{|\bfunction\b|\bshift\b|\$\{\d+[:+-]", code)
    ):
        return None
    used = [int(d) for d in re.findall(r"\$\{?([1-9])\b", re.sub(r"'[^']*'", "", code))]
    if not used:
        return None
    n = max(used)
    first, _, rest = code.partition("\n")
    noun = "argument" if n == 1 else "arguments"
    check = f'if [ "$#" -lt {n} ]; then\n    echo "Usage: $0 needs {n} {noun}" >&2\n    exit 1\nfi'
    wordings = (
        f"Print a usage message and exit with status 1 when fewer than {n} {noun} {'is' if n == 1 else 'are'} given.",
        f"Check first that the script got its {n} {noun}, and explain its usage if not.",
    )
    return wordings, f"{first}\n\n{check}\n{rest if rest.startswith(chr(10)) else chr(10) + rest}"


_TRUTH: Final = r"!\s*NAME\b|\b(?:if|while)\s*\(\s*NAME\s*\)|\bNAME\s*(?:&&|\|\||\?)|(?:&&|\|\|)\s*NAME\s*[)&|;?]"


def null_check(code: str, lang: str) -> Made:
    """An error where a parameter is null, in JavaScript, TypeScript and Java."""
    if lang not in ("javascript", "typescript", "java") or re.search(
        r"\bnull\b|\bundefined\b|\?\?|\?\.", code
    ):
        return None
    parsed = _grammars.tree(code, lang)
    found = (
        [n for n in _grammars.walk(parsed.tree.root_node) if n.type == _FUNCTIONS[lang]]
        if parsed
        else []
    )
    found = [n for n in found if _name(n) != "main"]
    if parsed is None or parsed.inside or len(found) != 1:
        return None
    node, name = found[0], _name(found[0])
    body, parameter = node.child_by_field_name("body"), _nullable(node, lang)
    if (
        body is None
        or parameter is None
        or not body.named_children
        or len(re.findall(rf"\b{re.escape(name)}\b", _text(body)))
    ):
        return None
    if lang != "java" and re.search(_TRUTH.replace("NAME", re.escape(parameter)), _text(body)):
        return None  # its truth is asked for: null may mean something
    first, row = body.named_children[0], code.split("\n")
    line, column = first.start_point
    indent = row[line][:column]
    if indent.strip() or line == body.start_point[0] or not code.isascii():
        return None
    step = "    "
    if lang == "java":
        check = f'{indent}if ({parameter} == null) {{\n{indent}{step}throw new IllegalArgumentException("{parameter} must not be null");\n{indent}}}'
        error = "an `IllegalArgumentException`"
    else:
        check = f'{indent}if ({parameter} === null || {parameter} === undefined) {{\n{indent}{step}throw new TypeError("{parameter} is missing");\n{indent}}}'
        error = "a `TypeError`"
    row[line:line] = check.split("\n")
    missing = "null" if lang == "java" else "null or missing"
    wordings = (
        f"Throw {error} if `{parameter}` is {missing}.",
        f"`{name}` must refuse {'null' if lang == 'java' else 'a missing value'} for `{parameter}` with {error}.",
    )
    return wordings, "\n".join(row)


def _nullable(node: Node, lang: str) -> str | None:
    """The first parameter, if it may be null and has no default."""
    holder = node.child_by_field_name("parameters")
    first = (
        next((p for p in holder.named_children if "comment" not in p.type), None)
        if holder
        else None
    )
    if first is None:
        return None
    if lang == "java":
        kind = first.child_by_field_name("type")
        plain = kind is None or kind.type in (
            "integral_type",
            "floating_point_type",
            "boolean_type",
        )
        return (
            None
            if plain or first.type != "formal_parameter"
            else _text(first.child_by_field_name("name"))
        )
    if lang == "typescript":
        pattern = first.child_by_field_name("pattern")
        good = first.type == "required_parameter" and first.child_by_field_name("value") is None
        return (
            _text(pattern)
            if good and pattern is not None and pattern.type == "identifier"
            else None
        )
    return _text(first) if first.type == "identifier" else None


def final_parameters(code: str, lang: str) -> Made:
    """`final` before the parameters of a Java method that never assigns them."""
    if lang != "java" or not code.isascii():
        return None
    parsed = _grammars.tree(code, lang)
    if parsed is None or parsed.inside:
        return None
    methods = [
        n
        for n in _grammars.walk(parsed.tree.root_node)
        if n.type == "method_declaration" and _name(n) != "main"
    ]
    if len(methods) != 1:
        return None
    holder = methods[0].child_by_field_name("parameters")
    spots = [p for p in holder.named_children if p.type == "formal_parameter"] if holder else []
    names = [_text(p.child_by_field_name("name")) for p in spots]
    body = _text(methods[0].child_by_field_name("body"))
    changed = any(
        re.search(
            rf"(?<![\w.]){n}\s*(?:[-+*/%&|^]|<<|>>)?=(?!=)|(?:\+\+|--)\s*{n}\b|\b{n}\s*(?:\+\+|--)",
            body,
        )
        for n in names
    )
    if not spots or changed or any("final" in _text(p) for p in spots):
        return None
    for p in reversed(spots):
        code = code[: p.start_byte] + "final " + code[p.start_byte :]
    word = "parameter" if len(spots) == 1 else "parameters"
    return (
        f"Declare the {word} of `{_name(methods[0])}` final.",
        f"Make sure that the method cannot assign its {word}: declare {'it' if len(spots) == 1 else 'them'} `final`.",
    ), code


WAYS: Final = {
    "null check": null_check,
    "final parameters": final_parameters,
    "doc comment": doc_comment,
    "export": export,
    "strict shell": strict_shell,
    "usage check": usage_check,
}
