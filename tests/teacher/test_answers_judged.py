"""What real servers send under the status of an answer: each is data, or refused in the server's words, and none is
bought twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import step_plans as s
from alchemist_runtime.calls.cache import CallCache
from alchemist_runtime.calls.dispatch import ClientPool
from alchemist_runtime.calls.teacher import Reply, ending
from alchemist_runtime.schema import plan as p
from alchemist_runtime.schema.codes import RunError
from asked import call_batch, requests, teacher
from stub import Stub


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemist_runtime.calls.limits.FIRST_PAUSE_SECONDS", 0.01)


def plan_of(stub: Stub, root: Path, marks: list[str], **more: Any) -> p.Plan:
    """A step that answers each of these marks; `answer` becomes `response`."""
    rows = [{"instruction": mark, "response": "old", "n": i} for i, mark in enumerate(marks)]
    outputs = more.pop("outputs", {"answer": "text"})
    sets = [p.SetColumn(column="response", type="text", expr=["out", "answer"]), *more.pop("sets", [])]
    spec = s.step(
        "generate", mode="only", sets=sets, max_failed="1", inputs={"instruction": ["col", "instruction"]}, **more
    )
    nodes = [("a", [], s.source(rows, root)), ("g", [("a", "rows", "from")], spec)]
    asked = teacher(stub.base_url, retries=2)
    return s.make_plan(nodes, asked, outputs, user="{{ instruction }}", inputs={"instruction": "text"})


def judged(stub: Stub, root: Path, marks: list[str], **more: Any) -> dict[str, tuple[str, str]]:
    """What became of each mark: ("data", the answer), or (rule, reason)."""
    ctx = s.carry_out(plan_of(stub, root, marks, **more), root)
    found = {r["instruction"]: ("data", r["response"]) for r in s.rows(ctx, "g")}
    lost = {r["instruction"]: (r["rule"], r["reason"]) for r in s.rows(ctx, "g", "dropped")}
    assert not found.keys() & lost.keys()
    assert found.keys() | lost.keys() == set(marks)
    return {**found, **lost}


#: Behaviour of the server -> what becomes of the row: its answer, or the rule and its reason.
WHOLE = {
    "[[b=ok]]": "re: [[b=ok]]",
    "[[b=text:    indented\\n]]": "    indented\n",
    "[[b=parts]]": "re: [[b=parts]]",
    "[[b=think]]": "re: [[b=think]]",
    "[[b=thinkopen]]": "re: [[b=thinkopen]]",
    "[[b=finish:eos]]": "re: [[b=fini",
    "[[b=finish:STOP]]": "re: [[b=fini",
    "[[b=finish:end_turn]]": "re: [[b=fini",
    "[[b=finish:stop_sequence]]": "re: [[b=fini",
    "[[b=finish:]]": "re: [[b=fini",
    "[[b=badutf8]]": "cafée",
    "[[b=surrogate]]": "smile \ufffd end",
    "[[b=nan]]": "re: [[b=nan]]",
    "[[b=sse]]": "re: [[b=sse]]",
    "[[b=stream]]": "re: [[b=stream]]",
    "[[b=created]]": "re: [[b=created]]",
    "[[b=long:300000]]": "x" * 300_000,
    '[[b=raw:{"choices":[{"text":"hello from completions"}&rsqb;}]]': "hello from completions",
    '[[b=raw:{"choices":[{"message":{"content":"x"}}&rsqb;,"usage":{"prompt_tokens":-5,"completion_tokens":"3"}}]]': "x",
    '[[b=raw:{"error":null,"choices":[{"message":{"content":["a",{"type":"text","text":"b"}&rsqb;}}&rsqb;}]]': "ab",
}
UNREADABLE = {
    "[[b=text:]]": "it is empty",
    "[[b=emptychoices]]": 'the server\'s answer has no choice: {"id": "x"',
    "[[b=nullcontent]]": "it holds nothing but reasoning: I think the answer is 42.",
    "[[b=text:<think>on and on]]": "it holds nothing but reasoning: on and on",
    "[[b=finish:length]]": "it was cut off at `max_tokens`",
    "[[b=finish:max_tokens]]": "it was cut off at `max_tokens` (`max_tokens`)",
    "[[b=finish:MAX_TOKENS]]": "it was cut off at `max_tokens` (`MAX_TOKENS`)",
    "[[b=finish:model_length]]": "it was cut off at `max_tokens` (`model_length`)",
    "[[b=finish:content_filter]]": "the provider's content filter stopped it",
    "[[b=finish:SAFETY]]": "the provider's content filter stopped it (`SAFETY`)",
    "[[b=finish:recitation]]": "the provider's content filter stopped it (`recitation`)",
    "[[b=refusal]]": "the model refuses: I'm sorry, I can't help with that.",
    '[[b=raw:{"choices":null}]]': 'the server\'s answer has no choice: {"choices": null}',
    '[[b=raw:{"choices":[{"message":null}&rsqb;}]]': "the server's answer has no text: ",
    '[[b=raw:{"choices":[{"message":{"content":"","reasoning":"text here"}}&rsqb;}]]': "it holds nothing but reasoning: text here",
    "[[b=raw:[&rsqb;]]": "the server's answer is no chat completion: []",
    "[[b=raw:null]]": "the server's answer is no chat completion: null",
}
FAILED = {
    "[[b=finish:abort]]": "the answer ended with `abort`: re: [[b=fini",
    "[[b=finish:error]]": "the answer ended with `error`: re: [[b=fini",
    "[[b=finish:insufficient_system_resource]]": "the answer ended with `insufficient_system_resource`",
    "[[b=finish:tool_calls]]": "the answer ended with `tool_calls`: re: [[b=fini",
    "[[b=toolcalls]]": "the answer ended with `tool_calls`: it calls the tool answer",
    "[[b=html]]": "the server's answer is no chat completion: <html><body>Please log in</body></html>",
    "[[b=raw:[]]": "the server's answer is no chat completion: [",
    "[[b=err200:400]]": "the server says 400: Insufficient credits",
    "[[b=err200:429]]": "the server says 429: Insufficient credits",
}
#: Errors under the status of an answer that may pass: what the server says, asked again as often as `retries` says.
PASSING = {'[[b=raw:{"object":"error","message":"model broke","code":503}]]': "the server says 503: model broke"}


def test_every_answer_of_a_server_is_data_or_refused_in_its_words(stub: Stub, tmp_path: Path) -> None:
    marks = [*WHOLE, *UNREADABLE, *FAILED, *PASSING]
    found = judged(stub, tmp_path, marks)
    assert {m: found[m] for m in WHOLE} == {m: ("data", text) for m, text in WHOLE.items()}
    for expected, rule in ((UNREADABLE, "unreadable"), (FAILED, "call_failed"), (PASSING, "call_failed")):
        for mark, reason in expected.items():
            assert found[mark][0] == rule, mark
            assert found[mark][1].startswith(reason), found[mark]
            said = reason.rpartition(": ")[2]
            assert not said or found[mark][1].count(said) == 1, found[mark]
    asked = {m: len(stub.requests(q=m)) for m in marks}
    assert asked == {m: 3 if m in PASSING else 1 for m in marks}


def test_what_was_paid_is_never_bought_again(stub: Stub, tmp_path: Path) -> None:
    """A second run after the first one's results were lost asks only what broke off or was no answer of a model."""
    marks = [*WHOLE, *UNREADABLE, *FAILED]
    first = judged(stub, tmp_path, marks)
    stub.reset()
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / ".alchemist").mkdir()
    (tmp_path / ".alchemist" / "calls.sqlite").rename(tmp_path / "again" / ".alchemist" / "calls.sqlite")
    assert judged(stub, tmp_path / "again", marks) == first
    assert {h["q"] for h in stub.hist} == set(FAILED)


