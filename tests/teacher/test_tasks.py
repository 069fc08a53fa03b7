"""Comprehension tasks: rows of a trace or of `.dropped` become questions with the right answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import step_plans as s
from alchemist_runtime.engine.context import Silent
from alchemist_runtime.schema import plan as p
from asked import teacher
from fault_server import FaultServer

ASK = """
{{ response }}
{% for option in options %}
{{ letters[loop.index0] }}. {{ option }}
{% endfor %}
"""
TELL = "{{ answer }}"
CLASSES = [
    {"name": "short", "rules": ["tiny", "empty"], "text": "too short"},
    {"name": "odd", "rules": ["odd"], "text": "an odd number"},
]


def template(text: str, *names: str) -> p.Expr:
    return ["template", p.text_digest(text), list(names)]


def choice(**more: Any) -> p.TaskSpec:
    given: dict[str, Any] = {
        "standard": "filtering",
        "instruction": template(ASK, "response", "options", "letters"),
        "response": template(TELL, "answer"),
        "classes": CLASSES,
        "salt": "quiz",
    }
    return p.TaskSpec(**{**given, **more})


def numbered(n: int) -> list[dict[str, Any]]:
    return [{"instruction": f"i{k}", "response": f"r{k}", "n": k, "lang": "python"} for k in range(n)]


def quiz(root: Path, spec: p.TaskSpec, n: int = 600, rows: Any = None, **more: Any) -> p.Plan:
    """Rows below 60 are `tiny`, odd ones `odd`, those divisible by 40 `other` (in no class); the rest is kept."""
    mod = lambda k: ["cmp", "==", ["call", "int", {"x": ["col", f"m{k}"]}], ["lit", "int", 0]]  # noqa: E731
    rules = [
        s.rule("drop", "tiny", ["cmp", "<", ["col", "n"], ["lit", "int", 60]]),
        s.rule("keep", "odd", mod(2)),
        s.rule("drop", "other", mod(40)),
    ]
    made = [{**r, "m2": r["n"] % 2, "m40": r["n"] % 40} for r in (rows or numbered(n))]
    nodes = [
        ("a", [], s.source(made, root)),
        ("f", [("a", "rows", "from")], p.FilterSpec(rules=rules)),
        ("quiz", [("f", "dropped", "learn"), ("f", "rows", "sound")], spec),
    ]
    texts = {p.text_digest(t): t for t in (ASK, TELL)}
    return s.make_plan(nodes, teacher(None), texts=texts, **more)


def truth(n: int) -> str:
    return "too short" if n < 60 else "an odd number" if n % 2 else "none of these"


def asked_of(row: dict[str, Any]) -> tuple[int, list[str]]:
    """The row's number and the options in the order shown."""
    first, _, rest = row["instruction"].partition("\n")
    return int(first[1:]), [line.partition(". ")[2] for line in rest.splitlines() if line]


def test_a_multiple_choice_has_the_right_answers(tmp_path: Path) -> None:
    ctx = s.carry_out(quiz(tmp_path, choice(sound="1/5", lang=["col", "lang"])), tmp_path)
    made, told = s.rows(ctx, "quiz"), s.figures(ctx, "quiz")
    assert told["per_class"] == {"short": 60, "odd": 270}
    assert told["in_no_class"] == len(range(80, 600, 40))
    assert told["sound"] == round(330 / 4)
    assert len(made) == 330 + told["sound"]
    places: Counter[int] = Counter()
    for row in made:
        number, options = asked_of(row)
        letter, _, text = row["response"].partition(". ")
        assert text == truth(number)
        assert options["ABC".index(letter)] == text
        assert sorted(options) == ["an odd number", "none of these", "too short"]
        places["ABC".index(letter)] += 1
        assert (row["lang"], row["origin"], row["made_by"]) == ("python", "a", "quiz")
    assert min(places.values()) > len(made) / 3 - 50, "no letter is better than another"
    assert len({r["_id"] for r in made}) == len(made)
    kept = {r["_id"]: r for port in ("rows", "dropped") for r in s.rows(ctx, "f", port)}
    for row in made:
        assert kept[row["_parent"]]["response"] == f"r{asked_of(row)[0]}"
        assert kept[row["_parent"]]["_root"] == row["_root"]
    assert set(made[0]) == {
        "_id",
        "_parent",
        "_root",
        "origin",
        "made_by",
        "system",
        "instruction",
        "response",
        "history",
        "lang",
    }


