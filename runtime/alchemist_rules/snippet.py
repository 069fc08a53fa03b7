"""The code that a response shows, its language and its tree; and the words and draws that the rules share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alchemist_runtime.code import functions as code_functions
from alchemist_runtime.code import grammars

if TYPE_CHECKING:
    from tree_sitter import Node

#: (start, end, text): the bytes of the source to replace, and by what.
Edit = tuple[int, int, str]

#: Language -> (its name, the words by which a request names it).
_LANGUAGES: Final = {
    "python": ("Python", r"python[23]?"),
    "javascript": ("JavaScript", r"javascript|node(?:\.?js)?|js|react"),
    "java": ("Java", "java"),
    "typescript": ("TypeScript", "typescript|ts"),
    "cpp": ("C++", r"c\+\+|cpp"),
    "csharp": ("C#", r"c#|\.net"),
    "c": ("C", r"c(?![+#\w])"),
    "go": ("Go", r"golang|(?:in|using|a|write|the) go(?= (?:func|prog|code|struct|map|slice))|in go"),
    "rust": ("Rust", "rust"),
    "bash": ("Bash", r"bash|shell|sh"),
    "sql": ("SQL", r"(?:my|postgre)?sql(?:ite)?"),
    "html": ("HTML", "html5?"),
    "css": ("CSS", "css3?"),
    "json": ("JSON", "json"),
    "php": ("PHP", "php"),
    "ruby": ("Ruby", "ruby"),
    "r": ("R", r"in r|r (?=func|code)"),
}
NAMES: Final = {k: name for k, (name, _) in _LANGUAGES.items()}


@dataclass(frozen=True, slots=True)
class Snippet:
    """`code` is of the language `lang`; `alone`: it is all of the response; `block`: one fence holds it."""

    lang: str
    code: str
    alone: bool = True
    block: bool = False

    @property
    def session(self) -> bool:
        return self.code.lstrip().startswith(">>> ")


def requested(request: str) -> list[str]:
    """The languages that a request names."""
    text = request.lower()
    return [k for k, (_, words) in _LANGUAGES.items() if re.search(rf"(?<![\w.#+-])(?:{words})(?![\w#+-])", text)]


def snippet(response: str, request: str = "", lang: str | None = None) -> Snippet | None:
    """The code of a response; None where it shows none. A language that the request names, and that the code parses in,
    is its own.
    """
    name = lang or code_functions.lang(response)
    if name is None:
        return None
    blocks = [c for tag, c in code_functions.blocks(response) if tag in (name, None)]
    fenced = bool(code_functions.fences(response)) and bool(blocks)
    text = "\n\n".join(blocks) if fenced else response
    wanted = [k for k in requested(request) if k in grammars.PARSED and k not in ("bash", "json")]
    if len(wanted) == 1 and wanted[0] != name and not fenced and grammars.parses(text, wanted[0]):
        name = wanted[0]
    return Snippet(name, text.strip("\n"), not fenced, fenced and len(blocks) == 1)


def words(text: str) -> list[str]:
    """The words of a table that is written as one text."""
    return text.split()


class Tree:
    """A tree over the bytes of code; places are those of the code also where it was parsed inside of something."""

    def __init__(self, lang: str, raw: bytes, root: Node, shift: int = 0, inside: str = "") -> None:
        self.lang, self.raw, self._shift, self.inside = lang, raw, shift, inside
        self.nodes = [n for n in every(root) if shift <= n.start_byte and n.end_byte <= shift + len(raw)]

    def span(self, n: Node) -> tuple[int, int]:
        return n.start_byte - self._shift, n.end_byte - self._shift

    def line(self, n: Node) -> int:
        return self.raw.count(b"\n", 0, self.span(n)[0]) + 1

    def indent(self, n: Node) -> str:
        row = self.raw[self.raw.rfind(b"\n", 0, self.span(n)[0]) + 1 :]
        return row[: len(row) - len(row.lstrip(b" \t"))].decode()


def every(root: Node) -> list[Node]:
    """All nodes in the order of the source, the unnamed ones too."""
    out, todo = [], [root]
    while todo:
        node = todo.pop()
        out.append(node)
        todo.extend(reversed(node.children))
    return out


def tree(code: str, lang: str) -> Tree | None:
    """The tree of code that parses, as it stands or as a part; of Python as it stands, errors included."""
    raw = grammars.encoded(code)
    if lang == "python":
        return Tree(lang, raw, grammars.parser(lang).parse(raw).root_node)
    parsed = grammars.tree(code, lang) if lang in grammars.PARSED and lang != "json" else None
    if parsed is None or (shift := parsed.source.find(raw)) < 0:
        return None
    return Tree(lang, raw, parsed.tree.root_node, shift, parsed.inside)


def text_of(node: Node | None) -> str:
    return (node.text or b"").decode("utf-8", "replace") if node is not None else ""


def name_of(node: Node) -> str:
    """The name that a definition gives, empty where it gives none."""
    found = node.child_by_field_name("name")
    at = found if found is not None else node.child_by_field_name("declarator")  # C and C++
    while at is not None and found is None and not at.type.endswith(("identifier", "destructor_name")):
        inner = [c for c in at.named_children if "declarator" in c.type]
        at = at.child_by_field_name("declarator") or (inner[0] if inner else None)
    return text_of(at).rpartition("::")[2]


def parameters(node: Node, lang: str) -> tuple[str, ...]:
    """The names of a function's parameters, without self; empty where one is a pattern without a name, and in Go."""
    if (only := node.child_by_field_name("parameter")) is not None:
        return (text_of(only),)
    kinds = ("parameters", "formal_parameters", "parameter_list")
    holder = next((n for n in every(node) if n.type in kinds), None)
    if holder is None or lang == "go":
        return ()
    out = []
    for p in holder.named_children:
        text = re.sub(r"\[[^\]]*\]|=.*", "", text_of(p), flags=re.S)
        before = lang in ("java", "c", "cpp")  # its type, that is
        words = re.findall(r"[A-Za-z_$][\w$]*", text if before else text.partition(":")[0].replace("mut ", ""))
        if "comment" in p.type or p.type in ("keyword_separator", "positional_separator"):
            continue
        if len(words) <= before or re.search(r"[({]", text.partition(":")[0]):
            return ()
        out.append(words[-1 if before else 0])
    return tuple(n for n in out if n not in ("self", "cls"))