def test_an_answer_that_broke_off_in_an_older_cache_is_no_data(
    stub: Stub, pool: Callable[..., ClientPool], tmp_path: Path
) -> None:
    spec = teacher(stub.base_url)
    asked = requests(spec, ["one", "two", "three"])
    cache = CallCache(tmp_path / ".alchemist" / "calls.sqlite")
    for request, finish in zip(asked, ("abort", "MAX_TOKENS", "stop"), strict=True):
        cache.put(request.call_key, Reply("half an ans", 1, 1, finish))
    cache.close()
    made = pool()
    assert made.cache.known([r.call_key for r in asked]) == {r.call_key for r in asked[1:]}
    told = call_batch(made, spec, 3)
    outcomes = made.ask(told, asked)
    assert [o.reply.text for o in outcomes if o.reply] == ["re: one", "half an ans", "half an ans"]
    assert [h["q"] for h in stub.hist] == ["one"]
    assert told.call_stats.cached == 2
    again = made.ask(call_batch(made, spec, 3), asked)
    assert [o.cached for o in again] == [True] * 3
    made.close()
    assert CallCache(tmp_path / ".alchemist" / "calls.sqlite").verify() == (3, [])


def test_tokens_of_an_answer_that_broke_off_are_counted(stub: Stub, pool: Callable[..., ClientPool]) -> None:
    made, spec = pool(), teacher(stub.base_url)
    told = call_batch(made, spec, 1, max_failed=1)
    [outcome] = made.ask(told, requests(spec, ["[[b=finish:abort]]"]))
    assert (outcome.kind, told.call_stats.failed) == ("broken", 1)
    assert (told.call_stats.new_tokens_in, told.call_stats.new_tokens_out) == (stub.stats()["in"], stub.stats()["out"])
    assert told.account.ledgers[1].spent == 0 or told.account.known


