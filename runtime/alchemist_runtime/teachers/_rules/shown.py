"""The code that a response shows, its language, and the choices and words that the rules share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from alchemist_runtime.code import functions as code_functions
from alchemist_runtime.code import grammars, languages

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

#: (start, end, text): the bytes of the source to replace, and by what.
Edit = tuple[int, int, str]

NAMES: Final = {
    "python": "Python",
    "javascript": "JavaScript",
    "typescript": "TypeScript",
    "java": "Java",
    "c": "C",
    "cpp": "C++",
    "csharp": "C#",
    "go": "Go",
    "rust": "Rust",
    "bash": "Bash",
    "sql": "SQL",
    "html": "HTML",
    "css": "CSS",
    "json": "JSON",
    "php": "PHP",
    "ruby": "Ruby",
    "swift": "Swift",
    "kotlin": "Kotlin",
    "haskell": "Haskell",
    "perl": "Perl",
    "r": "R",
    "powershell": "PowerShell",
    "scala": "Scala",
}
_ASKED: Final = {
    "python": r"python[23]?",
    "javascript": r"javascript|node(?:\.?js)?|js|react",
    "java": "java",
    "typescript": "typescript|ts",
    "cpp": r"c\+\+|cpp",
    "csharp": r"c#|\.net",
    "c": r"c(?![+#\w])",
    "go": r"golang|(?:in|using|a|write|the) go(?= (?:func|prog|code|struct|map|slice))|in go",
    "rust": "rust",
    "bash": r"bash|shell|sh",
    "sql": r"(?:my|postgre)?sql(?:ite)?",
    "html": "html5?",
    "css": "css3?",
    "json": "json",
    "php": "php",
    "ruby": "ruby",
    "swift": "swift",
    "r": r"in r|r (?=func|code)",
    "kotlin": "kotlin",
    "perl": "perl",
    "scala": "scala",
    "powershell": "powershell",
    "haskell": "haskell",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """`code` is of the language `lang`; `alone` says that it is all of the response, `block` that one fence holds
    it.
    """

    lang: str
    code: str
    alone: bool
    block: bool


def asked(request: str) -> list[str]:
    """The languages that a request names."""
    text = request.lower()
    return [k for k, p in _ASKED.items() if re.search(rf"(?<![\w.#+-])(?:{p})(?![\w#+-])", text)]


def shown(response: str, request: str = "", lang: str | None = None) -> Shown | None:
    """The code of a response; None where it shows none. A language that the request names, and that the code parses in,
    is its own.
    """
    name = lang or code_functions.lang(response)
    if name is None:
        return None
    blocks = [c for tag, c in code_functions.blocks(response) if tag in (name, None)]
    fenced = bool(code_functions.fences(response)) and bool(blocks)
    text = "\n\n".join(blocks) if fenced else response
    alone = not fenced
    if not fenced and name in grammars.PARSED and not grammars.parses(text.strip("\n"), name):
        kept = without_prose(text)
        if kept != text.strip("\n") and kept and grammars.parses(kept, name):
            text, alone = kept, False
    wanted = [k for k in asked(request) if k in grammars.PARSED and k not in ("bash", "json")]
    if len(wanted) == 1 and wanted[0] != name and not fenced and grammars.parses(text, wanted[0]):
        name = wanted[0]
    return Shown(name, text.strip("\n"), alone, fenced and len(blocks) == 1)


def without_prose(text: str) -> str:
    """The lines that are neither sentences nor labels as `Corrected code:`."""
    label = re.compile(r"\s*(?!Else)[A-Z][a-z]*(?: [A-Za-z]+){0,5}:\s*")
    return "\n".join(
        line for line in text.split("\n") if not languages.prose(line) and not label.fullmatch(line)
    ).strip("\n")


def is_session(code: str) -> bool:
    return code.lstrip().startswith(">>> ")


def parse(raw: bytes, lang: str) -> Tree:
    """The tree-sitter tree of bytes as they stand, errors included."""
    return _python_parser().parse(raw) if lang == "python" else grammars.parser(lang).parse(raw)


@cache
def _python_parser():  # type: ignore[no-untyped-def]
    import tree_sitter
    import tree_sitter_python

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_python.language()))


def text_of(node: Node | None) -> str:
    return (node.text or b"").decode("utf-8", "replace") if node is not None else ""


def edited(raw: bytes, edits: Iterable[Edit]) -> str:
    """The source with all edits made; they must not overlap."""
    for start, end, text in sorted(edits, reverse=True):
        raw = raw[:start] + text.encode() + raw[end:]
    return raw.decode("utf-8", "replace")


class Draw:
    """Choices that follow from a text and a sample index alone."""

    def __init__(self, text: str, sample: int = 0) -> None:
        self._seed = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        self._sample = sample
        self._count = 0

    def below(self, n: int) -> int:
        self._count += 1
        message = f"{self._sample}/{self._count}".encode()
        value = hashlib.blake2b(message, key=self._seed, digest_size=8).digest()
        return int.from_bytes(value, "big") % n

    def one(self, options: Sequence[str]) -> str:
        return options[self.below(len(options))]

    def weighted(self, weights: Sequence[int]) -> int:
        """An index, drawn in proportion to its weight."""
        at = self.below(sum(weights))
        for i, weight in enumerate(weights):
            at -= weight
            if at < 0:
                return i
        raise AssertionError


def words(text: str) -> list[str]:
    """The words of a table that is written as one text."""
    return text.split()


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
