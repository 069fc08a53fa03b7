"""One pass over a tree-sitter tree of any language: what occurs in it, as a set of keys that tables of phrases ask
for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from alchemist_runtime.code import grammars
from alchemist_runtime.teachers._rules.shown import is_session, parse, text_of, words

if TYPE_CHECKING:
    from tree_sitter import Node

FUNCTIONS: Final = frozenset(
    words(
        "function_declaration function_definition function_item method_declaration method_definition"
        " constructor_declaration generator_function_declaration"
    )
)
_ANONYMOUS: Final = frozenset(
    words("arrow_function function_expression lambda_expression closure_expression func_literal lambda")
)
_CLASSES: Final = frozenset(
    words(
        "class_definition class_declaration class_specifier struct_specifier struct_item interface_declaration"
        " enum_declaration trait_item enum_item type_spec abstract_class_declaration record_declaration"
    )
)
_LOOPS: Final = frozenset(
    words(
        "for_statement while_statement do_statement for_in_statement enhanced_for_statement for_range_loop"
        " for_expression while_expression loop_expression c_style_for_statement"
    )
)
_CALLS: Final = frozenset(
    words("call call_expression method_invocation macro_invocation command object_creation_expression new_expression")
)
_OPERATORS: Final = frozenset(
    words(
        "binary_operator binary_expression augmented_assignment assignment_expression unary_expression"
        " compound_assignment_expr augmented_assignment_expression comparison_operator"
    )
)
_TEXTS: Final = frozenset(
    words(
        "string interpreted_string_literal raw_string_literal string_literal char_literal character_literal raw_string"
        " regex template_string comment line_comment block_comment"
    )
)
_IDENTIFIERS: Final = frozenset(words("identifier field_identifier type_identifier property_identifier word"))


@dataclass(slots=True)
class Scan:
    """`keys`: kinds of nodes, `call:f` (a name that the code itself does not define), `method:f`, `of:module.f`,
    `op:%`, `uses:module`, `recursion`, `nested loops`. What stands outside of functions counts only where there are
    none. `bare`: the code without comments and without the contents of strings."""

    lang: str
    keys: set[str] = field(default_factory=set)
    functions: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    method: bool = False
    parameters: tuple[str, ...] = ()  # of the only function
    loose: int = 0  # statements outside of functions and classes, imports left out
    comments: int = 0
    docstrings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # exceptions that Python code raises
    handled: list[str] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)  # name in the code -> module
    bare: str = ""


def scan(code: str, lang: str) -> Scan | None:
    """None where the code does not parse as it stands or as a snippet, or is too long to judge."""
    if lang == "python":
        if grammars.module(code) is None:
            return None
        code = grammars.session(code) if is_session(code) else code
        source, inside = code.encode("utf-8", "replace"), ""
        root = parse(source, "python").root_node
    else:
        parsed = grammars.tree(code, lang) if lang in grammars.PARSED and lang != "json" else None
        if parsed is None:
            return None
        source, inside, root = parsed.source, parsed.inside, parsed.tree.root_node
    out = Scan(lang)
    if lang == "python":
        _imports(code, out)
    wrappers = {"X", "f"} if inside else set()
    _names(root, out, wrappers)
    within_only = bool(out.functions)
    out.method = len(out.functions) == 1 and not out.classes and inside == "class"
    blank = bytearray(source)
    # (node, names of the functions around it, whether a class is nearest, loops around it, within a function or class)
    todo: list[tuple[Node, tuple[str, ...], bool, int, bool]] = [(root, (), False, 0, False)]
    while todo:
        node, inside_of, of_class, loops, within = todo.pop()
        kind = node.type
        within |= kind == "decorated_definition"
        if kind in FUNCTIONS or kind in _ANONYMOUS:
            name = name_of(node)
            if name not in wrappers:
                if kind in FUNCTIONS:
                    inside_of = ((f".{name}" if of_class else name), *inside_of)
                of_class, loops, within = False, 0, True
        elif kind in _CLASSES or kind == "impl_item":
            of_class, within = True, within or name_of(node) not in wrappers
        if kind in _TEXTS and not (kind == "string" and node.child_count > 3 and _interpolated(node)):
            _text(node, out)
            blank[node.start_byte : node.end_byte] = bytes(
                10 if b == 10 else 34 if "comment" not in kind else 32 for b in blank[node.start_byte : node.end_byte]
            )
        if within or not within_only:
            loops += kind in _LOOPS
            if loops > 1 and kind in _LOOPS:
                out.keys.add("nested loops")
            _keys(node, kind, out, inside_of)
        if (
            not within
            and node.parent is not None
            and node.parent.type in ("module", "program", "source_file", "translation_unit")
        ):
            out.loose += kind not in (
                "comment",
                "line_comment",
                "block_comment",
                "decorated_definition",
                "export_statement",
            ) and not re.search("import|include|package|namespace|use_decl|using|preproc|type_def|hash_bang", kind)
        todo.extend((c, inside_of, of_class, loops, within) for c in reversed(node.named_children))
    out.bare = blank.decode("utf-8", "replace")
    defined = {*out.functions, *out.classes, *out.parameters}
    out.keys -= {f"call:{n}" for n in defined}
    for name, module in out.modules.items():
        if re.search(rf"(?<![\w.]){re.escape(name)}\b", _without_imports(out.bare)):
            out.keys.add(f"uses:{module}")
    return out


def _without_imports(text: str) -> str:
    return re.sub(r"(?m)^[ \t]*(?:import|from|#include|use)\b.*$", "", text)


def _interpolated(node: Node) -> bool:
    return any(c.type == "interpolation" for c in node.children)


def _names(root: Node, out: Scan, wrappers: set[str]) -> None:
    heads = [
        n for n in grammars.walk(root) if n.type in FUNCTIONS or n.type in _CLASSES or n.type == "variable_declarator"
    ]
    for node in heads:
        name = name_of(node)
        if name in wrappers or not name or _inner(node, wrappers):
            continue
        if node.type in _CLASSES:
            if node.type == "type_spec" or node.child_by_field_name("body") is not None:
                out.classes.append(name)
        elif node.type != "variable_declarator" or (
            (value := node.child_by_field_name("value")) is not None
            and value.type in ("arrow_function", "function_expression")
        ):
            out.functions.append(name)
            at = node if node.type in FUNCTIONS else node.child_by_field_name("value")
            out.parameters = parameters(at) if len(out.functions) == 1 and at is not None else ()


def _inner(node: Node, wrappers: set[str]) -> bool:
    """Whether a definition stands inside a function."""
    at = node.parent
    while at is not None and not (at.type in FUNCTIONS and name_of(at) not in wrappers):
        at = at.parent
    return at is not None


def name_of(node: Node) -> str:
    found = node.child_by_field_name("name")
    at = found if found is not None else node.child_by_field_name("declarator")  # C and C++
    while at is not None and found is None and not at.type.endswith(("identifier", "destructor_name")):
        at = at.child_by_field_name("declarator") or next(
            (c for c in at.named_children if "declarator" in c.type), None
        )
    return text_of(at).rpartition("::")[2]


def parameters(node: Node) -> tuple[str, ...]:
    """The names of a function's parameters, without self; empty where one is a pattern without a name."""
    at: Node | None = node
    while at is not None and at.child_by_field_name("parameters") is None:
        at = at.child_by_field_name("declarator")
    holder = at.child_by_field_name("parameters") if at is not None else node.child_by_field_name("parameter")
    names: list[str] = []
    for p in holder.named_children if holder is not None else ():
        if "comment" in p.type or p.type in ("keyword_separator", "positional_separator", "self_parameter"):
            continue
        inner: Node | None = p
        while inner is not None and not inner.type.endswith("identifier"):
            inner = next(
                (
                    c
                    for f in ("name", "pattern", "declarator", "left")
                    if (c := inner.child_by_field_name(f)) is not None
                ),
                (
                    inner.named_children[0]
                    if p.type in ("typed_parameter", "list_splat_pattern", "dictionary_splat_pattern", "rest_pattern")
                    and inner.named_children
                    else None
                ),
            )
        if inner is None:
            return ()
        names.append(text_of(inner))
    return tuple(n for n in names if n not in ("self", "cls"))


