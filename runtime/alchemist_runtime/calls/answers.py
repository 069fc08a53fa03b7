"""A teacher's answer: the JSON schema that it is asked for, and the typed fields that are read from it.

One `text` output is the whole reply; everything else is one JSON object, which may stand among other text. Its values
are not mended: what does not fit the model of the declared fields is refused with the reason (rule `unreadable`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, WrapValidator, with_config
from typing_extensions import TypedDict

from alchemist_runtime.calls.teacher import ending, excerpt
from alchemist_runtime.schema.functions import TURN, Type, type_of
from alchemist_runtime.schema.rows import required
from alchemist_runtime.schema.sealed import as_json, loads

_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
#: Thinking before an answer; its opening tag may have been part of the question, and then the closing one has a line of
#: its own.
_THOUGHT = re.compile(
    r"\A\s*<think>(.*?)(?:</think>|\Z)|\A((?:(?!<think>).)*?)^[ \t]*</think>[ \t]*$", re.DOTALL | re.MULTILINE
)
#: The line that opens a fence, and what comes before an object in it.
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[ \t]*\w*[ \t]*\n\s*(?=\{)", re.MULTILINE)
_STRING = r'"(?:[^"\\]|\\.)*"'
_COMMENT = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)
_RAW = re.compile(_STRING, re.DOTALL)
_ESCAPED = re.compile(r"[\x00-\x1f]")
_TOKEN = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/|[{{}}]", re.DOTALL)
#: How many objects of a text are looked at.
_MOST_OBJECTS: Final = 64


class Unreadable(ValueError):
    """An answer that does not fit the prompt's output; the text says why."""


def is_plain(outputs: Mapping[str, str]) -> bool:
    """Whether the whole reply is the answer: one `text`."""
    return len(outputs) == 1 and type_of(next(iter(outputs.values()))).name == "text"


def is_structured(outputs: Mapping[str, str]) -> bool:
    """Whether an answer is a JSON object."""
    return not is_plain(outputs) and not is_probability(outputs)


def is_probability(outputs: Mapping[str, str]) -> bool:
    """Whether the answer is P(yes) of the first token: one `prob`."""
    return len(outputs) == 1 and required(next(iter(outputs.values()))) == "prob"


# --- asking -----------------------------------------------------------------------------------------------------------


def schema(outputs: Mapping[str, str]) -> dict[str, Any]:
    """The JSON schema of an answer: an object with exactly these fields."""

    result = adapter(tuple(outputs.items())).json_schema()
    whole: dict[str, Any] = _inlined(result, result.pop("$defs", {}))
    return whole


