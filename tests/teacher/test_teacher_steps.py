"""relabel and generate over rows: who is asked, what leaves, what is dropped and why, what the trace tells, what a
crash costs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import step_plans as s
from alchemist_runtime.engine.prompt_calls import ahead
from alchemist_runtime.schema import plan as p
from alchemist_runtime.schema.codes import RunError
from asked import teacher
from fault_server import FaultServer, completion, error

Serve = Callable[[Any], FaultServer]
ROWS = [{"instruction": f"task {i}", "response": f"code {i}", "level": i} for i in range(200)]
FROM = [("a", "rows", "from")]


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemist_runtime.calls.limits.FIRST_PAUSE_SECONDS", 0.01)


def question(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def number(body: dict[str, Any]) -> int:
    return int(question(body).partition(" ||")[0].split()[-1])


def hint(_: int, body: dict[str, Any]) -> str:
    return f"Hint for {question(body)}"


def select(share: str, **more: Any) -> p.Select:
    return p.Select(fraction=share, salt="step", **more)


def plan_of(server: FaultServer, root: Path, spec: p.TeacherStepSpec, rows: Any = ROWS, **more: Any) -> p.Plan:
    asked = teacher(server.base_url, **more.pop("teacher", {}))
    return s.make_plan([("a", [], s.source(rows, root)), ("h", FROM, spec)], asked, **more)


def test_relabel_changes_the_chosen_rows_and_no_other(serve: Serve, tmp_path: Path) -> None:
    server = serve(hint)
    ctx = s.carry_out(plan_of(server, tmp_path, s.step(select=select("1/10"))), tmp_path)
    before, after = s.rows(ctx, "a"), s.rows(ctx, "h")
    changed = [i for i, (x, y) in enumerate(zip(before, after, strict=True)) if x != y]
    assert 8 <= len(changed) <= 32
    assert server.asked == len(changed)
    for i in changed:
        want = f"Hint for {before[i]['instruction']} || {before[i]['response']}\n{before[i]['instruction']}"
        assert after[i] == {**before[i], "instruction": want, "made_by": "h"}
    trace = s.rows(ctx, "h", "trace")
    assert [t["_id"] for t in trace] == [before[i]["_id"] for i in changed]
    for t, i in zip(trace, changed, strict=True):
        assert t["before"]["instruction"] == before[i]["instruction"]
        assert t["after"]["instruction"] == after[i]["instruction"]
        assert t["after"]["response"] == t["before"]["response"] == before[i]["response"]
        assert t["before"]["level"] == before[i]["level"]
        assert t["out"] == {"prompt": after[i]["instruction"].rpartition("\n")[0]}
        assert (t["teacher"], t["sample"], t["attempt"], t["origin"]) == ("t", 0, 0, "a")
    assert s.rows(ctx, "h", "dropped") == []
    told = s.figures(ctx, "h")
    assert (told["calls"], told["calls_new"], told["accepted"], told["chosen"]) == (len(changed),) * 4


def test_a_larger_share_keeps_the_old_rows_and_asks_only_the_new_ones(serve: Serve, tmp_path: Path) -> None:
    server = serve(hint)
    small = s.carry_out(plan_of(server, tmp_path, s.step(select=select("1/20"))), tmp_path)
    first = {r["_id"]: r["instruction"] for r in s.rows(small, "h") if "\n" in r["instruction"]}
    asked = server.asked
    large = s.carry_out(plan_of(server, tmp_path, s.step(select=select("6/20"))), tmp_path)
    second = {r["_id"]: r["instruction"] for r in s.rows(large, "h") if "\n" in r["instruction"]}
    assert first.items() < second.items()
    assert server.asked == len(second)
    assert s.figures(large, "h")["calls_cached"] == asked == len(first)


def test_generate_makes_new_rows_with_stable_ids(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda n, b: json.dumps({"instruction": f"new {number(b)}", "response": "r"}))
    outputs = {"instruction": "text", "response": "text"}
    sets = [p.SetColumn(column=c, type="text", expr=["out", c]) for c in outputs]
    spec = s.step("generate", mode="only", sets=sets, select=select("1/4"))
    one = s.carry_out(plan_of(server, tmp_path, spec, outputs=outputs), tmp_path)
    made, parents = s.rows(one, "h"), {r["_id"]: r for r in s.rows(one, "a")}
    assert len(made) == server.asked > 20
    for r in made:
        assert r["_id"] not in parents
        assert r["_root"] == parents[r["_parent"]]["_root"]
        assert (r["origin"], r["made_by"]) == ("a", "h")
        assert r["instruction"] == "new " + parents[r["_parent"]]["instruction"].split()[1]
    other = tmp_path / "other"
    other.mkdir()
    two = s.carry_out(plan_of(server, other, spec, outputs=outputs), other)
    assert s.rows(two, "h") == made


def test_a_plain_answer_leaves_as_it_was_sent_and_a_label_without_white_space(serve: Serve, tmp_path: Path) -> None:
    body = "    total = 0\n    return total\n"
    server = serve(lambda n, b: body if "code 0" not in question(b) else "    return x")
    sets = [p.SetColumn(column="response", type="text", expr=["out", "answer"])]
    spec = s.step("generate", mode="only", sets=sets)
    two = ROWS[:2]
    made = s.carry_out(plan_of(server, tmp_path, spec, rows=two, outputs={"answer": "text"}), tmp_path)
    assert [r["response"] for r in s.rows(made, "h")] == ["    return x", body]
    label = s.carry_out(plan_of(server, tmp_path, s.step(), rows=two), tmp_path)
    assert [r["instruction"] for r in s.rows(label, "h")] == [
        "return x\ntask 0",
        "    total = 0\n    return total\ntask 1",
    ]
    asked = server.asked
    both = [*sets, p.SetColumn(column="instruction", type="text", expr=["out", "answer"])]
    spec = s.step("generate", mode="only", sets=both)  # another step that asks the same
    again = s.carry_out(plan_of(server, tmp_path, spec, rows=two, outputs={"answer": "text"}), tmp_path)
    assert server.asked == asked, "a cached answer is not paid again"
    assert [r["instruction"] for r in s.rows(again, "h")] == ["    return x", body]


def test_judging_keeps_ids(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda n, b: json.dumps({"score": number(b) % 11}))
    sets = [p.SetColumn(column="score", type="int", expr=["out", "score"])]
    spec = s.step(
        "generate",
        mode="only",
        sets=sets,
        rules=[s.rule("keep", "good", ["cmp", ">=", ["out", "score"], ["lit", "int", 5]])],
    )
    ctx = s.carry_out(plan_of(server, tmp_path, spec, outputs={"score": "int(0..10)"}), tmp_path)
    before = {r["_id"]: r for r in s.rows(ctx, "a")}
    kept, dropped = s.rows(ctx, "h"), s.rows(ctx, "h", "dropped")
    assert len(kept) + len(dropped) == 200
    assert all(r == {**before[r["_id"]], "score": r["level"] % 11} for r in kept)
    assert {r["level"] % 11 >= 5 for r in kept} == {True}
    assert all(r["rule"] == "good" and r["reason"] == "keep …good…" for r in dropped)
    assert all(r["score"] == r["level"] % 11 < 5 for r in dropped), "as it would have left"
    assert s.figures(ctx, "h")["dropped"] == {"good": len(dropped)}


def test_add_keeps_every_row_and_adds_changed_copies(serve: Serve, tmp_path: Path) -> None:
    ctx = s.carry_out(plan_of(serve(hint), tmp_path, s.step(mode="add", select=select("1/5"))), tmp_path)
    before, after = s.rows(ctx, "a"), s.rows(ctx, "h")
    assert after[: len(before)] == before
    copies = after[len(before) :]
    assert len(copies) == s.figures(ctx, "h")["chosen"] > 20
    by_id = {r["_id"]: r for r in before}
    for c in copies:
        assert c["instruction"].startswith("Hint for " + by_id[c["_parent"]]["instruction"])
        assert c["_id"] not in by_id
        assert c["made_by"] == "h"
    assert len({r["_id"] for r in after}) == len(after)


def bad(i: int, body: dict[str, Any]) -> Any:
    """Rows 0-3 unreadable, 4-5 refused by the server, 6-8 refused by a rule."""
    n = number(body)
    if n < 4:
        return "I would rather not."
    if n < 6:
        return error(400, "no such thing")
    return json.dumps({"prompt": "bad" if n < 9 else "good"})


JSON_OUT = {"prompt": "text", "why": "text?"}
NOT_BAD = s.rule("drop", "bad_word", ["cmp", "==", ["out", "prompt"], ["lit", "text", "bad"]])


@pytest.mark.parametrize("mode", ["replace", "only", "add"])
def test_no_row_is_lost_silently(serve: Serve, tmp_path: Path, mode: str) -> None:
    rows = [{**r, "code": r["response"]} for r in ROWS]
    rows.append({"instruction": "task 777", "response": "r", "level": 777, "code": None})
    inputs = {"instruction": ["col", "instruction"], "response": ["col", "code"]}
    spec = s.step("generate", mode=mode, rules=[NOT_BAD], inputs=inputs, max_failed="1/5")
    ctx = s.carry_out(plan_of(serve(bad), tmp_path, spec, rows, outputs=JSON_OUT), tmp_path)
    dropped = s.rows(ctx, "h", "dropped")
    counts = Counter(r["rule"] for r in dropped)
    assert counts == {"unreadable": 4, "call_failed": 2, "bad_word": 3, "no_input": 1}
    assert s.figures(ctx, "h")["dropped"] == counts
    by_rule = {r["rule"]: r for r in dropped}
    assert by_rule["call_failed"]["reason"] == "the server says 400: no such thing"
    assert by_rule["unreadable"]["reason"] == "it is not JSON; it says: I would rather not."
    assert by_rule["no_input"]["reason"] == "`response` is null"
    assert by_rule["bad_word"]["instruction"].startswith("bad\ntask "), "as it would have left"
    assert by_rule["unreadable"]["instruction"].startswith("task ")
    before, after = s.rows(ctx, "a"), s.rows(ctx, "h")
    lost = {r["level"] for r in dropped}
    if mode == "replace":
        assert [r for r in after if r["level"] in lost] == [r for r in before if r["level"] in lost]
        assert len(after) == len(before)
    if mode == "only":
        assert len(after) == len(before) - len(dropped)
    if mode == "add":
        assert len(after) == 2 * len(before) - len(dropped)
    assert len(s.rows(ctx, "h", "trace")) == len(before) - len(dropped)


def test_samples_are_judged_one_by_one(serve: Serve, tmp_path: Path) -> None:
    import threading

    seen: Counter[int] = Counter()
    lock = threading.Lock()

    def vary(i: int, body: dict[str, Any]) -> str:
        with lock:
            seen[number(body)] += 1
            return "bad" if seen[number(body)] == 1 else f"answer {seen[number(body)]}"

    spec = s.step("generate", mode="only", samples=3, rules=[NOT_BAD])
    ctx = s.carry_out(plan_of(serve(vary), tmp_path, spec, ROWS[:20]), tmp_path)
    made = s.rows(ctx, "h")
    assert set(seen.values()) == {3}
    assert len(made) == 40
    assert len(s.rows(ctx, "h", "dropped")) == 20
    ids = {r["_id"] for r in made} | {r["_id"] for r in s.rows(ctx, "h", "dropped")}
    assert len(ids) == 60
    assert Counter(Counter(r["_parent"] for r in made).values()) == {2: 20}
    assert {t["sample"] for t in s.rows(ctx, "h", "trace")} <= {0, 1, 2}


def test_refused_answers_are_drawn_again(serve: Serve, tmp_path: Path) -> None:
    seen: Counter[int] = Counter()

    def late(i: int, body: dict[str, Any]) -> str:
        n = number(body)
        seen[n] += 1
        return "good" if seen[n] > n % 4 else "bad"

    server = serve(late)
    spec = s.step("generate", mode="only", retries_on_reject=2, rules=[NOT_BAD])
    ctx = s.carry_out(plan_of(server, tmp_path, spec, ROWS[:20]), tmp_path)
    assert len(s.rows(ctx, "h")) == 15
    assert [r["level"] % 4 for r in s.rows(ctx, "h", "dropped")] == [3] * 5
    assert sorted(t["attempt"] for t in s.rows(ctx, "h", "trace")) == [0] * 5 + [1] * 5 + [2] * 5
    assert s.figures(ctx, "h")["redrawn"] == {"bad_word": 5 + 2 * 10}
    assert server.asked == 5 + 2 * 5 + 3 * 10


def test_an_answer_that_does_not_fit_is_sent_back(serve: Serve, tmp_path: Path) -> None:
    """Once, with what is wrong; the answer that comes then is judged like any other, and all of it is counted."""
    asked: list[list[dict[str, str]]] = []

    def careless(i: int, body: dict[str, Any]) -> str:
        turns = body["messages"]
        level = re.search(r"task (\d+)", turns[0]["content"])
        assert level is not None
        if len(turns) == 1:
            return '{"score": "high"}' if int(level[1]) % 2 else '{"score": 3}'
        asked.append(turns)
        return '{"score": 5}' if int(level[1]) % 4 == 1 else "never"

    server = serve(careless)
    sets = [p.SetColumn(column="score", type="int", expr=["out", "score"])]
    spec = s.step("generate", mode="only", repair=1, max_failed="1/2", sets=sets)
    ctx = s.carry_out(plan_of(server, tmp_path, spec, ROWS[:20], outputs={"score": "int(1..5)"}), tmp_path)
    assert Counter(r["score"] for r in s.rows(ctx, "h")) == {3: 10, 5: 5}
    assert Counter(r["rule"] for r in s.rows(ctx, "h", "dropped")) == {"unreadable": 5}
    figures = s.figures(ctx, "h")
    assert (figures["repairs"], figures["calls"], server.asked) == (10, 30, 30)
    for turns in asked:
        assert [t["role"] for t in turns] == ["user", "assistant", "user"]
        assert turns[1]["content"] == '{"score": "high"}'
        assert turns[2]["content"].startswith("That answer cannot be used: ")
        assert "score" in turns[2]["content"]


def test_what_does_not_fit_the_context(serve: Serve, tmp_path: Path) -> None:
    def narrow(i: int, body: dict[str, Any]) -> Any:
        fits = len(question(body)) < 300
        return "ok" if fits else error(400, "too many", "context_length_exceeded")

    rows = [*ROWS[:10], {"instruction": "task 99", "response": "x" * 1_000, "level": 99}]
    server = serve(narrow)
    with pytest.raises(RunError) as e:
        s.carry_out(plan_of(server, tmp_path, s.step(), rows), tmp_path)
    assert e.value.problem.code == "A704"
    assert e.value.problem.headline.startswith("a row of `h` does not fit the context of `")
    assert e.value.problem.note
    assert e.value.problem.help == 'filter long rows before, or set `on_long = "drop"` or `on_long = truncate`'
    ctx = s.carry_out(plan_of(server, tmp_path, s.step(on_long="drop"), rows), tmp_path)
    assert [(r["level"], r["rule"]) for r in s.rows(ctx, "h", "dropped")] == [(99, "too_long")]
    assert s.rows(ctx, "h")[10]["instruction"] == "task 99"
    ctx = s.carry_out(plan_of(server, tmp_path, s.step(on_long="truncate"), rows), tmp_path)
    long = s.rows(ctx, "h")[10]
    assert long["instruction"] == "ok\ntask 99"
    assert len(long["response"]) == 1_000, "only the question is cut"
    assert question(server.bodies[-1]) == "task 99 || " + "x" * 250


def test_examples_stand_before_the_question(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda n, b: "fine")
    shown = [{"instruction": f"shown {i}", "response": f"r{i}", "prompt": f"p{i}"} for i in range(6)]
    nodes = [
        ("a", [], s.source(ROWS[:3], tmp_path)),
        ("e", [], s.source(shown, tmp_path, "e")),
        ("h", [*FROM, ("e", "rows", "examples")], s.step()),
    ]
    s.carry_out(s.make_plan(nodes, teacher(server.base_url), shots=2), tmp_path)
    turns = server.bodies[0]["messages"]
    assert [t["role"] for t in turns] == ["user", "assistant"] * 2 + ["user"]
    number_ = turns[0]["content"].split()[1]
    assert turns[0]["content"] == f"shown {number_} || r{number_}"
    assert turns[1]["content"] == f"p{number_}"
    assert turns[:4] == server.bodies[1]["messages"][:4]


def test_money_of_a_step(serve: Serve, tmp_path: Path) -> None:
    server = serve(hint)
    priced = {"price": p.Price(input="1/100000", output="3/100000")}
    plan = plan_of(server, tmp_path, s.step(), ROWS[:50], teacher=priced)
    ctx = s.carry_out(plan, tmp_path)
    told = s.figures(ctx, "h")
    assert Fraction(told["usd"]) == 50 * (10 * Fraction(1, 100000) + 5 * Fraction(3, 100000))
    again = plan_of(server, tmp_path, s.step(max_failed="1/10"), ROWS[:50], teacher=priced)
    told = s.figures(s.carry_out(again, tmp_path), "h")
    assert told["usd"] == "0"
    assert told["usd_scratch"] == "0.0125"
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(RunError) as e:
        s.carry_out(plan_of(server, other, s.step(budget="0.002"), teacher=priced), other)
    assert e.value.problem.code == "A703"
    assert "`h`" in e.value.problem.headline


def test_a_run_s_budget_and_a_replay(serve: Serve, tmp_path: Path) -> None:
    server = serve(hint)
    priced = {"price": p.Price(input="1/1000", output="1/1000")}
    plan = plan_of(server, tmp_path, s.step(), ROWS[:30], teacher=priced)
    with pytest.raises(RunError) as e:
        s.carry_out(plan, tmp_path, budget="0.2")
    assert "the budget of this run ($0.20)" in e.value.problem.headline
    s.carry_out(plan, tmp_path)
    asked = server.asked
    other = tmp_path / "other"
    other.mkdir()
    plan = plan_of(server, other, s.step(), ROWS[:30], teacher=priced)
    ctx = s.carry_out(plan, other, replay=tmp_path / ".alchemist" / "calls.sqlite")
    assert server.asked == asked == 30
    assert s.figures(ctx, "h")["calls_cached"] == 30


def test_a_replay_is_known_to_ask_nothing_before_it_runs(serve: Serve, tmp_path: Path) -> None:
    """The look ahead finds what any provider answered, as the run does."""

    def by(provider: str) -> p.Plan:
        of = {"teacher.provider": provider, "teacher.model": "m"}
        kept = {"provider": provider, "identity_of": of, "identity_key": p.digest(of)}
        return plan_of(server, tmp_path, s.step(), ROWS[:30], teacher=kept)

    server = serve(hint)
    s.carry_out(by("openai"), tmp_path)
    replayed = by("replay")
    s.run(s.context(replayed, tmp_path), ["a"])
    found = ahead(replayed, tmp_path, tmp_path / ".alchemist", replayed.nodes)["h"]
    assert (found.new, found.cached, found.rows) == (0, 30, 30)
    ctx = s.carry_out(replayed, tmp_path)
    assert s.figures(ctx, "h")["calls_cached"] == server.asked == 30


def test_nothing_chosen_makes_no_call(serve: Serve, tmp_path: Path) -> None:
    server = serve(hint)
    ctx = s.carry_out(plan_of(server, tmp_path, s.step(select=select("0"))), tmp_path)
    assert server.asked == 0
    assert s.rows(ctx, "h") == s.rows(ctx, "a")
    assert s.rows(ctx, "h", "trace") == s.rows(ctx, "h", "dropped") == []


@pytest.mark.parametrize("place", ["calls:committed:2", "calls:commit:3", "h:write:1", "h:manifest:1"])
def test_kill_9_and_again_gives_the_same_bytes_and_pays_nothing_twice(serve: Serve, tmp_path: Path, place: str) -> None:
    server = serve(hint)
    spec = s.step("generate", mode="only", samples=2)
    calm = tmp_path / "calm"
    calm.mkdir()
    want = s.carry_out(plan_of(server, calm, spec), calm)
    calls = server.asked
    hurt = tmp_path / "hurt"
    hurt.mkdir()
    plan = plan_of(server, hurt, spec)
    file = tmp_path / "plan.json"
    file.write_text(p.dump(plan))
    command = [sys.executable, str(Path(s.__file__)), str(file), str(hurt)]
    environment = {**os.environ, "ALCHEMIST_FAULT": f"kill@{place}"}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    got = s.carry_out(plan, hurt)
    for port in ("rows", "dropped", "trace"):
        assert s.rows(got, "h", port) == s.rows(want, "h", port)
        ours, theirs = (c.manifest("h").port(port)["digest"] for c in (got, want))
        assert ours == theirs
    again = server.asked - 2 * calls
    assert 0 <= again <= 8 + 64, "at most what was in flight or in the batch that was being committed"
    if place.startswith("h:"):
        assert again == 0


def test_structured_completion_with_a_reason(serve: Serve, tmp_path: Path) -> None:
    """A cut-off answer is refused, not taken for good."""
    server = serve(lambda n, b: completion("half an ans", finish_reason="length"))
    ctx = s.carry_out(plan_of(server, tmp_path, s.step(), ROWS[:5]), tmp_path)
    assert {r["reason"] for r in s.rows(ctx, "h", "dropped")} == {
        "it was cut off at `max_tokens`; it says: half an ans"
    }
    assert s.rows(ctx, "h") == s.rows(ctx, "a")
