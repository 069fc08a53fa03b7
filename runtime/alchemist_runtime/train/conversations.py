"""Conversations as chat templates see them: rows to messages, the forms that templates expect, and what a rendering
leaves out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from alchemist_runtime.engine.turns import TURN_TYPES, join
from alchemist_runtime.schema import rows
from alchemist_runtime.schema.rows import CONTENT, message, text_of
from alchemist_runtime.schema.sealed import loads

Message = dict[str, Any]

#: Names under which chat formats keep what was thought before a reply; transformers gives templates all of them.
REASONING: Final = ("reasoning_content", "thinking", "reasoning")
_THOUGHT: Final = "</think>"
#: What may be told of a row, by its short name in figures; `{n}` rows of it are told in one sentence.
RENDERING_NOTES: Final[dict[str, str]] = {
    "reply": "whose reply is not in the rendered text",
    "system": "whose system turn is not in the rendered text",
    "user": "whose user turn is not in the rendered text",
    "tool": "whose tool result is not in the rendered text",
    "tools": "whose tools are not in the rendered text",
    "reasoning": "whose reasoning is not in the rendered text",
    "tool_calls": "whose tool calls are not in the rendered text",
    "indentation": "whose reply loses the white space that it begins with",
    "arguments": "whose tool arguments are text that is no JSON object",
    "parts": "whose content is a list that the template prints as Python",
    "special": "with control tokens in their own text",
    "weight": "with a weight other than 0 and 1, which counts as 1",
    "stop": "whose reply does not end with a token that the model can stop at",
    "stop_added": "whose reply is learnt with the token that ends its turn, which stands behind the template's mark",
}


@dataclass(frozen=True, slots=True)
class Talk:
    """One row as the template sees it."""

    messages: list[Message]
    tools: list[Any] | None
    args: dict[str, Any]
    row: str  # its id in hex, for messages to people

    def upto(self, stop: int) -> Talk:
        return replace(self, messages=self.messages[:stop])

    @property
    def replies(self) -> list[int]:
        return [i for i, m in enumerate(self.messages) if m["role"] == "assistant"]


def _column(batch: pa.RecordBatch, name: str) -> list[Any]:
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    values: list[Any] = batch.column(name).to_pylist()
    return values


def _message(turn: Mapping[str, Any]) -> Message:
    """A turn as templates expect it: further keys beside role and content, none of them null; a content that was null
    stays so.
    """
    more = loads(turn["extra"]) if turn["extra"] else {}
    result = message(turn["role"], turn["content"], more)
    return {k: v for k, v in result.items() if v is not None or k == CONTENT}


def messages(batch: pa.RecordBatch) -> list[list[Message]]:
    """The conversations of a batch of turn columns, as lists of messages for a chat template."""
    names = [c for c in TURN_TYPES if c in batch.schema.names]
    every = zip(*(_column(batch, c) for c in names), strict=True)
    return [[_message(t) for t in join(dict(zip(names, row, strict=True)))] for row in every]


def talks(batch: pa.RecordBatch) -> list[Talk]:
    """The rows of a batch with what their columns `tools` and `template_args` hold."""
    ids = [i.hex() if i is not None else "?" for i in _column(batch, rows.ID)]
    columns = zip(messages(batch), _column(batch, "tools"), _column(batch, "template_args"), ids, strict=True)
    return [
        Talk(talk, loads(tools) if tools else None, (loads(args) if args else None) or {}, id_)
        for talk, tools, args, id_ in columns
    ]


# --- the forms that templates expect ----------------------------------------------------------------------------------


def only_text(content: Any) -> bool:
    """Whether a content is a list of parts that are all text."""
    return isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content)


def odd(talk: Talk) -> bool:
    """Whether a row holds something that templates expect in different forms: tool calls, or a content that is no
    text.
    """
    return any("tool_calls" in m or not isinstance(m[CONTENT], str) for m in talk.messages)


def forms(talk: Talk) -> Iterator[Talk]:
    """The row in the forms that a template may expect, the usual one first: null contents as null or as no text, tool
    arguments as objects or as JSON text."""
    for calls in (_parsed, _as_text):
        for blank in (None, ""):
            result = [_with_calls(m, calls) for m in talk.messages]
            yield replace(talk, messages=[{**m, CONTENT: blank} if m[CONTENT] is None else m for m in result])


def _with_calls(m: Message, form: Callable[[Any], Any]) -> Message:
    calls = m.get("tool_calls")
    if not isinstance(calls, list):
        return m
    return {**m, "tool_calls": [_call(c, form) for c in calls]}


def _call(call: Any, form: Callable[[Any], Any]) -> Any:
    if not isinstance(call, dict):
        return call
    if isinstance(call.get("function"), dict):
        return {**call, "function": _call(call["function"], form)}
    return {**call, "arguments": form(call["arguments"])} if "arguments" in call else call


def _parsed(arguments: Any) -> Any:
    """Arguments as an object; a text that is none stays as it is."""
    if not isinstance(arguments, str):
        return arguments
    try:
        found = json.loads(arguments)
    except ValueError:
        return arguments
    return found if isinstance(found, dict) else arguments


def _as_text(arguments: Any) -> Any:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def functions(m: Message) -> list[dict[str, Any]]:
    """The functions that a turn calls, with their names and arguments."""
    calls = m.get("tool_calls")
    own = [c.get("function", c) for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []
    return [f for f in own if isinstance(f, dict)]


def shows_python(talk: Talk, text: str) -> bool:
    """Whether a rendering prints arguments or a content as Python writes them, which is not JSON."""
    result = [f.get("arguments") for m in talk.messages for f in functions(m)]
    result += [m[CONTENT] for m in talk.messages]
    return any(isinstance(v, (dict, list)) and v and str(v) in text for v in result)


# --- texts ------------------------------------------------------------------------------------------------------------


def every_text(value: Any) -> Iterator[str]:
    """The texts inside a JSON value."""
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from every_text(inner)
        case list():
            for inner in value:
                yield from every_text(inner)


def changed(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with its texts changed; keys stay."""
    match value:
        case str():
            return change(value)
        case dict():
            return {k: v if k == "role" else changed(v, change) for k, v in value.items()}
        case list():
            return [changed(v, change) for v in value]
        case _:
            return value


