"""Which language an unfenced text is written in, from its syntax: weighted marks, then the parsers where marks cannot
tell.
"""

from __future__ import annotations

import ast
import re
from typing import Final

from alchemist_runtime.code import grammars
from alchemist_runtime.code import marks as _marks

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
