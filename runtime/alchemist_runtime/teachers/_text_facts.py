"""Facts that need no tree: languages known by their words (SQL, HTML, CSS, JSON, …), code that does not parse, and prose."""

from __future__ import annotations

import re
from typing import Final

from alchemist_runtime.operators import _clarity, _grammars, _languages
from alchemist_runtime.teachers._facts import Facts, number_word, plural
from alchemist_runtime.teachers._tree_facts import NAMES

_W = tuple[str, ...]
# Patterns are asked of the code without its comments and strings.
_WORDS: Final[dict[str, tuple[tuple[str, _W], ...]]] = {
    "sql": (
        (
            r"(?i)\bwith\s+(?:recursive\s+)?\w+\s+as\s*\(",
            ("uses a common table expression", "names a subquery in a WITH clause"),
        ),
        (r"(?i)\bover\s*\(", ("uses a window function", "computes over a window")),
        (r"(?i)\bjoin\b", ("joins tables", "combines tables by a join")),
        (r"(?i)\(\s*select\b", ("nests a subquery", "uses a subquery")),
        (r"(?i)\bgroup\s+by\b", ("groups its rows", "aggregates by group")),
        (r"(?i)\bhaving\b", ("filters groups with HAVING",)),
        (
            r"(?i)\b(?:count|sum|avg|min|max)\s*\(",
            ("computes an aggregate", "uses an aggregate function"),
        ),
        (r"(?i)\bcase\s+when\b", ("decides with CASE", "maps values by CASE")),
        (r"(?i)\bunion\b", ("combines results with UNION",)),
        (r"(?i)\bdistinct\b", ("keeps distinct rows only", "asks for distinct values")),
        (r"(?i)\border\s+by\b", ("orders the result", "sorts the rows")),
        (
            r"(?i)\blimit\s+\d|\btop\s+\d",
            ("limits the number of rows", "takes only the first rows"),
        ),
        (r"(?i)\blike\b", ("matches a pattern with LIKE",)),
        (r"(?i)\bprimary\s+key\b", ("declares a primary key",)),
        (r"(?i)\bforeign\s+key\b|\breferences\b", ("declares a foreign key",)),
        (r"(?i)\bwhere\b", ("filters the rows by a condition", "restricts the rows with WHERE")),
        (r"(?i)\bis\s+(?:not\s+)?null\b", ("tests for NULL",)),
        (r"(?i)\bin\s*\(", ("tests membership with IN",)),
        (r"[<>]=?", ("compares against a bound", "compares with a limit")),
        (r"(?i)\bbetween\b", ("tests a range with BETWEEN",)),
    ),
    "html": (
        (r"(?i)<form\b", ("holds a form", "contains a form")),
        (r"(?i)<table\b", ("lays data out in a table", "contains a table")),
        (r"(?i)<[uo]l\b", ("shows a list", "contains a list")),
        (r"(?i)<script\b", ("includes a script", "brings its own script")),
        (r"(?i)<style\b", ("brings its own style sheet", "styles itself in a style element")),
        (r"(?i)<img\b", ("shows an image",)),
        (r"(?i)<a\b[^>]*href", ("links to another page", "contains a link")),
        (r"(?i)<input\b|<textarea\b|<select\b", ("takes input in form fields",)),
        (r"(?i)<button\b", ("has a button",)),
        (
            r"(?i)<(?:nav|header|footer|section|article|main)\b",
            ("uses sectioning elements", "is divided by semantic elements"),
        ),
        (r"(?i)<h[1-6]\b", ("has a heading", "begins its text with headings")),
        (r"(?i)<p\b", ("has a paragraph of text",)),
    ),
    "css": (
        (r"@media", ("adapts to the screen with a media query",)),
        (r"@keyframes|animation", ("animates with keyframes",)),
        (r"display\s*:\s*(?:inline-)?flex", ("lays out with flexbox",)),
        (r"display\s*:\s*grid", ("lays out on a grid",)),
        (r":hover", ("reacts to hovering",)),
        (r"font", ("sets the font",)),
        (r"color", ("sets colours",)),
        (r"margin|padding", ("sets the spacing",)),
        (r"text-align", ("aligns text",)),
        (r"width|height", ("sets sizes",)),
        (r"position\s*:", ("positions elements",)),
        (r"border", ("draws a border",)),
    ),
}
_ANY: Final[tuple[tuple[str, _W], ...]] = (
    (r"\b(?:try|rescue|catch)\b", ("handles errors", "catches errors")),
    (r"\bforeach\b", ("walks a collection with a foreach loop", "uses a foreach loop")),
    (r"\bwhile\b", ("loops with `while`", "repeats in a while loop")),
    (r"\bfor\b", ("works in a loop", "loops over its data")),
    (r"=>", ("uses a lambda or an arrow", "maps keys or values with `=>`")),
    (r"\breturn\b", ("returns its result", "hands its result back")),
    (
        r"\b(?:Console\.Write\w*|echo|puts|print\w*|Write-Host|putStrLn)\b",
        ("prints its output", "prints something"),
    ),
    (r"\bswitch\b|\bcase\b", ("decides by cases", "branches by case")),
    (r"\bif\b", ("branches on a condition", "decides with an `if`")),
    (r"\bnew\b", ("creates objects", "works with objects it creates")),
)
_TABLE: Final = re.compile(
    r"(?i)\b(?:from|join|into|update|table(?:\s+if\s+not\s+exists)?)\s+([A-Za-z_`\"\[][\w.`\"\]]*)"
)
_CLASS: Final = re.compile(r"\b(?:class|struct|interface|trait|module)\s+([A-Z]\w*)")
_FUNCTION: Final = re.compile(
    r"\b(?:function|def|func|fun|sub|fn)\s+(?:self\.)?([A-Za-z_]\w*[?!]?)"
    r"|^[ \t]*(?:(?:public|private|protected|internal|static|virtual|override|async)\s+)+[\w<>\[\],]+\s+([A-Za-z_]\w*)\s*\(",
    re.M,
)
_UNITS: Final[dict[str, str]] = {
    "html": "fragment",
    "css": "style sheet",
    "sql": "statement",
    "json": "document",
}
_SQL_UNITS: Final = (
    (r"(?i)^\s*create\s+(?:or\s+replace\s+)?(?:function|procedure|trigger)", "routine"),
    (r"(?i)^\s*create\s+table", "table definition"),
    (r"(?i)^\s*insert", "INSERT statement"),
    (r"(?i)^\s*update", "UPDATE statement"),
    (r"(?i)^\s*delete", "DELETE statement"),
    (r"(?i)^\s*(?:select|with)\b", "query"),
)


