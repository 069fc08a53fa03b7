"""A teacher's answer: the JSON schema that it is asked for, and the typed fields that are read from it.

One `text` output is the whole reply; everything else is one JSON object. What does not fit is not mended, but refused with
the reason (rule `unreadable`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any, Final

from alchemist_runtime.exact_json import as_json, loads
from alchemist_runtime.rows import nullable, required
from alchemist_runtime.teacher import ending

_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
#: Thinking before an answer; its opening tag may have been part of the question, and then the closing one has a line of its own.
_THOUGHT = re.compile(
    r"\A\s*<think>(.*?)(?:</think>|\Z)|\A((?:(?!<think>).)*?)^[ \t]*</think>[ \t]*$",
    re.DOTALL | re.MULTILINE,
)
_INT64 = range(-(2**63), 2**63)
_CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_FENCE = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_NUMBERS: Final = ("real", "percent", "prob", "money", "duration", "rate", "multiplier")
_COUNTS: Final = ("int", "rows", "tokens", "bytes")


class Unreadable(ValueError):
    """An answer that does not fit the prompt's output; the text says why."""


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
    return Type(
        _plain(call[1], False).name, optional, float(low) if low else None, float(high) if high else None
    )  # fmt: skip


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


def is_plain(outputs: Mapping[str, str]) -> bool:
    """Whether the whole reply is the answer: one `text`."""
    return len(outputs) == 1 and type_of(next(iter(outputs.values()))).name == "text"


def is_probability(outputs: Mapping[str, str]) -> bool:
    """Whether the answer is P(yes) of the first token: one `prob`."""
    return len(outputs) == 1 and required(next(iter(outputs.values()))) == "prob"


# --- asking -------------------------------------------------------------------------------------------------------------------


def schema(outputs: Mapping[str, str]) -> dict[str, Any]:
    """The JSON schema of an answer: an object with exactly these fields."""
    return {
        "type": "object",
        "properties": {name: _schema(type_of(t)) for name, t in outputs.items()},
        "required": list(outputs),
        "additionalProperties": False,
    }


def _schema(type_: Type) -> dict[str, Any]:
    out: dict[str, Any]
    match type_.name:
        case "int" | "real":
            out = {"type": "integer" if type_.name == "int" else "number"}
            for key, bound in (("minimum", type_.low), ("maximum", type_.high)):
                if bound is not None:
                    out[key] = int(bound) if bound == int(bound) else bound
        case "bool":
            out = {"type": "boolean"}
        case "enum":
            out = {"type": "string", "enum": list(type_.options)}
        case "list":
            assert type_.element is not None
            out = {"type": "array", "items": _schema(type_.element)}
        case "record":
            out = {
                "type": "object",
                "properties": {n: _schema(t) for n, t in type_.fields},
                "required": [n for n, _ in type_.fields],
                "additionalProperties": False,
            }
        case "messages":
            return {"type": "array", "items": _schema(type_of("record<role: text, content: text>"))}
        case "json":
            return {}
        case _:
            out = {"type": "string"}
    return {"anyOf": [out, {"type": "null"}]} if type_.optional else out


def in_words(outputs: Mapping[str, str]) -> str:
    """The same for a model whose server knows no schema: one sentence and one line for each field."""
    lines = [f"- {name}: {_words(type_of(t))}" for name, t in outputs.items()]
    head = "Answer with one JSON object and nothing else. Its fields:"
    return "\n".join([head, *lines])


def _words(type_: Type) -> str:
    match type_.name:
        case "int" | "real":
            text = "a whole number" if type_.name == "int" else "a number"
            bounds = [f"at least {type_.low:g}"] if type_.low is not None else []
            bounds += [f"at most {type_.high:g}"] if type_.high is not None else []
            text = ", ".join([text, *bounds])
        case "bool":
            text = "true or false"
        case "enum":
            text = "one of " + ", ".join(as_json(o) for o in type_.options)
        case "list":
            assert type_.element is not None
            text = f"a list, each element {_words(type_.element)}"
        case "record":
            text = "an object with " + "; ".join(f"{n}: {_words(t)}" for n, t in type_.fields)
        case "messages":
            text = "a list of objects with role and content"
        case "json":
            text = "any JSON value"
        case _:
            text = "a text"
    return f"{text}, or null" if type_.optional else text


# --- reading ------------------------------------------------------------------------------------------------------------------


