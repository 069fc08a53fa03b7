"""Hindsight labels: one sentence that says what a response really is, and that may stand before its request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from alchemist_runtime.code import clarity, fences, grammars
from alchemist_runtime.code import functions as code_functions
from alchemist_runtime.teachers._rules import phrases
from alchemist_runtime.teachers._rules.scan import Scan, scan
from alchemist_runtime.teachers._rules.shown import (
    NAMES,
    Draw,
    Shown,
    an,
    asked,
    is_session,
    listed,
    number_word,
    shown,
    words,
)

_VERBS: Final = ("Write", "Implement", "Provide", "Create", "Answer with", "Respond with", "Give")


@dataclass(slots=True)
class Facts:
    """What a response proves. `says` and `has`: topic -> wordings ("that …", "with …"), the most telling first."""

    language: str | None
    unit: str = "code"
    name: str | None = None
    says: dict[str, tuple[str, ...]] = field(default_factory=dict)
    has: dict[str, tuple[str, ...]] = field(default_factory=dict)


def describe(response: str, lang: str | None = None, sample: int = 0, request: str = "") -> str:
    """One sentence on what a response is and does, as far as its syntax proves it and the request leaves it open.

    No clause is said twice, none that the request already holds, and nothing of the response is repeated but names. The
    wording is drawn by hash of the response and `sample`.
    """
    code = shown(response, request, lang)
    draw = Draw(response, sample)
    if code is None:
        return _prose(response, draw)
    facts = _unsaid(read(response, code), request)
    sentence = _sentence(facts, draw)
    if any(len(x) >= 12 and x in sentence for line in response.splitlines() if (x := line.strip())):
        facts.name = None
        sentence = _sentence(Facts(facts.language, facts.unit), draw)
    return sentence


def read(response: str, code: Shown) -> Facts:
    """Everything that can be said of a response with code."""
    language = NAMES.get(code.lang, code.lang)
    found = scan(code.code, code.lang)
    page = clarity.page_of(code.code, code.lang)
    if found is None:
        out = Facts(language)
        if code.lang not in grammars.PARSED:
            _by_words(code, "\n".join(page.lines), out)
    else:
        out = Facts(language, *_unit(found, code))
        _extra(found, response, code)
        for topic, langs, condition, *wordings in phrases.TABLE:
            if (langs == "*" or code.lang in langs.split()) and (module := _holds(condition, found)) is not None:
                made = tuple(_filled(w, found, module) for w in wordings)
                if all(made):
                    side = out.has if made[0].startswith("with ") else out.says
                    side.setdefault(topic, tuple(m.removeprefix("with ") for m in made))
        if found.parameters and out.name:
            names = listed([f"`{p}`" for p in found.parameters[:3]])
            if len(found.parameters) <= 3:
                out.says.setdefault("parameters", (f"takes {names}", f"works from {names}"))
        for module in sorted(
            {m for m in found.modules.values() if f"uses:{m}" in found.keys} - {"typing", "__future__"}
        ):
            if not any(f"`{module}`" in w for said in out.says.values() for w in said):
                out.says.setdefault("library", (f"uses the `{module}` module", f"relies on the `{module}` module"))
    lines = sum(1 for x in code.code.split("\n") if x.strip())
    if len(out.says) + len(out.has) < 2 and out.unit not in ("function", "method") and lines:
        many = (
            "fits on one line"
            if lines == 1
            else f"has {number_word(lines)} lines"
            if lines <= 12
            else f"has about {round(lines, -1)} lines"
        )
        out.says["length"] = (many,)
    return out


def _holds(condition: str, found: Scan) -> str | None:
    """The module that the condition found, or ""; None where it does not hold."""
    if condition.startswith("~"):
        return "" if re.search(condition[1:], found.bare) else None
    for choice in condition.split("|") if condition not in ("op:|=",) else [condition]:
        keys = choice.split("+")
        if all((k[1:] not in found.keys) if k[0] == "!" else k in found.keys for k in keys):
            return keys[0][5:] if keys[0].startswith("uses:") else ""
    return None


def _filled(wording: str, found: Scan, module: str) -> str:
    """A wording with its names; empty where there are none to tell."""
    errors = list(dict.fromkeys(e for e in found.errors if re.fullmatch(r"[A-Z]\w*", e)))
    handled = list(dict.fromkeys(found.handled))
    if ("ERRORS" in wording and not errors) or ("EXCEPTIONS" in wording and not handled):
        return ""
    shown_errors = listed([f"`{e}`" for e in errors[:2]])
    shown_handled = listed([f"`{e}`" for e in handled[:2]])
    return wording.replace("ERRORS", shown_errors).replace("EXCEPTIONS", shown_handled).replace("MODULE", module)


def _unit(found: Scan, code: Shown) -> tuple[str, str | None]:
    functions, classes = found.functions, found.classes
    mains = [f for f in functions if f in ("main", "Main")]
    if is_session(code.code):
        return "interactive session", None
    if len(classes) == 1 and (code.lang != "java" or not mains):
        return ("type" if code.lang in ("c", "go", "rust", "typescript") else "class"), classes[0]
    if len(functions) == 1 and not mains and not classes:
        inner = found.method or (
            code.lang == "python" and re.match(r"\s*(?:@.*\n\s*)*(?:async )?def \w+\(\s*(?:self|cls)\b", code.code)
        )
        return ("method" if inner or code.lang == "java" else "function"), functions[0]
    if mains or (found.loose and not functions and found.loose > 2):
        return ("program" if mains else "script"), None
    if len(functions) > 1 and not classes and not found.loose:
        return f"set of {number_word(len(functions))} functions", None
    return ("program" if functions or classes else "snippet"), None


def _extra(found: Scan, response: str, code: Shown) -> None:
    """Keys that no single node gives: kinds of docstring, amount of comments, examples, text around the code."""
    docs = "\n".join(found.docstrings)
    for key, pattern in {
        "DOC:numpy": r"\n[ \t]*(?:Parameters|Returns)\n[ \t]*-{3,}",
        "DOC:google": r"\n[ \t]*(?:Args|Returns|Raises):[ \t]*\n",
        "DOC:rest": r"\n[ \t]*:(?:param|returns?|type|raises)\b[^\n]*:",
        "DOC:doctest": r"^[ \t]*>>> ",
        "DOC:long": r"\w[^\n]*\n\s*\w",
        "DOC:short": r"\S",
    }.items():
        if len(found.docstrings) == 1 and re.search(pattern, docs, re.M):
            found.keys.add(key)
    if found.comments:
        found.keys.add("COMMENTS" if found.comments > 2 else "COMMENT")
    if found.functions and found.loose and code.lang in ("python", "javascript", "typescript"):
        names = "|".join(map(re.escape, found.functions))
        outside = "\n".join(x for x in found.bare.split("\n") if x[:1] not in " \t")
        if re.search(rf"(?<!def )(?<!function )\b(?:{names})\(", outside):
            found.keys.add("EXAMPLE")
    if code.alone:
        return
    lines = [x.strip() for x in response.strip().split("\n")]
    blocks = fences.scan(response)
    marks = [i for i, x in enumerate(lines) if x.startswith(("```", "~~~"))]
    if blocks and marks:
        before, after = lines[: marks[0]], lines[marks[-1] + 1 :] if len(marks) > 1 else []
    else:
        before, after = lines[:1], lines[-1:]
        before, after = [x for x in before if x not in code.code], [x for x in after if x not in code.code]
    found.keys |= {k for k, part in (("BEFORE", before), ("AFTER", after)) if any(part)}


def _by_words(code: Shown, text: str, out: Facts) -> None:
    text = code.code if code.lang == "html" else text
    for topic, pattern, *wordings in phrases.WORDS.get(code.lang, ()):
        if re.search(pattern, text, re.I):
            out.says.setdefault(topic, tuple(wordings))
    if code.lang == "html":
        out.unit = "page" if re.search(r"(?i)<html\b|<!doctype", text) else "fragment"
    elif code.lang == "sql":
        several = len([x for x in text.split(";") if x.strip()]) > 1
        out.unit = "script of several statements" if several else "statement"
        if re.match(r"(?i)\s*select\b", text) and not several:
            out.unit = "query"


def _unsaid(facts: Facts, request: str) -> Facts:
    """The facts without what the request already holds."""
    text = request.lower()
    if facts.language in [NAMES[k] for k in asked(request)]:
        facts.language = None
    if facts.name and re.search(rf"\b{re.escape(facts.name)}\b", request):
        facts.name = None
    for side in (facts.says, facts.has):
        for topic, wordings in list(side.items()):
            found = re.findall(r"[A-Za-z_]{4,}", wordings[0].lower())
            telling = [w for w in found if w not in _SMALL]
            if telling and all(w[:6] in text for w in telling):
                del side[topic]
    return facts


_SMALL: Final = frozenset(
    words("with that uses takes works from each into them their data itself which same both only")
)


# --- wording ----------------------------------------------------------------------------------------------------------


def _sentence(facts: Facts, draw: Draw) -> str:
    language = facts.language
    noun = f"{language} {facts.unit}" if language else facts.unit
    name = f" {draw.one(('named', 'called'))} `{facts.name}`" if facts.name else ""
    says = _chosen(list(facts.says.values()), 2 + (draw.below(3) == 0), draw)
    has = _chosen(list(facts.has.values()), 1 + (draw.below(3) == 0), draw)
    tail = f" that {listed(says)}" if says else ""
    if has:
        tail += f"{',' if says or name else ''} with {listed(has)}"
    frame = draw.below(6)
    verb = draw.one(_VERBS)
    if not tail and not name and language:
        return f"Answer in {language}."
    if facts.unit == "code":
        return f"{verb} {noun}{tail}."
    if frame == 0 and language:
        return f"In {language}, {draw.one(('write', 'implement', 'create'))} {an(facts.unit)}{name}{tail}."
    if frame == 1:
        return f"The answer should be {an(noun)}{name}{tail}."
    if frame == 2 and language and not name:
        return f"Use {language} and {draw.one(('write', 'give', 'provide'))} {an(facts.unit)}{tail}."
    return f"{verb} {an(noun)}{name}{tail}."


def _chosen(items: list[tuple[str, ...]], n: int, draw: Draw) -> list[str]:
    """The first of the items and others drawn among the earlier ones, n in all, in their order, each in one of its
    wordings.
    """
    left = list(range(len(items)))
    picked = [left.pop(0)] if left else []
    while left and len(picked) < n:
        picked.append(left.pop(draw.below(min(3, len(left)))))
    return [draw.one(items[i]) for i in sorted(picked)]


_STEP: Final = re.compile(r"<<([^<>=]*)=[^<>]*>>")
_OPERATIONS: Final = (("+", "addition"), ("-", "subtraction"), ("*", "multiplication"), ("/", "division"))


def _prose(response: str, draw: Draw) -> str:
    text = response.strip()
    lines = [x.strip() for x in text.split("\n") if x.strip()]
    if not text:
        return "Leave the answer empty."
    if steps := _STEP.findall(text):
        signs = sorted(
            (at, w)
            for c, w in _OPERATIONS
            if (at := min((i for i, s in enumerate(steps) if c in s[1:]), default=-1)) >= 0
        )
        by = f" by {listed([w for _, w in signs])}" if signs else ""
        many = f"{number_word(len(steps))} calculation{'s' * (len(steps) > 1)} in double angle brackets"
        end = " and the result on a last line after `####`" if lines[-1].startswith("####") else ""
        return draw.one(
            (
                f"Solve it{by}, with {many}{end}.",
                f"Work it out{by}, with {many}{end}.",
                f"Show the working{by}, with {many}{end}.",
            )
        )
    if len(lines) == 1 and len(text.split()) == 1:
        noun = (
            "number"
            if re.fullmatch(r"[-+$€]?[\d.,]+%?", text)
            else "word"
            if re.fullmatch(r"[A-Za-z]+\.?", text)
            else "string of characters"
        )
        return draw.one(
            (
                f"Answer with a single {noun} and nothing else.",
                f"Give only {an(noun)} as the answer.",
                f"Reply with just one {noun}.",
            )
        )
    items = sum(bool(re.match(r"(?:[-*•]|\d+[.)])\s+\S", x)) for x in lines)
    if items > 1 and items * 2 >= len(lines):
        kind = (
            "numbered" if re.match(r"\d", next(x for x in lines if re.match(r"(?:[-*•]|\d+[.)])\s", x))) else "bulleted"
        )
        return draw.one(
            (
                f"Answer with a {kind} list of {number_word(items)} points.",
                f"Give {number_word(items)} points in a {kind} list.",
            )
        )
    if code_functions.fences(response):
        return draw.one(("Show the text in a fenced block.", "Put the answer into a fenced block."))
    if len(re.findall(r"[{}()\[\];=<>$|]", text)) * 8 > len(text.split()) * 4:  # code of a language that we do not know
        return f"Answer in {'a single line' if len(lines) == 1 else f'{number_word(len(lines))} lines'}."
    count = len(text.split())
    size = f"{number_word(count)} words" if count <= 12 else f"about {round(count, -1)} words"
    return draw.one(
        (
            f"Answer in plain text of {size}.",
            f"Explain it in words, {size} in all.",
            f"Reply in prose of {size}.",
            f"Give a written answer of {size}.",
        )
    )
