"""Which language an unfenced text is written in, from its syntax: weighted marks, then the parsers where marks cannot
tell.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.code import clarity as _marks
from alchemist_runtime.code import grammars

_READ: Final = 20_000  # characters that the marks look at
_ENOUGH: Final = 3  # marks that make a language

_PLAIN_WORDS: Final = frozenset(
    [
        "the",
        "a",
        "an",
        "are",
        "was",
        "of",
        "to",
        "that",
        "it",
        "you",
        "your",
        "can",
        "be",
        "will",
        "we",
        "has",
        "have",
        "its",
        "these",
        "should",
        "which",
        "there",
        "by",
        "uses",
        "use",
        "used",
        "using",
        "would",
        "could",
        "they",
        "he",
        "she",
        "his",
        "her",
        "how",
        "what",
        "when",
        "where",
    ]
)
_WORD: Final = re.compile(r"\(?[\"'“`*]*[A-Za-z’'-]+[\"'”`*]*\)?[.,;:!?]*\Z|\$?\d+(?:[.,]\d+)*%?[.,;:!?]*\Z")
_COMMENT: Final = re.compile(r"\s*(?:#|//|/?\*|--|<!--|\"\"\"|''')")
_CODE_LINE: Final = re.compile(
    r"[;{}\\]\s*\Z|\w\([^()]*\)\s*\Z|\s(?://|#)\s?\w"
    r"|^\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|FROM|WHERE)\b"
    r"|^\s*(?:echo|print|printf|puts)\b[ (]*[\"'$]"
    r"|^\s*(?:public|private|protected|static|def|class|function|const|let|var|return|import|from)\b[^\n]*[({=:;]"
)
_BULLET: Final = re.compile(r"\A\s*(?:[-*•]|\d+[.)])\s+")
_LITERAL: Final = re.compile(r"`[^`]*`")


def prose(line: str) -> bool:
    """Whether a line reads as a sentence: plain words for the most part, at least one that only sentences have."""
    if _CODE_LINE.search(line) or (_COMMENT.match(line) and not _BULLET.match(line)):
        return False
    words = _LITERAL.sub("it", _BULLET.sub("", line)).split()
    if len(words) < 4:
        return False
    plain = sum(1 for w in words if _WORD.match(w))
    return plain >= 0.75 * len(words) and any(w.lower().strip("\"'(),.:;!?") in _PLAIN_WORDS for w in words)


def detect(text: str) -> str | None:
    """The language of a text without fences, None where no code is to be seen in it."""
    bare = text.strip()
    if not bare:
        return None
    if bare[0] in "{[" and _is_json(bare):
        return "json"
    proof = _python(bare)
    if proof == 2:
        return "python"
    scores = _scores(bare[:_READ])
    best = max(scores, key=lambda name: scores[name], default=None)
    if proof == 1 and (best is None or best == "python" or scores[best] < _ENOUGH):
        return "python"
    if best is None or scores[best] < _ENOUGH:
        return None
    return _among(bare, best, scores)


def _is_json(text: str) -> bool:
    """Objects, and lists that hold an object: a bare list of values is a result, not a document."""
    value = grammars.json_value(text)
    if isinstance(value, list):
        return any(isinstance(v, dict) for v in value)
    return isinstance(value, dict)


def _scores(text: str) -> dict[str, int]:
    code = "\n".join(line for line in text.replace("\r\n", "\n").split("\n") if not prose(line))
    out: dict[str, int] = {}
    if not code.strip():
        return out
    for lang, gate, marks in _marks.MARKS:
        if not gate or any(g in code for g in gate):
            score = sum(weight for weight, mark in marks if mark.search(code))
            if score:
                out[lang] = score
    return out


def _among(text: str, best: str, scores: dict[str, int]) -> str:
    """Settle between languages that share their marks."""
    if scores.get("php", 0) >= 6:
        return "php"
    if best in ("c", "cpp", "java", "csharp"):
        return _braces(text, best, scores)
    if best in ("javascript", "typescript", "html"):
        return _web(text, best, scores)
    return best


def _braces(text: str, best: str, scores: dict[str, int]) -> str:
    if best in ("c", "cpp"):
        if scores.get("cpp", 0) >= 4:
            return "cpp"
        if scores.get("cpp") and grammars.tree(text, "c") is None:
            return "cpp"
        return best
    rival = "csharp" if best == "java" else "java"
    if scores.get(rival, 0) and scores["csharp"] >= scores["java"]:
        return "csharp"
    return best


def _web(text: str, best: str, scores: dict[str, int]) -> str:
    if text.lstrip()[:1] == "<" and scores.get("html", 0) >= _ENOUGH:
        return "html"
    if best == "html" and scores.get("javascript", 0) >= _ENOUGH:
        best = "javascript"  # JSX, or markup inside strings
    if scores.get("typescript", 0) >= 3 and best != "html":
        plain = grammars.tree(text, "javascript") is not None
        return "javascript" if plain else "typescript"
    return best


# --- Python by its own parser -----------------------------------------------------------------------------------------

_BLOCKS: Final = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.If,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.Match,
)
_VALUES: Final = (ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.Lambda, ast.Subscript, ast.JoinedStr)
_KNOWN_CALLS: Final = frozenset(
    [
        "print",
        "len",
        "range",
        "sorted",
        "sum",
        "min",
        "max",
        "map",
        "filter",
        "zip",
        "list",
        "dict",
        "set",
        "tuple",
        "str",
        "int",
        "float",
        "open",
        "input",
        "enumerate",
        "any",
        "all",
        "reversed",
        "isinstance",
        "abs",
        "round",
        "type",
    ]
)
_SEMICOLON: Final = re.compile(r";[ \t]*$", re.M)
_OTHERS: Final = re.compile(r"^\s*(?://|/\*)|\bnew [A-Z]\w*\(", re.M)


def _python(text: str) -> int:
    """2: Python without doubt; 1: parses and looks like it; 0: no."""
    tree = grammars.module(text)
    if tree is None:
        return 0
    if ">>>" in text and text.startswith(">>>"):
        return 2
    body = tree.body
    if any(isinstance(s, _BLOCKS) for s in body):
        return 2
    imports = [s for s in body if isinstance(s, ast.Import | ast.ImportFrom)]
    if len(_SEMICOLON.findall(text)) * 2 > len(body) or _OTHERS.search(text):
        return 0
    if imports and (len(body) > 1 or isinstance(imports[0], ast.ImportFrom) or "." in text or " as " in text):
        return 2
    return int(_evidence(body))


def _evidence(body: list[ast.stmt]) -> bool:
    """Whether statements without a block say more than words and formulas of prose would."""
    telling = 0
    for s in body:
        value = getattr(s, "value", None)
        if isinstance(s, ast.Expr):
            telling += 2 * _telling(s.value)
        elif isinstance(s, ast.AnnAssign) and value is None:
            continue  # `name: word` is what many notes look like
        elif isinstance(s, ast.Assign | ast.AugAssign | ast.AnnAssign):
            formula = isinstance(value, ast.Constant | ast.Name | ast.BinOp | ast.UnaryOp)
            telling += 1 if formula and not isinstance(getattr(value, "value", None), str) else 2
        elif isinstance(s, ast.Return | ast.Assert | ast.Raise | ast.Delete | ast.Import):
            telling += 1
    return telling >= 2


def _telling(value: ast.expr) -> bool:
    if isinstance(value, ast.Await):
        value = value.value
    if isinstance(value, ast.Call):
        name = value.func
        if isinstance(name, ast.Attribute):
            return True
        return isinstance(name, ast.Name) and (name.id in _KNOWN_CALLS or bool(value.keywords))
    return isinstance(value, _VALUES)


# --- fences ----------------------------------------------------------------------------------------------------------

#: Fence tags of the languages we know, to the name we use for them.
ALIASES: Final[dict[str, str]] = {
    "py": "python",
    "py3": "python",
    "python2": "python",
    "python3": "python",
    "pycon": "python",
    "ipython": "python",
    "js": "javascript",
    "jsx": "javascript",
    "mjs": "javascript",
    "node": "javascript",
    "nodejs": "javascript",
    "ts": "typescript",
    "tsx": "typescript",
    "c++": "cpp",
    "cc": "cpp",
    "cxx": "cpp",
    "hpp": "cpp",
    "h": "c",
    "golang": "go",
    "rs": "rust",
    "sh": "bash",
    "shell": "bash",
    "zsh": "bash",
    "console": "bash",
    "shellscript": "bash",
    "mysql": "sql",
    "postgresql": "sql",
    "postgres": "sql",
    "sqlite": "sql",
    "plsql": "sql",
    "tsql": "sql",
    "htm": "html",
    "xhtml": "html",
    "jsonc": "json",
    "json5": "json",
    "c#": "csharp",
    "cs": "csharp",
    "rb": "ruby",
    "kt": "kotlin",
    "ps1": "powershell",
}
#: Tags of blocks that hold no code: what a program prints, plain text, a placeholder.
PLAIN: Final = frozenset(
    {"text", "txt", "plain", "plaintext", "output", "out", "stdout", "none", "log", "markdown", "md"}
)

_OPEN: Final = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([^\n]*)$")
_FENCE: Final = re.compile(r"^([ \t]*)(`{3,}|~{3,})", re.M)
#: Backticks at the beginning of a line.
BACKTICKS: Final = re.compile(r"^[ \t]*```", re.M)
_MARKS: Final = re.compile(r"```|~~~")
_TAG: Final = re.compile(r"[{.]*([A-Za-z][\w+#.-]*)")


@dataclass(frozen=True, slots=True)
class Block:
    """`lang` is the tag in our spelling, None without a tag; `plain` marks output and plain text."""

    lang: str | None
    code: str
    plain: bool = False


def scan(text: str) -> list[Block]:
    """The fenced blocks in order, by the rules of CommonMark; one that is never closed runs to the end.

    A fence that is indented by four columns more than the one that opened the block stands in a string or a comment of
    the code. It closes the block only where no other one does before the next block begins.
    """
    if "```" not in text and "~~~" not in text:
        return []
    text = text.replace("\r\n", "\n")
    out: list[Block] = []
    lines, at = list(_marked_lines(text)), 0
    while at < len(lines):
        start, end = lines[at]
        at += 1
        found = _OPEN.match(text[start:end])
        if found is None or (found[1][0] == "`" and "`" in found[2]):
            continue
        last = _closing(text, lines, at, found[1], _columns(found[0]) + 4)
        stop = len(text) if last is None else max(end + 1, lines[last][0] - 1)
        at = len(lines) if last is None else last + 1
        out.append(_block(found[2].strip(), text[end + 1 : stop], found.start(1)))
    return out


def _closing(text: str, lines: list[tuple[int, int]], first: int, fence: str, deep: int) -> int | None:
    """Which line from the first one on closes a block; `deep` is the column from which on a fence belongs to the
    code.
    """
    late = None
    for number in range(first, len(lines)):
        line = text[slice(*lines[number])]
        bare = line.strip()
        closes = len(bare) >= len(fence) and set(bare) == {fence[0]}
        if _columns(line) >= deep:
            late = number if closes else late
        elif closes or (late is not None and _OPEN.match(line)):
            return number if closes else late
    return late


def _columns(line: str) -> int:
    """How far a line is indented."""
    line = line.expandtabs(4)
    return len(line) - len(line.lstrip(" "))


def hidden(text: str) -> str:
    """The text with brackets that nothing opened in the place of its fences: it parses if these stand in strings or
    comments.
    """
    return _FENCE.sub(lambda found: found[1] + ")" * len(found[2]), text)


def _marked_lines(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the lines that hold a fence's characters: no other line opens or closes a block."""
    end = -1
    for found in _MARKS.finditer(text):
        if found.start() >= end:
            start = text.rfind("\n", 0, found.start()) + 1
            end = text.find("\n", found.end())
            end = len(text) if end < 0 else end
            yield start, end


def _block(info: str, body: str, indent: int) -> Block:
    found = _TAG.match(info)
    tag = found[1].lower().rstrip(".-") if found else ""
    tag = ALIASES.get(tag, tag)
    if indent:
        lines = body.split("\n")
        body = "\n".join(x[min(len(x) - len(x.lstrip(" \t")), indent) :] for x in lines)
    code = body.strip("\n")
    return Block(None if not tag or tag in PLAIN else tag, code, plain=tag in PLAIN)
