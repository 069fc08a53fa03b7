"""The echo teacher: the last message of the user said back, every other value the first of its type, no price, no key."""

from __future__ import annotations

import asyncio

import pytest
from alchemist_runtime.calls.answers import read
from alchemist_runtime.calls.teacher import Request, call_key
from alchemist_runtime.schema import catalog, plan

SPEC = plan.Teacher(name="mirror", provider="echo")
TURNS = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is two and two?"},
    {"role": "assistant", "content": "Four."},
    {"role": "user", "content": "And three?\n"},
)


def ask(outputs: dict[str, str], messages=TURNS, **more) -> str:
    client = catalog.find("teachers", "echo").function(SPEC)
    reply = asyncio.run(client.reply(Request(b"k" * 24, tuple(messages), {"q": "other"}, outputs, **more)))
    assert (reply.tokens_in, reply.tokens_out, reply.ending) == (0, 0, "whole")
    return reply.text


def test_a_text_is_the_last_message_of_the_user_as_it_stands() -> None:
    assert ask({"answer": "text"}) == "And three?\n"
    assert ask({"answer": "text"}, TURNS[:1]) == ""


def test_an_answer_that_was_begun_goes_on_with_it() -> None:
    begun = (*TURNS, {"role": "assistant", "content": "Well: "})
    assert ask({"answer": "text"}, begun, continues=True) == "Well: And three?\n"


@pytest.mark.parametrize(
    "type_, value",
    [
        ("text", "And three?\n"),
        ("int", 0),
        ("int(3..10)", 3),
        ("int(..-2)", -2),
        ("int(..5)", 0),
        ("real(0.5..1)", 0.5),
        ("prob", 0.0),
        ("bool", False),
        ('enum("good","bad")', "good"),
        ("list<text>", []),
        ("record<why: text, mark: int(1..5)>", {"why": "And three?\n", "mark": 1}),
        ("json", '"And three?\\n"'),
        ("text?", "And three?\n"),
    ],
)
def test_every_type_gets_a_value_that_is_read_back(type_: str, value: object) -> None:
    outputs = {"first": type_, "second": "text"}
    assert read(ask(outputs), outputs) == {"first": value, "second": "And three?\n"}


def test_the_only_probability_is_read_back() -> None:
    assert read(ask({"p": "prob"}), {"p": "prob"}) == {"p": 0.0}


def test_turns_are_a_conversation_of_one() -> None:
    outputs = {"talk": "messages", "more": "text"}
    (turn,) = read(ask(outputs), outputs)["talk"]
    assert (turn["role"], turn["content"]) == ("user", "And three?\n")


def test_it_is_offline_and_reads_messages_while_the_rules_read_inputs() -> None:
    assert [n for n in catalog.names("teachers") if catalog.offline(n)] == ["echo", "rules"]
    origins = {n: catalog.origin(n) for n in (*catalog.names("teachers"), "nobodys")}
    assert origins == {
        "echo": "messages",
        "nobodys": "server",
        "openai": "server",
        "replay": "recording",
        "rules": "inputs",
        "transformers": "model",
    }

    def key(provider: str, inputs: dict[str, str]) -> bytes:
        spec = plan.Teacher(name="t", provider=provider, identity_key="b2:1")
        return call_key(spec, TURNS, {"answer": "text"}, 0, inputs=inputs)

    assert key("echo", {"q": "a"}) == key("echo", {"q": "b"}) == key("openai", {"q": "a"})
    assert key("rules", {"q": "a"}) != key("rules", {"q": "b"})
