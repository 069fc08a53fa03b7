"""Whole recipes through `alchemist run` against servers as they really are, judged by the server's own record: how
often each row was asked, what was paid twice, and that every row is accounted for."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from stub import Stub

from alchemist_dsl.cli.main import group

RECIPE = """edition 2026

teacher t {
  provider = openai
  model = "stub"
  revision = "1"
  base_url = "%s"
%s}
source s {
  files = "rows.jsonl"
}
prompt ask {
  input {
    instruction: text
  }
  output {
    answer: text
%s  }
  user = "{{ instruction }}"
}
generate g {
  from = s
  teacher = t
  prompt = ask
%s  set response = out.answer
}
export data {
  data = g
  path = "out"
  format = jsonl
}
export refused {
  data = g.dropped
  path = "dropped"
  format = jsonl
  columns = ["rule", "reason"]
}
"""
FREE, PAID = (["price = free"], ["price {", "input = $3 per 1M tokens", "output = $15 per 1M tokens", "}"])


@dataclass
class Case:
    """`marks`: of the rows, in turn; `code`: of the message that stops the run; `asked`: requests in all, at most where
    it is a range; `refused`: rule -> rows, and words that its reason holds."""

    marks: list[str]
    asked: int | range
    teacher: list[str] = field(default_factory=lambda: [*FREE, "retries = 2"])
    step: list[str] = field(default_factory=lambda: ["max_failed = 100%"])
    typed: str = ""
    mode: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    code: str | None = None
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)


def one_of(n: int, mark: str, at: int = 3) -> list[str]:
    return [mark if i == at else "[[b=ok]]" for i in range(n)]


def too_long(status: int, text: str, code: str) -> Case:
    return Case(
        one_of(40, f"[[b=e:{status}|{text}|{code}]]"),
        40,
        step=["max_failed = 100%", 'on_long = "drop"'],
        refused={"too_long": (1, text[:40])},
    )


def hopeless(mark: str) -> Case:
    return Case([mark] * 1000, range(3, 7), code="A708")


SCORE = "    score: int(1..10)\n"
LOADING, PAST = {"mode": "loading", "arg": 2}, "Thu, 01 Jan 2026 00:00:00 GMT"
CASES = {
    "schema in other words": Case(
        ["[[b=schema400:JSON schema conversion failed: Unrecognized schema: {}]]"] * 6, 7, typed=SCORE
    ),
    "schema that a grammar lacks": Case(
        ["[[b=schema400:The provided JSON schema contains features not supported by xgrammar.]]"] * 6, 7, typed=SCORE
    ),
    "a parameter it does not take": Case(
        ["[[b=param400:temperature|Unsupported parameter: 'temperature' is not supported with this model.]]"] * 200,
        range(201, 217),
        teacher=[*FREE, "temperature = 1"],
    ),
    "no model": hopeless("[[b=status:404]]"),
    "no credit": hopeless("[[b=e:402|Insufficient Balance|invalid_request_error]]"),
    "quota of a day": hopeless(
        "[[b=e:429|Quota exceeded for quota metric 'Requests' and limit 'free-models-per-day'|429]]"
    ),
    "too long, llama.cpp": too_long(
        400,
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        "exceed_context_size_error",
    ),
    "too long, sglang": too_long(
        400, "The input (5000 tokens) is longer than the model's context length (4096 tokens).", "BadRequest"
    ),
    "too long, gemini": too_long(
        400,
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "INVALID_ARGUMENT",
    ),
    "too long under 500": too_long(500, "Context size has been exceeded.", "server_error"),
    "too long under 429": too_long(
        429,
        "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000. The input or output tokens must be "
        "reduced in order to run successfully.",
        "rate_limit_exceeded",
    ),
    "moderation of one row": Case(
        one_of(200, "[[b=e:403|Your chosen model requires moderation and your input was flagged for violence|403]]", 5),
        200,
        step=[],
        refused={"call_failed": (1, "flagged for violence")},
    ),
    "a wait that is past": Case([""] * 3, range(3, 14), step=[], mode={"mode": "rps", "arg": 1, "per": 1, "rah": PAST}),
    "no usage": Case(
        ["[[b=nousage]]"] * 300,
        range(20, 60),
        [*PAID, "max_tokens = 500 tokens", "concurrency = 4"],
        options=("--budget", "$0.20"),
        code="A703",
    ),
    "reasoning beyond the limit": Case(
        ["[[b=reasoning:3000]]"] * 300,
        range(2, 9),
        [*PAID, "max_tokens = 500 tokens", "concurrency = 4"],
        options=("--budget", "$0.20"),
        code="A703",
    ),
    "all is well at 64 places": Case([""] * 600, 600, [*FREE, "concurrency = 64"], step=[]),
    "loading": Case([""] * 20, range(20, 40), step=[], mode=LOADING),
    "odd bodies": Case(
        [
            '[[b=raw:{"choices":[{"message":null}&rsqb;}]]',
            '[[b=raw:{"choices":[{"text":"hello from completions"}&rsqb;}]]',
            "[[b=raw:[&rsqb;]]",
            '[[b=raw:{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}&rsqb;,"usage":{"prompt_tokens":"12"}}]]',
            '[[b=raw:{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}&rsqb;,"usage":{"prompt_tokens":-5}}]]',
            '[[b=raw:{"choices":[{"message":{"content":"","reasoning":"text here"},"finish_reason":"stop"}&rsqb;}]]',
        ],
        6,
        refused={"unreadable": (3, "")},
    ),
}


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemist_runtime.calls.limits.FIRST_PAUSE_SECONDS", 0.05)


def write(stub: Stub, root: Path, case: Case) -> None:
    def lines(given: list[str]) -> str:
        return "".join(f"  {line}\n" for line in given)

    recipe = RECIPE % (stub.base_url, lines(case.teacher), case.typed, lines(case.step))
    (root / "r.recipe").write_text(recipe)
    rows = [{"instruction": f"q{i} {mark}", "response": "old"} for i, mark in enumerate(case.marks)]
    (root / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    if case.mode:
        stub.control(**case.mode)


def run(*options: str) -> tuple[int, str]:
    """Exit status, and what was said."""
    done = CliRunner().invoke(group, ["run", "r.recipe", *options])
    return done.exit_code, done.stderr


def lines(root: Path, name: str) -> list[dict[str, Any]]:
    files = sorted((root / name).rglob("*.jsonl"))
    return [json.loads(line) for f in files for line in f.read_text().splitlines()]


@pytest.mark.parametrize("name", CASES)
def test_a_recipe_against_a_server(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    write(stub, tmp_path, case)
    status, said = run(*case.options)
    asked = Counter(h["q"] for h in stub.hist)
    expected = case.asked if isinstance(case.asked, range) else range(case.asked, case.asked + 1)
    assert asked.total() in expected, (asked.total(), said)
    paid = Counter(h["q"] for h in stub.hist if h["usage"] and h["status"] == 200)
    assert not [q for q, n in paid.items() if n > 1], "paid twice"
    if case.code is not None:
        assert status != 0 and case.code in said
        if case.options:
            per = {"prompt_tokens": 3, "completion_tokens": 15}
            charged = [h["usage"] or {} for h in stub.hist]
            dearest = max(sum(u.get(n, 0) * p for n, p in per.items()) for u in charged)
            assert sum(sum(u.get(n, 0) * p for n, p in per.items()) for u in charged) <= 200_000 + dearest
        return
    assert status == 0, said
    kept, dropped = lines(tmp_path, "out"), lines(tmp_path, "dropped")
    rules = Counter(r["rule"] for r in dropped)
    assert rules == {rule: n for rule, (n, _) in case.refused.items()}
    for rule, (_, words) in case.refused.items():
        assert all(words in r["reason"] for r in dropped if r["rule"] == rule), dropped
    assert len(kept) + len(dropped) == len(case.marks)


def test_rows_that_failed_for_a_passing_reason_are_asked_again_by_the_next_run(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(stub, tmp_path, Case(one_of(40, "[[b=flaky:500,3]]", 7), 0, teacher=[*FREE, "retries = 0"]))
    assert run()[0] == 0
    assert (len(lines(tmp_path, "out")), len(lines(tmp_path, "dropped"))) == (39, 1)
    for kept, asked in ((39, 1), (39, 1), (40, 1), (40, 0)):
        before = len(stub.hist)
        status, said = run()
        assert status == 0, said
        assert len(stub.hist) - before == asked
        assert len(lines(tmp_path, "out")) == kept


def test_answers_are_replayed_whoever_recorded_them(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(stub, tmp_path, Case([""] * 6, 6))
    assert run()[0] == 0
    rows, recipe = lines(tmp_path, "out"), (tmp_path / "r.recipe").read_text()
    (tmp_path / "r.recipe").write_text(recipe.replace("provider = openai", "provider = replay"))
    status, said = run()
    assert status == 0, said
    assert len(stub.hist) == 6
    assert [r["response"] for r in lines(tmp_path, "out")] == [r["response"] for r in rows]
