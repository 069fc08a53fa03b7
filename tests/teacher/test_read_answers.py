"""Answers: the schema that is asked for, and what is read or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alchemist_runtime.calls.answers import Unreadable, describe_format, read, schema
from hypothesis import given
from hypothesis import strategies as st

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
        ("```json\n{}\n```\n```json\n{}\n```", "`correctness` is missing"),
        ("```json\nno\n```", "it is not JSON"),
        (f"{text()} or {text(correctness=8)}", "it holds 2 JSON objects that fit and differ"),
        (f'{{"draft": {text()}', "it is not JSON"),
        (f'{{"draft": {text()}}}', "`correctness` is missing"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(reply: str, why: str) -> None:
    with pytest.raises(Unreadable) as e:
        read(reply, OUTPUTS)
    assert why in str(e.value)


THOUGHT = "Let me see: {a, b} or {braces}…\n</think>\n\n"
FENCED = 'print("```json\\n{}\\n```")'


@pytest.mark.parametrize(
    "wrap",
    [
        "\ufeff%s",
        "Sure! Here is the JSON: %s\nHope that helps {smile}.",
        '<think>maybe {}\nor {"x": 1}</think>%s',
        THOUGHT + "```json\n%s\n```",
        "```jsonc\n// the answer\n%s // done\n```",
        "```\n%s",
        "~~~json\n%s\n~~~",
        "   ```JSON \n\n%s```",
        "Draft:\n```python\nx = {1: 2}\n```\nFinal:\n```json\n%s\n```",
        'I first thought {"correctness": 99}, but: %s',
        "%s\n\nOnce more:\n\n%s",
    ],
)
@pytest.mark.parametrize("why", ["plain", FENCED, 'quotes " and } and // and /* and ,]', "é\u2028😀"])
def test_json_is_found_where_models_put_it(wrap: str, why: str) -> None:
    spot = {"line": 3, "why": why}
    made = text(spot=spot)
    assert read(wrap.replace("%s", made), OUTPUTS) == {**GOOD, "spot": spot}


@pytest.mark.parametrize(
    "sloppy",
    [
        '{"n": 1, "t": "a", "l": ["b", "c",],}',
        '{\n  // how many\n  "n": 1, /* the text */ "t": "a",\n  "l": ["b", "c"], // both\n}',
        '{"n": 1.0, "t": "a", "l": ["b",\n"c"]}',
    ],
)
def test_json_that_is_not_quite_json(sloppy: str) -> None:
    outputs = {"n": "int", "t": "text", "l": "list<text>"}
    for reply in (sloppy, f"```json\n{sloppy}\n```", f"So: {sloppy}."):
        assert read(reply, outputs) == {"n": 1, "t": "a", "l": ["b", "c"]}


def test_raw_line_breaks_in_strings_are_kept() -> None:
    reply = '{"code": "def f():\n\treturn \\"x, ]\\"\n", "n": 1,}'
    assert read(reply, {"code": "text", "n": "int"}) == {"code": 'def f():\n\treturn "x, ]"\n', "n": 1}


def test_fields_may_have_any_name() -> None:
    names = ("json", "copy", "schema", "model_config", "_x", "class", "self", "title", "const")
    outputs = dict.fromkeys(names, "text?")
    assert read('{"json": "a", "title": "b"}', outputs) == {**dict.fromkeys(names), "json": "a", "title": "b"}
    assert list(schema(outputs)["properties"]) == schema(outputs)["required"] == list(names)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    st.text(),
    st.sampled_from(["%s", "```json\n%s\n```", "Here: %s, as asked", "<think>{</think>%s"]),
    st.booleans(),
)
def test_what_was_written_is_read(value: Any, said: str, wrap: str, raw: bool) -> None:
    """Whatever an object holds, and however it is wrapped, its values come back as they were written."""
    written = json.dumps({"any": value, "said": said}, ensure_ascii=not raw)
    found = read(wrap.replace("%s", written), {"any": "json?", "said": "text"})
    assert found["said"] == said
    assert (found["any"] is None) == (value is None)
    assert json.loads(found["any"] or "null") == value


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


@pytest.mark.parametrize("value", ["null", "true", '"1"', "1e999", "9223372036854775808", "[1]", "NaN"])
def test_numbers_are_numbers(value: str) -> None:
    for type_ in ("int", "real(0..5)", "percent", "json") if value == "null" else ("int", "real(0..5)"):
        with pytest.raises(Unreadable):
            read(f'{{"x": {value}}}', {"x": type_})


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
    assert made["properties"]["kind"] == {"type": "string", "enum": ["bug", "style, or form"]}
    assert made["properties"]["sure"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert made["properties"]["suggestions"] == {"type": "array", "items": {"type": "string"}}
    assert made["properties"]["spot"] == {
        "type": "object",
        "properties": {"line": {"type": "integer"}, "why": {"type": "string"}},
        "required": ["line", "why"],
        "additionalProperties": False,
    }
    more = schema({"one": 'enum("a")?', "any": "json", "talk": "messages", "r": "list<record<a: int?>>"})
    assert more["properties"]["one"] == {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}
    assert more["properties"]["any"] == {}
    assert more["properties"]["talk"]["items"]["required"] == ["role", "content"]
    assert "$" not in json.dumps(more)
    assert "title" not in json.dumps(more)
    assert "- correctness: a whole number, at least 0, at most 10" in describe_format(OUTPUTS)


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
