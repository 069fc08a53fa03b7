"""`alchemist cost`: what is paid, what the next run would pay, what all costs; the last run beside what was
expected.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_cli import alchemist, edit, jsonl, run, squares
from fault_server import FaultServer, completion
from test_cache import RECIPE, USD


@pytest.fixture
def server() -> Iterator[FaultServer]:
    found = FaultServer(lambda n, body: f"re: {body['messages'][-1]['content']}")
    yield found
    found.close()


@pytest.fixture
def project(tmp_path: Path, server: FaultServer) -> Path:
    jsonl(tmp_path / "rows.jsonl", squares(20))
    (tmp_path / "recipe.lock").touch()
    (tmp_path / "r.recipe").write_text(RECIPE.format(url=server.base_url, word="Say"))
    return tmp_path


def cost(project: Path, *args: str) -> Any:
    done = alchemist("cost", *args, "--format", "json", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def text(project: Path, *args: str) -> str:
    done = alchemist("cost", *args, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def exact(figure: Any) -> float:
    assert figure["low"] == figure["value"] == figure["high"], figure
    return float(figure["value"])


def test_what_is_paid_and_what_a_run_would_pay(project: Path, server: FaultServer) -> None:
    (step,) = cost(project)["steps"]
    assert (step["answered"], step["paid"], step["last_run"]) == (None, None, None)
    assert step["now"]["calls"] == {"low": "0", "value": "20", "high": "20", "basis": "exact"}
    said = text(project)
    assert "note     what `g` reads is not built" in said
    assert "price    t: $2.00 for 1M tokens in, $10.00 for 1M tokens out" in said

    run("r.recipe", project)
    found = cost(project)
    (step,) = found["steps"]
    assert step["answered"] == 20 and exact(step["paid"]) == pytest.approx(20 * USD)
    assert exact(step["now"]["calls"]) == exact(step["now"]["usd"]) == 0
    assert exact(found["totals"]["scratch"]["usd"]) == pytest.approx(20 * USD)

    jsonl(project / "rows.jsonl", squares(25))
    run("r.recipe", project, "--upto", "s")
    (step,) = cost(project)["steps"]
    assert step["answered"] == 20 and exact(step["paid"]) == pytest.approx(20 * USD)
    assert exact(step["now"]["calls"]) == 5
    share = float(step["now"]["usd"]["value"]) / float(step["scratch"]["usd"]["value"])
    assert share == pytest.approx(5 / 25, rel=1e-3)
    assert server.asked == 20, "to ask what it costs asks nobody"


def test_the_last_run_beside_what_was_expected(project: Path) -> None:
    before = cost(project)["steps"][0]
    run("r.recipe", project)
    step = cost(project)["steps"][0]
    assert step["expected"]["usd"] == before["scratch"]["usd"]
    last = step["last_run"]
    figures = [exact(last[n]) for n in ("calls", "tokens_in", "tokens_out")]
    assert figures == [20, 200, 100]
    assert exact(last["usd"]) == exact(last["usd_spent"]) == pytest.approx(20 * USD)
    off = 100 * (float(before["scratch"]["tokens_in"]["value"]) / 200 - 1)
    line = next(x for x in text(project).splitlines() if "tokens in" in x and "~" in x)
    assert line.split()[-2:] == ["200", f"{off:+.0f}%"]

    (project / ".alchemist/store").rename(project / "gone")
    run("r.recipe", project)
    last = cost(project)["steps"][0]["last_run"]
    assert (exact(last["usd"]), exact(last["usd_spent"])) == (pytest.approx(20 * USD), 0)
    assert "$0.0014 ($0 in that run)" in text(project)


def test_a_trial_of_200_rows_says_what_all_cost_within_a_tenth(tmp_path: Path) -> None:
    """Questions and answers of any length, counted by the server in its own way."""

    def answer(_: int, body: dict[str, Any]) -> Any:
        asked = str(body["messages"][-1]["content"])
        text = "word " * (10 + len(asked) * 7919 % 150)
        usage = {"prompt_tokens": len(asked.split()) * 2 + 9, "completion_tokens": len(text) // 3}
        return 200, {}, completion(text, usage=usage)

    server, draw = FaultServer(answer), random.Random(4)
    try:
        words = [{"instruction": f"{i} " + "w " * draw.randrange(5, 300), "response": f"{i}"} for i in range(900)]
        jsonl(tmp_path / "rows.jsonl", words)
        (tmp_path / "recipe.lock").touch()
        recipe = RECIPE.format(url=server.base_url, word="Say").replace("budget = $1", "budget = $50")
        (tmp_path / "r.recipe").write_text(recipe)
        run("r.recipe", tmp_path, "--limit", "200")
        (step,) = cost(tmp_path)["steps"]
        assert step["sampled"] == 200
        told = {n: float(step["scratch"][n]["value"]) for n in ("tokens_in", "tokens_out", "usd")}
        assert "those of the 200 answers that it got so far" in text(tmp_path)
        run("r.recipe", tmp_path)
        last = cost(tmp_path)["steps"][0]["last_run"]
        assert told == {n: pytest.approx(exact(last[n]), rel=0.1) for n in told}
    finally:
        server.close()


def test_an_answer_that_two_steps_use_is_paid_once(project: Path) -> None:
    """And a teacher without a price costs nobody knows what."""
    recipe = edit(project, "export d {", 'export e {\n  data = h\n  path = "e"\n  format = jsonl\n}\n\nexport d {')
    step = recipe[recipe.index("generate g") : recipe.index("export e")]
    edit(project, "export e {", step.replace("generate g", "generate h") + "export e {")
    run("r.recipe", project)
    found = cost(project)
    assert [s["answered"] for s in found["steps"]] == [20, 20]
    assert exact(found["totals"]["paid"]) == pytest.approx(20 * USD)
    price = recipe[recipe.index("  price {") : recipe.index("prompt ask")].removesuffix("}\n\n")
    edit(project, price, "")
    found = cost(project)
    assert found["steps"][0]["price"] is None and "value" not in found["totals"]["scratch"]["usd"]
    said = text(project)
    assert "price    t: unknown; `price { … }` or `price = free` in the recipe says it" in said
    assert "40 calls, unknown from scratch" in said


def test_a_recipe_without_a_teacher_and_a_folder_with_two(project: Path) -> None:
    (project / "other.recipe").write_text('edition 2026\n\nsource s {\n  files = "rows.jsonl"\n}\n')
    assert alchemist("cost", cwd=project).returncode == 2
    assert "no step asks a teacher" in text(project, "other.recipe")
    assert cost(project, "other.recipe")["steps"] == []
    assert alchemist("cost", "r.recip", cwd=project).returncode == 2


def test_a_damaged_call_cache_is_told_and_the_estimates_stay(project: Path) -> None:
    run("r.recipe", project)
    cache = project / ".alchemist/calls.sqlite"
    cache.write_bytes(b"no database at all" * 400)
    done = alchemist("cost", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "the store cannot be looked at" in done.stderr
    assert "20" in done.stdout