def _inlined(value: Any, named: Mapping[str, Any]) -> Any:
    """A schema without titles, and with its parts where they are used, which every server understands."""
    if isinstance(value, list):
        return [_inlined(v, named) for v in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _inlined(named[value["$ref"].rpartition("/")[2]], named)
    if "const" in value:
        value = {"type": value["type"], "enum": [value["const"]]}
    out = {k: _inlined(v, named) for k, v in value.items() if k not in ("title", "properties")}
    if "properties" in value:
        out["properties"] = {k: _inlined(v, named) for k, v in value["properties"].items()}
    return out


def describe_format(outputs: Mapping[str, str]) -> str:
    """The schema in words, for servers without structured outputs: one sentence, and one line for each field."""
    lines = [f"- {name}: {_describe_type(type_of(t))}" for name, t in outputs.items()]
    head = "Answer with one JSON object and nothing else. Its fields:"
    return "\n".join([head, *lines])


def with_format(
    messages: Sequence[Mapping[str, str]], outputs: Mapping[str, str], continues: bool = False
) -> list[Mapping[str, str]]:
    """The turns of a question, with the format of the answer in the last one where the answer is an object.

    `continues`: the last turn is the beginning of the answer, so that the format stands in the turn before."""
    turns = list(messages)
    if is_structured(outputs):
        asks = turns[at := -2 if continues else -1]
        turns[at] = {**asks, "content": f"{asks['content']}\n\n{describe_format(outputs)}"}
    return turns


def _describe_type(type_: Type) -> str:
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
            text = f"a list, each element {_describe_type(type_.element)}"
        case "record":
            text = "an object with " + "; ".join(f"{n}: {_describe_type(t)}" for n, t in type_.fields)
        case "messages":
            text = "a list of objects with role and content"
        case "json":
            text = "any JSON value"
        case _:
            text = "a text"
    return f"{text}, or null" if type_.optional else text


# --- reading ----------------------------------------------------------------------------------------------------------


def read(text: str, outputs: Mapping[str, str], finish_reason: str = "stop", *, bare: bool = False) -> dict[str, Any]:
    """The fields of an answer, each of its type. Unreadable where it does not fit or is not whole.

    A plain answer is what was sent, without thinking before it; `bare` leaves out the white space around it.
    """
    match ending(finish_reason):
        case "cut":
            raise Unreadable(f"it was cut off at `max_tokens`{_word(finish_reason, 'length')}")
        case "filtered" if finish_reason == "refusal":
            raise Unreadable(f"the model refuses: {excerpt(text)}" if text else "the model refuses")
        case "filtered":
            raise Unreadable(f"the provider's content filter stopped it{_word(finish_reason, 'content_filter')}")
        case "broken":
            raise Unreadable(describe_broken(text, finish_reason))
    reasoning, text = thought(text)
    if is_plain(outputs):
        if not text.strip():
            raise Unreadable(
                "it is empty" if reasoning is None else f"it holds nothing but reasoning: {excerpt(reasoning)}"
            )
        return {next(iter(outputs)): _bare(text) if bare else text}
    if is_probability(outputs):
        return _checked({next(iter(outputs)): _json(text)}, outputs)
    return _fitting(text, outputs)


def _fitting(text: str, outputs: Mapping[str, str]) -> dict[str, Any]:
    """The one JSON object in a text that fits, wherever it stands."""
    whole = _json(text)
    if whole is not None and not isinstance(whole, dict):
        raise Unreadable(f"it is {_kind(whole)}, not a JSON object")
    objects = _objects(text) if whole is None else [whole]
    fitting: list[dict[str, Any]] = []
    why = Unreadable("it is not JSON")
    for value in objects:
        try:
            result = _checked(value, outputs)
        except Unreadable as e:
            why = e
        else:
            fitting += [] if result in fitting else [result]
    if not fitting:
        raise why
    if len(fitting) > 1:
        raise Unreadable(f"it holds {len(fitting)} JSON objects that fit and differ")
    return fitting[0]


def _checked(value: Any, outputs: Mapping[str, str]) -> dict[str, Any]:
    from pydantic import ValidationError

    try:
        return adapter(tuple(outputs.items())).validate_python(value)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        place, type_ = _place(first["loc"], outputs)
        provided = first["input"]
        if first["type"] == "missing":
            raise Unreadable(f"`{place}` is missing") from None
        if provided is None:
            raise Unreadable(f"`{place}` is null") from None
        short = type_.name in ("int", "real", "enum")
        wanted = _describe_type(type_) if short else _describe_type(type_).partition(",")[0]
        raise Unreadable(f"`{place}` is {_short(provided) if short else _kind(provided)}, not {wanted}") from None


def _place(loc: Sequence[int | str], outputs: Mapping[str, str]) -> tuple[str, Type]:
    """Where a value stands in an answer, as `spot.lines[2]`, and what it should be."""
    place = str(loc[0])
    type_ = type_of(outputs[place])
    for part in loc[1:]:
        if isinstance(part, int):
            place += f"[{part}]"
            type_ = type_.element or Type("record", fields=TURN)
        else:
            place += f".{part}"
            type_ = dict(type_.fields).get(part, type_of("text"))
    return place, type_


def thought(text: str) -> tuple[str | None, str]:
    """What a model thought before its answer, None where it did not, and the answer as it was sent."""
    if "think>" not in text:
        return None, text
    found = _THOUGHT.match(text)
    if found is None:
        return None, text
    return (found[1] or found[2] or "").strip(), _BLANK_LINES.sub("", text[found.end() :])


def describe_broken(text: str, finish_reason: str) -> str:
    """The reason why an answer that broke off is refused."""
    held = f": {excerpt(text)}" if text.strip() else ""
    return f"the answer ended with `{finish_reason}`{held}"


def with_answer(why: str, text: str) -> str:
    """The reason of a refusal with the answer; beyond 2,000 characters the answer is whole only in the call cache."""
    held = (text, thought(text)[0] or text)
    if not text.strip() or any(excerpt(t)[:40] in why for t in held):
        return why
    return f"{why}; it says: {text if len(text) <= 2_000 else text[:1_999] + '…'}"


def _word(finish_reason: str, usual: str) -> str:
    return "" if finish_reason == usual else f" (`{finish_reason}`)"


def _bare(text: str) -> str:
    """A text without the white space around it. Where it has several lines the first keeps its indentation."""
    bare = _BLANK_LINES.sub("", text.rstrip())
    return bare if "\n" in bare else bare.strip()


def _json(text: str) -> Any:
    """JSON as models write it: maybe with comments, trailing commas and raw line breaks; None where it is none."""
    text = text.strip().removeprefix("\ufeff")
    try:
        return loads(text)
    except ValueError:
        pass
    for pattern in (_COMMENT, _TRAILING):
        text = pattern.sub(lambda m: m[0] if m[0].startswith('"') else "", text)
    try:
        return loads(_RAW.sub(lambda m: _ESCAPED.sub(lambda c: f"\\u{ord(c[0]):04x}", m[0]), text))
    except ValueError:
        return None


def _objects(text: str) -> list[Any]:
    """The JSON objects in a text, those in fences where it has any. An object that does not end hides what is in it."""
    fenced = [m.end() for m in _FENCE.finditer(text)]
    found: list[Any] = []
    for starts in (fenced, [0]):
        at = 0
        for start in starts:
            at = max(at, start)
            while len(found) < _MOST_OBJECTS and (open_ := text.find("{", at)) >= 0:
                end = _end(text, open_)
                if end is None:
                    return found
                value = _json(text[open_:end])
                found += [value] if isinstance(value, dict) else []
                at = end
                if starts is fenced:
                    break
        if found:
            break
    return found


def _end(text: str, start: int) -> int | None:
    """Where the object that opens here ends."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        depth += (token[0] == "{") - (token[0] == "}")
        if depth == 0:
            return token.end()
    return None


def _kind(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")


def _short(value: Any) -> str:
    text = as_json(value)
    return text if len(text) <= 40 else text[:37] + "…"


# --- answer models ---------------------------------------------------------------------------------------------------

_INT64 = range(-(2**63), 2**63)


@cache
def adapter(outputs: tuple[tuple[str, str], ...]) -> TypeAdapter[dict[str, Any]]:
    """The model of an answer, made from its declared fields."""
    return TypeAdapter(_record(tuple((n, type_of(t)) for n, t in outputs)))


def _record(fields: tuple[tuple[str, Type], ...]) -> Any:
    """An object with these fields; others are left out, and one that may be null may be missing."""

    def declared(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {n: value.get(n) for n, t in fields if n in value or t.optional}

    make: Any = TypedDict  # called with fields that no type checker knows
    result = make("Answer", {n: _model(t) for n, t in fields})
    return Annotated[with_config(ConfigDict(strict=True, extra="forbid"))(result), BeforeValidator(declared)]


def _model(type_: Type) -> Any:
    result: Any
    bounds = Field(ge=_exact(type_.low), le=_exact(type_.high))
    match type_.name:
        case "int":
            result = Annotated[int, bounds, AfterValidator(_int64), BeforeValidator(_whole)]
        case "real":
            result = Annotated[float, bounds, Field(allow_inf_nan=False)]
        case "bool":
            result = bool
        case "enum":
            result = Literal[type_.options]
        case "list":
            assert type_.element is not None
            result = list[_model(type_.element)]  # type: ignore[misc]
        case "record":
            result = _record(type_.fields)
        case "messages":
            result = list[Annotated[_record(TURN), WrapValidator(_turn)]]  # type: ignore[misc]
        case "json":
            return Annotated[Any, AfterValidator(_json_or_null if type_.optional else _json_text)]
        case _:
            result = str
    return result | None if type_.optional else result


def _turn(value: Any, handler: Any) -> dict[str, Any]:
    """A turn as rows hold it, with what else it says as JSON."""
    turn = handler(value)
    rest = {k: v for k, v in value.items() if k not in turn}
    return {**turn, "extra": as_json(rest) if rest else None}


def _json_text(value: Any) -> str:
    if value is None:
        raise ValueError("null")
    return as_json(value)


def _json_or_null(value: Any) -> str | None:
    return None if value is None else as_json(value)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _int64(value: int) -> int:
    if value not in _INT64:
        raise ValueError("more than 64 bits")
    return value


def _exact(bound: float | None) -> float | None:
    return bound if bound is None or bound != int(bound) else int(bound)
