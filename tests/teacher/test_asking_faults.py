"""Asking through a real HTTP server that fails in every way: each question ends answered or recorded, and none is paid
twice.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.calls.cache import CallCache, Origin
from alchemist_runtime.calls.cache_files import Recorded
from alchemist_runtime.calls.dispatch import ClientPool
from alchemist_runtime.calls.teacher import Reply, call_key
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.codes import RunError
from asked import call_batch, requests, teacher
from command_line import PATIENCE
from fault_server import FaultServer, completion, error

QUESTIONS = [f"question {i}" for i in range(60)]
KEY = "sk-live-0123456789abcdefSECRET"
Serve = Callable[[Any], FaultServer]


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemist_runtime.calls.limits.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def ask(pool: ClientPool, spec: plan.Teacher, questions: list[str], **more: Any) -> Any:
    asking = call_batch(pool, spec, len(questions), **more)
    outcomes = pool.ask(asking, requests(spec, questions))
    return outcomes, asking


def echo(number: int, body: dict[str, Any]) -> str:
    return "re: " + body["messages"][-1]["content"]


def test_every_question_gets_its_own_answer_within_the_places(serve: Serve, pool: Any) -> None:
    def slow(number: int, body: dict[str, Any]) -> str:
        time.sleep(0.005 * (number % 5))
        return echo(number, body)

    server = serve(slow)
    outcomes, asking = ask(pool(), teacher(server.base_url), QUESTIONS)
    assert [o.reply.text for o in outcomes] == [f"re: {q}" for q in QUESTIONS]
    assert server.asked == len(QUESTIONS)
    assert 1 < server.most_at_once <= 8
    assert (asking.call_stats.new, asking.call_stats.tokens_in, asking.call_stats.tokens_out) == (60, 600, 300)
    body = server.bodies[0]
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0.5, 20, "m")


def test_answers_are_paid_once_across_runs_and_among_equals(serve: Serve, pool: Any, tmp_path: Path) -> None:
    server = serve(echo)
    spec = teacher(server.base_url)
    doubled = [q for q in QUESTIONS[:20] for _ in range(3)]
    outcomes, asking = ask(pool(), spec, doubled)
    assert server.asked == 20
    assert asking.call_stats.cached == 40
    assert [o.reply.text for o in outcomes] == [f"re: {q}" for q in doubled]
    ask(pool(), spec, QUESTIONS)
    assert server.asked == 60
    _, asking = ask(pool(), spec, QUESTIONS)
    assert server.asked == 60
    assert asking.call_stats.new == 0


def test_an_equal_question_after_its_answer_is_not_asked_again(serve: Serve, pool: Any) -> None:
    """With one place every answer is back before the next question is looked at."""
    server = serve(echo)
    spec = teacher(server.base_url, concurrency=1)
    outcomes, asking = ask(pool(), spec, [q for q in QUESTIONS[:5] for _ in range(3)])
    assert (server.asked, asking.call_stats.cached) == (5, 10)
    assert all(o.reply is not None for o in outcomes)


def test_another_sampling_is_another_question(serve: Serve, pool: Any) -> None:
    server = serve(echo)
    ask(pool(), teacher(server.base_url), QUESTIONS[:5])
    ask(pool(), teacher(server.base_url, identity_key="b2:other"), QUESTIONS[:5])
    assert server.asked == 10


@pytest.mark.parametrize(
    "fault",
    [error(429), error(500), error(502), error(503), "cut", "garbage", "half", ("stall", 1.0)],
    ids=["429", "500", "502", "503", "cut", "garbage", "half", "stall"],
)
def test_what_may_pass_is_tried_again(serve: Serve, pool: Any, fault: Any) -> None:
    seen: Counter[str] = Counter()

    def flaky(number: int, body: dict[str, Any]) -> Any:
        question = body["messages"][-1]["content"]
        seen[question] += 1
        return fault if seen[question] <= 2 else f"re: {question}"

    server = serve(flaky)
    spec = teacher(server.base_url, timeout_seconds=0.3)
    outcomes, asking = ask(pool(), spec, QUESTIONS[:4])
    assert [o.reply.text for o in outcomes] == [f"re: {q}" for q in QUESTIONS[:4]]
    assert server.asked == 12
    assert asking.call_stats.retried == 8
    assert asking.call_stats.failed == 0


@pytest.mark.parametrize("status", [400, 404, 422])
def test_what_cannot_pass_is_asked_once(serve: Serve, pool: Any, status: int) -> None:
    def refuse(number: int, body: dict[str, Any]) -> Any:
        bad = body["messages"][-1]["content"] == "question 3"
        return error(status, "that will not do") if bad else "fine"

    server = serve(refuse)
    outcomes, asking = ask(pool(), teacher(server.base_url), QUESTIONS)
    assert server.asked == 60
    assert [i for i, o in enumerate(outcomes) if o.reply is None] == [3]
    assert outcomes[3].failure == f"the server says {status}: that will not do"
    assert asking.call_stats.failed == 1


def test_retry_after_is_waited_for(serve: Serve, pool: Any) -> None:
    for header in ({"retry_after": "0.4"}, {"retry_after_ms": "400"}):
        server = serve(lambda n, b, h=header: error(429, **h) if n == 1 else "ok")
        outcomes, _ = ask(pool(), teacher(server.base_url), [f"q {header}"])
        assert outcomes[0].reply is not None
        assert 0.4 <= server.times[1] - server.times[0] < PATIENCE


def test_a_wait_of_an_hour_is_not_waited_for(serve: Serve, pool: Any) -> None:
    server = serve(lambda n, b: error(429, "daily limit", retry_after="3600"))
    began = time.monotonic()
    with pytest.raises(RunError) as e:
        ask(pool(), teacher(server.base_url), QUESTIONS[:3])
    assert time.monotonic() - began < PATIENCE
    assert e.value.problem.code == "A708"
    assert "the quota of `t` is used up" in e.value.problem.headline


def test_faults_at_random_end_with_every_question_answered_or_recorded(serve: Serve, pool: Any) -> None:
    draw = random.Random(7)

    def faulty(number: int, body: dict[str, Any]) -> Any:
        x = draw.random()
        return error(429) if x < 0.05 else error(500) if x < 0.07 else echo(number, body)

    server = serve(faulty)
    questions = [f"q{i}" for i in range(500)]
    outcomes, asking = ask(pool(), teacher(server.base_url, retries=6), questions)
    for question, outcome in zip(questions, outcomes, strict=True):
        assert outcome.failure is not None or outcome.reply.text == f"re: {question}"
    assert asking.call_stats.failed == 0
    assert server.asked == 500 + asking.call_stats.retried
    assert asking.call_stats.retried > 10


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_a_share_of_failures_is_recorded_and_more_stop_the_step(serve: Serve, pool: Any) -> None:
    def some(number: int, body: dict[str, Any]) -> Any:
        return error(400, "no") if int(body["messages"][-1]["content"][1:]) % 25 == 0 else "ok"

    server = serve(some)
    questions = [f"q{i}" for i in range(100)]
    outcomes, asking = ask(pool(), teacher(server.base_url), questions)
    assert sum(o.reply is None for o in outcomes) == 4 == asking.call_stats.failed
    bad = serve(lambda n, b: error(400, "never") if n % 2 else "ok")
    with pytest.raises(RunError) as e:
        ask(pool(), teacher(bad.base_url, identity_key="b2:bad"), questions)
    assert e.value.problem.code == "A705"
    assert e.value.exit_code == 3
    assert "more than 5% of the 100 calls of `step` to `t` failed for good" in e.value.problem.headline
    assert "never" in (e.value.problem.note or "")
    assert bad.asked < 40


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_at_once_and_names_the_variable(
    serve: Serve, pool: Any, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TEACHER_KEY", KEY)
    server = serve(lambda n, b: error(status, f"Incorrect API key provided: {KEY}"))
    with pytest.raises(RunError) as e:
        ask(pool(), teacher(server.base_url, api_key_env="MY_TEACHER_KEY"), QUESTIONS)
    problem = e.value.problem
    assert (problem.code, e.value.exit_code) == ("A708", 3)
    assert "`MY_TEACHER_KEY`" in problem.headline
    assert server.asked <= 8
    assert KEY not in repr(problem)
    assert server.keys == {f"Bearer {KEY}"}


def test_an_unset_key_is_said_before_any_call(pool: Any) -> None:
    for base_url in (None, "https://models.example.org/v1"):
        with pytest.raises(RunError) as e:
            pool().teacher_client(teacher(base_url, api_key_env="NO_SUCH_KEY"))
        assert e.value.problem.code == "A701"
        assert "`NO_SUCH_KEY`" in e.value.problem.headline


def test_a_local_server_needs_no_key(serve: Serve, pool: Any) -> None:
    server = serve(echo)
    ask(pool(), teacher(server.base_url), QUESTIONS[:1])
    assert server.keys == {"Bearer none"}


def test_a_server_that_is_not_there(pool: Any) -> None:
    spec = teacher("http://127.0.0.1:9/v1", retries=1)
    with pytest.raises(RunError) as e:
        ask(pool(), spec, QUESTIONS[:3])
    assert e.value.problem.code == "A708"
    assert "cannot be reached" in e.value.problem.headline


def test_quota_is_not_tried_again(serve: Serve, pool: Any) -> None:
    server = serve(lambda n, b: error(429, "You exceeded your quota", "insufficient_quota"))
    with pytest.raises(RunError) as e:
        ask(pool(), teacher(server.base_url, concurrency=1), QUESTIONS[:3])
    assert e.value.problem.code == "A708"
    assert server.asked == 1


def test_a_budget_stops_calmly_and_is_never_passed(serve: Serve, pool: Any) -> None:
    server = serve(lambda n, b: completion("a", usage={"prompt_tokens": 20, "completion_tokens": 20}))
    price = plan.Price(input="1/1000", output="1/1000")
    spec = teacher(server.base_url, price=price)
    with pytest.raises(RunError) as e:
        ask(pool(), spec, QUESTIONS, budget="1")
    assert (e.value.problem.code, e.value.exit_code) == ("A703", 3)
    assert server.asked * 0.04 <= 1
    assert server.asked >= 20, "the worst case is about 8 cents: what is left is less"
    first = server.asked
    outcomes, asking = ask(pool(), spec, QUESTIONS, budget="10")
    assert all(o.reply is not None for o in outcomes)
    assert server.asked == 60, "what was paid is not paid again"
    assert asking.call_stats.cached == first


def test_an_answer_that_was_lost_counts_as_paid(serve: Serve, pool: Any) -> None:
    server = serve(lambda n, b: "cut")
    price = plan.Price(input="1/1000", output="1/1000")
    spec = teacher(server.base_url, price=price, retries=50, concurrency=1)
    with pytest.raises(RunError) as e:
        ask(pool(), spec, QUESTIONS[:1], budget="0.3")
    assert e.value.problem.code == "A703"
    assert 2 <= server.asked < 10


def test_ctrl_c_keeps_what_is_in_flight(serve: Serve, pool: Any) -> None:
    def slow(number: int, body: dict[str, Any]) -> str:
        if number == 12:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        return echo(number, body)

    server = serve(slow)
    spec = teacher(server.base_url)
    with pytest.raises(KeyboardInterrupt):
        ask(pool(), spec, QUESTIONS)
    sent = server.asked
    assert 12 <= sent < 40
    fresh = pool()
    assert len(fresh.cache) == sent
    ask(fresh, spec, QUESTIONS)
    assert server.asked == 60


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_secret_in_any_message(
    serve: Serve, pool: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    told = f"bad key {KEY}, header was Authorization: Bearer {KEY}, or sk-other-123456789"

    def leak(number: int, body: dict[str, Any]) -> Any:
        if body["messages"][-1]["content"] == "question 0":
            return "fine"
        return error(400, told) if number % 2 else (400, {}, told)

    server = serve(leak)
    outcomes, _ = ask(pool(), teacher(server.base_url), QUESTIONS[:6], max_failed=1)
    said = [o.failure for o in outcomes[1:]]
    with pytest.raises(RunError) as e:
        ask(pool(), teacher(server.base_url, identity_key="x"), QUESTIONS)
    said.append(repr(e.value.problem))
    said.append(caplog.text)
    for text in said:
        assert text
        assert KEY not in text
        assert "sk-other" not in text
    for file in (tmp_path / ".alchemist").iterdir():
        assert KEY.encode() not in file.read_bytes()


# --- ways of asking ---------------------------------------------------------------------------------------------------

MARKS = {"correctness": "int(0..10)", "note": "text"}


def test_structured_output_is_asked_by_schema(serve: Serve, pool: Any) -> None:
    server = serve(lambda n, b: json.dumps({"correctness": 3, "note": "x"}))
    spec = teacher(server.base_url)
    made = pool()
    outcomes = made.ask(call_batch(made, spec, 1), requests(spec, ["q"], MARKS))
    assert json.loads(outcomes[0].reply.text) == {"correctness": 3, "note": "x"}
    asked = server.bodies[0]["response_format"]
    assert asked["json_schema"]["strict"] is True
    assert asked["json_schema"]["schema"]["required"] == ["correctness", "note"]


def test_a_server_without_schemas_is_asked_in_words(serve: Serve, pool: Any) -> None:
    def old(number: int, body: dict[str, Any]) -> Any:
        if "response_format" in body:
            return error(400, "Invalid parameter: 'response_format' of type 'json_schema'")
        return '{"correctness": 1, "note": "y"}'

    server = serve(old)
    spec = teacher(server.base_url, concurrency=1)
    made = pool()
    outcomes = made.ask(call_batch(made, spec, 3), requests(spec, ["q1", "q2", "q3"], MARKS))
    assert all(o.reply is not None for o in outcomes)
    assert server.asked == 4, "refused once, then known"
    assert "- correctness: a whole number" in server.questions()[-1]


def test_a_model_with_another_name_for_max_tokens(serve: Serve, pool: Any) -> None:
    def new(number: int, body: dict[str, Any]) -> Any:
        if "max_tokens" in body:
            return error(400, "Use 'max_completion_tokens' instead of 'max_tokens'.")
        return "ok"

    server = serve(new)
    outcomes, _ = ask(pool(), teacher(server.base_url, concurrency=1), QUESTIONS[:3])
    assert all(o.reply is not None for o in outcomes)
    assert server.asked == 4
    assert server.bodies[-1]["max_completion_tokens"] == 20


def test_a_probability_is_read_from_the_first_token(serve: Serve, pool: Any) -> None:
    import math

    top = [{"token": t, "logprob": math.log(p)} for t, p in [("Yes", 0.5), (" yes", 0.1), ("No", 0.2), ("?", 0.2)]]
    logprobs = {"content": [{"token": "Yes", "logprob": -1, "top_logprobs": top}]}
    server = serve(lambda n, b: completion("Yes", logprobs=logprobs))
    spec = teacher(server.base_url)
    made = pool()
    outcomes = made.ask(call_batch(made, spec, 1), requests(spec, ["q"], {"good": "prob"}))
    assert float(outcomes[0].reply.text) == pytest.approx(0.75)
    assert server.bodies[0]["logprobs"] is True


def test_a_row_that_does_not_fit_is_no_failure_of_the_teacher(serve: Serve, pool: Any) -> None:
    server = serve(lambda n, b: error(400, "maximum context length is 10", "context_length_exceeded"))
    outcomes, asking = ask(pool(), teacher(server.base_url), QUESTIONS[:3])
    assert {o.kind for o in outcomes} == {"too_long"}
    assert asking.call_stats.failed == 0


# --- recordings -------------------------------------------------------------------------------------------------------


def test_a_replay_answers_from_the_recording_alone(serve: Serve, pool: Any, tmp_path: Path) -> None:
    server = serve(echo)
    spec = teacher(server.base_url)
    recorder = pool(state=tmp_path / "one")
    ask(recorder, spec, QUESTIONS[:10])
    recorder.close()
    replay = tmp_path / "one" / "calls.sqlite"
    player = pool(state=tmp_path / "two", replay=replay)
    outcomes, asking = ask(player, spec, QUESTIONS[:10])
    assert [o.reply.text for o in outcomes] == [f"re: {q}" for q in QUESTIONS[:10]]
    assert asking.call_stats.new == 0
    with pytest.raises(RunError) as e:
        ask(player, spec, QUESTIONS[:11])
    assert e.value.problem.code == "A710"
    assert server.asked == 10
    assert not (tmp_path / "two").exists()


def test_a_recording_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError) as e:
        ClientPool(tmp_path, replay=tmp_path / "none.sqlite")
    assert e.value.problem.code == "A302"


def recorded(pool: Any, root: Path, spec: plan.Teacher, questions: list[str]) -> Path:
    """A recording of these questions to a teacher."""
    recorder = pool(state=root)
    ask(recorder, spec, questions)
    recorder.close()
    return root / "calls.sqlite"


def identified(base_url: str | None, provider: str, **told: Any) -> plan.Teacher:
    """A teacher whose answers are kept as those of a compiled one are."""
    of = {"teacher.provider": provider, "teacher.model": "m", **told}
    more = {"provider": provider, "identity_of": of, "identity_key": plan.digest(of)}
    return teacher(base_url, **more)


@pytest.mark.parametrize("url", [True, False], ids=["with-its-address", "without"])
def test_a_replay_finds_what_any_provider_answered(serve: Serve, pool: Any, tmp_path: Path, url: bool) -> None:
    server = serve(echo)
    address = {"teacher.base_url": server.base_url}
    of = identified(server.base_url, "openai", **address)
    file = recorded(pool, tmp_path / "one", of, QUESTIONS[:4])
    spec = identified(None, "replay", **(address if url else {}))
    player = pool(state=tmp_path / "one")
    outcomes, asking = ask(player, spec, QUESTIONS[:4])
    assert [o.reply.text for o in outcomes] == [f"re: {q}" for q in QUESTIONS[:4]]
    assert (asking.call_stats.new, server.asked) == (0, 4)
    for provider in ("transformers", "openai", "replay"):  # run --replay FILE
        told = identified(None, provider, **(address if url else {}))
        outcomes, asking = ask(pool(state=tmp_path / "two", replay=file), told, QUESTIONS[:4])
        assert [o.reply.text for o in outcomes] == [f"re: {q}" for q in QUESTIONS[:4]]
    assert server.asked == 4
    for other in ({"teacher.model": "n"}, {"teacher.temperature": "1/2"}, {"teacher.revision": "2"}):
        with pytest.raises(RunError) as e:
            another = identified(None, "replay", **{**address, **other})
            ask(pool(state=tmp_path / "one"), another, QUESTIONS[:4])
        assert e.value.problem.code == "A710"


def test_a_recording_of_an_earlier_version_is_found_by_its_providers(serve: Serve, pool: Any, tmp_path: Path) -> None:
    """It does not tell whose answers it holds."""
    server = serve(echo)
    of = identified(server.base_url, "openai")
    file = recorded(pool, tmp_path / "one", of, QUESTIONS[:4])
    with sqlite3.connect(file) as db:
        db.execute("DROP TABLE origins")
        db.execute("ALTER TABLE answers DROP COLUMN origin")
        db.execute("PRAGMA user_version = 3")
    outcomes, _ = ask(pool(state=tmp_path / "two", replay=file), identified(None, "replay"), QUESTIONS[:4])
    assert all(o.reply is not None for o in outcomes) and server.asked == 4


def test_where_both_answered_the_paid_answer_is_replayed(pool: Any, tmp_path: Path) -> None:
    """The rules teacher, whose keys hold its inputs too, comes last."""
    free = identified(None, "rules", **{"teacher.version": 2})
    paid = identified(None, "openai")
    asked = requests(identified(None, "replay"), ["q"])
    cache = CallCache(tmp_path / "calls.sqlite")
    for spec, text in ((free, "by rules"), (paid, "by a model")):
        key = call_key(spec, asked[0].messages, asked[0].outputs, 0, inputs={})
        cache.put(key, Reply(text), Origin.of(spec, "s", "r.recipe"))
    cache.flush()
    find = Recorded(cache, identified(None, "replay")).get_many
    assert [r.text for r in find(asked).values()] == ["by a model"]
    cache.forget([call_key(paid, asked[0].messages, asked[0].outputs, 0)])
    assert [r.text for r in find(asked).values()] == ["by rules"]
    cache.close()
