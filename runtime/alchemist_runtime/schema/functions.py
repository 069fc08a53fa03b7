"""The functions of the expression language: one table that the checker, the engine and the documentation read.

Signatures only; the engine holds the implementations (`engine/expressions.py`, `code/functions.py`) under the same
names. Every function is pure and lifted: null in any argument gives null, unless `null_aware`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from alchemist_runtime.schema.rows import nullable, required
from alchemist_runtime.schema.sealed import loads


@dataclass(frozen=True, slots=True)
class Param:
    """`type` is a column type, `any`, `number`, `ordered` or the name of a type variable (`T`). `default` in plan
    form.
    """

    name: str
    type: str
    default: object = ...  # ... = required
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    params: tuple[Param, ...]
    result: str  # a column type, or a type variable
    doc: str
    unit: str | None = None  # the count kind of an int result: chars, words, lines, tokens; compares with that unit
    shape: Literal["vector", "rows"] = "vector"  # rows: Python per distinct value, in worker processes, verdicts cached
    null_aware: bool = False
    runs: bool = True  # False: it checks and compiles, and this version does not carry it out
    only: Literal["best"] | None = None  # the attribute in which alone it stands
    version: int = 1  # part of the key of every step that calls it


def _f(name: str, params: str, result: str, doc: str, **kw: object) -> Function:
    out: list[Param] = []
    for part in filter(None, (p.strip() for p in params.split(","))):
        name_type, _, default = part.partition("=")
        pname, _, ptype = name_type.partition(":")
        value: object = ...
        if default:
            text = default.strip()
            value = {"true": True, "false": False, "null": None}.get(text, text.strip("'"))
            if isinstance(value, str) and value.lstrip("-").isdigit():
                value = int(value)
        out.append(Param(pname.strip().lstrip("*"), ptype.strip(), value, variadic=pname.strip().startswith("*")))
    return Function(name, tuple(out), result, doc, **kw)  # type: ignore[arg-type]


_ALL: Final = (
    # text
    _f("chars", "x: text", "int", "Length in code points.", unit="chars"),
    _f("words", "x: text", "int", "Number of words (runs of letters, digits and `_`).", unit="words"),
    _f("lines", "x: text", "int", "Number of lines; an empty text has none.", unit="lines"),
    _f(
        "tokens",
        "x: any",
        "int",
        "Tokens of a text, by the recipe's tokenizer; without one, characters / 4 rounded up.",
        unit="tokens",
    ),
    _f("lower", "x: text", "text", "In lower case."),
    _f("strip", "x: text", "text", "Without white space at both ends."),
    _f("squeeze", "x: text", "text", "Every run of white space as one space, ends stripped."),
    _f("head", "x: text, n: int", "text", "The first n characters."),
    _f("after", "x: text, mark: text", "text?", "What follows the first `mark`; null if it is not there."),
    _f("before", "x: text, mark: text", "text?", "What precedes the first `mark`; null if it is not there."),
    _f(
        "excerpt",
        "x: text, lines: int = 15, least: int? = null",
        "text",
        "A run of whole lines, its start drawn per row: as many as `lines`, or a number drawn from `least` on; all"
        " where there are fewer.",
        shape="rows",
        null_aware=True,
    ),
    _f("replace", "x: text, old: text, new: text", "text", "Every `old` replaced by `new`."),
    _f("contains", "x: text, *any: text", "bool", "Whether one of the texts occurs (case matters)."),
    _f("starts_with", "x: text, *any: text", "bool", "Whether it begins with one of the texts."),
    _f("ends_with", "x: text, *any: text", "bool", "Whether it ends with one of the texts."),
    _f("matches", "x: text, pattern: text", "bool", "Whether the regular expression (RE2) matches somewhere."),
    _f("count", "x: text, pattern: text", "int", "How often the regular expression (RE2) matches, from left to right."),
    _f("join", "x: list<text>, separator: text", "text", "The elements with a separator between them."),
    _f(
        "repeats",
        "x: text, unit: text = 'lines'",
        "int",
        "How often the most frequent line, sentence or paragraph (of 20 characters or more) occurs.",
        shape="rows",
    ),
    _f("ascii_share", "x: text", "real", "Share of characters below U+0080; 1 for an empty text."),
    # code
    _f(
        "lang",
        "x: text",
        "text?",
        "Language of the code in a text, from its fence or its syntax: python, javascript, typescript, java, c, cpp,"
        " go, rust, bash, sql, html, json and some more; a fence tag that we do not know as it stands; null if there is"
        " no code.",
        shape="rows",
        version=2,
    ),
    _f(
        "code",
        "x: text",
        "text?",
        "The fenced blocks of the text's language joined, or the whole text if it parses as a known language, else"
        " null.",
        shape="rows",
        version=2,
    ),
    _f("fences", "x: text", "int", "Number of fenced code blocks.", shape="rows", version=2),
    _f(
        "parses",
        "x: text, lang: text? = null",
        "bool",
        "Whether the code parses in that language (of `lang(x)` where it is null), Python up to 3.14 on every"
        " interpreter; true for a language without a parser here, for prose, and for code too long to judge.",
        shape="rows",
        version=2,
        null_aware=True,
    ),
    _f(
        "docstring",
        "x: text",
        "text?",
        "What the last docstring or comment of several words in a text says, without its marks; null if there is none.",
        shape="rows",
    ),
    _f(
        "clarity",
        "x: text, lang: text? = null",
        "int",
        "Clarity of code, 0 to 10: names, length of lines and functions, nesting, comments.",
        shape="rows",
        version=2,
        null_aware=True,
    ),
    _f(
        "organised",
        "x: text, lang: text? = null",
        "bool",
        "Whether the code is organised in functions or classes, or so short (5 statements) that it needs none.",
        shape="rows",
        version=2,
        null_aware=True,
    ),
    _f(
        "passes",
        "code: text, tests: text, timeout: duration = 10, memory: bytes = 4000000000",
        "bool",
        "Whether the tests pass with the code, in a sandbox with so much time and memory.",
        shape="rows",
        runs=False,
    ),
    _f(
        "pass_rate",
        "code: text, tests: text, timeout: duration = 10, memory: bytes = 4000000000",
        "real",
        "Share of the tests that pass with the code, in a sandbox with so much time and memory.",
        shape="rows",
        runs=False,
    ),
    # values
    _f("json", "x: text", "json?", "The text read as JSON; null if it is none.", shape="rows"),
    _f("text", "x: any", "text", "As text; json is cast."),
    _f("int", "x: any", "int?", "As a whole number; null if it is none."),
    _f("real", "x: any", "real?", "As a number; null if it is none."),
    _f("len", "x: any", "int", "Number of elements of a list, or characters of a text."),
    _f("coalesce", "*x: any", "T", "The first that is not null.", null_aware=True),
    _f(
        "pick",
        "condition: bool, then: T, otherwise: T",
        "T",
        "One of two values by a condition; null counts as false.",
        null_aware=True,
    ),
    _f("min", "*x: number", "T", "The smallest."),
    _f("max", "*x: number", "T", "The largest."),
    _f("abs", "x: number", "T", "Without its sign."),
    _f("round", "x: number", "int", "To the nearest whole number, halves to even."),
    _f("hash", "x: any, seed: int = 0", "real", "A number in [0, 1) drawn from the value by hash."),
    _f(
        "coverage",
        "x: text, model: text",
        "real",
        "Chooses rows that cover all the others best (k-centre greedy over the model's embeddings). The choice is not"
        " monotone.",
        runs=False,
        only="best",
    ),
    # turns
    _f(
        "turns",
        "x: any",
        "messages",
        "A conversation read from the usual layouts: role/content, from/value, or a JSON text of these.",
        shape="rows",
    ),
    _f("roles", "x: messages", "list<text>", "The roles of the turns in order."),
)

FUNCTIONS: Final[dict[str, Function]] = {f.name: f for f in _ALL}
#: Functions over streams, in `check` and `expect` only.
AGGREGATES: Final[dict[str, Function]] = {
    f.name: f
    for f in (
        _f("rows", "x: stream", "int", "Number of rows of a stream.", unit="rows"),
        _f("tokens", "x: stream", "int", "Number of tokens of a stream.", unit="tokens"),
        _f(
            "share",
            "x: stream, of: stream",
            "real",
            "Share of the rows of the first stream that come in by the second: an entry of a mixture, or a source.",
        ),
        _f("calls", "x: stream", "int", "Teacher calls of a step, from scratch.", unit="calls"),
        _f("cost", "x: stream", "money", "Dollars of a step, from scratch."),
        _f("drop_share", "x: stream", "real", "Share of its input rows that a step refused."),
    )
}


# --- types -----------------------------------------------------------------------------------------------------------

_CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_NUMBERS: Final = ("real", "percent", "prob", "money", "duration", "rate", "multiplier")
_COUNTS: Final = ("int", "rows", "tokens", "bytes")


@dataclass(frozen=True, slots=True)
class Type:
    """A column type taken apart."""

    name: str  # text | int | real | bool | enum | list | record | json | messages
    optional: bool = False
    low: float | None = None
    high: float | None = None
    options: tuple[str, ...] = ()
    element: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()


#: What every turn of `messages` holds.
TURN: Final = (("role", Type("text")), ("content", Type("text")))


@cache
def type_of(text: str) -> Type:
    """A column type, as `list<int(0..10)>?`, taken apart."""
    name, optional = required(text.strip()).strip(), nullable(text.strip())
    if name.startswith("list<"):
        return Type("list", optional, element=type_of(name[5:-1]))
    if name.startswith("record<"):
        parts = [p.partition(":") for p in _split(name[7:-1])]
        fields = tuple((p[0].strip(), type_of(p[2])) for p in parts)
        return Type("record", optional, fields=fields)
    call = _CALL.fullmatch(name)
    if call is None:
        return _plain(name, optional)
    if call[1] == "enum":
        return Type("enum", optional, options=tuple(loads(f"[{call[2]}]")))
    low, _, high = call[2].replace("_", "").partition("..")
    return Type(_plain(call[1], False).name, optional, float(low) if low else None, float(high) if high else None)


def _plain(name: str, optional: bool) -> Type:
    if name in ("prob", "percent"):
        return Type("real", optional, 0.0, 1.0 if name == "prob" else None)
    if name in _NUMBERS:
        return Type("real", optional)
    return Type("int" if name in _COUNTS else name, optional)


def _split(text: str) -> list[str]:
    """Parts at the commas of the top level."""
    parts, depth, quoted, start = [], 0, False, 0
    for i, c in enumerate(text):
        quoted ^= c == '"'
        if not quoted:
            depth += (c in "<(") - (c in ">)")
            if c == "," and depth == 0:
                parts.append(text[start:i])
                start = i + 1
    return [p for p in (*parts, text[start:]) if p.strip()]
