"""What can be proven against code of other languages than Python, by kinds of tree-sitter nodes, each with the edit
that mends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from alchemist_runtime.code import grammars
from alchemist_runtime.teachers._rules.fixes_python import Fix
from alchemist_runtime.teachers._rules.scan import FUNCTIONS, name_of
from alchemist_runtime.teachers._rules.shown import Edit, parse, text_of, words

if TYPE_CHECKING:
    from tree_sitter import Node

_SCRIPT: Final = ("javascript", "typescript")
_CURLY: Final = ("javascript", "typescript", "java", "c", "cpp")
_BLOCKS: Final = frozenset(
    words(
        "block statement_block compound_statement class_body declaration_list field_declaration_list interface_body"
        " constructor_body switch_block"
    )
)


class Tree:
    """A tree over the bytes of code; places are those of the code also where it was parsed inside of something."""

    def __init__(self, code: str, lang: str, root: Node, shift: int) -> None:
        self.lang = lang
        self.raw = code.encode("utf-8", "replace")
        self.shift = shift
        self.nodes = [n for n in _all(root) if shift <= n.start_byte and n.end_byte <= shift + len(self.raw)]

    def of(self, kind: str) -> list[Node]:
        return [n for n in self.nodes if n.type == kind]

    def span(self, n: Node) -> tuple[int, int]:
        return n.start_byte - self.shift, n.end_byte - self.shift

    def line(self, at: int) -> int:
        return self.raw.count(b"\n", 0, at) + 1

    def row_start(self, at: int) -> int:
        return self.raw.rfind(b"\n", 0, at) + 1

    def indent(self, at: int) -> str:
        row = self.raw[self.row_start(at) :].partition(b"\n")[0]
        return row[: len(row) - len(row.lstrip())].decode()


def _all(root: Node) -> list[Node]:
    """All nodes in the order of the source, the unnamed ones too."""
    out, todo = [], [root]
    while todo:
        node = todo.pop()
        out.append(node)
        todo.extend(reversed(node.children))
    return out


def tree(code: str, lang: str) -> Tree | None:
    if lang == "python":
        return Tree(code, lang, parse(code.encode("utf-8", "replace"), lang).root_node, 0)
    parsed = grammars.tree(code, lang)
    if parsed is None:
        return None
    shift = parsed.source.find(code.encode("utf-8", "replace"))
    return Tree(code, lang, parsed.tree.root_node, shift) if shift >= 0 else None


def found(code: str, lang: str, request: str) -> Iterator[Fix]:
    """Everything that is found in code of a language with a parser."""
    if not grammars.parses(code, lang):
        yield _broken(code, lang)
        return
    made = tree(code, lang) if lang != "json" else None
    if made is not None:
        yield from named(code, lang, request)
        for langs, rule in _RULES:
            if lang in langs:
                yield from rule(made)


def _broken(code: str, lang: str) -> Fix:
    """The first error, mended where only a token or a comma too much stands in the way."""
    raw = code.encode("utf-8", "replace")
    if lang == "json":
        made = re.sub(r",(?=\s*[}\]])", "", code)
        edits = ((0, len(raw), made),) if grammars.parses(made, lang) else ()
        return Fix(
            None,
            "The code does not parse" + (": a comma stands after the last value." if edits else "."),
            edits,
            wrong=9,
        )
    missing = []
    line = None
    for n in _all(parse(raw, lang).root_node):
        inside = n.parent is not None and n.parent.parent is not None and n.parent.parent.type in _BLOCKS
        if n.is_missing and lang != "bash" and (n.type in (")", "]", "}") or (n.type == ";" and inside)):
            missing.append((n.start_byte, n.start_byte, n.type))
        if (n.is_missing or n.is_error) and line is None:
            line = n.start_point[0] + 1
    for at, _, token in missing[:1]:
        if grammars.parses((raw[:at] + token.encode() + raw[at:]).decode("utf-8", "replace"), lang):
            return Fix(line, f"The code does not parse: `{token}` is missing.", ((at, at, token),), wrong=9)
    return Fix(line, "The code does not parse.", (), wrong=9)


_NAMED: Final = re.compile(
    r"(?i)\b(?:function|method|procedure)\s+(?:named|called|with the name)\s+[`'\"]?([A-Za-z_]\w*)"
    r"|\b(?:function|method)\s+`([A-Za-z_]\w*)[`(]"
)


def named(code: str, lang: str, request: str) -> list[Fix]:
    """The only function gets the name that the request gives it."""
    wanted = {a or b for a, b in _NAMED.findall(request)}
    made = tree(code, lang) if len(wanted) == 1 else None
    if (
        made is None
        or (name := next(iter(wanted))) in code
        or re.search(r"(?i)\b(?:rename|call|test|fix|explain)\b", request[:40])
    ):
        return []
    functions = [n for n in made.nodes if n.type in FUNCTIONS]
    old = name_of(functions[0]) if len(functions) == 1 else ""
    spots = [n for n in made.nodes if n.type.endswith("identifier") and n.child_count == 0 and text_of(n) == old]
    if not old or old in ("main", "__init__") or re.search(rf"\b{old}\b", request):
        return []
    return [
        Fix(
            made.line(made.span(functions[0])[0]),
            f"The request names the function `{name}`, and the code calls it `{old}`.",
            tuple((*made.span(n), name) for n in spots),
            wrong=4,
        )
    ]


def _braces(t: Tree) -> Iterator[Fix]:
    for n in t.of("}"):
        at = t.span(n)[0]
        up = n.parent
        if up is None or up.type not in _BLOCKS:
            continue
        start = t.span(up)[0]
        before = t.raw[t.row_start(at) : at]
        if before.strip() and start < t.row_start(at):
            gap = len(before) - len(before.rstrip())
            yield Fix(
                t.line(at),
                "A closing brace stands behind other code; put it on a line of its own.",
                ((at - gap, at, "\n" + t.indent(start)),),
            )


def _bodies(t: Tree) -> Iterator[Fix]:
    for n in t.nodes:
        part = {"if_statement": "consequence", "for_statement": "body", "while_statement": "body"}.get(n.type)
        body = n.child_by_field_name(part) if part else None
        if (
            body is None
            or body.type in _BLOCKS
            or body.type in ("empty_statement", ";")
            or (
                part == "body"
                and n.type == "while_statement"
                and n.parent is not None
                and n.parent.type == "do_statement"
            )
        ):
            continue
        before = body.prev_sibling
        while before is not None and "comment" in before.type:
            before = before.prev_sibling
        a, b = t.span(body)
        if (
            before is None
            or b"//" in t.raw[b:].partition(b"\n")[0]
            or body.type in ("if_statement", "for_statement", "while_statement")
        ):
            continue
        head = t.span(before)[1]
        if b"\n" in t.raw[head:a]:
            edits: tuple[Edit, ...] = ((head, head, " {"), (b, b, "\n" + t.indent(t.span(n)[0]) + "}"))
        else:
            edits = ((head, a, " { "), (b, b, " }"))
        yield Fix(t.line(t.span(n)[0]), f"The body of this `{n.type.partition('_')[0]}` has no braces.", edits)


def _var(t: Tree) -> Iterator[Fix]:
    """`var` becomes `let` or `const` where all uses stand behind it in its own block, outside of loops."""
    for n in t.of("variable_declaration"):
        if (
            not text_of(n).startswith("var ")
            or len(n.named_children) != 1
            or n.parent is None
            or n.parent.type not in ("program", "statement_block")
        ):
            continue
        target = n.named_children[0].child_by_field_name("name")
        if target is None or target.type != "identifier" or n.named_children[0].child_by_field_name("value") is None:
            continue
        name, block, (start, _) = text_of(target), t.span(n.parent), t.span(n)
        uses = [
            x
            for x in t.nodes
            if x.type in ("identifier", "shorthand_property_identifier", "shorthand_property_identifier_pattern")
            and text_of(x) == name
        ]
        if n.parent.type == "program":
            block = (0, len(t.raw))
        at: Node | None = n.parent
        while at is not None and not re.search("for_|while_|do_|switch", at.type):
            at = at.parent
        if (
            at is None
            and all(start <= t.span(u)[0] and t.span(u)[1] <= block[1] for u in uses)
            and sum(
                u.parent is not None
                and u.parent.type == "variable_declarator"
                and u.parent.child_by_field_name("name") == u
                for u in uses
            )
            == 1
            and not any(u.parent is not None and "parameter" in u.parent.type for u in uses)
        ):
            changed = any(
                u.parent is not None
                and u != target
                and (
                    u.parent.type in ("update_expression", "augmented_assignment_expression")
                    or (
                        u.parent.type
                        in ("assignment_expression", "for_in_statement", "array_pattern", "object_pattern")
                        and (u.parent.child_by_field_name("left") in (u, None))
                    )
                    or u.type.endswith("pattern")
                )
                for u in uses
            )
            word = "let" if changed else "const"
            yield Fix(
                t.line(start),
                f"`var` is visible in the whole function; `{word}` keeps `{name}` to its block.",
                ((start, start + 3, word),),
            )


def _quotes(t: Tree) -> Iterator[Fix]:
    for n in t.nodes:
        up = n.parent
        while up is not None and up.type in ("unary_expression", "binary_expression"):
            up = up.parent
        expansion = n.type in ("simple_expansion", "expansion") and not re.match(r"\$\{?[#?$@*]", text_of(n))
        if expansion and up is not None and up.type == "test_command" and text_of(up).startswith("[ "):
            said = f"`{text_of(n)}` falls apart at blanks, and the test fails where it is empty; quote it."
            yield Fix(t.line(t.span(n)[0]), said, ((*t.span(n), f'"{text_of(n)}"'),), wrong=1)


def _characters(t: Tree) -> Iterator[Fix]:
    for n in t.of("character_literal"):
        text = text_of(n)[1:-1]
        if len(text) > 1 and "\\" not in text and '"' not in text:
            yield Fix(
                t.line(t.span(n)[0]),
                f"A character literal holds one character; `'{text}'` must be a string in double quotes.",
                ((*t.span(n), f'"{text}"'),),
                wrong=3,
            )


def _blank(t: Tree) -> Iterator[Fix]:
    held: set[int] = set()
    for n in t.nodes:
        if re.search("string|template|heredoc", n.type) and n.start_point[0] != n.end_point[0]:
            held |= set(range(t.line(t.span(n)[0]), t.line(t.span(n)[1])))
    edits, at, lines = [], 0, []
    for i, row in enumerate(t.raw.split(b"\n"), 1):
        bare = row.rstrip(b" \t")
        if bare != row and i not in held and not bare.endswith(b"\\"):
            edits.append((at + len(bare), at + len(row), ""))
            lines.append(i)
        at += len(row) + 1
    if edits:
        many = "This line ends" if len(lines) == 1 else f"{len(lines)} lines, from here on, end"
        yield Fix(lines[0], f"{many} in white space.", tuple(edits))


_RULES: Final = (
    (("java",), _characters),
    (("bash",), _quotes),
    (_CURLY, _bodies),
    (_SCRIPT, _var),
    ((*_CURLY, "go", "rust"), _braces),
    ((*_CURLY, "go", "rust", "bash"), _blank),
)
