"""The client against llmock, an OpenAI-compatible server that nobody here wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from asked import call_batch, requests, teacher


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemist_runtime.calls.limits.FIRST_PAUSE_SECONDS", 0.05)


def test_texts_usage_and_schemas(llmock: Callable[..., str], pool: Any) -> None:
    spec = teacher(llmock(), model="gpt-4o-mini")
    made = pool()
    outcomes = made.ask(call_batch(made, spec, 20), requests(spec, [f"question {i}" for i in range(20)]))
    assert all(o.reply.text and o.reply.tokens_in > 0 and o.reply.tokens_out > 0 for o in outcomes)
    outputs = {"score": "int(0..10)", "why": "text", "tags": "list<text>"}
    asked = requests(spec, ["review this"], outputs)
    answer = json.loads(made.ask(call_batch(made, spec, 1), asked)[0].reply.text)
    assert set(answer) == set(outputs)
    assert isinstance(answer["tags"], list)


def test_faults_of_a_foreign_server(llmock: Callable[..., str], pool: Any) -> None:
    base = llmock("--error-rate-429", "0.05", "--error-rate-500", "0.02", "--error-rate-503", "0.02")
    spec = teacher(base, model="gpt-4o-mini", retries=6)
    made = pool()
    questions = [f"question {i}" for i in range(200)]
    asking = call_batch(made, spec, len(questions))
    outcomes = made.ask(asking, requests(spec, questions))
    assert all(o.reply is not None or o.failure for o in outcomes)
    assert asking.call_stats.failed <= 2
    again = call_batch(made, spec, len(questions))
    made.ask(again, requests(spec, questions))
    assert again.call_stats.new <= 2


def test_the_rate_keeps_the_server_s_limit(llmock: Callable[..., str], pool: Any) -> None:
    base = llmock("--rpm", "600")
    rate = [{"unit": "calls", "per_second": "9"}]
    spec = teacher(base, model="gpt-4o-mini", rate=rate, retries=0)
    made = pool()
    questions = [f"question {i}" for i in range(30)]
    outcomes = made.ask(call_batch(made, spec, 30), requests(spec, questions))
    assert all(o.reply is not None for o in outcomes)


def test_a_context_window_is_recognised(llmock: Callable[..., str], pool: Any) -> None:
    spec = teacher(llmock("--context-window", "100"), model="gpt-4o-mini")
    made = pool()
    asked = requests(spec, ["short", "long " * 500])
    short, long = made.ask(call_batch(made, spec, 2), asked)
    assert short.reply is not None
    assert long.kind == "too_long"