def _keys(node: Node, kind: str, out: Scan, inside_of: tuple[str, ...]) -> None:
    out.keys.add(kind)
    if kind in _CALLS:
        _call(node, out, inside_of)
    elif kind in _OPERATORS:
        text = any("string" in c.type for c in node.named_children)  # "%d rows" % n
        out.keys |= {f"op:{c.type}" for c in node.children if not c.is_named and not text}
    elif kind == "raise_statement" and node.named_children:
        out.errors.append(re.split(r"[( .]", text_of(node.named_children[0]))[0])
    elif kind == "except_clause" and node.named_children and node.named_children[0].type != "block":
        out.handled += re.findall(r"\b[A-Z]\w+", text_of(node.named_children[0]).partition(" as ")[0])
    elif kind == "keyword_argument":
        out.keys.add(
            f"key:{text_of(node.child_by_field_name('name'))}={text_of(node.child_by_field_name('value'))[:8]}"
        )
        out.keys.add(f"key:{text_of(node.child_by_field_name('name'))}")
    elif kind == "return_statement":
        out.keys.add("returns a value" if node.named_children else "returns early")
    elif kind in ("decorator", "marker_annotation"):
        out.keys.add("@" + text_of(node).lstrip("@").partition("(")[0].strip().rpartition(".")[2])