def read(
    text: str, outputs: Mapping[str, str], finish_reason: str = "stop", *, bare: bool = False
) -> dict[str, Any]:
    """The fields of an answer, each of its type. Unreadable where it does not fit or is not whole.

    A plain answer is what was sent, without thinking before it; `bare` leaves out the white space around it.
    """
    match ending(finish_reason):
        case "cut":
            raise Unreadable(f"it was cut off at `max_tokens`{_word(finish_reason, 'length')}")
        case "filtered" if finish_reason == "refusal":
            raise Unreadable(
                f"the model refuses: {_excerpt(text)}" if text else "the model refuses"
            )
        case "filtered":
            raise Unreadable(
                f"the provider's content filter stopped it{_word(finish_reason, 'content_filter')}"
            )
        case "broken":
            raise Unreadable(broken(text, finish_reason))
    reasoning, text = thought(text)
    if is_plain(outputs):
        if not text.strip():
            raise Unreadable(
                "it is empty"
                if reasoning is None
                else f"it holds nothing but reasoning: {_excerpt(reasoning)}"
            )
        return {next(iter(outputs)): _bare(text) if bare else text}
    if is_probability(outputs):
        return {next(iter(outputs)): _value(_loads(text), type_of("prob"), next(iter(outputs)))}
    found = _loads(text)
    if not isinstance(found, dict):
        raise Unreadable(f"it is {_kind(found)}, not a JSON object")
    return {name: _value(found.get(name), type_of(t), name, name in found) for name, t in outputs.items()}  # fmt: skip


def thought(text: str) -> tuple[str | None, str]:
    """What a model thought before its answer, None where it did not, and the answer as it was sent."""
    if "think>" not in text:
        return None, text
    found = _THOUGHT.match(text)
    if found is None:
        return None, text
    return (found[1] or found[2] or "").strip(), _BLANK_LINES.sub("", text[found.end() :])


def broken(text: str, finish_reason: str) -> str:
    """Why an answer that broke off is none."""
    held = f": {_excerpt(text)}" if text.strip() else ""
    return f"the answer ended with `{finish_reason}`{held}"


def _word(finish_reason: str, usual: str) -> str:
    return "" if finish_reason == usual else f" (`{finish_reason}`)"


def _excerpt(text: str) -> str:
    said = " ".join(text.split())
    return said if len(said) <= 200 else said[:199] + "…"


def _bare(text: str) -> str:
    """A text without the white space around it. Where it has several lines the first keeps its indentation."""
    bare = _BLANK_LINES.sub("", text.rstrip())
    return bare if "\n" in bare else bare.strip()


def _loads(text: str) -> Any:
    """JSON that is the whole text, or its only fenced block."""
    try:
        return loads(text)
    except ValueError:
        blocks = _FENCE.findall(text)
        if len(blocks) != 1:
            raise Unreadable("it is not JSON") from None
    try:
        return loads(blocks[0])
    except ValueError:
        raise Unreadable("its fenced block is not JSON") from None


def _value(value: Any, type_: Type, place: str, there: bool = True) -> Any:
    if value is None:
        if type_.optional:
            return None
        raise Unreadable(f"`{place}` is null" if there else f"`{place}` is missing")
    match type_.name:
        case "int" | "real":
            return _number(value, type_, place)
        case "bool":
            return _instance(value, bool, type_, place)
        case "enum":
            if value not in type_.options or not isinstance(value, str):
                raise Unreadable(f"`{place}` is {_short(value)}, not {_words(type_)}")
            return value
        case "list":
            assert type_.element is not None
            items = _instance(value, list, type_, place)
            return [_value(v, type_.element, f"{place}[{i}]") for i, v in enumerate(items)]
        case "record":
            found = _instance(value, dict, type_, place)
            return {n: _value(found.get(n), t, f"{place}.{n}", n in found) for n, t in type_.fields}
        case "messages":
            return [_turn(v, f"{place}[{i}]") for i, v in enumerate(_instance(value, list, type_, place))]  # fmt: skip
        case "json":
            return as_json(value)
        case _:
            return _instance(value, str, type_, place)


def _instance(value: Any, wanted: type, type_: Type, place: str) -> Any:
    if not isinstance(value, wanted):
        raise Unreadable(f"`{place}` is {_kind(value)}, not {_words(type_).partition(',')[0]}")
    return value


def _number(value: Any, type_: Type, place: str) -> int | float:
    whole = type_.name == "int"
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    if fits and whole:
        fits = value == int(value) and int(value) in _INT64
    low, high = type_.low, type_.high
    if fits:
        fits = (low is None or value >= low) and (high is None or value <= high)
    if not fits:
        raise Unreadable(f"`{place}` is {_short(value)}, not {_words(type_)}")
    return int(value) if whole else float(value)


def _turn(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise Unreadable(f"`{place}` is no turn with role and content")
    content = _value(value.get("content"), type_of("text"), f"{place}.content", "content" in value)
    rest = {k: v for k, v in value.items() if k not in ("role", "content")}
    extra = as_json(rest) if rest else None
    return {"role": value["role"], "content": content, "extra": extra}


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}  # fmt: skip
    return names.get(type(value), "null")


def _short(value: Any) -> str:
    text = as_json(value)
    return text if len(text) <= 40 else text[:37] + "…"
