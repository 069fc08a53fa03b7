"""What servers send under the status of an answer: chat completions, as they should be and as they are.

A body that was paid for is read as far as it can be: characters that are no UTF-8, half a surrogate pair, NaN, a stream
of events, the text of the older completions, content in parts. What holds no answer is `NoAnswer`, with the server's
own words.
"""

from __future__ import annotations

import codecs
import email.utils
import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from alchemist_runtime.calls.teacher import excerpt

#: Places where servers put what a model thought.
_REASONING: Final = ("reasoning_content", "reasoning", "thinking")
#: Characters of a server's words in a message.
_LENGTH_IN_MESSAGES: Final = 300


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
        raise NoAnswer(f"the server's answer is no chat completion: {_short_json(data)}")
    if not data.get("choices") and (error := _error(data)) is not None:
        raise error
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    try:
        if not isinstance(choice, dict):
            raise NoAnswer(f"the server's answer has no choice: {_short_json(data)}")
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
            raise NoAnswer(f"the server's answer has no text: {_short_json(data)}")
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
    reported = said if isinstance(said, str) and said else _short_json(held)
    known = status is not None and 400 <= status < 600
    number = f" {status}" if known else ""
    reason = f"the server says{number}: {_short(reported)}"
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


def _short_json(value: Any) -> str:
    return _short(json.dumps(value, ensure_ascii=False, default=str))


def _short(text: Any) -> str:
    return excerpt(str(_clean(str(text))), _LENGTH_IN_MESSAGES)


# --- failures --------------------------------------------------------------------------------------------------------

#: Longer waits that a server asks for are not waited for: the run ends, resumable, instead of sleeping.
MOST_WAIT_SECONDS = 600.0
#: Characters of one text in a body that are looked at.
LONGEST = 4_000

