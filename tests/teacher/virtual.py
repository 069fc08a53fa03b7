"""Asking in virtual time: an event loop that jumps to the next moment at which something happens, and servers as
functions.

Limits, pauses and paces run as they are, and a test of a minute takes a moment and is the same on every machine.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alchemist_runtime.calls import dispatch
from alchemist_runtime.calls.cache import CallCache
from alchemist_runtime.calls.dispatch import CallBatch, Outcome, TeacherClient
from alchemist_runtime.calls.ledger import Account, Ledger
from alchemist_runtime.calls.limits import Limits
from alchemist_runtime.calls.teacher import CallFailed, Reply, Request
from asked import requests, teacher


class _Jumps(selectors.SelectSelector):
    """Waits for nothing: a wait moves the clock of its loop."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout:
            self.loop.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose seconds pass as soon as nothing is left to do in them."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Jumps()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now


Answer = Callable[[Request], Awaitable[Reply]]


@dataclass
class Run:
    """What came of asking: outcomes, moments of all calls and of those that were refused, and the seconds that it
    took.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    seconds: float = 0.0
    retried: int = 0

    @property
    def lost(self) -> int:
        return sum(o.reply is None for o in self.outcomes)


class Server:
    """A client that counts, and asks a function for each call whether the server takes it and how long it works."""

    def __init__(self, loop: VirtualLoop, takes: Callable[[float], float | CallFailed]) -> None:
        self.loop, self.takes, self.run = loop, takes, Run()

    async def reply(self, request: Request) -> Reply:
        now = self.loop.time()
        self.run.sent.append(now)
        verdict = self.takes(now)
        if isinstance(verdict, CallFailed):
            self.run.refused.append(now)
            await asyncio.sleep(0.002)
            raise verdict
        await asyncio.sleep(verdict)
        return Reply("an answer", 10, 10)

    async def close(self) -> None: ...


def busy(wait: float | None = None) -> CallFailed:
    return CallFailed("the server says 429: slow down", retry=True, kind="busy", retry_after=wait)


def at_a_rate(limit: int, per: float = 1.0, work: float = 0.05, wait: float | None = None) -> Any:
    """A server that takes so many calls in every stretch of `per` seconds."""
    taken: deque[float] = deque()

    def takes(now: float) -> float | CallFailed:
        while taken and taken[0] <= now - per:
            taken.popleft()
        if len(taken) >= limit:
            return busy(wait)
        taken.append(now)
        return work

    return takes


def ask_virtually(
    monkeypatch: pytest.MonkeyPatch, folder: Path, takes: Callable[[float], float | CallFailed], rows: int, **more: Any
) -> Run:
    """Ask so many questions of a server that takes calls as this function says."""
    loop = VirtualLoop()
    clock = SimpleNamespace(monotonic=loop.time)
    monkeypatch.setattr(dispatch, "time", clock)
    server = Server(loop, takes)
    spec = teacher("http://127.0.0.1:9/v1", **more)
    cache = CallCache(folder / "calls.sqlite")
    limits = Limits(spec.rate, spec.concurrency, clock=loop.time)
    teacher_client = TeacherClient(spec, server, cache, limits, keeps=False, leases=False)
    call_batch = CallBatch(teacher_client, Account(spec, [Ledger()]), node="step", planned=rows, max_failed=1)
    try:
        asked = call_batch.answer(requests(spec, [f"q{i}" for i in range(rows)]))
        server.run.outcomes = loop.run_until_complete(asked)
    finally:
        loop.close()
        cache.close()
    server.run.seconds = loop.now
    server.run.retried = call_batch.call_stats.retried
    return server.run