def code_facts(code: str, lang: str, *, broken: bool = False) -> Facts:
    """Facts from the words of code. Of broken code only its language and length are said."""
    out = Facts(NAMES.get(lang, lang), unit="code")
    page = _clarity.page_of(code, lang)
    if broken:
        length(len(page.lines), out)
        return out
    text = code if lang == "html" else "\n".join(page.lines)
    if lang == "json":
        return _json(code, out)
    for pattern, wordings in _WORDS.get(lang, _ANY):
        if re.search(pattern, text):
            out.say(*wordings)
    _unit(text, lang, out)
    if page.comments >= 3:
        out.have("explanatory comments", "comments along the way")
    elif page.comments:
        out.have("a short comment", "a brief comment")
    length(len(page.lines), out)
    return out


def _unit(text: str, lang: str, out: Facts) -> None:
    out.unit = _UNITS.get(lang, "snippet")
    if lang == "html":
        out.unit = "page" if re.search(r"(?i)<html\b|<!doctype", text) else "fragment"
    elif lang == "sql":
        tables = dict.fromkeys(m.strip('`"[]') for m in _TABLE.findall(text))
        if 1 <= len(tables) <= 2:
            out.says.insert(
                min(1, len(out.says)), ("works on " + " and ".join(f"`{t}`" for t in tables),)
            )
        found = [u for p, u in _SQL_UNITS if re.search(p, text.strip())]
        several = len([x for x in text.split(";") if x.strip()]) > 1
        out.unit = (
            "script of several statements" if several else (found[0] if found else "statement")
        )
    elif lang != "css":
        classes = list(dict.fromkeys(_CLASS.findall(text)))
        functions = [
            n
            for n in dict.fromkeys(a or b for a, b in _FUNCTION.findall(text))
            if n not in ("Main", "main")
        ]
        if len(classes) == 1 and classes[0] != "Program":
            out.unit, out.name = "class", classes[0]
        elif classes:
            out.unit = (
                "program"
                if len(classes) == 1
                else f"program with {number_word(len(classes))} classes"
            )
        elif len(functions) == 1:
            out.unit, out.name = "function", functions[0]
        elif functions:
            out.unit = f"program with {number_word(len(functions))} functions"
        else:
            out.unit = "script" if text.count("\n") > 1 else "snippet"


def _json(code: str, out: Facts) -> Facts:
    value = _grammars.json_value(code)
    out.unit = "document"
    if isinstance(value, list):
        out.say(
            f"lists {number_word(len(value))} {plural('entry', 1) if len(value) == 1 else 'entries'}"
        )
    elif isinstance(value, dict):
        out.say(
            f"holds {number_word(len(value))} {'field' if len(value) == 1 else 'fields'} at the top"
        )
        if any(isinstance(v, dict) for v in value.values()):
            out.say("nests objects")
        if any(isinstance(v, list) for v in value.values()):
            out.say("contains a list")
    return out


