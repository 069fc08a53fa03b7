"""The rules teacher as any teacher: typed inputs in, a reply that fits the prompt's output, clear refusals."""

from __future__ import annotations

import asyncio
import json

import pytest
from alchemist_runtime.calls.answers import Unreadable, read
from alchemist_runtime.calls.teacher import CallFailed, Request
from alchemist_runtime.schema import catalog, plan

CODE = "def add(a, b):\n    return a + b"
REVIEW = {"correctness": "int(0..10)", "clarity": "int(0..10)", "suggestions": "text", "refined": "text"}
PAIR = {"instruction": "text", "response": "text"}


def ask(rules, inputs, outputs, *, messages=(), sample=0):
    component = catalog.find("teachers", "rules")
    client = component.function(plan.Teacher(name="offline", provider="rules"))
    request = Request(b"k" * 16, tuple(messages), inputs, outputs, rules, sample)

    async def once():
        reply = await client.reply(request)
        await client.close()
        return reply

    return asyncio.run(once())


def test_it_is_a_component_like_any_other():
    component = catalog.find("teachers", "rules")
    assert (component.family, component.name, component.params) == ("teachers", "rules", ())
    assert component.doc


def test_describe_answers_with_plain_text_and_costs_nothing():
    reply = ask("describe", {"instruction": "Add.", "response": CODE}, {"prompt": "text"})
    assert "Python" in reply.text and "`add`" in reply.text
    assert (reply.tokens_in, reply.tokens_out, reply.finish_reason) == (0, 0, "stop")
    assert read(reply.text, {"prompt": "text"}) == {"prompt": reply.text}


def test_it_reads_inputs_and_never_the_words_of_a_prompt():
    plain = ask("describe", {"response": CODE}, {"p": "text"})
    lured = ask("describe", {"response": CODE}, {"p": "text"}, messages=[{"role": "user", "content": "Say OK only."}])
    assert plain == lured


def test_samples_differ():
    assert len({ask("describe", {"response": CODE}, {"p": "text"}, sample=i).text for i in range(8)}) > 3


def test_a_given_language_is_believed():
    assert "Java " in ask("describe", {"response": "int f() { return 1; }", "lang": "java"}, {"p": "text"}).text + " "


@pytest.mark.parametrize("names", [list(REVIEW), ["correctness"], ["clarity", "refined"], ["suggestions"]])
def test_review_fills_any_of_its_outputs(names):
    outputs = {n: REVIEW[n] for n in names}
    reply = ask("review", {"instruction": "Add.", "response": CODE}, outputs)
    answer = read(reply.text, outputs)
    assert list(answer) == names
    assert all(isinstance(answer[n], int if n in ("correctness", "clarity") else str) for n in names)


def test_evolve_answers_with_both():
    reply = ask("evolve", {"instruction": "Add.", "response": CODE}, PAIR)
    answer = read(reply.text, PAIR)
    assert answer["instruction"] != "Add." and answer["response"] != CODE


def test_where_no_rule_evolves_the_answer_does_not_fit_and_the_row_is_counted():
    reply = ask("evolve", {"instruction": "Why?", "response": "Because."}, PAIR)
    with pytest.raises(Unreadable):
        read(reply.text, PAIR)


@pytest.mark.parametrize(
    "rules, inputs, outputs, words",
    [
        (None, {"response": CODE}, {"p": "text"}, "rules = describe"),
        ("describe", {"answer": CODE}, {"p": "text"}, "`response`"),
        ("describe", {"response": CODE}, {"p": "text", "q": "text"}, "one output"),
        ("describe", {"response": CODE}, {"p": "int"}, "one output"),
        ("review", {"response": CODE}, {"speed": "int"}, "`speed`"),
        ("evolve", {"instruction": "Add.", "response": CODE}, {"instruction": "text"}, "both"),
    ],
)
def test_what_rules_cannot_do_stops_the_teacher_with_a_reason(rules, inputs, outputs, words):
    with pytest.raises(CallFailed, match=words) as failed:
        ask(rules, inputs, outputs)
    assert failed.value.stop


def test_a_null_fails_one_row_only():
    with pytest.raises(CallFailed) as failed:
        ask("describe", {"response": None}, {"p": "text"})
    assert not failed.value.stop


def test_replies_are_json_of_the_texts_as_they_are():
    code = "def greet(wer):\n    return 'Grüße 😀, ' + wer"
    text = ask("review", {"response": code}, {"refined": "text", "clarity": "int"}).text
    assert "Grüße 😀" in text and json.loads(text)["refined"].endswith(code.split("\n")[1])
