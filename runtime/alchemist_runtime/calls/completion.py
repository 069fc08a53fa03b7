"""What servers send under the status of an answer: chat completions, as they should be and as they are.

A body that was paid for is read as far as it can be: characters that are no UTF-8, half a surrogate pair, NaN, a stream
of events, the text of the older completions, content in parts. What holds no answer is `NoAnswer`, with the server's
own words.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Places where servers put what a model thought.
_REASONING: Final = ("reasoning_content", "reasoning", "thinking")
_SHOWN: Final = 300


class NoAnswer(ValueError):
    """A body without an answer.

    `paid`: it is whole and JSON, so that a model may have worked for it, by its `usage`; `torn`: it ends in the middle,
    as a connection that was cut leaves it; `error`: it is the error of a call, with this `status` where it names
    one."""

    def __init__(
        self, reason: str, *, paid: bool = True, torn: bool = False, error: bool = False, status: int | None = None
    ) -> None:
        super().__init__(reason)
        self.reason, self.paid, self.torn, self.error, self.status = (reason, paid, torn, error, status)
        self.usage: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Completion:
    """The first choice of a response."""

    text: str
    finish: str  # in the server's word; `stop` where it says none
    reasoning: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    logprobs: Any = None
    role: Any = None  # whose turn it is, in the server's word


def read(content: bytes) -> Completion:
    """The answer in the body of a response. NoAnswer where there is none."""
    import orjson

    try:
        data = orjson.loads(content)
    except ValueError:
        data = _leniently(content)
    if not isinstance(data, dict):
        raise NoAnswer(f"the server's answer is no chat completion: {_shown(data)}")
    if not data.get("choices") and (error := _error(data)) is not None:
        raise error
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    try:
        if not isinstance(choice, dict):
            raise NoAnswer(f"the server's answer has no choice: {_shown(data)}")
        return _choice(choice, data)
    except NoAnswer as none:
        none.usage = usage if isinstance(usage := data.get("usage"), dict) else {}
        raise


def count(value: Any) -> int | None:
    """A number of tokens as servers write it; None for what is none."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    return int(value) if whole and value == value and value < 2**53 else None


def used(usage: Mapping[str, Any]) -> tuple[int, int] | None:
    """Tokens in and out by the server's own count; None where it gives none. What is out is also what a total has
    beyond the prompt: some servers count there alone what a model thought."""
    tokens_in, out = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    total = count(usage.get("total_tokens"))
    if tokens_in is None or (out is None and total is None):
        return None
    return tokens_in, max(out or 0, (total or 0) - tokens_in)


def _choice(choice: Mapping[str, Any], data: Mapping[str, Any]) -> Completion:
    message = choice.get("message")
    said: Mapping[str, Any] = message if isinstance(message, dict) else {}
    text, reasoning = _content(said.get("content"))
    if not text and isinstance(choice.get("text"), str):
        text = choice["text"]
    for name in _REASONING:
        if reasoning is None and isinstance(said.get(name), str) and said[name]:
            reasoning = said[name]
    finish = choice.get("finish_reason")
    finish = finish if isinstance(finish, str) and finish else "stop"
    refusal = said.get("refusal")
    if not text and isinstance(refusal, str) and refusal:
        text, finish = refusal, "refusal"
    elif not text and (called := _called(said)) is not None:
        text, finish = called, "tool_calls"
    elif not text and finish == "stop":
        if (error := _error(choice)) is not None:
            raise error
        if reasoning is not None:
            raise NoAnswer(f"it holds nothing but reasoning: {_short(reasoning)}")
        if not isinstance(said.get("content"), (str, list)):
            raise NoAnswer(f"the server's answer has no text: {_shown(data)}")
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Completion(_clean(text), _clean(finish), _clean(reasoning), usage, choice.get("logprobs"), said.get("role"))