def test_reasoning_is_a_field_of_its_own(stub: Stub, tmp_path: Path) -> None:
    held = {
        "[[b=ok]]": None,
        "[[b=think]]": "Let me think about it. The user wants something.",
        "[[b=thinkopen]]": "Let me think about it. The user wants something.",
        "[[b=parts]]": "hm",
        "[[b=text:<think></think>yes]]": "",
        "[[b=text:The tag </think> closes it.]]": None,
        '[[b=raw:{"choices":[{"message":{"content":"x","reasoning_content":"so"}}&rsqb;}]]': "so",
    }
    sets = [p.SetColumn(column="thought", type="text?", expr=["out", "reasoning"])]
    for root in (tmp_path / "asked", tmp_path / "cached"):
        root.mkdir()
        if root.name == "cached":
            stub.reset()
            (root / ".alchemist").mkdir()
            (tmp_path / "asked/.alchemist/calls.sqlite").rename(root / ".alchemist/calls.sqlite")
        ctx = s.carry_out(plan_of(stub, root, list(held), sets=sets), root)
        rows = {r["instruction"]: r for r in s.rows(ctx, "g")}
        assert {m: r["thought"] for m, r in rows.items()} == held
        assert rows["[[b=text:The tag </think> closes it.]]"]["response"] == "The tag </think> closes it."
        assert {tuple(t["out"]) for t in s.rows(ctx, "g", "trace")} == {("answer",)}
    assert stub.hist == []


def test_a_prompt_s_own_reasoning_stays_its_own(stub: Stub, tmp_path: Path) -> None:
    said = '<think>hm</think>{"reasoning": "mine", "answer": "x"}'
    sets = [p.SetColumn(column="thought", type="text?", expr=["out", "reasoning"])]
    outputs = {"reasoning": "text", "answer": "text"}
    mark = f"[[b=text:{said}]]"
    ctx = s.carry_out(plan_of(stub, tmp_path, [mark], sets=sets, outputs=outputs), tmp_path)
    assert [(r["thought"], r["response"]) for r in s.rows(ctx, "g")] == [("mine", "x")]


def test_reasoning_that_is_sent_apart_survives_the_cache(tmp_path: Path) -> None:
    reply = Reply("x", 1, 2, "stop", "so")
    cache = CallCache(tmp_path / "c.sqlite")
    cache.put(b"k" * 24, reply)
    cache.close()
    again = CallCache(tmp_path / "c.sqlite")
    assert again.get_many([b"k" * 24]) == {b"k" * 24: reply}
    again.close()
    with sqlite3.connect(tmp_path / "c.sqlite") as db:
        db.execute("UPDATE answers SET reasoning = 'no'")
    worn = CallCache(tmp_path / "c.sqlite")
    assert worn.get_many([b"k" * 24]) == {}
    assert worn.damaged == {b"k" * 24}
    worn.close()


def test_endings() -> None:
    words = {
        "whole": "stop STOP eos end_turn stop_sequence COMPLETE eos_token",
        "cut": "length max_tokens MAX_TOKENS model_length max_output_tokens",
        "filtered": "content_filter SAFETY recitation refusal BLOCKLIST sensitive",
        "broken": "abort error insufficient_system_resource tool_calls function_call network_error other",
    }
    for kind, named in words.items():
        assert {ending(w) for w in named.split()} == {kind}


