"""Reviews: what can be proven against code, the marks that follow from it, and the code with all of it mended."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import Final

from alchemist_runtime.code import functions as code_functions
from alchemist_runtime.code import grammars
from alchemist_runtime.teachers._rules import fixes_other, fixes_python, pysource
from alchemist_runtime.teachers._rules.fixes_python import Fix
from alchemist_runtime.teachers._rules.shown import NAMES, asked, edited, is_session, listed, shown


@dataclass(frozen=True, slots=True)
class Review:
    """`suggestions` say in every case whether `refined` is the code as it was: with NOTHING, or where no rule mends a
    defect.
    """

    correctness: int  # 0..10
    clarity: int  # 0..10
    suggestions: tuple[str, ...]
    refined: str


_MOST: Final = 6  # findings of a review
NOTHING: Final = "Nothing to change: the refined code is the code as it was."
_UNCHANGED: Final = "No rule mends this, so the code below is as it was."


def review(response: str, instruction: str | None = None, lang: str | None = None) -> Review | None:
    """Marks of 10 less what is proven against the code; None for what rules cannot judge: prose, a session at the
    prompt, languages without a parser here. A request that asks for code, answered without any, has 0.

    Correctness loses 9 for code that does not parse, 6 for another language than asked for, 4 for a function that does
    not bear the name asked for, 1 to 3 for every other defect. Clarity is `clarity(code)` less 1 for each other
    finding.
    """
    request = instruction or ""
    code = shown(response, request, lang)
    if code is None:
        if not _WANTS_CODE.match(request) or re.search(r"[{}();=<>$\[\]]", response):
            return None  # what may be code of a language that we do not know is not judged
        return Review(
            0,
            0,
            (f"The request asks for code, and the answer holds none. {_UNCHANGED.replace('code', 'answer')}",),
            response,
        )
    if is_session(code.code) or code.lang not in grammars.PARSED:
        return None
    if not grammars.judged(code.code, code.lang):
        return None
    about = _about_request(request, code.lang)
    fixes, text = _mended(code.code, code.lang, request)
    fixes = [*about, *fixes]
    clarity = code_functions.clarity(code.code, code.lang) or 0
    told = [_told(f, [g.line for g in fixes if g.text == f.text and g.line]) for f in fixes]
    left = [f for f in fixes if not f.edits]
    said = list(dict.fromkeys(told))
    if left:
        said.append(
            _UNCHANGED
            if len(left) == len(fixes)
            else f"The refined code leaves open: {listed([_short(f) for f in left])}."
        )
    style = len({f.text for f in fixes if not f.wrong})
    wrong = sum({f.text: f.wrong for f in fixes}.values())
    return Review(max(0, 10 - wrong), max(0, clarity - style), tuple(said) or (NOTHING,), text)


def _short(f: Fix) -> str:
    return (
        f.text.partition(";")[0]
        .rstrip(".")
        .replace("The code", "that the code")
        .replace("The request", "that the request")
    )


def _told(f: Fix, lines: list[int | None]) -> str:
    at = [str(n) for n in sorted({n for n in lines if n})]
    return f"Line{'s' * (len(at) > 1)} {listed(at)}: {f.text}" if at else f.text


def _mended(code: str, lang: str, request: str) -> tuple[list[Fix], str]:
    """What is found, and the code with it mended; a fix that would not leave code that parses is not told."""
    raw = code.encode("utf-8", "replace")
    found = list(_python(code, request) if lang == "python" else fixes_other.found(code, lang, request))
    chosen: list[Fix] = []
    taken: list[tuple[int, int]] = []
    for f in found:
        spans = [(a, b) for a, b, _ in f.edits]
        if len({g.text for g in chosen} | {f.text}) > _MOST:
            continue
        if not any((a < d and c < b) or (a, b) == (c, d) or a == c for a, b in spans for c, d in taken):
            trial = edited(raw, [e for g in [*chosen, f] for e in g.edits])
            if not f.edits or f.wrong >= 9 or grammars.parses(trial, lang):
                chosen.append(f)
                taken += spans
    return chosen, edited(raw, [e for g in chosen for e in g.edits])


def _python(code: str, request: str) -> list[Fix]:
    if grammars.module(code) is None:
        return [_syntax(code)]
    source = pysource.parse(code)
    if source is None:
        return []
    out = _compiled(code)
    part = _is_part(code, request)
    for rule in fixes_python.RULES:
        if rule is fixes_python.undefined:
            out += [] if part else [f for f in rule(source) if not _given(f, request)]
        else:
            out += rule(source)
    named = fixes_other.named(code, "python", request)
    return [*named, *out]


def _is_part(code: str, request: str) -> bool:
    """Whether the code is cut out of something that defines more: a method, a function of a module."""
    return bool(
        re.match(r"\s*(?:@.*\n\s*)*(?:async )?def \w+\(\s*(?:self|cls)\b", code)
        or re.search(
            r"(?i)\b(?:of|for|from|in) the (?:\w+"
            r" )?(?:module|class|package)\b|^(?:complete|continue|extend|edit|modify)\b",
            request,
        )
    )


def _given(f: Fix, request: str) -> bool:
    return any(re.search(rf"\b{re.escape(n)}\b", request) for n in re.findall(r"`(\w+)`", f.text)[:1])


def _syntax(code: str) -> Fix:
    raw = code.encode("utf-8", "replace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError as error:
        made = fixes_python.repaired(code, error)
        text = f"The code does not parse: {error.msg}."
        return Fix(error.lineno, text, ((0, len(raw), made),) if made else (), wrong=9)
    except (ValueError, MemoryError, RecursionError, OverflowError):
        pass
    return Fix(None, "The code does not parse.", (), wrong=9)


def _compiled(text: str) -> list[Fix]:
    """What the parser takes and the compiler refuses, as a `return` outside of a function."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "code", "exec", dont_inherit=True, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        return [Fix(error.lineno, f"The code does not compile: {error.msg}.", (), wrong=6)]
    except (ValueError, MemoryError, RecursionError, OverflowError):
        pass
    return []


# --- against the request ----------------------------------------------------------------------------------------------

_WANTS_CODE: Final = re.compile(
    r"(?i)^\s*(?:please |using \w+,"
    r" )?(?:write|create|implement|develop|build|design|construct)\b[^.?!\n]{0,60}\b(?:function|program|script|code|class|method|query)\b"
)
#: Requests that name a language which the answer need not be in: the old one, the wrong one.
_OTHER: Final = re.compile(
    r"(?i)\b(?:convert|translat\w+|port|explain|describe|what|why|how|rewrite|rename|refactor|fix|debug|find|identify|error|bug|equivalent|output)\b"
)
#: Languages that stand in for each other, or carry each other.
_NEAR: Final = (
    {"javascript", "typescript", "html", "css", "json", "php"},
    {"c", "cpp"},
    *({"sql", host} for host in ("python", "php", "java", "csharp", "javascript")),
)


def _about_request(request: str, lang: str) -> list[Fix]:
    wanted = asked(request)
    if not wanted or lang in wanted or _OTHER.search(request) or not _WANTS_CODE.match(request):
        return []
    if any(lang in near and set(wanted) & near for near in _NEAR) or len(wanted) > 1:
        return []
    return [
        Fix(None, f"The request asks for {NAMES[wanted[0]]}, and the code is {NAMES.get(lang, lang)}.", (), wrong=6)
    ]
