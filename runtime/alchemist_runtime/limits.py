"""Rate and concurrency of a teacher: token buckets for calls and tokens, and a bound on calls at once.

A bucket holds at most one second's worth, so that there is no burst beyond that. A call takes its part at once, even if the
bucket goes below zero, and waits until the debt is paid: calls leave in the order in which they came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from alchemist_runtime.teacher import Used, Want


class Bucket:
    """A token bucket without a queue: `take` says how long to wait."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self.size = max(1.0, per_second)
        self._clock = clock
        self._level = self.size
        self._at = clock()

    def take(self, amount: float) -> float:
        """Take an amount now; the seconds to wait before it may be used. More than the bucket holds waits for a full one."""
        now = self._clock()
        self._level = min(self.size, self._level + (now - self._at) * self.per_second)
        self._at = now
        wait = (min(amount, self.size) - self._level) / self.per_second
        self._level -= amount
        return max(0.0, wait)

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount is taken afterwards."""
        self._level += amount


@dataclass(slots=True)
class Slot:
    """A lease of `Limits`."""

    limits: Limits
    tokens: int

    def settle(self, used: Used | None) -> None:
        bucket = self.limits.tokens
        if bucket is not None and used is not None:
            bucket.give_back(self.tokens - used.tokens_in - used.tokens_out)
        self.limits.free()


class Limits:
    """Calls a second, tokens a second and calls at once of one teacher."""

    def __init__(
        self,
        rate: Iterable[Mapping[str, Any]],
        concurrency: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.calls: Bucket | None = None
        self.tokens: Bucket | None = None
        for limit in rate:
            bucket = Bucket(float(Fraction(limit["per_second"])), clock)
            if limit["unit"] == "tokens":
                self.tokens = bucket
            else:
                self.calls = bucket
        self._slots = asyncio.Semaphore(concurrency)
        self._sleep = sleep

    async def reserve(self, want: Want) -> Slot:
        """Wait for a free place, then for the rate."""
        await self._slots.acquire()
        slot = Slot(self, want.tokens_in + want.most_out)
        wait = 0.0
        if self.calls is not None:
            wait = self.calls.take(1)
        if self.tokens is not None:
            wait = max(wait, self.tokens.take(slot.tokens))
        if wait > 0:
            try:
                await self._sleep(wait)
            except BaseException:
                self._undo(slot)
                raise
        return slot

    def _undo(self, slot: Slot) -> None:
        if self.calls is not None:
            self.calls.give_back(1)
        slot.settle(Used(0, 0))

    def free(self) -> None:
        self._slots.release()
