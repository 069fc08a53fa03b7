"""What a server's refusal means: its status, its codes and the words that servers are known to use, read into one
class.

Servers that speak the same API refuse in words of their own, and often under a status that says something else. The
tables below hold those words; a new server is a new line. Order matters: the first class whose line is found is taken.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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
    told = "\n".join(_told(data))
    kind, wait = _kind(status, told), retry_after(headers or {})
    if wait is None and (delay := _RETRY_DELAY.search(told)):
        wait = float(delay[1] or delay[2])
    if kind in RETRIED and wait is not None and wait > MOST_WAIT_SECONDS:
        kind = "quota"
    return Failure(kind, _message(data), wait)


def _kind(status: int, told: str) -> str:
    for kind, words in _WORDS.items():
        if words.search(told):
            return kind
    if status == 413:
        return "too_long"
    if status == 402:
        return "no_credit"
    if status in (401, 403):
        return "no_key"
    if status == 404:
        return "no_model"
    if status == 429:
        daily = _IS_DAILY.search(told) and not _SOON.search(told)
        return "quota" if daily else "loading" if _IS_LOADING.search(told) else "busy"
    if status >= 500 or status in _PASSING:
        if _IS_LOADING.search(told):
            return "loading"
        return "busy" if status == 529 or _IS_BUSY.search(told) else "passing"
    return "busy" if _IS_BUSY.search(told) else "refused"


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


def _told(data: Any, name: str = "") -> Iterator[str]:
    """What a body says, without what it only repeats of the request."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key != "input":
                yield from _told(value, key)
    elif isinstance(data, list):
        for value in data:
            yield from _told(value, name)
    elif data is not None:
        yield f"{name}: {str(data)[:LONGEST]}"


def _message(data: Any) -> str:
    """The message in an error's body with its code, short."""
    if isinstance(data, list) and len(data) == 1:  # Gemini
        data = data[0]
    error = data.get("error", data) if isinstance(data, dict) else data
    text = " ".join((_said(error) if isinstance(error, dict) else str(error)).split())
    return text if len(text) <= 300 else text[:299] + "…"


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
