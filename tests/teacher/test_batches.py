"""The Batch API against a server that keeps its own record: every row is accounted for, and none is paid twice."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.calls import batch_api
from alchemist_runtime.calls.batch_api import Batched
from alchemist_runtime.calls.dispatch import ClientPool
from alchemist_runtime.calls.ledger import Account, Ledger, money
from alchemist_runtime.schema import plan as p
from alchemist_runtime.schema.codes import Problem, RunError
from asked import requests, teacher
from batch_server import BatchServer, Ends
from click.testing import CliRunner
from command_line import PATIENCE
from fault_server import completion, error
from hypothesis import given, settings
from hypothesis import strategies as st
from step_plans import carry_out, context, figures, make_plan, rows, source, step

from alchemist_dsl.cli.main import group

QUESTIONS = [f"question {i}" for i in range(40)]
FEW = QUESTIONS[:15]
PRICE = p.Price(input="1/1000", output="1/100")
Start = Callable[..., BatchServer]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_api, "FIRST_PAUSE_SECONDS", 0.002)
    monkeypatch.setattr(batch_api, "LONGEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(batch_api, "PATIENCE_SECONDS", 1.0)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def serve() -> Iterator[Start]:
    started: list[BatchServer] = []

    def start(*args: Any, **more: Any) -> BatchServer:
        started.append(BatchServer(*args, **more))
        return started[-1]

    yield start
    for server in started:
        server.close()


def by_batch(server: BatchServer, **more: Any) -> p.Teacher:
    return teacher(server.base_url, **{"batch": True, "price": PRICE, **more})


class Asked:
    """What came of questions: outcomes, the call_batch, warnings."""

    def __init__(
        self,
        pool: ClientPool,
        spec: p.Teacher,
        questions: list[str],
        *,
        budget: str | None = None,
        outputs: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.warnings: list[Problem] = []
        self.told: list[str] = []
        step = Ledger(None if budget is None else money(budget), "budget", "step")
        account = Account(spec, [pool.ledger, step])
        self.call_batch = Batched(
            pool.teacher_client(spec),
            account,
            node="step",
            planned=len(questions),
            folder=pool.cache.path.parent / "batches",
            warn=self.warnings.append,
            tell=lambda t: self.told.append(t.server),
            **more,
        )
        self.run = lambda: pool.ask(self.call_batch, requests(spec, questions, outputs))

    def answers(self) -> list[str | None]:
        return [o.reply.text if o.reply else o.failure for o in self.run()]

    @property
    def spent(self) -> float:
        return float(self.call_batch.account.ledgers[1].spent)


def left(state: Path) -> list[str]:
    """Records of batches, and whatever else lies beside them."""
    return [f.name for f in (state / "batches").iterdir() if f.name != "lock"]


# --- the way that it should go ----------------------------------------------------------------------------------------


def test_every_question_gets_its_own_answer_at_half_the_price(serve: Start, pool: Any, tmp_path: Path) -> None:
    server = serve()
    asked = Asked(pool(), by_batch(server), [*QUESTIONS, QUESTIONS[3]])
    assert asked.answers() == [f"re: {q}" for q in [*QUESTIONS, QUESTIONS[3]]]
    assert server.paid == Counter(QUESTIONS)
    assert server.sent == [QUESTIONS]
    call_stats = asked.call_batch.call_stats
    assert (call_stats.new, call_stats.cached, call_stats.tokens_in) == (40, 1, 410)
    assert asked.spent == pytest.approx(40 * (10 / 1000 + 5 / 100) / 2)
    assert server.bodies[0] == {
        "model": "m",
        "messages": [{"role": "user", "content": "question 0"}],
        "temperature": 0.5,
        "max_tokens": 20,
    }
    assert "batch_1 in_progress 0 of 40" in [t.replace(" done", "") for t in asked.told]
    assert left(tmp_path / ".alchemist") == []
    again = Asked(pool(), by_batch(server), QUESTIONS)
    assert again.answers() == [f"re: {q}" for q in QUESTIONS]
    assert (again.call_batch.call_stats.new, len(server.sent)) == (0, 1)
    assert server.count("POST", "/chat") == 0


def test_files_are_split_by_the_limits_of_the_api(serve: Start, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_api, "MOST_REQUESTS", 15)
    server = serve()
    assert Asked(pool(), by_batch(server), QUESTIONS).answers() == [f"re: {q}" for q in QUESTIONS]
    assert [len(s) for s in server.sent] == [15, 15, 10]
    monkeypatch.setattr(batch_api, "MOST_BYTES", 1_000)
    more = [f"more {i}" for i in range(12)]
    assert Asked(pool(), by_batch(server), more).answers() == [f"re: {q}" for q in more]
    sizes = [len(f) for f in list(server.files.values()) if b'"more ' in f and b'"response"' not in f]
    assert len(sizes) > 2
    assert max(sizes) <= 1_000
    assert max(server.paid.values()) == 1


def test_a_step_asks_by_batches_and_its_rows_add_up(serve: Start, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Any:
        text = body["messages"][-1]["content"]
        if text.startswith("q3 "):
            return (400, error(400, "flagged by moderation")[2])
        return "PROMPT"

    server = serve(answer)
    given_rows = [{"instruction": f"q{i}", "response": f"a{i}"} for i in range(25)]
    plan = make_plan(
        [
            ("a", [], source(given_rows, tmp_path)),
            ("told", [("a", "rows", "from")], step(mode="only", max_failed="1/2")),
        ],
        by_batch(server, retries=1),
    )
    ctx = carry_out(plan, tmp_path)
    made, gone = rows(ctx, "told"), rows(ctx, "told", "dropped")
    assert [r["instruction"] for r in made] == [f"PROMPT\nq{i}" for i in range(25) if i != 3]
    assert [(r["instruction"], r["rule"]) for r in gone] == [("q3", "call_failed")]
    assert "flagged by moderation" in gone[0]["reason"]
    said = figures(ctx, "told")
    assert (said["calls_new"], said["calls_failed"]) == (25, 1)
    assert float(said["usd"]) == pytest.approx(24 * (10 / 1000 + 5 / 100) / 2)
    assert max(server.paid.values()) == 1


def test_typed_answers_and_what_servers_really_send_get_the_verdict_of_single_calls(serve: Start, pool: Any) -> None:
    lone = (
        rb'{"custom_id": "CUSTOM_ID", "response": {"status_code": 200, "body": {"choices": [{"message":'
        rb' {"content": "half \ud83d"}, "finish_reason": "stop"}]}}, "error": null}'
    )
    latin = lone.replace(rb"\ud83d", b"\xe9")
    torn = b'{"id": "x", "custom_id": "CUSTOM_ID", "response": {"status_code": 200, "bo'
    lines = line_breaks = "a\u2028b\x85c"
    bodies: dict[str, Any] = {"lone": lone, "latin": latin, "torn": torn, "breaks": lines}

    server = serve(lambda body: bodies[body["messages"][-1]["content"]])
    asked = Asked(pool(), by_batch(server, retries=0), list(bodies), max_failed=p.Fraction(1))
    assert asked.answers() == [
        "half �",
        "half é",
        "the server says: the line of its answer cannot be read",
        line_breaks,
    ]
    filtered = completion("no", finish_reason="content_filter")
    server.answer = lambda body: (200, filtered)
    outcomes = Asked(pool(), by_batch(server), ["f"]).run()
    assert outcomes[0].reply.finish_reason == "content_filter"
    server.answer = lambda body: (200, completion("x", finish_reason="error"))
    outcomes = Asked(pool(), by_batch(server, retries=0), ["g"], max_failed=p.Fraction(1)).run()
    assert outcomes[0].failure is not None
    assert outcomes[0].reply is not None


# --- what goes wrong with lines and batches ---------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [True, False], ids=["with lines", "without"])
def test_what_an_expired_batch_did_not_answer_is_asked_again(serve: Start, pool: Any, lines: bool) -> None:
    server = serve(script=lambda n: Ends("expired", 0.3, lines=lines) if n < 3 else Ends())
    asked = Asked(pool(), by_batch(server), QUESTIONS)
    assert asked.answers() == [f"re: {q}" for q in QUESTIONS]
    assert [len(s) for s in server.sent] == [40, 28, 20]
    assert server.paid == Counter(QUESTIONS)
    assert asked.call_batch.call_stats.retried == 48
    assert asked.spent == pytest.approx(40 * (10 / 1000 + 5 / 100) / 2)


def test_batches_that_always_expire_end_with_a_reason_for_each_row(serve: Start, pool: Any) -> None:
    server = serve(script=lambda n: Ends("expired", 0.0))
    asked = Asked(pool(), by_batch(server, retries=2), QUESTIONS[:5], max_failed=p.Fraction(1))
    assert all("expired" in str(a) or "completion window" in str(a) for a in asked.answers())
    assert len(server.sent) == 3
    with pytest.raises(RunError, match="A705"):
        Asked(pool(), by_batch(server, retries=0), QUESTIONS).run()
    assert not server.paid


def test_lines_of_the_error_file_are_judged_as_calls(serve: Start, pool: Any) -> None:
    tries: Counter[str] = Counter()

    def answer(body: dict[str, Any]) -> Any:
        question = body["messages"][-1]["content"]
        tries[question] += 1
        match question:
            case "question 1":
                return (400, error(400, "that will not do")[2])
            case "question 2":
                return (400, error(400, "maximum context length is 8192", "context_length_exceeded")[2])
            case "question 3" if tries[question] < 3:
                return (429, error(429, "Rate limit reached")[2])
            case "question 4" if tries[question] < 2:
                return (500, error(500, "oops")[2])
            case "question 5":
                return {"code": "odd", "message": "no idea"}
            case "question 6":
                return None
        return f"re: {question}"

    server = serve(answer)
    asked = Asked(pool(), by_batch(server), QUESTIONS[:10], max_failed=p.Fraction(1, 2))
    outcomes = asked.run()
    assert {i: (o.kind, o.failure) for i, o in enumerate(outcomes) if o.reply is None} == {
        1: (outcomes[1].kind, "the server says 400: that will not do"),
        2: ("too_long", "the server says 400: maximum context length is 8192 (context_length_exceeded)"),
        5: ("refused", "the server says: no idea (odd)"),
        6: ("lost", "the batch ended without an answer to it"),
    }
    assert tries["question 3"] == 3
    assert tries["question 4"] == 2
    assert max(server.paid.values()) == 1
    assert sum(server.paid.values()) == 6


def test_max_failed_holds_and_what_was_answered_is_kept(serve: Start, pool: Any) -> None:
    def answer(body: dict[str, Any]) -> Any:
        question = body["messages"][-1]["content"]
        return (400, error(400, "no")[2]) if int(question.split()[1]) % 4 == 0 else f"re: {question}"

    server = serve(answer)
    with pytest.raises(RunError) as stopped:
        Asked(pool(), by_batch(server), QUESTIONS).run()
    assert stopped.value.problem.code == "A705"
    server.answer = lambda body: "late " + body["messages"][-1]["content"]
    answers = Asked(pool(), by_batch(server), QUESTIONS).answers()
    assert Counter(str(a).split()[0] for a in answers) == {"re:": 30, "late": 10}
    assert server.paid == Counter(QUESTIONS)


def test_a_batch_that_fails_its_validation_says_why(serve: Start, pool: Any) -> None:
    why = {"code": "model_not_found", "message": "The model m does not exist.", "line": None, "param": "body.model"}
    server = serve(script=lambda n: Ends("failed", errors=[why]))
    asked = Asked(pool(), by_batch(server), QUESTIONS[:4], max_failed=p.Fraction(1))
    assert set(asked.answers()) == {"the server rejected the batch: The model m does not exist. (model_not_found)"}
    assert len(server.sent) == 1


def test_lines_that_a_validation_names_do_not_take_the_others_with_them(serve: Start, pool: Any) -> None:
    bad = {"code": "invalid_request", "message": "too odd", "line": 2, "param": None}
    server = serve(script=lambda n: Ends("failed", errors=[bad]) if n == 1 else Ends())
    asked = Asked(pool(), by_batch(server), QUESTIONS[:4], max_failed=p.Fraction(1))
    assert asked.answers() == [
        "re: question 0",
        "the server rejected the batch: too odd (invalid_request)",
        "re: question 2",
        "re: question 3",
    ]
    assert [len(s) for s in server.sent] == [4, 3]


def test_a_cancelled_batch_gives_what_was_answered(serve: Start, pool: Any) -> None:
    server = serve(script=lambda n: Ends("cancelled", 0.5))
    asked = Asked(pool(), by_batch(server), QUESTIONS[:10], max_failed=p.Fraction(1))
    answers = asked.answers()
    assert Counter("cancelled" in str(a) for a in answers) == {True: 5, False: 5}
    assert len(server.sent) == 1
    assert {o.kind for o in asked.run() if o.reply is None} == {"passing"}
    server.script = lambda n: Ends()
    assert Asked(pool(), by_batch(server), QUESTIONS[:10]).answers() == [f"re: {q}" for q in QUESTIONS[:10]]
    assert max(server.paid.values()) == 1


def test_a_queue_without_room_gets_smaller_batches(serve: Start, pool: Any) -> None:
    full = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached for m", "line": None}
    server = serve()
    server.script = lambda n: Ends("failed", errors=[full]) if len(server.sent[-1]) > 12 else Ends()
    assert Asked(pool(), by_batch(server), QUESTIONS).answers() == [f"re: {q}" for q in QUESTIONS]
    assert server.paid == Counter(QUESTIONS)
    server.script = lambda n: Ends("failed", errors=[full])
    with pytest.raises(RunError) as stopped:
        Asked(pool(), by_batch(server), ["one", "two", "three"]).run()
    assert stopped.value.problem.code == "A726"
    assert "Enqueued token limit" in (stopped.value.problem.note or "")


def test_a_parameter_that_a_model_does_not_take_is_left_out_of_the_next_batch(serve: Start, pool: Any) -> None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."

    def answer(body: dict[str, Any]) -> Any:
        return (400, error(400, words)[2]) if "max_tokens" in body else "fine"

    server = serve(answer)
    assert Asked(pool(), by_batch(server, retries=0), QUESTIONS).answers() == ["fine"] * 40
    assert len(server.sent) == 2
    assert server.bodies[-1]["max_completion_tokens"] == 20


# --- the API itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.parametrize("place", ["/files", "/batches"])
def test_a_server_without_the_api_is_told_with_the_way_out(
    serve: Start, pool: Any, tmp_path: Path, status: int, place: str
) -> None:
    def lacks(method: str, path: str, n: int) -> Any:
        return (status, {}, {"detail": "Not Found"}) if path == place else None

    server = serve(faults=lacks)
    with pytest.raises(RunError) as stopped:
        Asked(pool(), by_batch(server), QUESTIONS, budget="100").run()
    problem = stopped.value.problem
    assert problem.code == "A725"
    assert "batch = false" in (problem.help or "")
    assert server.count("POST", "/chat") == 0
    assert left(tmp_path / ".alchemist") == []


def test_a_server_that_answers_everything_with_200_has_no_api_either(serve: Start, pool: Any) -> None:
    said = {"error": "Unexpected endpoint or method. (POST /v1/files)"}
    server = serve(faults=lambda method, path, n: (200, {}, said))
    with pytest.raises(RunError, match="A725"):
        Asked(pool(), by_batch(server), QUESTIONS).run()


def test_refusals_that_pass_are_tried_again(serve: Start, pool: Any) -> None:
    """Each first request of a kind is refused or cut; a submission whose answer is lost is looked for before it is sent
    again.
    """

    def first(method: str, path: str, n: int) -> Any:
        match method, path, n:
            case _, "/files", 1:
                return error(429, "slow down", retry_after_ms="5")
            case "POST", "/batches", 1:
                return error(429, "slow down")
            case "POST", "/batches", 2:
                return "cut"
            case "POST", "/batches", 3:
                return "cut after"
            case "GET", "/batches/batch_1", (1 | 3):
                return error(503, "overloaded")
            case "GET", _, 1 if path.startswith("/files"):
                return "cut"
        return None

    server = serve(faults=first)
    asked = Asked(pool(), by_batch(server), QUESTIONS)
    assert asked.answers() == [f"re: {q}" for q in QUESTIONS]
    assert server.paid == Counter(QUESTIONS)
    assert len(server.batches) == 1


def test_a_key_that_is_refused_stops_the_step(serve: Start, pool: Any) -> None:
    server = serve(faults=lambda method, path, n: error(401, "Incorrect API key provided"))
    with pytest.raises(RunError, match="A708"):
        Asked(pool(), by_batch(server), QUESTIONS).run()
    gone = teacher("http://127.0.0.1:9/v1", name="gone", retries=1, batch=True, price=PRICE)
    with pytest.raises(RunError) as stopped:
        Asked(pool(), gone, QUESTIONS).run()
    assert stopped.value.problem.code == "A708"
    assert "cannot be reached" in stopped.value.problem.headline


def test_a_batch_that_the_server_lost_is_not_submitted_again_by_itself(serve: Start, pool: Any, tmp_path: Path) -> None:
    server = serve(faults=lambda m, path, n: error(404, "No batch found") if path == "/batches/batch_1" else None)
    for _ in range(2):
        with pytest.raises(RunError) as stopped:
            Asked(pool(), by_batch(server), QUESTIONS).run()
        problem = stopped.value.problem
        assert problem.code == "A726"
        assert Path(str(problem.place)).parent == tmp_path / ".alchemist" / "batches"
        assert "delete this file" in (problem.help or "")
    assert len(server.sent) == 1


def test_a_submission_of_which_nobody_can_tell_is_not_repeated(serve: Start, pool: Any, tmp_path: Path) -> None:
    """The answer to it is lost, and the server lists no batches; when it does, the one that is there is taken up."""

    def blind(method: str, path: str, n: int) -> Any:
        if path != "/batches":
            return None
        return "cut after" if method == "POST" else error(404, "no list here")

    server = serve(faults=blind)
    for _ in range(2):
        with pytest.raises(RunError) as stopped:
            Asked(pool(), by_batch(server, retries=1), QUESTIONS).run()
        assert stopped.value.problem.code == "A726"
    assert "it is unknown whether" in stopped.value.problem.headline
    assert Path(str(stopped.value.problem.place)).parent == tmp_path / ".alchemist" / "batches"
    server.faults = lambda m, path, n: None
    assert Asked(pool(), by_batch(server), QUESTIONS).answers() == [f"re: {q}" for q in QUESTIONS]
    assert len(server.sent) == 1


def test_tokens_that_nobody_counted_are_charged_as_reserved(serve: Start, pool: Any) -> None:
    server = serve()
    bare = completion("fine")
    del bare["usage"]
    line = {"custom_id": "CUSTOM_ID", "response": {"status_code": 200, "body": bare}, "error": None}
    server.answer = lambda body: json.dumps(line).encode()
    asked = Asked(pool(), by_batch(server), QUESTIONS, budget="10")
    assert asked.answers() == ["fine"] * 40
    wants = [asked.call_batch.teacher_client.want(r) for r in requests(by_batch(server), QUESTIONS)]
    assert asked.spent == pytest.approx(sum(w.most_in / 1000 + w.most_out / 100 for w in wants) / 2)


def test_answers_that_cannot_be_fetched_now_are_fetched_by_the_next_run(serve: Start, pool: Any) -> None:
    server = serve(faults=lambda m, path, n: error(400, "try later") if path.endswith("/content") else None)
    with pytest.raises(RunError, match="A726"):
        Asked(pool(), by_batch(server), QUESTIONS).run()
    server.faults = lambda m, path, n: None
    assert Asked(pool(), by_batch(server), QUESTIONS).answers() == [f"re: {q}" for q in QUESTIONS]
    assert server.paid == Counter(QUESTIONS)


def test_a_batch_at_another_address_is_not_asked_for_elsewhere(serve: Start, pool: Any) -> None:
    server, other = serve(script=lambda n: Ends(looks=10**6)), serve()
    interrupted(Asked(pool(), by_batch(server), QUESTIONS), server)
    with pytest.raises(RunError, match="A726") as stopped:
        Asked(pool(), by_batch(other), QUESTIONS).run()
    assert server.base_url in stopped.value.problem.headline
    assert not other.log


# --- money ------------------------------------------------------------------------------------------------------------


def test_a_batch_is_reserved_whole_before_anything_is_sent(serve: Start, pool: Any) -> None:
    server = serve()
    with pytest.raises(RunError) as stopped:
        Asked(pool(), by_batch(server), QUESTIONS, budget="4").run()
    problem = stopped.value.problem
    assert problem.code == "A703"
    assert "batch of 40 calls" in problem.headline
    assert "batch = false" in (problem.help or "")
    assert not server.log
    most = 40 * (20 / 100 + 200 / 1000) / 2
    asked = Asked(pool(), by_batch(server), QUESTIONS, budget=str(most))
    asked.run()
    assert asked.spent == pytest.approx(1.2)
    assert asked.call_batch.account.ledgers[1].reserved == 0


def test_what_a_batch_in_flight_took_is_booked_by_the_run_that_takes_it_up(serve: Start, pool: Any) -> None:
    server = serve(script=lambda n: Ends(looks=10**6))
    interrupted(Asked(pool(), by_batch(server), QUESTIONS[:20]), server)
    server.batches["batch_1"]["ends"].looks = 0
    server.script = lambda n: Ends()
    asked = Asked(pool(), by_batch(server), QUESTIONS, budget="5")
    asked.run()
    assert asked.spent == pytest.approx(1.2)
    assert [len(s) for s in server.sent] == [20, 20]
    assert server.paid == Counter(QUESTIONS)


# --- ends of runs -----------------------------------------------------------------------------------------------------


def interrupted(asked: Asked, server: BatchServer, looks: int = 3) -> None:
    """Ctrl-C when the server has been asked so many times how its batch stands."""
    inner = server.faults

    def press(method: str, path: str, n: int) -> Any:
        if path.startswith("/batches/") and n == looks:
            os.kill(os.getpid(), signal.SIGINT)
        return inner(method, path, n)

    server.faults = press
    with pytest.raises(KeyboardInterrupt):
        asked.run()
    server.faults = inner


def test_ctrl_c_leaves_the_batch_and_the_next_run_takes_it_up(serve: Start, pool: Any) -> None:
    server = serve(script=lambda n: Ends(looks=10**6))
    first = Asked(pool(), by_batch(server), QUESTIONS)
    interrupted(first, server)
    assert server.count("POST", "/batches/") == 0, "nothing is cancelled by surprise"
    [told] = first.warnings
    assert "`batch_1`" in told.headline
    assert "--cancel all" in (told.note or "")
    server.batches["batch_1"]["ends"].looks = 0
    second = Asked(pool(), by_batch(server), QUESTIONS)
    assert second.answers() == [f"re: {q}" for q in QUESTIONS]
    assert server.paid == Counter(QUESTIONS)
    assert len(server.sent) == 1
    assert second.call_batch.call_stats.new == 40


RECIPE = """\
edition 2026
teacher t {{
  provider = openai
  base_url = "{url}"
  model = "m"
  batch = true
  price = free
}}
source s {{
  files = "rows.jsonl"
}}
prompt say {{
  input {{
    instruction: text
  }}
  output {{
    answer: text
  }}
  user = "Say {{{{ instruction }}}}"
}}
generate {name} {{
  from = s
  teacher = t
  prompt = say
  set response = out.answer
}}
export rows {{
  data = {name}
  path = "out"
}}
"""


def command(folder: Path, url: str, *options: str, name: str = "step") -> Any:
    """`alchemist batches` in a project whose step `name` asks the server at `url`."""
    (folder / "rows.jsonl").write_text('{"instruction": "a", "response": "b"}\n')
    (folder / "x.recipe").write_text(RECIPE.format(url=url, name=name))
    return CliRunner().invoke(group, ["batches", str(folder / "x.recipe"), *options])


def test_batches_in_flight_are_listed_and_cancelled(serve: Start, pool: Any, tmp_path: Path) -> None:
    server = serve(script=lambda n: Ends(answered=0.5, looks=10**6 if n == 1 else 1))
    assert command(tmp_path, server.base_url).output == "no batch is in flight\n"
    interrupted(Asked(pool(), by_batch(server), QUESTIONS), server)
    before = len(server.log)
    listed = command(tmp_path, server.base_url)
    assert re.search(r"^batch_1 +step +40 +just now +validating 0 of 40$", listed.output, re.M)
    assert "alchemist batches" in listed.output
    assert server.log[before:] == [("GET", "/batches/batch_1")], "it looks, and changes nothing"

    unknown = command(tmp_path, server.base_url, "--cancel", "batch_7")
    assert unknown.exit_code == 2
    assert "no step of this recipe has a batch `batch_7`" in unknown.output
    assert server.count("POST", "/batches/") == 0

    cancelled = command(tmp_path, server.base_url, "--cancel", "all", "--format", "json")
    [batch] = json.loads(cancelled.output)["batches"]
    assert (batch["batch"], batch["status"], batch["ended"]) == ("batch_1", "cancelling 0 of 40", False)
    assert server.count("POST", "/batches/batch_1/cancel") == 1
    assert server._look("batch_1")["status"] == "cancelled"
    again = command(tmp_path, server.base_url, "--cancel", "batch_1")
    assert "cancelled 20 of 40 (20 failed)" in again.output
    assert (again.exit_code, "reads the answers" in again.output) == (0, True)

    server.script = lambda n: Ends()
    first = Asked(pool(), by_batch(server), QUESTIONS, max_failed=p.Fraction(1)).answers()
    assert sum(a is not None and a.startswith("re: ") for a in first) == 20
    assert Asked(pool(), by_batch(server), QUESTIONS).answers() == [f"re: {q}" for q in QUESTIONS]
    assert server.paid == Counter(QUESTIONS), "what was answered before is not asked again"


def test_a_batch_of_another_step_or_server_is_listed_and_nobody_is_asked(
    serve: Start, pool: Any, tmp_path: Path
) -> None:
    server, other = serve(script=lambda n: Ends(looks=10**6)), serve()
    interrupted(Asked(pool(), by_batch(server), QUESTIONS), server)
    before = len(server.log)
    elsewhere = command(tmp_path, other.base_url, "--cancel", "all")
    assert f"at {server.base_url}, which this recipe no longer asks" in elsewhere.output
    assert elsewhere.exit_code == 3
    renamed = command(tmp_path, server.base_url, "--cancel", "all", name="renamed")
    assert "of a step that is not in this recipe" in renamed.output
    assert (len(server.log), other.log) == (before, [])


def test_a_server_that_cannot_say_is_told_so(serve: Start, pool: Any, tmp_path: Path) -> None:
    server = serve(script=lambda n: Ends(looks=10**6))
    interrupted(Asked(pool(), by_batch(server), QUESTIONS), server)
    server.faults = lambda method, path, n: (401, {}, {"error": {"message": "no such key"}})
    refused = command(tmp_path, server.base_url, "--cancel", "batch_1")
    assert "the server says 401" in refused.output
    assert refused.exit_code == 3


def test_answers_that_are_not_asked_for_now_stay_until_they_are(serve: Start, pool: Any, tmp_path: Path) -> None:
    server = serve(script=lambda n: Ends(looks=10**6))
    interrupted(Asked(pool(), by_batch(server), QUESTIONS[:20]), server)
    server.batches["batch_1"]["ends"].looks = 0
    some = Asked(pool(), by_batch(server), QUESTIONS[10:15])
    assert some.answers() == [f"re: {q}" for q in QUESTIONS[10:15]]
    assert some.spent == pytest.approx(5 * 0.03)
    assert [n.endswith(".json") for n in left(tmp_path / ".alchemist")].count(True) == 1
    every = Asked(pool(), by_batch(server), QUESTIONS[:20])
    assert every.answers() == [f"re: {q}" for q in QUESTIONS[:20]]
    assert every.spent == pytest.approx(15 * 0.03)
    assert len(server.sent) == 1
    assert left(tmp_path / ".alchemist") == []


def test_ctrl_c_while_a_batch_is_submitted_waits_for_its_id(serve: Start, pool: Any) -> None:
    server = serve(script=lambda n: Ends(looks=10**6))

    def slow(method: str, path: str, n: int) -> Any:
        if (method, path) == ("POST", "/batches"):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        return None

    server.faults = slow
    asked = Asked(pool(), by_batch(server), QUESTIONS)
    with pytest.raises(KeyboardInterrupt):
        asked.run()
    assert "`batch_1`" in asked.warnings[0].headline
    server.faults = lambda m, path, n: None
    server.batches["batch_1"]["ends"].looks = 0
    assert Asked(pool(), by_batch(server), QUESTIONS).answers() == [f"re: {q}" for q in QUESTIONS]
    assert len(server.sent) == 1


def test_a_record_that_was_damaged_is_told_and_nothing_is_paid_again(serve: Start, pool: Any, tmp_path: Path) -> None:
    server = serve(script=lambda n: Ends(looks=10**6))
    interrupted(Asked(pool(), by_batch(server), QUESTIONS), server)
    [record] = (tmp_path / ".alchemist" / "batches").glob("*.json")
    record.write_bytes(record.read_bytes().replace(b"batch_1", b"batch_7"))
    with pytest.raises(RunError) as stopped:
        Asked(pool(), by_batch(server), QUESTIONS).run()
    assert (stopped.value.problem.code, stopped.value.problem.place) == ("A907", str(record))
    assert len(server.sent) == 1


#: A run in a process of its own with short pauses, which a test may kill.
RUN = """
import json
import sys
from pathlib import Path
from alchemist_runtime.schema import plan as p
from alchemist_runtime.calls import batch_api
batch_api.FIRST_PAUSE_SECONDS, batch_api.LONGEST_PAUSE_SECONDS = 0.01, 0.02
from step_plans import carry_out
carry_out(p.from_json(p.Plan, json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]))
"""


def process(plan: p.Plan, root: Path, fault: str = "") -> subprocess.Popen[str]:
    (root / "plan.json").write_text(json.dumps(p.to_json(plan)))
    env = {**os.environ, "ALCHEMIST_FAULT": fault, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", RUN, str(root / "plan.json"), str(root)]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def relabelled(server: BatchServer, root: Path, n: int = 30) -> p.Plan:
    given_rows = [{"instruction": f"q{i}", "response": "a"} for i in range(n)]
    nodes = [("a", [], source(given_rows, root)), ("told", [("a", "rows", "from")], step(mode="only"))]
    return make_plan(nodes, by_batch(server, price=None))


@pytest.mark.parametrize("place", ["batch-accepted", "batch-collected"])
def test_a_run_that_was_killed_is_taken_up_without_paying_again(serve: Start, tmp_path: Path, place: str) -> None:
    """Also between the server's yes and our writing it down; others' batches are listed before ours."""
    server = serve()
    plan = relabelled(server, tmp_path)
    killed = process(plan, tmp_path, f"kill@told:{place}:1")
    assert killed.wait(60) == -signal.SIGKILL
    for _ in range(3):  # somebody else's
        server.batches[f"other_{_}"] = {
            **server.batches["batch_1"],
            "id": f"other_{_}",
            "metadata": None,
            "input_file_id": "x",
        }
    ctx = carry_out(plan, tmp_path)
    assert [r["instruction"] for r in rows(ctx, "told")] == [f"re: q{i} || a\nq{i}" for i in range(30)]
    assert len(server.sent) == 1
    assert set(server.paid.values()) == {1}
    assert left(tmp_path / ".alchemist") == []


def test_a_run_killed_before_the_server_accepted_submits_once(serve: Start, tmp_path: Path) -> None:
    server = serve()
    plan = relabelled(server, tmp_path)
    held: list[subprocess.Popen[str]] = []

    def kill(method: str, path: str, n: int) -> Any:
        if (method, path, n) == ("POST", "/batches", 1):
            held[0].kill()
            return "cut"
        return None

    server.faults = kill
    held.append(process(plan, tmp_path))
    assert held[0].wait(60) == -signal.SIGKILL
    ctx = carry_out(plan, tmp_path)
    assert ctx.open("told").n == 30
    assert len(server.sent) == 1
    assert set(server.paid.values()) == {1}


def test_two_steps_at_once_in_two_processes_pay_equal_questions_once(serve: Start, tmp_path: Path) -> None:
    server = serve(script=lambda n: Ends(looks=20))
    spec = by_batch(server, price=None)
    given_rows = [{"instruction": f"q{i}", "response": "a"} for i in range(30)]
    running = []
    for name in ("one", "two"):
        read = source(given_rows, tmp_path)
        asks = step(mode="only", salt=name)
        plan = make_plan([("a", [], read), (name, [("a", "rows", "from")], asks)], spec)
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").symlink_to(tmp_path / "a.jsonl")
        (tmp_path / ".alchemist").mkdir(exist_ok=True)
        (tmp_path / name / ".alchemist").symlink_to(tmp_path / ".alchemist")
        running.append((name, plan, process(plan, tmp_path / name)))
    for name, plan, each in running:
        _, said = each.communicate(timeout=PATIENCE)
        assert each.returncode == 0, said
        assert context(plan, tmp_path / name).open(name).n == 30
    assert set(server.paid.values()) == {1}
    assert sum(server.paid.values()) == 30


@settings(max_examples=8)  # each is several runs against a server
@given(seed=st.integers(0, 10**6))
def test_whatever_happens_every_row_is_accounted_for_and_paid_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Random ends of batches, errors of lines, refusals of the API and cuts; then runs until nothing is left to ask."""
    draw = random.Random(seed)
    refused = {q for q in FEW if draw.random() < 0.1}

    def answer(body: dict[str, Any]) -> Any:
        question = body["messages"][-1]["content"]
        if question in refused:
            return (400, error(400, "no")[2])
        return (500, error(500, "oops")[2]) if draw.random() < 0.1 else f"re: {question}"

    def script(number: int) -> Ends:
        status = draw.choice(["completed", "completed", "expired", "cancelled"])
        return Ends(
            status, 1.0 if status == "completed" else draw.random(), draw.randint(0, 4), lines=draw.random() < 0.5
        )

    def faults(method: str, path: str, n: int) -> Any:
        return (
            draw.choice([error(429, "slow"), error(500, "oops"), "cut", "cut after"]) if draw.random() < 0.15 else None
        )

    server = BatchServer(answer, script, faults)
    state = tmp_path_factory.mktemp("state")
    try:
        for _ in range(12):
            teachers = ClientPool(state)
            try:
                asked = Asked(teachers, by_batch(server, retries=3), FEW, max_failed=p.Fraction(1))
                answers = asked.answers()
            except RunError:
                continue
            finally:
                teachers.close()
            assert all(a for a in answers)
            assert asked.call_batch.account.ledgers[1].reserved == 0
            if set(FEW) - refused == {q for q, a in zip(FEW, answers, strict=True) if a == f"re: {q}"}:
                break
        else:
            raise AssertionError("rows are left")
    finally:
        server.close()
    assert set(server.paid) == set(FEW) - refused
    assert set(server.paid.values()) == {1}
