"""Reviews code by rules: findings with their lines, marks for correctness and clarity that follow from them, refined code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.operators import code as code_functions
from alchemist_runtime.teachers._findings import Finding, in_python
from alchemist_runtime.teachers._findings_other import in_others, of_style
from alchemist_runtime.teachers._refine import refine
from alchemist_runtime.teachers._shown import shown
from alchemist_runtime.teachers._tree_facts import NAMES


@dataclass(frozen=True, slots=True)
class Review:
    correctness: int  # 0..10
    clarity: int  # 0..10
    suggestions: tuple[str, ...]  # at most four, the weightiest first
    refined: str


NOTHING: Final = "Nothing to change."


def review(response: str, instruction: str | None = None, lang: str | None = None) -> Review:
    """Marks that follow from findings alone: 10 less their points, never under 0. What rules cannot see is not judged.

    Correctness: syntax errors 9, the wrong language 6, a missing function that the request names 4, undefined names 3 each,
    other findings 1 to 2; no code 10 where the request asks for code. Clarity: `clarity(code)` less 1 for each finding of style.
    """
    name = lang or code_functions.lang(response)
    if name is None:
        return _without_code(response, instruction)
    code = shown(response, name)
    findings = _request(instruction or "", code, name) + _findings(code, name)
    findings.sort(key=lambda f: (-(2 * f.wrong + f.unclear), f.line or 0))
    wrong = sum(f.wrong for f in findings)
    unclear = sum(f.unclear for f in findings)
    clarity = code_functions.clarity(code, name) or 0
    told = tuple(dict.fromkeys(str(f) for f in findings))[:4]
    return Review(
        max(0, 10 - wrong), max(0, clarity - unclear), told or (NOTHING,), refine(code, name)
    )


def _without_code(response: str, instruction: str | None) -> Review:
    wanted = _WANTS_CODE.search(instruction or "")
    if not wanted:
        return Review(5, 5, ("There is no code here to review.",), response)
    return Review(0, 5, ("The request asks for code, and the answer holds none.",), response)


# --- against the request ------------------------------------------------------------------------------------------------------

_WANTS_CODE: Final = re.compile(
    r"(?i)^\s*(?:please |using \w+, )?(?:write|create|implement|develop|build|generate|design|construct|produce|program)\b"
)
_NAMED: Final = re.compile(
    r"(?i)\b(?:function|method|class|procedure)\s+(?:named|called|with the name)\s+[`'\"]?([A-Za-z_]\w*)"
    r"|\b(?:function|method|class)\s+`([A-Za-z_]\w*)[`(]"
)
#: Requests that name code which the answer need not have: the old one, the wrong one, the one in another language.
_ABOUT: Final = re.compile(
    r"(?i)\b(?:convert|translate|port|explain|describe|what|why|how|rewrite|rename|refactor|fix|debug|find|identify|error|bug"
    r"|Julia|Kotlin|Scala|Perl|Haskell|Lua|MATLAB|PowerShell|Dart|Elixir)\b"
)
_ASKED: Final = tuple(
    (lang, re.compile(pattern))
    for lang, pattern in {
        "python": r"\bPython\b",
        "javascript": r"\bJavaScript\b|\bNode\.js\b",
        "typescript": r"\bTypeScript\b",
        "java": r"\bJava\b",
        "cpp": r"\bC\+\+(?!\w)",
        "csharp": r"\bC#",
        "c": r"\bin C\b(?![+#])|\bC (?:program|function|code)\b",
        "go": r"\bGolang\b|\b(?:in|using) Go\b",
        "rust": r"\bRust\b",
        "bash": r"\b[Bb]ash\b|\b[Ss]hell script\b",
        "sql": r"\bSQL\b",
        "html": r"\bHTML\b",
        "css": r"\bCSS\b",
        "php": r"\bPHP\b",
        "ruby": r"\bRuby\b",
        "swift": r"\bSwift\b",
        "json": r"\bJSON\b",
    }.items()
)
#: Languages that stand in for each other, or carry each other.
_NEAR: Final = (
    {"javascript", "typescript", "html", "css", "json"},
    {"c", "cpp"},
    *({"sql", host} for host in ("python", "php", "java", "csharp", "javascript")),
)


def _request(instruction: str, code: str, lang: str) -> list[Finding]:
    out: list[Finding] = []
    if _ABOUT.search(instruction):
        return out
    asked = [name for name, pattern in _ASKED if pattern.search(instruction)]
    if (
        asked
        and lang not in asked
        and not any(lang in near and set(asked) & near for near in _NEAR)
    ):
        wanted, got = NAMES[asked[0]], NAMES.get(lang, lang)
        out.append(Finding(None, f"The request asks for {wanted}, but the code is {got}.", wrong=6))
    for a, b in _NAMED.findall(instruction)[:3]:
        name = a or b
        if not re.search(rf"\b{name}\b", code):
            out.append(
                Finding(
                    None, f"The request names `{name}`, but the code does not define it.", wrong=4
                )
            )
    return out


# --- findings -----------------------------------------------------------------------------------------------------------------


def _findings(code: str, lang: str) -> list[Finding]:
    return (in_python(code) if lang == "python" else in_others(code, lang)) + of_style(code, lang)