def edited(raw: bytes, edits: Iterable[Edit]) -> str:
    """The source with all edits made; they must not overlap. What goes in at the same place keeps its order."""
    for start, end, text in sorted(edits, key=lambda e: e[:2])[::-1]:
        raw = raw[:start] + text.encode() + raw[end:]
    return raw.decode("utf-8", "replace")


class Draw:
    """Choices that follow from a text and a sample index alone."""

    def __init__(self, text: str, sample: int = 0) -> None:
        self._seed = hashlib.blake2b(grammars.encoded(text), digest_size=16).digest()
        self._sample, self._count = sample, 0

    def below(self, n: int) -> int:
        self._count += 1
        message = f"{self._sample}/{self._count}".encode()
        return int.from_bytes(hashlib.blake2b(message, key=self._seed, digest_size=8).digest(), "big") % n

    def one(self, options: Sequence[str]) -> str:
        return options[self.below(len(options))]

    def weighted(self, weights: Sequence[int]) -> int:
        """An index, drawn in proportion to its weight."""
        return [i for i, weight in enumerate(weights) for _ in range(weight)][self.below(sum(weights))]


def listed(items: Sequence[str]) -> str:
    """a, b and c"""
    return "".join(items) if len(items) < 2 else ", ".join(items[:-1]) + " and " + items[-1]


def an(noun: str) -> str:
    """The noun with its indefinite article."""
    first = noun.lstrip("`").lower()
    spelled = noun.startswith(("HTML", "SQL", "XML", "R "))
    vowel = first[:1] in "aeiou" and not first.startswith(("one", "uni", "use"))
    return f"{'an' if vowel or spelled else 'a'} {noun}"


def number_word(n: int) -> str:
    spelled = words("no one two three four five six seven eight nine ten eleven twelve")
    return spelled[n] if n < len(spelled) else str(n)
