"""`accept`: a teacher step asks until so many answers are accepted, the same ones whatever is asked at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import step_plans as s
from alchemist_runtime.engine import teacher_steps
from alchemist_runtime.engine.prompt_calls import ahead, enough
from alchemist_runtime.schema import plan as p
from alchemist_runtime.storage.store import closing, left_out
from asked import teacher
from fault_server import FaultServer
from hypothesis import given
from hypothesis import strategies as st

Serve = Callable[[Any], FaultServer]
ROWS = [{"instruction": f"task {i}", "response": f"code {i}", "level": i} for i in range(200)]
BAD = s.rule("drop", "bad_word", ["cmp", "==", ["out", "prompt"], ["lit", "text", "bad"]])


def fair(number: int, body: dict[str, Any]) -> str:
    """About 60% of the answers are good, by their question and their number."""
    asked = f"{body['messages'][-1]['content']}"
    return "bad" if hashlib.sha256(asked.encode()).digest()[0] < 102 else f"good {asked}"


def plan_of(server: FaultServer, root: Path, **more: Any) -> p.Plan:
    spec = s.step("generate", mode="only", rules=[BAD], **more)
    asked = teacher(server.base_url)
    return s.make_plan([("a", [], s.source(ROWS, root)), ("h", [("a", "rows", "from")], spec)], asked)


@pytest.mark.parametrize("wanted", [1, 40, 100])
def test_exactly_so_many_leave_and_few_more_are_asked(serve: Serve, tmp_path: Path, wanted: int) -> None:
    server = serve(fair)
    ctx = s.carry_out(plan_of(server, tmp_path, accept=wanted), tmp_path)
    told, kept = s.figures(ctx, "h"), s.rows(ctx, "h")
    dropped, rest = s.rows(ctx, "h", "dropped"), s.rows(ctx, "h", "rest")
    assert len(kept) == told["accepted"] == wanted == len(s.rows(ctx, "h", "trace"))
    assert all(r["instruction"].startswith("good") for r in kept)
    assert len(kept) + len(dropped) + len(rest) == len(ROWS)
    assert len(kept) + sum(left_out(told).values()) == len(ROWS)
    assert left_out(told) == {**({"bad_word": len(dropped)} if dropped else {}), "not asked": len(rest)}
    assert told["calls"] == len(kept) + len(dropped) + told["beyond"]
    assert (f"not needed: {told['beyond']}" in closing(told)) == bool(told["beyond"])
    assert server.asked == told["calls"] <= 1.5 * (wanted + len(dropped)) + 3
    sources = {r["_parent"] for r in kept} | {r["_parent"] for r in dropped}
    assert len(sources) == len(kept) + len(dropped)
    assert not sources & {r["_id"] for r in rest}


def test_what_leaves_does_not_depend_on_how_many_are_asked_at_a_time(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for size in (1, 7, 4096):
        monkeypatch.setattr(teacher_steps, "ROWS", size)
        root = tmp_path / str(size)
        root.mkdir()
        ctx = s.carry_out(plan_of(serve(fair), root, accept=50), root)
        found.append([s.rows(ctx, "h", port) for port in ("rows", "dropped", "rest", "trace")])
    assert found[0] == found[1] == found[2]


def test_more_keep_the_rows_of_fewer_and_ask_only_about_the_others(serve: Serve, tmp_path: Path) -> None:
    server = serve(fair)
    few = s.rows(s.carry_out(plan_of(server, tmp_path, accept=30), tmp_path), "h")
    asked = server.asked
    plan = plan_of(server, tmp_path, accept=60)
    looked = ahead(plan, tmp_path, tmp_path / ".alchemist", plan.nodes)["h"]
    ctx = s.carry_out(plan, tmp_path)
    many = s.rows(ctx, "h")
    assert many[:30] == few and len(many) == 60
    assert looked.cached >= 30
    assert looked.least <= server.asked - asked <= looked.most
    assert looked.new == pytest.approx(server.asked - asked, rel=0.3)
    assert s.figures(ctx, "h")["calls_cached"] == asked
    again = ahead(plan, tmp_path, tmp_path / ".alchemist", plan.nodes)["h"]
    assert (again.new, again.rows) == (0, 60)


def test_a_selection_is_the_candidates_and_never_more_are_asked(serve: Serve, tmp_path: Path) -> None:
    server = serve(fair)
    select = p.Select(count=50, salt="step")
    ctx = s.carry_out(plan_of(server, tmp_path, accept=80, select=select), tmp_path)
    told = s.figures(ctx, "h")
    assert server.asked == 50
    assert told["accepted"] == len(s.rows(ctx, "h")) < 50
    assert left_out(told) == {"bad_word": 50 - told["accepted"], "not chosen": 150}
    assert len(s.rows(ctx, "h", "rest")) == 150


def test_the_highest_are_asked_first(serve: Serve, tmp_path: Path) -> None:
    select = p.Select(fraction="1", best=[["col", "level"]], salt="step")
    ctx = s.carry_out(plan_of(serve(fair), tmp_path, accept=20, select=select), tmp_path)
    levels = [r["level"] for r in s.rows(ctx, "h")]
    assert levels == sorted(levels, reverse=True)
    assert min(levels) > max(r["level"] for r in s.rows(ctx, "h", "rest"))


def test_several_answers_to_a_row_count_each(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda n, body: "bad" if n % 3 == 0 else f"good {n}")
    ctx = s.carry_out(plan_of(server, tmp_path, accept=25, samples=4), tmp_path)
    told = s.figures(ctx, "h")
    assert len(s.rows(ctx, "h")) == told["accepted"] == 25
    left = left_out(told)
    assert 25 + sum(left.values()) == len(ROWS) + told["added"]["further answers"]
    assert server.asked <= 60


def test_a_teacher_that_is_never_right_is_asked_about_every_candidate_once(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda n, body: "bad")
    ctx = s.carry_out(plan_of(server, tmp_path, accept=10), tmp_path)
    assert (server.asked, len(s.rows(ctx, "h"))) == (200, 0)


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.floats(0, 1), st.sampled_from([None, 50_000]))
def test_lots_are_as_large_as_is_likely_to_do(lacking: int, drawn: int, share: float, lots: int | None) -> None:
    accepted = int(drawn * share)
    n = enough(lacking, drawn, accepted, lots)
    assert 1 <= n <= max(lacking, drawn)
    if drawn and accepted:
        likely = lacking * drawn / accepted
        assert n >= min(likely, drawn) - 1 if lots else n <= max(likely, lacking) + 1
