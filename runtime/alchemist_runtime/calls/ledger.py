"""Money: what calls cost, exactly, and the budgets that they may not pass.

The worst case of a call is reserved before it is sent and settled when it is back. Where a budget has no room for the
worst case while other calls are out, the call waits for what they give back; where nothing is out, the budget is
reached.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction

from alchemist_runtime.calls.teacher import Used, Want
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.errors import Problem, RunError

#: Digits behind the point of a price; with the 28 of a decimal, sums are exact to ten million dollars.
DIGITS = 20


@dataclass
class Ledger:
    """Dollars spent and reserved under one budget; `limit` None: no budget, only a count."""

    limit: Decimal | None = None
    name: str = "--budget"  # where a person raises it
    node: str | None = None
    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque, repr=False)

    def fits(self, amount: Decimal) -> bool:
        return self.limit is None or self.spent + self.reserved + amount <= self.limit

    def free(self, reserved: Decimal, spent: Decimal) -> None:
        """Give a reservation back and book what was spent of it."""
        self.reserved -= reserved
        self.spent += spent
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def change(self) -> None:
        """Wait until something is settled."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter


@dataclass(slots=True, eq=False)
class Reservation:
    """A lease of `Account`."""

    account: Account
    want: Want
    amount: Decimal

    def settle(self, used: Used | None, error: BaseException | None = None) -> None:
        self.account.settled(self, used)


class Account:
    """One teacher's way to the ledgers of its step and of the run."""

    def __init__(self, teacher: plan.Teacher, ledgers: Sequence[Ledger]) -> None:
        price = teacher.charged
        if price is None and any(ledger.limit is not None for ledger in ledgers):
            raise RunError(_no_price(teacher))
        self.known = price is not None
        self.ledgers = tuple(ledgers)
        paid = price is not None and not price.free
        self._input = money(price.input) if price and paid else Decimal(0)
        self._output = money(price.output) if price and paid else Decimal(0)
        self.free = not (self._input or self._output)
        #: tokens in and out that a call took beyond what it can take by its limits, at most so far
        self.more_in = self.more_out = 0
        self._open: set[Reservation] = set()
        self._limited = not self.free and any(ledger.limit is not None for ledger in ledgers)
        self._known = not self._limited  # whether an answer came

    def cost(self, tokens_in: int, tokens_out: int) -> Decimal:
        """Dollars of so many tokens."""
        return self._input * tokens_in + self._output * tokens_out

    async def reserve(self, want: Want) -> Reservation:
        """Reserve the worst case. RunError A703 where a budget has no room for it.

        Under a budget the first call goes alone, until its answer tells whether the server keeps to `max_tokens`."""
        while True:
            amount = self._most(want)
            if not self._known and self._open:
                await self.ledgers[-1].change()
            elif (full := self._full(amount)) is None:
                break
            elif full.reserved == 0:
                raise RunError(_reached(full, amount))
            else:
                await full.change()
        for ledger in self.ledgers:
            ledger.reserved += amount
        reservation = Reservation(self, want, amount)
        self._open.add(reservation)
        return reservation

    def settled(self, reservation: Reservation, used: Used | None) -> None:
        """Book what a call took; where it took more than it could, reserve as much for all that are out and to come."""
        self._open.discard(reservation)
        cost = reservation.amount
        if used is not None:
            self._known = self._known or used.tokens_in + used.tokens_out > 0
            if used.counted:
                cost = self.cost(used.tokens_in, used.tokens_out)
            if used.counted and self._limited:
                self._learn(reservation.want, used)
        for ledger in self.ledgers:
            ledger.free(reservation.amount, cost)

    def _learn(self, want: Want, used: Used) -> None:
        more_in, more_out = used.tokens_in - want.most_in, used.tokens_out - want.most_out
        if more_in <= self.more_in and more_out <= self.more_out:
            return
        self.more_in, self.more_out = max(self.more_in, more_in), max(self.more_out, more_out)
        for other in self._open:
            amount = self._most(other.want)
            for ledger in self.ledgers:
                ledger.reserved += amount - other.amount
            other.amount = amount

    def _most(self, want: Want) -> Decimal:
        return self.cost(want.most_in + self.more_in, want.most_out + self.more_out)

    def _full(self, amount: Decimal) -> Ledger | None:
        return next((ledger for ledger in self.ledgers if not ledger.fits(amount)), None)


def money(exact: str) -> Decimal:
    """An exact number of dollars, "3/100000" or "20", as a decimal; what no decimal can say is rounded up far behind
    the point.
    """
    value = Fraction(exact)
    scaled = value * 10**DIGITS
    whole = Decimal(scaled.numerator) / Decimal(scaled.denominator)
    return whole.to_integral_value(ROUND_CEILING).scaleb(-DIGITS)


def dollars(amount: Decimal) -> str:
    """Money for people: cents, and as many digits as a small amount needs."""
    if amount == 0 or abs(amount) >= Decimal("0.01"):
        return f"${float(amount):,.2f}"
    return f"${float(amount):.2g}"


def _reached(ledger: Ledger, amount: Decimal) -> Problem:
    assert ledger.limit is not None
    what = "the budget of this run" if ledger.node is None else f"the budget of `{ledger.node}`"
    return Problem(
        "A703",
        f"{what} ({dollars(ledger.limit)}) is reached: {dollars(ledger.spent)} are spent, "
        f"and the next call may cost up to {dollars(amount)}",
        node=ledger.node,
        note=(
            "no call was sent that could have passed it"
            if ledger.spent <= ledger.limit
            else (
                f"an answer was larger than its `max_tokens` allows, so {dollars(ledger.spent - ledger.limit)} more"
                " were spent"
            )
        ),
        help=f"raise `{ledger.name}` and run again: every answer so far is kept and not paid again",
    )


def _no_price(teacher: plan.Teacher) -> Problem:
    return Problem(
        "A702",
        f"the cost of `{teacher.name}` is unknown, so the budget cannot be kept",
        help=(
            f"add `price {{ … }}` with `input` and `output` to `teacher {teacher.name}`, "
            "or `price = free` for a local model"
        ),
    )