def length(lines: int, out: Facts) -> None:
    if lines <= 1:
        out.also("fits on one line", "is a single line")
    elif lines <= 12:
        out.also(f"has {number_word(lines)} lines", f"is {number_word(lines)} lines long")
    else:
        near = round(lines, -1)
        out.also(f"has about {near} lines", f"is about {near} lines long")


# --- prose --------------------------------------------------------------------------------------------------------------------

_RESULT: Final = re.compile(r"^#### *[-$\d.,]+\s*\Z", re.M)
_MARKED: Final = re.compile(r"<<([^<>=]*)=([^<>]*)>>")
_LIST: Final = re.compile(r"^\s*(?:(\d+)[.)]|[-*•])\s+\S", re.M)
_SENTENCE: Final = re.compile(r"[^.!?]+(?:[.!?](?=\s|\Z)|\Z)")
_OPERATIONS: Final = (
    ("+", "addition"),
    ("-", "subtraction"),
    ("*", "multiplication"),
    ("/", "division"),
)


def prose_facts(text: str) -> Facts:
    """Facts of an answer without code: steps and their arithmetic, lists, length; the words themselves are not repeated."""
    out = Facts(None, unit="prose")
    bare = text.strip()
    lines = [line for line in bare.split("\n") if line.strip()]
    if _RESULT.search(bare) or _MARKED.search(bare):
        _worked(bare, lines, out)
        return out
    marks = _LIST.findall(bare)
    words = len(bare.split())
    if not words:
        out.unit = "nothing"
        return out
    if len(marks) >= 2:
        kind = "numbered" if sum(bool(m) for m in marks) * 2 > len(marks) else "bulleted"
        out.unit = "list"
        out.say(
            f"gives {number_word(len(marks))} points in a {kind} list",
            f"is a {kind} list of {number_word(len(marks))} points",
        )
        if len(lines) > len(marks) + 1:
            out.have("text around the list", "some text beside the list")
    elif words <= 3:
        out.unit = (
            "number"
            if re.fullmatch(r"[-+$€£]?[\d.,]+%?", bare)
            else "phrase"
            if words > 1
            else "word"
            if bare.strip(".,!?\"'").isalpha()
            else "token"
        )
    else:
        sentences = len([s for s in _SENTENCE.findall(bare) if s.strip()])
        out.unit = "sentences"
        out.say(f"{number_word(sentences)} {plural('sentence', sentences)}")
        paragraphs = len(re.split(r"\n\s*\n", bare))
        if paragraphs > 1:
            out.have(
                f"{number_word(paragraphs)} paragraphs",
                f"a division into {number_word(paragraphs)} paragraphs",
            )
    near = words if words < 12 else round(words, -1)
    if words > 3:
        out.also(f"{near} words" if words < 12 else f"about {near} words")
    if re.search(r"`[^`\n]+`", bare):
        out.have("names of code in back quotes", "code names set in back quotes")
    if re.search(r"\*\*[^*\n]+\*\*", bare):
        out.have("key words in bold", "bold key words")
    if re.search(r"(?i)\bfor (?:example|instance)\b|\be\.g\.", bare):
        out.have("an example", "an example in words")
    if re.search(r"\d", bare) and out.unit == "sentences":
        out.have("concrete numbers", "figures")
    return out


def _worked(bare: str, lines: list[str], out: Facts) -> None:
    """Steps of arithmetic: how many, which operations in which order, how long; never a number of them."""
    out.unit = "worked steps"
    steps = [line for line in lines if not line.startswith("####")]
    out.say(number_word(len(steps)))
    marked = [left.strip().lstrip("-") for left, _ in _MARKED.findall(bare)]
    order = [name for left in marked for sign, name in _OPERATIONS if sign in left]
    for name in order if len(order) <= 4 else dict.fromkeys(order):
        out.also(name)
    out.adjectives = ["in this order"] if 2 <= len(order) <= 4 and len(set(order)) > 1 else []
    if marked:
        out.have(
            f"{'each' if len(marked) > 1 else 'the'} calculation marked in double angle brackets",
            f"{number_word(len(marked))} {plural('calculation', len(marked))} in double angle brackets",
        )
    words = round(len(" ".join(steps).split()), -1)
    if words:
        out.have(f"about {words} words", f"some {words} words of explanation")
    if "$" in bare:
        out.have("amounts in dollars", "dollar amounts")
    if "%" in bare:
        out.have("percentages", "shares in percent")
    if re.search(r"\d\.\d", bare):
        out.have("decimal numbers", "decimals where they are needed")
    if re.search(r"(?i)\blet [a-z]\b|\b[a-z] ?[+=] ?\d|\d[a-z] ?=", bare):
        out.have("an unknown to solve for", "an equation in an unknown")
    if _RESULT.search(bare):
        out.name = "####"


def prose_lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip() and _languages.prose(line)]
