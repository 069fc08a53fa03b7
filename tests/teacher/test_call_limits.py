"""Rates, places and money: what is reserved before a call is sent is what holds."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from alchemist_runtime.calls.ledger import Account, Ledger, dollars, money
from alchemist_runtime.calls.limits import Bucket, Limits
from alchemist_runtime.calls.teacher import Used, Want
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.codes import RunError


class Clock:
    """A time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, done))
        await done

    async def run(self, until: float) -> None:
        while True:
            for _ in range(50):
                await asyncio.sleep(0)
            due = sorted((s for s in self._sleepers if not s[1].done()), key=lambda s: s[0])
            if not due or due[0][0] > until:
                self.now = until
                return
            self.now = due[0][0]
            due[0][1].set_result(None)


def sent(rate: list[dict[str, str]], want: Want, calls: int, seconds: float) -> list[float]:
    """The times at which calls leave that all want to leave at once."""
    clock, times = Clock(), []

    async def main() -> None:
        limits = Limits(rate, 1_000, clock=clock, sleep=clock.sleep)

        async def one() -> None:
            slot = await limits.reserve(want)
            times.append(clock.now)
            slot.settle(Used(want.tokens_in, want.most_out))

        tasks = [asyncio.create_task(one()) for _ in range(calls)]
        await clock.run(seconds)
        for t in tasks:
            t.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    return times


def test_the_first_burst_is_one_second_s_worth() -> None:
    times = sent([{"unit": "calls", "per_second": "50"}], Want(1, 1, 1), 400, 4.0)
    assert sum(t == 0 for t in times) == 50
    for end in (1.0, 2.0, 3.5):
        assert sum(t <= end for t in times) == pytest.approx(50 + 50 * end, abs=1)


def test_a_slow_rate_lets_one_call_out_at_a_time() -> None:
    times = sent([{"unit": "calls", "per_second": "1/2"}], Want(1, 1, 1), 5, 9.0)
    assert times == pytest.approx([0, 2, 4, 6, 8])


def test_tokens_count_prompt_and_longest_answer() -> None:
    times = sent([{"unit": "tokens", "per_second": "1000"}], Want(150, 600, 50), 20, 3.0)
    assert sum(t == 0 for t in times) == 5
    assert sum(t <= 2.0 for t in times) == 15


def test_a_call_larger_than_a_second_s_worth_leaves_and_is_paid_off() -> None:
    times = sent([{"unit": "tokens", "per_second": "100"}], Want(500, 500, 0), 3, 20.0)
    assert times == pytest.approx([0, 5, 10])


def test_unused_tokens_are_given_back() -> None:
    clock = Clock()
    bucket = Bucket(100, clock)
    assert bucket.take(100) == 0
    bucket.give_back(90)
    assert bucket.take(90) == 0
    assert bucket.take(50) == pytest.approx(0.5)


def test_places_bound_the_calls_at_once_and_a_cancelled_wait_gives_everything_back() -> None:
    async def main() -> None:
        limits = Limits([{"unit": "calls", "per_second": "1"}], 2)
        first = await limits.reserve(Want(1, 1, 1))
        waiting = asyncio.create_task(limits.reserve(Want(1, 1, 1)))  # has a place, waits for the rate
        third = asyncio.create_task(limits.reserve(Want(1, 1, 1)))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        assert not third.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        first.settle(None)
        third.cancel()
        await asyncio.gather(third, return_exceptions=True)
        assert limits.calls is not None
        assert limits.calls.take(1) > 0.5  # one call was taken, not three
        assert limits._places._value == 2

    asyncio.run(main())


# --- money ------------------------------------------------------------------------------------------------------------

PRICE = plan.Price(input="3/100000", output="6/100000")  # $30 and $60 per 1M tokens


def account(*ledgers: Ledger, price: plan.Price | None = PRICE) -> Account:
    return Account(plan.Teacher(name="gpt4", provider="openai", price=price), ledgers)


def test_costs_are_exact() -> None:
    assert account().cost(1_000_000, 1_000_000) == Decimal(90)
    assert sum((account().cost(1, 0) for _ in range(100_000)), Decimal(0)) == Decimal(3)
    assert money("1/3") * 3 >= 1


def test_a_budget_is_never_passed_under_concurrency() -> None:
    ledger = Ledger(Decimal("1.00"))
    purse = account(ledger)
    highest = Decimal(0)

    async def one(i: int) -> bool:
        nonlocal highest
        try:
            lease = await purse.reserve(Want(100, 400, 200))
        except RunError as e:
            assert e.problem.code == "A703"
            return False
        highest = max(highest, ledger.spent + ledger.reserved)
        await asyncio.sleep(0.001 * (i % 7))
        lease.settle(Used(100, 100 + i % 100) if i % 10 else None)
        return True

    async def main() -> list[bool]:
        return await asyncio.gather(*(one(i) for i in range(500)))

    done = asyncio.run(main())
    assert 0 < sum(done) < 500
    assert highest <= ledger.limit
    assert ledger.reserved == 0
    assert ledger.spent <= Decimal("1.00")
    # the worst case is 2.4 cents: a calm stop means that less than that is left
    assert ledger.spent > Decimal("1.00") - Decimal("0.024")


def test_the_tighter_of_two_budgets_holds_and_is_named() -> None:
    run, step = Ledger(Decimal(10)), Ledger(Decimal("0.01"), "budget", "harmonized")

    async def main() -> None:
        await account(run, step).reserve(Want(1_000, 1_000, 1_000))

    with pytest.raises(RunError) as e:
        asyncio.run(main())
    assert e.value.exit_code == 3
    assert "`harmonized` ($0.01) is reached" in e.value.problem.headline
    assert run.reserved == step.reserved == 0


def test_a_budget_needs_a_price() -> None:
    with pytest.raises(RunError) as e:
        account(Ledger(Decimal(1)), price=None)
    assert e.value.problem.code == "A702"
    assert not account(Ledger(), price=None).known
    assert account(Ledger(Decimal(0)), price=plan.Price(free=True)).free


def test_money_for_people() -> None:
    shown = [dollars(Decimal(x)) for x in ("0", "19.987", "1234.5", "0.000213")]
    assert shown == ["$0.00", "$19.99", "$1,234.50", "$0.00021"]
