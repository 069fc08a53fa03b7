"""Bodies of responses: whatever a server sends is a completion or has a reason why it is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alchemist_runtime.calls.completion import NoAnswer, count, read
from hypothesis import example, given
from hypothesis import strategies as st

WORDS = (
    "choices",
    "message",
    "delta",
    "content",
    "text",
    "finish_reason",
    "error",
    "code",
    "usage",
    "refusal",
    "object",
    "reasoning",
    "thinking",
    "tool_calls",
    "function",
    "type",
    "index",
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans(), st.booleans())
@example({"choices": [{"message": {"content": "\ud83d"}, "finish_reason": "\ud83d"}]}, False, False)
@example({"choices": {"message": 1}, "error": {"code": float("inf")}}, False, True)
@example({"choices": [{"message": {"tool_calls": [{"function": {}}]}}]}, True, False)
def test_any_json_is_a_completion_or_says_why_not(value: Any, choice: bool, stream: bool) -> None:
    body = json.dumps({"choices": [value]} if choice else value)
    judge((f"data: {body}\n\ndata: {body}\n\n" if stream else body).encode())


@given(st.binary(max_size=60))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"data: {\n\ndata: []\n\n")
def test_any_bytes_are_a_completion_or_say_why_not(content: bytes) -> None:
    judge(content)


def judge(content: bytes) -> None:
    try:
        made = read(content)
    except NoAnswer as none:
        assert none.reason
        none.reason.encode()
        assert none.status is None or 400 <= none.status < 600
    else:
        assert made.finish
        made.text.encode()
        (made.reasoning or "").encode()
        made.finish.encode()


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        (
            {"error": {"code": 502, "message": "upstream broke"}, "message": {"content": ""}},
            "the server says 502: upstream broke",
        ),
        ({"message": {"content": None, "thinking": "so"}}, "it holds nothing but reasoning: so"),
        ({"message": {"content": {"text": "x"}}}, "the server's answer has no text: "),
    ],
)
def test_a_choice_without_an_answer(choice: dict[str, Any], why: str) -> None:
    with pytest.raises(NoAnswer) as e:
        read(json.dumps({"choices": [choice]}).encode())
    assert e.value.reason.startswith(why)


def test_a_tool_that_is_called_is_no_answer() -> None:
    for message in ({"function_call": {"name": "look"}}, {"tool_calls": [{"function": {"name": "look"}}]}):
        made = read(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode())
        assert (made.text, made.finish) == ("it calls the tool look", "tool_calls")


def test_a_stream_that_breaks_off_did_not_stop() -> None:
    events = [{"choices": [{"delta": {"content": c}}]} for c in ("half ", "an")]
    made = read("".join(f"data: {json.dumps(e)}\n\n" for e in events).encode())
    assert (made.text, made.finish) == ("half an", "broken stream")


def test_characters_that_are_no_utf_8() -> None:
    body = b'{"choices": [{"message": {"content": "na\xefve \xe2\x82\xac \xf0\x9f\x98"}}]}'
    assert read(body).text == "naïve € \ufffd"


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        (12, 12),
        ("12", 12),
        (3.0, 3),
        (0, 0),
        (-5, None),
        (True, None),
        (None, None),
        ("", None),
        (float("nan"), None),
        (1e300, None),
    ],
)
def test_numbers_of_tokens(value: Any, tokens: int | None) -> None:
    assert count(value) == tokens