#: The row does not fit the context, or no window of the account's rate.
_TOO_LONG = (
    r"context_length_exceeded|string_above_max_length",  # OpenAI, Azure, Groq: codes
    r"maximum (?:context|prompt) length|context window",  # OpenAI, vLLM, DeepSeek, OpenRouter, xAI
    r"maximum model length|max_model_len",  # vLLM
    r"longer than the model's context length|exceeds? the model's (?:maximum )?context",  # SGLang
    r"exceed_context_size|available context size|context size has been exceeded",  # llama.cpp
    r"exceed(?:s|ed)? (?:the |max(?:imum)? )?context (?:length|limit|size)",  # Ollama, Anthropic
    r"when (?:the )?context (?:the )?overflows|n_keep|reached context length",  # LM Studio
    r"number of tokens to keep from the initial prompt",  # LM Studio
    r"`inputs` (?:tokens|must have less than)",  # TGI, Together
    r"prompt is too long|request_too_large|input is too long",  # Anthropic, Bedrock
    r"exceeds the maximum number of tokens allowed",  # Gemini
    r"too large for model with \d+ maximum context",  # Mistral
    r"request too large for",  # OpenAI, Groq: larger than a minute's tokens
    r"ContextWindowExceeded",  # LiteLLM
)
#: The server's moderation refuses this row.
_MODERATED = (
    r"content_policy_violation|content_filter\b|ResponsibleAIPolicy|content management policy",  # OpenAI, Azure
    r"invalid_prompt|flagged (?:as|for)|flagged by|requires moderation",  # OpenAI, OpenRouter
    r"content filtering policy",  # Anthropic
    r"PROHIBITED_CONTENT|blocked by safety|safety settings",  # Gemini
    r"content exists risk",  # DeepSeek
    r"data_?inspection_?failed|inappropriate content",  # Qwen
    r"considered high risk|violates usage guidelines",  # Moonshot, xAI
    r"ContentPolicyViolation",  # LiteLLM
)
#: The account cannot pay.
_NO_CREDIT = (
    r"insufficient_quota|billing_hard_limit|billing_not_active|account_deactivated",  # OpenAI, Azure
    r"account is not active|hard limit has been reached",  # OpenAI
    r"credit balance is too low",  # Anthropic
    r"insufficient balance|insufficient credits?|exceeded_current_quota",  # DeepSeek, OpenRouter, Moonshot
    r"arrearage|overdue[- ]payment",  # Qwen
    r"budget has been exceeded|BudgetExceeded",  # LiteLLM
)
#: The key is not one.
_NO_KEY = (
    r"invalid_api_key|incorrect api key|invalid api key",  # OpenAI, Mistral, Groq
    r"API_KEY_INVALID|api key not valid|api key expired",  # Gemini
    r"authentication_error|AuthenticationError",  # Anthropic, LiteLLM
)
#: There is no such model.
_NO_MODEL = (
    r"model_not_found|DeploymentNotFound|model_decommissioned",  # OpenAI, Azure, Groq
    r"model [`'\"].{1,200}?[`'\"] (?:does not exist|(?:is )?not found)",  # OpenAI, vLLM, Ollama
    r"model not exist|is not a valid model|no endpoints found for",  # DeepSeek, OpenRouter
    r"invalid_model|invalid model\b",  # Mistral, LiteLLM
    r"no models? (?:is |are )?(?:currently )?loaded|failed to load model",  # LM Studio
    r"models/\S+ is not found",  # Gemini
)
#: A limit of a day or longer.
_DAILY = (
    r"per[-_ ]?(?:day|month)|\bRPD\b|\bTPD\b",  # OpenAI, Groq, Gemini, OpenRouter
    r"(?:daily|monthly|weekly) (?:\w+ )?(?:limit|quota)",
)
#: A model that is not in memory yet.
_LOADING = (r"loading model|model is (?:still )?loading|is currently loading|model loading|still being loaded",)
#: Too much at once, under whatever status.
_BUSY = (
    r"overloaded|at capacity|too many (?:concurrent )?requests|rate_limit|RateLimitError",
    r"RESOURCE_EXHAUSTED|server (?:is )?busy|maximum pending requests|capacity exceeded|queue is full",
)
#: Structured answers that the server cannot give.
_NO_SCHEMA = (
    r"response_format|json_schema|structured[ _]outputs?|schema conversion|json mode",
    r"xgrammar|outlines|guided|grammar|schema",
)
#: What a server says of a parameter that it does not take.
_NOT_TAKEN = (
    r"not supported|unsupported|does(?:n't| not) support|not support\b|unrecognized|unknown (?:name|field|parameter)",
    r"not permitted|extra_forbidden|extra inputs|cannot both be specified|only the default|not allowed|deprecated",
    r"Use '?max_completion_tokens",
)


def _any(lines: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(lines), re.IGNORECASE)


#: Classes that words decide, in order.
_WORDS = {
    "too_long": _any(_TOO_LONG),
    "moderated": _any(_MODERATED),
    "no_credit": _any(_NO_CREDIT),
    "no_key": _any(_NO_KEY),
    "no_model": _any(_NO_MODEL),
}
_IS_DAILY, _IS_LOADING, _IS_BUSY = _any(_DAILY), _any(_LOADING), _any(_BUSY)
_IS_SCHEMA, _IS_NOT_TAKEN = _any(_NO_SCHEMA), _any(_NOT_TAKEN)
_SOON = re.compile(r"per[-_ ]?minute", re.IGNORECASE)
#: Gemini says in the body how long to wait.
_RETRY_DELAY = re.compile(r"retryDelay: (\d+(?:\.\d+)?)s|retry in (\d+(?:\.\d+)?)s\b")
#: Classes that the status alone decides.
_STATUSES = {401: "no_key", 402: "no_credit", 403: "no_key", 404: "no_model", 413: "too_long"}
#: Statuses after which another try may help, beside those from 500.
_PASSING = frozenset({408, 409, 425})
#: A request that is wrong under one of these can be made in another way.
WRONG_REQUEST = frozenset({400, 422, 500, 501})