def _call(node: Node, out: Scan, inside_of: tuple[str, ...]) -> None:
    fields = ("function", "name", "macro", "type", "constructor")
    target = next((x for f in fields if (x := node.child_by_field_name(f)) is not None), None)
    text = text_of(target).partition("<")[0]
    if node.type == "method_invocation" and (owner := node.child_by_field_name("object")) is not None:
        text = f"{text_of(owner)}.{text}"
    found = re.search(r"(?:^|[.>:\s)\]])([A-Za-z_$][\w$]*)!?$", text)
    if found is None:
        return
    last = found[1]
    new = node.type in ("object_creation_expression", "new_expression")
    if re.fullmatch(r"[\w$]+", text):
        out.keys.add(f"{'new' if new else 'call'}:{last}")
    else:
        out.keys.add(f"method:{last}")
        if dotted := re.search(r"([\w$]+)(?:\.|::)([\w$]+)$", text):
            out.keys.add(f"of:{dotted[1]}.{dotted[2]}")
    if new or not inside_of:
        return
    own = {text_of_name.lstrip("."): text_of_name.startswith(".") for text_of_name in reversed(inside_of)}
    if last in own and last not in out.parameters:
        through = re.fullmatch(rf"(?:self|this|cls|Self)(?:\.|->|::){last}", text) is not None
        plain = (
            text == last
            and (not own[last] or out.lang in ("java", "cpp"))
            and not (out.lang == "python" and "self" in _first(node))
        )
        if through or plain:
            out.keys.add("recursion")


def _first(node: Node) -> str:
    """The first parameter of the function around a node."""
    at: Node | None = node
    while at is not None and at.type != "function_definition":
        at = at.parent
    holder = at.child_by_field_name("parameters") if at is not None else None
    return text_of(holder.named_children[0]) if holder is not None and holder.named_children else ""


def _text(node: Node, out: Scan) -> None:
    if "comment" in node.type:
        out.comments += not text_of(node).startswith("#!")
    elif out.lang == "python" and node.parent is not None and node.parent.type == "expression_statement":
        out.docstrings.append(text_of(node))


def _imports(code: str, out: Scan) -> None:
    """The modules that Python code imports, by the names that they have in it."""
    import ast

    tree = grammars.module(code)
    for n in ast.walk(tree) if tree is not None else ():
        if isinstance(n, ast.Import):
            out.modules |= {(a.asname or a.name).partition(".")[0]: a.name.partition(".")[0] for a in n.names}
        elif isinstance(n, ast.ImportFrom) and n.module and not n.level:
            out.modules |= {a.asname or a.name: n.module.partition(".")[0] for a in n.names}
