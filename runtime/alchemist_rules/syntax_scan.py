"""One pass over a tree of any language: what occurs in it, as a set of keys that the table of phrases asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from alchemist_runtime.code import grammars

from alchemist_rules.snippet import Snippet, Tree, name_of, parameters, text_of, tree

if TYPE_CHECKING:
    from tree_sitter import Node

#: What a kind of node is, whatever the language.
_KINDS: Final = {
    kind: role
    for role, kinds in {
        "function": "function_declaration function_definition function_item method_declaration method_definition"
        " constructor_declaration generator_function_declaration",
        "anonymous": "arrow_function function_expression lambda_expression closure_expression func_literal lambda",
        "class": "class_definition class_declaration class_specifier struct_specifier struct_item enum_item trait_item"
        " interface_declaration enum_declaration type_spec abstract_class_declaration record_declaration",
        "part of a class": "impl_item",
        "loop": "for_statement while_statement do_statement for_in_statement enhanced_for_statement for_range_loop"
        " for_expression while_expression loop_expression c_style_for_statement",
        "call": "call call_expression method_invocation macro_invocation command",
        "new": "object_creation_expression new_expression",
        "operator": "binary_operator binary_expression augmented_assignment assignment_expression unary_expression"
        " compound_assignment_expr augmented_assignment_expression comparison_operator",
        "text": "string interpreted_string_literal raw_string_literal string_literal char_literal character_literal"
        " raw_string regex template_string",
        "comment": "comment line_comment block_comment",
    }.items()
    for kind in kinds.split()
}
_TOP: Final = ("module", "program", "source_file", "translation_unit")
#: What stands at the top and is neither a definition nor something that runs.
_NOT_LOOSE: Final = re.compile(
    "comment|decorated_definition|export_statement|import|include|package|namespace|use_decl|using|preproc|type_def"
    "|hash_bang"
)


@dataclass(slots=True)
class Scan:
    """`keys`: kinds of nodes, `call:f` (a name that the code itself does not define), `method:f`, `of:module.f`,
    `op:%`, `uses:module`, `recursion`, `nested loops`. What stands outside of functions counts only where there are
    none. `bare`: the code without comments and without the contents of strings."""

    lang: str
    keys: set[str] = field(default_factory=set)
    functions: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    method: bool = False  # whether the last function is one
    parameters: tuple[str, ...] = ()  # of the only function
    loose: int = 0  # statements outside of functions and classes, imports left out
    comments: int = 0
    docstrings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # exceptions that Python code raises
    handled: list[str] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)  # that Python code imports and uses
    bare: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """The functions around a node (`.name` for a method), whether a class is nearest, loops, if anything is around."""

    functions: tuple[str, ...] = ()
    of_class: bool = False
    loops: int = 0
    within: bool = False


def scan(shown: Snippet) -> Scan | None:
    """None where the code does not parse as it stands or as a part, or is too long to judge."""
    code, lang = shown.code, shown.lang
    broken = lang == "python" and grammars.module(code) is None
    result = tree(grammars.session(code) if shown.session else code, lang) if not broken else None
    if result is None:
        return None
    out = Scan(lang)
    _definitions(result, out)
    blank, places = bytearray(result.raw), {0: _Place(of_class=result.inside == "class")}
    for node in result.nodes:
        up = node.parent
        role, start, end = _KINDS.get(node.type, ""), *result.span(node)
        at = places[node.id] = _place(node, role, places.get(up.id if up is not None else 0, places[0]))
        if role == "comment" or (role == "text" and not any(c.type == "interpolation" for c in node.children)):
            out.comments += role == "comment" and not text_of(node).startswith("#!")
            out.docstrings += [text_of(node)] if up is not None and up.type == "expression_statement" else []
            blank[start:end] = bytes(10 if b == 10 else 32 if role == "comment" else 34 for b in blank[start:end])
        if node.is_named and (at.within or not out.functions):
            if role == "loop" and at.loops > 1:
                out.keys.add("nested loops")
            _keys(node, role, out, at.functions)
        if node.is_named and not at.within and up is not None and up.type in _TOP:
            out.loose += not _NOT_LOOSE.search(node.type)
    out.bare = blank.decode("utf-8", "replace")
    out.keys -= {f"call:{n}" for n in (*out.functions, *out.classes, *out.parameters)}
    if lang == "python":
        _imports(out)
    return out


def _place(node: Node, role: str, around: _Place) -> _Place:
    functions, of_class, loops = around.functions, around.of_class, around.loops + (role == "loop")
    within = around.within or node.type == "decorated_definition"
    if role in ("function", "anonymous"):
        if role == "function":
            functions = (f".{name_of(node)}" if of_class or is_method(node) else name_of(node), *functions)
        of_class, loops, within = False, 0, True
    elif role in ("class", "part of a class"):
        of_class = within = True
    return _Place(functions, of_class, loops, within)


def is_method(node: Node) -> bool:
    """Whether the parameters of a Python function begin as those of a method."""
    return re.match(r"\((?:self|cls)\b", text_of(node.child_by_field_name("parameters"))) is not None


def _definitions(result: Tree, out: Scan) -> None:
    """The functions and classes that are not inside a function."""
    ends = 0
    for node in result.nodes:
        role, value, name = _KINDS.get(node.type, ""), None, ""
        if role in ("class", "function") or node.type == "variable_declarator":
            name, value = name_of(node), node.child_by_field_name("value")
        if not name or node.start_byte < ends:
            continue
        if role == "class":
            if node.type == "type_spec" or node.child_by_field_name("body") is not None:
                out.classes.append(name)
        elif role == "function" or (value is not None and value.type in ("arrow_function", "function_expression")):
            out.functions.append(name)
            at = node if value is None else value
            out.parameters = parameters(at, out.lang) if len(out.functions) == 1 else ()
            out.method = result.inside == "class" or is_method(at)
            ends = node.end_byte


def _keys(node: Node, role: str, out: Scan, around: tuple[str, ...]) -> None:
    kind, first = node.type, node.named_children[0] if node.named_children else None
    out.keys.add(kind)
    if role in ("call", "new"):
        _call(node, role, out, around)
    elif role == "operator":
        text = any("string" in c.type for c in node.named_children)  # "%d rows" % n
        out.keys |= {f"op:{c.type}" for c in node.children if not c.is_named and not text}
    elif kind == "raise_statement" and first is not None:
        out.errors.append(re.split(r"[( .]", text_of(first))[0])
    elif kind == "except_clause" and first is not None and first.type != "block":
        out.handled += re.findall(r"\b[A-Z]\w+", text_of(first).partition(" as ")[0])
    elif kind == "keyword_argument":
        out.keys.add(f"key:{text_of(first)}")
    elif kind == "decorator":
        out.keys.add("@" + text_of(node).lstrip("@").partition("(")[0].strip().rpartition(".")[2])


def _call(node: Node, role: str, out: Scan, around: tuple[str, ...]) -> None:
    fields = ("function", "name", "macro", "type", "constructor")
    text = text_of(next((x for f in fields if (x := node.child_by_field_name(f)) is not None), None)).partition("<")[0]
    if node.type == "method_invocation" and (owner := node.child_by_field_name("object")) is not None:
        text = f"{text_of(owner)}.{text}"
    found = re.search(r"(?:^|[.>:\s)\]])([A-Za-z_$][\w$]*)!?$", text)
    if found is None:
        return
    last = found[1]
    if re.fullmatch(r"[\w$]+!?", text):
        out.keys.add(f"{role}:{last}")
    else:
        out.keys.add(f"method:{last}")
        if dotted := re.search(r"([\w$]+)(?:\.|::)([\w$]+)$", text):
            out.keys.add(f"of:{dotted[1]}.{dotted[2]}")
    if role == "new" or last in out.parameters or not {last, f".{last}"} & set(around):
        return
    through = re.fullmatch(rf"(?:self|this|cls|Self)(?:\.|->|::){last}", text)
    if through or (text == last and (last in around or out.lang in ("java", "cpp"))):
        out.keys.add("recursion")


def _imports(out: Scan) -> None:
    """The modules that Python code imports under a name that it uses."""
    used = re.sub(r"(?m)^[ \t]*(?:import|from)\b.*$", "", out.bare)
    for module, listed in re.findall(r"(?m)^[ \t]*(?:from (\w+)[\w.]* )?import \(?([^()\n]+)", out.bare):
        for name in listed.split(","):
            known = name.split()[-1].partition(".")[0] if name.strip() else "-"
            if re.search(rf"(?<![\w.]){re.escape(known)}\b", used):
                out.modules.add(module or name.split()[0].partition(".")[0])
    out.keys |= {f"uses:{m}" for m in out.modules}