def test_a_body_without_an_answer_is_read_again_by_a_better_reader(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = '[[b=raw:{"choices":[{"message":{"words":"hello"}}&rsqb;}]]'
    assert judged(stub, tmp_path, [mark])[mark][0] == "unreadable"
    from alchemist_runtime.calls import completion

    def better(content: bytes) -> completion.Completion:
        return completion.Completion(json.loads(content)["choices"][0]["message"]["words"], "stop")

    monkeypatch.setattr(completion, "read", better)
    (tmp_path / "again" / ".alchemist").mkdir(parents=True)
    (tmp_path / ".alchemist/calls.sqlite").rename(tmp_path / "again/.alchemist/calls.sqlite")
    assert judged(stub, tmp_path / "again", [mark])[mark] == ("data", "hello")
    assert len(stub.hist) == 1


def test_a_structured_answer_is_asked_for_in_words_and_found_where_it_stands(stub: Stub, tmp_path: Path) -> None:
    fits = '[[b=text:<think>so</think>Here:\\n```json\\n{"answer": "```a```", "score": 7,}\\n```]]'
    outside = '[[b=text:{"answer": "x", "score": 11}]]'
    none = "[[b=text:I would rather not.]]"
    outputs = {"answer": "text", "score": "int(0..10)"}
    found = judged(stub, tmp_path, [fits, outside, none], outputs=outputs)
    assert found[fits] == ("data", "```a```")
    why = "`score` is 11, not a whole number, at least 0, at most 10"
    assert found[outside] == ("unreadable", f'{why}; it says: {{"answer": "x", "score": 11}}')
    assert found[none] == ("unreadable", "it is not JSON; it says: I would rather not.")
    for body in stub.bodies:
        assert "- score: a whole number, at least 0, at most 10" in body["messages"][-1]["content"]
        assert body["response_format"]["json_schema"]["strict"] is True


def useless(stub: Stub, root: Path, bad: range, n: int, limit: str = "1/20") -> RunError | None:
    """What stops a step of `n` rows whose answers of these numbers are cut; answers come in the order of the rows."""
    marks = [f"[[b=finish:length]] {i}" if i in bad else f"[[b=text:yes]] {i}" for i in range(n)]
    rows = [{"instruction": m, "response": "old"} for m in marks]
    sets = [p.SetColumn(column="response", type="text", expr=["out", "answer"])]
    spec = s.step("generate", mode="only", sets=sets, max_failed=limit, inputs={"instruction": ["col", "instruction"]})
    price = p.Price(input="0", output="1/1000")
    asked = teacher(stub.base_url, concurrency=1, price=price)
    nodes = [("a", [], s.source(rows, root)), ("g", [("a", "rows", "from")], spec)]
    plan = s.make_plan(nodes, asked, {"answer": "text"}, user="{{ instruction }}", inputs={"instruction": "text"})
    try:
        s.carry_out(plan, root)
    except RunError as stopped:
        return stopped
    return None


def test_what_is_refused_still_is_asked_again_once_a_run(stub: Stub, pool: Any) -> None:
    """Also where an equal question comes later, in another part of the step or in another step."""
    spec = teacher(stub.base_url)
    questions = requests(spec, ["[[b=text:]]", "[[b=ok]]"])
    first = pool()
    first.ask(call_batch(first, spec, 2), questions)
    assert len(stub.hist) == 2
    again = pool()
    for asked in (3, 3):
        judging = call_batch(again, spec, 2, retry_refused=True, unusable=lambda r: None if r.text else "it is empty")
        assert [o.reply and o.reply.text for o in again.ask(judging, questions)] == ["", "re: [[b=ok]]"]
        assert len(stub.hist) == asked


def test_useless_answers_stop_the_step_and_one_is_shown(stub: Stub, tmp_path: Path) -> None:
    stopped = useless(stub, tmp_path, range(500), 500)
    assert stopped is not None
    assert (stopped.problem.code, stopped.exit_code) == ("A719", 3)
    assert "20 of the first 20 answers to `g` cannot be used, more than the 5% that" in stopped.problem.headline
    assert stopped.problem.note == "it was cut off at `max_tokens`; the answer, whole:\nre: [[b=fini"
    assert "480 more answers were to come and cost about $1.44" in (stopped.problem.help or "")
    assert "the 20 answers so far are kept" in (stopped.problem.help or "")
    assert len(stub.hist) == 20
    useless(stub, tmp_path, range(500), 500)
    assert (len(stub.hist), stub.stats()["paid_twice"]) == (40, 0)


@pytest.mark.parametrize(
    ("bad", "n", "limit", "asked"),
    [
        (range(1), 60, "1/20", 60),  # one of 20 is 5%, no more
        (range(2), 60, "1/20", 20),
        (range(19, 24), 60, "1/20", 60),  # too late for the first 20, too few for the last 20
        (range(19, 60), 60, "1/20", 25),  # 6 of the last 20
        (range(60, 90), 500, "1/20", 66),
        (range(60, 390, 15), 500, "1/20", 400),  # 22 of 400
        (range(5), 60, "1/4", 60),
        (range(6), 60, "1/4", 20),
        (range(70, 96), 200, "1/4", 91),  # 21 of the last 80
        (range(20), 20, "1/20", 20),  # nothing is left to save
        (range(60), 60, "1", 60),
    ],
)
def test_when_useless_answers_stop_a_step(
    stub: Stub, tmp_path: Path, bad: range, n: int, limit: str, asked: int
) -> None:
    stopped = useless(stub, tmp_path, bad, n, limit)
    assert len(stub.hist) == asked
    assert (stopped is None) == (asked == n)
