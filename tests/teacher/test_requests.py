"""What a request says: parameters, further fields, headers, the address; and turns that the model goes on with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import step_plans as s
from alchemist_runtime.calls.cache import CallCache, Origin
from alchemist_runtime.calls.cache_files import Recorded
from alchemist_runtime.calls.dispatch import ClientPool
from alchemist_runtime.calls.teacher import Reply, Request, call_key, whole
from alchemist_runtime.schema import plan as p
from alchemist_runtime.schema.codes import RunError
from asked import call_batch, requests, teacher
from stub import Stub

SECRET = "0a1b2c3d4e5f6071"


def ask(pool: ClientPool, spec: p.Teacher, questions: list[str], **more: Any) -> list[Any]:
    made = requests(spec, questions, more.pop("outputs", None))
    return pool.ask(call_batch(pool, spec, len(made), max_failed=1, **more), made)


def test_parameters_that_are_left_out_are_not_sent(stub: Stub, pool: Any) -> None:
    spec = teacher(stub.base_url, sampling={"max_tokens": 20})
    ask(pool(), spec, ["a"])
    asked = {"model": "m", "messages": [{"role": "user", "content": "a"}], "max_tokens": 20}
    assert stub.bodies == [asked]
    assert stub.hist[0]["path"] == "/v1/chat/completions"


def test_further_fields_an_address_and_headers(stub: Stub, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", SECRET)
    extra = {"top_k": 20, "chat_template_kwargs": {"enable_thinking": False}, "model": "other"}
    spec = teacher(
        stub.base_url,
        sampling={"temperature": "0.7", "max_tokens": 20, "reasoning_effort": "low"},
        extra=extra,
        query={"api-version": "2024-10-21", "a b": "c&d"},
        headers_env={"api-key": "AZURE_KEY"},
    )
    ask(pool(), spec, ["a"])
    told, sent = stub.bodies[0], stub.hist[0]
    assert told == {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
        "temperature": 0.7,
        "max_tokens": 20,
        "reasoning_effort": "low",
        "top_k": 20,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert sent["path"] == "/v1/chat/completions?api-version=2024-10-21&a+b=c%26d"
    assert sent["headers"]["api-key"] == SECRET
    assert "authorization" not in sent["headers"], "no dummy key beside a header of the recipe"


def test_a_header_may_be_the_authorization(stub: Stub, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY", f"Basic {SECRET}")
    ask(pool(), teacher(stub.base_url, headers_env={"authorization": "GATEWAY"}), ["a"])
    assert stub.hist[0]["auth"] == f"Basic {SECRET}"


def test_a_key_and_a_header_go_together(stub: Stub, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "k" * 20)
    monkeypatch.setenv("ORG", SECRET)
    spec = teacher(stub.base_url, api_key_env="KEY", headers_env={"X-Org": "ORG"})
    ask(pool(), spec, ["a"])
    assert (stub.hist[0]["auth"], stub.hist[0]["headers"]["x-org"]) == ("Bearer " + "k" * 20, SECRET)


@pytest.mark.parametrize("value", [None, "", " ", "a\r\nHost: b", "schlüssel"])
def test_a_header_without_a_value_is_said_before_any_call(
    stub: Stub, pool: Any, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("AZURE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("AZURE_KEY", value)
    with pytest.raises(RunError) as e:
        pool().teacher_client(teacher(stub.base_url, headers_env={"api-key": "AZURE_KEY"}))
    problem = e.value.problem
    assert problem.code == "A701" and "`AZURE_KEY`" in problem.headline
    assert "`api-key`" in problem.headline and stub.hist == []
    assert not (value or "").strip() or value not in repr(problem)


@pytest.mark.parametrize("value", [SECRET, f"Token {SECRET}"])
def test_values_of_headers_are_in_no_message(
    stub: Stub, pool: Any, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("AZURE_KEY", value)
    spec = teacher(stub.base_url, headers_env={"api-key": "AZURE_KEY"})
    (outcome,) = ask(pool(), spec, ["[[b=headerecho:api-key]]"])
    assert stub.hist[0]["headers"]["api-key"] == value
    assert "the server says 400: Incorrect: api-key was" in outcome.failure
    assert SECRET not in outcome.failure


def test_headers_do_not_follow_to_another_server(stub: Stub, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", SECRET)
    other = Stub()
    try:
        spec = teacher(stub.base_url, headers_env={"api-key": "AZURE_KEY"}, retries=0)
        (outcome,) = ask(pool(), spec, [f"[[b=redirect:{other.port}]]"])
    finally:
        other.close()
    assert other.hist == [] and "307" in outcome.failure


def test_each_further_answer_has_a_seed_of_its_own(stub: Stub, tmp_path: Path) -> None:
    spec = s.step("generate", mode="only", samples=3, sets=SETS, inputs={"instruction": ["col", "instruction"]})
    asked = teacher(stub.base_url, sampling={"temperature": "1", "max_tokens": 20, "seed": 40})
    made = plan_of(tmp_path, ["a", "b"], asked, spec)
    s.carry_out(made, tmp_path)
    seeds = sorted((b["messages"][-1]["content"], b["seed"]) for b in stub.bodies)
    assert seeds == [(q, 40 + n) for q in ("a", "b") for n in range(3)]


# --- turns that were begun --------------------------------------------------------------------------------------------

SETS = [p.SetColumn(column="response", type="text", expr=["out", "answer"])]
DEF = "def {{ instruction }}("


def plan_of(root: Path, rows: list[str], asked: p.Teacher, spec: p.TeacherStepSpec, **prompt: Any) -> p.Plan:
    given = [{"instruction": r, "response": "old"} for r in rows]
    nodes = [("a", [], s.source(given, root)), ("g", [("a", "rows", "from")], spec)]
    texts = {p.text_digest(t): t for t in prompt.pop("texts", ())}
    outputs = prompt.pop("outputs", {"answer": "text"})
    return s.make_plan(
        nodes, asked, outputs, user="{{ instruction }}", inputs={"instruction": "text"}, texts=texts, **prompt
    )


def begun(stub: Stub, root: Path, rows: list[str], prefill: str, **more: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """The answers by row, and what became of those that were refused."""
    outputs = more.pop("outputs", {"answer": "text"})
    sets = [
        p.SetColumn(
            column="response", type="text", expr=["call", "text", {"x": ["out", n]}] if t != "text" else ["out", n]
        )
        for n, t in outputs.items()
    ]
    spec = s.step("generate", mode="only", sets=sets, max_failed="1", inputs={"instruction": ["col", "instruction"]})
    made = plan_of(
        root,
        rows,
        teacher(stub.base_url, retries=0),
        spec,
        outputs=outputs,
        texts=[prefill],
        prefill=p.text_digest(prefill),
        **more,
    )
    if more.get("turn"):
        made = replace(made, prompts={"ask": replace(made.prompts["ask"], user=None)})
    ctx = s.carry_out(made, root)
    lost = {r["instruction"]: (r["rule"], r["reason"]) for r in s.rows(ctx, "g", "dropped")}
    return {r["instruction"]: r["response"] for r in s.rows(ctx, "g")}, lost


@pytest.mark.parametrize("echo", [False, True])
def test_an_answer_begins_with_its_prefill_once(stub: Stub, tmp_path: Path, echo: bool) -> None:
    stub.control("goeson", "x): return x", echo=echo)
    found, lost = begun(stub, tmp_path, ["f"], DEF)
    assert (found, lost) == ({"f": "def f(x): return x"}, {})
    (body,) = stub.bodies
    assert body["messages"] == [{"role": "user", "content": "f"}, {"role": "assistant", "content": "def f("}]
    assert (body["add_generation_prompt"], body["continue_final_message"]) == (False, True)
    begun(stub, tmp_path, ["f"], DEF)
    assert len(stub.bodies) == 1, "the answer is cached"


def test_a_structured_answer_goes_on_from_its_brace(stub: Stub, tmp_path: Path) -> None:
    stub.control("goeson", '"score": 7}')
    found, lost = begun(stub, tmp_path, ["f"], "{", outputs={"score": "int"})
    assert (found, lost) == ({"f": "7"}, {})
    (body,) = stub.bodies
    assert "response_format" not in body, "a grammar would begin the object once more"
    asked, given = body["messages"]
    assert asked["content"].startswith("f\n\nAnswer with one JSON object")
    assert given == {"role": "assistant", "content": "{"}


def test_a_row_whose_prefill_is_blank_is_asked_as_ever(stub: Stub, tmp_path: Path) -> None:
    stub.control("goeson", "whole")
    found, _ = begun(stub, tmp_path, ["f", "g"], "{% if instruction == 'f' %}Yes, {% endif %}")
    assert found == {"f": "Yes, whole", "g": "whole"}
    asked = {b["messages"][0]["content"]: b for b in stub.bodies}
    assert len(asked["g"]["messages"]) == 1 and "continue_final_message" not in asked["g"]


def test_the_model_writes_the_users_turn(stub: Stub, tmp_path: Path) -> None:
    stub.control("goeson", " that sorts.")
    opening = "{% if instruction != 'none' %}Write {{ instruction }}{% endif %}"
    found, lost = begun(stub, tmp_path, ["a function", "none"], opening, turn="user")
    assert found == {"a function": "Write a function that sorts."}
    assert lost == {"none": ("no_input", "`prefill` is empty")}
    (body,) = stub.bodies
    assert body["messages"] == [{"role": "user", "content": "Write a function"}]
    assert body["continue_final_message"] is True


def test_a_server_that_answers_the_users_turn_is_found_out(stub: Stub, tmp_path: Path) -> None:
    with pytest.raises(RunError) as e:
        begun(stub, tmp_path, [f"a {n}" for n in range(40)], "Write {{ instruction }}", turn="user")
    assert e.value.problem.code == "A708"
    assert "answered the user's turn instead of going on with it" in str(e.value.problem.note)
    assert len(stub.bodies) <= 8


@pytest.mark.parametrize(
    ("words", "text", "reasoning", "made"),
    [
        ("First,", " we look.", None, "First, we look."),
        ("First,", "First, we look.", None, "First, we look."),
        ("First, ", " we look.", None, "First, we look."),
        ("First, ", "we look.", None, "First, we look."),
        ("```python\n", "x = 1", None, "```python\nx = 1"),
        ("[", "[1], [2]]", None, "[[1], [2]]"),
        ("1", "10", None, "110"),
        ("<think>\n", "hm</think>\nso", None, "<think>\nhm</think>\nso"),
        ("<think>\n", "so", "hm", "so"),
        ("<think>\n\n</think>\n\nSo", " it is", "", "<think>\n\n</think>\n\nSo it is"),
    ],
)
def test_what_an_answer_begins_with(words: str, text: str, reasoning: str | None, made: str) -> None:
    turns = ({"role": "user", "content": "q"}, {"role": "assistant", "content": words})
    request = Request(b"", turns, {}, {"answer": "text"}, continues=True)
    assert whole(request, text, reasoning) == made
    assert whole(Request(b"", turns, {}, {"answer": "text"}), text, reasoning) == text


def test_going_on_with_a_turn_is_another_question_than_answering_it() -> None:
    spec, turns = teacher(None), [{"role": "user", "content": "Write"}]
    keys = {call_key(spec, turns, {"a": "text"}, 0, continues=c) for c in (False, True)}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("host", "last", "flags"),
    [
        ("api.mistral.ai", {"role": "assistant", "content": "Yes", "prefix": True}, set()),
        ("api.deepseek.com", {"role": "assistant", "content": "Yes", "prefix": True}, set()),
        ("api.groq.com", {"role": "assistant", "content": "Yes"}, set()),
        (
            "vllm.example.com",
            {"role": "assistant", "content": "Yes"},
            {"add_generation_prompt", "continue_final_message"},
        ),
    ],
)
def test_servers_are_told_in_their_words(pool: Any, host: str, last: Mapping[str, Any], flags: set[str]) -> None:
    turns = ({"role": "user", "content": "q"}, {"role": "assistant", "content": "Yes"})
    chat: Any = pool().teacher_client(teacher(f"https://{host}/v1")).client
    body = chat._body(Request(b"", turns, {}, {"answer": "text"}, continues=True))
    assert body["messages"][-1] == last
    assert {k for k in body if k.startswith(("add_", "continue_"))} == flags
    assert json.dumps(body)


def test_a_replay_finds_turns_that_were_begun_and_does_not_look_at_the_address(tmp_path: Path) -> None:
    cache = CallCache(tmp_path / "calls.sqlite")
    address = {"teacher.base_url": "https://x.example.com", "teacher.query": {"api-version": "1"}}
    served, replayed = (
        teacher(None, provider=name, identity_of=of, identity_key=p.digest(of))
        for name, more in (("openai", address), ("replay", {}))
        for of in [{"teacher.provider": name, "teacher.model": "m", **more}]
    )
    turns, fields = ({"role": "user", "content": "Write"},), {"answer": "text"}
    for begun, text in ((False, "An answer."), (True, "Write a function.")):
        key = call_key(served, turns, fields, 0, continues=begun)
        cache.put(key, Reply(text), Origin.of(served, "s", "r.recipe"))
    cache.flush()
    for begun, text in ((False, "An answer."), (True, "Write a function.")):
        key = call_key(replayed, turns, fields, 0, continues=begun)
        asked = Request(key, turns, {}, fields, continues=begun)
        assert Recorded(cache, replayed).get_many([asked])[key].text == text
    cache.close()
