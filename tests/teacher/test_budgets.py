"""Budgets by the server's own count: whatever it says of tokens, no more is spent than the cap and one answer."""

from __future__ import annotations

import os
import random
from decimal import Decimal
from typing import Any

import pytest
from alchemist_runtime.calls.completion import used
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.codes import RunError
from asked import call_batch, requests, teacher
from stub import Stub

PRICE = plan.Price(input="3/1000000", output="15/1000000")
#: What servers say of tokens, right and wrong.
BEHAVIOURS = ["ok", "nousage", "nousage:ab", "hidden:900", "reasoning:3000", "gemini:700", "long:1900", "cut:1"]


def spent(stub: Stub) -> tuple[Decimal, Decimal]:
    """Dollars by the server's count: of all calls, and of the dearest."""
    charged = [h["usage"] for h in stub.hist if h["usage"]]
    cost = [(3 * u["prompt_tokens"] + 15 * u["completion_tokens"]) / Decimal(1_000_000) for u in charged]
    return sum(cost, Decimal(0)), max(cost, default=Decimal(0))


def ask(pool: Any, stub: Stub, mark: str, rows: int, budget: str, **more: Any) -> Any:
    given = {"sampling": {"max_tokens": 500}, "price": PRICE, "retries": 3, **more}
    spec = teacher(stub.base_url, **given)
    made = pool()
    asking = call_batch(made, spec, rows, budget=budget, max_failed=1)
    questions = requests(spec, [f"q{i} [[b={mark}]]" for i in range(rows)])
    try:
        outcomes = made.ask(asking, questions)
    except RunError as e:
        assert e.problem.code == "A703"
        outcomes = None
    ledger = asking.account.ledgers[1]
    assert ledger.reserved == 0
    return outcomes, asking, ledger


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemist_runtime.calls.limits.FIRST_PAUSE_SECONDS", 0.001)


@pytest.mark.parametrize("mark", BEHAVIOURS)
def test_no_more_is_spent_than_the_cap_and_one_answer(stub: Stub, pool: Any, mark: str, tmp_path: Any) -> None:
    draw = random.Random(mark)
    for i in range(100 if os.environ.get("ALCHEMIST_TEST_ALL") == "1" else 6):
        stub.reset()
        cap = Decimal(draw.randrange(5, 300)) / 1000
        places = draw.choice([1, 4, 32])
        outcomes, _, ledger = ask(
            lambda i=i: pool(state=tmp_path / str(i)), stub, mark, 60, str(cap), concurrency=places
        )
        theirs, dearest = spent(stub)
        assert theirs <= cap + dearest, (mark, cap, places)
        assert theirs <= ledger.spent, "what we count is never less"
        kept = not mark.startswith(("hidden", "reasoning", "gemini"))
        assert theirs <= cap or not kept, "a server that keeps to `max_tokens` never passes the cap"
        if outcomes is not None:
            assert all(o.reply is not None for o in outcomes)
        else:
            assert ledger.spent > cap - Decimal("0.06"), "a calm stop is no early stop"


def test_what_was_larger_is_told(stub: Stub, pool: Any) -> None:
    _, asking, ledger = ask(pool, stub, "reasoning:3000", 4, "10")
    account = asking.account
    assert account.more_out == max(h["usage"]["completion_tokens"] for h in stub.hist) - 500
    assert account.more_in == 0
    assert ledger.spent == spent(stub)[0]
    assert stub.hist[0]["end"] <= stub.hist[1]["start"], "the first one goes alone"


def test_tokens_by_a_server_s_own_count() -> None:
    assert used({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}) == (10, 5)
    assert used({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 715}) == (10, 705)
    assert used({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 3}) == (10, 5)
    assert used({"prompt_tokens": "10", "completion_tokens": "5"}) == (10, 5)
    assert used({"prompt_tokens": 10, "total_tokens": 12}) == (10, 2)
    for none in ({}, {"completion_tokens": 5}, {"prompt_tokens": -5, "completion_tokens": 5}):
        assert used(none) is None
