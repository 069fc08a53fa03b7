"""Teachers: what every teacher's client takes and gives, so that a served model, a rule set and a recording are one
thing.

A component of the family `teachers` is a function `(spec: plan.Teacher) -> Client`. A client answers one request with
one reply; caching, limits, budget, retries and parsing of the reply are done around it, the same for all (`dispatch`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from alchemist_runtime.schema import catalog

if TYPE_CHECKING:
    from alchemist_runtime.schema import plan

KEY_BYTES = 24

#: Where a teacher is asked that names no `base_url`.
OFFICIAL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a teacher, in both forms: rendered turns for a model, typed inputs for rules."""

    call_key: bytes
    messages: tuple[Mapping[str, str], ...]  # {"role": "system" | "user" | "assistant", "content": text}
    inputs: Mapping[str, Any]  # prompt input -> value of its type (text, int, list, …), None for null
    outputs: Mapping[str, str]  # field of the answer -> column type
    rules: str | None = None  # describe | evolve | review: what the rules teacher does
    sample: int = 0  # which of several answers to the same question
    last: bool = True  # whether an answer that does not fit is final, and not sent back
    continues: bool = False  # the last turn is not whole: the model goes on with it


def whole(request: Request, text: str, reasoning: str | None = None) -> str:
    """An answer with the words that it was given to begin with, whether the server repeats them or not.

    A server that sends the thinking apart has put words that open it there."""
    if not request.continues:
        return text
    begun = request.messages[-1]["content"]
    thinks = "<think>" in begun and "</think>" not in begun
    repeated = text.startswith(begun) and _WORD.search(begun) is not None
    if repeated or (thinks and reasoning is not None):
        return text
    if begun[-1:].isspace() and text[:1].isspace():
        begun = begun.rstrip()
    return begun + text


#: Words that no answer repeats by chance, other than a bracket or a digit.
_WORD = re.compile(r"[^\W\d_]{2}")

Ending = Literal["whole", "cut", "filtered", "broken"]
#: What servers call an end, in small letters; every other word means that the answer broke off.
_ENDINGS: Final[Mapping[str, Ending]] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "unread"), "whole"),
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"), "cut"
    ),
    **dict.fromkeys(
        (
            "content_filter",
            "refusal",
            "safety",
            "recitation",
            "blocklist",
            "prohibited_content",
            "spii",
            "sensitive",
            "guardrail_intervened",
            "error_toxic",
        ),
        "filtered",
    ),
}
#: The finish reason of a reply whose text is the whole body of a response, because no answer was found in it.
UNREAD: Final = "unread"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came: plain text where the only output is one `text`, else the text of a JSON object."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    finish_reason: str = "stop"  # in the server's word, or UNREAD
    reasoning: str | None = None  # what the model thought, where the server sends it apart
    counted: bool = True  # whether the tokens are the server's own count

    @property
    def ending(self) -> Ending:
        """Whether the answer is whole, was cut at a limit or by a filter, or broke off."""
        return ending(self.finish_reason)


def ending(finish_reason: str) -> Ending:
    """What a server's finish reason means for the answer."""
    return _ENDINGS.get(finish_reason.lower(), "broken")


class CallFailed(Exception):
    """A call that gave no answer. `retry`: another try may help; `stop`: no call of this teacher can succeed."""

    def __init__(
        self,
        reason: str,
        *,
        retry: bool = False,
        stop: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
        kind: str = "failed",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry = retry
        self.stop = stop
        self.status = status
        self.retry_after = retry_after
        #: unreachable (no connection) | lost (sent, no answer: may have been billed) | not_recorded, or a class of
        #: `teachers._failures`
        self.kind = kind


class Client(Protocol):
    """What a teacher component returns."""

    async def reply(self, request: Request) -> Reply:
        """Answer one request. CallFailed where there is no answer."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


# --- what stands between a request and its client ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Want:
    """What a call will take: tokens as expected, and as they can be at most. `way`: what of the API it uses."""

    tokens_in: int
    most_in: int
    most_out: int
    way: str = "text"


@dataclass(frozen=True, slots=True)
class Used:
    """What a call took. Not `counted`: a guess, since the server does not say; it is charged as what was reserved."""

    tokens_in: int
    tokens_out: int
    counted: bool = True


class Lease(Protocol):
    """A permission to send one call."""

    def settle(self, used: Used | None, error: BaseException | None = None) -> None:
        """Say what was taken (None: it may have been everything), and why there is no answer. Exactly once."""
        ...


class Service(Protocol):
    """Limits and ledgers: reserving before a call is sent is what makes a rate or a budget hold."""

    async def reserve(self, want: Want) -> Lease:
        """Wait until the call may be sent. RunError where it never may."""
        ...


# --- keys and secrets -------------------------------------------------------------------------------------------------


def call_key(
    teacher: plan.Teacher,
    messages: Sequence[Mapping[str, str]],
    outputs: Mapping[str, str],
    sample: int,
    *,
    inputs: Mapping[str, Any] | None = None,
    rules: str | None = None,
    continues: bool = False,
) -> bytes:
    """`H(teacher identity, rendered messages, answer's fields, sample)`; for a teacher that reads the inputs, also
    these.

    To go on with a last turn is another question than to answer it."""
    import orjson

    parts: list[Any] = ["call/1", teacher.identity_key, messages, sorted(outputs.items()), sample]
    if catalog.origin(teacher.provider) == "inputs":
        parts += [rules, inputs]
    if continues:
        parts.append("continues")
    data = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    return hashlib.blake2b(data, digest_size=KEY_BYTES).digest()


_SECRET = re.compile(r"(?i)\bsk-[\w*-]{6,}|\bbearer\s+\S+|(?<=://)[^/@\s]+(?=@)")


def scrub(text: str, *secrets: str | None) -> str:
    """A text for people without the given secrets and without anything that looks like a key."""
    for secret in secrets:
        if secret and len(secret) >= 4:
            text = text.replace(secret, "***")
    return _SECRET.sub("***", text)


def excerpt(text: str, limit: int = 200) -> str:
    """The text on one line, cut to `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def is_local(base_url: str | None) -> bool:
    """Whether an address is this machine."""
    host = urlsplit(base_url or OFFICIAL).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name; `127.0.0.1.example.com` is one of somebody
        return host == "localhost" or host.endswith(".localhost")
