"""One pass over a tree-sitter tree: kinds of nodes, functions, classes, calls, types, with what stands inside of functions alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from alchemist_runtime.operators import _grammars

if TYPE_CHECKING:
    from tree_sitter import Node

_FUNCTIONS: Final = frozenset(
    [
        "function_declaration",
        "function_definition",
        "function_item",
        "method_declaration",
        "method_definition",
        "constructor_declaration",
        "generator_function_declaration",
    ]
)
_ANONYMOUS: Final = frozenset(
    {
        "arrow_function",
        "function_expression",
        "lambda_expression",
        "closure_expression",
        "func_literal",
    }
)
_CLASSES: Final = frozenset(
    [
        "class_declaration",
        "class_specifier",
        "struct_specifier",
        "struct_item",
        "interface_declaration",
        "enum_declaration",
        "trait_item",
        "enum_item",
        "type_spec",
        "abstract_class_declaration",
        "record_declaration",
        "enum_specifier",
    ]
)
_LOOPS: Final = frozenset(
    [
        "for_statement",
        "while_statement",
        "do_statement",
        "for_in_statement",
        "enhanced_for_statement",
        "for_range_loop",
        "for_expression",
        "while_expression",
        "loop_expression",
        "c_style_for_statement",
    ]
)
_CALLS: Final = frozenset(
    {
        "call_expression",
        "method_invocation",
        "macro_invocation",
        "command",
        "object_creation_expression",
        "new_expression",
    }
)


_TYPES: Final = frozenset(
    [
        "type_identifier",
        "generic_type",
        "scoped_identifier",
        "qualified_identifier",
        "template_type",
    ]
)


@dataclass(slots=True)
class Scan:
    """One pass over a tree. `calls` holds dotted names as written; `depth` the deepest nesting of loops."""

    source: bytes
    kinds: Counter[str] = field(default_factory=Counter)
    functions: list[str] = field(default_factory=list)
    methods: int = 0
    classes: list[tuple[str, str]] = field(default_factory=list)  # (name, node kind)
    calls: Counter[str] = field(default_factory=Counter)
    parameters: tuple[str, ...] = ()  # of the only function
    types: Counter[str] = field(default_factory=Counter)
    recursive: set[str] = field(default_factory=set)
    loose: int = 0  # statements outside of functions and classes
    depth: int = 0
    comments: int = 0

    def text(self, node: Node | None) -> str:
        return (
            self.source[node.start_byte : node.end_byte].decode("utf-8", "replace") if node else ""
        )


def scan(parsed: _grammars.Parsed, *, within_only: bool = False) -> Scan:
    """One pass; `within_only` leaves out what stands outside of functions and classes."""
    s = Scan(parsed.source)
    wrappers = {"X", "f"} if parsed.inside else set()
    todo: list[tuple[Node, tuple[str, ...], int, bool]] = [(parsed.tree.root_node, (), 0, False)]
    while todo:
        node, inside, loops, within = todo.pop()
        kind = node.type
        if kind in _FUNCTIONS or kind in _ANONYMOUS:
            name = _name(node, s)
            if name not in wrappers or inside:
                if name and (kind in _FUNCTIONS or _declared(node)):
                    s.functions.append(name)
                    s.methods += kind == "method_definition" or any(
                        k in ("class", "impl") for k in inside
                    )
                    s.parameters = parameters(node) if len(s.functions) == 1 else ()
                inside, loops, within = (*inside, name or "?"), 0, True
        elif kind in _CLASSES or kind == "impl_item":
            name = _name(node, s)
            if name not in wrappers:
                if kind != "impl_item" and _has_body(node):
                    s.classes.append((name, kind))
                inside, within = (*inside, "impl" if kind == "impl_item" else "class"), True
        if within or not within_only:
            loops += kind in _LOOPS
            _count(node, s, inside, loops)
        if not within and kind.endswith("_statement"):
            s.loose += 1
        todo.extend((c, inside, loops, within) for c in reversed(node.named_children))
    return s


def _declared(node: Node) -> bool:
    """`const f = (…) => …` at the top."""
    holder = (
        node.parent.parent
        if node.parent is not None and node.parent.type == "variable_declarator"
        else None
    )
    return holder is not None and holder.parent is not None and holder.parent.type == "program"


def _count(node: Node, s: Scan, inside: tuple[str, ...], loops: int) -> None:
    kind = node.type
    s.kinds[kind] += 1
    s.depth = max(s.depth, loops)
    if kind in _CALLS:
        _call(node, s, inside)
    elif kind in _TYPES:
        s.types[s.text(node).partition("<")[0].rpartition("::")[2].strip()] += 1
    elif kind == "identifier" and s.text(node) in ("cin", "cout"):
        s.types[s.text(node)] += 1
    elif "comment" in kind:
        s.comments += not s.text(node).startswith("#!")


def _has_body(node: Node) -> bool:
    return node.type == "type_spec" or node.child_by_field_name("body") is not None


def _name(node: Node, s: Scan) -> str:
    found = node.child_by_field_name("name")
    if found is not None:
        return s.text(found)
    if (
        node.type in _ANONYMOUS
        and node.parent is not None
        and node.parent.type == "variable_declarator"
    ):
        return s.text(node.parent.child_by_field_name("name"))
    at = node.child_by_field_name("declarator")  # C and C++
    while at is not None and at.type not in (
        "identifier",
        "field_identifier",
        "qualified_identifier",
        "destructor_name",
    ):
        at = at.child_by_field_name("declarator") or next(
            (c for c in at.named_children if "declarator" in c.type), None
        )
    return s.text(at).rpartition("::")[2]


def _call(node: Node, s: Scan, inside: tuple[str, ...]) -> None:
    target = next(
        (
            x
            for f in ("function", "name", "macro", "type", "constructor")
            if (x := node.child_by_field_name(f)) is not None
        ),
        None,
    )
    text = s.text(target)
    if node.type == "method_invocation" and (obj := node.child_by_field_name("object")) is not None:
        text = f"{s.text(obj)}.{text}"
    text = text.partition("<")[0] if "::" not in text else text
    if len(text) < 80:
        s.calls[text] += 1
    last = text.replace("->", ".").rpartition(".")
    own = [f for f in inside if f not in ("class", "impl", "?")]
    if (
        last[2] in own
        and last[0] in ("", "this", "self")
        and node.type not in ("object_creation_expression", "new_expression")
    ):
        s.recursive.add(last[2])


def parameters(node: Node) -> tuple[str, ...]:
    """The names of a function's parameters; … where one is a pattern without a name."""
    at: Node | None = node
    while at is not None and at.child_by_field_name("parameters") is None:
        at = at.child_by_field_name("declarator")
    holder = at.child_by_field_name("parameters") if at is not None else None
    if holder is None:
        return ()
    names = []
    for p in holder.named_children:
        if "comment" in p.type:
            continue
        found = [n for n in _grammars.walk(p) if n.type in ("identifier", "self")]
        if p.type in ("object_pattern", "array_pattern") or not found:
            return ("…",)
        names += (
            [_plain(n) for n in found]
            if p.type == "parameter_declaration" and node.type == "function_declaration"
            else [_plain(_own(p, found))]
        )
    return tuple(n for n in names if n != "self")


def _own(p: Node, found: list[Node]) -> Node:
    """The name of a parameter, not that of its type or default."""
    for part in ("pattern", "name", "declarator", "left"):
        at = p.child_by_field_name(part)
        while at is not None and at.type != "identifier":
            at = at.child_by_field_name("declarator") or next(
                (c for c in at.named_children if c.type == "identifier"), None
            )
        if at is not None:
            return at
    return found[0]


def _plain(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")
