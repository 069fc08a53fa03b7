"""Hindsight labels: one sentence that says what a response really is, and that may stand before its request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from alchemist_runtime.code import grammars

from alchemist_rules import phrases
from alchemist_rules.snippet import NAMES, Draw, Snippet, an, listed, number_word, requested, snippet, words
from alchemist_rules.syntax_scan import Scan, scan


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
    code = snippet(response, request, lang)
    draw = Draw(response, sample)
    if code is None:
        return _prose(response, draw)
    facts = _unsaid(read(response, code), request)
    sentence = _sentence(facts, draw)
    if any(len(x) >= 12 and x in sentence for line in response.splitlines() if (x := line.strip())):
        return _sentence(Facts(facts.language, facts.unit), draw)
    return sentence


def read(response: str, code: Snippet) -> Facts:
    """Everything that can be said of a response with code."""
    out, found = Facts(NAMES.get(code.lang, code.lang)), scan(code)
    if found is not None:
        out.unit, out.name = _unit(found, code)
        _add_keys(found, response, code)
        for topic, langs, condition, wordings in phrases.TABLE:
            fits = code.lang in (langs or grammars.PARSED)
            module = _holds(condition, found) if fits else None
            result = () if module is None else tuple(_filled(w, found, module) for w in wordings)
            if result and all(result):
                side = out.has if result[0].startswith("with ") else out.says
                side.setdefault(topic, tuple(m.removeprefix("with ") for m in result))
        if out.name and 1 <= len(found.parameters) <= 3:
            names = listed([f"`{p}`" for p in found.parameters])
            out.says["parameters"] = (f"takes {names}", f"works from {names}")
        for module in sorted(found.modules - {"typing", "__future__"}):
            if not any(f"`{module}`" in w for said in out.says.values() for w in said):
                out.says.setdefault("library", (f"uses the `{module}` module", f"relies on the `{module}` module"))
    lines = sum(1 for x in code.code.split("\n") if x.strip())
    if len(out.says) + len(out.has) < 2 and out.unit not in ("function", "method") and lines:
        size = "on one line" if lines == 1 else f"{number_word(lines)} lines"
        many = f"has about {round(lines, -1)} lines" if lines > 12 else f"{'fits' if lines == 1 else 'has'} {size}"
        out.says["length"] = (many,)
    return out


def _holds(condition: str, found: Scan) -> str | None:
    """The module that the condition found, or ""; None where it does not hold."""
    if condition.startswith("~"):
        pattern = phrases.PATTERNS.get(condition[1:], condition[1:])
        return "" if re.search(pattern, found.bare) else None
    for choice in condition.split("|"):
        keys = choice.split("+")
        if all((k[1:] not in found.keys) if k[0] == "!" else k in found.keys for k in keys):
            return keys[0][5:] if keys[0].startswith("uses:") else ""
    return None


def _filled(wording: str, found: Scan, module: str) -> str:
    """A wording with its names; empty where there are none to tell."""
    raised = [e for e in dict.fromkeys(found.errors) if re.fullmatch(r"[A-Z]\w*", e)]
    for word, names in {"ERRORS": raised, "EXCEPTIONS": list(dict.fromkeys(found.handled))}.items():
        if word in wording:
            return wording.replace(word, listed([f"`{e}`" for e in names[:2]])) if names else ""
    return wording.replace("MODULE", module)


def _unit(found: Scan, code: Snippet) -> tuple[str, str | None]:
    functions, classes = found.functions, found.classes
    if code.lang not in grammars.PARSED:
        return "code", None
    mains = [f for f in functions if f in ("main", "Main")]
    if code.session:
        return "interactive session", None
    if len(classes) == 1 and (code.lang != "java" or not mains):
        return ("type" if code.lang in ("c", "go", "rust", "typescript") else "class"), classes[0]
    if len(functions) == 1 and not mains and not classes:
        method = found.method or code.lang == "java"
        return ("method" if method else "function"), functions[0]
    if mains or (found.loose > 2 and not functions):
        return ("program" if mains else "script"), None
    if len(functions) > 1 and not classes and not found.loose:
        return f"set of {number_word(len(functions))} functions", None
    return ("program" if functions or classes else "snippet"), None


_DOCSTRINGS: Final = {
    "DOC:numpy": r"\n[ \t]*(?:Parameters|Returns)\n[ \t]*-{3,}",
    "DOC:doctest": r"^[ \t]*>>> ",
    "DOC:long": r"\w[^\n]*\n\s*\w",
    "DOC:short": r"\S",
}


def _add_keys(found: Scan, response: str, code: Snippet) -> None:
    """Keys that no single node gives: kinds of docstring, amount of comments, examples, text around the code."""
    if len(found.docstrings) == 1:
        found.keys |= {key for key, pattern in _DOCSTRINGS.items() if re.search(pattern, found.docstrings[0], re.M)}
    if found.comments:
        found.keys.add("COMMENTS" if found.comments > 2 else "COMMENT")
    if found.functions and found.loose and code.lang in ("python", "javascript", "typescript"):
        names = "|".join(map(re.escape, found.functions))
        outside = "\n".join(x for x in found.bare.split("\n") if x[:1] not in " \t")
        if re.search(rf"(?<!def )(?<!function )\b(?:{names})\(", outside):
            found.keys.add("EXAMPLE")
    if code.block:
        text = response.strip()
        found.keys |= {"AFTER"} if text[-3:] not in ("```", "~~~") else set()
        found.keys |= {"BEFORE"} if text[:3] not in ("```", "~~~") else set()


_SMALL: Final = words("with that uses takes works from each into them their data itself which same both only")


def _unsaid(facts: Facts, request: str) -> Facts:
    """The facts without what the request already holds."""
    text = request.lower()
    if facts.language in [NAMES[k] for k in requested(request)]:
        facts.language = None
    if facts.name and re.search(rf"\b{re.escape(facts.name)}\b", request):
        facts.name = None
    for side in (facts.says, facts.has):
        for topic, wordings in list(side.items()):
            telling = [w for w in re.findall(r"[A-Za-z_]{4,}", wordings[0].lower()) if w not in _SMALL]
            if telling and all(w[:6] in text for w in telling):
                del side[topic]
    return facts


_VERBS: Final = ("Write", "Implement", "Provide", "Create", "Answer with", "Respond with", "Give")


def _sentence(facts: Facts, draw: Draw) -> str:
    language, unit = facts.language, facts.unit
    noun = f"{language} {unit}" if language else unit
    name = f" {draw.one(('named', 'called'))} `{facts.name}`" if facts.name else ""
    says = _chosen(list(facts.says.values()), 2 + (draw.below(3) == 0), draw)
    has = _chosen(list(facts.has.values()), 1 + (draw.below(3) == 0), draw)
    tail = f" that {listed(says)}" if says else ""
    if has:
        tail += f"{',' if says or name else ''} with {listed(has)}"
    frame, verb = draw.below(6), draw.one(_VERBS)
    if not tail and not name and language:
        return f"Answer in {language}."
    if unit == "code":
        return f"{verb} {noun}{tail}."
    if frame == 0 and language:
        return f"In {language}, {draw.one(('write', 'implement', 'create'))} {an(unit)}{name}{tail}."
    if frame == 1:
        return f"The answer should be {an(noun)}{name}{tail}."
    if frame == 2 and language and not name:
        return f"Use {language} and {draw.one(('write', 'give', 'provide'))} {an(unit)}{tail}."
    return f"{verb} {an(noun)}{name}{tail}."


def _chosen(items: list[tuple[str, ...]], n: int, draw: Draw) -> list[str]:
    """The first item and some drawn among the next ones, n in all and in their order, each in one of its wordings."""
    left = list(range(len(items)))
    picked = [left.pop(0)] if left else []
    while left and len(picked) < n:
        picked.append(left.pop(draw.below(min(3, len(left)))))
    return [draw.one(items[i]) for i in sorted(picked)]


def _prose(response: str, draw: Draw) -> str:
    text = response.strip()
    lines = [x.strip() for x in text.split("\n") if x.strip()]
    said = text.split()
    if not text:
        return "Leave the answer empty."
    if len(said) == 1:
        letters = "word" if re.fullmatch(r"[A-Za-z]+\.?", text) else "string of characters"
        noun = "number" if re.fullmatch(r"[-+$€]?[\d.,]*\d%?", text) else letters
        asks = (f"Answer with a single {noun} and nothing else.", f"Give only {an(noun)} as the answer.")
        return draw.one((*asks, f"Reply with just one {noun}."))
    items = [x for x in lines if re.match(r"(?:[-*•]|\d+[.)])\s+\S", x)]
    if len(items) > 1 and len(items) * 2 >= len(lines):
        kind = "numbered" if items[0][0].isdigit() else "bulleted"
        many = f"{number_word(len(items))} points"
        return draw.one((f"Answer with a {kind} list of {many}.", f"Give {many} in a {kind} list."))
    if len(re.findall(r"[{}()\[\];=<>$|]", text)) * 2 > len(said):  # code of a language that we do not know
        return f"Answer in {'a single line' if len(lines) == 1 else f'{number_word(len(lines))} lines'}."
    count = f"{number_word(len(said))} words" if len(said) <= 12 else f"about {round(len(said), -1)} words"
    asks = (f"Answer in plain text of {count}.", f"Explain it in words, {count} in all.")
    return draw.one((*asks, f"Reply in prose of {count}.", f"Give a written answer of {count}."))
