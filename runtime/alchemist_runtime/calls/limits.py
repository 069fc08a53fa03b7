"""Rate and concurrency of a teacher: what the recipe declares, and what the server turns out to bear.

A bucket holds at most one second's worth, so that there is no burst beyond that. A call takes its part at once, even if
the bucket goes below zero, and waits until the debt is paid: calls leave in the order in which they came.

Refusals of a busy server (429, overloaded, loading) are judged by their share. As few as a service with many machines
gives concern their calls alone. More of them set a pace, the calls a second that were not refused, which every answer
raises a little and every refusal lowers: it settles where about one call in 13 is refused, and with it the calls at
once. Where most are refused, or the server says for how long, the whole teacher pauses; then one call goes alone until
the server has said something, and the others follow at the pace. Refusals that are as many at half the pace do not come
from it: so many are usual for this server.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from alchemist_runtime.calls.completion import HOPELESS, WAITING
from alchemist_runtime.calls.teacher import CallFailed, Used, Want

#: Pauses grow from the first to the longest; half of each is drawn: 0.25 s, 0.6, 1.6, 3.9, 9.8, 24, 30.
FIRST_PAUSE_SECONDS, PAUSE_GROWTH, LONGEST_PAUSE_SECONDS = 0.25, 2.5, 30.0
#: The longest pause while a server loads its model.
LOADING_PAUSE_SECONDS = 5.0
#: By how many steps the pauses of a teacher are longer than those of a call: most limits count by the second or longer.
BURST = 2
#: How long a call that goes alone is waited for; refusals come sooner than answers.
ALONE_SECONDS = 1.0
#: Calls at once with which a teacher starts; there is one more with every answer, and twice as many after so many
#: seconds without a refusal, which comes sooner than an answer.
FIRST_PLACES, GROW_SECONDS = 16, 1.0
#: Shares of refusals that are borne, without a pace and with one; what is more by three standard deviations is too
#: many.
BORNE, BORNE_AT_A_PACE = 0.075, 0.25
#: What an answer makes of a pace; refusals lower it so that it settles at the share that is borne.
RAISED = 1.002
#: The largest share of refusals that may turn out to be usual.
MOST_BORNE = 0.5
#: What a new pace is of the one that was measured, and at most of the one before.
SLOWER, STEP = 0.95, 0.9
#: Answers without a refusal after which a pace grows faster, and by how much it has grown when it is forgotten.
CLEAN, FORGOTTEN = 20, 2.0
#: As many answers without a refusal a new pace counts as having.
QUICK = 60
#: Responses from which on a share is judged, and those that count; seconds that a pace is measured over, and those of
#: one count.
FEW, RESPONSES, MEASURED_SECONDS, COUNT_SECONDS = 6, 128, 5.0, 0.25


def pause_seconds(number: int, longest: float = LONGEST_PAUSE_SECONDS) -> float:
    """The n-th pause in a row, from 1: at least half of what it has grown to."""
    grown: float = min(longest, FIRST_PAUSE_SECONDS * PAUSE_GROWTH ** (number - 1))
    return grown * (0.5 + random.random() / 2)


class Bucket:
    """A token bucket without a queue: `take` says how long to wait."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self.size = max(1.0, per_second)
        self._clock = clock
        self._level = self.size
        self._at = clock()

    def take(self, amount: float) -> float:
        """Take an amount now; the seconds to wait before it may be used. More than the bucket holds waits for a full
        one.
        """
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
    """A lease of `Limits`. `sent`: when, and in which era of the pace."""

    limits: Limits
    tokens: int
    way: str
    sent: float = 0.0
    era: int = 0

    def settle(self, used: Used | None, error: BaseException | None = None) -> None:
        bucket = self.limits.tokens
        if bucket is not None and used is not None:
            bucket.give_back(self.tokens - used.tokens_in - used.tokens_out)
        self.limits.settled(self, error)


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
        self._clock, self._sleep = clock, sleep
        self._places = asyncio.Semaphore(min(concurrency, FIRST_PLACES))
        self._concurrency = concurrency
        self._more = max(0, concurrency - FIRST_PLACES)  # places that are to come
        self._growing = False
        #: calls a second that the server bears, None: as many as it can; where it is forgotten; when the next call
        #: leaves
        self.pace: float | None = None
        self._forgotten, self._next, self._line = 0.0, 0.0, asyncio.Lock()
        #: how many calls left in each quarter of a second that were not refused, since the first
        self._began, self._left = clock(), deque[list[float]](maxlen=int(120 / COUNT_SECONDS))
        #: the share of refusals that is usual here; responses since the last pause, refusals among them, answers since
        #: one
        self._usual = BORNE
        self._seen, self._seen_refused, self._clean = 0, 0, 0
        #: pace and share of refusals when the pace was set
        self._set: tuple[float, float] = (0.0, 0.0)
        #: how often the pace changed at once; pauses: how many in a row, until when, and when the first of them began
        self._era, self._row, self._until = 0, 0, 0.0
        self._paused: float | None = None
        self._again = False  # whether there was more than one
        self._measured = False  # whether enough calls had left before the first to make a pace of
        #: ways of asking that the server has answered since the last pause, and the call of another that goes alone
        self._known: set[str] = set()
        self._alone: dict[str, Slot] = {}
        self._gated: list[asyncio.Future[None]] = []

    @property
    def pausing(self) -> bool:
        """Whether no call leaves now."""
        return self._until > self._clock()

    # --- before a call ------------------------------------------------------------------------------------------------

    async def reserve(self, want: Want) -> Slot:
        """Wait for a free place, then for the rate, then until the server bears the call."""
        await self._places.acquire()
        slot = Slot(self, want.tokens_in + want.most_out, want.way)
        wait = 0.0
        if self.calls is not None:
            wait = self.calls.take(1)
        if self.tokens is not None:
            wait = max(wait, self.tokens.take(slot.tokens))
        try:
            if wait > 0:
                await self._sleep(wait)
            if self._era or slot.way not in self._known:
                await self._borne(slot)
        except BaseException as e:
            if self.calls is not None:
                self.calls.give_back(1)
            slot.settle(Used(0, 0), e)
            raise
        slot.sent, slot.era = self._clock(), self._era
        if self._more and not self._growing and slot.way in self._known:
            self._growing = True
            asyncio.get_running_loop().call_later(GROW_SECONDS, self._grow)
        if not self._left or slot.sent - self._left[-1][0] > COUNT_SECONDS:
            self._left.append([slot.sent, 0])
        self._left[-1][1] += 1
        return slot

    async def _borne(self, slot: Slot) -> None:
        """Wait for the end of a pause, for the call that goes alone, and for the pace."""
        while True:
            now, era = self._clock(), self._era
            if self._until > now:
                await self._sleep(self._until - now)
            elif slot.way not in self._known and self._alone.get(slot.way) is not slot:
                if slot.way in self._alone:
                    gate = asyncio.get_running_loop().create_future()
                    self._gated.append(gate)
                    await gate
                else:
                    self._alone[slot.way] = slot
                    asyncio.get_running_loop().call_later(ALONE_SECONDS, self._open, slot)
            elif slot.way in self._known and self._paused is not None:
                if self._measured:
                    self._set_pace(self._paused, now if self._again else self._paused)
                self._paused, self._again = None, False
            elif self.pace is None or await self._turn(self.pace, era):
                return

    async def _turn(self, pace: float, era: int) -> bool:
        """Wait for the next moment of the pace, in the order of the calls. Whether the call may leave then."""
        async with self._line:
            wait = self._next - self._clock()
            if wait > 0 and era == self._era:
                await self._sleep(wait)
            if era == self._era:
                self._next = max(self._next, self._clock()) + 1 / (self.pace or pace)
            return era == self._era

    # --- after a call -------------------------------------------------------------------------------------------------

    def settled(self, slot: Slot, error: BaseException | None) -> None:
        """Give the place back and learn from what came of the call."""
        if isinstance(error, CallFailed) and error.kind in WAITING:
            self._refused(slot, error)
        elif error is None or (isinstance(error, CallFailed) and error.kind not in HOPELESS):
            self._responded(slot, answered=error is None)
        else:
            self._leave_alone(slot)
        self._places.release()

    def _grow(self) -> None:
        """As many places again, where answers take longer and no call was refused."""
        self._growing = False
        if not self._seen_refused and not self._era:
            self._add(min(self._more, self._concurrency - self._more))

    def _add(self, places: int) -> None:
        self._more -= places
        for _ in range(places):
            self._places.release()

    def _responded(self, slot: Slot, *, answered: bool) -> None:
        self._count(0)
        if answered and slot.era == self._era:
            self._row = 0
        if slot.way not in self._known:
            self._open(slot)
        if self._more:
            self._add(1)
        if answered and self.pace is not None:
            self._clean += 1
            self.pace *= RAISED ** max(1, self._clean / CLEAN)
            if self.pace > self._forgotten:
                self.pace = None

    def _refused(self, slot: Slot, error: CallFailed) -> None:
        now, alone = self._clock(), self._alone.get(slot.way) is slot
        count = next((c for c in reversed(self._left) if c[0] <= slot.sent), None)
        if count is not None:
            count[1] -= 1
        if slot.era < self._era:  # sent before the pace changed: one more of the same
            self._until = max(self._until, now + (error.retry_after or 0.0))
            return
        self._count(1)
        self._clean = 0
        if alone or error.retry_after or error.kind == "loading":
            self._pause(error, now)
        elif self._too_many(self._usual if self.pace is None else max(self._usual, BORNE_AT_A_PACE)):
            if self._seen_refused > self._seen / 2 and self._usual < BORNE_AT_A_PACE:
                self._pause(error, now)
            else:
                self._set_pace(now, now)
        elif self.pace is not None:
            self._lower(self.pace)
        self._open(slot)

    def _lower(self, pace: float) -> None:
        """A little slower; as fast as can be where the share of refusals is not that of the pace."""
        self.pace = pace / RAISED ** ((1 - self._usual) / self._usual)
        before, share = self._set
        now = self._seen_refused / self._seen
        if self._seen >= RESPONSES / 2 and self.pace < before / 2 and now > share / 2:
            self._usual, self.pace = min(MOST_BORNE, max(self._usual, 1.5 * now)), None

    def _count(self, refused: int) -> None:
        self._seen += 1
        self._seen_refused += refused
        if self._seen >= RESPONSES:
            self._seen, self._seen_refused = self._seen // 2, self._seen_refused // 2

    def _too_many(self, borne: float) -> bool:
        """Whether more were refused than such a share of all makes likely."""
        n = self._seen
        return n >= FEW and self._seen_refused > borne * n + 3 * math.sqrt(borne * (1 - borne) * n) + 1

    def _pause(self, error: CallFailed, now: float) -> None:
        self._era += 1
        self._row += 1
        self._again = self._row > 1
        loading = error.kind == "loading"
        longest = LOADING_PAUSE_SECONDS if loading else LONGEST_PAUSE_SECONDS
        own = pause_seconds(self._row + (0 if loading else BURST), longest)
        self._until = max(self._until, now + max(own, error.retry_after or 0.0))
        if self._paused is None and not loading:
            sent = sum(n for _, n in self._left) + self._seen_refused
            self._paused, self._measured = now, sent >= FEW or self.pace is not None
        self._known.clear()
        self._alone.clear()
        self._wake()

    def _set_pace(self, at: float, until: float) -> None:
        """A pace from the calls that were not refused, from a while before a moment on."""
        since = max(self._began, at - MEASURED_SECONDS)
        left = sum(n for moment, n in self._left if since <= moment <= until)
        pace = SLOWER * max(1.0, left) / max(1.0, until - since)
        if self.pace is not None:
            pace = min(STEP * self.pace, pace)
        self._set = (pace, self._seen_refused / max(1, self._seen))
        self._era += 1
        self._forgotten = max(self._forgotten, pace * FORGOTTEN)
        self.pace, self._next = pace, self._clock()
        self._seen = self._seen_refused = 0
        self._clean = QUICK

    def _open(self, slot: Slot) -> None:
        """The others may follow the call that went alone."""
        if self._alone.get(slot.way) is slot:
            self._known.add(slot.way)
            self._leave_alone(slot)

    def _leave_alone(self, slot: Slot) -> None:
        if self._alone.get(slot.way) is slot:
            del self._alone[slot.way]
            self._wake()

    def _wake(self) -> None:
        gated, self._gated = self._gated, []
        for gate in gated:
            if not gate.done():
                gate.set_result(None)