#: Classes in which no call of a teacher can succeed.
HOPELESS = frozenset({"no_key", "no_credit", "no_model", "quota"})
#: Classes in which the whole teacher waits.
WAITING = frozenset({"busy", "loading"})
#: Classes after which another try may help.
RETRIED = frozenset({"passing", *WAITING})
#: Kinds of failed calls that the next run makes again: what stood in the way may have passed.
PASSING = frozenset({*RETRIED, "lost", "unreachable", "broken"})


@dataclass(frozen=True, slots=True)
class Failure:
    """What a refusal means.

    `kind`: too_long (does not fit) · moderated (this row) · refused (this request) · no_key · no_credit · no_model ·
    quota (for hours) · busy (slower) · loading (later) · passing. `said`: the server's words. `wait`: seconds that it
    asks for."""

    kind: str
    said: str
    wait: float | None = None


def judge(status: int, body: str, headers: Mapping[str, str] | None = None) -> Failure:
    """The class of a response that is no answer."""
    data = _parsed(body)
    reported = "\n".join(_texts(data))
    kind, wait = _kind(status, reported), retry_after(headers or {})
    if wait is None and (delay := _RETRY_DELAY.search(reported)):
        wait = float(delay[1] or delay[2])
    if kind in RETRIED and wait is not None and wait > MOST_WAIT_SECONDS:
        kind = "quota"
    return Failure(kind, _message(data), wait)


def _kind(status: int, text: str) -> str:
    for kind, words in _WORDS.items():
        if words.search(text):
            return kind
    if status in _STATUSES:
        return _STATUSES[status]
    if status == 429:
        daily = _IS_DAILY.search(text) and not _SOON.search(text)
        return "quota" if daily else "loading" if _IS_LOADING.search(text) else "busy"
    if status >= 500 or status in _PASSING:
        if _IS_LOADING.search(text):
            return "loading"
        return "busy" if status == 529 or _IS_BUSY.search(text) else "passing"
    return "busy" if _IS_BUSY.search(text) else "refused"


def refuses_schema(status: int | None, said: str) -> bool:
    """Whether the refusal of a request with a schema is about the schema."""
    return status in WRONG_REQUEST and _IS_SCHEMA.search(said) is not None


def refused_parameter(status: int | None, said: str, sent: Iterable[str]) -> str | None:
    """The one of the parameters sent that the server says it does not take."""
    if status not in (400, 422) or _IS_NOT_TAKEN.search(said) is None:
        return None
    found = [(at.start(), n) for n in sent if (at := re.search(rf"\b{re.escape(n)}\b", said))]
    if not found:
        return None
    return (max if "both" in said else min)(found)[1]  # of two that exclude each other the second


def _parsed(body: str) -> Any:
    import orjson

    try:
        return orjson.loads(body)
    except ValueError:
        return body


def _texts(data: Any, name: str = "") -> Iterator[str]:
    """The texts of a body, without what it repeats of the request."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key != "input":
                yield from _texts(value, key)
    elif isinstance(data, list):
        for value in data:
            yield from _texts(value, name)
    elif data is not None:
        yield f"{name}: {str(data)[:LONGEST]}"


def _message(data: Any) -> str:
    """The message in an error's body with its code, short."""
    if isinstance(data, list) and len(data) == 1:  # Gemini
        data = data[0]
    error = data.get("error", data) if isinstance(data, dict) else data
    return excerpt(_said(error) if isinstance(error, dict) else str(error), _LENGTH_IN_MESSAGES)


def _said(error: Mapping[str, Any]) -> str:
    said = next((error[n] for n in ("message", "detail", "error") if error.get(n)), None)
    text = str(error) if said is None else str(said)
    code = error.get("code")
    return f"{text} ({code})" if isinstance(code, str) and code not in text else text


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date; a time that is
    past is 0.
    """
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            seconds = _until(value)
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


def _until(date: str) -> float:
    """Seconds until a date as headers write it; not a number where it is none."""
    moment = email.utils.parsedate_tz(date)
    try:
        return math.nan if moment is None else email.utils.mktime_tz(moment) - time.time()
    except (ValueError, OverflowError):
        return math.nan