def _content(content: Any) -> tuple[str, str | None]:
    """The text of a content, which may be a list of parts, and what was thought among them."""
    if isinstance(content, str):
        return content, None
    text, thought = [], []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, dict):
            thinks = next((part[n] for n in _REASONING if n in part), None)
            if thinks is not None:
                thought.append(thinks if isinstance(thinks, str) else _content(thinks)[0])
            elif isinstance(part.get("text"), str):
                text.append(part["text"])
    return "".join(text), "".join(thought) or None


def _called(message: Mapping[str, Any]) -> str | None:
    """The tool that a message calls."""
    calls = message.get("tool_calls")
    call = calls[0] if isinstance(calls, list) and calls else None
    function = call.get("function") if isinstance(call, dict) else message.get("function_call")
    return f"it calls the tool {_short(function.get('name'))}" if isinstance(function, dict) else None


def _error(data: Mapping[str, Any]) -> NoAnswer | None:
    """The error that a body or a choice holds instead of an answer."""
    held = data.get("error")
    if held is None and data.get("object") == "error":
        held = data
    if not held:
        return None
    named = held if isinstance(held, dict) else {"message": held}
    said = named.get("message")
    status = next((c for n in ("code", "status") if (c := count(named.get(n))) is not None), None)
    told = said if isinstance(said, str) and said else _shown(held)
    known = status is not None and 400 <= status < 600
    number = f" {status}" if known else ""
    reason = f"the server says{number}: {_short(told)}"
    return NoAnswer(reason, error=True, status=status if known else None, paid=False)


# --- bodies that are not quite JSON -----------------------------------------------------------------------------------


def _leniently(content: bytes) -> Any:
    text = content.decode("utf-8-sig", "alchemist.latin")
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        pass
    events = list(_events(text))
    if events:
        return _joined(events)
    torn = text.lstrip().startswith("{")
    raise NoAnswer(f"the server's answer is no chat completion: {_short(text)}", paid=False, torn=torn)


def _latin(error: UnicodeError) -> tuple[str, int]:
    """One byte that is a letter in Latin-1 is that letter; anything else is a character that was lost."""
    assert isinstance(error, UnicodeDecodeError)
    bad = error.object[error.start : error.end]
    return (chr(bad[0]) if len(bad) == 1 and bad[0] >= 0xA0 else "\ufffd"), error.end


codecs.register_error("alchemist.latin", _latin)


def _events(text: str) -> Iterator[dict[str, Any]]:
    """The objects of a stream of server-sent events."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "data" and value.strip() != "[DONE]":
            try:
                event = json.loads(value, strict=False)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def _joined(events: list[dict[str, Any]]) -> dict[str, Any]:
    """One completion of the pieces that a stream holds."""
    out: dict[str, Any] = {}
    pieces: list[Mapping[str, Any]] = []
    finish: Any = None
    for event in events:
        out |= {k: v for k, v in event.items() if k != "choices" and v is not None}
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index") in (None, 0):
                finish = choice.get("finish_reason") or finish
                piece = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
                pieces += [piece] if isinstance(piece, dict) else []
    if pieces:
        message: dict[str, Any] = {}
        for name in ("content", "refusal", *_REASONING):
            said = [p[name] for p in pieces if isinstance(p.get(name), str)]
            message |= {name: "".join(said)} if said else {}
        calls = [c for p in pieces if isinstance(c := p.get("tool_calls"), list)]
        message |= {"tool_calls": calls[0]} if calls else {}
        out["choices"] = [{"message": message, "finish_reason": finish or "broken stream"}]
    return out


def _clean(text: str | None) -> Any:
    """A text that can be written: half a surrogate pair is a character that was lost."""
    if text is None or text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _shown(value: Any) -> str:
    return _short(json.dumps(value, ensure_ascii=False, default=str))


def _short(text: Any) -> str:
    said = " ".join(str(_clean(str(text))).split())
    return said if len(said) <= _SHOWN else said[: _SHOWN - 1] + "…"
