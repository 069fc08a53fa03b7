"""Teachers: what every teacher's client takes and gives, so that a served model, a rule set and a recording are one thing.

A component of the family `teachers` is a function `(spec: plan.Teacher) -> Client`. A client answers one request with one
reply; caching, limits, budget, retries and parsing of the reply are done around it, the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a teacher, in both forms: rendered turns for a model, typed inputs for rules."""

    call_key: bytes
    messages: tuple[
        Mapping[str, str], ...
    ]  # {"role": "system" | "user" | "assistant", "content": text}
    inputs: Mapping[
        str, Any
    ]  # prompt input -> value of its type (text, int, list, …), None for null
    outputs: Mapping[str, str]  # field of the answer -> column type
    rules: str | None = None  # describe | evolve | review: what the rules teacher does
    sample: int = 0  # which of several answers to the same question


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came: plain text where the only output is one `text`, else the text of a JSON object."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    finish_reason: str = "stop"


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
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry = retry
        self.stop = stop
        self.status = status
        self.retry_after = retry_after


class Client(Protocol):
    """What a teacher component returns."""

    async def reply(self, request: Request) -> Reply:
        """Answer one request. CallFailed where there is no answer."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...
