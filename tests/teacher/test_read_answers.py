"""Answers: the schema that is asked for, and what is read or refused."""

from __future__ import annotations

from typing import Any

import pytest
from alchemist_runtime.answers import Unreadable, in_words, read, schema

OUTPUTS = {
    "correctness": "int(0..10)",
    "kind": 'enum("bug", "style, or form")',
    "suggestions": "list<text>",
    "refined": "text?",
    "spot": "record<line: int, why: text>",
    "sure": "prob",
}
GOOD: dict[str, Any] = {
    "correctness": 7,
    "kind": "style, or form",
    "suggestions": ["a", "b"],
    "refined": None,
    "spot": {"line": 3, "why": "x"},
    "sure": 0.5,
}


def text(**changed: Any) -> str:
    import json

    made = {k: v for k, v in {**GOOD, **changed}.items() if v is not ...}
    return json.dumps(made)


def test_a_fitting_object_is_read() -> None:
    assert read(text(), OUTPUTS) == GOOD
    assert read(text(refined=...), OUTPUTS) == GOOD
    assert read(text(extra=1), OUTPUTS) == GOOD
    assert read(text(correctness=7.0), OUTPUTS) == GOOD


@pytest.mark.parametrize("wrap", ["```json\n%s\n```", "Here it is:\n\n```\n%s\n```\nThat is all."])
def test_one_fence_around_the_object_is_taken_off(wrap: str) -> None:
    assert read(wrap % text(), OUTPUTS) == GOOD


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (text(correctness=11), "`correctness` is 11, not a whole number, at least 0, at most 10"),
        (text(correctness=7.5), "`correctness` is 7.5"),
        (text(correctness=True), "`correctness` is true"),
        (text(correctness="7"), '`correctness` is "7"'),
        (text(correctness=10**30), "`correctness` is"),
        (text(correctness=...), "`correctness` is missing"),
        (text(kind="other"), '`kind` is "other", not one of'),
        (text(kind=["bug"]), "`kind` is"),
        (text(suggestions="a"), "`suggestions` is a text, not a list"),
        (text(suggestions=["a", 2]), "`suggestions[1]` is a number, not a text"),
        (text(spot={"line": 1}), "`spot.why` is missing"),
        (text(sure=1.5), "`sure` is 1.5"),
        (text(sure=None), "`sure` is null"),
        ("[1]", "it is a list, not a JSON object"),
        ("Sorry, I cannot.", "it is not JSON"),
        ('{"correctness": 7', "it is not JSON"),
        ("```json\n{}\n```\n```json\n{}\n```", "it is not JSON"),
        ("```json\nno\n```", "its fenced block is not JSON"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(reply: str, why: str) -> None:
    with pytest.raises(Unreadable) as e:
        read(reply, OUTPUTS)
    assert why in str(e.value)


def test_empty_cut_and_filtered_answers_are_refused() -> None:
    for reply, finish, why in [
        ("  ", "stop", "empty"),
        ("half an", "length", "max_tokens"),
        ("x", "content_filter", "filter"),
    ]:
        with pytest.raises(Unreadable, match=why):
            read(reply, {"prompt": "text"}, finish)


def test_numbers_that_are_none() -> None:
    for reply in ('{"x": 1e999}', '{"x": NaN}', '{"x": Infinity}'):
        with pytest.raises(Unreadable):
            read(reply, {"x": "real"})


def test_json_and_turns() -> None:
    outputs = {"any": "json", "talk": "messages"}
    reply = '{"any": {"b": [1, null]}, "talk": [{"role": "user", "content": "hi", "name": "z"}]}'
    assert read(reply, outputs) == {
        "any": '{"b":[1,null]}',
        "talk": [{"role": "user", "content": "hi", "extra": '{"name":"z"}'}],
    }


def test_the_schema_says_the_same() -> None:
    made = schema(OUTPUTS)
    assert made["required"] == list(OUTPUTS)
    assert made["additionalProperties"] is False
    assert made["properties"]["correctness"] == {"type": "integer", "minimum": 0, "maximum": 10}
    assert made["properties"]["refined"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert made["properties"]["kind"]["enum"] == ["bug", "style, or form"]
    assert "- correctness: a whole number, at least 0, at most 10" in in_words(OUTPUTS)


@pytest.mark.parametrize(
    ("sent", "bare"),
    [
        ("    total = 0\n    return total\n", "    total = 0\n    return total"),
        ("\n  \n\tif x:\n\t\ty = 1\n", "\tif x:\n\t\ty = 1"),
        ("    return x", "return x"),
        (" Yes.\r\n", "Yes."),
        ("\n\nYes. \n\n", "Yes."),
        ("Yes.", "Yes."),
        ("  Use {braces} and ```fences```.\n", "Use {braces} and ```fences```."),
    ],
)
def test_a_plain_answer_is_what_was_sent(sent: str, bare: str) -> None:
    assert read(sent, {"answer": "text"}) == {"answer": sent}
    assert read(sent, {"answer": "text?"}) == {"answer": sent}
    assert read(sent, {"answer": "text"}, bare=True) == {"answer": bare}


@pytest.mark.parametrize("sent", ["", " ", "\n\t \n"])
def test_white_space_alone_is_no_answer(sent: str) -> None:
    for bare in (False, True):
        with pytest.raises(Unreadable, match="it is empty"):
            read(sent, {"answer": "text"}, bare=bare)