def test_the_same_rows_in_another_order_give_the_same_questions(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    spec = choice(sound="1/4")
    one = s.carry_out(quiz(here, spec), here)
    two = s.carry_out(quiz(there, spec, rows=numbered(600)[::-1]), there)
    by_id = [{r["_id"]: r for r in s.rows(c, "quiz")} for c in (one, two)]
    assert by_id[0] == by_id[1]


def test_another_seed_is_another_order(tmp_path: Path) -> None:
    one = s.carry_out(quiz(tmp_path, choice()), tmp_path)
    two = s.carry_out(quiz(tmp_path, choice(), seed=4), tmp_path)
    orders = [[asked_of(r)[1] for r in s.rows(c, "quiz")] for c in (one, two)]
    assert orders[0] != orders[1]
    assert all("none of these" not in o for o in orders[0]), "without sound rows it would never be right"


def test_too_few_sound_rows_are_said(tmp_path: Path) -> None:
    plan = quiz(tmp_path, choice(sound="9/10"))
    ctx = s.context(plan, tmp_path)
    from alchemist_runtime.engine.local import run

    run(ctx)
    progress = ctx.progress
    assert isinstance(progress, Silent)
    assert [w.code for w in progress.warnings] == ["A602"]
    told = s.figures(ctx, "quiz")
    assert told["sound"] == ctx.manifest("f").port("rows")["rows"]


def test_select_takes_a_share_of_the_refused_rows(tmp_path: Path) -> None:
    half = p.Select(fraction="1/2", salt="quiz")
    ctx = s.carry_out(quiz(tmp_path, choice(sound="1/5", select=half)), tmp_path)
    told = s.figures(ctx, "quiz")
    chosen = sum(told["per_class"].values())
    assert 120 < chosen < 210
    assert told["sound"] == round(chosen / 4)


def test_a_row_without_text_is_kept_with_its_reason(tmp_path: Path) -> None:
    empty = "{% if n is divisibleby 3 %} {% else %}about {{ n }}{% endif %}"
    spec = p.TaskSpec(instruction=template(empty, "n"), response=template(TELL + "{{ rule }}", "rule"), salt="q")
    texts = {p.text_digest(t): t for t in (empty, TELL + "{{ rule }}")}
    plan = quiz(tmp_path, spec, n=60)
    plan = replace(plan, texts={**plan.texts, **texts})
    with pytest.raises(Exception, match="answer"):  # no choice, so no answer
        s.carry_out(plan, tmp_path)
    spec = replace(spec, response=template("{{ rule }}", "rule"))
    plan = quiz(tmp_path, spec, n=60)
    texts[p.text_digest("{{ rule }}")] = "{{ rule }}"
    ctx = s.carry_out(replace(plan, texts={**plan.texts, **texts}), tmp_path)
    assert len(s.rows(ctx, "quiz")) == 40
    assert s.figures(ctx, "quiz")["dropped"] == {"empty": 20}
    left = s.rows(ctx, "quiz", "dropped")
    assert {(r["rule"], r["reason"]) for r in left} == {("empty", "the instruction came out empty")}
    assert len({r["_id"] for r in left} | {r["_id"] for r in s.rows(ctx, "quiz")}) == 60
    assert all(r["instruction"] == "" and r["response"] == "tiny" for r in left)
    assert {r["_parent"] for r in left} < {r["_id"] for r in s.rows(ctx, "f", "dropped")}


def test_a_trace_teaches_what_changed(serve: Callable[[Any], FaultServer], tmp_path: Path) -> None:
    server = serve(lambda n, b: "Hint.")
    before, after = (
        "Was: {{ before.instruction }}",
        "Is: {{ after.instruction }}, said {{ out.prompt }} by {{ teacher }}",
    )
    spec = p.TaskSpec(
        standard="evolution",
        instruction=template(before, "before"),
        response=template(after, "after", "out", "teacher"),
        system=template(before, "before"),
        lang=["field", ["col", "after"], "lang"],
        salt="evo",
    )
    nodes = [
        ("a", [], s.source(numbered(30), tmp_path)),
        ("h", [("a", "rows", "from")], s.step(select=p.Select(fraction="1/2", salt="step"))),
        ("evo", [("h", "trace", "learn")], spec),
    ]
    texts = {p.text_digest(t): t for t in (before, after)}
    ctx = s.carry_out(s.make_plan(nodes, teacher(server.base_url), texts=texts), tmp_path)
    made, rows = s.rows(ctx, "evo"), {r["_id"]: r for r in s.rows(ctx, "a")}
    assert len(made) == server.asked > 5
    for row in made:
        told = rows[row["_parent"]]["instruction"]
        assert row["instruction"] == row["system"] == f"Was: {told}"
        assert row["response"] == f"Is: Hint.\n{told}, said Hint. by t"
        assert (row["lang"], row["origin"]) == ("python", "a")


def test_a_refused_row_is_never_sound(serve: Callable[[Any], FaultServer], tmp_path: Path) -> None:
    """`replace` keeps a row whose answer was refused, as it was."""
    server = serve(lambda n, b: "bad" if n % 2 else "good")
    bad = s.rule("drop", "tiny", ["cmp", "==", ["out", "prompt"], ["lit", "text", "bad"]])
    nodes = [
        ("a", [], s.source(numbered(20), tmp_path)),
        ("h", [("a", "rows", "from")], s.step(rules=[bad])),
        ("quiz", [("h", "dropped", "learn"), ("h", "rows", "sound")], choice(sound="1/2")),
    ]
    texts = {p.text_digest(t): t for t in (ASK, TELL)}
    ctx = s.carry_out(s.make_plan(nodes, teacher(server.base_url), texts=texts), tmp_path)
    made = s.rows(ctx, "quiz")
    refused = {r["_id"] for r in s.rows(ctx, "h", "dropped")}
    assert len(made) == 20
    assert {r["_parent"] for r in made if "none of these" not in r["response"]} == refused
    assert not {r["_parent"] for r in made if "none of these" in r["response"]} & refused
    assert len({r["_id"] for r in made}) == 20


def test_a_row_that_a_port_holds_twice_gets_two_ids(serve: Callable[[Any], FaultServer], tmp_path: Path) -> None:
    nodes = [
        ("a", [], s.source(numbered(5), tmp_path)),
        (
            "quiz",
            [("a", "rows", "learn"), ("a", "rows", "learn")],
            choice(classes=[], instruction=template("{{ response }}", "response"), response=["lit", "text", "x"]),
        ),
    ]
    texts = {p.text_digest("{{ response }}"): "{{ response }}"}
    ctx = s.carry_out(s.make_plan(nodes, teacher(None), texts=texts), tmp_path)
    assert len({r["_id"] for r in s.rows(ctx, "quiz")}) == 10