# --- what a rendering leaves out --------------------------------------------------------------------------------------


def left_out(talk: Talk, text: str) -> set[str]:
    """What of a row is not in the text that the template made of it, by the names of RENDERING_NOTES."""
    gone: set[str] = set()
    for m in talk.messages:
        role, content = m["role"], m[CONTENT]
        if isinstance(content, list) and content and str(content) in text:
            gone.add("parts")
        elif role == "assistant":
            gone |= _of_reply(m, text)
        elif not all(t.strip() in text for t in _texts_of(content)):
            gone.add(role if role in ("system", "tool") else "user")
    names = [_tool_name(t) for t in talk.tools or ()]
    if any(n is not None and n not in text for n in names):
        gone.add("tools")
    return gone


def _texts_of(content: Any) -> list[str]:
    """The texts of a content: of a list, those of its parts that are text."""
    if not isinstance(content, list):
        return [text_of(content)]
    return [p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str)]


def said(m: Message) -> str:
    """What a reply says, without its thought; of a turn that only calls functions the name of the first."""
    text = "".join(_texts_of(m[CONTENT])).rpartition(_THOUGHT)[2].strip()
    names = [str(f.get("name", "")) for f in functions(m)]
    return text or next(iter(names), "")


def _of_reply(m: Message, text: str) -> set[str]:
    gone: set[str] = set()
    content = "".join(_texts_of(m[CONTENT]))
    thought, mark, said = content.rpartition(_THOUGHT)
    if content.strip() not in text:
        if mark and thought.replace("<think>", "", 1).strip() not in text:
            gone.add("reasoning")
        if said.strip() not in text:
            gone.add("reply")
    elif content[:1].isspace() and content.rstrip() not in text:
        gone.add("indentation")
    reasoning = next((m[k] for k in REASONING if isinstance(m.get(k), str)), "")
    if reasoning.strip() not in text:
        gone.add("reasoning")
    for function in functions(m):
        arguments = _parsed(function.get("arguments"))
        if isinstance(arguments, str) and arguments.strip():
            gone.add("arguments")
        if not all(_appears(leaf, text) for leaf in (function.get("name"), *_leaves(arguments))):
            gone.add("tool_calls")
    return gone


def _leaves(value: Any) -> Iterator[Any]:
    match value:
        case dict():
            for name, inner in value.items():
                yield name
                yield from _leaves(inner)
        case list():
            for inner in value:
                yield from _leaves(inner)
        case _:
            yield value


def _appears(leaf: Any, text: str) -> bool:
    """Whether a value of an argument stands in the text, as it is or as JSON writes it."""
    if leaf is None or isinstance(leaf, bool):
        return True
    if not isinstance(leaf, str):
        return json.dumps(leaf) in text
    return leaf in text or any(json.dumps(leaf, ensure_ascii=a)[1:-1] in text for a in (False, True))


def _tool_name(tool: Any) -> str | None:
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def weights(talk: Talk) -> list[Any]:
    """The weight of each reply; 1 where none is given."""
    return [talk.messages[i].get("weight", 1) for i in talk.replies]


def sentence(name: str, by: Mapping[str, int]) -> str:
    """What the template did to rows, by a name of `RENDERING_NOTES` and the counts by origin."""
    n = sum(by.values())
    return f"{n:,} row{'' if n == 1 else 's'} {RENDERING_NOTES[name]}"
