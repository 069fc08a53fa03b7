"""Money: what calls cost, exactly, and the budgets that they may not pass.

The worst case of a call is reserved before it is sent and settled when it is back. Where a budget has no room for the
worst case while other calls are out, the call waits for what they give back; where nothing is out, the budget is
reached.
"""

from __future__ import annotations

import asyncio
import functools
import os
import platform
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Final

from alchemist_runtime.calls.teacher import KEY_BYTES, Used, Want
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.codes import Problem, RunError

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
        help=f"raise `{ledger.name}` and re-run; answers so far are kept and not paid for again",
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


# --- leases ----------------------------------------------------------------------------------------------------------

#: How long leases hold without a heartbeat, and how often there is one.
LEASE_SECONDS, BEAT_SECONDS = 60.0, 15.0
#: `keys`: the questions, one behind the other. One row is written for many of them.
SCHEMA: Final = """CREATE TABLE IF NOT EXISTS leases (
  owner INTEGER PRIMARY KEY,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  started TEXT NOT NULL,
  until REAL NOT NULL,
  keys BLOB NOT NULL
)"""


class Leases:
    """The leases of one owner: a call cache opened by a process. Connections are the caller's, as are their errors."""

    def __init__(self) -> None:
        self._owner = secrets.randbits(62)  # never one that another run had before
        self._written: float | None = None

    @property
    def due_in(self) -> float:
        """Seconds until the next heartbeat."""
        return 0.0 if self._written is None else self._written + BEAT_SECONDS - time.monotonic()

    def take(
        self, connection: sqlite3.Connection, held: Collection[bytes], keys: Collection[bytes], *, anyway: bool = False
    ) -> tuple[set[bytes], bool]:
        """Those of the keys that are leased to this owner from now on, beside those that it holds; all of them with
        `anyway`, whoever asks them. And whether there was nobody else in the last `LEASE_SECONDS`."""
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            old = time.time() - LEASE_SECONDS
            connection.execute("DELETE FROM leases WHERE until < ?", (old,))
            others = connection.execute("SELECT count(*) FROM leases WHERE owner != ?", (self._owner,))
            alone = others.fetchone()[0] == 0
            taken = set() if alone or anyway else self.elsewhere(connection, keys)
            ours = set(keys) - taken
            self.write(connection, ours.union(held))
        return ours, alone

    def elsewhere(self, connection: sqlite3.Connection, keys: Iterable[bytes]) -> set[bytes]:
        """Those of the keys that others hold who are alive."""
        found, wanted = set[bytes](), set(keys)
        rows = connection.execute("SELECT * FROM leases WHERE owner != ?", (self._owner,))
        for _, host, pid, started, until, held in rows:
            both = {held[i : i + KEY_BYTES] for i in range(0, len(held), KEY_BYTES)} & wanted
            if both and _alive(host, pid, started, until):
                found |= both
        return found

    def anybody(self, connection: sqlite3.Connection) -> bool:
        """Whether others ask anything."""
        rows = connection.execute("SELECT * FROM leases WHERE owner != ?", (self._owner,))
        return any(keys and _alive(*who) for _, *who, keys in rows)

    def write(self, connection: sqlite3.Connection, held: Collection[bytes]) -> None:
        """Say that this owner is alive and what it asks."""
        until = time.time() + LEASE_SECONDS
        row = (self._owner, _here(), *_me(os.getpid()), until, b"".join(held))
        connection.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)", row)
        self._written = time.monotonic()

    def end(self, connection: sqlite3.Connection) -> None:
        """Give everything back. The row stays for a while, so that others see that somebody was here."""
        if self._written is not None:
            gone = "UPDATE leases SET keys = x'', until = ? WHERE owner = ?"
            connection.execute(gone, (time.time(), self._owner))
            self._written = None


def _alive(host: str, pid: int, started: str, until: float) -> bool:
    """Whether an owner still asks what it holds."""
    # what holds longer than any lease was written by a clock that has been set back since
    if not 0 < until - time.time() <= LEASE_SECONDS + BEAT_SECONDS:
        return False
    return host != _here() or _started(pid) == started


@functools.cache
def _here() -> str:
    """The machine since its start and its view of processes: where this is equal, a process has the same number."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


@functools.lru_cache(maxsize=1)
def _me(pid: int) -> tuple[int, str]:
    """This process, which a fork changes."""
    return pid, _started(pid)


def _started(pid: int) -> str:
    """When a process of this machine started, in the kernel's count; "" where there is none, or no way to know."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    except (OSError, IndexError, ValueError):
        return ""
